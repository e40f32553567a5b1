// vflbus runs: what a broker knows of runs

#include "ask.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "settings.hpp"
#include "signals.hpp"

namespace vflbus::cli {

int run(const RunsArguments& arguments) {
    const auto config = load_config(arguments, broker_flag(arguments.broker));
    if (!config) return report_failure(arguments, config.error());
    bus::StopSignal stop;
    const SignalScope signals(stop);
    auto asker = Asker::connect(*config, stop);
    if (!asker) return report_failure(arguments, asker.error());
    const auto rows = asker->runs(arguments.status, arguments.limit);
    if (!rows) return report_failure(arguments, rows.error());
    if (arguments.json) {
        std::vector<std::string> objects;
        for (const bus::RunRow& row : *rows) objects.push_back(to_json(row));
        print(JsonObject().add_json("runs", json_array(objects)).text() + "\n");
        return 0;
    }
    if (rows->empty()) {
        note(arguments, arguments.status.empty()
                            ? "there are no runs"
                            : "there are no runs that are " + arguments.status);
        return 0;
    }
    using observe::Align;
    observe::Table table({{"RUN"},
                          {"STATUS"},
                          {"OWNER"},
                          {"PARTIES", Align::right},
                          {"CREATED (UTC)"},
                          {"DURATION", Align::right},
                          {"MESSAGES", Align::right},
                          {"BYTES", Align::right}});
    const std::uint64_t now = wall_now_ms();
    for (const bus::RunRow& row : *rows)
        table.add({row.run.short_hex(), state_text(row), row.owner,
                   std::to_string(row.participants), time_text(row.created_ms),
                   duration_text(row, now), observe::grouped(row.messages),
                   human_bytes(row.bytes)});
    print(table.text());
    return 0;
}

}  // namespace vflbus::cli
