// vflbus runs: the runs that a broker knows, or that lie here

#include "ask.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "local_runs.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "settings.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

void say_none(const RunsArguments& arguments, const std::string& where) {
    note(arguments, "there are no runs" + where +
                        (arguments.status.empty() ? "" : " that are " + arguments.status));
}

bool is_wanted(const LocalRun& run, const std::string& status) {
    const bool over =
        run.status == "completed" || run.status == "failed" || run.status == "stopped";
    return status.empty() || run.status == status || (status == "finished" && over);
}

void print_local_table(const std::vector<LocalRun>& runs) {
    using observe::Align;
    observe::Table table({{"RUN"},
                          {"FOR"},
                          {"STATUS"},
                          {"TASK"},
                          {"LABEL"},
                          {"ROWS", Align::right},
                          {"METRIC"},
                          {time_title("CHANGED")},
                          {"TIME", Align::right}});
    for (const LocalRun& run : runs)
        table.add({run.run.short_hex(), run.purpose.empty() ? "-" : run.purpose, run.status,
                   run.report.task.empty() ? "-" : run.report.task,
                   run.report.experiment_label.empty() ? "-" : run.report.experiment_label,
                   run.report.rows_train + run.report.rows_test == 0
                       ? "-"
                       : observe::grouped(run.report.rows_train + run.report.rows_test),
                   run.headline().empty() ? "-" : run.headline(), time_text(run.changed_ms),
                   run.report.total_seconds > 0 ? human_seconds(run.report.total_seconds) : "-"});
    print(shown(table));
}

int list_local(const RunsArguments& arguments, const config::Config& config) {
    std::vector<LocalRun> runs = local_runs(config.output.runs_dir);
    std::erase_if(runs, [&](const LocalRun& run) { return !is_wanted(run, arguments.status); });
    if (runs.size() > arguments.limit) runs.resize(arguments.limit);
    if (arguments.json) {
        std::vector<std::string> objects;
        for (const LocalRun& run : runs) objects.push_back(to_json(run));
        print(JsonObject().add_json("runs", json_array(objects)).add("local", true).text() + "\n");
    } else if (runs.empty()) {
        say_none(arguments, " in " + config.output.runs_dir);
    } else {
        print_local_table(runs);
    }
    return 0;
}

}  // namespace

int run(const RunsArguments& arguments) {
    const auto config = load_config(arguments, broker_flag(arguments.broker));
    if (!config) return report_failure(arguments, config.error());
    if (arguments.local) return list_local(arguments, *config);
    bus::StopSignal stop;
    const SignalScope signals(stop);
    auto asker = Asker::connect(*config, stop);
    if (!asker) {
        const bool lie_here =
            asker.error().code == Errc::unreachable && !local_runs(config->output.runs_dir).empty();
        if (!lie_here) return report_failure(arguments, asker.error());
        note(arguments, "no broker answers at " + config->bus.broker + "; these runs lie in " +
                            config->output.runs_dir);
        return list_local(arguments, *config);
    }
    const auto rows = asker->runs(arguments.status, arguments.limit);
    if (!rows) return report_failure(arguments, rows.error());
    if (arguments.json) {
        std::vector<std::string> objects;
        for (const bus::RunRow& row : *rows) objects.push_back(to_json(row));
        print(JsonObject().add_json("runs", json_array(objects)).text() + "\n");
        return 0;
    }
    if (rows->empty()) {
        say_none(arguments, "");
        return 0;
    }
    using observe::Align;
    observe::Table table({{"RUN"},
                          {"STATUS"},
                          {"OWNER"},
                          {"PARTIES", Align::right},
                          {time_title("CREATED")},
                          {"DURATION", Align::right},
                          {"MESSAGES", Align::right},
                          {"BYTES", Align::right}});
    const std::uint64_t now = wall_now_ms();
    for (const bus::RunRow& row : *rows)
        table.add({row.run.short_hex(), state_text(row), row.owner,
                   std::to_string(row.participants), time_text(row.created_ms),
                   duration_text(row, now), observe::grouped(row.messages),
                   human_bytes(row.bytes)});
    print(shown(table));
    return 0;
}

}  // namespace vflbus::cli
