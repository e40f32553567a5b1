// vflbus audit verify, vflbus audit show: what a node of this machine has decided and run

#include "observe/audit.hpp"

#include <filesystem>
#include <fstream>

#include "base/text.hpp"
#include "commands.hpp"
#include "node_place.hpp"
#include "output.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// The log that was named: a file, the directory that holds it, or that of the node.
Result<fs::path> find_log(const NodePlace& place, const std::string& file) {
    std::error_code ec;
    if (!file.empty())
        return fs::is_directory(file, ec) ? observe::audit_file(file) : fs::path(file);
    const auto node = find_node(place);
    if (!node) return tl::unexpected(node.error());
    return observe::audit_file(audit_directory(*node));
}

/// "owner=bank run=1f0c9a33": the members that an event has of its own.
std::string members_text(const Json& line) {
    std::string text;
    for (const Json::Member& member : line.items()) {
        if (member.key == "n" || member.key == "time" || member.key == "prev" ||
            member.key == "event" || member.key == "decision" || member.key == "signature")
            continue;
        text += " " + member.key + "=";
        text += member.value.is_string() ? member.value.get<std::string>() : member.value.dump();
    }
    return printable(text);
}

/// Empty for a line that has no text there.
std::string text_of(const Json& line, const char* key) {
    const Json* const value = line.find(key);
    return value != nullptr && value->is_string() ? printable(value->get<std::string>())
                                                  : std::string();
}

std::string what_of(const Json& line) {
    return text_of(line, line.find("decision") != nullptr ? "decision" : "event");
}

}  // namespace

int run(const AuditVerifyArguments& arguments) {
    const auto log = find_log(arguments, arguments.file);
    if (!log) return report_failure(arguments, log.error());
    observe::AuditExpected expected;
    expected.public_key = arguments.key;
    expected.head = arguments.head;
    expected.head_file = !arguments.no_head;
    const auto verdict = observe::verify_audit(*log, expected);
    if (!verdict) return report_failure(arguments, verdict.error());
    if (arguments.json) {
        JsonObject out = versioned("vflbus-audit-check");
        out.add("status", "whole").add("file", log->string()).add("lines", verdict->lines);
        out.add("signed_lines", verdict->signed_lines).add("signatures", verdict->signatures);
        out.add("torn", verdict->torn).add("key", verdict->public_key).add("head", verdict->head);
        out.add("head_missing", verdict->head_missing).add("note", verdict->note);
        print(out.text() + "\n");
        return 0;
    }
    print(log->string() + ": whole, " + std::to_string(verdict->lines) + " lines, " +
          std::to_string(verdict->signatures) + " signatures\n  key  " + verdict->public_key +
          "\n  head " + verdict->head + "\n");
    if (verdict->torn != 0)
        print("  " + std::to_string(verdict->torn) +
              " torn by crashes, each told by the next line\n");
    if (!verdict->note.empty()) print("  " + verdict->note + "\n");
    return 0;
}

int run(const AuditShowArguments& arguments) {
    const auto log = find_log(arguments, arguments.file);
    if (!log) return report_failure(arguments, log.error());
    std::ifstream in(*log);
    if (!in) return report_failure(arguments, {Errc::io, "cannot read " + log->string()});
    for (std::string text; std::getline(in, text);) {
        const Json line = Json::parse(text);
        const bool whole = line.is_object();
        if (!arguments.run.empty()) {
            const Json* const run = whole ? line.find("run") : nullptr;
            if (run == nullptr || !run->is_string() ||
                !run->get<std::string>().starts_with(arguments.run))
                continue;
        }
        if (arguments.json)
            print(whole ? text + "\n" : std::string());
        else if (!whole)
            print("(torn: " + std::to_string(text.size()) + " bytes)\n");
        else if (text_of(line, "time").empty() || what_of(line).empty())
            print("(broken: " + printable(text) + ")\n");
        else
            print(text_of(line, "time") + "  " + what_of(line) + members_text(line) + "\n");
    }
    return 0;
}

}  // namespace vflbus::cli
