#pragma once
// Decimal text to double. Internal to the data room.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace vflbus::data {

constexpr bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

/// A finite decimal number (optional sign, digits, point, exponent) that takes up all of `text`;
/// nothing else: no "inf", no hexadecimal, no thousands separators. Correctly rounded.
std::optional<double> parse_number(std::string_view text) noexcept;

/// Readable bytes that parse_plain_number wants behind the last LF of a buffer.
inline constexpr std::size_t number_padding = 8;

namespace detail {

static_assert(std::endian::native == std::endian::little, "digits are read as little-endian words");

inline constexpr double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/// Appends the digits at `q` to `value`, eight at a time: one branch per eight instead of one per
/// digit, which is what a number costs otherwise. More than 19 in all overflow, harmlessly.
inline const char* take_digits(const char* q, std::uint64_t& value) noexcept {
    constexpr std::uint64_t tens[] = {1,       10,        100,        1'000,      10'000,
                                      100'000, 1'000'000, 10'000'000, 100'000'000};
    for (;;) {
        std::uint64_t word;
        std::memcpy(&word, q, sizeof word);
        word ^= 0x3030303030303030ULL;  // digits become 0 .. 9
        const std::uint64_t others =
            ((word + 0x7676767676767676ULL) | word) & 0x8080808080808080ULL;
        const int count = std::countr_zero(others) / 8;  // of digits before the first other byte
        if (count == 0) return q;
        word <<= 64 - 8 * count;  // leading zeros
        word = word * 10 + (word >> 8);
        word = ((word & 0x000000ff000000ffULL) * 0x000f424000000064ULL +
                ((word >> 16) & 0x000000ff000000ffULL) * 0x0000271000000001ULL) >>
               32;
        value = value * tens[count] + word;
        q += count;
        if (count < 8) return q;
    }
}

}  // namespace detail

/// The common case of parse_number inside a CSV buffer: when a number that needs no care starts at
/// `p` and ends at `separator`, LF or CR LF, stores it and moves `p` to that separator or LF.
/// Otherwise returns false and leaves `p`. `decimal` stands where a fraction begins. The buffer
/// must end with LF and number_padding more bytes.
///
/// Exact because both the digits (below 2^53) and the power of ten (up to 10^22) are doubles
/// without error, so that the one division or product is the only rounding (Clinger 1990).
inline bool parse_plain_number(const char*& p, double& out, char separator = ',',
                               char decimal = '.') noexcept {
    const char* q = p;
    const bool negative = *q == '-';
    q += negative;
    std::uint64_t digits = 0;
    const char* const start = q;
    // the digits before the point are few, and often as many as in the row above
    for (unsigned d; (d = static_cast<unsigned char>(*q - '0')) < 10; ++q) digits = digits * 10 + d;
    auto count = q - start;
    std::int64_t exponent = 0;
    if (*q == decimal) {
        const char* const fraction = ++q;
        q = detail::take_digits(q, digits);
        exponent = fraction - q;
        count += q - fraction;
    }
    if (count == 0 || count > 19) return false;
    if ((*q | 0x20) == 'e') {
        ++q;
        const bool down = *q == '-';
        if (down || *q == '+') ++q;
        const char* const power_start = q;
        std::uint64_t power = 0;
        q = detail::take_digits(q, power);
        if (q == power_start || q - power_start > 4) return false;
        exponent += down ? -static_cast<std::int64_t>(power) : static_cast<std::int64_t>(power);
    }
    if (*q == '\r') ++q;  // never the last character
    if (*q != '\n' && (*q != separator || q[-1] == '\r')) return false;
    if (digits > (std::uint64_t{1} << 53) || exponent < -22 || exponent > 22) return false;
    auto value = static_cast<double>(digits);
    if (exponent < 0)
        value /= detail::powers[-exponent];
    else if (exponent > 0)
        value *= detail::powers[exponent];
    out = negative ? -value : value;
    p = q;
    return true;
}

}  // namespace vflbus::data
