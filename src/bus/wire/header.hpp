#pragma once
// The header of every frame: docs/protocol.md, section 2.

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/ids.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::bus {

inline constexpr std::uint8_t wire_magic = 0xAF;
inline constexpr std::uint8_t wire_version = 1;

/// docs/protocol.md, section 3.
enum class Kind : std::uint8_t {
    hello = 1,
    welcome = 2,
    ping = 3,
    pong = 4,
    bye = 5,
    open = 6,
    join = 7,
    close = 8,
    request = 9,
    reply = 10,
    error = 11,
    window = 12,
    peer_up = 13,
    peer_suspect = 14,
    peer_down = 15,
    credit = 16,
    query = 17,
    answer = 18,
    bulk = 19,
    mark = 20,
    enrol = 21,
};

std::string_view name_of(Kind kind) noexcept;

namespace flag {
inline constexpr std::uint8_t error = 1;    ///< a reply that carries [code, sentence]
inline constexpr std::uint8_t answer = 2;   ///< the broker's answer to OPEN or CLOSE
inline constexpr std::uint8_t urgent = 4;   ///< reserved
inline constexpr std::uint8_t busy = 8;     ///< PING, PONG: the node works on something
inline constexpr std::uint8_t sealed = 16;  ///< the body is sealed (section 14)
inline constexpr std::uint8_t all = error | answer | urgent | busy | sealed;

}  // namespace flag

/// The aux of a CREDIT which says that the receiver has the whole body, so no more is sent.
inline constexpr std::uint64_t credit_all = ~std::uint64_t{0};

struct Header {
    Kind kind{};
    std::uint8_t flags = 0;
    RunId run;
    std::uint32_t term = 0;
    NodeId src;
    NodeId dst;
    std::uint64_t request = 0;
    std::uint64_t answered_below = 0;
    std::uint64_t body_bytes = 0;   ///< of the whole body
    std::uint64_t body_offset = 0;  ///< of this frame's part
    std::uint16_t type = 0;
    std::uint64_t aux = 0;

    friend bool operator==(const Header&, const Header&) = default;
};

using HeaderBytes = std::array<std::uint8_t, header_bytes>;

void encode(const Header& header, std::span<std::uint8_t, header_bytes> out) noexcept;
HeaderBytes encode(const Header& header) noexcept;

enum class HeaderFault : std::uint8_t {
    none,
    stranger,       ///< no header of this protocol: dropped without an answer
    other_version,  ///< a header of this protocol with another protocol number
};

/// Checks every marker byte. On `none`, `out` holds the fields; `valid` checks what they mean.
HeaderFault decode(std::span<const std::uint8_t> bytes, Header& out) noexcept;

/// Whether a header with a part of `part_bytes` bytes obeys the rules of its kind (sections 2, 3,
/// 6). Everything that arrives is checked by this before a core looks at it.
bool valid(const Header& header, std::uint64_t part_bytes) noexcept;

/// REQUEST and REPLY: flow control counts them, and the broker routes them by run.
constexpr bool is_data(Kind kind) noexcept {
    return kind == Kind::request || kind == Kind::reply;
}

}  // namespace vflbus::bus
