// vflbus approve, refuse, grant: what somebody at a member says about the runs of others. They work
// on files in the member's own directory, and nothing of them goes over the bus.

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>

#include "ask.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "data/source.hpp"
#include "node_place.hpp"
#include "observe/audit.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "policy/gate.hpp"
#include "policy/grants.hpp"
#include "wall_clock.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// Who says it: the user of this process.
std::string this_user() {
    const uid_t uid = ::getuid();
    const passwd* const entry = ::getpwuid(uid);
    return entry != nullptr ? entry->pw_name : "user " + std::to_string(uid);
}

/// What was said stands in the audit log as well, also when the node does not run.
Result<> record(const fs::path& state_dir, std::string_view event, const Json& fields) {
    observe::AuditOptions options;
    options.says_started = false;
    auto log = observe::AuditLog::open(audit_directory(state_dir), options);
    if (!log) return tl::unexpected(log.error());
    return (*log)->append(event, fields);
}

Result<policy::Held> find_held(const std::vector<policy::Held>& held, const std::string& digits) {
    const policy::Held* found = nullptr;
    for (const policy::Held& one : held) {
        if (!one.run.hex().starts_with(digits)) continue;
        if (found != nullptr)
            return fail(Errc::usage, "several runs begin with " + digits + "; give more digits");
        found = &one;
    }
    if (found == nullptr)
        return fail(Errc::unknown_run, "no run that begins with " + digits + " waits here; " +
                                           "`vflbus approve` lists those that do");
    return *found;
}

std::string participants_text(const policy::Held& held) {
    std::vector<std::string> names;
    for (const std::string& name : held.participants) names.push_back(printable(name));
    return join_and(names);
}

int list_held(const ApprovalArguments& arguments, const std::vector<policy::Held>& held) {
    if (arguments.json) {
        std::vector<std::string> rows;
        for (const policy::Held& one : held)
            rows.push_back(JsonObject()
                               .add("run", one.run.hex())
                               .add("owner", one.owner.name)
                               .add("fingerprint", one.owner.fingerprint)
                               .add("what", one.what)
                               .add("participants", one.participants)
                               .add("since", time_json(static_cast<std::uint64_t>(one.since_ms)))
                               .add("until", time_json(static_cast<std::uint64_t>(one.until_ms)))
                               .text());
        print(JsonObject().add_json("held", json_array(rows)).text() + "\n");
        return 0;
    }
    if (held.empty()) {
        note(arguments, "no run waits for approval");
        return 0;
    }
    observe::Table table(
        {{"RUN"}, {"OWNER"}, {"WHAT"}, {"WITH"}, {time_title("SINCE")}, {time_title("UNTIL")}});
    for (const policy::Held& one : held)
        table.add({one.run.short_hex(), printable(one.owner.name), printable(one.what),
                   participants_text(one), time_text(static_cast<std::uint64_t>(one.since_ms)),
                   time_text(static_cast<std::uint64_t>(one.until_ms))});
    print(shown(table));
    return 0;
}

/// "2026-12-31", the whole of that day in UTC.
Result<std::int64_t> end_of_day(const std::string& text) {
    std::tm day{};
    const char* const end = ::strptime(text.c_str(), "%Y-%m-%d", &day);
    if (end == nullptr || *end != '\0')
        return fail(Errc::usage, "--until " + text + ": a date is such as 2026-12-31");
    const int said = day.tm_mday;
    const std::time_t begin = ::timegm(&day);  // makes 3 March of 31 February
    if (day.tm_mday != said)
        return fail(Errc::usage, "--until " + text + ": that month has no such day");
    return (static_cast<std::int64_t>(begin) + 24 * 60 * 60) * 1000;
}

std::int64_t now_ms() {
    return static_cast<std::int64_t>(wall_now_ms());
}

int list_grants(const GrantArguments& arguments, const std::vector<policy::Grant>& grants) {
    if (arguments.json) {
        std::vector<std::string> rows;
        for (const policy::Grant& grant : grants)
            rows.push_back(JsonObject()
                               .add("table", grant.table)
                               .add("owner", grant.owner)
                               .add("fingerprint", grant.fingerprint)
                               .add("until", time_json(static_cast<std::uint64_t>(grant.until_ms)))
                               .add("counts", now_ms() < grant.until_ms)
                               .add("by", grant.by)
                               .text());
        print(JsonObject().add_json("grants", json_array(rows)).text() + "\n");
        return 0;
    }
    if (grants.empty()) {
        note(arguments, "nothing is granted");
        return 0;
    }
    observe::Table table({{"TABLE"}, {"OWNER"}, {"KEY"}, {time_title("UNTIL")}, {"BY"}});
    for (const policy::Grant& grant : grants)
        table.add({printable(grant.table), printable(grant.owner), grant.fingerprint,
                   time_text(static_cast<std::uint64_t>(grant.until_ms)) +
                       (now_ms() < grant.until_ms ? "" : " (over)"),
                   printable(grant.by)});
    print(shown(table));
    return 0;
}

Json about(const policy::Grant& grant) {
    return Json{{"table", grant.table},
                {"owner", grant.owner},
                {"fingerprint", grant.fingerprint},
                {"until", time_json(static_cast<std::uint64_t>(grant.until_ms))},
                {"by", this_user()}};
}

/// As the gate has the tables of the configuration, and there when it is a plain file: what a
/// pattern or a command gives is seen when it is read.
Result<std::string> table_of(const GrantArguments& arguments) {
    std::string table = data::absolute_location(arguments.table);
    std::error_code ec;
    const bool plain = table.starts_with('/') && table.find_first_of("*?[") == std::string::npos;
    if (plain && !arguments.withdraw && !fs::exists(table, ec))
        return fail(Errc::io, "there is no table " + table);
    return table;
}

/// Adds the grant, or takes it away.
Result<> change_grant(const GrantArguments& arguments, const fs::path& state_dir) {
    policy::Grant grant;
    grant.owner = arguments.owner;
    grant.fingerprint = bus::parse_fingerprint(arguments.key);
    if (grant.fingerprint.empty() && !arguments.key.empty())
        return fail(Errc::usage, "--key " + arguments.key +
                                     " is no fingerprint; `vflbus keys fingerprint` says one");
    grant.by = this_user();
    if (!is_valid_node_name(grant.owner))
        return fail(Errc::usage, arguments.owner + " is no name of a node");
    if (!arguments.withdraw) {
        const auto until = end_of_day(arguments.until);
        if (!until) return tl::unexpected(until.error());
        if (*until <= now_ms()) return fail(Errc::usage, "--until " + arguments.until + " is over");
        grant.until_ms = *until;
    }
    auto table = table_of(arguments);
    if (!table) return tl::unexpected(table.error());
    grant.table = std::move(*table);
    // without --key a withdrawal takes the grants of all keys: none is left that still counts
    const auto same = [&](const policy::Grant& other) {
        return other.table == grant.table && other.owner == grant.owner &&
               ((arguments.withdraw && grant.fingerprint.empty()) ||
                other.fingerprint == grant.fingerprint ||
                policy::same_key(other.fingerprint, grant.fingerprint));
    };
    bool recorded = false;
    const auto change = [&](std::vector<policy::Grant>& grants) -> Result<> {
        const std::size_t taken = std::erase_if(grants, same);
        if (arguments.withdraw && taken == 0)
            return fail(Errc::usage, grant.table + " is not granted to " + grant.owner +
                                         (grant.fingerprint.empty() ? "" : " with that key"));
        if (!arguments.withdraw) grants.push_back(grant);
        auto done =
            record(state_dir, arguments.withdraw ? "grant withdrawn" : "grant", about(grant));
        recorded = done.has_value();
        return done;
    };
    auto changed = policy::change_grants(policy::policy_directory(state_dir), change);
    if (!changed && recorded) {
        // it stands in the audit log already: the log says that nothing came of it
        Json line = about(grant);
        line["why"] = changed.error().sentence;
        (void)record(state_dir,
                     arguments.withdraw ? "grant withdrawal not stored" : "grant not stored", line);
    }
    return changed;
}

}  // namespace

int run(const ApprovalArguments& arguments) {
    const auto node = find_node(arguments);
    if (!node) return report_failure(arguments, node.error());
    const auto held = policy::read_held(*node);
    if (arguments.run.empty()) return list_held(arguments, held);
    const auto one = find_held(held, arguments.run);
    if (!one) return report_failure(arguments, one.error());
    if (const auto said = policy::say(*node, *one, arguments.approves, this_user()); !said)
        return report_failure(arguments, said.error());
    const std::string word = arguments.approves ? "approved" : "refused";
    if (arguments.json)
        print(JsonObject().add("status", word).add("run", one->run.hex()).text() + "\n");
    else
        note(arguments, word + " run " + one->run.short_hex() + " of " +
                            printable(one->owner.name) + " (" + printable(one->what) + ")");
    return 0;
}

int run(const GrantArguments& arguments) {
    const bool changes = !arguments.table.empty();
    const bool grants_anew = changes && !arguments.withdraw;
    const auto node = find_node(arguments, grants_anew ? Missing::is_made : Missing::is_an_error);
    if (!node) return report_failure(arguments, node.error());
    if (!changes) {
        const auto grants = policy::read_grants(policy::policy_directory(*node));
        if (!grants) return report_failure(arguments, grants.error());
        return list_grants(arguments, *grants);
    }
    if (arguments.owner.empty())
        return report_failure(arguments, {Errc::usage, "say to whom: vflbus grant TABLE OWNER"});
    if (arguments.until.empty() && !arguments.withdraw)
        return report_failure(arguments, {Errc::usage, "say --until DATE, or --withdraw"});
    std::error_code ec;
    const bool made = !fs::is_directory(*node, ec);
    const auto changed = change_grant(arguments, *node);
    if (changed && made && !arguments.json)
        note(arguments, "made " + node->string() + ", as that node had no directory yet");
    if (changed && arguments.json)
        print(JsonObject()
                  .add("status", arguments.withdraw ? "withdrawn" : "granted")
                  .add("table", data::absolute_location(arguments.table))
                  .add("owner", arguments.owner)
                  .text() +
              "\n");
    return report_end(arguments, changed ? Failure{Errc::ok, {}} : changed.error());
}

}  // namespace vflbus::cli
