#include "privacy/noise/discrete_gaussian.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "base/hash.hpp"
#include "base/planted.hpp"

namespace vflbus::privacy {
namespace {

__extension__ using Wide128 = unsigned __int128;

NoiseWatch noise_watch = nullptr;

// -- whole numbers of 256 bits ------------------------------------------------------------

/// As many as the chance of a draw takes: the square of sigma times the scale, and twice that.
using Wide256 = std::array<std::uint64_t, 4>;  // the low word first

Wide256 square_of(Wide128 value) {
    const std::uint64_t low = static_cast<std::uint64_t>(value);
    const std::uint64_t high = static_cast<std::uint64_t>(value >> 64);
    const Wide128 low_low = Wide128{low} * low;
    const Wide128 cross = Wide128{low} * high;
    Wide256 out{static_cast<std::uint64_t>(low_low), 0, 0, 0};
    // twice the cross product, from the second word on
    Wide128 carry = (low_low >> 64) + static_cast<std::uint64_t>(cross << 1);
    out[1] = static_cast<std::uint64_t>(carry);
    carry = (carry >> 64) + static_cast<std::uint64_t>(cross >> 63) + Wide128{high} * high;
    out[2] = static_cast<std::uint64_t>(carry);
    out[3] = static_cast<std::uint64_t>(carry >> 64) + static_cast<std::uint64_t>(cross >> 127);
    return out;
}

/// Nothing may leave the 256 bits.
Wide256 times(const Wide256& value, std::uint64_t factor) {
    Wide256 out{};
    Wide128 carry = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
        carry += Wide128{value[i]} * factor;
        out[i] = static_cast<std::uint64_t>(carry);
        carry >>= 64;
    }
    VFLBUS_ASSERT(carry == 0, "the fractions of a discrete Gaussian have at most 256 bits");
    return out;
}

bool below(const Wide256& a, const Wide256& b) {
    for (std::size_t i = a.size(); i-- > 0;)
        if (a[i] != b[i]) return a[i] < b[i];
    return false;
}

/// `b` <= `a`.
Wide256 minus(const Wide256& a, const Wide256& b) {
    Wide256 out{};
    std::uint64_t borrow = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
        const Wide128 taken = Wide128{b[i]} + borrow;
        out[i] = a[i] - static_cast<std::uint64_t>(taken);
        borrow = Wide128{a[i]} < taken ? 1 : 0;
    }
    return out;
}

// -- chances ----------------------------------------------------------------------------------

/// Uniform in [0, limit): draws of as many bits as `limit` has, until one is below it.
std::uint64_t uniform(RandomWords& words, std::uint64_t limit) {
    const std::uint64_t mask = ~std::uint64_t{0} >> std::countl_zero(limit);
    for (;;)
        if (const std::uint64_t drawn = words.next() & mask; drawn < limit) return drawn;
}

Wide256 uniform(RandomWords& words, const Wide256& limit) {
    std::size_t top = limit.size() - 1;
    while (top > 0 && limit[top] == 0) --top;
    const std::uint64_t mask = ~std::uint64_t{0} >> std::countl_zero(limit[top]);
    for (;;) {
        Wide256 drawn{};
        for (std::size_t i = 0; i <= top; ++i) drawn[i] = words.next();
        drawn[top] &= mask;
        if (below(drawn, limit)) return drawn;
    }
}

bool chance(RandomWords& words, std::uint64_t part, std::uint64_t whole) {
    return uniform(words, whole) < part;
}
bool chance(RandomWords& words, const Wide256& part, const Wide256& whole) {
    return below(uniform(words, whole), part);
}
std::uint64_t times(std::uint64_t value, std::uint64_t factor) {
    return value * factor;
}

/// With the chance exp(-part / whole), for part <= whole: algorithm 1, its first case. The series
/// of exp, drawn term by term.
template <class Number>
bool exp_chance_to_one(RandomWords& words, const Number& part, const Number& whole) {
    std::uint64_t k = 1;
    while (chance(words, part, times(whole, k))) ++k;
    return k % 2 == 1;
}

/// With the chance exp(-1).
bool exp_chance_of_one(RandomWords& words) {
    return exp_chance_to_one<std::uint64_t>(words, 1, 1);
}

/// With the chance exp(-part / whole): algorithm 1.
bool exp_chance(RandomWords& words, Wide256 part, const Wide256& whole) {
    while (below(whole, part)) {
        if (!exp_chance_of_one(words)) return false;
        part = minus(part, whole);
    }
    return exp_chance_to_one(words, part, whole);
}

std::vector<std::uint8_t> bytes_of(std::span<const std::uint8_t> label,
                                   std::span<const std::int64_t> numbers) {
    std::vector<std::uint8_t> all(label.begin(), label.end());
    all.resize(label.size() + numbers.size_bytes());
    // (a release may have no numbers)
    if (!numbers.empty())
        std::memcpy(all.data() + label.size(), numbers.data(), numbers.size_bytes());
    return all;
}

std::uint64_t short_digest(std::span<const std::uint8_t> bytes) {
    const Hash256 hash = hash256(bytes);
    std::uint64_t out = 0;
    std::memcpy(&out, hash.data(), sizeof out);
    return out;
}

}  // namespace

void RandomWords::refill() {
    // a draw takes some ten words
    constexpr std::size_t at_once = 32;
    if (words_.size() == 0) words_ = SecretVector<std::uint64_t>(at_once);
    stream_.fill(words_.span());
    used_ = 0;
}

DiscreteGaussian::DiscreteGaussian(std::uint64_t sigma) : sigma_(sigma), scale_(sigma + 1) {
    VFLBUS_ASSERT(sigma >= 1 && sigma <= sigma_max,
                  "noise has a deviation that the fractions of its sampler hold");
}

/// Integers with P(x) ~ exp(-|x| / scale): algorithm 2.
std::int64_t DiscreteGaussian::laplace(RandomWords& words) const {
    for (;;) {
        const std::uint64_t rest = uniform(words, scale_);
        if (!exp_chance_to_one(words, rest, scale_)) continue;
        std::uint64_t times_scale = 0;
        while (exp_chance_of_one(words)) ++times_scale;
        const auto size = static_cast<std::int64_t>(rest + scale_ * times_scale);
        const bool negative = (words.next() & 1) != 0;
        if (negative && size == 0) continue;
        return negative ? -size : size;
    }
}

/// Algorithm 3: a Laplace number y stays with the chance
/// exp(-(|y| - sigma^2 / t)^2 / (2 sigma^2)), both parts of which are multiplied by t^2.
std::int64_t DiscreteGaussian::operator()(RandomWords& words) const {
    const Wide128 variance = Wide128{sigma_} * sigma_;
    const Wide256 whole = times(square_of(Wide128{sigma_} * scale_), 2);
    for (;;) {
        const std::int64_t y = laplace(words);
        const Wide128 far = Wide128{static_cast<std::uint64_t>(y < 0 ? -y : y)} * scale_;
        const Wide128 apart = far > variance ? far - variance : variance - far;
        if (exp_chance(words, square_of(apart), whole)) return y;
    }
}

// -- where it comes from ----------------------------------------------------------------------

NoiseKey NoiseKey::of_use(std::uint64_t number) const {
    std::array<std::uint8_t, 8> label{};
    for (std::size_t byte = 0; byte < label.size(); ++byte)
        label[byte] = static_cast<std::uint8_t>(number >> (8 * byte));
    return NoiseKey(expand_key(secret_, label));
}

RandomWords NoiseKey::words(std::span<const std::uint8_t> label,
                            std::span<const std::int64_t> numbers) const {
    return RandomWords(expand_key(secret_, bytes_of(label, numbers)));
}

void watch_noise(NoiseWatch watch) noexcept {
    noise_watch = watch;
}

void add_noise(const NoiseKey& key, std::span<const std::uint8_t> label, std::uint64_t sigma,
               std::span<std::int64_t> values, std::span<const std::int64_t> about) {
    const std::span<const std::int64_t> bound = about.empty() ? values : about;
    const bool twice = VFLBUS_PLANTED(noise_used_twice);
    RandomWords words = twice ? key.words({}, {}) : key.words(label, bound);
    std::uint64_t stream = 0;
    std::uint64_t numbers = 0;
    if (noise_watch != nullptr) {
        RandomWords copy = twice ? key.words({}, {}) : key.words(label, bound);
        stream = copy.next();
        numbers = short_digest(bytes_of(label, bound));
    }
    bool any = false;
    const DiscreteGaussian gaussian(sigma);
    for (std::int64_t& value : values) {
        const std::int64_t noise = VFLBUS_PLANTED(noise_left_out) ? 0 : gaussian(words);
        any = any || noise != 0;
        value += noise;
    }
    if (noise_watch != nullptr && !values.empty()) noise_watch(stream, numbers, any);
}

}  // namespace vflbus::privacy
