// vflbus join: at the party

#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "base/text.hpp"
#include "bus/keys/invitation.hpp"
#include "bus/keys/key_files.hpp"
#include "commands.hpp"
#include "config/value.hpp"
#include "enrolling.hpp"
#include "key_store.hpp"
#include "output.hpp"
#include "party_section.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// What is done here, and with what.
struct Joining {
    bus::InvitationLine line;
    bus::KeyPair invitation;
    std::string fingerprint;  ///< of the invitation's key
    fs::path directory;       ///< of the keys
    fs::path staging;         ///< of a key of which is not known whether the broker has it
    fs::path joined;          ///< says by which invitation the key that is here has joined
    fs::path config;
    std::string config_text;  ///< as it will be
};

/// The line itself, or that of a file or of standard input, so that a secret need not stand on a
/// command line.
Result<bus::InvitationLine> read_line(const std::string& said) {
    std::error_code ec;
    if (said == "-") {
        std::string text(bus::invitation_line_bytes_max + 1, '\0');
        std::cin.read(text.data(), static_cast<std::streamsize>(text.size()));
        text.resize(static_cast<std::size_t>(std::cin.gcount()));
        return bus::parse_invitation(text);
    }
    if (!said.starts_with("vflbus-invitation") && fs::is_regular_file(said, ec)) {
        const auto text = read_file(said);
        if (!text) return tl::unexpected(text.error());
        return bus::parse_invitation(*text);
    }
    return bus::parse_invitation(said);
}

/// As a file beside the configuration says it.
std::string beside(const fs::path& config, const fs::path& path) {
    std::error_code ec;
    const fs::path from = fs::absolute(config, ec).lexically_normal().parent_path();
    const fs::path to = fs::absolute(path, ec).lexically_normal();
    const fs::path relative = to.lexically_relative(from);
    return relative.empty() || *relative.begin() == ".." ? to.string() : relative.string();
}

bool has(const bus::InvitationLine& line, const std::string& role) {
    return std::find(line.roles.begin(), line.roles.end(), role) != line.roles.end();
}

/// The name that a node of that role has by itself; empty: none.
std::string node_of(const bus::InvitationLine& line) {
    if (has(line, "member")) return line.name;
    return has(line, "master") ? "master" : "";
}

Result<std::string> configured(const JoinArguments& arguments, const Joining& joining) {
    std::string before;
    std::error_code ec;
    if (fs::exists(joining.config, ec)) {
        auto text = read_file(joining.config);
        if (!text) return text;
        before = std::move(*text);
    }
    PartySection section;
    const std::string node = node_of(joining.line);
    if (!node.empty()) section.section = "party." + node;
    section.broker = joining.line.address;
    section.certificates = beside(joining.config, joining.directory);
    if (!node.empty() && node != joining.line.name) section.identity = joining.line.name;
    if (!arguments.data.empty()) section.data = beside(joining.config, arguments.data);
    section.id = arguments.id;
    section.label = arguments.label;
    if (node.empty() && !(section.data.empty() && section.id.empty() && section.label.empty()))
        return fail(Errc::usage,
                    joining.line.name + " has no table: it is neither master nor member");
    if (!section.label.empty() && !has(joining.line, "master"))
        return fail(Errc::usage, "--label: " + joining.line.name +
                                     " joins as a member, and only a master holds labels");
    return with_party_section(before, section, joining.config.string());
}

/// Whether what is pinned here already is the broker of the line.
Result<> same_broker(const Joining& joining) {
    const fs::path pinned = bus::public_key_path(joining.directory, bus::broker_key_name);
    std::error_code ec;
    if (!fs::exists(pinned, ec)) return {};
    const auto known = bus::read_public_key(pinned);
    if (!known) return tl::unexpected(known.error());
    if (known->key == joining.line.broker) return {};
    return fail(Errc::usage, pinned.string() +
                                 " is the key of another broker than that of the invitation; join "
                                 "with another directory: --certificates DIR");
}

/// Whether the key that is here came by this very invitation.
bool joined_before(const Joining& joining) {
    const auto text = read_file(joining.joined);
    return text && text->find(joining.fingerprint) != std::string::npos;
}

/// Whether there is a key of an earlier attempt by this invitation, which the broker may have.
bool begun_before(const Joining& joining) {
    std::error_code ec;
    return joined_before(joining) ||
           fs::exists(bus::secret_key_path(joining.staging, joining.line.name), ec);
}

Result<Joining> prepare(const JoinArguments& arguments) {
    auto line = read_line(arguments.line);
    if (!line) return tl::unexpected(line.error());
    Joining joining;
    joining.line = std::move(*line);
    joining.invitation = bus::key_of(joining.line);
    joining.fingerprint = bus::fingerprint_of(joining.invitation.public_key);
    joining.directory = arguments.certificates;
    joining.staging = joining.directory / ("joining-" + joining.line.name + "-" +
                                           short_fingerprint(joining.fingerprint));
    joining.joined = joining.directory / (joining.line.name + ".joined");
    const bus::Seconds now = bus::wall_seconds();
    if (joining.line.expires <= now && !begun_before(joining))
        return fail(Errc::not_allowed, "this invitation has expired " +
                                           bus::from_now(joining.line.expires, now) +
                                           ", by the clock of this machine; ask for a new one");
    joining.config =
        arguments.config.empty() ? fs::path("vflbus.toml") : fs::path(arguments.config);
    if (auto same = same_broker(joining); !same) return tl::unexpected(same.error());
    auto text = configured(arguments, joining);
    if (!text) return tl::unexpected(text.error());
    joining.config_text = std::move(*text);
    return joining;
}

/// The key that is presented: of an earlier attempt by the same invitation, or a new one, which
/// lies aside until the broker has taken it.
Result<bus::SecretKeyFile> own_key(const Joining& joining, bus::Seconds lifetime) {
    std::error_code ec;
    if (joined_before(joining))
        return bus::read_secret_key(bus::secret_key_path(joining.directory, joining.line.name));
    if (fs::exists(bus::secret_key_path(joining.staging, joining.line.name), ec))
        return bus::read_key_pair(joining.staging, joining.line.name);
    if (::mkdir(joining.directory.c_str(), S_IRWXU) != 0 && errno != EEXIST)
        return fail(Errc::io,
                    "cannot make " + joining.directory.string() + ": " + std::strerror(errno));
    return bus::make_key_files(joining.staging, joining.line.name, bus::wall_seconds() + lifetime);
}

void forget(const Joining& joining) {
    std::error_code ec;
    fs::remove_all(joining.staging, ec);
    fs::remove(joining.directory, ec);  // when there is nothing else in it
}

/// Out of the way of the new key; nothing is ever written over.
Result<> move_old_away(const Joining& joining) {
    std::error_code ec;
    const fs::path old_public = bus::public_key_path(joining.directory, joining.line.name);
    const fs::path old_secret = bus::secret_key_path(joining.directory, joining.line.name);
    if (!fs::exists(old_public, ec) && !fs::exists(old_secret, ec)) return {};
    const auto known = bus::read_public_key(old_public);
    const std::string mark = known ? short_fingerprint(bus::fingerprint_of(known->key)) : "unknown";
    const fs::path aside = joining.directory / "old" / (joining.line.name + "-" + mark);
    fs::create_directories(aside, ec);
    for (const fs::path& file : {old_secret, old_public, joining.joined}) {
        if (!fs::exists(file, ec)) continue;
        fs::rename(file, aside / file.filename(), ec);
        if (ec)
            return fail(Errc::io, "cannot move " + file.string() + " to " + aside.string() + ": " +
                                      ec.message());
    }
    return {};
}

Result<> place(const fs::path& path, const std::string& text, mode_t mode) {
    const auto placed = write_new_file(path, text, mode);
    if (!placed) return tl::unexpected(placed.error());
    return {};
}

/// The broker has taken the key: files come to where processes look for them, the key last but one.
/// Killed in between, the same command does it again.
Result<> install(const Joining& joining, const bus::EnrolAnswer& answer) {
    sweep_unfinished(joining.directory, 0);  // of a `join` that was killed here
    const std::string& name = joining.line.name;
    const bus::PublicKeyFile pinned{std::string(bus::broker_key_name), joining.line.broker,
                                    static_cast<bus::Seconds>(answer.broker_expires)};
    if (auto done = place(bus::public_key_path(joining.directory, pinned.name),
                          bus::public_file_text(pinned), bus::public_file_mode);
        !done)
        return done;
    std::error_code ec;
    if (fs::exists(joining.staging, ec)) {
        if (const auto end = static_cast<bus::Seconds>(answer.expires); end != 0)
            if (auto done = bus::set_key_end(joining.staging, name, end); !done) return done;
        if (auto done = move_old_away(joining); !done) return done;
        // what an unfinished rotation has made for the key before
        fs::remove_all(joining.directory / ("rotating-" + name), ec);
        for (const fs::path& file : {bus::secret_key_path(joining.directory, name),
                                     bus::public_key_path(joining.directory, name)}) {
            auto text = read_file(joining.staging / file.filename());
            if (!text) return tl::unexpected(text.error());
            auto done = place(file, *text,
                              file.extension() == bus::secret_extension ? bus::secret_file_mode
                                                                        : bus::public_file_mode);
            sodium_memzero(text->data(), text->size());
            if (!done) return done;
        }
        if (auto done = write_file_atomically(
                joining.joined, "# The key of " + name + " was let in by this invitation.\n" +
                                    joining.fingerprint + "\n");
            !done)
            return done;
        fs::remove_all(joining.staging, ec);
    }
    const auto before = read_file(joining.config);
    if (before && *before == joining.config_text) return {};
    if (!before) return write_file_atomically(joining.config, joining.config_text);
    return replace_file_of_others(joining.config, joining.config_text);
}

std::string next_command(const Joining& joining) {
    const std::string config = joining.config == fs::path("vflbus.toml")
                                   ? std::string()
                                   : " --config " + joining.config.string();
    if (has(joining.line, "member"))
        return program() + " actor --role member --rank " +
               std::to_string(config::member_rank(joining.line.name).value_or(0)) + config;
    if (has(joining.line, config::arbiter_name))
        return program() + " actor --role arbiter" + config;
    if (has(joining.line, "master"))
        return program() + " actor --role master" +
               (joining.line.name == "master" ? "" : " --name " + joining.line.name) + config +
               " --set run.world_size=2 --set model.task=logistic";
    return program() + " runs" + config;
}

void report_joined(const JoinArguments& arguments, const Joining& joining,
                   const std::string& fingerprint, const bus::EnrolAnswer& answer) {
    const std::string until = bus::date_text(static_cast<bus::Seconds>(answer.expires));
    if (arguments.json) {
        print(JsonObject()
                  .add("name", answer.name)
                  .add("fingerprint", fingerprint)
                  .add("may", answer.rights)
                  .add("expires", until)
                  .add("broker", joining.line.address)
                  .add("config", joining.config.string())
                  .text() +
              "\n");
        return;
    }
    print(fingerprint + "\n");
    note(arguments, "joined as " + answer.name +
                        (answer.rights.empty() ? "" : ", " + answer.rights) + ", until " + until +
                        "; the owner of the broker sees this fingerprint");
    note(arguments,
         joining.config.string() + " says where the broker is; next: " + next_command(joining));
    if (has(joining.line, "master") && !has(joining.line, "member"))
        note(arguments,
             "with as many members as run.world_size says, and the model of model.task, unless " +
                 joining.config.string() + " says so already");
}

}  // namespace

int run(const JoinArguments& arguments) {
    const auto lifetime = period_of("--key-expires", arguments.key_expires);
    if (!lifetime) return report_failure(arguments, lifetime.error());
    const auto joining = prepare(arguments);
    if (!joining) return report_failure(arguments, joining.error());
    const bool begun = begun_before(*joining);
    const auto own = own_key(*joining, *lifetime);
    if (!own) return report_failure(arguments, own.error());
    bus::LinkKeys keys;
    keys.own = {joining->line.name, joining->invitation, joining->line.expires};
    keys.broker = {std::string(bus::broker_key_name), joining->line.broker, 0};
    const EnrolEnd end = enrol({joining->line.address, keys, *own, !begun});
    const auto& answer = end.answer;
    if (!answer) {
        Failure failure = answer.error();
        if (end.key_refused)
            failure.sentence =
                "the broker does not know this invitation: it was withdrawn, has expired, or "
                "nobody there has made it";
        if (end.useless)
            forget(*joining);
        else if (end.key_refused)
            failure.hint =
                "ask for a new invitation; if this one is good, run the same command again";
        else
            failure.hint = "run the same command again: it goes on with the key that it has made";
        return report_failure(arguments, failure);
    }
    if (const auto done = install(*joining, *answer); !done) {
        Failure failure = done.error();
        failure.hint = "the broker has let the key in; mend this and run the same command again";
        return report_failure(arguments, failure);
    }
    report_joined(arguments, *joining, bus::fingerprint_of(own->pair.public_key), *answer);
    return 0;
}

}  // namespace vflbus::cli
