#pragma once
// What `vflbus ui` tells browsers, as JSON: one thread asks the broker (live.hpp), any number of
// pages hear of it. Nothing is asked while no page is open.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/errc.hpp"
#include "config/config.hpp"
#include "growing_list.hpp"
#include "live.hpp"
#include "observers/http_server.hpp"

namespace vflbus::cli {

/// All calls from any thread.
class UiDesk {
  public:
    UiDesk(config::Config config, const bus::StopSignal& stop);
    ~UiDesk();
    UiDesk(const UiDesk&) = delete;
    UiDesk& operator=(const UiDesk&) = delete;

    /// Of one page: nodes and runs; of the runs `curves` metrics too, of `details` everything.
    std::unique_ptr<observers::HttpEvents> open(std::vector<RunId> curves,
                                                std::vector<RunId> details);
    /// Asks the owner to end the run. ok: it was told.
    Failure stop(const RunId& run);
    /// Ends: pages that are open hear nothing more.
    void end();

  private:
    class Page;
    struct StopAsked {
        RunId run;
        std::function<void(const Failure&)> answered;
    };
    /// What pages are told of one run, as it grows.
    struct RunText {
        std::string facts;  ///< configuration, timing, who gives no log lines
        GrowingList metrics;
        GrowingList losses;
        std::uint64_t losses_thinned = 0;
        GrowingList log{live_log_lines_max};
        std::uint64_t log_lines = 0;  ///< LiveRun::log_lines, so far as they are in `log`
        bool of_files = false;        ///< ... and they are of files here, no party has told them
    };

    void work();
    void publish();
    void publish_run(const RunId& run);

    const bus::StopSignal& stop_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t version_ = 0;
    std::string overview_;
    std::map<RunId, RunText> texts_;
    std::map<RunId, int> curves_;  ///< how many pages show them
    std::map<RunId, int> details_;
    int pages_ = 0;
    std::deque<StopAsked> stops_;
    bool ending_ = false;
    Live live_;  ///< of the thread alone
    std::thread thread_;
};

}  // namespace vflbus::cli
