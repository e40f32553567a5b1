#include "privacy/masks/fixed_point.hpp"

#include <cmath>
#include <string>

#include "base/assert.hpp"

namespace vflbus::privacy {
namespace {

// ISO C++ has no name for 128 bits
__extension__ using u128 = unsigned __int128;
__extension__ using i128 = __int128;

u128 join(const std::uint64_t* words) {
    return (u128{words[1]} << 64) | words[0];
}
void split(u128 value, std::uint64_t* words) {
    words[0] = static_cast<std::uint64_t>(value);
    words[1] = static_cast<std::uint64_t>(value >> 64);
}

/// The integer nearest to `scaled`, ties to even; |scaled| < 2^127.
i128 nearest(double scaled) {
    // a double of 2^52 or more is an integer; nearbyint keeps the default rounding, ties to even
    return static_cast<i128>(std::nearbyint(scaled));
}

}  // namespace

Result<> to_fixed(std::span<const double> values, FixedPoint format, std::size_t parties,
                  std::span<std::uint64_t> out) {
    VFLBUS_ASSERT(out.size() == values.size() * format.words, "every value has its words");
    VFLBUS_ASSERT(parties > 0, "somebody has sent the numbers");
    const double scale = std::ldexp(1.0, static_cast<int>(format.fraction_bits));
    // half of the ring is for each sign, and half of that for what rounding adds
    const double bound =
        std::ldexp(1.0, static_cast<int>(64 * format.words) - 2) / static_cast<double>(parties);
    bool good = true;
    if (format.words == 1) {
        for (std::size_t i = 0; i < values.size(); ++i) {
            const double scaled = values[i] * scale;
            const bool fits = std::abs(scaled) < bound;  // false for a NaN
            good &= fits;
            out[i] = static_cast<std::uint64_t>(std::llrint(fits ? scaled : 0.0));
        }
    } else {
        for (std::size_t i = 0; i < values.size(); ++i) {
            const double scaled = values[i] * scale;
            const bool fits = std::abs(scaled) < bound;
            good &= fits;
            split(static_cast<u128>(nearest(fits ? scaled : 0.0)), &out[2 * i]);
        }
    }
    if (good) return {};
    return fail(Errc::diverged,
                "a number is not finite, or at least " + std::to_string(bound / scale) +
                    ", which is too large for the fixed point that masks need; standardize the "
                    "columns, lower model.learning_rate, or give the label in a larger unit");
}

void from_fixed(std::span<const std::uint64_t> words, FixedPoint format, std::span<double> out) {
    VFLBUS_ASSERT(words.size() == out.size() * format.words, "every value has its words");
    const double step = std::ldexp(1.0, -static_cast<int>(format.fraction_bits));
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = format.words == 1
                     ? static_cast<double>(static_cast<std::int64_t>(words[i])) * step
                     : static_cast<double>(static_cast<i128>(join(&words[2 * i]))) * step;
}

void add_fixed(std::span<std::uint64_t> sum, std::span<const std::uint64_t> part,
               FixedPoint format) {
    VFLBUS_ASSERT(sum.size() == part.size(), "sums are of numbers of one shape");
    if (format.words == 1)
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
    else
        for (std::size_t i = 0; i < sum.size(); i += 2)
            split(join(&sum[i]) + join(&part[i]), &sum[i]);
}

void subtract_fixed(std::span<std::uint64_t> sum, std::span<const std::uint64_t> part,
                    FixedPoint format) {
    VFLBUS_ASSERT(sum.size() == part.size(), "sums are of numbers of one shape");
    if (format.words == 1)
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] -= part[i];
    else
        for (std::size_t i = 0; i < sum.size(); i += 2)
            split(join(&sum[i]) - join(&part[i]), &sum[i]);
}

}  // namespace vflbus::privacy
