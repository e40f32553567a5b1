#pragma once
// Hexadecimal digits back to bytes; the other direction is to_hex in base/hash.hpp.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vflbus::actors {

/// False, and `out` in part written, when `hex` is not 2 * N lower-case digits.
template <std::size_t N>
bool from_hex(std::string_view hex, std::array<std::uint8_t, N>& out) {
    if (hex.size() != 2 * N) return false;
    const auto digit = [](char c) {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        return -1;
    };
    for (std::size_t i = 0; i < N; ++i) {
        const int high = digit(hex[2 * i]);
        const int low = digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return true;
}

}  // namespace vflbus::actors
