#pragma once
// What later versions and other rooms add to HELLO, WELCOME, OPEN and JOIN without a new protocol
// version: docs/protocol.md, section 3, Extensions.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "bus/wire/codec.hpp"

namespace vflbus::bus {

/// The bytes of each extension by its number, 1 to 65,535. What the bytes mean is defined by
/// whoever gave out the number.
using Extensions = std::map<std::uint16_t, Bytes>;
/// The numbers of the extensions that a process understands.
using ExtensionNumbers = std::set<std::uint16_t>;

/// Of WELCOME: the broker's clock, in milliseconds since 1970, as 8 bytes, the highest first.
inline constexpr std::uint16_t extension_clock = 11;
Bytes encode_clock(std::uint64_t wall_ms);
/// Nothing when the extension is missing or has another length.
std::optional<std::uint64_t> clock_in(const Extensions& extensions);

/// A receiver ignores an odd number that it does not know. It refuses the frame for an even one.
constexpr bool must_be_understood(std::uint16_t number) noexcept {
    return number % 2 == 0;
}

/// The first extension that must be understood and is not among `known`.
std::optional<std::uint16_t> first_not_understood(const Extensions& extensions,
                                                  const ExtensionNumbers& known);

/// Why a frame is refused for such an extension, as a sentence: "HELLO of member-0 has extension 2,
/// which has to be understood and is not known to broker; ...".
std::string not_understood(const std::string& frame, std::uint16_t number,
                           const std::string& receiver);

/// Whether there are no more entries and bytes than a frame may carry.
bool within_limits(const Extensions& extensions) noexcept;

/// A map from number to bytes, numbers rising. The writer's caller keeps `within_limits`.
void write(Writer& writer, const Extensions& extensions);
Extensions read_extensions(Reader& reader);

}  // namespace vflbus::bus
