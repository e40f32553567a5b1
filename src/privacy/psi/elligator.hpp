#pragma once
// Elligator 2 on Curve25519, written once for any implementation of the field: of one number, or of
// eight at once.
//
// A field class F has: static F small(uint64), mul, sqr, add, sub, times(F, uint32), and
// pick_by_character(F a, F b, F c): of each lane, b where a is a square and c where not.

#include <cstdint>

namespace vflbus::privacy::psi {

inline constexpr std::uint32_t montgomery_a = 486662;

template <class F>
F squared(F x, int times) {
    for (int i = 0; i < times; ++i) x = sqr(x);
    return x;
}

/// x^(2^250 - 1), and x^11 on the way: the chain that all exponents below share.
template <class F>
F power_2_250_1(const F& x, F& x11) {
    const F x2 = sqr(x);
    const F x9 = mul(squared(x2, 2), x);
    x11 = mul(x9, x2);
    const F e5 = mul(sqr(x11), x9);  // 2^5 - 1
    const F e10 = mul(squared(e5, 5), e5);
    const F e20 = mul(squared(e10, 10), e10);
    const F e40 = mul(squared(e20, 20), e20);
    const F e50 = mul(squared(e40, 10), e10);
    const F e100 = mul(squared(e50, 50), e50);
    const F e200 = mul(squared(e100, 100), e100);
    return mul(squared(e200, 50), e50);
}

/// 1 / x = x^(2^255 - 21); 0 for 0.
template <class F>
F inverse(const F& x) {
    F x11;
    const F e250 = power_2_250_1(x, x11);
    return mul(squared(e250, 5), x11);
}

/// x^((p - 1) / 2) = x^(2^254 - 10): 1 for a square, -1 for any other number but 0.
template <class F>
F character(const F& x) {
    F x11;
    const F e250 = power_2_250_1(x, x11);
    const F x2 = sqr(x);
    const F x6 = mul(sqr(x2), x2);
    return mul(squared(e250, 4), x6);
}

/// The point X / Z.
template <class F>
struct Projective {
    F x;
    F z;
};

/// Twice a point, RFC 7748.
template <class F>
Projective<F> doubled(const Projective<F>& p) {
    const F aa = sqr(add(p.x, p.z));
    const F bb = sqr(sub(p.x, p.z));
    const F e = sub(aa, bb);
    Projective<F> r;
    r.x = mul(aa, bb);
    r.z = mul(e, add(aa, times(e, (montgomery_a - 2) / 4)));
    return r;
}

/// 8 times the point whose u is n / d with n = -A, d = 1 + 2 r^2 if that is on the curve, and
/// -A - n / d otherwise, which is on it then. d is never 0, as -1/2 is no square; the character is
/// that of n (n^2 + A n d + d^2) d, which is u (u^2 + A u + 1) times the square d^4.
template <class F>
F elligator(const F& r) {
    const F rr = sqr(r);
    const F d = add(add(rr, rr), F::small(1));
    const F n = sub(F::small(0), F::small(montgomery_a));
    const F a_d = times(d, montgomery_a);
    const F inner = add(add(sqr(n), mul(n, a_d)), sqr(d));
    const F curve = mul(mul(n, d), inner);
    Projective<F> p;
    p.x = pick_by_character(character(curve), n, sub(sub(F::small(0), a_d), n));
    p.z = d;
    for (int i = 0; i < 3; ++i) p = doubled(p);
    return mul(p.x, inverse(p.z));
}

}  // namespace vflbus::privacy::psi
