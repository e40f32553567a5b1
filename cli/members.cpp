// vflbus allow, revoke and members: the broker's allow-list

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "base/text.hpp"
#include "bus/keys/allow_list_file.hpp"
#include "bus/keys/enrolment.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/zmq/conduct_file.hpp"
#include "commands.hpp"
#include "key_store.hpp"
#include "observe/table.hpp"
#include "output.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// What --key says: a file, a public key or a fingerprint.
Result<bus::Allowed> allowed_key(const std::string& text) {
    bus::Allowed entry;
    std::error_code ec;
    if (fs::is_regular_file(text, ec)) {
        const auto file = bus::read_public_key(text);
        if (!file) return tl::unexpected(file.error());
        entry.key = file->key;
        entry.expires = file->expires;
    } else if (const auto key = bus::parse_public_key(text)) {
        entry.key = *key;
    }
    entry.fingerprint = entry.key ? bus::fingerprint_of(*entry.key) : bus::parse_fingerprint(text);
    if (entry.fingerprint.empty())
        return fail(Errc::usage,
                    "--key is the .pub file of a key, its public key or its "
                    "fingerprint, not \"" +
                        printable(text) + "\"");
    return entry;
}

/// The line that `allow` writes, as the list itself reads it.
Result<bus::Allowed> new_entry(const AllowArguments& arguments) {
    auto entry = allowed_key(arguments.key);
    if (!entry) return entry;
    const bus::Seconds now = bus::wall_seconds();
    if (!arguments.expires.empty()) {
        const auto period = period_of("--expires", arguments.expires);
        if (!period) return tl::unexpected(period.error());
        entry->expires = now + *period;
    }
    if (entry->expires == 0) entry->expires = now + bus::key_lifetime_s;
    if (entry->expires <= now)
        return fail(Errc::usage, "the key of " + arguments.name + " has expired " +
                                     bus::from_now(entry->expires, now) + "; it needs a new one");
    entry->name = arguments.name;
    return with_rights(*entry, arguments.roles, arguments.ranks, arguments.may);
}

/// `text` without the keys of a name; they are put into `gone`.
Result<std::string> without_entry(const std::string& text, const RevokeArguments& arguments,
                                  const std::string& fingerprint, std::vector<std::string>& gone) {
    std::vector<std::string> faults;
    const bus::AllowList list = bus::AllowList::parse(text, faults);
    std::vector<std::size_t> lines;
    std::string remarks;
    for (const bus::Invited& invited : list.invitations())
        if (invited.as.name == arguments.name && fingerprint.empty())
            lines.push_back(invited.as.line);
    for (const bus::Allowed& entry : list.entries()) {
        if (entry.name != arguments.name) continue;
        if (!fingerprint.empty() && entry.fingerprint != fingerprint) continue;
        lines.push_back(entry.line);
        gone.push_back(entry.fingerprint);
        remarks += "# revoked " + bus::date_text(bus::wall_seconds()) + " " + entry.name + " " +
                   entry.fingerprint + "\n";
    }
    if (lines.empty())
        return fail(Errc::usage, "there is no " +
                                     (fingerprint.empty() ? std::string("key") : fingerprint) +
                                     " of " + printable(arguments.name) +
                                     " on the allow-list; `vflbus members` shows it");
    return bus::without_lines(text, lines) + remarks;
}

/// What the broker holds against each key, as far as it has said so.
std::vector<bus::NotedConduct> conduct_at(const std::string& certificates) {
    const fs::path file = bus::conduct_path(certificates);
    std::error_code ec;
    if (!fs::exists(file, ec)) return {};
    const auto text = read_file(file);
    return text ? bus::parse_conduct(*text) : std::vector<bus::NotedConduct>{};
}

std::string conduct_line(const bus::NotedConduct& noted, bus::Seconds now) {
    std::string line = printable(noted.name) + " has sent " + std::to_string(noted.breaches) +
                       " frames that break the protocol";
    if (noted.cuts > 0) line += ", was cut " + std::to_string(noted.cuts) + " times for them";
    if (noted.until > now) line += ", and is held off until " + bus::date_text(noted.until);
    return line;
}

std::string json_of(const bus::Allowed& entry, bus::Seconds now,
                    const std::vector<bus::NotedConduct>& conduct = {}) {
    bus::NotedConduct noted;
    for (const bus::NotedConduct& one : conduct)
        if (one.name == entry.name) noted = one;
    std::vector<std::string> ranks;
    for (const std::uint64_t rank : entry.ranks) ranks.push_back(std::to_string(rank));
    std::vector<std::string> may;
    for (const auto& [right, name] : bus::right_names)
        if (entry.may(right)) may.emplace_back(name);
    return JsonObject()
        .add("name", entry.name)
        .add("fingerprint", entry.fingerprint)
        .add("roles", entry.roles)
        .add_json("ranks", json_array(ranks))
        .add("may", may)
        .add("expires", bus::date_text(entry.expires))
        .add("expired", entry.expires <= now)
        .add("breaches", noted.breaches)
        .add("cut", noted.cuts)
        .add("held_off_until", noted.until > now ? bus::date_text(noted.until) : std::string())
        .text();
}

}  // namespace

int run(const AllowArguments& arguments) {
    const auto entry = new_entry(arguments);
    if (!entry) return report_failure(arguments, entry.error());
    const bus::Beside beside = beside_of(arguments.replace, arguments.also);
    const auto changed = bus::change_allow_list(
        arguments.certificates,
        [&](const std::string& text) { return bus::with_key(text, *entry, beside); });
    if (!changed) return report_failure(arguments, changed.error());
    const std::string rights = bus::text_of_rights(*entry);
    if (arguments.json)
        print(json_of(*entry, bus::wall_seconds()) + "\n");
    else
        note(arguments, entry->name + " is allowed with the key " + entry->fingerprint +
                            (rights.empty() ? ", to ask about its own runs" : ", " + rights) +
                            ", until " + bus::date_text(entry->expires));
    std::error_code ec;
    if (!fs::exists(bus::secret_key_path(arguments.certificates, bus::broker_key_name), ec))
        note(arguments, "no broker's key is in " + arguments.certificates +
                            ", so no broker reads this list yet; is it the --certificates that "
                            "the broker is started with?");
    return 0;
}

int run(const RevokeArguments& arguments) {
    std::string fingerprint;
    if (!arguments.key.empty()) {
        const auto key = allowed_key(arguments.key);
        if (!key) return report_failure(arguments, key.error());
        fingerprint = key->fingerprint;
    }
    std::vector<std::string> gone;
    const auto changed = bus::change_allow_list(
        arguments.certificates,
        [&](const std::string& text) { return without_entry(text, arguments, fingerprint, gone); });
    if (!changed) return report_failure(arguments, changed.error());
    if (arguments.json)
        print(JsonObject().add("name", arguments.name).add("revoked", gone).text() + "\n");
    else
        note(arguments, gone.empty() ? "the invitation of " + arguments.name +
                                           " is withdrawn; nobody had joined by it"
                                     : arguments.name + " is revoked, " + join_and(gone) +
                                           "; a running broker ends its sessions within a second");
    return 0;
}

int run(const MembersArguments& arguments) {
    const fs::path file = bus::allow_list_path(arguments.certificates);
    const auto text = allow_list_text(file);
    if (!text) return report_failure(arguments, text.error());
    std::vector<std::string> faults;
    const bus::AllowList list = bus::AllowList::parse(*text, faults);
    for (const std::string& fault : faults)
        error_line(file.string() + ", " + fault + "; this line counts as not there");
    const bus::Seconds now = bus::wall_seconds();
    const std::vector<bus::NotedConduct> conduct = conduct_at(arguments.certificates);
    if (arguments.json) {
        std::vector<std::string> objects;
        for (const bus::Allowed& entry : list.entries())
            objects.push_back(json_of(entry, now, conduct));
        print(versioned("vflbus-members").add_json("members", json_array(objects)).text() + "\n");
        return 0;
    }
    if (list.entries().empty() && list.invitations().empty()) {
        note(arguments, "nobody is on the allow-list " + file.string() +
                            "; let somebody in with `vflbus allow`");
        return 0;
    }
    observe::Table table({{"NAME"}, {"MAY"}, {"FINGERPRINT"}, {"EXPIRES"}});
    for (const bus::Allowed& entry : list.entries()) {
        table.add({entry.name, bus::text_of_rights(entry), entry.fingerprint,
                   bus::date_text(entry.expires) + ", " + bus::from_now(entry.expires, now)});
        if (entry.expires <= now + bus::key_warning_s)
            error_line("the key of " + entry.name +
                       (entry.expires > now ? " expires " : " has expired ") +
                       bus::from_now(entry.expires, now));
    }
    for (const bus::Invited& invited : list.invitations())
        if (invited.used.empty() && invited.as.expires > now)
            table.add({invited.as.name, bus::text_of_rights(invited.as), "invited, has not joined",
                       "the invitation " + bus::from_now(invited.as.expires, now)});
    print(shown(table));
    for (const bus::NotedConduct& noted : conduct) error_line(conduct_line(noted, now));
    return 0;
}

}  // namespace vflbus::cli
