#pragma once
#include "base/ids.hpp"

namespace vflbus {

/// The monotonic clock of this process. Only loops, commands and tests read it: state machines are
/// told the time by their callers, so that the simulation can decide it.
inline TimePoint clock_now() {
    return std::chrono::steady_clock::now();
}

}  // namespace vflbus
