#pragma once
// What the features of a table are when they are the pixels of one picture in each row.

#include <cstddef>
#include <string>

namespace vflbus::data {

/// Columns stand row by row, the channels of a pixel side by side.
struct ImageShape {
    std::size_t height = 0;
    std::size_t width = 0;
    std::size_t channels = 1;

    /// "28x14", "28x14x3", as in a configuration.
    [[nodiscard]] std::string text() const {
        return std::to_string(height) + "x" + std::to_string(width) +
               (channels == 1 ? "" : "x" + std::to_string(channels));
    }
    [[nodiscard]] std::size_t size() const noexcept { return height * width * channels; }
    friend bool operator==(const ImageShape&, const ImageShape&) = default;
};

}  // namespace vflbus::data
