#pragma once
// How a training comes along, for the person who waits: a live line on a terminal, now and then a
// plain line elsewhere. Reads no clock; the caller says what time it is.

#include <cstdint>
#include <deque>
#include <limits>
#include <string>

#include "base/ids.hpp"
#include "observe/console.hpp"

namespace vflbus::observe {

struct ProgressState {
    std::uint64_t epoch = 0;  ///< the one under way, counted from 1; 0: not shown
    std::uint64_t epochs = 0;
    std::uint64_t step = 0;   ///< steps done
    std::uint64_t steps = 0;  ///< steps in all; 0: unknown, no time left is shown
    double loss = std::numeric_limits<double>::quiet_NaN();    ///< NaN: not shown
    std::string metric_name;                                   ///< e.g. "test auc"
    double metric = std::numeric_limits<double>::quiet_NaN();  ///< NaN: not shown
    bool report = false;  ///< metrics were just computed: a plain line is always written
};

struct ProgressOptions {
    Duration live_interval =
        std::chrono::milliseconds(100);                 ///< redraw a live line at most this often
    Duration plain_interval = std::chrono::seconds(5);  ///< plain lines between reports
    bool quiet = false;                                 ///< write nothing
};

/// Not thread safe; log lines from other threads are, as they go through the same Console.
class Progress {
  public:
    explicit Progress(Console& console, ProgressOptions options = {});
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress();

    /// Cheap between redraws: a comparison of times. A step below the last one (a rollback) starts
    /// the rate afresh.
    void update(const ProgressState& state, TimePoint now);

    /// The last state as a final line; the live line ends. Calling it twice does nothing.
    void finish(TimePoint now);

    /// Takes the live line away without a final line (a run that failed).
    void abandon();

  private:
    struct Sample {
        TimePoint at;
        std::uint64_t step;
    };

    [[nodiscard]] std::string line(TimePoint now) const;
    [[nodiscard]] double rate(TimePoint now) const;
    void sample(TimePoint now);

    Console& console_;
    ProgressOptions options_;
    ProgressState state_;
    std::deque<Sample> samples_;  // of the last seconds, for steps/s
    Sample first_{};              // the rate of the whole training counts from here
    TimePoint begun_{};
    TimePoint shown_at_{};
    std::uint64_t shown_step_ = 0;
    bool started_ = false;
    bool shown_ = false;
    bool over_ = false;
};

}  // namespace vflbus::observe
