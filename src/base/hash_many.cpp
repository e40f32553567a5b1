#include "base/hash_many.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/assert.hpp"

// Compiled for several processors; the widest that the machine has is chosen as the program is
// loaded. That is before a sanitizer is ready, so builds with one have the plain function.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VFLBUS_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VFLBUS_SANITIZED
#endif
#endif
#if defined(__x86_64__) && !defined(VFLBUS_SANITIZED)
#define VFLBUS_WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VFLBUS_WIDEST
#endif

namespace vflbus {
namespace {

static_assert(std::endian::native == std::endian::little, "words are read as they lie");

constexpr std::size_t lanes = 8;
constexpr std::size_t block_bytes = 128;
constexpr std::size_t key_bytes_max = 64;

/// A word of each of the eight texts.
using Lanes = std::uint64_t __attribute__((vector_size(lanes * sizeof(std::uint64_t))));

// RFC 7693, section 2.6 and 2.7
constexpr std::array<std::uint64_t, 8> iv = {
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL};
constexpr std::uint8_t sigma[10][16] = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                                        {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
                                        {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
                                        {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
                                        {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
                                        {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
                                        {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
                                        {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
                                        {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
                                        {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};
constexpr int rounds = 12;

/// A block of each of eight texts, and how many bytes have been hashed with it.
struct Blocks {
    alignas(64) std::uint64_t words[16][lanes];
    alignas(64) std::uint64_t bytes[lanes];
    bool last = false;
};
struct Chains {
    alignas(64) std::uint64_t words[8][lanes];
};

template <int bits>
[[gnu::always_inline]] inline void rotate_right(Lanes& x) {
    x = (x >> bits) | (x << (64 - bits));
}

[[gnu::always_inline]] inline void mix(Lanes& a, Lanes& b, Lanes& c, Lanes& d, const Lanes& x,
                                       const Lanes& y) {
    a += b + x;
    d ^= a;
    rotate_right<32>(d);
    c += d;
    b ^= c;
    rotate_right<24>(b);
    a += b + y;
    d ^= a;
    rotate_right<16>(d);
    c += d;
    b ^= c;
    rotate_right<63>(b);
}

/// BLAKE2b's F, for eight texts.
VFLBUS_WIDEST void compress(Chains& chains, const Blocks& blocks) {
    Lanes v[16];
    Lanes m[16];
    Lanes hashed;
    std::memcpy(&hashed, blocks.bytes, sizeof hashed);
    for (std::size_t i = 0; i < 16; ++i) std::memcpy(&m[i], blocks.words[i], sizeof m[i]);
    for (std::size_t i = 0; i < 8; ++i) {
        std::memcpy(&v[i], chains.words[i], sizeof v[i]);
        v[i + 8] = Lanes{} + iv[i];
    }
    v[12] ^= hashed;
    if (blocks.last) v[14] = ~v[14];
#pragma GCC unroll 12
    for (int round = 0; round < rounds; ++round) {
        const std::uint8_t* const s = sigma[round % 10];
        mix(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);
        mix(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);
        mix(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);
        mix(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);
        mix(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);
        mix(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);
        mix(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);
        mix(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);
    }
    for (std::size_t i = 0; i < 8; ++i) {
        Lanes h;
        std::memcpy(&h, chains.words[i], sizeof h);
        h ^= v[i] ^ v[i + 8];
        std::memcpy(chains.words[i], &h, sizeof h);
    }
}

void put(std::string_view text, std::size_t lane, Blocks& blocks) {
    std::uint64_t block[block_bytes / sizeof(std::uint64_t)] = {};
    if (!text.empty()) std::memcpy(block, text.data(), text.size());
    for (std::size_t i = 0; i < 16; ++i) blocks.words[i][lane] = block[i];
}

/// The state before the texts, which all of them share.
Chains begun_with(std::string_view key) {
    Chains chains;
    Blocks blocks;
    const std::uint64_t parameters = 0x01010000U ^ (key.size() << 8U) ^ sizeof(Hash128);
    for (std::size_t lane = 0; lane < lanes; ++lane) {
        for (std::size_t i = 0; i < 8; ++i) chains.words[i][lane] = iv[i];
        chains.words[0][lane] ^= parameters;
        put(key, lane, blocks);
        blocks.bytes[lane] = block_bytes;
    }
    if (!key.empty()) compress(chains, blocks);
    return chains;
}

}  // namespace

void hash128_each(std::span<const std::string_view> texts, std::string_view key,
                  std::span<Hash128> out) {
    VFLBUS_ASSERT(texts.size() == out.size(), "every text has a place for its hash");
    const bool usual_key = key.size() <= key_bytes_max;
    const Chains begun = usual_key ? begun_with(key) : Chains{};
    Blocks blocks;
    blocks.last = true;
    for (std::size_t first = 0; first < texts.size(); first += lanes) {
        const std::size_t count = std::min(lanes, texts.size() - first);
        const auto group = texts.subspan(first, count);
        const bool one_block = usual_key && std::ranges::all_of(group, [](std::string_view text) {
                                   return !text.empty() && text.size() <= block_bytes;
                               });
        if (!one_block) {
            for (std::size_t i = 0; i < count; ++i) out[first + i] = hash128(group[i], key);
            continue;
        }
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            const std::string_view text = group[std::min(lane, count - 1)];
            put(text, lane, blocks);
            blocks.bytes[lane] = (key.empty() ? 0 : block_bytes) + text.size();
        }
        Chains chains = begun;
        compress(chains, blocks);
        for (std::size_t lane = 0; lane < count; ++lane) {
            const std::uint64_t hash[] = {chains.words[0][lane], chains.words[1][lane]};
            static_assert(sizeof hash == sizeof(Hash128));
            std::memcpy(out[first + lane].data(), hash, sizeof hash);
        }
    }
}

}  // namespace vflbus
