#include "bus/keys/base32.hpp"

namespace vflbus::bus {

std::string base32_of(std::span<const std::uint8_t> bytes) {
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    std::string text;
    std::uint32_t waiting = 0;
    int bits = 0;
    for (const std::uint8_t byte : bytes) {
        waiting = (waiting << 8 | byte) & 0xffff;
        for (bits += 8; bits >= 5; bits -= 5) text += digits[waiting >> (bits - 5) & 31];
    }
    if (bits > 0) text += digits[waiting << (5 - bits) & 31];
    return text;
}

int base32_digit(char c) noexcept {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a';
    return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

bool from_base32(std::string_view text, std::span<std::uint8_t> bytes) noexcept {
    if (text.size() != (bytes.size() * 8 + 4) / 5) return false;
    std::uint32_t waiting = 0;
    int bits = 0;
    std::size_t at = 0;
    for (const char c : text) {
        const int digit = base32_digit(c);
        if (digit < 0) return false;
        waiting = (waiting << 5 | static_cast<std::uint32_t>(digit)) & 0xffff;
        bits += 5;
        if (bits < 8) continue;
        bits -= 8;
        bytes[at++] = static_cast<std::uint8_t>(waiting >> bits & 0xff);
    }
    // (the bits that fill up the last digit are zero, so that no two texts mean the same bytes)
    return at == bytes.size() && (waiting & ((1U << bits) - 1)) == 0;
}

}  // namespace vflbus::bus
