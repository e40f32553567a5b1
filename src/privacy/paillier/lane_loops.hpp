#pragma once
// The loops of lanes.hpp that are compiled for one instruction set. They take plain memory and no
// type of the standard library: a function of it that is compiled with these instructions could be
// the copy that the linker keeps for all.

#include <cstddef>
#include <cstdint>

namespace vflbus::privacy::paillier {

/// Digits of a number, at most: of 8,704 bits.
inline constexpr std::size_t lane_digits_max = 168;

/// A modulus by its digits: `digits` of them, a multiple of 4; -1/m modulo 2^52.
struct LaneModulus {
    const std::uint64_t* modulus = nullptr;
    std::uint64_t inverse = 0;
    std::size_t digits = 0;
};

/// As the functions of the same names of Lanes.
struct LaneLoops {
    /// out = a b modulo m, below m, of numbers below m. `reciprocal`: floor(2^(104 digits) / m), of
    /// `digits` + 4 digits; m is at least 2^(52 (digits - 4)).
    void (*multiply_plain)(const LaneModulus&, const std::uint64_t* reciprocal, std::uint64_t* out,
                           const std::uint64_t* a, const std::uint64_t* b);
    /// Eight numbers of `words` words each, one after another <-> digits.
    void (*load)(std::size_t digits, std::size_t words, std::uint64_t* out,
                 const std::uint64_t* numbers);
    void (*store)(std::size_t digits, std::size_t words, const std::uint64_t* a,
                  std::uint64_t* numbers);
    void (*multiply)(const LaneModulus&, std::uint64_t* out, const std::uint64_t* a,
                     const std::uint64_t* b);
    void (*square)(const LaneModulus&, std::uint64_t* out, const std::uint64_t* a);
    void (*gather)(std::size_t digits, std::uint64_t* out, const std::uint64_t* table,
                   const std::uint64_t* index);
    void (*gather_lanes)(std::size_t digits, std::uint64_t* out, const std::uint64_t* table,
                         const std::uint64_t* index);
    void (*scatter_lanes)(std::size_t digits, const std::uint64_t* a, std::uint64_t* table,
                          const std::uint64_t* index);
    void (*pick)(std::size_t digits, std::uint64_t* out, const std::uint64_t* table,
                 std::size_t entries, std::uint64_t index);
};
extern const LaneLoops ifma_lane_loops;  ///< only in builds for x86-64

}  // namespace vflbus::privacy::paillier
