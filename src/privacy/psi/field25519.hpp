#pragma once
// One number modulo p = 2^255 - 19 in five 51-bit limbs: the portable field under elligator.hpp.
// Limbs stay below 2^52 between operations; nothing branches on a number.

#include <cstdint>
#include <cstring>

#include "privacy/psi/curve.hpp"

namespace vflbus::privacy::psi {

struct Field {
    std::uint64_t limb[5];
    static Field small(std::uint64_t value) { return {{value, 0, 0, 0, 0}}; }
};

inline constexpr std::uint64_t field_mask = (1ULL << 51) - 1;

__extension__ using Wide = unsigned __int128;

inline Field carried(Wide (&t)[5]) {
    Field r;
    for (int i = 0; i < 4; ++i) {
        t[i + 1] += t[i] >> 51;
        r.limb[i] = static_cast<std::uint64_t>(t[i]) & field_mask;
    }
    r.limb[4] = static_cast<std::uint64_t>(t[4]) & field_mask;
    r.limb[0] += 19 * static_cast<std::uint64_t>(t[4] >> 51);
    r.limb[1] += r.limb[0] >> 51;
    r.limb[0] &= field_mask;
    return r;
}

/// The limbs of a product; 2^255 = 19.
inline Field mul(const Field& a, const Field& b) {
    const auto& x = a.limb;
    const auto& y = b.limb;
    const std::uint64_t z[5] = {0, 19 * y[1], 19 * y[2], 19 * y[3], 19 * y[4]};
    const auto times = [](std::uint64_t c, std::uint64_t d) { return static_cast<Wide>(c) * d; };
    Wide t[5];
    t[0] = times(x[0], y[0]) + times(x[1], z[4]) + times(x[2], z[3]) + times(x[3], z[2]) +
           times(x[4], z[1]);
    t[1] = times(x[0], y[1]) + times(x[1], y[0]) + times(x[2], z[4]) + times(x[3], z[3]) +
           times(x[4], z[2]);
    t[2] = times(x[0], y[2]) + times(x[1], y[1]) + times(x[2], y[0]) + times(x[3], z[4]) +
           times(x[4], z[3]);
    t[3] = times(x[0], y[3]) + times(x[1], y[2]) + times(x[2], y[1]) + times(x[3], y[0]) +
           times(x[4], z[4]);
    t[4] = times(x[0], y[4]) + times(x[1], y[3]) + times(x[2], y[2]) + times(x[3], y[1]) +
           times(x[4], y[0]);
    return carried(t);
}

inline Field sqr(const Field& a) {
    const auto& x = a.limb;
    const std::uint64_t d0 = 2 * x[0];
    const std::uint64_t d1 = 2 * x[1];
    const std::uint64_t m3 = 19 * x[3];
    const std::uint64_t m4 = 19 * x[4];
    const auto times = [](std::uint64_t c, std::uint64_t d) { return static_cast<Wide>(c) * d; };
    Wide t[5];
    t[0] = times(x[0], x[0]) + times(d1, m4) + times(2 * x[2], m3);
    t[1] = times(d0, x[1]) + times(2 * x[2], m4) + times(x[3], m3);
    t[2] = times(d0, x[2]) + times(x[1], x[1]) + times(2 * x[3], m4);
    t[3] = times(d0, x[3]) + times(d1, x[2]) + times(x[4], m4);
    t[4] = times(d0, x[4]) + times(d1, x[3]) + times(x[2], x[2]);
    return carried(t);
}

inline Field add(const Field& a, const Field& b) {
    Wide t[5];
    for (int i = 0; i < 5; ++i) t[i] = a.limb[i] + b.limb[i];
    return carried(t);
}

/// a + 4 p - b.
inline Field sub(const Field& a, const Field& b) {
    Wide t[5];
    for (int i = 0; i < 5; ++i) t[i] = a.limb[i] + 4 * (field_mask - (i == 0 ? 18 : 0)) - b.limb[i];
    return carried(t);
}

inline Field times(const Field& a, std::uint32_t factor) {
    Wide t[5];
    for (int i = 0; i < 5; ++i) t[i] = static_cast<Wide>(a.limb[i]) * factor;
    return carried(t);
}

inline Field load(const Point& in) {
    std::uint64_t w[4];
    std::memcpy(w, in.data(), sizeof w);
    return {{w[0] & field_mask, ((w[0] >> 51) | (w[1] << 13)) & field_mask,
             ((w[1] >> 38) | (w[2] << 26)) & field_mask, ((w[2] >> 25) | (w[3] << 39)) & field_mask,
             (w[3] >> 12) & field_mask}};
}

inline Point store(const Field& a) {
    Wide t[5];
    for (int i = 0; i < 5; ++i) t[i] = a.limb[i];
    Field r = carried(t);
    // the carry of r + 19 out of 255 bits says whether to take p away
    std::uint64_t carry = 19;
    for (const std::uint64_t limb : r.limb) carry = (limb + carry) >> 51;
    carry *= 19;
    for (std::uint64_t& limb : r.limb) {
        limb += carry;
        carry = limb >> 51;
        limb &= field_mask;
    }
    const auto& d = r.limb;
    const std::uint64_t w[4] = {d[0] | (d[1] << 51), (d[1] >> 13) | (d[2] << 38),
                                (d[2] >> 26) | (d[3] << 25), (d[3] >> 39) | (d[4] << 12)};
    Point out;
    std::memcpy(out.data(), w, sizeof w);
    return out;
}

/// `sign` is 1, or p - 1, which is even.
inline Field pick_by_character(const Field& sign, const Field& square, const Field& other) {
    const std::uint64_t take = 0 - static_cast<std::uint64_t>(store(sign)[0] & 1U);
    Field r;
    for (int i = 0; i < 5; ++i) r.limb[i] = (square.limb[i] & take) | (other.limb[i] & ~take);
    return r;
}

}  // namespace vflbus::privacy::psi
