#pragma once
// Rows of integers whose length has a bound: what makes the sensitivity of a sum a known number.
//
// The problem: the noise of differential privacy is measured against how much one row can change a
// result. So each row becomes integers on a grid that is the same for all rows and follows from the
// configuration alone, and a row that is longer than the bound is shortened to it. The bound holds
// for the integers themselves, exactly, and not only for the doubles that they came from.

#include <cstdint>
#include <span>

#include "base/errc.hpp"

namespace vflbus::privacy {

/// A number v stands for v 2^-exponent.
struct Grid {
    int exponent = 0;
    std::int64_t most = 0;  ///< no row is longer
    friend bool operator==(const Grid&, const Grid&) = default;
};

/// The grid on which a row of length `norm` has about 2^bits steps, at most that. `norm` above 0
/// and finite, `bits` at most 30.
[[nodiscard]] Grid grid_of(double norm, unsigned bits) noexcept;

/// The row as integers of length at most grid.most (out[i] for row[i]), in its direction but for
/// rounding. Errors: diverged, when a number is not finite.
Result<> clip_row(std::span<const double> row, const Grid& grid, std::span<std::int64_t> out);

/// The same of a row that is integers already.
void clip_integers(std::int64_t most, std::span<std::int64_t> row);

/// The deviation of noise that is `multiplier` times as large as `sensitivity`, rounded up.
[[nodiscard]] std::uint64_t sigma_of(double multiplier, std::int64_t sensitivity) noexcept;

}  // namespace vflbus::privacy
