#include "observers/run_metrics.hpp"

#include <cmath>
#include <utility>

#include "actors/messages.hpp"
#include "base/clock.hpp"

namespace vflbus::observers {
namespace {

Labels with(Labels labels, std::initializer_list<std::pair<const std::string, std::string>> more) {
    for (const auto& entry : more) labels.insert(entry);
    return labels;
}

/// Commits are what is written to a party's directory of this name.
constexpr const char* state_directory = "state";

}  // namespace

RunMetrics::RunMetrics(std::shared_ptr<Metrics> metrics, std::vector<std::string> parties,
                       std::string experiment_label)
    : metrics_(std::move(metrics)),
      parties_(std::move(parties)),
      labels_{{"experiment_label", std::move(experiment_label)}} {}

void RunMetrics::on_phase(actors::Phase phase, TimePoint) {
    // the time of a phase is not that of a step
    if (phase != actors::Phase::training && phase != actors::Phase::evaluating) last_step_at_ = {};
    const std::lock_guard lock(mutex_);
    phase_ = name_of(phase);
}

void RunMetrics::on_step(const observe::ProgressState& state, TimePoint at) {
    // after a recovery a step comes again: it is work, but not progress of one step
    if (last_step_at_ != TimePoint{} && state.step == last_step_ + 1)
        metrics_->observe("vflbus_iteration_seconds", "Time from one step to the next.",
                          seconds_buckets(), labels_, in_seconds(at - last_step_at_));
    last_step_at_ = at;
    last_step_ = state.step;
    metrics_->count("vflbus_steps_total", "Steps that were done, those done again as well.",
                    labels_);
    const std::lock_guard lock(mutex_);
    step_ = state.step;
    steps_ = state.steps;
    if (std::isfinite(state.loss)) values_[{"batch", "loss"}] = state.loss;
}

void RunMetrics::on_metrics(const observe::ProgressState&, const observe::HistoryEntry& entry,
                            TimePoint) {
    // of a cross-validation the tables of all folds go under the same two words
    const bool test = entry.split.ends_with("test");
    const std::lock_guard lock(mutex_);
    for (const auto& [name, value] : entry.metrics)
        if (std::isfinite(value)) values_[{test ? "test" : "train", name}] = value;
}

void RunMetrics::on_end(const observe::RunReport& report, const Failure&) {
    metrics_->count("vflbus_runs_ended_total", "Runs that this process has driven to their end.",
                    with(labels_, {{"status", report.status}}));
    const std::lock_guard lock(mutex_);
    phase_ = "done";
}

void RunMetrics::on_answer(const actors::AnsweredRequest& answer) {
    const std::string party =
        metrics_->bounded(answer.party < parties_.size() ? parties_[answer.party] : "unknown");
    const Labels of_party = with(labels_, {{"party", party}});
    metrics_->observe("vflbus_task_execution_seconds",
                      "From asking a party to its answer, by what it was asked.", seconds_buckets(),
                      with(of_party, {{"task", actors::message::name_of(answer.type)}}),
                      in_seconds(answer.answered - answer.asked));
    metrics_->observe("vflbus_message_bytes", "Size of messages on the wire.", bytes_buckets(),
                      with(of_party, {{"direction", "to"}}), static_cast<double>(answer.bytes_to));
    metrics_->observe("vflbus_message_bytes", "Size of messages on the wire.", bytes_buckets(),
                      with(of_party, {{"direction", "from"}}),
                      static_cast<double>(answer.bytes_from));
}

void RunMetrics::on_work(TimePoint begun, TimePoint ended) {
    metrics_->count("vflbus_compute_seconds_total",
                    "Time in which this party has computed for its runs.", labels_,
                    in_seconds(ended - begun));
}

void RunMetrics::on_handled(const actors::HandledRequest& handled) {
    const double seconds = in_seconds(handled.ended - handled.begun);
    metrics_->observe("vflbus_handler_seconds", "Time in which a request was worked on, by task.",
                      seconds_buckets(), {{"task", actors::message::name_of(handled.type)}},
                      seconds);
    metrics_->count("vflbus_compute_seconds_total",
                    "Time in which this party has computed for its runs.", labels_, seconds);
    if (handled.failed)
        metrics_->count("vflbus_handler_failures_total",
                        "Requests that were answered with an error.",
                        {{"task", actors::message::name_of(handled.type)}});
}

std::vector<Family> RunMetrics::sample() const {
    const std::lock_guard lock(mutex_);
    std::vector<Family> out;
    if (phase_.empty()) return out;
    out.push_back({"vflbus_run_phase",
                   "1 for the phase that the run of this master is in.",
                   Family::Type::gauge,
                   {{with(labels_, {{"phase", phase_}}), 1}}});
    out.push_back({"vflbus_run_step",
                   "Steps of the run that are done.",
                   Family::Type::gauge,
                   {{labels_, static_cast<double>(step_)}}});
    out.push_back({"vflbus_run_planned_steps",
                   "Steps of the run in all; 0: not known.",
                   Family::Type::gauge,
                   {{labels_, static_cast<double>(steps_)}}});
    Family values{"vflbus_run_metric", "The last value of each metric.", Family::Type::gauge, {}};
    for (const auto& [name, value] : values_)
        values.values.push_back(
            {with(labels_, {{"table", name.first}, {"metric", name.second}}), value});
    if (!values.values.empty()) out.push_back(std::move(values));
    return out;
}

// -- commits --------------------------------------------------------------------------

MeasuredEnv::MeasuredEnv(std::unique_ptr<actors::Env> env, std::shared_ptr<Metrics> metrics)
    : env_(std::move(env)), metrics_(std::move(metrics)) {}

Result<std::string> MeasuredEnv::read_file(const std::filesystem::path& path) {
    return env_->read_file(path);
}

Result<> MeasuredEnv::write_file(const std::filesystem::path& path, std::string_view content) {
    if (metrics_ == nullptr || path.parent_path().filename() != state_directory)
        return env_->write_file(path, content);
    const TimePoint begun = clock_now();
    Result<> written = env_->write_file(path, content);
    metrics_->observe("vflbus_commit_seconds", "Time in which a commit was written and synced.",
                      seconds_buckets(), {}, in_seconds(clock_now() - begun));
    metrics_->observe("vflbus_commit_bytes", "Size of a commit.", bytes_buckets(), {},
                      static_cast<double>(content.size()));
    return written;
}

bool MeasuredEnv::exists(const std::filesystem::path& path) {
    return env_->exists(path);
}
Result<std::vector<std::string>> MeasuredEnv::list(const std::filesystem::path& directory) {
    return env_->list(directory);
}
Result<> MeasuredEnv::remove(const std::filesystem::path& path) {
    return env_->remove(path);
}
std::string MeasuredEnv::utc_now() {
    return env_->utc_now();
}

}  // namespace vflbus::observers
