#pragma once
// The wall clock at a time of the monotonic clock.

#include <chrono>

#include "base/clock.hpp"

namespace vflbus::observers {

/// Since 1970, as the wall clock is set now.
inline Duration since_1970(TimePoint at) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<Duration>(now) + (at - clock_now());
}

}  // namespace vflbus::observers
