#include "privacy/noise/clip.hpp"

#include <algorithm>
#include <cmath>

#include "base/assert.hpp"

namespace vflbus::privacy {
namespace {

__extension__ using Wide = unsigned __int128;

/// `row` has numbers below 2^62.
bool longer_than(std::span<const std::int64_t> row, std::int64_t most) {
    const Wide limit = Wide{static_cast<std::uint64_t>(most)} * static_cast<std::uint64_t>(most);
    Wide sum = 0;
    for (const std::int64_t value : row) {
        const auto size = static_cast<std::uint64_t>(value < 0 ? -value : value);
        sum += Wide{size} * size;
        if (sum > limit) return true;
    }
    return false;
}

}  // namespace

Grid grid_of(double norm, unsigned bits) noexcept {
    int power = 0;  // norm <= 2^power
    const double fraction = std::frexp(norm, &power);
    if (fraction == .5) --power;
    Grid grid;
    grid.exponent = static_cast<int>(bits) - power;
    grid.most = static_cast<std::int64_t>(std::floor(std::ldexp(norm, grid.exponent)));
    return grid;
}

Result<> clip_row(std::span<const double> row, const Grid& grid, std::span<std::int64_t> out) {
    VFLBUS_ASSERT(row.size() == out.size(), "every number of a row becomes an integer");
    double largest = 0;
    for (const double value : row) {
        if (!std::isfinite(value))
            return fail(Errc::diverged,
                        "a number that is to be clipped for differential privacy is not finite");
        largest = std::max(largest, std::abs(value));
    }
    if (largest == 0) {
        std::ranges::fill(out, 0);
        return {};
    }
    // in units of the largest one, as squares may leave the range of doubles
    double squares = 0;
    for (const double value : row) squares += (value / largest) * (value / largest);
    const double length = std::sqrt(squares);  // times largest
    const double most = std::ldexp(static_cast<double>(grid.most), -grid.exponent);
    const bool longer = largest > most / length;
    for (std::size_t i = 0; i < row.size(); ++i)
        out[i] = static_cast<std::int64_t>(std::nearbyint(
            std::ldexp(longer ? row[i] / largest * (most / length) : row[i], grid.exponent)));
    clip_integers(grid.most, out);
    return {};
}

void clip_integers(std::int64_t most, std::span<std::int64_t> row) {
    if (!longer_than(row, most)) return;
    double squares = 0;
    for (const std::int64_t value : row)
        squares += static_cast<double>(value) * static_cast<double>(value);
    double factor = static_cast<double>(most) / std::sqrt(squares);
    // towards 0, so that the first round is enough but for the rounding of doubles
    do {
        for (std::int64_t& value : row)
            value = static_cast<std::int64_t>(static_cast<double>(value) * factor);
        factor = 1 - 0x1p-40;
    } while (longer_than(row, most));
}

std::uint64_t sigma_of(double multiplier, std::int64_t sensitivity) noexcept {
    return static_cast<std::uint64_t>(
        std::max(1.0, std::ceil(multiplier * static_cast<double>(sensitivity))));
}

}  // namespace vflbus::privacy
