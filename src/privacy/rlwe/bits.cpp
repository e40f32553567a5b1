#include "privacy/rlwe/bits.hpp"

#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "privacy/rlwe/ring.hpp"

namespace vflbus::privacy::rlwe {
namespace {

constexpr std::uint64_t mask_of(std::uint32_t width) {
    return width == 64 ? UINT64_MAX : (std::uint64_t{1} << width) - 1;
}

}  // namespace

void pack_bits(std::span<const std::uint64_t> values, std::uint32_t width,
               std::vector<std::uint8_t>& out) {
    VFLBUS_ASSERT(width >= 1 && width <= 64, "numbers have 1 to 64 bits");
    const std::uint64_t mask = mask_of(width);
    const std::size_t first = out.size();
    // room for whole words, cut at the end
    out.resize(first + packed_bytes(values.size(), width) + 8);
    const std::size_t done = pack_eights(values, width, out.data() + first);
    values = values.subspan(done);
    std::uint8_t* to = out.data() + first + done / 8 * width;
    std::uint64_t word = 0;
    std::uint32_t filled = 0;
    for (const std::uint64_t value : values) {
        const std::uint64_t low = value & mask;
        word |= low << filled;
        filled += width;
        if (filled < 64) continue;  // depends on the position alone
        std::memcpy(to, &word, sizeof word);
        to += sizeof word;
        filled -= 64;
        word = filled == 0 ? 0 : low >> (width - filled);
    }
    std::memcpy(to, &word, sizeof word);
    out.resize(first + packed_bytes(done + values.size(), width));
}

void unpack_bits(std::span<const std::uint8_t> packed, std::uint32_t width,
                 std::span<std::uint64_t> out) {
    VFLBUS_ASSERT(packed.size() == packed_bytes(out.size(), width), "sizes were checked before");
    const std::uint64_t mask = mask_of(width);
    std::size_t i = unpack_eights(packed, width, out);
    // eight bytes hold a number of up to 57 bits wherever it begins
    if (width <= 57)
        for (; i < out.size() && i * width / 8 + 8 <= packed.size(); ++i) {
            std::uint64_t word = 0;
            std::memcpy(&word, packed.data() + i * width / 8, sizeof word);
            out[i] = (word >> (i * width % 8)) & mask;
        }
    for (; i < out.size(); ++i) {
        const std::size_t byte = i * width / 8;
        const std::uint32_t shift = i * width % 8;
        std::uint64_t word = 0;
        std::memcpy(&word, packed.data() + byte, std::min<std::size_t>(8, packed.size() - byte));
        out[i] = word >> shift;
        if (shift + width > 64) out[i] |= std::uint64_t{packed[byte + 8]} << (64 - shift);
        out[i] &= mask;
    }
}

}  // namespace vflbus::privacy::rlwe
