#pragma once
// How much memory this process may still take.

#include <cstdint>
#include <optional>

namespace vflbus {

/// Bytes that the machine, or the control group of this process where that has a smaller bound, can
/// give without taking them from others. Nothing where nobody says.
std::optional<std::uint64_t> available_memory();

}  // namespace vflbus
