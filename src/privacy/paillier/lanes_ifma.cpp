// Compiled for AVX-512 IFMA, and called only where the processor has it.

#include <immintrin.h>

#include "privacy/paillier/lane_loops.hpp"

namespace vflbus::privacy::paillier {
namespace {

using Register = __m512i;
constexpr std::uint64_t digit_mask = (std::uint64_t{1} << 52) - 1;
constexpr int block = 4;  ///< digits that are handled together

inline __attribute__((always_inline)) Register at(const std::uint64_t* a, std::size_t digit) {
    return _mm512_load_si512(a + 8 * digit);
}
inline __attribute__((always_inline)) Register same(std::uint64_t word) {
    return _mm512_set1_epi64(static_cast<long long>(word));
}

/// What a block of four digits times another one adds to: low halves of products belong to the
/// column of the digits' sum, high halves to the next one.
struct Columns {
    Register low[2 * block - 1];
    Register high[2 * block - 1];

    void clear() {
        for (int i = 0; i < 2 * block - 1; ++i) low[i] = high[i] = _mm512_setzero_si512();
    }
    void twice() {
        for (int i = 0; i < 2 * block - 1; ++i) {
            low[i] = _mm512_slli_epi64(low[i], 1);
            high[i] = _mm512_slli_epi64(high[i], 1);
        }
    }
};

/// `y(j)` is digit j of the other block.
template <class Digits>
inline __attribute__((always_inline)) void add_block(Columns& sum, const Register* x,
                                                     const Digits& y) {
    const Register x0 = x[0];
    const Register x1 = x[1];
    const Register x2 = x[2];
    const Register x3 = x[3];
#pragma GCC unroll 4
    for (int j = 0; j < block; ++j) {
        const Register digit = y(j);
        sum.low[j] = _mm512_madd52lo_epu64(sum.low[j], x0, digit);
        sum.high[j] = _mm512_madd52hi_epu64(sum.high[j], x0, digit);
        sum.low[j + 1] = _mm512_madd52lo_epu64(sum.low[j + 1], x1, digit);
        sum.high[j + 1] = _mm512_madd52hi_epu64(sum.high[j + 1], x1, digit);
        sum.low[j + 2] = _mm512_madd52lo_epu64(sum.low[j + 2], x2, digit);
        sum.high[j + 2] = _mm512_madd52hi_epu64(sum.high[j + 2], x2, digit);
        sum.low[j + 3] = _mm512_madd52lo_epu64(sum.low[j + 3], x3, digit);
        sum.high[j + 3] = _mm512_madd52hi_epu64(sum.high[j + 3], x3, digit);
    }
}

/// Columns 4 k to 4 k + 7 of a sum: four are finished in this round, four go on to the next.
struct Carry {
    Register next[block];
};

/// The halves of each column together, with what the columns before have carried.
inline __attribute__((always_inline)) void set_columns(Register* column, const Columns& sum,
                                                       const Carry& carry) {
    column[0] = _mm512_add_epi64(sum.low[0], carry.next[0]);
    for (int i = 1; i < 2 * block - 1; ++i)
        column[i] = _mm512_add_epi64(sum.low[i], sum.high[i - 1]);
    column[2 * block - 1] = sum.high[2 * block - 2];
    for (int i = 1; i < block; ++i) column[i] = _mm512_add_epi64(column[i], carry.next[i]);
}

/// The product by columns, four at a time: of the lower half quotients q make multiples of m that
/// cancel it, the upper half is the result. `squares`: a is b, and each pair is computed once.
template <bool squares>
void montgomery(Register* out, const Register* a, const Register* b, const std::uint64_t* modulus,
                std::uint64_t inverse, int blocks) {
    Register q[lane_digits_max];
    Register result[lane_digits_max];
    Carry carry;
    for (Register& part : carry.next) part = _mm512_setzero_si512();
    const Register mask = same(digit_mask);
    const Register minus_inverse = same(inverse);
    for (int k = 0; k < 2 * blocks; ++k) {
        Columns sum;
        sum.clear();
        const int first = k < blocks ? 0 : k - blocks + 1;
        const int last = k < blocks ? k : blocks - 1;
        if constexpr (squares) {
            for (int i = first; 2 * i < k; ++i) {
                const Register* const y = a + block * (k - i);
                add_block(sum, a + block * i, [y](int j) { return y[j]; });
            }
            sum.twice();
            if (k % 2 == 0 && k / 2 < blocks) {
                const Register* const y = a + block * (k / 2);
                add_block(sum, y, [y](int j) { return y[j]; });
            }
        } else {
            for (int i = first; i <= last; ++i) {
                const Register* const y = b + block * (k - i);
                add_block(sum, a + block * i, [y](int j) { return y[j]; });
            }
        }
        const int known = k < blocks ? k - 1 : blocks - 1;
        for (int i = first; i <= known; ++i) {
            const std::uint64_t* const y = modulus + block * (k - i);
            add_block(sum, q + block * i, [y](int j) { return same(y[j]); });
        }
        Register column[2 * block];
        set_columns(column, sum, carry);
        for (int i = 0; i < block; ++i) {
            if (k < blocks) {
                const Register quotient =
                    _mm512_madd52lo_epu64(_mm512_setzero_si512(), column[i], minus_inverse);
                q[block * k + i] = quotient;
                for (int j = 0; j < block; ++j) {
                    const Register digit = same(modulus[j]);
                    column[i + j] = _mm512_madd52lo_epu64(column[i + j], quotient, digit);
                    column[i + j + 1] = _mm512_madd52hi_epu64(column[i + j + 1], quotient, digit);
                }
            } else {
                result[block * (k - blocks) + i] = _mm512_and_si512(column[i], mask);
            }
            column[i + 1] = _mm512_add_epi64(column[i + 1], _mm512_srli_epi64(column[i], 52));
        }
        for (int i = 0; i < block; ++i) carry.next[i] = column[block + i];
    }
    for (int i = 0; i < block * blocks; ++i) out[i] = result[i];
}

void gather(std::size_t digits, std::uint64_t* out, const std::uint64_t* table,
            const std::uint64_t* index) {
    const Register at_lane = _mm512_mullo_epi64(_mm512_loadu_si512(index), same(digits));
    for (std::size_t i = 0; i < digits; ++i)
        _mm512_store_si512(out + 8 * i, _mm512_i64gather_epi64(at_lane, table + i, 8));
}
void gather_lanes(std::size_t digits, std::uint64_t* out, const std::uint64_t* table,
                  const std::uint64_t* index) {
    const Register lane = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    const Register at_lane =
        _mm512_add_epi64(_mm512_mullo_epi64(_mm512_loadu_si512(index), same((8 * digits))), lane);
    for (std::size_t i = 0; i < digits; ++i)
        _mm512_store_si512(out + 8 * i, _mm512_i64gather_epi64(at_lane, table + 8 * i, 8));
}
void scatter_lanes(std::size_t digits, const std::uint64_t* a, std::uint64_t* table,
                   const std::uint64_t* index) {
    const Register lane = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    const Register at_lane =
        _mm512_add_epi64(_mm512_mullo_epi64(_mm512_loadu_si512(index), same((8 * digits))), lane);
    for (std::size_t i = 0; i < digits; ++i)
        _mm512_i64scatter_epi64(table + 8 * i, at_lane, at(a, i), 8);
}
void pick(std::size_t digits, std::uint64_t* out, const std::uint64_t* table, std::size_t entries,
          std::uint64_t index) {
    Register taken[lane_digits_max];
    for (std::size_t i = 0; i < digits; ++i) taken[i] = _mm512_setzero_si512();
    for (std::size_t entry = 0; entry < entries; ++entry) {
        const std::uint64_t other = entry ^ index;
        // all bits where it is the one
        const Register mask = same(((other | (0 - other)) >> 63) - 1);
        for (std::size_t i = 0; i < digits; ++i)
            taken[i] = _mm512_or_si512(taken[i],
                                       _mm512_and_si512(mask, at(table + entry * (8 * digits), i)));
    }
    for (std::size_t i = 0; i < digits; ++i) _mm512_store_si512(out + 8 * i, taken[i]);
}

/// Blocks `first` to `last` of the product of two numbers, from their columns alone: what the
/// columns below would carry into them is left out. `b(i)` gives the digits of block i.
template <class Block>
void product_blocks(Register* out, int first, int last, const Register* a, int a_blocks,
                    const Block& b, int b_blocks) {
    Carry carry;
    for (Register& part : carry.next) part = _mm512_setzero_si512();
    const Register mask = same(digit_mask);
    for (int k = first; k < last; ++k) {
        Columns sum;
        sum.clear();
        const int begin = k < b_blocks ? 0 : k - b_blocks + 1;
        const int end = k < a_blocks ? k : a_blocks - 1;
        for (int i = begin; i <= end; ++i) add_block(sum, a + block * i, b(k - i));
        Register column[2 * block];
        set_columns(column, sum, carry);
        for (int i = 0; i < block; ++i) {
            out[block * (k - first) + i] = _mm512_and_si512(column[i], mask);
            column[i + 1] = _mm512_add_epi64(column[i + 1], _mm512_srli_epi64(column[i], 52));
        }
        for (int i = 0; i < block; ++i) carry.next[i] = column[block + i];
    }
}

/// x = x - y 2^shift where that is not negative, without a branch.
void subtract_once(Register* x, const std::uint64_t* y, int shift, int digits) {
    Register rest[lane_digits_max];
    Register borrow = _mm512_setzero_si512();  // 0 or -1
    const Register mask = same(digit_mask);
    std::uint64_t above = 0;
    for (int i = 0; i < digits; ++i) {
        const std::uint64_t shifted = ((y[i] << shift) & digit_mask) | above;
        above = y[i] >> (52 - shift);
        const Register difference = _mm512_add_epi64(_mm512_sub_epi64(x[i], same(shifted)), borrow);
        rest[i] = _mm512_and_si512(difference, mask);
        borrow = _mm512_srai_epi64(difference, 52);
    }
    for (int i = 0; i < digits; ++i)
        x[i] =
            _mm512_or_si512(_mm512_and_si512(borrow, x[i]), _mm512_andnot_si512(borrow, rest[i]));
}

/// Barrett's reduction by blocks of 208 bits: of T = a b the upper blocks times the reciprocal are
/// the quotient but for 3 (what T and the reciprocal lack below 1, the floor 1, the columns that
/// are left out 1), so T less its multiple of m is below 4 m. Columns are left out from two blocks
/// below the quotient on: a column reaches into the block above it, where it adds up to as many
/// units as there are blocks, and those carry no more than 1 into the next.
void multiply_plain(const LaneModulus& m, const std::uint64_t* reciprocal, std::uint64_t* out,
                    const std::uint64_t* a, const std::uint64_t* b) {
    const int blocks = static_cast<int>(m.digits / block);
    const int digits = static_cast<int>(m.digits);
    const auto* const x = reinterpret_cast<const Register*>(a);
    const auto* const y = reinterpret_cast<const Register*>(b);
    auto* const result = reinterpret_cast<Register*>(out);
    Register product[2 * lane_digits_max];
    product_blocks(
        product, 0, 2 * blocks, x, blocks,
        [y](int i) { return [of = y + block * i](int j) { return of[j]; }; }, blocks);
    const auto broadcast = [](const std::uint64_t* digits_of) {
        return [digits_of](int i) {
            return [of = digits_of + block * i](int j) { return same(of[j]); };
        };
    };
    Register quotient[lane_digits_max + 3 * block];
    product_blocks(quotient, blocks - 1, 2 * blocks + 1, product + block * (blocks - 1), blocks + 1,
                   broadcast(reciprocal), blocks + 1);
    Register multiple[lane_digits_max];
    product_blocks(multiple, 0, blocks, quotient + 2 * block, blocks, broadcast(m.modulus), blocks);
    const Register mask = same(digit_mask);
    Register borrow = _mm512_setzero_si512();
    for (int i = 0; i < digits; ++i) {
        const Register difference =
            _mm512_add_epi64(_mm512_sub_epi64(product[i], multiple[i]), borrow);
        product[i] = _mm512_and_si512(difference, mask);
        borrow = _mm512_srai_epi64(difference, 52);
    }
    for (int shift = 1; shift >= 0; --shift) subtract_once(product, m.modulus, shift, digits);
    for (int i = 0; i < digits; ++i) result[i] = product[i];
}

void load(std::size_t digits, std::size_t words, std::uint64_t* out, const std::uint64_t* numbers) {
    const Register at_lane =
        _mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), same(words));
    const Register mask = same(digit_mask);
    Register word[lane_digits_max];
    for (std::size_t i = 0; i < words; ++i) {
        // the next eight numbers, which are asked for soon: gathers are no pattern that is foreseen
        _mm_prefetch(reinterpret_cast<const char*>(numbers + 8 * (words + i)), _MM_HINT_T0);
        word[i] = _mm512_i64gather_epi64(at_lane, numbers + i, 8);
    }
    for (std::size_t i = 0; i < digits; ++i) {
        const std::size_t from = 52 * i / 64;
        const auto shift = static_cast<unsigned>(52 * i % 64);
        Register digit = _mm512_setzero_si512();
        if (from < words) digit = _mm512_srli_epi64(word[from], shift);
        if (shift > 12 && from + 1 < words)
            digit = _mm512_or_si512(digit, _mm512_slli_epi64(word[from + 1], 64 - shift));
        _mm512_store_si512(out + 8 * i, _mm512_and_si512(digit, mask));
    }
}

void store(std::size_t digits, std::size_t words, const std::uint64_t* a, std::uint64_t* numbers) {
    const Register at_lane =
        _mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), same(words));
    for (std::size_t i = 0; i < words; ++i) {
        const std::size_t from = 64 * i / 52;
        const auto shift = static_cast<unsigned>(64 * i % 52);
        Register word = _mm512_srli_epi64(at(a, from), shift);
        if (from + 1 < digits)
            word = _mm512_or_si512(word, _mm512_slli_epi64(at(a, from + 1), 52 - shift));
        if (shift > 40 && from + 2 < digits)
            word = _mm512_or_si512(word, _mm512_slli_epi64(at(a, from + 2), 104 - shift));
        _mm512_i64scatter_epi64(numbers + i, at_lane, word, 8);
    }
}

void multiply(const LaneModulus& m, std::uint64_t* out, const std::uint64_t* a,
              const std::uint64_t* b) {
    montgomery<false>(reinterpret_cast<Register*>(out), reinterpret_cast<const Register*>(a),
                      reinterpret_cast<const Register*>(b), m.modulus, m.inverse,
                      static_cast<int>(m.digits / block));
}
void square(const LaneModulus& m, std::uint64_t* out, const std::uint64_t* a) {
    montgomery<true>(reinterpret_cast<Register*>(out), reinterpret_cast<const Register*>(a),
                     reinterpret_cast<const Register*>(a), m.modulus, m.inverse,
                     static_cast<int>(m.digits / block));
}

}  // namespace

const LaneLoops ifma_lane_loops{multiply_plain, load,         store,         multiply, square,
                                gather,         gather_lanes, scatter_lanes, pick};

}  // namespace vflbus::privacy::paillier
