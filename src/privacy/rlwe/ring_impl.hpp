#pragma once
// The loops of the transform, for any type of eight words. Included by ring_portable.cpp and
// ring_ifma.cpp only.
//
// A word type W has: W::load, store, set (the same word eight times), add, sub, low52 (low 52 bits
// of a product), load_signed (of 32-bit numbers), shift_left, shift_right, add_low52 (a sum and
// they), high52 (the bits above them), mask52, min (unsigned), transpose of eight W, pack and
// unpack (of eight numbers side by side; they say how many of all they have done). W::Sum is a sum
// of products: add(x, y), low() whose low 52 bits are those of the sum, and upper(), the bits above
// them.
//
// Sums may leave garbage above bit 52: products take the low 52 bits of their factors only, and
// what is compared is masked before.
//
// Butterflies: Cooley and Tukey forward, Gentleman and Sande back (the reverse), twiddles in
// bit-reversed order (Longa and Naehrig 2016, "Speeding up the number theoretic transform").

#include "privacy/rlwe/ring.hpp"

namespace vflbus::privacy::rlwe::impl {

constexpr std::size_t lanes = 8;

template <class W>
struct Constants {
    explicit Constants(const Prime& prime)
        : p(W::set(prime.value())),
          two_p(W::set(2 * prime.value())),
          minus_p(W::set((std::uint64_t{1} << 52) - prime.value())),
          ratio_of_one(W::set((std::uint64_t{1} << 52) / prime.value())) {}
    W p;
    W two_p;
    W minus_p;
    W ratio_of_one;
};

/// x w modulo p, in [0, 2p) and garbage above bit 52; x below 2^52 with garbage.
template <class W>
inline W multiply(W x, W value, W ratio, const Constants<W>& c) {
    return W::add_low52(W::low52(x, value), W::high52(x, ratio), c.minus_p);
}

/// [0, 2p) -> [0, p)
template <class W>
inline W once_less(W x, const W& p) {
    return W::min(x, W::sub(x, p));
}

/// Below 2^52 with garbage -> [0, p).
template <class W>
inline W reduce(W x, const Constants<W>& c) {
    x = W::mask52(x);
    const W rest = W::mask52(W::add_low52(x, W::high52(x, c.ratio_of_one), c.minus_p));
    return once_less(rest, c.p);
}

/// Both results have garbage above bit 52, which stays below bit 58 over all levels.
template <class W>
inline void butterfly(W& x, W& y, W value, W ratio, const Constants<W>& c) {
    const W product = multiply(y, value, ratio, c);
    y = W::add(W::sub(x, product), c.two_p);
    x = W::add(x, product);
}
/// The same with a root that is the same for all lanes.
template <class W>
inline void butterfly(W& x, W& y, const Factor& root, const Constants<W>& c) {
    butterfly(x, y, W::set(root.value), W::set(root.ratio), c);
}

/// In and out [0, 2p).
template <class W>
inline void butterfly_back(W& x, W& y, W value, W ratio, const Constants<W>& c) {
    const W difference = W::add(W::sub(x, y), c.two_p);
    x = once_less(W::add(x, y), c.two_p);
    y = W::mask52(multiply(difference, value, ratio, c));
}
template <class W>
inline void butterfly_back(W& x, W& y, const Factor& root, const Constants<W>& c) {
    butterfly_back(x, y, W::set(root.value), W::set(root.ratio), c);
}

/// Four levels at once, the upper one with `m` blocks: sixteen numbers are as many as there are
/// registers for.
template <class W>
void forward_four_levels(std::uint64_t* a, std::size_t m, const Factor* roots,
                         const Constants<W>& c) {
    constexpr std::size_t count = 16;
    const std::size_t t = ring_size / (count * m);
    for (std::size_t i = 0; i < m; ++i)
        for (std::size_t j = 0; j < t; j += lanes) {
            std::uint64_t* const at = a + count * t * i + j;
            W x[count];
            for (std::size_t k = 0; k < count; ++k) x[k] = W::load(at + k * t);
            for (std::size_t k = 0; k < 8; ++k) butterfly(x[k], x[k + 8], roots[m + i], c);
            for (std::size_t b = 0; b < 2; ++b)
                for (std::size_t k = 0; k < 4; ++k)
                    butterfly(x[8 * b + k], x[8 * b + k + 4], roots[2 * (m + i) + b], c);
            for (std::size_t b = 0; b < 4; ++b)
                for (std::size_t k = 0; k < 2; ++k)
                    butterfly(x[4 * b + k], x[4 * b + k + 2], roots[4 * (m + i) + b], c);
            for (std::size_t b = 0; b < 8; ++b)
                butterfly(x[2 * b], x[2 * b + 1], roots[8 * (m + i) + b], c);
            for (std::size_t k = 0; k < count; ++k) x[k].store(at + k * t);
        }
}

/// Two levels at once, the upper one with `m` blocks.
template <class W>
void inverse_two_levels(std::uint64_t* a, std::size_t m, const Factor* roots,
                        const Constants<W>& c) {
    const std::size_t t = ring_size / (4 * m);
    for (std::size_t i = 0; i < m; ++i) {
        const W v1 = W::set(roots[m + i].value), r1 = W::set(roots[m + i].ratio);
        const W v2 = W::set(roots[2 * m + 2 * i].value), r2 = W::set(roots[2 * m + 2 * i].ratio);
        const W v3 = W::set(roots[2 * m + 2 * i + 1].value);
        const W r3 = W::set(roots[2 * m + 2 * i + 1].ratio);
        std::uint64_t* const block = a + 4 * t * i;
        for (std::size_t j = 0; j < t; j += lanes) {
            W x0 = W::load(block + j), x1 = W::load(block + j + t);
            W x2 = W::load(block + j + 2 * t), x3 = W::load(block + j + 3 * t);
            butterfly_back(x0, x1, v2, r2, c);
            butterfly_back(x2, x3, v3, r3, c);
            butterfly_back(x0, x2, v1, r1, c);
            butterfly_back(x1, x3, v1, r1, c);
            x0.store(block + j);
            x1.store(block + j + t);
            x2.store(block + j + 2 * t);
            x3.store(block + j + 3 * t);
        }
    }
}

/// Three levels of eight numbers that are `step` numbers apart, the upper one with `m` blocks, of
/// which this is number `i`.
template <class W>
inline void forward_eight(W (&x)[lanes], std::size_t m, std::size_t i, const Factor* roots,
                          const Constants<W>& c) {
    for (std::size_t k = 0; k < 4; ++k) butterfly(x[k], x[k + 4], roots[m + i], c);
    for (std::size_t k = 0; k < 2; ++k) {
        butterfly(x[k], x[k + 2], roots[2 * (m + i)], c);
        butterfly(x[k + 4], x[k + 6], roots[2 * (m + i) + 1], c);
    }
    for (std::size_t k = 0; k < 4; ++k)
        butterfly(x[2 * k], x[2 * k + 1], roots[4 * (m + i) + k], c);
}
template <class W>
inline void inverse_eight(W (&x)[lanes], std::size_t m, std::size_t i, const Factor* roots,
                          const Constants<W>& c) {
    for (std::size_t k = 0; k < 4; ++k)
        butterfly_back(x[2 * k], x[2 * k + 1], roots[4 * (m + i) + k], c);
    for (std::size_t k = 0; k < 2; ++k) {
        butterfly_back(x[k], x[k + 2], roots[2 * (m + i)], c);
        butterfly_back(x[k + 4], x[k + 6], roots[2 * (m + i) + 1], c);
    }
    for (std::size_t k = 0; k < 4; ++k) butterfly_back(x[k], x[k + 4], roots[m + i], c);
}

/// The first three levels, of what `load` has at each place.
template <class W, class Load>
void forward_first_levels(std::uint64_t* a, const Factor* roots, const Constants<W>& c, Load load) {
    constexpr std::size_t step = ring_size / 8;
    for (std::size_t j = 0; j < step; j += lanes) {
        W x[lanes];
        for (std::size_t k = 0; k < lanes; ++k) x[k] = load(j + k * step);
        forward_eight(x, 1, 0, roots, c);
        for (std::size_t k = 0; k < lanes; ++k) x[k].store(a + j + k * step);
    }
}
/// Their reverse, and the result times `factor`, below p.
template <class W>
void inverse_last_levels(std::uint64_t* a, const Factor* roots, Factor factor,
                         const Constants<W>& c) {
    constexpr std::size_t step = ring_size / 8;
    const W value = W::set(factor.value), ratio = W::set(factor.ratio);
    for (std::size_t j = 0; j < step; j += lanes) {
        W x[lanes];
        for (std::size_t k = 0; k < lanes; ++k) x[k] = W::load(a + j + k * step);
        inverse_eight(x, 1, 0, roots, c);
        for (std::size_t k = 0; k < lanes; ++k)
            once_less(W::mask52(multiply(x[k], value, ratio, c)), c.p).store(a + j + k * step);
    }
}

/// The six levels within 64 neighbours: three between the words of eight, then eight blocks of
/// eight side by side. The values stay transposed, as their order is nobody's business.
template <class W, bool reduced>
void forward_last_levels(std::uint64_t* a, const Prime& prime, const Constants<W>& c) {
    constexpr std::size_t group_size = lanes * lanes;
    constexpr std::size_t together = 2;  // groups, so that one computes while the other waits
    const std::uint64_t* value = prime.last_values();
    const std::uint64_t* ratio = prime.last_ratios();
    for (std::size_t group = 0; group < ring_size / group_size; group += together) {
        W x[together][lanes];
        for (std::size_t g = 0; g < together; ++g) {
            for (std::size_t i = 0; i < lanes; ++i)
                x[g][i] = W::load(a + (group + g) * group_size + i * lanes);
        }
        const std::size_t m = ring_size / group_size;
        for (std::size_t k = 0; k < 4; ++k)
            for (std::size_t g = 0; g < together; ++g)
                butterfly(x[g][k], x[g][k + 4], prime.roots()[m + group + g], c);
        for (std::size_t k = 0; k < 2; ++k)
            for (std::size_t g = 0; g < together; ++g) {
                butterfly(x[g][k], x[g][k + 2], prime.roots()[2 * (m + group + g)], c);
                butterfly(x[g][k + 4], x[g][k + 6], prime.roots()[2 * (m + group + g) + 1], c);
            }
        for (std::size_t k = 0; k < 4; ++k)
            for (std::size_t g = 0; g < together; ++g)
                butterfly(x[g][2 * k], x[g][2 * k + 1], prime.roots()[4 * (m + group + g) + k], c);
        for (std::size_t g = 0; g < together; ++g) W::transpose(x[g]);
        const auto by_lane = [&](std::size_t g, std::size_t i, std::size_t j, std::size_t row) {
            butterfly(x[g][i], x[g][j], W::load(value + (7 * g + row) * lanes),
                      W::load(ratio + (7 * g + row) * lanes), c);
        };
        for (std::size_t i = 0; i < 4; ++i)
            for (std::size_t g = 0; g < together; ++g) by_lane(g, i, i + 4, 0);
        for (std::size_t i = 0; i < 2; ++i)
            for (std::size_t g = 0; g < together; ++g) {
                by_lane(g, i, i + 2, 1);
                by_lane(g, i + 4, i + 6, 2);
            }
        for (std::size_t i = 0; i < 4; ++i)
            for (std::size_t g = 0; g < together; ++g) by_lane(g, 2 * i, 2 * i + 1, 3 + i);
        value += 7 * together * lanes;
        ratio += 7 * together * lanes;
        for (std::size_t g = 0; g < together; ++g)
            for (std::size_t i = 0; i < lanes; ++i)
                (reduced ? reduce(x[g][i], c) : W::mask52(x[g][i]))
                    .store(a + (group + g) * group_size + i * lanes);
    }
}

template <class W>
void inverse_first_levels(std::uint64_t* a, const Prime& prime, const Constants<W>& c) {
    const std::uint64_t* value = prime.first_inverse_values();
    const std::uint64_t* ratio = prime.first_inverse_ratios();
    for (std::size_t group = 0; group < ring_size / (lanes * lanes); ++group) {
        std::uint64_t* const at = a + group * lanes * lanes;
        W x[lanes];
        for (std::size_t i = 0; i < lanes; ++i) x[i] = W::load(at + i * lanes);
        W v[7], r[7];
        for (std::size_t i = 0; i < 7; ++i) {
            v[i] = W::load(value + i * lanes);
            r[i] = W::load(ratio + i * lanes);
        }
        value += 7 * lanes;
        ratio += 7 * lanes;
        for (std::size_t i = 0; i < 4; ++i)
            butterfly_back(x[2 * i], x[2 * i + 1], v[3 + i], r[3 + i], c);
        for (std::size_t i = 0; i < 2; ++i) {
            butterfly_back(x[i], x[i + 2], v[1], r[1], c);
            butterfly_back(x[i + 4], x[i + 6], v[2], r[2], c);
        }
        for (std::size_t i = 0; i < 4; ++i) butterfly_back(x[i], x[i + 4], v[0], r[0], c);
        W::transpose(x);
        inverse_eight(x, ring_size / (lanes * lanes), group, prime.inverse_roots(), c);
        for (std::size_t i = 0; i < lanes; ++i) x[i].store(at + i * lanes);
    }
}

template <class W, bool reduced = true, class Load>
void forward_of(const Prime& prime, std::uint64_t* a, const Constants<W>& c, Load load) {
    forward_first_levels<W>(a, prime.roots(), c, load);
    forward_four_levels<W>(a, 8, prime.roots(), c);
    forward_last_levels<W, reduced>(a, prime, c);
}
template <class W>
void forward_all(const Prime& prime, std::uint64_t* a) {
    forward_of<W>(prime, a, Constants<W>(prime), [a](std::size_t i) { return W::load(a + i); });
}
template <class W>
void forward_signed_all(const Prime& prime, const std::int32_t* small, std::uint64_t* a) {
    const Constants<W> c(prime);
    forward_of<W>(prime, a, c,
                  [&](std::size_t i) { return W::add(c.p, W::load_signed(small + i)); });
}
/// Below 2^52 in place of p.
template <class W>
void forward_factor_all(const Prime& prime, const std::int32_t* small, std::uint64_t* a) {
    const Constants<W> c(prime);
    forward_of<W, false>(prime, a, c,
                         [&](std::size_t i) { return W::add(c.p, W::load_signed(small + i)); });
}
/// x w + small for each number x, where x may be above -8 p.
template <class W>
void forward_encoded_all(const Prime& prime, const std::int64_t* x, Factor factor,
                         const std::int32_t* small, std::uint64_t* a) {
    const Constants<W> c(prime);
    const W value = W::set(factor.value), ratio = W::set(factor.ratio);
    const W eight_p = W::set(8 * prime.value());
    forward_of<W>(prime, a, c, [&](std::size_t i) {
        // the bits are those of the number without a sign
        const W positive = W::add(W::load(reinterpret_cast<const std::uint64_t*>(x) + i), eight_p);
        const W product = W::mask52(multiply(positive, value, ratio, c));
        return W::add(W::add(product, c.p), W::load_signed(small + i));
    });
}

/// Of numbers of up to 64 bits: the upper half times 2^32 modulo p, and the lower one.
template <class W>
void forward_wide_all(const Prime& prime, const std::uint64_t* x, std::uint64_t* a) {
    const Constants<W> c(prime);
    const W value = W::set(prime.upper_half().value), ratio = W::set(prime.upper_half().ratio);
    forward_of<W>(prime, a, c, [&](std::size_t i) {
        const W number = W::load(x + i);
        const W upper = W::template shift_right<32>(number);
        const W lower = W::template shift_right<32>(W::template shift_left<32>(number));
        return W::add(W::mask52(multiply(upper, value, ratio, c)), lower);
    });
}

template <class W>
void scale_all(const Prime& prime, std::uint64_t* a, Factor factor) {
    const Constants<W> c(prime);
    const W value = W::set(factor.value), ratio = W::set(factor.ratio);
    for (std::size_t i = 0; i < ring_size; i += lanes)
        once_less(W::mask52(multiply(W::load(a + i), value, ratio, c)), c.p).store(a + i);
}

template <class W>
void inverse_all(const Prime& prime, std::uint64_t* a, Factor factor) {
    const Constants<W> c(prime);
    inverse_first_levels<W>(a, prime, c);
    inverse_two_levels<W>(a, 32, prime.inverse_roots(), c);
    inverse_two_levels<W>(a, 8, prime.inverse_roots(), c);
    inverse_last_levels<W>(a, prime.inverse_roots(), factor, c);
}

/// The compiler makes the vectors.
template <class W>
void sum_neighbours_all(const std::uint64_t* a, std::size_t together, std::size_t count,
                        std::uint64_t* out) {
    for (std::size_t i = 0; i < count; ++i) {
        std::uint64_t sum = 0;
        for (std::size_t j = 0; j < together; ++j) sum += a[i * together + j];
        out[i] = sum;
    }
}

/// The compiler makes the vectors.
template <class W>
bool cut_below_all(std::uint64_t* a, std::size_t count, std::uint64_t mask, std::uint64_t p) {
    std::uint64_t above = 0;
    for (std::size_t i = 0; i < count; ++i) {
        a[i] &= mask;
        above |= p - 1 - a[i];  // the highest bit is set where it wraps
    }
    return above >> 63 == 0;
}

/// x y / 2^52 modulo p, below p: Montgomery's reduction by one 52-bit word.
template <class W>
inline W montgomery_product(const W& x, const W& y, const W& inverse_word, const Constants<W>& c) {
    const W quotient = W::low52(W::low52(x, y), inverse_word);
    // both products have the same low word, so the difference is exact; it is above -p
    const W product = W::add(W::sub(W::high52(x, y), W::high52(quotient, c.p)), c.p);
    return once_less(product, c.p);
}
template <class W>
void multiply_add_all(const Prime& prime, const std::uint64_t* x, const std::uint64_t* y,
                      std::uint64_t* sum) {
    const Constants<W> c(prime);
    const W inverse_word = W::set(prime.inverse_word());
    for (std::size_t i = 0; i < ring_size; i += lanes) {
        const W product = montgomery_product(W::load(x + i), W::load(y + i), inverse_word, c);
        once_less(W::add(W::load(sum + i), product), c.p).store(sum + i);
    }
}
template <class W>
void multiply_subtract_all(const Prime& prime, const std::uint64_t* x, const std::uint64_t* y,
                           std::uint64_t* sum) {
    const Constants<W> c(prime);
    const W inverse_word = W::set(prime.inverse_word());
    for (std::size_t i = 0; i < ring_size; i += lanes) {
        const W product = montgomery_product(W::load(x + i), W::load(y + i), inverse_word, c);
        once_less(W::add(W::sub(W::load(sum + i), product), c.p), c.p).store(sum + i);
    }
}

/// floor(x multiplier / 2^46) modulo 2^64; x below 2^47. The product has two words of 52 bits:
/// low + 2^52 high, where high is below 2^60.
template <class W>
inline W scaled(const W& x, const W& low, const W& high) {
    const W upper = W::add(W::add(W::high52(x, low), W::low52(x, high)),
                           W::template shift_left<52>(W::high52(x, high)));
    return W::add(W::template shift_right<46>(W::low52(x, low)), W::template shift_left<6>(upper));
}

/// All in one pass over the three parts of `a`, each of which a pass of its own would read again.
template <class W>
void round_all(const Rounding& how, const std::uint64_t* a, const std::int32_t* small,
               std::uint64_t* out) {
    constexpr std::uint64_t mask = (std::uint64_t{1} << 52) - 1;
    const Constants<W> c[prime_count] = {Constants<W>(primes()[0]), Constants<W>(primes()[1]),
                                         Constants<W>(primes()[2])};
    W value[prime_count], ratio[prime_count], low[prime_count], high[prime_count];
    for (std::size_t p = 0; p < prime_count; ++p) {
        value[p] = W::set(how.share[p].value), ratio[p] = W::set(how.share[p].ratio);
        low[p] = W::set(how.inverse[p] & mask), high[p] = W::set(how.inverse[p] >> 52);
    }
    const W half = W::set(std::uint64_t{1} << (63 - how.bits));
    for (std::size_t i = 0; i < ring_size; i += lanes) {
        const W error = W::load_signed(small + i);
        W fraction = half;
        for (std::size_t p = 0; p < prime_count; ++p) {
            const W sum = W::add(W::add(W::load(a + p * ring_size + i), c[p].p), error);
            const W share = once_less(W::mask52(multiply(sum, value[p], ratio[p], c[p])), c[p].p);
            fraction = W::add(fraction, scaled(share, low[p], high[p]));
        }
        W::shift_right_by(fraction, 64 - how.bits).store(out + i);
    }
}

template <class W>
void add_all(const Prime& prime, const std::uint64_t* x, std::uint64_t* sum) {
    const W p = W::set(prime.value());
    for (std::size_t i = 0; i < ring_size; i += lanes)
        once_less(W::add(W::load(sum + i), W::load(x + i)), p).store(sum + i);
}

template <class W>
void add_difference_all(const Prime& prime, const std::uint64_t* x, const std::uint64_t* y,
                        Factor factor, std::uint64_t* sum) {
    const Constants<W> c(prime);
    const W value = W::set(factor.value), ratio = W::set(factor.ratio);
    for (std::size_t i = 0; i < ring_size; i += lanes) {
        const W difference = W::add(W::sub(W::load(x + i), W::load(y + i)), c.p);
        const W product = once_less(W::mask52(multiply(difference, value, ratio, c)), c.p);
        once_less(W::add(W::load(sum + i), product), c.p).store(sum + i);
    }
}

template <class W>
void add_and_subtract_all(const Prime& prime, const std::uint64_t* m, std::uint64_t* x,
                          std::uint64_t* y) {
    const Constants<W> c(prime);
    const W inverse_word = W::set(prime.inverse_word());
    for (std::size_t i = 0; i < ring_size; i += lanes) {
        const W a = W::load(m + i), b = W::load(y + i), to = W::load(x + i);
        const W quotient = W::low52(W::low52(a, b), inverse_word);
        const W difference = W::sub(W::high52(a, b), W::high52(quotient, c.p));
        const W product = once_less(W::add(difference, c.p), c.p);
        once_less(W::add(to, product), c.p).store(x + i);
        once_less(W::add(W::sub(to, product), c.p), c.p).store(y + i);
    }
}

/// The primes differ by less than 2^20, so that a number below one of them is below twice the
/// other, and one from the upper half stays positive. The compiler makes the vectors.
template <class W>
void lift_all(const Prime& from, const Prime& to, const std::uint64_t* a, std::uint64_t* out) {
    const std::uint64_t half = from.value() / 2;
    const std::uint64_t shift = to.value() - from.value();
    for (std::size_t i = 0; i < ring_size; ++i)
        out[i] = a[i] + (shift & (0 - ((half - a[i]) >> 63)));
}

template <class W>
void permute_all(const std::uint32_t* places, const std::uint64_t* in, std::uint64_t* out) {
    for (std::size_t i = 0; i < ring_size; ++i) out[i] = in[places[i]];
}

/// Ones are counted by sums of neighbours: no table, and no instruction that a processor may lack.
/// The compiler makes the vectors.
template <class W>
void count_coins_all(const std::uint64_t* words, std::size_t count, std::uint64_t mask,
                     std::int32_t* out) {
    for (std::size_t i = 0; i < count; ++i) {
        std::uint64_t x = words[i] & mask;
        x -= (x >> 1) & 0x5555555555555555;
        x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333);
        x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
        x += x >> 8;
        x += x >> 16;  // of each half in its lowest byte
        out[i] = static_cast<std::int32_t>(x & 63) - static_cast<std::int32_t>((x >> 32) & 63);
    }
}

/// A sum of up to 31 products over 2^52, modulo p and below it: each is below 2^52 p.
template <class W>
inline W reduced(const typename W::Sum& sum, W inverse_word, const Constants<W>& c) {
    // quotient p has the low 52 bits of the sum
    const W quotient = W::low52(sum.low(), inverse_word);
    return reduce(W::add(W::sub(sum.upper(), W::high52(quotient, c.p)), c.p), c);
}

template <class W, bool added>
inline void put(const W& number, std::uint64_t* to, const Constants<W>& c) {
    if constexpr (added)
        once_less(W::add(W::load(to), number), c.p).store(to);
    else
        number.store(to);
}

/// Two groups of numbers together, so that one computes while the other waits. `added`: to what is
/// there.
template <class W, bool added>
void dot_to(const Prime& prime, std::size_t count, const std::uint64_t* const* x,
            const std::uint64_t* const* y, std::uint64_t* sum) {
    const Constants<W> c(prime);
    const W inverse_word = W::set(prime.inverse_word());
    for (std::size_t i = 0; i < ring_size; i += 2 * lanes) {
        typename W::Sum all[2];
        for (std::size_t k = 0; k < count; ++k)
            for (std::size_t g = 0; g < 2; ++g)
                all[g].add(W::load(x[k] + i + g * lanes), W::load(y[k] + i + g * lanes));
        for (std::size_t g = 0; g < 2; ++g)
            put<W, added>(reduced(all[g], inverse_word, c), sum + i + g * lanes, c);
    }
}
template <class W>
void dot_all(const Prime& prime, std::size_t count, const std::uint64_t* const* x,
             const std::uint64_t* const* y, std::uint64_t* sum, bool added) {
    (added ? dot_to<W, true> : dot_to<W, false>)(prime, count, x, y, sum);
}

template <class W, bool added>
void dot_pair_to(const Prime& prime, std::size_t count, const std::uint64_t* const* x0,
                 const std::uint64_t* const* x1, const std::uint64_t* const* y, std::uint64_t* sum0,
                 std::uint64_t* sum1) {
    const Constants<W> c(prime);
    const W inverse_word = W::set(prime.inverse_word());
    for (std::size_t i = 0; i < ring_size; i += 2 * lanes) {
        typename W::Sum first[2], second[2];
        for (std::size_t k = 0; k < count; ++k)
            for (std::size_t g = 0; g < 2; ++g) {
                const W factor = W::load(y[k] + i + g * lanes);
                first[g].add(W::load(x0[k] + i + g * lanes), factor);
                second[g].add(W::load(x1[k] + i + g * lanes), factor);
            }
        for (std::size_t g = 0; g < 2; ++g) {
            put<W, added>(reduced(first[g], inverse_word, c), sum0 + i + g * lanes, c);
            put<W, added>(reduced(second[g], inverse_word, c), sum1 + i + g * lanes, c);
        }
    }
}
template <class W>
void dot_pair_all(const Prime& prime, std::size_t count, const std::uint64_t* const* x0,
                  const std::uint64_t* const* x1, const std::uint64_t* const* y,
                  std::uint64_t* sum0, std::uint64_t* sum1, bool added) {
    (added ? dot_pair_to<W, true> : dot_pair_to<W, false>)(prime, count, x0, x1, y, sum0, sum1);
}

/// The compiler makes the vectors.
template <class W>
void reverse_signed_all(const std::int16_t* from, std::size_t count, std::int32_t sign,
                        std::int32_t* last) {
    std::int32_t* const first = last - count;
    for (std::size_t i = 1; i <= count; ++i) first[i] = sign * std::int32_t{from[count - i]};
}

/// The compiler makes the vectors.
template <class W>
void combine_signed_all(const std::uint32_t* coefficients, std::size_t shift, std::int32_t* x,
                        std::int32_t* y, std::int32_t* scratch) {
    for (std::size_t i = 0; i < shift; ++i) {
        const std::int32_t moved = -y[ring_size - shift + i];
        scratch[i] = x[i] - moved;
        x[i] += moved;
    }
    for (std::size_t i = shift; i < ring_size; ++i) {
        scratch[i] = x[i] - y[i - shift];
        x[i] += y[i - shift];
    }
    for (std::size_t i = 0; i < ring_size; ++i) {
        const std::int32_t value = scratch[coefficients[i] & 0x7fffffff];
        const std::int32_t negative = static_cast<std::int32_t>(coefficients[i]) >> 31;
        y[i] = (value ^ negative) - negative;
    }
}

template <class W>
constexpr Loops loops_of() {
    return {forward_all<W>,
            forward_signed_all<W>,
            forward_factor_all<W>,
            forward_encoded_all<W>,
            forward_wide_all<W>,
            inverse_all<W>,
            sum_neighbours_all<W>,
            cut_below_all<W>,
            multiply_add_all<W>,
            multiply_subtract_all<W>,
            scale_all<W>,
            round_all<W>,
            add_all<W>,
            add_difference_all<W>,
            add_and_subtract_all<W>,
            lift_all<W>,
            permute_all<W>,
            count_coins_all<W>,
            dot_all<W>,
            dot_pair_all<W>,
            reverse_signed_all<W>,
            combine_signed_all<W>,
            W::pack,
            W::unpack};
}

}  // namespace vflbus::privacy::rlwe::impl
