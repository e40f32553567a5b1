// vflbus tune: trainings with each combination of some settings, on the same members

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "actors/early_stop.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "launch_job.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "parties.hpp"
#include "signals.hpp"
#include "trained_model.hpp"
#include "tune_grid.hpp"
#include "tune_search.hpp"

namespace vflbus::cli {
namespace {

/// Test rows or folds are what models are compared by.
Result<> check_judged(const config::Config& config) {
    const bool test_data = std::ranges::any_of(
        config.parties, [](const auto& party) { return !party.second.test_data.empty(); });
    if (config.data.folds > 0 || config.data.test_fraction > 0 || test_data) return {};
    return fail(Errc::usage,
                "tune needs rows that tell which model is best: say --folds K, or set "
                "data.test_fraction or test_data");
}

/// Configures all of them before the first one runs, so that a value that cannot be is said at
/// once.
Result<> configure(const TuneArguments& arguments, const std::vector<Axis>& grid,
                   std::vector<Point>& points) {
    for (std::size_t i = 0; i < points.size(); ++i) {
        LaunchArguments of_point = arguments;
        of_point.threads = arguments.broker.empty();
        of_point.quiet = arguments.quiet || i > 0;  // what is guessed is the same for all
        for (std::size_t a = 0; a < grid.size(); ++a)
            of_point.sets.push_back(grid[a].key + "=" + points[i].values[a]);
        auto job = arguments.broker.empty() ? new_job(of_point, points[i].run)
                                            : master_job(of_point, arguments.broker, points[i].run);
        if (!job) return tl::unexpected(std::move(job.error()));
        const Result<> judged = check_judged(job->config);
        // one process answers all who watch, and several runs have no port of their own
        if (i == 0 && !job->config.observe.metrics.empty())
            error_line("the runs of a search answer no scrapes: observe.metrics is left out");
        job->config.observe.metrics.clear();
        job->config.observe.prometheus_server_port = 0;
        points[i].job = std::move(*job);
        if (!judged) return judged;
    }
    share_alignments(points);
    return {};
}

/// The directories that were made for runs which do not begin.
void forget(std::vector<Point>& points) {
    for (Point& point : points) {
        if (!point.job) continue;
        const std::filesystem::path directory = point.job->run_dir;
        point.job.reset();
        std::error_code ec;
        std::filesystem::remove_all(directory, ec);
    }
}

/// The metric that decides: what was said, or the first that is no loss.
Result<std::string> metric_of(const std::string& said, const std::vector<Point>& points) {
    const auto first = std::ranges::find_if(points, [](const Point& point) {
        return point.ran && point.outcome.code == Errc::ok && !judged_by(point.report).empty();
    });
    if (first == points.end()) return said;
    if (said.empty()) return default_metric(first->report);
    if (value_of(first->report, said)) return said;
    std::vector<std::string> names;
    for (const auto& [name, value] : judged_by(first->report)) names.push_back(name);
    return fail(Errc::usage,
                "--metric " + said + ": the runs have " + join_and(names) + " and no such metric");
}

const Point* best_of(const std::vector<Point>& points, const std::string& metric) {
    const Point* best = nullptr;
    double best_value = 0;
    const bool larger = actors::larger_is_better(metric);
    for (const Point& point : points) {
        if (point.outcome.code != Errc::ok) continue;
        const auto value = value_of(point.report, metric);
        if (!value) continue;
        if (best != nullptr && !(larger ? *value > best_value : *value < best_value)) continue;
        best = &point;
        best_value = *value;
    }
    return best;
}

std::string json_of(const std::vector<Axis>& grid, const std::vector<Point>& points,
                    const std::string& metric, const Point& best) {
    std::vector<std::string> runs;
    for (const Point& point : points) {
        JsonObject settings;
        for (std::size_t a = 0; a < grid.size(); ++a) settings.add(grid[a].key, point.values[a]);
        JsonObject run;
        run.add("run_id", point.run.hex())
            .add("status", status_of(point))
            .add("reason", point.outcome.sentence)
            .add_json("settings", settings.text());
        if (const auto value = value_of(point.report, metric)) run.add("value", *value);
        runs.push_back(run.add("seconds", point.report.total_seconds).text());
    }
    return JsonObject()
        .add("status", "completed")
        .add("metric", metric)
        .add("best", best.run.hex())
        .add("best_configuration", best.job->file.string())
        .add_json("runs", json_array(runs))
        .text();
}

std::string table_of(const std::vector<Axis>& grid, const std::vector<Point>& points,
                     const std::string& metric, const Point& best) {
    using observe::Align;
    std::vector<observe::Column> columns{{"run"}};
    for (const Axis& axis : grid) columns.push_back({axis.key, Align::right});
    columns.push_back(
        {best.report.folds.empty() ? "test " + metric : metric + ", mean of the folds",
         Align::right});
    columns.push_back({"seconds", Align::right});
    columns.push_back({""});
    observe::Table table(columns);
    for (const Point& point : points) {
        std::vector<std::string> cells{point.run.short_hex()};
        cells.insert(cells.end(), point.values.begin(), point.values.end());
        const auto value = value_of(point.report, metric);
        cells.push_back(value ? observe::metric_text(*value) : "-");
        cells.push_back(fmt::format("{:.2f}", point.report.total_seconds));
        cells.push_back(&point == &best                   ? "best"
                        : status_of(point) == "completed" ? ""
                                                          : status_of(point));
        table.add(std::move(cells));
    }
    return shown(table);
}

/// Why there is no best one.
Failure failure_of_all(const std::vector<Point>& points) {
    for (const Point& point : points)
        if (point.outcome.code != Errc::ok) return point.outcome;
    return {Errc::bad_data, "no run has a result"};
}

Result<> store_best(const TuneArguments& arguments, const Point& best) {
    if (arguments.best_file.empty()) return {};
    return write_configuration(arguments.best_file, best.job->config, best.job->run_dir);
}

void tell(const TuneArguments& arguments, const std::vector<Axis>& grid,
          const std::vector<Point>& points, const std::string& metric, const Point& best) {
    if (arguments.json) return print(json_of(grid, points, metric, best) + "\n");
    print(table_of(grid, points, metric, best));
    print("\nThe configuration of the best: " +
          (arguments.best_file.empty() ? best.job->file.string() : arguments.best_file));
    if (arguments.broker.empty())
        print("\nPredict with the best: " + predict_command(best.job->config, best.job->run_dir));
    print("\n");
}

}  // namespace

int run(const TuneArguments& arguments) {
    const EarlySignals early("vflbus: ended before the first run began\n");
    const auto grid = parse_grid(arguments.grid);
    if (!grid) return report_failure(arguments, grid.error());
    std::vector<Point> points = points_of(*grid);
    if (const auto ready = configure(arguments, *grid, points); !ready) {
        forget(points);
        return report_failure(arguments, ready.error());
    }
    const Failure outcome = Search(arguments, *grid, points).run();
    if (outcome.code != Errc::ok) return report_failure(arguments, outcome);
    const auto metric = metric_of(arguments.metric, points);
    if (!metric) return report_failure(arguments, metric.error());
    const Point* const best = best_of(points, *metric);
    if (best == nullptr) return report_failure(arguments, failure_of_all(points));
    if (const auto stored = store_best(arguments, *best); !stored)
        return report_failure(arguments, stored.error());
    tell(arguments, *grid, points, *metric, *best);
    return 0;
}

}  // namespace vflbus::cli
