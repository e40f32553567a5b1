#pragma once
// The loops of the transform, for any type of eight words. Included by ring_portable.cpp and
// ring_ifma.cpp only.
//
// A word type W has: W::load, store, set (the same word eight times), add, sub, low52 (low 52 bits
// of a product), load_signed (of 32-bit numbers), shift_left, shift_right, add_low52 (a sum and
// they), high52 (the bits above them), mask52, min (unsigned), transpose of eight W.
// W::Sum is a sum of products: add(x, y), low() whose low 52 bits are those of the sum, and
// upper(), the bits above them.
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

/// Two levels at once, the upper one with `m` blocks.
template <class W>
void forward_two_levels(std::uint64_t* a, std::size_t m, const Factor* roots,
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
            butterfly(x0, x2, v1, r1, c);
            butterfly(x1, x3, v1, r1, c);
            butterfly(x0, x1, v2, r2, c);
            butterfly(x2, x3, v3, r3, c);
            x0.store(block + j);
            x1.store(block + j + t);
            x2.store(block + j + 2 * t);
            x3.store(block + j + 3 * t);
        }
    }
}

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

/// The first three levels.
template <class W>
void forward_first_levels(std::uint64_t* a, const Factor* roots, const Constants<W>& c) {
    constexpr std::size_t step = ring_size / 8;
    for (std::size_t j = 0; j < step; j += lanes) {
        W x[lanes];
        for (std::size_t k = 0; k < lanes; ++k) x[k] = W::load(a + j + k * step);
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
template <class W>
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
                reduce(x[g][i], c).store(a + (group + g) * group_size + i * lanes);
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

template <class W>
void forward_all(const Prime& prime, std::uint64_t* a) {
    const Constants<W> c(prime);
    forward_first_levels<W>(a, prime.roots(), c);
    forward_two_levels<W>(a, 8, prime.roots(), c);
    forward_two_levels<W>(a, 32, prime.roots(), c);
    forward_last_levels<W>(a, prime, c);
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

/// Montgomery's reduction by one 52-bit word.
template <class W>
void multiply_add_all(const Prime& prime, const std::uint64_t* x, const std::uint64_t* y,
                      std::uint64_t* sum) {
    const Constants<W> c(prime);
    const W inverse_word = W::set(prime.inverse_word());
    for (std::size_t i = 0; i < ring_size; i += lanes) {
        const W a = W::load(x + i), b = W::load(y + i);
        const W quotient = W::low52(W::low52(a, b), inverse_word);
        // both products have the same low word, so the difference is exact; it is above -p
        const W product = W::add(W::sub(W::high52(a, b), W::high52(quotient, c.p)), c.p);
        const W reduced = once_less(product, c.p);
        once_less(W::add(W::load(sum + i), reduced), c.p).store(sum + i);
    }
}

template <class W>
void negate_all(const Prime& prime, std::uint64_t* a) {
    const W p = W::set(prime.value());
    for (std::size_t i = 0; i < ring_size; i += lanes)
        once_less(W::sub(p, W::load(a + i)), p).store(a + i);
}

template <class W>
void from_signed_all(const Prime& prime, const std::int32_t* small, std::uint64_t* a) {
    const W p = W::set(prime.value());
    for (std::size_t i = 0; i < ring_size; i += lanes)
        W::add(p, W::load_signed(small + i)).store(a + i);
}

template <class W>
void add_signed_all(const Prime& prime, const std::int32_t* small, std::uint64_t* a) {
    const W p = W::set(prime.value());
    for (std::size_t i = 0; i < ring_size; i += lanes) {
        // below 3 p
        const W sum = W::add(W::add(W::load(a + i), p), W::load_signed(small + i));
        once_less(once_less(sum, p), p).store(a + i);
    }
}

/// The product in two words of 52 bits: low + 2^52 high, where high is below 2^60.
template <class W>
void add_scaled_all(std::uint64_t multiplier, const std::uint64_t* a, std::uint64_t* sum) {
    const W low = W::set(multiplier & ((std::uint64_t{1} << 52) - 1));
    const W high = W::set(multiplier >> 52);
    for (std::size_t i = 0; i < ring_size; i += lanes) {
        const W x = W::load(a + i);
        const W upper = W::add(W::add(W::high52(x, low), W::low52(x, high)),
                               W::template shift_left<52>(W::high52(x, high)));
        const W part =
            W::add(W::template shift_right<46>(W::low52(x, low)), W::template shift_left<6>(upper));
        W::add(W::load(sum + i), part).store(sum + i);
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

/// A sum of up to 32 products over 2^52, modulo p and below it: they are below 2^52 p together.
template <class W>
inline W reduced(const typename W::Sum& sum, W inverse_word, const Constants<W>& c) {
    // quotient p has the low 52 bits of the sum
    const W quotient = W::low52(sum.low(), inverse_word);
    return once_less(W::add(W::sub(sum.upper(), W::high52(quotient, c.p)), c.p), c.p);
}

template <class W>
void dot_all(const Prime& prime, std::size_t count, const std::uint64_t* const* x,
             const std::uint64_t* const* y, std::uint64_t* sum) {
    const Constants<W> c(prime);
    const W inverse_word = W::set(prime.inverse_word());
    for (std::size_t i = 0; i < ring_size; i += lanes) {
        typename W::Sum all;
        for (std::size_t k = 0; k < count; ++k) all.add(W::load(x[k] + i), W::load(y[k] + i));
        once_less(W::add(W::load(sum + i), reduced(all, inverse_word, c)), c.p).store(sum + i);
    }
}

template <class W>
void dot_pair_all(const Prime& prime, std::size_t count, const std::uint64_t* const* x0,
                  const std::uint64_t* const* x1, const std::uint64_t* const* y,
                  std::uint64_t* sum0, std::uint64_t* sum1) {
    const Constants<W> c(prime);
    const W inverse_word = W::set(prime.inverse_word());
    for (std::size_t i = 0; i < ring_size; i += lanes) {
        typename W::Sum first, second;
        for (std::size_t k = 0; k < count; ++k) {
            const W factor = W::load(y[k] + i);
            first.add(W::load(x0[k] + i), factor);
            second.add(W::load(x1[k] + i), factor);
        }
        once_less(W::add(W::load(sum0 + i), reduced(first, inverse_word, c)), c.p).store(sum0 + i);
        once_less(W::add(W::load(sum1 + i), reduced(second, inverse_word, c)), c.p).store(sum1 + i);
    }
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
    return {forward_all<W>,        inverse_all<W>,          multiply_add_all<W>,
            scale_all<W>,          negate_all<W>,           from_signed_all<W>,
            add_signed_all<W>,     add_scaled_all<W>,       add_all<W>,
            add_difference_all<W>, add_and_subtract_all<W>, lift_all<W>,
            permute_all<W>,        count_coins_all<W>,      dot_all<W>,
            dot_pair_all<W>,       reverse_signed_all<W>,   combine_signed_all<W>};
}

}  // namespace vflbus::privacy::rlwe::impl
