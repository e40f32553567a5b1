#include "tune_search.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "observe/log.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "signals.hpp"
#include "thread_run.hpp"

namespace vflbus::cli {

Failure Search::run() {
    return arguments_->broker.empty() ? run_with_threads() : run_on_bus();
}

Failure Search::run_with_threads() {
    ThreadPlan plan;
    plan.config = &points_->front().job->config;
    plan.run_dir = points_->front().job->run_dir;
    plan.verbose = arguments_->verbose;
    plan.quiet = true;
    plan.several_runs = true;
    plan.trains = true;
    plan.master = [this](const PartyOptions& options, const bus::StopSignal& stop) {
        return drive_all(options, stop);
    };
    return run_in_threads(plan);
}

Failure Search::run_on_bus() {
    const config::Config& config = points_->front().job->config;
    if (!arguments_->verbose && !config.stated("output.log_level"))
        observe::log::set_level(observe::log::Level::warn);
    bus::StopSignal stop;
    const SignalScope signals(stop, nullptr, Second::closes);
    PartyOptions options;
    options.context = bus::make_context();
    // `vflbus run stop` of one run of the search stops the search
    options.stop_asked = [&stop] { stop.ask(); };
    return drive_all(options, stop);
}

Failure Search::drive_all(const PartyOptions& options, const bus::StopSignal& stop) {
    std::vector<std::thread> workers;
    const std::size_t jobs = std::min<std::size_t>(arguments_->jobs, points_->size());
    for (std::size_t i = 0; i < jobs; ++i) workers.emplace_back([&] { work(options, stop); });
    for (std::thread& worker : workers) worker.join();
    return stop.stopped() ? Failure{Errc::cancelled, "stopped by a signal"} : Failure{Errc::ok, {}};
}

void Search::work(const PartyOptions& options, const bus::StopSignal& stop) {
    for (std::size_t i = next_++; i < points_->size() && !stop.stopped(); i = next_++) {
        Point& point = (*points_)[i];
        const bool makes = point.alignment->begin([&] { return stop.stopped(); });
        if (!stop.stopped()) {
            point.outcome = drive_point(point, options, stop);
            point.ran = true;
        }
        point.alignment->ended(point.run, makes);
        if (point.ran) tell(point);
    }
}

Failure Search::drive_point(Point& point, PartyOptions options, const bus::StopSignal& stop) {
    const TrainingJob& job = *point.job;
    options.node_name = "master-" + point.run.short_hex();
    options.state_dir = job.run_dir / "master" / "node";
    options.quiet = true;
    options.alignment = point.alignment;
    options.desk = std::make_shared<RunDesk>("master", job.config.output.runs_dir,
                                             job.config.output.share_log);
    return drive_training(job.config, job.run, std::move(options), stop, false, point.report);
}

void Search::tell(const Point& point) {
    std::string what = point.outcome.sentence;
    if (point.outcome.code == Errc::ok) {
        const std::string metric =
            arguments_->metric.empty() ? default_metric(point.report) : arguments_->metric;
        const auto value = value_of(point.report, metric);
        what = value ? metric + " " + observe::metric_text(*value) : std::string("completed");
        what += fmt::format(", {:.2f} s", point.report.total_seconds);
    }
    const std::lock_guard lock(mutex_);
    ++done_;
    note(*arguments_, "run " + std::to_string(done_) + " of " + std::to_string(points_->size()) +
                          ", " + point.run.short_hex() + ", " + settings_text(*grid_, point) +
                          ": " + what);
}

}  // namespace vflbus::cli
