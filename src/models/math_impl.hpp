#pragma once
// The formulae behind math.hpp. Private to this room.
//
// Included by translation units that are compiled for different instruction sets, so everything
// here has internal linkage and nothing of the standard library is instantiated: an inline function
// that two of them emit would be merged by the linker into the one that an older machine cannot
// run. Without branches, so that loops over them vectorize; every choice is a select.

#include <cstdint>

namespace vflbus::models {
namespace {

inline double from_bits(std::uint64_t bits) noexcept {
    return __builtin_bit_cast(double, bits);
}
inline std::uint64_t to_bits(double value) noexcept {
    return __builtin_bit_cast(std::uint64_t, value);
}

constexpr double infinity = __builtin_inf();
constexpr double not_a_number = __builtin_nan("");
constexpr double ln2_high = 6.93147180369123816490e-01;  // 33 bits: n * ln2_high is exact (fdlibm)
constexpr double ln2_low = 1.90821492927058770002e-10;
constexpr double to_integer = 0x1.8p52;  // x + this rounds x to an integer in the low bits

/// 2^n for an integer-valued n in [-1022, 1023].
inline double power_of_two(double n) noexcept {
    return from_bits((to_bits(n + (to_integer + 1023.0))) << 52);
}

/// exp(x) = 2^n exp(r), |r| <= ln2 / 2; Taylor's series, whose first term left out is below 2^-57.
inline double exp_impl(double x) noexcept {
    double bounded = x < -750.0 ? -750.0 : x;  // NaN passes both
    bounded = bounded > 710.0 ? 710.0 : bounded;
    const double n = (bounded * 1.44269504088896338700e+00 + to_integer) - to_integer;
    const double high = bounded - n * ln2_high;
    const double low = n * ln2_low;
    const double r = high - low;
    const double lost = (high - r) - low;
    double q = 1.0 / 6227020800.0;
    q = q * r + 1.0 / 479001600.0;
    q = q * r + 1.0 / 39916800.0;
    q = q * r + 1.0 / 3628800.0;
    q = q * r + 1.0 / 362880.0;
    q = q * r + 1.0 / 40320.0;
    q = q * r + 1.0 / 5040.0;
    q = q * r + 1.0 / 720.0;
    q = q * r + 1.0 / 120.0;
    q = q * r + 1.0 / 24.0;
    q = q * r + 1.0 / 6.0;
    q = q * r + 0.5;
    const double e = 1.0 + (r + (r * r * q + lost));
    // in two steps, so that one rounding makes denormal results; the first is exact
    const double half = (n * 0.5 + to_integer) - to_integer;
    const double y = (e * power_of_two(half)) * power_of_two(n - half);
    return x != x ? x : y;
}

/// log(u) + c / u for a positive normal u (fdlibm's e_log and s_log1p, without their shortcuts).
inline double log_core(double u, double exponent_bias, double correction) noexcept {
    // u = 2^k m with m in [sqrt(1/2), sqrt(2))
    const std::uint64_t shifted = to_bits(u) + (0x3ff0000000000000ULL - 0x3fe6a09e667f3bcdULL);
    const double k =
        (from_bits((shifted >> 52) | 0x4330000000000000ULL) - (0x1p52 + 1023.0)) - exponent_bias;
    const double m = from_bits((shifted & 0x000fffffffffffffULL) + 0x3fe6a09e667f3bcdULL);
    const double f = m - 1.0;
    const double s = f / (2.0 + f);
    const double z = s * s;
    double p = 1.479819860511658591e-01;
    p = p * z + 1.531383769920937332e-01;
    p = p * z + 1.818357216161805012e-01;
    p = p * z + 2.222219843214978396e-01;
    p = p * z + 2.857142874366239149e-01;
    p = p * z + 3.999999999940941908e-01;
    p = p * z + 6.666666666666735130e-01;
    const double r = z * p;
    const double half_square = 0.5 * f * f;
    return k * ln2_high -
           ((half_square - (s * (half_square + r) + (k * ln2_low + correction))) - f);
}

inline double log_impl(double x) noexcept {
    const bool tiny = x < 0x1p-1022;
    const double y = log_core(tiny ? x * 0x1p54 : x, tiny ? 54.0 : 0.0, 0.0);
    double out = x < infinity ? y : x;  // inf and NaN are their own logarithms
    out = x == 0.0 ? -infinity : out;
    return x < 0.0 ? not_a_number : out;
}

inline double log1p_impl(double x) noexcept {
    const double u = 1.0 + x;
    const double lost = x >= 1.0 ? 1.0 - (u - x) : x - (u - 1.0);  // exact
    double out = log_core(u, 0.0, lost / u);
    out = x < infinity ? out : x;
    out = x == 0.0 ? x : out;  // keeps the sign of zero
    out = x == -1.0 ? -infinity : out;
    return x < -1.0 ? not_a_number : out;
}

inline double sigmoid_impl(double z) noexcept {
    const double e = exp_impl(z < 0.0 ? z : -z);  // in (0, 1]: never overflows
    return (z < 0.0 ? e : 1.0) / (1.0 + e);
}

inline double softplus_impl(double z) noexcept {
    return (z < 0.0 ? 0.0 : z) + log1p_impl(exp_impl(z < 0.0 ? z : -z));
}

}  // namespace
}  // namespace vflbus::models
