// Compiled for AVX-512 IFMA, and called only where the processor has it.

#include <immintrin.h>

#include "privacy/rlwe/ring_impl.hpp"

namespace vflbus::privacy::rlwe {
namespace {

struct Words {
    __m512i v;

    static Words load(const std::uint64_t* from) { return {_mm512_loadu_si512(from)}; }
    void store(std::uint64_t* to) const { _mm512_storeu_si512(to, v); }
    static Words set(std::uint64_t word) {
        return {_mm512_set1_epi64(static_cast<long long>(word))};
    }
    static Words load_signed(const std::int32_t* from) {
        return {_mm512_cvtepi32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
    }
    template <int bits>
    static Words shift_left(Words a) {
        return {_mm512_slli_epi64(a.v, bits)};
    }
    template <int bits>
    static Words shift_right(Words a) {
        return {_mm512_srli_epi64(a.v, bits)};
    }
    static Words add(Words a, Words b) { return {_mm512_add_epi64(a.v, b.v)}; }
    static Words sub(Words a, Words b) { return {_mm512_sub_epi64(a.v, b.v)}; }
    static Words low52(Words a, Words b) {
        return {_mm512_madd52lo_epu64(_mm512_setzero_si512(), a.v, b.v)};
    }
    static Words add_low52(Words sum, Words a, Words b) {
        return {_mm512_madd52lo_epu64(sum.v, a.v, b.v)};
    }
    static Words high52(Words a, Words b) {
        return {_mm512_madd52hi_epu64(_mm512_setzero_si512(), a.v, b.v)};
    }
    static Words mask52(Words a) {
        return {_mm512_and_si512(a.v, _mm512_set1_epi64((1LL << 52) - 1))};
    }
    /// Low and high halves of products apart, so that no product waits for another one's carry.
    struct Sum;
    static Words min(Words a, Words b) { return {_mm512_min_epu64(a.v, b.v)}; }
    static void transpose(Words (&x)[8]) {
        __m512i pair[8], four[8];
        for (int i = 0; i < 4; ++i) {
            pair[2 * i] = _mm512_unpacklo_epi64(x[2 * i].v, x[2 * i + 1].v);
            pair[2 * i + 1] = _mm512_unpackhi_epi64(x[2 * i].v, x[2 * i + 1].v);
        }
        for (int i = 0; i < 2; ++i)
            for (int j = 0; j < 2; ++j) {
                four[4 * i + j] = _mm512_shuffle_i64x2(pair[4 * i + j], pair[4 * i + 2 + j], 0x88);
                four[4 * i + 2 + j] =
                    _mm512_shuffle_i64x2(pair[4 * i + j], pair[4 * i + 2 + j], 0xdd);
            }
        for (int j = 0; j < 4; ++j) {
            x[j].v = _mm512_shuffle_i64x2(four[j], four[4 + j], 0x88);
            x[4 + j].v = _mm512_shuffle_i64x2(four[j], four[4 + j], 0xdd);
        }
    }
};

struct Words::Sum {
    __m512i low_halves = _mm512_setzero_si512();
    __m512i high_halves = _mm512_setzero_si512();

    void add(Words x, Words y) {
        low_halves = _mm512_madd52lo_epu64(low_halves, x.v, y.v);
        high_halves = _mm512_madd52hi_epu64(high_halves, x.v, y.v);
    }
    Words low() const { return {low_halves}; }
    Words upper() const {
        return {_mm512_add_epi64(high_halves, _mm512_srli_epi64(low_halves, 52))};
    }
};

}  // namespace

const Loops ifma_loops = impl::loops_of<Words>();

}  // namespace vflbus::privacy::rlwe
