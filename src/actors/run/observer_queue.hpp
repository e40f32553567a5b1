#pragma once
// Keeps a slow observer off the path of a step.
//
// The problem: an observer may take a microsecond or a minute for one event. The run must not find
// out which. So the queue copies each event, up to a bound, and a thread of its own hands the
// copies on in order. What does not fit is dropped, counted and said at the end. Steps and answers
// are what there is a lot of, and are dropped first; phases, metrics and the end are few, and have
// room of their own.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "actors/run/observer.hpp"

namespace vflbus::actors {

class ObserverQueue final : public RunObserver {
  public:
    struct Options {
        std::string name;                               ///< of the observer, for sentences
        std::size_t often_max = std::size_t{1} << 16;   ///< steps, answers, work that wait
        std::size_t seldom_max = std::size_t{1} << 14;  ///< phases, metrics
        /// How long `on_end` and the destructor wait for the observer to have seen everything.
        std::chrono::milliseconds patience{2000};
        /// Told once, after the end, when anything was dropped or not seen; and at once, by the
        /// thread of the observer, when that has thrown. May be empty.
        std::function<void(const std::string&)> warn;
    };
    ObserverQueue(std::shared_ptr<RunObserver> observer, Options options);
    /// Waits as `on_end` does. An observer that still hangs then keeps its own thread and memory:
    /// nobody waits for it.
    ~ObserverQueue() override;
    ObserverQueue(const ObserverQueue&) = delete;
    ObserverQueue& operator=(const ObserverQueue&) = delete;

    void on_phase(Phase phase, TimePoint at) override;
    void on_step(const observe::ProgressState& state, TimePoint at) override;
    void on_metrics(const observe::ProgressState& state, const observe::HistoryEntry& entry,
                    TimePoint at) override;
    void on_job(const observe::JobState& state, TimePoint at) override;
    /// Returns when the observer has seen the end, or `patience` is over.
    void on_end(const observe::RunReport& report, const Failure& outcome) override;
    void on_answer(const AnsweredRequest& answer) override;
    void on_work(TimePoint begun, TimePoint ended) override;
    void on_handled(const HandledRequest& handled) override;

    [[nodiscard]] std::uint64_t dropped() const;
    /// Everything that was heard so far was handed on. False: not within `patience`.
    bool drain(std::chrono::milliseconds patience);

  private:
    struct AtPhase {
        Phase phase;
        TimePoint at;
    };
    struct AtStep {
        observe::ProgressState state;
        TimePoint at;
    };
    struct AtJob {
        observe::JobState state;
        TimePoint at;
    };
    struct AtMetrics {
        observe::ProgressState state;
        observe::HistoryEntry entry;
        TimePoint at;
    };
    struct AtEnd {
        observe::RunReport report;
        Failure outcome;
    };
    struct AtWork {
        TimePoint begun;
        TimePoint ended;
    };
    using Event = std::variant<AtPhase, AtStep, AtMetrics, std::unique_ptr<AtEnd>, AnsweredRequest,
                               AtWork, HandledRequest, AtJob>;
    /// What the thread and the queue share; the thread outlives the queue when the observer hangs.
    struct Shared;
    static void work(const std::shared_ptr<Shared>& shared);
    static void hand_on(RunObserver& observer, Event& event);
    static void hand_on_all(Shared& shared, std::vector<Event>& events);
    /// What an event may fill.
    enum class Room { often, seldom, any };
    void put(Event event, Room room);
    void say_what_is_missing(bool seen);

    std::shared_ptr<Shared> shared_;
    std::thread thread_;
    bool said_ = false;
};

}  // namespace vflbus::actors
