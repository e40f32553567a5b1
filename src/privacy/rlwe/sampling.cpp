#include "privacy/rlwe/sampling.hpp"

#include <algorithm>
#include <array>

#include "privacy/rlwe/bits.hpp"

namespace vflbus::privacy::rlwe {
namespace {

constexpr std::size_t words_at_a_time = 512;

}  // namespace

void sample_ternary(AesStream& stream, std::span<std::int32_t> out) {
    std::array<std::uint32_t, words_at_a_time> words;
    std::size_t done = 0;
    while (done < out.size()) {
        const std::size_t part = std::min(words.size(), out.size() - done);
        stream.fill({reinterpret_cast<std::uint8_t*>(words.data()), part * sizeof words[0]});
        const std::span<std::int32_t> to = out.subspan(done, part);
        std::uint64_t refused = 0;
        for (std::size_t i = 0; i < part; ++i) {
            const std::uint64_t word = words[i];
            refused |= (word + 1) >> 32;
            const auto third = static_cast<std::uint32_t>((word * 0xaaaaaaab) >> 33);
            to[i] = static_cast<std::int32_t>(words[i] - 3 * third) - 1;
        }
        done += part;
        if (refused == 0) continue;
        // 2^32 - 1 is divisible by three, so the word above goes: one in 2^32, of which is known
        // that it gave no number
        done -= part;
        for (std::size_t i = 0; i < part; ++i)
            if (words[i] != UINT32_MAX) out[done++] = to[i];
    }
    wipe(words.data(), sizeof words);
}

void sample_errors(AesStream& stream, std::span<std::int32_t> out) {
    std::array<std::uint64_t, words_at_a_time> words;
    for (std::size_t first = 0; first < out.size(); first += words.size()) {
        const std::size_t part = std::min(words.size(), out.size() - first);
        stream.fill(std::span(words).first(part));
        count_coins(std::span(words).first(part), error_bound, out.subspan(first, part));
    }
    wipe(words.data(), sizeof words);
}

void sample_uniform(AesStream& stream, const Prime& prime, std::uint64_t* out) {
    constexpr std::uint32_t drawn_bits = 48;
    constexpr std::uint64_t mask = (std::uint64_t{1} << prime_bits) - 1;
    std::array<std::uint8_t, packed_bytes(words_at_a_time, drawn_bits)> bytes{};
    const std::uint64_t p = prime.value();
    std::size_t done = 0;
    while (done < ring_size) {
        const std::size_t part = std::min(words_at_a_time, ring_size - done);
        const std::span<std::uint8_t> drawn =
            std::span(bytes).first(packed_bytes(part, drawn_bits));
        const std::span<std::uint64_t> words(out + done, part);
        stream.fill(drawn);
        unpack_bits(drawn, drawn_bits, words);
        // one in 2^20 or fewer is not below the prime, and goes (they are public)
        if (cut_below(prime, mask, words))
            done += part;
        else
            done += static_cast<std::size_t>(
                std::remove_if(words.begin(), words.end(),
                               [p](std::uint64_t word) { return word >= p; }) -
                words.begin());
    }
}

void expand_uniform(std::span<const std::uint8_t, Key::size> seed, Polynomial& out) {
    AesStream stream(seed);
    for (std::size_t prime = 0; prime < prime_count; ++prime)
        sample_uniform(stream, primes()[prime], out.at(prime));
}

}  // namespace vflbus::privacy::rlwe
