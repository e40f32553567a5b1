// Compiled for VAES, and called only where the processor has it.

#include "privacy/masks/stream_wide.hpp"

#include <immintrin.h>

#include <cstring>

#include "privacy/masks/secret.hpp"

namespace vflbus::privacy {
namespace {

template <int constant>
__m128i assist(__m128i key) {
    return _mm_shuffle_epi32(_mm_aeskeygenassist_si128(key, constant), 0xff);
}
__m128i assist_of_odd(__m128i key) {
    return _mm_shuffle_epi32(_mm_aeskeygenassist_si128(key, 0), 0xaa);
}
/// The next round key of one half (FIPS 197, section 5.2).
__m128i mixed(__m128i key, __m128i assisted) {
    for (int i = 0; i < 3; ++i) key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    return _mm_xor_si128(key, assisted);
}

/// `count` vectors of four blocks each, encrypted; `counters` goes on behind them.
template <int count>
void encrypt(const __m512i (&keys)[15], __m512i& counters, std::uint8_t* out) {
    const __m512i reversed =
        _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m512i four = _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4);
    __m512i x[count];
    for (__m512i& blocks : x) {
        blocks = _mm512_xor_si512(_mm512_shuffle_epi8(counters, reversed), keys[0]);
        counters = _mm512_add_epi64(counters, four);
    }
    for (int round = 1; round < 14; ++round)
        for (__m512i& blocks : x) blocks = _mm512_aesenc_epi128(blocks, keys[round]);
    for (int i = 0; i < count; ++i)
        _mm512_storeu_si512(out + 64 * i, _mm512_aesenclast_epi128(x[i], keys[14]));
}

}  // namespace

bool has_wide_aes() noexcept {
    return __builtin_cpu_supports("vaes") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("aes");
}

void wide_aes_rounds(std::span<const std::uint8_t, 32> key, AesRounds& out) noexcept {
    const auto* const halves = reinterpret_cast<const __m128i*>(key.data());
    __m128i even = _mm_loadu_si128(halves);
    __m128i odd = _mm_loadu_si128(halves + 1);
    std::size_t made = 0;
    const auto keep = [&](__m128i round) { std::memcpy(out[made++].data(), &round, sizeof round); };
    const auto both = [&](__m128i assisted) {
        even = mixed(even, assisted);
        keep(even);
        if (made == out.size()) return;
        odd = mixed(odd, assist_of_odd(even));
        keep(odd);
    };
    keep(even);
    keep(odd);
    both(assist<0x01>(odd));
    both(assist<0x02>(odd));
    both(assist<0x04>(odd));
    both(assist<0x08>(odd));
    both(assist<0x10>(odd));
    both(assist<0x20>(odd));
    both(assist<0x40>(odd));
}

void wide_aes_blocks(const AesRounds& rounds, std::uint64_t first,
                     std::span<std::uint8_t> out) noexcept {
    __m512i keys[15];
    for (std::size_t i = 0; i < 15; ++i)
        keys[i] = _mm512_broadcast_i32x4(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(rounds[i].data())));
    const auto from = static_cast<long long>(first);
    __m512i counters = _mm512_add_epi64(_mm512_set_epi64(0, from, 0, from, 0, from, 0, from),
                                        _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0));
    for (; out.size() >= 512; out = out.subspan(512)) encrypt<8>(keys, counters, out.data());
    for (; out.size() >= 64; out = out.subspan(64)) encrypt<1>(keys, counters, out.data());
    if (out.empty()) return;
    std::uint8_t rest[64];
    encrypt<1>(keys, counters, rest);
    std::memcpy(out.data(), rest, out.size());
    wipe(rest, sizeof rest);
}

}  // namespace vflbus::privacy
