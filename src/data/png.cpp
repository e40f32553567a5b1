#include "data/png.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>

namespace vflbus::data {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view png_signature = "\x89PNG\r\n\x1a\n"sv;
/// Side of a picture.
constexpr std::uint32_t png_side_max = 1 << 14;
/// Bytes of a chunk, by the standard.
constexpr std::uint32_t png_chunk_max = 0x7fffffff;
/// Bytes that one deflated byte becomes at most (zlib's own figure is 1,032).
constexpr std::size_t inflated_per_byte_max = 1100;

tl::unexpected<Failure> damaged_png(std::string_view what) {
    return fail(Errc::bad_data, "is a damaged PNG picture: " + std::string(what));
}

std::uint32_t u32_at(std::string_view bytes, std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i)
        value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
    return value;
}

/// How the pixels of a file are written.
struct PngLayout {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    unsigned depth = 0;    ///< bits of a sample
    unsigned colour = 0;   ///< 0 grey, 2 colour, 3 palette, 4 grey and alpha, 6 colour and alpha
    unsigned samples = 0;  ///< of a pixel
    [[nodiscard]] std::size_t row_bytes() const {
        return (std::size_t{width} * samples * depth + 7) / 8;
    }
    /// How far left the byte of the same sample of the last pixel is.
    [[nodiscard]] std::size_t step() const {
        return std::max<std::size_t>(1, std::size_t{samples} * depth / 8);
    }
};

Result<PngLayout> layout_of(std::string_view header) {
    PngLayout layout;
    layout.width = u32_at(header, 0);
    layout.height = u32_at(header, 4);
    layout.depth = static_cast<unsigned char>(header[8]);
    layout.colour = static_cast<unsigned char>(header[9]);
    constexpr std::array<unsigned, 7> samples{1, 0, 3, 1, 2, 0, 4};
    layout.samples = layout.colour < samples.size() ? samples[layout.colour] : 0;
    const unsigned depth = layout.depth;
    const bool small = depth == 1 || depth == 2 || depth == 4;
    const bool fits = depth == 8 || (depth == 16 && layout.colour != 3) ||
                      (small && (layout.colour == 0 || layout.colour == 3));
    if (layout.samples == 0 || !fits || header[10] != 0 || header[11] != 0)
        return damaged_png("its kind of pixels is not one of PNG");
    if (header[12] != 0)
        return fail(Errc::bad_data,
                    "is an interlaced PNG picture, which is not read; save it without interlacing");
    if (layout.width == 0 || layout.height == 0) return damaged_png("it has no pixels");
    if (layout.width > png_side_max || layout.height > png_side_max ||
        std::size_t{layout.width} * layout.height * 3 > picture_bytes_max)
        return fail(Errc::bad_data, "is a picture of " + std::to_string(layout.height) + " x " +
                                        std::to_string(layout.width) +
                                        " pixels, more than are read; make it smaller");
    return layout;
}

/// Whether a reader that does not know a chunk of this type may pass it over: its first letter is
/// a small one.
bool is_ancillary(std::string_view type) {
    return (static_cast<unsigned char>(type.front()) & 0x20U) != 0;
}

/// The chunks that pixels need.
struct PngChunks {
    PngLayout layout;
    std::string_view palette;
    std::string packed;  ///< of all IDAT
};

Result<PngChunks> chunks_of(std::string_view bytes) {
    if (!bytes.starts_with(png_signature)) return fail(Errc::bad_data, "is no PNG picture");
    PngChunks out;
    bool first = true;
    for (std::size_t at = png_signature.size();;) {
        if (bytes.size() - at < 12) return damaged_png("it is cut off");
        const std::uint32_t length = u32_at(bytes, at);
        if (length > png_chunk_max || length > bytes.size() - at - 12)
            return damaged_png("it is cut off");
        const std::string_view type = bytes.substr(at + 4, 4);
        const std::string_view content = bytes.substr(at + 8, length);
        const auto sum = ::crc32(0, reinterpret_cast<const Bytef*>(type.data()), length + 4);
        if (sum != u32_at(bytes, at + 8 + length)) return damaged_png("a checksum is wrong");
        if (first != (type == "IHDR"sv) || (first && length != 13))
            return damaged_png("its header is not where it belongs");
        if (first) {
            auto layout = layout_of(content);
            if (!layout) return tl::unexpected(std::move(layout.error()));
            out.layout = *layout;
        }
        if (type == "IEND"sv) break;
        if (type == "PLTE"sv)
            out.palette = content;
        else if (type == "IDAT"sv)
            out.packed += content;
        else if (!first && !is_ancillary(type))
            return damaged_png("it has a chunk of a kind that PNG does not have");
        first = false;
        at += 12 + std::size_t{length};
    }
    if (out.layout.colour == 3 && (out.palette.empty() || out.palette.size() % 3 != 0))
        return damaged_png("its palette is missing");
    return out;
}

/// Exactly `count` bytes.
Result<std::string> inflated(const std::string& packed, std::size_t count) {
    if (count / inflated_per_byte_max > packed.size()) return damaged_png("it is cut off");
    std::string out(count, '\0');
    uLongf got = count;
    const int done = ::uncompress(reinterpret_cast<Bytef*>(out.data()), &got,
                                  reinterpret_cast<const Bytef*>(packed.data()), packed.size());
    if (done != Z_OK || got != count) return damaged_png("its pixels cannot be unpacked");
    return out;
}

unsigned paeth(unsigned left, unsigned up, unsigned corner) {
    const int estimate = static_cast<int>(left) + static_cast<int>(up) - static_cast<int>(corner);
    const int from_left = std::abs(estimate - static_cast<int>(left));
    const int from_up = std::abs(estimate - static_cast<int>(up));
    const int from_corner = std::abs(estimate - static_cast<int>(corner));
    if (from_left <= from_up && from_left <= from_corner) return left;
    return from_up <= from_corner ? up : corner;
}

/// Takes the filters off all rows, in place; each row begins with the byte of its filter.
Result<> unfilter(const PngLayout& layout, std::string& rows) {
    const std::size_t bytes = layout.row_bytes();
    const std::size_t step = layout.step();
    const std::string zeros(bytes, '\0');
    const char* above = zeros.data();
    for (std::size_t r = 0; r < layout.height; ++r) {
        char* const row = rows.data() + r * (bytes + 1) + 1;
        const auto filter = static_cast<unsigned char>(row[-1]);
        if (filter > 4) return damaged_png("a row has an unknown filter");
        for (std::size_t i = 0; i < bytes; ++i) {
            const unsigned left = i < step ? 0U : static_cast<unsigned char>(row[i - step]);
            const unsigned corner = i < step ? 0U : static_cast<unsigned char>(above[i - step]);
            const unsigned up = static_cast<unsigned char>(above[i]);
            unsigned add = 0;
            if (filter == 1) add = left;
            if (filter == 2) add = up;
            if (filter == 3) add = (left + up) / 2;
            if (filter == 4) add = paeth(left, up, corner);
            row[i] = static_cast<char>(static_cast<unsigned char>(row[i]) + add);
        }
        above = row;
    }
    return {};
}

/// Sample `i` of a row.
unsigned sample_of(const PngLayout& layout, const char* row, std::size_t i) {
    if (layout.depth >= 8) return static_cast<unsigned char>(row[i * layout.depth / 8]);
    const std::size_t bit = i * layout.depth;
    const unsigned shift = 8 - layout.depth - static_cast<unsigned>(bit % 8);
    return (static_cast<unsigned char>(row[bit / 8]) >> shift) & ((1U << layout.depth) - 1);
}

Result<> put_row(const PngChunks& chunks, const char* row, Picture& picture) {
    const PngLayout& layout = chunks.layout;
    for (std::size_t x = 0; x < layout.width; ++x) {
        if (layout.colour == 3) {
            const std::size_t at = std::size_t{3} * sample_of(layout, row, x);
            if (at + 3 > chunks.palette.size())
                return damaged_png("a colour is not in its palette");
            for (std::size_t c = 0; c < 3; ++c)
                picture.pixels.push_back(static_cast<std::uint8_t>(chunks.palette[at + c]));
            continue;
        }
        for (std::size_t c = 0; c < picture.channels; ++c) {
            unsigned value = sample_of(layout, row, x * layout.samples + c);
            if (layout.depth < 8) value = value * 255 / ((1U << layout.depth) - 1);
            picture.pixels.push_back(static_cast<std::uint8_t>(value));
        }
    }
    return {};
}

}  // namespace

Result<Picture> decode_png(std::string_view bytes) {
    const auto chunks = chunks_of(bytes);
    if (!chunks) return tl::unexpected(chunks.error());
    const PngLayout& layout = chunks->layout;
    const std::size_t row_bytes = layout.row_bytes() + 1;
    auto rows = inflated(chunks->packed, row_bytes * layout.height);
    if (!rows) return tl::unexpected(std::move(rows.error()));
    if (auto done = unfilter(layout, *rows); !done) return tl::unexpected(std::move(done.error()));
    Picture picture;
    picture.height = layout.height;
    picture.width = layout.width;
    picture.channels = layout.colour == 0 || layout.colour == 4 ? 1 : 3;
    picture.pixels.reserve(picture.height * picture.width * picture.channels);
    for (std::size_t r = 0; r < layout.height; ++r)
        if (auto done = put_row(*chunks, rows->data() + r * row_bytes + 1, picture); !done)
            return tl::unexpected(std::move(done.error()));
    return picture;
}

}  // namespace vflbus::data
