#pragma once
// Sizes of pictures, as the command line knows them.

#include <optional>
#include <string>

#include "base/errc.hpp"
#include "base/text.hpp"
#include "config/config.hpp"
#include "data/image.hpp"

namespace vflbus::cli {

/// The size that a flag states; nothing when it is not there. Errors: usage.
inline Result<std::optional<data::ImageShape>> parse_image(const std::string& text,
                                                           const std::string& flag) {
    if (text.empty()) return std::optional<data::ImageShape>();
    const auto image = config::image_of(text);
    if (!image || image->height == 0)
        return fail(Errc::usage, flag + " " + printable(text) +
                                     " is no size of pictures: write HEIGHTxWIDTH, as in 28x28");
    return std::optional(data::ImageShape{image->height, image->width, image->channels});
}

}  // namespace vflbus::cli
