#pragma once
// How a long job other than a training comes along: a table that is read, ids that are intersected.
//
// The problem: a table of some gigabytes takes minutes, and who started the command cannot tell a
// job that works from one that hangs. So a job says how far it is; when it has lasted a while there
// is a line with the time that it will take yet. Short jobs say nothing. Reads no clock.

#include <cstdint>
#include <mutex>
#include <string>

#include "base/ids.hpp"
#include "observe/console.hpp"

namespace vflbus::observe {

/// How far a job is.
struct JobState {
    enum class Unit : std::uint8_t { count, bytes };
    std::string what;  ///< "master: reads bank.csv"
    std::uint64_t done = 0;
    std::uint64_t total = 0;  ///< 0: unknown, no time left is shown
    Unit unit = Unit::count;
};

/// "master: reads bank.csv  41%  1.2 GB of 2.9 GB  12 s left"
std::string job_line(const JobState& state, Duration passed);

struct JobProgressOptions {
    Duration silent_for = std::chrono::seconds(1);  ///< shorter jobs say nothing
    Duration live_interval = std::chrono::milliseconds(100);
    Duration plain_interval = std::chrono::seconds(10);
    bool quiet = false;
};

/// The line of the job that is at work; one at a time. Thread safe.
class JobProgress {
  public:
    explicit JobProgress(Console& console, JobProgressOptions options = {})
        : console_(console), options_(options) {}
    JobProgress(const JobProgress&) = delete;
    JobProgress& operator=(const JobProgress&) = delete;
    ~JobProgress() { end(); }

    /// Another `what` than before begins another job; one that is done takes its line away.
    void update(const JobState& state, TimePoint now);
    /// The job is over, whatever it has come to.
    void end();

  private:
    void clear();

    std::mutex mutex_;
    Console& console_;
    JobProgressOptions options_;
    std::string what_;
    TimePoint begun_{};
    TimePoint shown_at_{};
    bool shown_ = false;
};

}  // namespace vflbus::observe
