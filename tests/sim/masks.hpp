#pragma once
// Random bytes of a simulated world that are a function of its seed, and a watch over what they are
// used for: no stream of masks hides two tensors; every encrypted answer has something added to its
// polynomial, masks that no answer had before, and a flood over its noise.

#include <cstdint>
#include <string>

namespace vflbus::sim {

/// While it lives. One at a time.
class MaskWatch {
  public:
    explicit MaskWatch(std::uint64_t seed);
    ~MaskWatch();
    MaskWatch(const MaskWatch&) = delete;
    MaskWatch& operator=(const MaskWatch&) = delete;

    /// Empty, or what was seen.
    [[nodiscard]] std::string violation() const;
    [[nodiscard]] std::uint64_t streams() const;
};

}  // namespace vflbus::sim
