#pragma once
// AES-256 in counter mode by the wide AES unit of newer processors (VAES): sixteen blocks at a
// time, where OpenSSL takes four to eight. For stream.cpp alone.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace vflbus::privacy {

inline constexpr std::size_t aes_block_bytes = 16;
using AesRounds = std::array<std::array<std::uint8_t, aes_block_bytes>, 15>;

/// Whether this processor and this build have it; nothing else may be called where not.
[[nodiscard]] bool has_wide_aes() noexcept;
/// Writes the round keys in place: no copy of them is left on the stack.
void wide_aes_rounds(std::span<const std::uint8_t, 32> key, AesRounds& out) noexcept;
/// The encrypted counters from `first` on, in `out`, which has whole blocks.
void wide_aes_blocks(const AesRounds& rounds, std::uint64_t first,
                     std::span<std::uint8_t> out) noexcept;

}  // namespace vflbus::privacy
