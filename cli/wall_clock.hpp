#pragma once
// What the clock of this machine says, since 1970.

#include <chrono>
#include <cstdint>

namespace vflbus::cli {

inline std::uint64_t wall_now_us() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                          std::chrono::system_clock::now().time_since_epoch())
                                          .count());
}
inline std::uint64_t wall_now_ms() {
    return wall_now_us() / 1000;
}

}  // namespace vflbus::cli
