#include "run_desk.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <utility>

#include "app_metrics.hpp"
#include "base/clock.hpp"
#include "wall_clock.hpp"

namespace vflbus::cli {
namespace {

using bus::Question;

/// Of the thread that reads files: those who ask come after those who train.
constexpr int niceness = 10;

/// Whether only the owner of a run answers that.
bool is_for_owner(Question question) {
    return question == Question::status || question == Question::metrics ||
           question == Question::configuration || question == Question::reason ||
           question == Question::stop;
}

std::uint64_t micros(Duration time) {
    const auto count = std::chrono::duration_cast<std::chrono::microseconds>(time).count();
    return count < 0 ? 0 : static_cast<std::uint64_t>(count);
}

/// A point of the monotonic clock on the wall clock, as both are now.
std::uint64_t wall_us_of(TimePoint at, TimePoint now, std::uint64_t wall_now) {
    return wall_now - std::min(wall_now, micros(now - at));
}

const std::uint64_t began_ms = wall_now_ms();

/// Of this process.
bus::LoadAnswer load_now() {
    bus::LoadAnswer load;
    load.now_us = wall_now_us();
    load.started_ms = began_ms;
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    const auto ms = [](const timeval& time) {
        return static_cast<std::uint64_t>(time.tv_sec) * 1000 +
               static_cast<std::uint64_t>(time.tv_usec) / 1000;
    };
    load.cpu_ms = ms(used.ru_utime) + ms(used.ru_stime);
    if (std::FILE* const file = std::fopen("/proc/self/statm", "re"); file != nullptr) {
        unsigned long long size = 0;
        unsigned long long resident = 0;
        if (std::fscanf(file, "%llu %llu", &size, &resident) == 2)
            load.memory_bytes = resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
        std::fclose(file);
    }
    return load;
}

}  // namespace

RunDesk::RunDesk(std::string party, std::filesystem::path runs_dir, config::ShareLog share)
    : party_(std::move(party)), files_(party_, std::move(runs_dir), share) {}

RunDesk::~RunDesk() {
    {
        const std::lock_guard lock(queue_mutex_);
        ending_ = true;
        waiting_.clear();
    }
    wakes_.notify_all();
    if (worker_.joinable()) worker_.join();
}

// -- the run that this process drives -------------------------------------------------

void RunDesk::drives(const RunId& run, std::string agreed, std::function<void()> stop,
                     History history) {
    const std::lock_guard lock(mutex_);
    run_ = run;
    agreed_ = std::move(agreed);
    stop_ = std::move(stop);
    history_ = std::move(history);
    status_ = {};
    status_.phase = "gathering";
    metrics_.clear();
    steps_.clear();
    step_now_ = {};
}

void RunDesk::update(const observe::ProgressState& state) {
    const std::lock_guard lock(mutex_);
    status_.phase = state.steps != 0 && state.step >= state.steps ? "finishing" : "training";
    status_.step = state.step;
    status_.steps = state.steps;
    status_.epoch = state.epoch;
    status_.epochs = state.epochs;
    status_.loss = state.loss;
    if (!state.report) end_step(state.step);
    if (!history_ || !state.report) return;
    // what a recovery takes back comes again, the same
    const std::vector<observe::HistoryEntry>& history = history_();
    for (std::size_t i = metrics_.size(); i < history.size(); ++i)
        metrics_.push_back(entry_of(history[i]));
}

void RunDesk::add_metrics(std::uint64_t step, const std::map<std::string, double>& values) {
    bus::MetricEntry entry = metric_entry(step, values);
    const std::lock_guard lock(mutex_);
    if (metrics_.size() < metrics_kept_max) metrics_.push_back(std::move(entry));
}

// -- where the time goes ---------------------------------------------------------------

void RunDesk::add_answer(const actors::AnsweredRequest& answer) {
    if (answer.aside) return;  // no step waits for it
    const TimePoint now = clock_now();
    const std::uint64_t wall = wall_now_us();
    const std::lock_guard lock(mutex_);
    if (step_now_.waits.size() < bus::timing_waits_max)
        step_now_.waits.push_back({answer.party, wall_us_of(answer.asked, now, wall),
                                   micros(answer.answered - answer.asked)});
}

void RunDesk::add_work(TimePoint begun, TimePoint ended) {
    const std::lock_guard lock(mutex_);
    step_now_.compute_us += micros(ended - begun);
}

void RunDesk::add_handled(const actors::HandledRequest& handled) {
    const std::lock_guard lock(mutex_);
    handled_.push_back(handled);
    if (handled_.size() > bus::timing_work_max) handled_.pop_front();
}

/// What has happened since the last step belongs to this one. Called with the lock.
void RunDesk::end_step(std::uint64_t step) {
    const std::uint64_t now = wall_now_us();
    step_now_.step = step;
    if (step_now_.begun_us != 0) {
        step_now_.took_us = now - std::min(now, step_now_.begun_us);
        steps_.push_back(std::move(step_now_));
        if (steps_.size() > bus::timing_steps_max) steps_.pop_front();
    }
    step_now_ = {};
    step_now_.begun_us = now;
}

Result<bus::Bytes> RunDesk::timing_answer(const RunId& run) {
    bus::TimingAnswer answer;
    const TimePoint now = clock_now();
    answer.now_us = wall_now_us();
    const std::lock_guard lock(mutex_);
    if (run == run_) answer.steps.assign(steps_.begin(), steps_.end());
    for (const actors::HandledRequest& one : handled_)
        if (one.run == run)
            answer.work.push_back({one.type, wall_us_of(one.begun, now, answer.now_us),
                                   micros(one.ended - one.begun)});
    return bus::encode(answer);
}

void RunDesk::done() {
    const std::lock_guard lock(mutex_);
    stop_ = nullptr;
    history_ = nullptr;
    status_.phase = "done";
}

// -- answers ------------------------------------------------------------------------

void RunDesk::answer(const bus::QueryArrived& query, actors::QueryReplier reply) {
    const auto question = static_cast<Question>(query.question);
    bool owned = false;
    {
        const std::lock_guard lock(mutex_);
        owned = !run_.none() && query.run == run_;
    }
    if (question == Question::load) return reply(bus::encode(load_now()));
    if (question == Question::timing) return reply(timing_answer(query.run));
    if (question == Question::log) return answer_from_files(query, owned, std::move(reply));
    if (!is_for_owner(question))
        return reply(fail(Errc::unknown_message,
                          party_ + " knows no question " + std::to_string(query.question)));
    if (owned) return reply(answer_driven(query));
    if (question == Question::stop)
        return reply(fail(Errc::not_owner,
                          party_ + " does not drive run " + query.run.short_hex() + " now"));
    answer_from_files(query, false, std::move(reply));
}

Result<bus::Bytes> RunDesk::answer_driven(const bus::QueryArrived& query) {
    const auto question = static_cast<Question>(query.question);
    if (question == Question::stop) return stop_driven();
    const std::lock_guard lock(mutex_);
    switch (question) {
        case Question::status:
            return bus::encode(status_);
        case Question::configuration:
            return bus::encode_text(shown_configuration(agreed_));
        case Question::reason:
            return bus::encode_text("");
        default:
            return metrics_answer(metrics_, query.body);
    }
}

Result<bus::Bytes> RunDesk::stop_driven() {
    std::function<void()> stop;
    {
        const std::lock_guard lock(mutex_);
        if (!stop_) return fail(Errc::run_ended, "run " + run_.short_hex() + " is ending already");
        stop = stop_;
    }
    stop();
    return bus::encode_empty();
}

// -- files --------------------------------------------------------------------------

void RunDesk::answer_from_files(const bus::QueryArrived& query, bool owned,
                                actors::QueryReplier reply) {
    {
        const std::lock_guard lock(queue_mutex_);
        if (waiting_.size() < questions_waiting_max && !ending_) {
            waiting_.push_back({query, owned, std::move(reply)});
            if (!worker_.joinable()) worker_ = std::thread([this] { work(); });
            wakes_.notify_all();
            return;
        }
    }
    reply(fail(Errc::too_many, party_ + " is asked about too many runs at once; ask again"));
}

void RunDesk::work() {
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), niceness);
    std::unique_lock lock(queue_mutex_);
    for (;;) {
        wakes_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
        if (ending_) return;
        Waiting next = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        next.reply(files_.answer(next.query, next.owned));
        lock.lock();
    }
}

}  // namespace vflbus::cli
