// vflbus keys rotate: at the party, while its processes run

#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/files.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/keys/known_parties.hpp"
#include "commands.hpp"
#include "enrolling.hpp"
#include "key_store.hpp"
#include "output.hpp"
#include "settings.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// Where the keys are, and where the new one lies until it counts.
struct Rotation {
    std::string name;
    fs::path directory;
    fs::path aside;
    [[nodiscard]] fs::path secret() const { return bus::secret_key_path(directory, name); }
    [[nodiscard]] fs::path handed_out() const { return bus::public_key_path(directory, name); }
};

Result<> moved(const fs::path& from, const fs::path& to) {
    if (::rename(from.c_str(), to.c_str()) == 0) return {};
    return fail(Errc::io, "cannot put " + to.string() + " in its place: " + std::strerror(errno));
}

/// A copy of the old key, in keys/old.
Result<> keep_old(const Rotation& rotation, const bus::SecretKeyFile& old) {
    const fs::path all = rotation.directory / "old";
    const fs::path kept =
        all / (old.name + "-" + short_fingerprint(bus::fingerprint_of(old.pair.public_key)));
    std::error_code ec;
    for (const fs::path& made : {all, kept})
        if (fs::create_directory(made, ec))
            if (const auto given = give_as(made, rotation.directory); !given) return given;
    auto text = read_file(rotation.secret());
    if (!text) return tl::unexpected(text.error());
    const fs::path secret = bus::secret_key_path(kept, old.name);
    const auto copied = write_new_file(secret, *text, bus::secret_file_mode);
    sodium_memzero(text->data(), text->size());
    if (!copied) return tl::unexpected(copied.error());
    if (const auto given = give_as(secret, rotation.secret()); !given) return given;
    const fs::path handed_out = bus::public_key_path(kept, old.name);
    if (const auto written = write_new_file(
            handed_out, bus::public_file_text(bus::public_half(old)), bus::public_file_mode);
        !written)
        return tl::unexpected(written.error());
    std::error_code there;
    return fs::exists(rotation.handed_out(), there) ? give_as(handed_out, rotation.handed_out())
                                                    : Result<>{};
}

/// NAME.pub of the key, in place of the old one.
Result<> place_public(const Rotation& rotation, const bus::SecretKeyFile& key) {
    const fs::path next = rotation.aside / "next";
    std::error_code ec;
    fs::remove(next, ec);
    if (const auto written = write_new_file(next, bus::public_file_text(bus::public_half(key)),
                                            bus::public_file_mode);
        !written)
        return tl::unexpected(written.error());
    if (fs::exists(rotation.handed_out(), ec)) {
        if (const auto given = give_as(next, rotation.handed_out()); !given) return given;
    } else {
        if (const auto given = give_as(next, rotation.secret()); !given) return given;
        ::chmod(next.c_str(), bus::public_file_mode);
    }
    return moved(next, rotation.handed_out());
}

/// The new secret in its place in one step, so that whoever connects meanwhile finds one of both,
/// then what follows from it. Killed anywhere in between, the same command goes on.
Result<> put_in_place(const Rotation& rotation, const bus::SecretKeyFile& old,
                      const bus::SecretKeyFile& fresh) {
    if (const auto kept = keep_old(rotation, old); !kept) return kept;
    const fs::path staged = bus::secret_key_path(rotation.aside, rotation.name);
    if (const auto given = give_as(staged, rotation.secret()); !given) return given;
    if (const auto done = moved(staged, rotation.secret()); !done) return done;
    sync_directory_of(rotation.secret());
    if (const auto done = place_public(rotation, fresh); !done) return done;
    std::error_code ec;
    fs::remove_all(rotation.aside, ec);
    return {};
}

/// Whether an earlier attempt was killed after the new secret had come to its place; what was
/// missing then is done.
Result<bool> finished_now(const Rotation& rotation) {
    std::error_code ec;
    if (fs::exists(bus::secret_key_path(rotation.aside, rotation.name), ec)) return false;
    const bool half = fs::exists(bus::public_key_path(rotation.aside, rotation.name), ec);
    if (half) {
        const auto key = bus::read_secret_key(rotation.secret());
        if (!key) return tl::unexpected(key.error());
        if (const auto done = place_public(rotation, *key); !done)
            return tl::unexpected(done.error());
    }
    fs::remove_all(rotation.aside, ec);
    return half;
}

/// The old key and the broker's. An old one that has ended is no reason to stop while a new one
/// lies aside, which the broker may have.
Result<bus::LinkKeys> keys_now(const bus::KeySource& source, const Rotation& rotation) {
    auto keys = bus::load_link_keys(source, rotation.name, bus::wall_seconds());
    std::error_code ec;
    if (keys || keys.error().code != Errc::not_allowed ||
        !fs::exists(bus::secret_key_path(rotation.aside, rotation.name), ec))
        return keys;
    auto own = bus::read_secret_key(rotation.secret());
    if (!own) return tl::unexpected(own.error());
    auto broker =
        bus::read_public_key(bus::public_key_path(rotation.directory, bus::broker_key_name));
    if (!broker) return tl::unexpected(broker.error());
    return bus::LinkKeys{std::move(*own), std::move(*broker)};
}

int report(const KeysRotateArguments& arguments, const std::string& name, const bus::PublicKey& key,
           const std::string& old, bus::Seconds expires) {
    const std::string fingerprint = bus::fingerprint_of(key);
    const std::string line = name + " " + fingerprint;
    if (arguments.json) {
        print(JsonObject()
                  .add("name", name)
                  .add("fingerprint", fingerprint)
                  .add("old", old)
                  .add("expires", bus::date_text(expires))
                  .add("known_parties", line)
                  .text() +
              "\n");
        return 0;
    }
    print(fingerprint + "\n");
    note(arguments, "the new key of " + name +
                        " is in its place; the old one is good for a day more. Processes that run "
                        "connect with the new one by themselves, and seal with it when they are "
                        "started again");
    note(arguments,
         "every other party knows the old key, and refuses runs with the new one until "
         "its " +
             std::string(bus::known_parties_name) + " has this line too: " + line +
             " (who was handed " + name + ".pub needs the new one)");
    return 0;
}

int rotate(const KeysRotateArguments& arguments, const std::string& broker,
           const bus::KeySource& source, const Rotation& rotation) {
    const auto finished = finished_now(rotation);
    if (!finished) return report_failure(arguments, finished.error());
    const auto keys = keys_now(source, rotation);
    if (!keys) return report_failure(arguments, keys.error());
    if (*finished)
        return report(arguments, rotation.name, keys->own.pair.public_key, "", keys->own.expires);
    std::error_code ec;
    const bool staged = fs::exists(rotation.aside, ec);
    const auto fresh = staged
                           ? bus::read_key_pair(rotation.aside, rotation.name)
                           : bus::make_key_files(rotation.aside, rotation.name, keys->own.expires);
    if (!fresh) return report_failure(arguments, fresh.error());
    const EnrolEnd end = enrol({broker, *keys, *fresh, !staged});
    if (!end.answer) {
        Failure failure = end.answer.error();
        if (end.useless)
            fs::remove_all(rotation.aside, ec);
        else
            failure.hint = "perhaps the broker has the new key, which stays in " +
                           rotation.aside.string() + "; run the same command again";
        return report_failure(arguments, failure);
    }
    bus::SecretKeyFile counts = *fresh;  // with the end that the broker has given it
    const auto done = [&]() -> Result<> {
        if (end.answer->expires != 0) {
            counts.expires = static_cast<bus::Seconds>(end.answer->expires);
            if (auto set = bus::set_key_end(rotation.aside, rotation.name, counts.expires); !set)
                return set;
        }
        return put_in_place(rotation, keys->own, counts);
    }();
    if (!done) {
        Failure failure = done.error();
        failure.hint = "the broker has the new key; mend this and run the same command again";
        return report_failure(arguments, failure);
    }
    return report(arguments, rotation.name, fresh->pair.public_key,
                  bus::fingerprint_of(keys->own.pair.public_key),
                  static_cast<bus::Seconds>(end.answer->expires));
}

}  // namespace

int run(const KeysRotateArguments& arguments) {
    const auto config = load_config(arguments, broker_flag(arguments.broker));
    if (!config) return report_failure(arguments, config.error());
    bus::KeySource source = key_source(*config);
    if (!source.given())
        return report_failure(
            arguments, {Errc::usage,
                        "this configuration has no keys for a broker on tcp: bus.certificates, or "
                        "--certificates DIR"});
    const auto name = bus::asking_key(source);
    if (!name) return report_failure(arguments, name.error());
    if (*name == bus::broker_key_name)
        return report_failure(
            arguments, {Errc::usage,
                        "the broker's own key is not on its allow-list and cannot be exchanged so; "
                        "make a new one and hand out its broker.pub (docs/security.md)"});
    source.name = *name;
    return rotate(arguments, config->bus.broker, source,
                  {*name, source.directory, source.directory / ("rotating-" + *name)});
}

}  // namespace vflbus::cli
