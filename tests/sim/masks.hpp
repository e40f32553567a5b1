#pragma once
// Random bytes of a simulated world that are a function of its seed, and a watch that no stream of
// masks is used for two tensors.

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
