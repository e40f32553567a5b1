// vflbus nodes: who is, and was, connected to a broker

#include <filesystem>
#include <string>
#include <vector>

#include "ask.hpp"
#include "base/text.hpp"
#include "bus/keys/allow_list_file.hpp"
#include "bus/keys/key_files.hpp"
#include "commands.hpp"
#include "key_store.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "settings.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

/// Where the broker's own keys are: of keys on its allow-list that end soon.
void warn_of_members(const std::filesystem::path& certificates) {
    if (certificates.empty()) return;
    const auto text = allow_list_text(bus::allow_list_path(certificates));
    if (!text) return;
    std::vector<std::string> faults;
    const bus::AllowList list = bus::AllowList::parse(*text, faults);
    for (const bus::Allowed& entry : list.entries())
        if (const std::string warning =
                bus::expiry_warning("the key of " + entry.name, entry.expires, bus::wall_seconds());
            !warning.empty())
            error_line(warning);
}

}  // namespace

int run(const NodesArguments& arguments) {
    const auto config = load_config(arguments, broker_flag(arguments.broker));
    if (!config) return report_failure(arguments, config.error());
    bus::StopSignal stop;
    const SignalScope signals(stop);
    auto asker = Asker::connect(*config, stop);
    if (!asker) return report_failure(arguments, asker.error());
    const auto rows = asker->nodes(arguments.limit);
    if (!rows) return report_failure(arguments, rows.error());
    if (arguments.json) {
        std::vector<std::string> objects;
        for (const bus::NodeRow& row : *rows) objects.push_back(to_json(row));
        print(versioned("vflbus-nodes").add_json("nodes", json_array(objects)).text() + "\n");
        return 0;
    }
    if (rows->empty()) {
        note(arguments, "there are no nodes");
        return 0;
    }
    using observe::Align;
    observe::Table table({{"NODE"},
                          {"ROLE"},
                          {"STATUS"},
                          {"VERSION"},
                          {"SERVES"},
                          {"RUNS", Align::right},
                          {time_title("FIRST SEEN")},
                          {"MESSAGES", Align::right},
                          {"BYTES", Align::right}});
    for (const bus::NodeRow& row : *rows)
        table.add({row.name, row.role, std::string(bus::name_of(row.state)), row.version,
                   join_and(row.features), std::to_string(row.runs), time_text(row.first_seen_ms),
                   observe::grouped(row.messages), human_bytes(row.bytes)});
    print(shown(table));
    warn_of_members(config->bus.certificates);
    return 0;
}

}  // namespace vflbus::cli
