#pragma once
// Numbers of any width side by side, without gaps, low bits first: how ciphertexts travel.

#include <cstdint>
#include <span>
#include <vector>

namespace vflbus::privacy::rlwe {

/// Bytes of `count` numbers of `width` bits.
constexpr std::size_t packed_bytes(std::size_t count, std::uint32_t width) {
    return (count * width + 7) / 8;
}
/// Appends the low `width` (1 to 64) bits of each number.
void pack_bits(std::span<const std::uint64_t> values, std::uint32_t width,
               std::vector<std::uint8_t>& out);
/// `packed` has exactly packed_bytes(out.size(), width) bytes.
void unpack_bits(std::span<const std::uint8_t> packed, std::uint32_t width,
                 std::span<std::uint64_t> out);

}  // namespace vflbus::privacy::rlwe
