#pragma once
// A handler that logs in a loop writes a hundred megabytes a second into the log of its run, until
// the disk of its node is full and every other run fails. So a run may log a burst, and after that
// a bounded number of bytes per second; what is over is counted and left out.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "base/ids.hpp"

namespace vflbus::apps {

inline constexpr double log_burst_bytes = 16 << 20;
inline constexpr double log_bytes_per_second = 1 << 20;
inline constexpr std::size_t log_line_overhead_bytes = 100;  ///< time, level, node, run

class LogLimit {
  public:
    /// Whether a line of so many bytes may be written now; one that may not is counted.
    [[nodiscard]] bool allows(std::size_t bytes, TimePoint now) {
        const double passed = std::chrono::duration<double>(now - since_).count();
        if (since_ != TimePoint{})
            left_ = std::min(log_burst_bytes, left_ + passed * log_bytes_per_second);
        since_ = now;
        const auto cost = static_cast<double>(bytes + log_line_overhead_bytes);
        if (left_ < cost) {
            ++left_out_;
            return false;
        }
        left_ -= cost;
        return true;
    }
    /// Empty, or a line about those that were left out since the last call.
    [[nodiscard]] std::string take_word() {
        const std::uint64_t lines = std::exchange(left_out_, 0);
        if (lines == 0) return {};
        return std::to_string(lines) +
               " lines of the app were left out: it logged more than a MiB a second";
    }

  private:
    double left_ = log_burst_bytes;
    TimePoint since_{};
    std::uint64_t left_out_ = 0;
};

}  // namespace vflbus::apps
