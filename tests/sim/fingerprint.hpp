#pragma once
// Tells two byte strings of a simulation apart, and two traces. A seed hashes hundreds of
// megabytes, and nobody in it looks for collisions: a cryptographic hash cost a fifth of a seed's
// time.

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

namespace vflbus::sim {

/// Where the compiler sees four equal lanes it multiplies them in vectors, which SSE2 does not have
/// for 64 bits: that took three times as long. It may not look into this value.
inline std::uint64_t in_register(std::uint64_t word) {
    asm("" : "+r"(word));
    return word;
}

/// Four words, each of every fourth word of `bytes`: four lanes, as one would wait for its own
/// products. A changed byte changes its lane; a part at another place or a part that is missing
/// changes the lanes that it touches.
inline std::array<std::uint64_t, 4> fingerprint(std::span<const std::uint8_t> bytes) {
    std::array<std::uint64_t, 4> lanes{};
    lanes.fill(1469598103934665603ULL + bytes.size());
    std::array<std::uint64_t, lanes.size()> words{};
    std::size_t i = 0;
    for (; i + sizeof words <= bytes.size(); i += sizeof words) {
        std::memcpy(words.data(), bytes.data() + i, sizeof words);
        for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
            const std::uint64_t product =
                in_register(lanes[lane] ^ words[lane]) * 0x9e3779b97f4a7c15ULL;
            lanes[lane] = in_register(product ^ (product >> 29));
        }
    }
    for (; i < bytes.size(); ++i) lanes[0] = (lanes[0] ^ bytes[i]) * 1099511628211ULL;
    return lanes;
}

}  // namespace vflbus::sim
