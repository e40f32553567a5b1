#include "observers/mlflow.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/clock.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/text.hpp"
#include "observers/wall_time.hpp"

namespace vflbus::observers {
namespace {

using std::chrono::milliseconds;

constexpr int state_format = 1;
constexpr auto retry_min = milliseconds(500);
constexpr auto retry_while_finishing = milliseconds(200);
/// Between two copies of what waits, while the server is away.
constexpr auto save_every = std::chrono::seconds(5);

std::int64_t wall_ms_at(TimePoint at) {
    return std::chrono::duration_cast<milliseconds>(since_1970(at)).count();
}
std::int64_t wall_ms() {
    return wall_ms_at(clock_now());
}

std::string cut(std::string text) {
    if (text.size() > mlflow_param_bytes_max) text.resize(mlflow_param_bytes_max);
    return text;
}

template <class T>
std::vector<T> front(const std::vector<T>& all, std::size_t most) {
    return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(most, all.size()))};
}
template <class T>
void drop_front(std::vector<T>& all, std::size_t count) {
    all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(count, all.size())));
}

Json pairs_as_json(const MlflowPairs& pairs) {
    Json out = Json::array();
    for (const auto& [key, value] : pairs) out.push_back(Json::array({Json(key), Json(value)}));
    return out;
}
MlflowPairs pairs_from(const Json& all) {
    MlflowPairs out;
    for (const Json& one : all)
        out.emplace_back(one[0].get<std::string>(), one[1].get<std::string>());
    return out;
}

std::string counted(std::size_t count, const std::string& one) {
    return std::to_string(count) + " " + one + (count == 1 ? "" : "s");
}

}  // namespace

std::string without_password(const std::string& uri) {
    const std::size_t scheme = uri.find("://");
    const std::size_t at = uri.find('@');
    if (scheme == std::string::npos || at == std::string::npos || uri.find('/', scheme + 3) < at)
        return uri;
    return uri.substr(0, scheme + 3) + uri.substr(at + 1);
}

// -- the sender -----------------------------------------------------------------------

MlflowSender::MlflowSender(MlflowJob job) : job_(std::move(job)), start_ms_(wall_ms()) {
    for (auto& [key, value] : job_.params) value = cut(std::move(value));
}

Result<std::unique_ptr<MlflowSender>> MlflowSender::start(MlflowJob job) {
    std::unique_ptr<MlflowSender> sender(new MlflowSender(std::move(job)));
    auto store = open_mlflow(sender->job_.uri, sender->cancelled_);
    if (!store) return tl::unexpected(store.error());
    sender->store_ = std::move(*store);
    if (auto loaded = sender->load(); !loaded) return tl::unexpected(loaded.error());
    if (!sender->job_.keeps_all)
        sender->thread_ = std::thread([raw = sender.get()] { raw->work_until_broken(); });
    return sender;
}

MlflowSender::~MlflowSender() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    cancelled_ = true;
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    try {
        if (!pending_.empty()) save();
    } catch (const std::exception& error) {
        if (job_.warn) job_.warn("cannot keep what MLflow lacks: " + std::string(error.what()));
    }
}

void MlflowSender::add(MlflowMetric metric) {
    const std::lock_guard lock(mutex_);
    const auto [last, first] = last_steps_.try_emplace(metric.key, metric.step);
    if (!first && metric.step <= last->second) return;
    last->second = metric.step;
    if (pending_.metrics.size() >= mlflow_waiting_max) {
        ++dropped_;
        return;
    }
    pending_.metrics.push_back(std::move(metric));
    changed_.notify_all();
}

void MlflowSender::add_param(std::string key, std::string value) {
    const std::lock_guard lock(mutex_);
    pending_.params.emplace_back(std::move(key), cut(std::move(value)));
}

void MlflowSender::add_tag(std::string key, std::string value) {
    const std::lock_guard lock(mutex_);
    pending_.tags.emplace_back(std::move(key), std::move(value));
}

void MlflowSender::reopen() {
    const std::lock_guard lock(mutex_);
    ended_.clear();
    if (run_.run_id.empty()) {
        pending_.status.clear();  // not made yet: MLflow makes a run as RUNNING by itself
        return;
    }
    pending_.status = "RUNNING";
    changed_.notify_all();
}

bool MlflowSender::anything_left() const {
    const std::lock_guard lock(mutex_);
    return !pending_.empty();
}

bool MlflowSender::finish(const std::string& status) {
    std::unique_lock lock(mutex_);
    if (!status.empty()) {
        add_artifacts();
        pending_.status = status;
        ended_ = status;
        pending_.end_ms = wall_ms();
    }
    finishing_ = true;
    changed_.notify_all();
    changed_.wait_for(lock, job_.wait,
                      [&] { return pending_.empty() || broken_ || job_.keeps_all; });
    const bool sent = pending_.empty();
    ending_ = true;
    if (!sent) note_silence();
    lock.unlock();
    cancelled_ = true;  // an attempt that is under way ends
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    if (!sent) save();
    if (job_.keeps_all) return sent;
    const std::string left = what_is_left();
    if (left.empty()) return true;
    if (job_.warn) job_.warn(left);
    return false;
}

void MlflowSender::add_artifacts() {
    for (const MlflowArtifact& file : job_.artifacts) {
        std::error_code ec;
        if (std::filesystem::is_regular_file(file.path, ec) &&
            std::ranges::find(pending_.artifacts, file.name) == pending_.artifacts.end())
            pending_.artifacts.push_back(file.name);
    }
}

/// A request that is under way has no error yet, and that of an earlier one says nothing about it.
void MlflowSender::note_silence() {
    if (!asked_at_) return;
    const auto since = std::chrono::duration_cast<milliseconds>(clock_now() - *asked_at_);
    if (!trouble_.empty() && since < std::min(job_.wait / 2, milliseconds(1000))) return;
    trouble_ =
        "no answer within " + (since.count() < 1000 ? std::to_string(since.count()) + " ms"
                                                    : std::to_string(since.count() / 1000) + " s");
}

std::string MlflowSender::what_is_left() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> parts;
    if (!pending_.metrics.empty())
        parts.push_back(counted(pending_.metrics.size(), "metric value"));
    if (const std::size_t pairs = pending_.params.size() + pending_.tags.size(); pairs > 0)
        parts.push_back(counted(pairs, "parameter"));
    if (!pending_.artifacts.empty()) parts.push_back(counted(pending_.artifacts.size(), "file"));
    if (!pending_.status.empty()) parts.emplace_back("the end of the run");
    const std::string where = "MLflow at " + without_password(job_.uri) + ": ";
    std::string text;
    if (!parts.empty())
        text = where + join_and(parts) + " did not arrive" +
               (trouble_.empty() ? "" : " (" + trouble_ + ")") + "; what is missing is in " +
               job_.state_file.string() + ", and --resume with this run sends it";
    if (refused_ > 0)
        text += (text.empty() ? where : "; ") + counted(refused_, "request") + " it has refused (" +
                refusal_ + ")";
    if (dropped_ > 0)
        text += (text.empty() ? where : "; ") + counted(dropped_, "metric value") +
                " had no room in the buffer";
    return text;
}

// -- the thread -----------------------------------------------------------------------

MlflowSender::Batch MlflowSender::next_batch() const {
    Batch batch;
    batch.metrics = front(pending_.metrics, mlflow_metrics_max);
    batch.params = front(pending_.params, mlflow_pairs_max);
    batch.tags = front(pending_.tags, mlflow_pairs_max);
    if (!batch.metrics.empty() || !batch.params.empty() || !batch.tags.empty()) return batch;
    if (!pending_.artifacts.empty())
        batch.artifact = pending_.artifacts.front();
    else
        batch.status = pending_.status;
    return batch;
}

void MlflowSender::note_done(const Batch& batch) {
    drop_front(pending_.metrics, batch.metrics.size());
    drop_front(pending_.params, batch.params.size());
    drop_front(pending_.tags, batch.tags.size());
    if (!batch.artifact.empty()) drop_front(pending_.artifacts, 1);
    // (another may have been said meanwhile)
    if (!batch.status.empty() && pending_.status == batch.status) pending_.status.clear();
}

void MlflowSender::work_until_broken() {
    std::string why;
    try {
        return work();
    } catch (const std::exception& error) {
        why = error.what();
    }
    const std::lock_guard lock(mutex_);
    broken_ = true;
    asked_at_.reset();
    trouble_ = why;
    changed_.notify_all();
}

void MlflowSender::work() {
    milliseconds retry{0};
    TimePoint saved{};
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [&] { return ending_ || !pending_.empty(); });
        // what comes within a second goes together
        const milliseconds pause = retry.count() > 0 ? (finishing_ ? retry_while_finishing : retry)
                                   : finishing_      ? milliseconds(0)
                                                     : job_.batch_every;
        const bool was_finishing = finishing_;
        if (pause.count() > 0)
            changed_.wait_for(lock, pause,
                              [&] { return ending_ || (finishing_ && !was_finishing); });
        if (ending_) return;
        const Batch batch = next_batch();
        MlflowRun run = run_;
        const std::int64_t end_ms = pending_.end_ms;
        asked_at_ = clock_now();
        lock.unlock();
        Result<> sent = send(batch, end_ms, run);
        lock.lock();
        asked_at_.reset();
        const bool made = run_.run_id.empty() && !run.run_id.empty();
        run_ = run;
        if (!sent && sent.error().code == Errc::refused && !run.run_id.empty()) {
            ++refused_;  // it would be refused again
            refusal_ = sent.error().sentence;
            sent = {};
        }
        if (sent) {
            note_done(batch);
            retry = milliseconds(0);
            trouble_.clear();
        } else if (sent.error().code != Errc::cancelled) {
            trouble_ = sent.error().sentence;
            retry = std::clamp(2 * retry, retry_min, job_.retry_max);
        }
        if (const TimePoint now = clock_now(); made || sent || now - saved > save_every) {
            saved = now;
            lock.unlock();
            save();
            lock.lock();
        }
        changed_.notify_all();
    }
}

Result<> MlflowSender::send(const Batch& batch, std::int64_t end_ms, MlflowRun& run) {
    if (run.run_id.empty()) {
        auto made = store_->create(job_.experiment, job_.run_name, start_ms_, job_.tags);
        if (!made) return tl::unexpected(made.error());
        run = std::move(*made);
        if (job_.info)
            job_.info("MLflow run " + run.run_id + " in experiment " + job_.experiment + " at " +
                      without_password(job_.uri));
    }
    if (!batch.artifact.empty()) return upload(run, batch.artifact);
    if (!batch.status.empty()) return store_->set_status(run, batch.status, end_ms);
    return store_->log(run, batch.metrics, batch.params, batch.tags);
}

Result<> MlflowSender::upload(const MlflowRun& run, const std::string& name) {
    const auto at = std::ranges::find(job_.artifacts, name, &MlflowArtifact::name);
    if (at == job_.artifacts.end()) return {};
    const auto content = read_file(at->path);
    if (!content) return {};  // it was removed meanwhile
    return store_->upload(run, name, at->shown ? at->shown(*content) : *content);
}

// -- the state file -------------------------------------------------------------------

void MlflowSender::save() {
    Json state{{"format", state_format}, {"uri", without_password(job_.uri)}};
    {
        const std::lock_guard lock(mutex_);
        state["run_id"] = run_.run_id;
        state["experiment_id"] = run_.experiment_id;
        state["artifact_uri"] = run_.artifact_uri;
        state["ended"] = ended_;
        state["start_ms"] = start_ms_;
        Json last = Json::object();
        for (const auto& [key, step] : last_steps_) last[key] = step;
        state["last_steps"] = std::move(last);
        Json metrics = Json::array();
        for (const MlflowMetric& metric : pending_.metrics)
            metrics.push_back(Json::array({Json(metric.key), Json(metric.value),
                                           Json(metric.timestamp_ms), Json(metric.step)}));
        Json pending{{"metrics", std::move(metrics)},
                     {"params", pairs_as_json(pending_.params)},
                     {"tags", pairs_as_json(pending_.tags)},
                     {"artifacts", Json(pending_.artifacts)},
                     {"status", pending_.status},
                     {"end_ms", pending_.end_ms}};
        state["pending"] = std::move(pending);
    }
    // a disk that is full costs what would be sent after a resume, not the run
    (void)write_file_atomically(job_.state_file, state.dump(1) + "\n");
}

Result<> MlflowSender::load() {
    std::error_code ec;
    if (!std::filesystem::exists(job_.state_file, ec)) {
        pending_.params = job_.params;
        return {};
    }
    const auto text = read_file(job_.state_file);
    if (!text) return tl::unexpected(text.error());
    try {
        const Json state = Json::parse(*text);
        if (state.at("format").get<int>() != state_format) throw JsonError("another format");
        const bool elsewhere = state.at("uri") != without_password(job_.uri);
        ended_ = state.value("ended", "");
        start_ms_ = state.value("start_ms", start_ms_);
        if (!elsewhere)
            run_ = {state.at("run_id").get<std::string>(),
                    state.at("experiment_id").get<std::string>(),
                    state.at("artifact_uri").get<std::string>()};
        for (const auto& [key, step] : state.at("last_steps").items())
            if (!elsewhere) last_steps_[key] = step.get<std::uint64_t>();
        const Json& pending = state.at("pending");
        for (const Json& one : pending.at("metrics"))
            pending_.metrics.push_back(
                {one[0].get<std::string>(),
                 one[1].is_null() ? std::numeric_limits<double>::quiet_NaN() : one[1].get<double>(),
                 one[2].get<std::int64_t>(), one[3].get<std::uint64_t>()});
        pending_.params = pairs_from(pending.at("params"));
        pending_.tags = pairs_from(pending.at("tags"));
        pending_.artifacts = pending.at("artifacts").get<std::vector<std::string>>();
        pending_.status = pending.at("status").get<std::string>();
        pending_.end_ms = pending.at("end_ms").get<std::int64_t>();
        if (elsewhere) move_here(state.at("uri").get<std::string>());
    } catch (const JsonError& error) {
        return fail(Errc::bad_data, job_.state_file.string() + " is not what vflbus has written (" +
                                        error.what() + "); remove it to begin a new run of MLflow");
    }
    return {};
}

/// Another place was named since: its run has nothing yet. What has arrived at the other one is not
/// known here any more, and stays there.
void MlflowSender::move_here(const std::string& from) {
    for (const MlflowMetric& metric : pending_.metrics) {
        std::uint64_t& last = last_steps_[metric.key];
        last = std::max(last, metric.step);
    }
    MlflowPairs params = job_.params;
    for (auto& param : pending_.params)
        if (std::ranges::find(params, param.first, &MlflowPairs::value_type::first) == params.end())
            params.push_back(std::move(param));
    pending_.params = std::move(params);
    if (!ended_.empty()) {
        pending_.status = ended_;
        add_artifacts();
    }
    if (job_.info)
        job_.info("MLflow at " + without_password(job_.uri) + " gets a new run with " +
                  counted(pending_.metrics.size(), "metric value") +
                  " that waited; those that have arrived at " + from + " stay there");
}

// -- the observer ---------------------------------------------------------------------

MlflowObserver::MlflowObserver(std::unique_ptr<MlflowSender> sender) : sender_(std::move(sender)) {}

void MlflowObserver::on_step(const observe::ProgressState& state, TimePoint at) {
    // chosen by their numbers, so that a run that is gone on with logs the same steps
    const std::uint64_t every = 1 + state.steps / mlflow_losses_max;
    if (state.step % every != 0 && state.step != state.steps) return;
    if (!std::isnan(state.loss)) sender_->add({"loss", state.loss, wall_ms_at(at), state.step});
}

void MlflowObserver::on_metrics(const observe::ProgressState&, const observe::HistoryEntry& entry,
                                TimePoint at) {
    std::string table = entry.split;
    std::ranges::replace(table, ' ', '_');
    for (const auto& [name, value] : entry.metrics)
        sender_->add({table + "_" + name, value, wall_ms_at(at), entry.step});
}

void MlflowObserver::on_end(const observe::RunReport& report, const Failure& outcome) {
    const std::int64_t now = wall_ms();
    const auto add = [&](const std::string& key, double value) {
        sender_->add({key, value, now, report.steps});
    };
    for (const auto& [name, value] : report.label_holder_alone_train)
        add("label_holder_alone_train_" + name, value);
    for (const auto& [name, value] : report.label_holder_alone_test)
        add("label_holder_alone_test_" + name, value);
    for (const auto& [name, value] : mean_of_folds(report.folds))
        add("cross_validation_mean_" + name, value);
    for (const auto& [name, value] : deviation_of_folds(report.folds))
        add("cross_validation_deviation_" + name, value);
    if (report.train_seconds > 0) add("train_seconds", report.train_seconds);
    if (report.rows_common > 0) {
        sender_->add_param("ds_size", std::to_string(report.rows_common));
        sender_->add_param("rows_train", std::to_string(report.rows_train));
        sender_->add_param("rows_test", std::to_string(report.rows_test));
    }
    sender_->add_tag("vflbus.status", report.status);
    if (!report.reason.empty()) sender_->add_tag("vflbus.reason", report.reason);
    sender_->finish(outcome.code == Errc::ok          ? "FINISHED"
                    : outcome.code == Errc::cancelled ? "KILLED"
                                                      : "FAILED");
}

}  // namespace vflbus::observers
