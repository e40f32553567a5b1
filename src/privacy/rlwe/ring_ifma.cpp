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
    static Words shift_right_by(Words a, std::uint32_t bits) {
        return {_mm512_srl_epi64(a.v, _mm_cvtsi32_si128(static_cast<int>(bits)))};
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
    static std::size_t pack(const std::uint64_t* values, std::size_t count, std::uint32_t width,
                            std::uint8_t* out);
    static std::size_t unpack(const std::uint8_t* packed, std::size_t count, std::uint32_t width,
                              std::uint64_t* out);
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

/// Eight numbers of `width` bits are as many bytes. Each of the words that these make has bits of
/// up to three numbers, as a number has 32 bits or more. 64 bytes are written for each eight
/// numbers.
std::size_t Words::pack(const std::uint64_t* values, std::size_t count, std::uint32_t width,
                        std::uint8_t* out) {
    if (width < 32 || width == 64) return 0;
    alignas(64) std::uint64_t from[3][8], right[8], left[2][8];
    __mmask8 used[3] = {0, 0, 0};
    for (std::uint32_t word = 0; word < 8; ++word) {
        const std::uint32_t first = 64 * word / width;
        right[word] = 64 * word - width * first;
        left[0][word] = width - right[word];
        left[1][word] = 2 * width - right[word];
        for (std::uint32_t i = 0; i < 3; ++i) {
            from[i][word] = (first + i) % 8;
            if (first + i < 8) used[i] = static_cast<__mmask8>(used[i] | (1U << word));
        }
    }
    const __m512i mask = _mm512_set1_epi64(static_cast<long long>(UINT64_MAX >> (64 - width)));
    std::size_t i = 0;
    for (; i + 16 <= count; i += 8, out += width) {  // what is written too far is overwritten
        const __m512i x = _mm512_and_si512(_mm512_loadu_si512(values + i), mask);
        const auto moved = [&](int part) {
            return _mm512_maskz_permutexvar_epi64(used[part], _mm512_load_si512(from[part]), x);
        };
        const __m512i a = _mm512_srlv_epi64(moved(0), _mm512_load_si512(right));
        const __m512i b = _mm512_sllv_epi64(moved(1), _mm512_load_si512(left[0]));
        const __m512i c = _mm512_sllv_epi64(moved(2), _mm512_load_si512(left[1]));
        _mm512_storeu_si512(out, _mm512_or_si512(_mm512_or_si512(a, b), c));
    }
    return i;
}

/// Each number lies in one word or in two neighbours.
std::size_t Words::unpack(const std::uint8_t* packed, std::size_t count, std::uint32_t width,
                          std::uint64_t* out) {
    if (width < 32 || width == 64) return 0;
    alignas(64) std::uint64_t first[8], second[8], right[8], left[8];
    for (std::uint32_t i = 0; i < 8; ++i) {
        const std::uint32_t bit = i * width;
        first[i] = bit / 64;
        second[i] = (bit / 64 + 1) % 8;  // its bits are cut off where there is none
        right[i] = bit % 64;
        left[i] = 64 - right[i];  // a shift by 64 leaves nothing
    }
    const __m512i mask = _mm512_set1_epi64(static_cast<long long>(UINT64_MAX >> (64 - width)));
    std::size_t i = 0;
    for (; (i / 8) * width + 64 <= count * width / 8; i += 8, packed += width) {
        const __m512i x = _mm512_loadu_si512(packed);
        const __m512i low = _mm512_srlv_epi64(_mm512_permutexvar_epi64(_mm512_load_si512(first), x),
                                              _mm512_load_si512(right));
        const __m512i high = _mm512_sllv_epi64(
            _mm512_permutexvar_epi64(_mm512_load_si512(second), x), _mm512_load_si512(left));
        _mm512_storeu_si512(out + i, _mm512_and_si512(_mm512_or_si512(low, high), mask));
    }
    return i;
}

}  // namespace

const Loops ifma_loops = impl::loops_of<Words>();

}  // namespace vflbus::privacy::rlwe
