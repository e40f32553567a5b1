#include "bus/wire/extensions.hpp"

#include "base/planted.hpp"

namespace vflbus::bus {

std::optional<std::uint16_t> first_not_understood(const Extensions& extensions,
                                                  const ExtensionNumbers& known) {
    if (VFLBUS_PLANTED(extension_ignored)) return std::nullopt;
    for (const auto& [number, bytes] : extensions)
        if (must_be_understood(number) && known.count(number) == 0) return number;
    return std::nullopt;
}

std::string not_understood(const std::string& frame, std::uint16_t number,
                           const std::string& receiver) {
    return frame + " has extension " + std::to_string(number) +
           ", which has to be understood and is not known to " + receiver +
           "; use the same vflbus version on all parties, or do without what needs it";
}

bool within_limits(const Extensions& extensions) noexcept {
    if (extensions.size() > extensions_max) return false;
    std::size_t total = 0;
    for (const auto& [number, bytes] : extensions) {
        if (number == 0 || bytes.size() > extension_bytes_max - total) return false;
        total += bytes.size();
    }
    return true;
}

void write(Writer& writer, const Extensions& extensions) {
    writer.map(extensions.size());
    for (const auto& [number, bytes] : extensions) writer.u64(number).bin(bytes);
}

Extensions read_extensions(Reader& reader) {
    Extensions extensions;
    const std::size_t count = reader.enter_map();
    if (count > extensions_max) reader.fault("too many extensions");
    std::size_t total = 0;
    for (std::size_t i = 0; i < count && reader.ok(); ++i) {
        const auto number = static_cast<std::uint16_t>(reader.u64(UINT16_MAX));
        const auto bytes = reader.bin(extension_bytes_max - total);
        if (!reader.ok()) break;
        if (number == 0 || (!extensions.empty() && number <= extensions.rbegin()->first))
            reader.fault("extensions out of order");
        total += bytes.size();
        extensions.emplace_hint(extensions.end(), number, Bytes(bytes.begin(), bytes.end()));
    }
    reader.leave();
    return extensions;
}

Bytes encode_clock(std::uint64_t wall_ms) {
    Bytes bytes;
    for (int shift = 56; shift >= 0; shift -= 8)
        bytes.push_back(static_cast<std::uint8_t>(wall_ms >> shift & 0xff));
    return bytes;
}

std::optional<std::uint64_t> clock_in(const Extensions& extensions) {
    const auto found = extensions.find(extension_clock);
    if (found == extensions.end() || found->second.size() != 8) return std::nullopt;
    std::uint64_t wall_ms = 0;
    for (const std::uint8_t byte : found->second) wall_ms = wall_ms << 8 | byte;
    return wall_ms;
}

}  // namespace vflbus::bus
