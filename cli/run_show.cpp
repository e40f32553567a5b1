// vflbus run show: one run, as the broker, its owner and its files tell it

#include <algorithm>
#include <cmath>

#include "ask.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "run_view.hpp"
#include "signals.hpp"
#include "wall_clock.hpp"

namespace vflbus::cli {
namespace {

/// Of a run that goes on: parties that the broker does not hear, and since when.
std::vector<std::string> waits_for(RunFinder& finder, const RunView& view) {
    std::vector<std::string> missing;
    if (!view.row || bus::finished(view.row->state) || finder.asker() == nullptr) return missing;
    const auto nodes = finder.asker()->nodes(bus::rows_max);
    if (!nodes) return missing;
    const bus::RunRow& row = *view.row;
    for (const bus::NodeRow& node : *nodes) {
        const bool takes_part =
            node.name == row.owner || std::ranges::find(row.names, node.name) != row.names.end();
        if (!takes_part || node.state == bus::NodeState::up) continue;
        const std::uint64_t now = wall_now_ms();
        const double silent = static_cast<double>(now - std::min(now, node.last_seen_ms)) / 1000;
        missing.push_back(node.name +
                          (node.state == bus::NodeState::left ? ", which has " : ", which is ") +
                          std::string(bus::name_of(node.state)) + " and was last heard " +
                          human_seconds(silent) + " ago");
    }
    return missing;
}

std::string to_json(const RunView& view, const std::vector<std::string>& missing) {
    const auto& [status, text, metrics] = view.told;
    JsonObject object = versioned("vflbus-run");
    object.add_json("run", view.row ? cli::to_json(*view.row) : cli::to_json(*view.local));
    object.add("owner_answers", view.owner_answers);
    if (!view.owner_answers && !view.sentence.empty()) object.add("owner_sentence", view.sentence);
    if (!view.reason.empty()) object.add("reason", view.reason);
    if (status) object.add_json("progress", cli::to_json(*status));
    if (!missing.empty()) object.add("waits_for", missing);
    if (metrics) {
        std::vector<std::string> entries;
        for (const bus::MetricEntry& entry : *metrics) entries.push_back(cli::to_json(entry));
        object.add_json("metrics", json_array(entries));
    }
    if (text) object.add("configuration", *text);
    return object.text() + "\n";
}

std::string loss_text(double loss) {
    return std::isfinite(loss) ? observe::metric_text(loss) : "-";
}

std::string progress_text(const bus::RunStatus& status) {
    if (status.step == 0 && status.steps == 0) return status.phase;
    // a solver that converges needs fewer steps than it may take
    if (status.phase == "completed")
        return "completed after " + std::to_string(status.step) + " steps, loss " +
               loss_text(status.loss);
    // how many there would have been is not known of a run whose files alone tell
    return status.phase + ", step " + std::to_string(status.step) +
           (status.steps == 0 ? "" : " of " + std::to_string(status.steps)) + ", loss " +
           loss_text(status.loss);
}

std::string participants_text(const bus::RunRow& row) {
    if (row.names.empty()) return "-";
    return join_and(row.names) + (row.names.size() < row.participants
                                      ? " (" + std::to_string(row.participants) + " in all)"
                                      : "");
}

std::string facts_of(const bus::RunRow& row, const std::string& reason,
                     const Result<bus::RunStatus>& status) {
    observe::Facts facts{{"run", row.run.hex()}};
    facts.emplace_back("status", state_text(row));
    if (!reason.empty()) facts.emplace_back("reason", reason);
    if (status) facts.emplace_back("progress", progress_text(*status));
    facts.emplace_back("owner", row.owner + " (" + row.role + ")");
    facts.emplace_back("participants", participants_text(row));
    facts.emplace_back(time_title("created"), time_text(row.created_ms));
    facts.emplace_back(time_title("started"), time_text(row.started_ms));
    if (row.finished_ms != 0)
        facts.emplace_back(time_title("finished"), time_text(row.finished_ms));
    facts.emplace_back("duration", duration_text(row, wall_now_ms()));
    facts.emplace_back("messages", observe::grouped(row.messages));
    facts.emplace_back("bytes", human_bytes(row.bytes));
    if (row.term > 1) facts.emplace_back("term", std::to_string(row.term));
    return observe::facts_text(facts, std::min(output_columns(), observe::table_columns_max));
}

std::string facts_of(const LocalRun& run, const Result<bus::RunStatus>& status) {
    const observe::RunReport& report = run.report;
    observe::Facts facts{{"run", run.run.hex()}};
    facts.emplace_back("status", run.status);
    if (!report.reason.empty()) facts.emplace_back("reason", report.reason);
    if (status) facts.emplace_back("progress", progress_text(*status));
    facts.emplace_back("purpose", run.purpose.empty() ? "-" : run.purpose);
    if (!report.task.empty()) facts.emplace_back("task", observe::task_and_network(report));
    if (!report.experiment_label.empty()) facts.emplace_back("experiment", report.experiment_label);
    for (const observe::PartyReport& party : report.parties)
        facts.emplace_back(party.name, observe::grouped(party.rows) + " rows, " +
                                           observe::grouped(party.rows_matched) + " matched, " +
                                           observe::grouped(party.features) + " features");
    if (report.rows_common > 0) facts.emplace_back("rows", observe::rows_text(report));
    if (!report.positive_class.empty())
        facts.emplace_back("positive", "class " + report.positive_class);
    facts.emplace_back(time_title("changed"), time_text(run.changed_ms));
    if (report.total_seconds > 0)
        facts.emplace_back("duration", human_seconds(report.total_seconds));
    facts.emplace_back("files", run.directory.string() + ", " + human_bytes(run.bytes));
    return observe::facts_text(facts, std::min(output_columns(), observe::table_columns_max));
}

}  // namespace

int run(const RunShowArguments& arguments) {
    bus::StopSignal stop;
    const SignalScope signals(stop);
    auto finder = RunFinder::make(arguments, stop);
    if (!finder) return report_failure(arguments, finder.error());
    const auto view = finder->find(arguments.run);
    if (!view) return report_failure(arguments, view.error());
    const std::vector<std::string> missing = waits_for(*finder, *view);
    if (arguments.json) {
        print(to_json(*view, missing));
        return 0;
    }
    const auto& [status, text, metrics] = view->told;
    print(view->row ? facts_of(*view->row, view->reason, status) : facts_of(*view->local, status));
    for (const std::string& party : missing) print("waits for " + party + "\n");
    if (metrics && !metrics->empty()) print("\n" + metrics_table(*metrics));
    if (text && !text->empty()) print("\n" + *text);
    if (!view->sentence.empty()) note(arguments, view->sentence);
    if (!finder->remark().empty()) note(arguments, finder->remark());
    return 0;
}

}  // namespace vflbus::cli
