#pragma once
// Where a run is: labels for sentences, observers and the rules about time and deaths. What a
// master does next is not decided by its phase but by its Task. docs/training.md, section 4.

#include <cstdint>
#include <string_view>

namespace vflbus::actors {

enum class Phase : std::uint8_t {
    opening,
    gathering,
    aligning,
    selecting,
    beginning,
    restoring,
    training,
    evaluating,
    comparing,
    finishing,
    releasing,
    closing,
    done,
};

/// "opening", "gathering", ...
std::string_view name_of(Phase phase) noexcept;

}  // namespace vflbus::actors
