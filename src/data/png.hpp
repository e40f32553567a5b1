#pragma once
// A picture out of the bytes of a PNG file (W3C, Portable Network Graphics, third edition).

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::data {

struct Picture {
    std::size_t height = 0;
    std::size_t width = 0;
    std::size_t channels = 0;          ///< 1: grey; 3: red, green, blue
    std::vector<std::uint8_t> pixels;  ///< row by row, the channels of a pixel side by side
};

/// Bytes of pixels that a picture has at most.
inline constexpr std::size_t picture_bytes_max = std::size_t{1} << 26;

/// Every depth and colour type; of 16 bits the upper 8 are taken, and transparency is left out.
/// Errors: bad_data with the rest of a sentence about the file, for what is no PNG, is damaged, cut
/// off, interlaced or too large. Takes memory for no more than the bytes can hold.
Result<Picture> decode_png(std::string_view bytes);

}  // namespace vflbus::data
