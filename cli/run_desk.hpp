#pragma once
// What a process answers when it is asked about its runs (docs/protocol.md, section 12): status,
// metrics and configuration of the run that it drives, log lines, stop.
//
// Questions arrive while a handler computes and while the link's lock is held. So what is in memory
// is answered at once, and what has to be read from files is answered later, by a thread of its own
// with a bounded queue: askers of old runs do not delay a training.

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "actors/node/node_core.hpp"
#include "actors/run/observer.hpp"
#include "base/errc.hpp"
#include "bus/core/link_core.hpp"
#include "config/config.hpp"
#include "observe/progress.hpp"
#include "observe/report.hpp"
#include "run_files.hpp"

namespace vflbus::cli {

inline constexpr std::size_t metrics_kept_max = 10'000;
/// Questions about files that may wait; further ones are refused, and may be asked again.
inline constexpr std::size_t questions_waiting_max = 64;

/// All calls from any thread.
class RunDesk {
  public:
    /// Files of a run are those in `runs_dir`/RUN, log lines those of `party`/log there.
    RunDesk(std::string party, std::filesystem::path runs_dir, config::ShareLog share);
    /// Questions that wait are not answered any more.
    ~RunDesk();
    RunDesk(const RunDesk&) = delete;
    RunDesk& operator=(const RunDesk&) = delete;

    using History = std::function<const std::vector<observe::HistoryEntry>&()>;
    /// From now on this process drives `run`. `stop` asks it to end in order, `history` is called
    /// within `update` only; both may be empty.
    void drives(const RunId& run, std::string agreed, std::function<void()> stop, History history);
    void update(const observe::ProgressState& state);
    /// One step of a run of an app. What is beyond `metrics_kept_max` steps is not kept.
    void add_metrics(std::uint64_t step, const std::map<std::string, double>& values);
    // -- where the time goes; the last requests and steps are kept
    void add_answer(const actors::AnsweredRequest& answer);
    void add_work(TimePoint begun, TimePoint ended);
    /// A member has worked on a request, of whatever run.
    void add_handled(const actors::HandledRequest& handled);
    /// That run is over, and nothing given to `drives` is called any more.
    void done();

    /// Calls `reply` once: at once, or later from the desk's thread.
    void answer(const bus::QueryArrived& query, actors::QueryReplier reply);

  private:
    struct Waiting {
        bus::QueryArrived query;
        bool owned;
        actors::QueryReplier reply;
    };

    Result<bus::Bytes> answer_driven(const bus::QueryArrived& query);
    Result<bus::Bytes> stop_driven();
    Result<bus::Bytes> timing_answer(const RunId& run);
    void end_step(std::uint64_t step);
    void answer_from_files(const bus::QueryArrived& query, bool owned, actors::QueryReplier reply);
    void work();

    const std::string party_;
    RunFiles files_;
    std::mutex mutex_;
    RunId run_;
    std::string agreed_;
    std::function<void()> stop_;
    History history_;
    bus::RunStatus status_;
    std::vector<bus::MetricEntry> metrics_;
    // what the owner's last steps were made of, and the one under way
    std::deque<bus::StepTiming> steps_;
    bus::StepTiming step_now_;
    std::deque<actors::HandledRequest> handled_;

    std::mutex queue_mutex_;
    std::condition_variable wakes_;
    std::deque<Waiting> waiting_;
    bool ending_ = false;
    std::thread worker_;  ///< started by the first question about files
};

}  // namespace vflbus::cli
