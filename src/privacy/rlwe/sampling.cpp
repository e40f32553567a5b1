#include "privacy/rlwe/sampling.hpp"

#include <algorithm>
#include <array>
#include <cstring>

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
        for (std::size_t i = 0; i < part; ++i) {
            const std::uint32_t word = words[i];
            if (word == UINT32_MAX) continue;  // 2^32 - 1 is divisible by three
            const auto third = static_cast<std::uint32_t>((std::uint64_t{word} * 0xaaaaaaab) >> 33);
            out[done++] = static_cast<std::int32_t>(word - 3 * third) - 1;
        }
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
    constexpr std::size_t value_bytes = 6;
    constexpr std::uint64_t mask = (std::uint64_t{1} << prime_bits) - 1;
    // two bytes more, as eight are read for each value
    std::array<std::uint8_t, words_at_a_time * value_bytes + 2> bytes{};
    const std::uint64_t p = prime.value();
    std::size_t done = 0;
    while (done < ring_size) {
        const std::size_t part = std::min(words_at_a_time, ring_size - done);
        stream.fill(std::span(bytes).first(part * value_bytes));
        for (std::size_t i = 0; i < part; ++i) {
            std::uint64_t word = 0;
            std::memcpy(&word, bytes.data() + i * value_bytes, sizeof word);
            word &= mask;
            out[done] = word;
            done += word < p ? 1 : 0;
        }
    }
}

void expand_uniform(std::span<const std::uint8_t, Key::size> seed, Polynomial& out) {
    AesStream stream(seed);
    for (std::size_t prime = 0; prime < prime_count; ++prime)
        sample_uniform(stream, primes()[prime], out.at(prime));
}

}  // namespace vflbus::privacy::rlwe
