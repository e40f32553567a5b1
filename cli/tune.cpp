// vflbus tune: trainings with each combination of some settings, on the same members

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "actors/early_stop.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "launch_job.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "party.hpp"
#include "signals.hpp"
#include "thread_run.hpp"
#include "trained_model.hpp"

namespace vflbus::cli {
namespace {

/// More are a mistake in writing rather than a search.
constexpr std::size_t combinations_max = 1000;

/// One key of the grid and its values, as --set takes them.
struct Axis {
    std::string key;
    std::vector<std::string> values;
};

/// The values of "0.1,1,[1,2],\"a,b\"": a comma within brackets or quotes separates nothing.
std::vector<std::string> values_in(std::string_view text) {
    std::vector<std::string> values(1);
    int depth = 0;
    bool quoted = false;
    for (const char c : text) {
        if (c == '"') quoted = !quoted;
        if (!quoted && c == '[') ++depth;
        if (!quoted && c == ']') --depth;
        if (c == ',' && depth == 0 && !quoted)
            values.emplace_back();
        else
            values.back() += c;
    }
    return values;
}

Result<Axis> parse_axis(const std::string& text) {
    const std::size_t equals = text.find('=');
    Axis axis;
    axis.key = std::string(trim(text.substr(0, equals)));
    const bool agreed = axis.key.starts_with("model.") || axis.key.starts_with("data.");
    if (equals == std::string::npos || !agreed)
        return fail(Errc::usage, "--grid " + text +
                                     ": it is KEY=VALUE,VALUE,... with a key of [model] or [data], "
                                     "such as model.l2=0.1,1,10");
    axis.values = values_in(std::string_view(text).substr(equals + 1));
    for (std::string& value : axis.values) {
        value = std::string(trim(value));
        if (value.empty()) return fail(Errc::usage, "--grid " + text + ": a value is missing");
        if (std::ranges::count(axis.values, value) > 1)
            return fail(Errc::usage, "--grid " + text + ": " + value + " is there twice");
    }
    return axis;
}

Result<std::vector<Axis>> parse_grid(const TuneArguments& arguments) {
    std::vector<Axis> grid;
    std::size_t combinations = 1;
    for (const std::string& text : arguments.grid) {
        auto axis = parse_axis(text);
        if (!axis) return tl::unexpected(std::move(axis.error()));
        if (std::ranges::find(grid, axis->key, &Axis::key) != grid.end())
            return fail(Errc::usage, "--grid " + text + ": " + axis->key +
                                         " is there twice; say all its values at once");
        combinations *= axis->values.size();
        if (combinations > combinations_max)
            return fail(Errc::usage, "--grid makes more than " + std::to_string(combinations_max) +
                                         " combinations");
        grid.push_back(std::move(*axis));
    }
    return grid;
}

/// One combination, and what has come of it.
struct Point {
    std::vector<std::string> values;  ///< by axis
    RunId run;
    std::optional<TrainingJob> job;
    bool ran = false;
    Failure outcome{Errc::ok, {}};
    observe::RunReport report;
};

/// All combinations, the last axis first to change.
std::vector<Point> points_of(const std::vector<Axis>& grid) {
    std::vector<Point> points(1);
    for (const Axis& axis : grid) {
        std::vector<Point> more;
        for (const Point& point : points)
            for (const std::string& value : axis.values) {
                std::vector<std::string>& values = more.emplace_back().values;
                values = point.values;
                values.push_back(value);
            }
        points = std::move(more);
    }
    for (Point& point : points) point.run = random_run_id();
    return points;
}

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
        of_point.threads = true;
        of_point.quiet = arguments.quiet || i > 0;  // what is guessed is the same for all
        for (std::size_t a = 0; a < grid.size(); ++a)
            of_point.sets.push_back(grid[a].key + "=" + points[i].values[a]);
        auto job = new_job(of_point, points[i].run);
        if (!job) return tl::unexpected(std::move(job.error()));
        const Result<> judged = check_judged(job->config);
        // one process answers all who watch, and several runs have no port of their own
        job->config.observe.metrics.clear();
        job->config.observe.prometheus_server_port = 0;
        points[i].job = std::move(*job);
        if (!judged) return judged;
    }
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

/// What runs are compared by: metrics of the test rows, or their means over the folds.
observe::Metrics judged_by(const observe::RunReport& report) {
    return report.folds.empty() ? report.test : observe::mean_of_folds(report.folds);
}

/// What decides, of one run; nothing where there is no such metric.
std::optional<double> value_of(const observe::RunReport& report, const std::string& metric) {
    for (const auto& [name, value] : judged_by(report))
        if (name == metric) return value;
    return {};
}

/// The metric that decides: what was said, or the first that is no loss.
Result<std::string> metric_of(const std::string& said, const std::vector<Point>& points) {
    std::vector<std::string> names;
    for (const Point& point : points) {
        if (!point.ran || point.outcome.code != Errc::ok || !names.empty()) continue;
        for (const auto& [name, value] : judged_by(point.report)) names.push_back(name);
    }
    if (names.empty()) return said;
    if (said.empty()) {
        for (const std::string& name : names)
            if (name != "loss") return name;
        return names.front();
    }
    if (std::ranges::find(names, said) != names.end()) return said;
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

std::string settings_text(const std::vector<Axis>& grid, const Point& point) {
    std::vector<std::string> settings;
    for (std::size_t a = 0; a < grid.size(); ++a)
        settings.push_back(grid[a].key + " = " + point.values[a]);
    return join_and(settings);
}

std::string status_of(const Point& point) {
    if (!point.ran) return "not begun";
    return point.outcome.code == Errc::ok ? "completed" : "failed";
}

/// Drives the runs, some at the same time.
class Search {
  public:
    Search(const TuneArguments& arguments, const std::vector<Axis>& grid,
           std::vector<Point>& points)
        : arguments_(&arguments), grid_(&grid), points_(&points) {}

    Failure run() {
        ThreadPlan plan;
        plan.config = &points_->front().job->config;
        plan.run_dir = points_->front().job->run_dir;
        plan.verbose = arguments_->verbose;
        plan.quiet = true;
        plan.several_runs = true;
        plan.trains = true;
        plan.master = [this](const PartyOptions& options, const bus::StopSignal& stop) {
            std::vector<std::thread> workers;
            const std::size_t jobs = std::min<std::size_t>(arguments_->jobs, points_->size());
            for (std::size_t i = 0; i < jobs; ++i)
                workers.emplace_back([&] { work(options, stop); });
            for (std::thread& worker : workers) worker.join();
            return stop.stopped() ? Failure{Errc::cancelled, "stopped by a signal"}
                                  : Failure{Errc::ok, {}};
        };
        return run_in_threads(plan);
    }

  private:
    void work(const PartyOptions& options, const bus::StopSignal& stop) {
        for (std::size_t i = next_++; i < points_->size() && !stop.stopped(); i = next_++) {
            Point& point = (*points_)[i];
            point.outcome = drive_point(point, options, stop);
            point.ran = true;
            const std::lock_guard lock(mutex_);
            ++done_;
            note(*arguments_,
                 "run " + std::to_string(done_) + " of " + std::to_string(points_->size()) + ", " +
                     point.run.short_hex() + ", " + settings_text(*grid_, point) + ": " +
                     (point.outcome.code == Errc::ok ? "completed" : point.outcome.sentence));
        }
    }

    static Failure drive_point(Point& point, PartyOptions options, const bus::StopSignal& stop) {
        const TrainingJob& job = *point.job;
        options.node_name = "master-" + point.run.short_hex();
        options.state_dir = job.run_dir / "master" / "node";
        options.quiet = true;
        return drive_training(job.config, job.run, std::move(options), stop, false, point.report);
    }

    const TuneArguments* arguments_;
    const std::vector<Axis>* grid_;
    std::vector<Point>* points_;
    std::atomic<std::size_t> next_{0};
    std::mutex mutex_;
    std::size_t done_ = 0;
};

std::string json_of(const std::vector<Axis>& grid, const std::vector<Point>& points,
                    const std::string& metric, const Point* best) {
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
        .add("status", best == nullptr ? "failed" : "completed")
        .add("metric", metric)
        .add("best", best == nullptr ? std::string() : best->run.hex())
        .add_json("runs", json_array(runs))
        .text();
}

std::string table_of(const std::vector<Axis>& grid, const std::vector<Point>& points,
                     const std::string& metric, const Point* best) {
    using observe::Align;
    std::vector<observe::Column> columns{{"run"}};
    for (const Axis& axis : grid) columns.push_back({axis.key, Align::right});
    columns.push_back(
        {points.front().report.folds.empty() ? "test " + metric : metric + ", mean of the folds",
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
        cells.push_back(&point == best                    ? "best"
                        : status_of(point) == "completed" ? ""
                                                          : status_of(point));
        table.add(std::move(cells));
    }
    return shown(table);
}

}  // namespace

int run(const TuneArguments& arguments) {
    const EarlySignals early("vflbus: ended before the first run began\n");
    const auto grid = parse_grid(arguments);
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
    if (best == nullptr) {
        const auto failed = std::ranges::find_if(
            points, [](const Point& point) { return point.outcome.code != Errc::ok; });
        return report_failure(arguments, failed == points.end()
                                             ? Failure{Errc::bad_data, "no run has a result"}
                                             : failed->outcome);
    }
    if (arguments.json) {
        print(json_of(*grid, points, *metric, best) + "\n");
        return 0;
    }
    print(table_of(*grid, points, *metric, best));
    print("\nPredict with the best: " + predict_command(best->job->config, best->job->run_dir) +
          "\n");
    return 0;
}

}  // namespace vflbus::cli
