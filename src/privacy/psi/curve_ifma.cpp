// Eight numbers modulo p = 2^255 - 19 in five vectors: lane l of limb i is the 51-bit digit i of
// number l. The multiplier of AVX-512 IFMA gives the low and the high 52 bits of a product of
// 52-bit numbers; in radix 2^51 the high half counts twice in the next digit.
//
// Bounds: what `carried` returns has limbs below 2^51 + 2^17, and every operation takes such
// numbers. A column of a product is below 15 * 2^52, and 19 times another column is added: below
// 2^61, so nothing overflows 64 bits.

#include "privacy/psi/curve_ifma.hpp"

#include <immintrin.h>

#include <cstring>

#include "privacy/psi/elligator.hpp"

namespace vflbus::privacy::psi {
namespace {

using Lanes = __m512i;

constexpr std::uint64_t mask51 = (1ULL << 51) - 1;

struct Field8 {
    Lanes limb[5];
    static Field8 small(std::uint64_t value) {
        Field8 r;
        r.limb[0] = _mm512_set1_epi64(static_cast<long long>(value));
        for (int i = 1; i < 5; ++i) r.limb[i] = _mm512_setzero_si512();
        return r;
    }
};

inline Lanes plus(Lanes a, Lanes b) {
    return _mm512_add_epi64(a, b);
}

inline Lanes times19(Lanes x) {
    return plus(plus(_mm512_slli_epi64(x, 4), _mm512_slli_epi64(x, 1)), x);
}

/// Limbs below 2^63 become limbs below 2^51 + 2^17; all carries at once, as they are small.
inline Field8 carried(const Lanes (&t)[5]) {
    const Lanes mask = _mm512_set1_epi64(static_cast<long long>(mask51));
    Field8 r;
    r.limb[0] = plus(_mm512_and_si512(t[0], mask), times19(_mm512_srli_epi64(t[4], 51)));
#pragma GCC unroll 4
    for (int i = 1; i < 5; ++i)
        r.limb[i] = plus(_mm512_and_si512(t[i], mask), _mm512_srli_epi64(t[i - 1], 51));
    return r;
}

/// Low and high halves of the products, by column; 2^255 = 19.
inline Field8 reduced(const Lanes (&low)[9], const Lanes (&high)[9]) {
    Lanes column[10];
    column[0] = low[0];
#pragma GCC unroll 8
    for (int k = 1; k < 9; ++k) column[k] = plus(low[k], plus(high[k - 1], high[k - 1]));
    column[9] = plus(high[8], high[8]);
    Lanes t[5];
#pragma GCC unroll 5
    for (int k = 0; k < 5; ++k) t[k] = plus(column[k], times19(column[k + 5]));
    return carried(t);
}

inline Field8 mul(const Field8& a, const Field8& b) {
    Lanes low[9];
    Lanes high[9];
    for (int k = 0; k < 9; ++k) low[k] = high[k] = _mm512_setzero_si512();
#pragma GCC unroll 5
    for (int i = 0; i < 5; ++i) {
#pragma GCC unroll 5
        for (int j = 0; j < 5; ++j) {
            low[i + j] = _mm512_madd52lo_epu64(low[i + j], a.limb[i], b.limb[j]);
            high[i + j] = _mm512_madd52hi_epu64(high[i + j], a.limb[i], b.limb[j]);
        }
    }
    return reduced(low, high);
}

inline Field8 sqr(const Field8& a) {
    Lanes low[9];
    Lanes high[9];
    for (int k = 0; k < 9; ++k) low[k] = high[k] = _mm512_setzero_si512();
#pragma GCC unroll 5
    for (int i = 0; i < 5; ++i) {
#pragma GCC unroll 5
        for (int j = i + 1; j < 5; ++j) {
            low[i + j] = _mm512_madd52lo_epu64(low[i + j], a.limb[i], a.limb[j]);
            high[i + j] = _mm512_madd52hi_epu64(high[i + j], a.limb[i], a.limb[j]);
        }
    }
#pragma GCC unroll 8
    for (int k = 1; k < 8; ++k) {
        low[k] = plus(low[k], low[k]);
        high[k] = plus(high[k], high[k]);
    }
#pragma GCC unroll 5
    for (int i = 0; i < 5; ++i) {
        low[2 * i] = _mm512_madd52lo_epu64(low[2 * i], a.limb[i], a.limb[i]);
        high[2 * i] = _mm512_madd52hi_epu64(high[2 * i], a.limb[i], a.limb[i]);
    }
    return reduced(low, high);
}

inline Field8 add(const Field8& a, const Field8& b) {
    Lanes t[5];
#pragma GCC unroll 5
    for (int i = 0; i < 5; ++i) t[i] = plus(a.limb[i], b.limb[i]);
    return carried(t);
}

/// a + 4 p - b.
inline Field8 sub(const Field8& a, const Field8& b) {
    Lanes t[5];
#pragma GCC unroll 5
    for (int i = 0; i < 5; ++i) {
        const Lanes p4 =
            _mm512_set1_epi64(static_cast<long long>(4 * (mask51 - (i == 0 ? 18 : 0))));
        t[i] = _mm512_sub_epi64(plus(a.limb[i], p4), b.limb[i]);
    }
    return carried(t);
}

/// `factor` below 2^20.
inline Field8 times(const Field8& a, std::uint32_t factor) {
    const Lanes f = _mm512_set1_epi64(static_cast<long long>(factor));
    const Lanes zero = _mm512_setzero_si512();
    Lanes low[5];
    Lanes high[5];
#pragma GCC unroll 5
    for (int i = 0; i < 5; ++i) {
        low[i] = _mm512_madd52lo_epu64(zero, a.limb[i], f);
        high[i] = _mm512_madd52hi_epu64(zero, a.limb[i], f);
    }
    Lanes t[5];
    t[0] = plus(low[0], times19(plus(high[4], high[4])));
#pragma GCC unroll 4
    for (int i = 1; i < 5; ++i) t[i] = plus(low[i], plus(high[i - 1], high[i - 1]));
    return carried(t);
}

inline Field8 blend(__mmask8 mask, const Field8& a, const Field8& b) {
    Field8 r;
    for (int i = 0; i < 5; ++i) r.limb[i] = _mm512_mask_mov_epi64(a.limb[i], mask, b.limb[i]);
    return r;
}

inline void swap_if(__mmask8 mask, Field8& a, Field8& b) {
    const Field8 x = blend(mask, a, b);
    b = blend(mask, b, a);
    a = x;
}

/// Digits all below 2^51, and the number below p.
Field8 canonical(const Field8& a) {
    const Lanes mask = _mm512_set1_epi64(static_cast<long long>(mask51));
    Field8 r = a;
    const auto pass = [&](Field8& x) {
        Lanes carry = _mm512_setzero_si512();
        for (Lanes& limb : x.limb) {
            limb = plus(limb, carry);
            carry = _mm512_srli_epi64(limb, 51);
            limb = _mm512_and_si512(limb, mask);
        }
        return carry;
    };
    for (int i = 0; i < 2; ++i) {
        const Lanes carry = pass(r);  // before limb 0 is read, which it changes
        r.limb[0] = plus(r.limb[0], times19(carry));
    }
    // one more than p at most: the carry of r + 19 out of 255 bits says whether to take p away
    Field8 over = r;
    over.limb[0] = plus(over.limb[0], _mm512_set1_epi64(19));
    const Lanes at_least_p = pass(over);
    r.limb[0] = plus(r.limb[0], times19(at_least_p));
    pass(r);
    return r;
}

inline Field8 pick_by_character(const Field8& sign, const Field8& square, const Field8& other) {
    // 1 or p - 1, which is even
    const __mmask8 is_square =
        _mm512_test_epi64_mask(canonical(sign).limb[0], _mm512_set1_epi64(1));
    return blend(is_square, other, square);
}

Field8 load(const Point* in) {
    alignas(64) std::uint64_t digits[5][8];
    for (int lane = 0; lane < 8; ++lane) {
        std::uint64_t w[4];
        std::memcpy(w, in[lane].data(), sizeof w);
        digits[0][lane] = w[0] & mask51;
        digits[1][lane] = ((w[0] >> 51) | (w[1] << 13)) & mask51;
        digits[2][lane] = ((w[1] >> 38) | (w[2] << 26)) & mask51;
        digits[3][lane] = ((w[2] >> 25) | (w[3] << 39)) & mask51;
        digits[4][lane] = (w[3] >> 12) & mask51;
    }
    Field8 r;
    for (int i = 0; i < 5; ++i) r.limb[i] = _mm512_load_si512(digits[i]);
    return r;
}

void store(const Field8& a, Point* out) {
    const Field8 c = canonical(a);
    alignas(64) std::uint64_t digits[5][8];
    for (int i = 0; i < 5; ++i) _mm512_store_si512(digits[i], c.limb[i]);
    for (int lane = 0; lane < 8; ++lane) {
        std::uint64_t d[5];
        for (int i = 0; i < 5; ++i) d[i] = digits[i][lane];
        const std::uint64_t w[4] = {d[0] | (d[1] << 51), (d[1] >> 13) | (d[2] << 38),
                                    (d[2] >> 26) | (d[3] << 25), (d[3] >> 39) | (d[4] << 12)};
        std::memcpy(out[lane].data(), w, sizeof w);
    }
}

}  // namespace

void map_to_points_ifma(const Point* uniform, Point* out) {
    store(elligator(load(uniform)), out);
}

/// The ladder of RFC 7748; all lanes have the same bits, so one mask swaps all or none.
void multiply_ifma(const std::uint8_t* clamped, const Point* in, Point* out) {
    const Field8 x1 = load(in);
    Field8 x2 = Field8::small(1);
    Field8 z2 = Field8::small(0);
    Field8 x3 = x1;
    Field8 z3 = Field8::small(1);
    unsigned swapped = 0;
    for (int at = 254; at >= 0; --at) {
        const unsigned bit = (clamped[at / 8] >> (at % 8)) & 1U;
        const auto mask = static_cast<__mmask8>(0U - (swapped ^ bit));
        swapped = bit;
        swap_if(mask, x2, x3);
        swap_if(mask, z2, z3);
        const Field8 a = add(x2, z2);
        const Field8 b = sub(x2, z2);
        const Field8 da = mul(sub(x3, z3), a);
        const Field8 cb = mul(add(x3, z3), b);
        const Field8 aa = sqr(a);
        const Field8 bb = sqr(b);
        const Field8 e = sub(aa, bb);
        x3 = sqr(add(da, cb));
        z3 = mul(x1, sqr(sub(da, cb)));
        x2 = mul(aa, bb);
        z2 = mul(e, add(aa, times(e, (montgomery_a - 2) / 4)));
    }
    // the lowest bits of a clamped secret are 0: nothing is swapped at the end
    store(mul(x2, inverse(z2)), out);
}

}  // namespace vflbus::privacy::psi
