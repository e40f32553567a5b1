#pragma once
// Those who watch a run: the progress line, the desk that answers questions, a tracker.

#include "actors/run/phase.hpp"
#include "base/errc.hpp"
#include "base/ids.hpp"
#include "observe/progress.hpp"
#include "observe/report.hpp"

namespace vflbus::actors {

/// Told what happens in a run, on the thread that handles the run's events. An observer is on the
/// path of every step: it copies what it needs and returns at once.
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
    /// The run is over for this process, with the final report; `outcome` is ok, or why it failed.
    virtual void on_end(const observe::RunReport&, const Failure&) {}
};

}  // namespace vflbus::actors
