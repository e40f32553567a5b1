// vflbus invite: at the broker

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "bus/keys/allow_list_file.hpp"
#include "bus/keys/enrolment.hpp"
#include "bus/keys/invitation.hpp"
#include "bus/keys/key_files.hpp"
#include "commands.hpp"
#include "config/value.hpp"
#include "key_store.hpp"
#include "observe/table.hpp"
#include "output.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// Whether other hosts could come to this address.
bool names_a_host(const std::string& address) {
    return address.starts_with("tcp://") && !address.starts_with("tcp://0.0.0.0:") &&
           !address.starts_with("tcp://*:") && !address.starts_with("tcp://[::]:");
}

/// What --broker says, or where the broker of this directory listened when it was last started.
Result<std::string> address_of(const InviteArguments& arguments) {
    std::string address = arguments.broker;
    if (address.empty()) {
        const auto noted = read_file(broker_addresses_path(arguments.certificates));
        if (!noted)
            return fail(Errc::usage,
                        "nobody can say where parties reach the broker: start it once with these "
                        "keys, or say --broker tcp://HOST:PORT");
        for (const std::string& line : split(*noted, '\n'))
            if (address.empty() && names_a_host(line)) address = line;
        if (address.empty())
            return fail(Errc::usage,
                        "the broker listens on every address of this machine; say by "
                        "which one parties reach it: --broker tcp://HOST:PORT");
    }
    if (!names_a_host(address))
        return fail(Errc::usage,
                    "--broker is tcp://HOST:PORT as parties reach it, not " + printable(address));
    return address;
}

/// A member's node is called by its rank, and only a node that is called as its key gets in.
Result<> fits_role(const bus::Allowed& entry) {
    if (!entry.has_role("member")) return {};
    const auto rank = config::member_rank(entry.name);
    if (rank && (entry.ranks.empty() || entry.has_rank(static_cast<std::int64_t>(*rank))))
        return {};
    return fail(Errc::usage, "a member is called by its rank: --name member-" +
                                 (entry.ranks.empty() ? std::string("0 --rank 0")
                                                      : std::to_string(entry.ranks.front())) +
                                 ", not " + entry.name);
}

struct Made {
    bus::Invited invited;
    bus::InvitationLine line;
};

Result<Made> make_invitation(const InviteArguments& arguments) {
    if (arguments.name.empty())
        return fail(Errc::usage, "say who is invited: --name member-0 --role member --rank 0");
    if (arguments.name == bus::broker_key_name)
        return fail(Errc::usage,
                    "broker is the name of the broker's own key; a party needs another name");
    const fs::path broker_key = bus::public_key_path(arguments.certificates, bus::broker_key_name);
    std::error_code ec;
    if (!fs::exists(broker_key, ec))
        return fail(Errc::usage, "there is no " + broker_key.string() +
                                     ": invite where the broker's keys are, or make them: vflbus "
                                     "keys new broker");
    const auto broker = bus::read_public_key(broker_key);
    if (!broker) return tl::unexpected(broker.error());
    const auto address = address_of(arguments);
    if (!address) return tl::unexpected(address.error());
    const auto expires = period_of("--expires", arguments.expires);
    if (!expires) return tl::unexpected(expires.error());
    const auto lifetime = period_of("--key-expires", arguments.key_expires);
    if (!lifetime) return tl::unexpected(lifetime.error());

    Made made;
    made.line.address = *address;
    made.line.broker = broker->key;
    random_bytes(made.line.secret);
    bus::Allowed entry;
    entry.name = arguments.name;
    entry.fingerprint = bus::fingerprint_of(bus::key_of(made.line).public_key);
    entry.expires = bus::wall_seconds() + *expires;
    auto full = with_rights(entry, arguments.roles, arguments.ranks, arguments.may);
    if (!full) return tl::unexpected(full.error());
    if (auto fits = fits_role(*full); !fits) return tl::unexpected(fits.error());
    made.line.name = full->name;
    made.line.roles = full->roles;
    made.line.ranks = full->ranks;
    made.line.expires = full->expires;
    if (!bus::parse_invitation(bus::text_of(made.line)))
        return fail(Errc::usage, "--broker " + printable(*address) + " cannot be in an invitation");
    made.invited.as = std::move(*full);
    made.invited.lifetime = *lifetime;
    made.invited.beside = beside_of(arguments.replace, arguments.also);
    return made;
}

/// The list without invitations that nobody can use any more, and with this one.
Result<std::string> with_invitation(const std::string& text, const bus::Invited& invited) {
    std::vector<std::string> faults;
    const bus::AllowList list = bus::AllowList::parse(text, faults);
    const bus::Seconds now = bus::wall_seconds();
    std::vector<std::size_t> over;
    for (const bus::Invited& other : list.invitations()) {
        if (other.as.expires <= now) {
            over.push_back(other.as.line);
        } else if (other.as.name == invited.as.name && other.used.empty()) {
            return fail(Errc::usage, other.as.name + " is invited already, until " +
                                         bus::date_text(other.as.expires) +
                                         "; end that first: vflbus invite --withdraw " +
                                         other.as.name);
        }
    }
    // as it will be when somebody has joined, so that what cannot be is said now and here
    if (auto later = bus::with_key(text, invited.as, invited.beside); !later)
        return tl::unexpected(later.error());
    std::string after = bus::with_line(bus::without_lines(text, over), bus::line_of(invited));
    std::vector<std::string> now_wrong;
    (void)bus::AllowList::parse(after, now_wrong);
    if (now_wrong.size() > faults.size()) return fail(Errc::usage, now_wrong.back());
    return after;
}

std::string state_of(const bus::Invited& invited, bus::Seconds now) {
    if (!invited.used.empty()) return "joined with " + invited.used;
    return invited.as.expires <= now ? "expired" : "waits";
}

int list_invitations(const InviteArguments& arguments) {
    const auto text = allow_list_text(bus::allow_list_path(arguments.certificates));
    if (!text) return report_failure(arguments, text.error());
    std::vector<std::string> faults;
    const bus::AllowList list = bus::AllowList::parse(*text, faults);
    const bus::Seconds now = bus::wall_seconds();
    if (arguments.json) {
        std::vector<std::string> objects;
        for (const bus::Invited& one : list.invitations())
            objects.push_back(JsonObject()
                                  .add("name", one.as.name)
                                  .add("may", bus::text_of_rights(one.as))
                                  .add("expires", bus::date_text(one.as.expires))
                                  .add("used", one.used)
                                  .text());
        print(JsonObject().add_json("invitations", json_array(objects)).text() + "\n");
        return 0;
    }
    if (list.invitations().empty()) {
        note(arguments, "nobody is invited");
        return 0;
    }
    observe::Table table({{"NAME"}, {"MAY"}, {"STATE"}, {"EXPIRES"}});
    for (const bus::Invited& one : list.invitations())
        table.add({one.as.name, bus::text_of_rights(one.as), state_of(one, now),
                   bus::date_text(one.as.expires) + ", " + bus::from_now(one.as.expires, now)});
    print(shown(table));
    return 0;
}

int withdraw(const InviteArguments& arguments) {
    std::size_t gone = 0;
    const auto changed = bus::change_allow_list(
        arguments.certificates, [&](const std::string& text) -> Result<std::string> {
            std::vector<std::string> faults;
            const bus::AllowList list = bus::AllowList::parse(text, faults);
            std::vector<std::size_t> lines;
            for (const bus::Invited& one : list.invitations())
                if (one.as.name == arguments.withdraw) lines.push_back(one.as.line);
            gone = lines.size();
            if (lines.empty())
                return fail(Errc::usage,
                            printable(arguments.withdraw) +
                                " is not invited; `vflbus invite --list` shows who is");
            return bus::without_lines(text, lines);
        });
    if (!changed) return report_failure(arguments, changed.error());
    if (arguments.json)
        print(JsonObject().add("name", arguments.withdraw).add("withdrawn", gone).text() + "\n");
    else
        note(arguments, "the invitation of " + arguments.withdraw +
                            " is withdrawn; a key that has joined by it stays allowed until "
                            "`vflbus revoke " +
                            arguments.withdraw + "`");
    return 0;
}

}  // namespace

int run(const InviteArguments& arguments) {
    if (arguments.list) return list_invitations(arguments);
    if (!arguments.withdraw.empty()) return withdraw(arguments);
    const auto made = make_invitation(arguments);
    if (!made) return report_failure(arguments, made.error());
    const auto changed = bus::change_allow_list(
        arguments.certificates,
        [&](const std::string& text) { return with_invitation(text, made->invited); });
    if (!changed) return report_failure(arguments, changed.error());
    const std::string line = bus::text_of(made->line);
    if (arguments.json) {
        print(JsonObject()
                  .add("invitation", line)
                  .add("name", made->line.name)
                  .add("broker", made->line.address)
                  .add("expires", bus::date_text(made->line.expires))
                  .text() +
              "\n");
        return 0;
    }
    print(line + "\n");
    note(arguments, "hand this line to " + made->line.name +
                        " as you would a password; it works once, until " +
                        bus::date_text(made->line.expires) + ": vflbus join LINE");
    return 0;
}

}  // namespace vflbus::cli
