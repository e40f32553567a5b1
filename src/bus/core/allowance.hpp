#pragma once
// How much of something costly one sender may ask for: so much at once, and so much a second.
//
// The problem: a small frame can make much work for others. An OPEN of 4,096 participants is one
// frame of its owner and 4,096 of the broker, and an owner that says OPEN in ever later terms makes
// the broker do nothing else. Each such frame is paid for by who sends it; who has spent all waits.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.hpp"

namespace vflbus::bus {

struct AllowanceLimits {
    double most = 0;        ///< what gathers while nothing is asked for
    double per_second = 0;  ///< how fast it does
};

class Allowance {
  public:
    Allowance(const AllowanceLimits& limits, TimePoint now) noexcept
        : limits_(limits), left_(limits.most), at_(now) {}

    /// Takes `cost`; false: there is not so much left, and nothing is taken. What costs more than
    /// can ever be left takes all.
    [[nodiscard]] bool take(double cost, TimePoint now) noexcept {
        fill(now);
        cost = std::min(cost, limits_.most);
        if (cost > left_) return false;
        left_ -= cost;
        return true;
    }
    /// Whether all of it has gathered again, so that it is as a new one.
    [[nodiscard]] bool full(TimePoint now) const noexcept {
        Allowance then = *this;
        then.fill(now);
        return then.left_ >= limits_.most;
    }

  private:
    void fill(TimePoint now) noexcept {
        if (now <= at_) return;
        const double passed = std::chrono::duration<double>(now - at_).count();
        left_ = std::min(limits_.most, left_ + passed * limits_.per_second);
        at_ = now;
    }

    AllowanceLimits limits_;
    double left_;
    TimePoint at_;
};

/// Log lines that a peer can cause as often as it likes: so many at once and a second, and the next
/// one that is written tells how many were not.
class LineAllowance {
  public:
    LineAllowance(const AllowanceLimits& limits, TimePoint now) noexcept : lines_(limits, now) {}

    /// What the line ends with: nothing, or "; and 7 more before it". None: it is not written.
    [[nodiscard]] std::optional<std::string> take(TimePoint now) {
        if (!lines_.take(1, now)) {
            ++untold_;
            return {};
        }
        const std::uint64_t untold = std::exchange(untold_, 0);
        return untold == 0 ? std::string() : "; and " + std::to_string(untold) + " more before it";
    }

  private:
    Allowance lines_;
    std::uint64_t untold_ = 0;
};

}  // namespace vflbus::bus
