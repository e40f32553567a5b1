#pragma once
// Counts what is allocated, so that the simulation sees an event that allocates by what somebody
// has only claimed: a length, a count, an array of arrays.

#include <cstdint>

namespace vflbus::sim::memory {

/// False where a sanitizer has the allocator; then all figures are 0.
[[nodiscard]] bool counted() noexcept;
/// Bytes that are allocated now.
[[nodiscard]] std::uint64_t now() noexcept;
/// From here on `peak` counts anew.
void mark() noexcept;
/// The most bytes that were allocated at a time since `mark`, beyond those of then.
[[nodiscard]] std::uint64_t peak() noexcept;

}  // namespace vflbus::sim::memory
