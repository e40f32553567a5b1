#pragma once
// Those who watch a run: the progress line, the desk that answers questions, Prometheus, MLflow,
// TensorBoard, a trace.
//
// The problem: each of them is slow at times (a terminal that was stopped, a server that does not
// answer, a full disk), and a training must not wait for any of them. So a run tells an
// ObserverQueue (observer_queue.hpp), which only copies what it hears; the observer itself works in
// a thread of its own, at its own pace.

#include <string>

#include "actors/node/node_core.hpp"
#include "actors/run/phase.hpp"
#include "base/errc.hpp"
#include "base/ids.hpp"
#include "observe/job_progress.hpp"
#include "observe/progress.hpp"
#include "observe/report.hpp"

namespace vflbus::actors {

/// A request of the master that a member, or the arbiter, has answered.
struct AnsweredRequest {
    std::size_t party = 0;  ///< as Parties counts them
    MessageType type = 0;
    TimePoint asked{};
    TimePoint answered{};
    std::uint64_t bytes_to = 0;  ///< on the wire, with headers
    std::uint64_t bytes_from = 0;
    bool aside = false;  ///< no step waits for it, as for a commit
};

/// Told what happens in a run, on the thread that handles the run's events. Who is told directly is
/// on the path of every step: it copies what it needs and returns at once.
class RunObserver {
  public:
    virtual ~RunObserver() = default;
    /// The run has entered `phase`. It comes to phases again in a new term.
    virtual void on_phase(Phase, TimePoint) {}
    /// A step was done, or its commit was restored. A step may come again after a recovery.
    virtual void on_step(const observe::ProgressState&, TimePoint) {}
    /// Metrics of one table were computed; `state` names the headline metric.
    virtual void on_metrics(const observe::ProgressState&, const observe::HistoryEntry&,
                            TimePoint) {}
    /// How far a long job is that comes before or after the steps, such as a private set
    /// intersection; told now and then.
    virtual void on_job(const observe::JobState&, TimePoint) {}
    /// The run is over for this process, with the final report; `outcome` is ok, or why it failed.
    virtual void on_end(const observe::RunReport&, const Failure&) {}

    // -- where the time goes ----------------------------------------------------------
    /// A party has answered the master.
    virtual void on_answer(const AnsweredRequest&) {}
    /// The master itself has computed, from one event to its return to waiting.
    virtual void on_work(TimePoint /*begun*/, TimePoint /*ended*/) {}
    /// A member's handler has answered a request (at members only).
    virtual void on_handled(const HandledRequest&) {}
};

}  // namespace vflbus::actors
