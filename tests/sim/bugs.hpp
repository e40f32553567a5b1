#pragma once
// The bugs that can be planted in the product (base/planted.hpp), to show that the simulation finds
// them.

#include <cstdint>
#include <span>
#include <string_view>

namespace vflbus::sim {

struct Bug {
    std::string_view name;
    std::string_view sentence;
    std::uint64_t number = 0;
    /// One that found it lately, and is tried before all others.
    std::uint64_t seed = 0;
};

/// Whether the product in this binary has them.
extern const bool bugs_built;
std::span<const Bug> bugs();
const Bug* find_bug(std::string_view name);
/// From here on the product has this bug; null: none.
void plant(const Bug* bug);

}  // namespace vflbus::sim
