// vflbus nodes: who is, and was, connected to a broker

#include "ask.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "settings.hpp"
#include "signals.hpp"

namespace vflbus::cli {

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
        print(JsonObject().add_json("nodes", json_array(objects)).text() + "\n");
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
    return 0;
}

}  // namespace vflbus::cli
