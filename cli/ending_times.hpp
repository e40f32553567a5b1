// How long parties of a run on this machine may take to end, as processes or as threads. None of
// these passes in a run that goes well.
#pragma once

#include <chrono>

namespace vflbus::cli {

constexpr auto master_explains = std::chrono::seconds(3);  ///< what a member's end means to it
constexpr auto members_end = std::chrono::seconds(15);     ///< by themselves, after the master
constexpr auto members_end_after_failure = std::chrono::seconds(2);

}  // namespace vflbus::cli
