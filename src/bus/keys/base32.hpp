#pragma once
// Base32 (RFC 4648, without padding): what people read, type and paste into a shell.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace vflbus::bus {

/// In capital letters; the last digit is filled up with zero bits.
std::string base32_of(std::span<const std::uint8_t> bytes);
/// False for a text that is not exactly the base32 of so many bytes. Small letters count as large.
[[nodiscard]] bool from_base32(std::string_view text, std::span<std::uint8_t> bytes) noexcept;
/// The value of a digit, 0 to 31; -1 for another character.
[[nodiscard]] int base32_digit(char c) noexcept;

}  // namespace vflbus::bus
