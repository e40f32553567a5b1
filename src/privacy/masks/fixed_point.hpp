#pragma once
// Numbers as integers modulo 2^64 or 2^128, for sums that must be exact.
//
// The problem: masks cancel in a sum only where addition is exact, which that of doubles is not. So
// a number v becomes the nearest integer to v 2^f, ties to even, in two's complement; sums wrap,
// and the sum of all parties is read back as a signed number. The order of the additions no longer
// matters.
//
// Rows of scores have f = 32 and 64 bits: steps of 2.3e-10 up to 2^30 in a sum. The numbers of a
// solver, among them squares of gradients, have f = 80 and 128 bits: steps of 8e-25 up to 2^46.
// X~ g of L-BFGS, which shrinks with the gradient, has f = 44 and 64 bits: steps of 6e-14 up to
// 2^18.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/errc.hpp"

namespace vflbus::privacy {

struct FixedPoint {
    std::uint32_t fraction_bits = 32;
    std::uint32_t words = 1;  ///< of 64 bits, the low one first: 1 or 2

    friend bool operator==(const FixedPoint&, const FixedPoint&) = default;
};

inline constexpr FixedPoint row_format{32, 1};
inline constexpr FixedPoint gradient_row_format{44, 1};
inline constexpr FixedPoint product_format{80, 2};

/// `out` has format.words words for each value. `parties`: how many such numbers are added at most;
/// what could leave the range in their sum, or is not finite, is refused with `diverged`.
Result<> to_fixed(std::span<const double> values, FixedPoint format, std::size_t parties,
                  std::span<std::uint64_t> out);
/// The nearest doubles to the signed numbers, ties to even.
void from_fixed(std::span<const std::uint64_t> words, FixedPoint format, std::span<double> out);
/// sum += part, each number modulo 2^64 or 2^128.
void add_fixed(std::span<std::uint64_t> sum, std::span<const std::uint64_t> part,
               FixedPoint format);
void subtract_fixed(std::span<std::uint64_t> sum, std::span<const std::uint64_t> part,
                    FixedPoint format);

}  // namespace vflbus::privacy
