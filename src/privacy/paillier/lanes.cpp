#include "privacy/paillier/lanes.hpp"

#include <algorithm>
#include <bit>

#include "base/assert.hpp"

namespace vflbus::privacy::paillier {
namespace {

constexpr std::uint64_t digit_mask = (std::uint64_t{1} << 52) - 1;

/// Words of 64 bits <-> digits of 52.
void to_digits(const std::uint64_t* words, std::size_t count, std::uint64_t* digits,
               std::size_t digit_count, std::size_t stride) {
    for (std::size_t i = 0; i < digit_count; ++i) {
        const std::size_t word = 52 * i / 64;
        const std::size_t shift = 52 * i % 64;
        std::uint64_t value = word < count ? words[word] >> shift : 0;
        if (shift > 12 && word + 1 < count) value |= words[word + 1] << (64 - shift);
        digits[i * stride] = value & digit_mask;
    }
}
void to_words(const std::uint64_t* digits, std::size_t digit_count, std::size_t stride,
              std::uint64_t* words, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) words[i] = 0;
    for (std::size_t i = 0; i < digit_count; ++i) {
        const std::size_t word = 52 * i / 64;
        const std::size_t shift = 52 * i % 64;
        const std::uint64_t value = digits[i * stride];
        if (word < count) words[word] |= value << shift;
        if (shift > 12 && word + 1 < count) words[word + 1] |= value >> (64 - shift);
    }
}

/// words = words - modulus where that is not negative, without a branch.
void reduce_once(std::uint64_t* words, const std::vector<std::uint64_t>& modulus,
                 std::uint64_t above) {
    std::uint64_t rest[lane_digits_max];
    std::uint64_t borrow = 0;
    for (std::size_t i = 0; i < modulus.size(); ++i) {
        const std::uint64_t difference = words[i] - modulus[i];
        rest[i] = difference - borrow;
        borrow = static_cast<std::uint64_t>(words[i] < modulus[i]) |
                 static_cast<std::uint64_t>(difference < borrow);
    }
    // kept when nothing was borrowed beyond what is above the words
    const std::uint64_t keep = 0 - static_cast<std::uint64_t>(above != 0 || borrow == 0);
    for (std::size_t i = 0; i < modulus.size(); ++i)
        words[i] = (rest[i] & keep) | (words[i] & ~keep);
}

}  // namespace

bool Lanes::possible() noexcept {
#ifdef VFLBUS_IFMA
    return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
           __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512ifma") != 0;
#else
    return false;
#endif
}

std::size_t Lanes::digits_for(std::size_t words) noexcept {
    const std::size_t digits = (64 * words + 2) / 52 + 1;
    return (digits + 3) / 4 * 4;
}

namespace {
const LaneLoops* loops_of_this_processor() noexcept {
#ifdef VFLBUS_IFMA
    return Lanes::possible() ? &ifma_lane_loops : nullptr;
#else
    return nullptr;
#endif
}
}  // namespace

Lanes::Lanes(std::span<const std::uint64_t> modulus, std::span<const std::uint64_t> square,
             std::span<const std::uint64_t> reciprocal)
    : loops_(loops_of_this_processor()),
      words_(modulus.size()),
      digits_(digits_for(modulus.size())),
      modulus_words_(modulus.begin(), modulus.end()),
      modulus_(digits_),
      square_(digits_),
      one_(digits_) {
    VFLBUS_ASSERT(loops_ != nullptr && digits_ <= lane_digits_max,
                  "lanes are made where the processor has them, for numbers that fit");
    to_digits(modulus.data(), words_, modulus_.data(), digits_, 1);
    to_digits(square.data(), words_, square_.data(), digits_, 1);
    if (64 * (reciprocal.size() - 1) + std::bit_width(reciprocal.back()) <= 52 * (digits_ + 4)) {
        reciprocal_.resize(digits_ + 4);
        to_digits(reciprocal.data(), reciprocal.size(), reciprocal_.data(), digits_ + 4, 1);
    }
    // Newton: each step doubles the bits of 1/m that are right
    std::uint64_t inverse = modulus[0];
    for (int i = 0; i < 5; ++i) inverse *= 2 - modulus[0] * inverse;
    inverse_ = (0 - inverse) & digit_mask;
    Eight all(digits_);
    std::vector<std::uint64_t> unit(words_);
    unit[0] = 1;
    load(all.data(), unit);
    to_montgomery(all.data());
    digits_of(all.data(), 0, one_.data());
}

void Lanes::multiply(std::uint64_t* out, const std::uint64_t* a, const std::uint64_t* b) const {
    loops_->multiply({modulus_.data(), inverse_, digits_}, out, a, b);
}
void Lanes::square(std::uint64_t* out, const std::uint64_t* a) const {
    loops_->square({modulus_.data(), inverse_, digits_}, out, a);
}

void Lanes::spread(std::uint64_t* out, const std::uint64_t* digits) const {
    for (std::size_t i = 0; i < size(); ++i) out[i] = digits[i / count];
}
void Lanes::multiply_plain(std::uint64_t* out, const std::uint64_t* a,
                           const std::uint64_t* b) const {
    if (!reciprocal_.empty()) {
        loops_->multiply_plain({modulus_.data(), inverse_, digits_}, reciprocal_.data(), out, a, b);
        return;
    }
    Eight factor(digits_);
    std::copy_n(a, size(), factor.data());
    to_montgomery(factor.data());
    multiply(out, factor.data(), b);
    std::vector<std::uint64_t> numbers(count * words_);
    store(out, numbers);
    load(out, numbers);
}
void Lanes::store_eight(const std::uint64_t* a, std::span<std::uint64_t> numbers) const {
    loops_->store(digits_, words_, a, numbers.data());
}
void Lanes::load(std::uint64_t* out, std::span<const std::uint64_t> numbers) const {
    const std::size_t given = numbers.size() / words_;
    if (given == count) {
        loops_->load(digits_, words_, out, numbers.data());
        return;
    }
    for (std::size_t lane = 0; lane < count; ++lane)
        to_digits(numbers.data() + (lane < given ? lane : given - 1) * words_, words_, out + lane,
                  digits_, count);
}
void Lanes::store(const std::uint64_t* a, std::span<std::uint64_t> numbers) const {
    for (std::size_t lane = 0; lane < numbers.size() / words_; ++lane) {
        std::uint64_t words[lane_digits_max];
        to_words(a + lane, digits_, count, words, words_ + 1);
        reduce_once(words, modulus_words_, words[words_]);
        for (std::size_t i = 0; i < words_; ++i) numbers[lane * words_ + i] = words[i];
    }
}
void Lanes::to_montgomery(std::uint64_t* a) const {
    Eight square(digits_);
    spread(square.data(), square_.data());
    multiply(a, a, square.data());
}
void Lanes::from_montgomery(std::uint64_t* a) const {
    Eight unit(digits_);
    std::uint64_t* const digits = unit.data();
    for (std::size_t i = 0; i < size(); ++i) digits[i] = i < count ? 1 : 0;
    multiply(a, a, digits);
}
void Lanes::digits_of(const std::uint64_t* a, std::size_t lane, std::uint64_t* digits) const {
    for (std::size_t i = 0; i < digits_; ++i) digits[i] = a[8 * i + lane];
}

void Lanes::gather(std::uint64_t* out, const std::uint64_t* table,
                   const std::uint64_t* index) const {
    loops_->gather(digits_, out, table, index);
}
void Lanes::gather_lanes(std::uint64_t* out, const std::uint64_t* table,
                         const std::uint64_t* index) const {
    loops_->gather_lanes(digits_, out, table, index);
}
void Lanes::scatter_lanes(const std::uint64_t* a, std::uint64_t* table,
                          const std::uint64_t* index) const {
    loops_->scatter_lanes(digits_, a, table, index);
}
void Lanes::pick(std::uint64_t* out, const std::uint64_t* table, std::size_t entries,
                 std::uint64_t index) const {
    loops_->pick(digits_, out, table, entries, index);
}

}  // namespace vflbus::privacy::paillier
