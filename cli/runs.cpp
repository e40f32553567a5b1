// vflbus runs: the runs that a broker knows, or that lie here

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "ask.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "local_runs.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "settings.hpp"
#include "signals.hpp"
#include "wall_clock.hpp"

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

/// From so many columns on there is room for a date.
constexpr std::size_t wide_columns = 100;

/// "12 min", "3 d": since then, in the largest unit that it fills.
std::string ago_text(std::uint64_t then_ms) {
    const std::uint64_t now = wall_now_ms();
    const std::uint64_t age_s = now > then_ms ? (now - then_ms) / 1000 : 0;
    if (age_s < 60) return std::to_string(age_s) + " s";
    if (age_s < 3600) return std::to_string(age_s / 60) + " min";
    if (age_s < 86400) return std::to_string(age_s / 3600) + " h";
    return std::to_string(age_s / 86400) + " d";
}

/// "y", "y, z", or of many the first ones and how many there are.
std::string labels_text(const std::vector<std::string>& labels) {
    constexpr std::size_t named_max = 3;
    std::string text;
    for (std::size_t i = 0; i < std::min(labels.size(), named_max); ++i)
        text += (i == 0 ? "" : ", ") + labels[i];
    if (labels.size() > named_max) text += " of " + std::to_string(labels.size());
    return text;
}

/// A narrow window has the age of a run in place of its date, and no column that would be empty.
void print_local_table(const std::vector<LocalRun>& runs) {
    using observe::Align;
    const bool wide = output_columns() >= wide_columns;
    const bool experiments = std::ranges::any_of(
        runs, [](const LocalRun& run) { return !run.report.experiment_label.empty(); });
    std::vector<observe::Column> columns{{"RUN"}, {"FOR"}, {"STATUS"}, {"TASK"}};
    if (wide) columns.push_back({"LABEL"});
    if (experiments) columns.push_back({"EXPERIMENT"});
    for (observe::Column column :
         {observe::Column{"ROWS", Align::right}, observe::Column{"METRIC"},
          wide ? observe::Column{time_title("CHANGED")} : observe::Column{"AGO", Align::right},
          observe::Column{"TIME", Align::right}})
        columns.push_back(std::move(column));
    observe::Table table(std::move(columns));
    for (const LocalRun& run : runs) {
        const std::uint64_t rows = run.report.rows_train + run.report.rows_test;
        std::vector<std::string> cells{
            run.run.short_hex(), run.purpose.empty() ? "-" : run.purpose, run.status,
            run.report.task.empty() ? "-" : observe::task_and_network(run.report)};
        if (wide) cells.push_back(run.labels.empty() ? "-" : labels_text(run.labels));
        if (experiments)
            cells.push_back(run.report.experiment_label.empty() ? "-"
                                                                : run.report.experiment_label);
        cells.push_back(rows == 0 ? "-" : observe::grouped(rows));
        cells.push_back(run.headline().empty() ? "-" : run.headline());
        cells.push_back(wide ? time_text(run.changed_ms) : ago_text(run.changed_ms));
        cells.push_back(run.report.total_seconds > 0 ? human_seconds(run.report.total_seconds)
                                                     : "-");
        table.add(std::move(cells));
    }
    print(shown(table));
}

int list_local(const RunsArguments& arguments, const config::Config& config) {
    std::vector<LocalRun> runs = local_runs(config.output.runs_dir);
    std::erase_if(runs, [&](const LocalRun& run) { return !is_wanted(run, arguments.status); });
    if (runs.size() > arguments.limit) runs.resize(arguments.limit);
    if (arguments.json) {
        std::vector<std::string> objects;
        for (const LocalRun& run : runs) objects.push_back(to_json(run));
        print(versioned("vflbus-runs")
                  .add_json("runs", json_array(objects))
                  .add("local", true)
                  .text() +
              "\n");
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
    bool turned_away = false;
    auto asker = Asker::connect(*config, stop, &turned_away);
    if (!asker) {
        const bool lie_here = asker.error().code == Errc::unreachable && !turned_away &&
                              !local_runs(config->output.runs_dir).empty();
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
        print(versioned("vflbus-runs").add_json("runs", json_array(objects)).text() + "\n");
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
