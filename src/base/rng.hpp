#pragma once
// A seeded generator whose output is the same on every compiler and library: the distributions of
// <random> are implementation-defined, and batches and splits must be equal at all parties.

#include <cstdint>

namespace vflbus {

/// splitmix64 (Steele, Lea, Flood 2014).
class Rng {
  public:
    explicit constexpr Rng(std::uint64_t seed) noexcept : state_(seed) {}

    constexpr std::uint64_t next() noexcept {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }

    /// Uniform in [0, bound), without modulo bias (Lemire 2019). `bound` must be positive.
    constexpr std::uint64_t below(std::uint64_t bound) noexcept {
        __extension__ using wide = unsigned __int128;
        wide product = static_cast<wide>(next()) * bound;
        auto low = static_cast<std::uint64_t>(product);
        if (low < bound) {
            const std::uint64_t threshold = (0 - bound) % bound;
            while (low < threshold) {
                product = static_cast<wide>(next()) * bound;
                low = static_cast<std::uint64_t>(product);
            }
        }
        return static_cast<std::uint64_t>(product >> 64);
    }

    /// Uniform in [0, 1) with 53 bits.
    constexpr double uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  private:
    std::uint64_t state_;
};

/// One seed from two: streams for (seed, epoch), (seed, purpose) and the like do not overlap.
constexpr std::uint64_t mix_seed(std::uint64_t seed, std::uint64_t stream) noexcept {
    Rng outer(seed ^ 0x5851f42d4c957f2dULL);
    return Rng(outer.next() + stream * 0xda942042e4dd58b5ULL).next();
}

}  // namespace vflbus
