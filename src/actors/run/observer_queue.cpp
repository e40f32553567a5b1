#include "actors/run/observer_queue.hpp"

#include <algorithm>
#include <exception>
#include <utility>

namespace vflbus::actors {
namespace {

/// Events of a training come every few microseconds: they are handed on together, so that no step
/// pays for waking a thread.
constexpr auto gather_for = std::chrono::milliseconds(50);

}  // namespace

struct ObserverQueue::Shared {
    Shared(std::shared_ptr<RunObserver> told, Options chosen)
        : observer(std::move(told)), options(std::move(chosen)) {}

    const std::shared_ptr<RunObserver> observer;
    const Options options;
    std::mutex mutex;
    std::condition_variable wakes;  ///< the thread
    std::condition_variable seen;   ///< who waits in `drain`
    std::vector<Event> events;
    std::size_t often = 0;  ///< of `events`
    std::uint64_t dropped = 0;
    std::uint64_t heard = 0;
    std::uint64_t handed_on = 0;
    bool idle = false;  ///< the thread waits until it is woken
    bool at_once = false;
    bool ending = false;
    bool stopped = false;  ///< the observer has thrown; of the thread alone
};

ObserverQueue::ObserverQueue(std::shared_ptr<RunObserver> observer, Options options)
    : shared_(std::make_shared<Shared>(std::move(observer), std::move(options))) {
    thread_ = std::thread([shared = shared_] { work(shared); });
}

ObserverQueue::~ObserverQueue() {
    const bool seen = drain(shared_->options.patience);
    {
        const std::lock_guard lock(shared_->mutex);
        shared_->ending = true;
        if (!seen) shared_->events.clear();
    }
    shared_->wakes.notify_all();
    if (seen)
        thread_.join();
    else
        thread_.detach();  // the observer hangs; what it shares with us it keeps
    say_what_is_missing(seen);
}

// -- what is heard ------------------------------------------------------------------

void ObserverQueue::put(Event event, Room room) {
    Shared& shared = *shared_;
    bool wake = false;
    {
        const std::lock_guard lock(shared.mutex);
        const std::size_t seldom = shared.events.size() - shared.often;
        if ((room == Room::often && shared.often >= shared.options.often_max) ||
            (room == Room::seldom && seldom >= shared.options.seldom_max)) {
            ++shared.dropped;
            return;
        }
        shared.events.push_back(std::move(event));
        shared.often += room == Room::often ? 1 : 0;
        ++shared.heard;
        wake = shared.idle;
        shared.idle = false;
    }
    if (wake) shared.wakes.notify_one();
}

void ObserverQueue::on_phase(Phase phase, TimePoint at) {
    put(AtPhase{phase, at}, Room::seldom);
}
void ObserverQueue::on_step(const observe::ProgressState& state, TimePoint at) {
    put(AtStep{state, at}, Room::often);
}
void ObserverQueue::on_metrics(const observe::ProgressState& state,
                               const observe::HistoryEntry& entry, TimePoint at) {
    put(AtMetrics{state, entry, at}, Room::seldom);
}
void ObserverQueue::on_job(const observe::JobState& state, TimePoint at) {
    put(AtJob{state, at}, Room::often);
}
void ObserverQueue::on_answer(const AnsweredRequest& answer) {
    put(answer, Room::often);
}
void ObserverQueue::on_work(TimePoint begun, TimePoint ended) {
    put(AtWork{begun, ended}, Room::often);
}
void ObserverQueue::on_handled(const HandledRequest& handled) {
    put(handled, Room::often);
}

void ObserverQueue::on_end(const observe::RunReport& report, const Failure& outcome) {
    put(std::make_unique<AtEnd>(AtEnd{report, outcome}), Room::any);
    say_what_is_missing(drain(shared_->options.patience));
}

// -- the thread ---------------------------------------------------------------------

void ObserverQueue::hand_on(RunObserver& observer, Event& event) {
    if (const auto* phase = std::get_if<AtPhase>(&event))
        observer.on_phase(phase->phase, phase->at);
    else if (const auto* step = std::get_if<AtStep>(&event))
        observer.on_step(step->state, step->at);
    else if (const auto* metrics = std::get_if<AtMetrics>(&event))
        observer.on_metrics(metrics->state, metrics->entry, metrics->at);
    else if (const auto* end = std::get_if<std::unique_ptr<AtEnd>>(&event))
        observer.on_end((*end)->report, (*end)->outcome);
    else if (const auto* answer = std::get_if<AnsweredRequest>(&event))
        observer.on_answer(*answer);
    else if (const auto* job = std::get_if<AtJob>(&event))
        observer.on_job(job->state, job->at);
    else if (const auto* work = std::get_if<AtWork>(&event))
        observer.on_work(work->begun, work->ended);
    else if (const auto* handled = std::get_if<HandledRequest>(&event))
        observer.on_handled(*handled);
}

/// An observer that throws is shown nothing more: no exception of it may end the process.
void ObserverQueue::hand_on_all(Shared& shared, std::vector<Event>& events) {
    if (shared.stopped) return;
    std::string why;
    try {
        for (Event& event : events) hand_on(*shared.observer, event);
        return;
    } catch (const std::exception& error) {
        why = error.what();
    } catch (...) {
        why = "an unknown exception";
    }
    shared.stopped = true;
    if (shared.options.warn)
        shared.options.warn(shared.options.name + " has failed (" + why +
                            ") and is shown nothing more of the run; the run goes on without it");
}

void ObserverQueue::work(const std::shared_ptr<Shared>& shared) {
    std::vector<Event> taken;
    std::unique_lock lock(shared->mutex);
    for (;;) {
        if (shared->events.empty() && !shared->ending) {
            shared->idle = true;
            shared->wakes.wait(lock, [&] { return !shared->events.empty() || shared->ending; });
            shared->idle = false;
        }
        shared->wakes.wait_for(lock, gather_for, [&] { return shared->at_once || shared->ending; });
        if (shared->events.empty() && shared->ending) return;
        shared->at_once = false;
        taken.clear();
        taken.swap(shared->events);
        shared->often = 0;
        lock.unlock();
        hand_on_all(*shared, taken);
        lock.lock();
        shared->handed_on += taken.size();
        shared->seen.notify_all();
    }
}

// -- what is missing ----------------------------------------------------------------

std::uint64_t ObserverQueue::dropped() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->dropped;
}

bool ObserverQueue::drain(std::chrono::milliseconds patience) {
    std::unique_lock lock(shared_->mutex);
    const std::uint64_t until = shared_->heard;
    shared_->at_once = true;
    shared_->wakes.notify_one();
    return shared_->seen.wait_for(lock, patience, [&] { return shared_->handed_on >= until; });
}

void ObserverQueue::say_what_is_missing(bool seen) {
    const std::uint64_t lost = dropped();
    const Options& options = shared_->options;
    if (said_ || !options.warn || (seen && lost == 0)) return;
    said_ = true;
    std::string text = options.name;
    if (lost > 0)
        text +=
            " was too slow: " + std::to_string(lost) + " events of the run were not shown to it";
    if (!seen) text += std::string(lost > 0 ? ", and it" : "") + " has not finished in time";
    options.warn(text);
}

}  // namespace vflbus::actors
