#include "bus/wire/header.hpp"

#include <bit>
#include <cstring>

namespace vflbus::bus {
namespace {

// Offsets of the values; the marker bytes stand right before them (docs/protocol.md, section 2).
constexpr std::size_t at_magic = 2;
constexpr std::size_t at_kind = 5;
constexpr std::size_t at_flags = 7;
constexpr std::size_t at_run = 10;
constexpr std::size_t at_term = 27;
constexpr std::size_t at_src = 32;
constexpr std::size_t at_dst = 41;
constexpr std::size_t at_request = 50;
constexpr std::size_t at_answered = 59;
constexpr std::size_t at_body = 68;
constexpr std::size_t at_offset = 77;
constexpr std::size_t at_type = 86;
constexpr std::size_t at_aux = 89;
static_assert(at_aux + 8 == header_bytes);

/// All marker bytes in place, all values zero.
constexpr HeaderBytes blank = [] {
    HeaderBytes b{};
    b[0] = 0x9d;
    b[at_magic - 1] = 0xcd;
    b[at_kind - 1] = 0xcc;
    b[at_flags - 1] = 0xcc;
    b[at_run - 2] = 0xc4;
    b[at_run - 1] = 16;
    b[at_term - 1] = 0xce;
    for (const std::size_t at :
         {at_src, at_dst, at_request, at_answered, at_body, at_offset, at_aux})
        b[at - 1] = 0xcf;
    b[at_type - 1] = 0xcd;
    return b;
}();

/// The wire is big-endian; spelled out because compilers do not fold the loop of shifts at -O2.
template <class T>
T swapped(T value) noexcept {
    if constexpr (std::endian::native == std::endian::big) return value;
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

template <class T>
void store(std::uint8_t* at, T value) noexcept {
    value = swapped(value);
    std::memcpy(at, &value, sizeof value);
}

template <class T>
T load(const std::uint8_t* at) noexcept {
    T value;
    std::memcpy(&value, at, sizeof value);
    return swapped(value);
}

}  // namespace

std::string_view name_of(Kind kind) noexcept {
    switch (kind) {
        case Kind::hello:
            return "HELLO";
        case Kind::welcome:
            return "WELCOME";
        case Kind::ping:
            return "PING";
        case Kind::pong:
            return "PONG";
        case Kind::bye:
            return "BYE";
        case Kind::open:
            return "OPEN";
        case Kind::join:
            return "JOIN";
        case Kind::close:
            return "CLOSE";
        case Kind::request:
            return "REQUEST";
        case Kind::reply:
            return "REPLY";
        case Kind::error:
            return "ERROR";
        case Kind::window:
            return "WINDOW";
        case Kind::peer_up:
            return "PEER_UP";
        case Kind::peer_suspect:
            return "PEER_SUSPECT";
        case Kind::peer_down:
            return "PEER_DOWN";
        case Kind::credit:
            return "CREDIT";
        case Kind::query:
            return "QUERY";
        case Kind::answer:
            return "ANSWER";
        case Kind::bulk:
            return "BULK";
        case Kind::mark:
            return "MARK";
        case Kind::enrol:
            return "ENROL";
    }
    return "unknown kind";
}

void encode(const Header& h, std::span<std::uint8_t, header_bytes> out) noexcept {
    std::uint8_t* b = out.data();
    std::memcpy(b, blank.data(), header_bytes);
    b[at_magic] = wire_magic;
    b[at_magic + 1] = wire_version;
    b[at_kind] = static_cast<std::uint8_t>(h.kind);
    b[at_flags] = h.flags;
    std::memcpy(b + at_run, h.run.bytes.data(), 16);
    store(b + at_term, h.term);
    store(b + at_src, h.src.value);
    store(b + at_dst, h.dst.value);
    store(b + at_request, h.request);
    store(b + at_answered, h.answered_below);
    store(b + at_body, h.body_bytes);
    store(b + at_offset, h.body_offset);
    store(b + at_type, h.type);
    store(b + at_aux, h.aux);
}

HeaderBytes encode(const Header& header) noexcept {
    HeaderBytes out;
    encode(header, std::span<std::uint8_t, header_bytes>(out));
    return out;
}

HeaderFault decode(std::span<const std::uint8_t> bytes, Header& out) noexcept {
    if (bytes.size() < 4) return HeaderFault::stranger;
    const std::uint8_t* b = bytes.data();
    if (b[0] != 0x9d || b[1] != 0xcd || b[at_magic] != wire_magic) return HeaderFault::stranger;
    if (b[at_magic + 1] != wire_version) return HeaderFault::other_version;
    if (bytes.size() != header_bytes) return HeaderFault::stranger;
    unsigned wrong = 0;
    for (const std::size_t at : {at_kind, at_flags, at_run, at_term, at_src, at_dst, at_request,
                                 at_answered, at_body, at_offset, at_type, at_aux})
        wrong |= static_cast<unsigned>(b[at - 1] ^ blank[at - 1]);
    wrong |= static_cast<unsigned>(b[at_run - 2] ^ blank[at_run - 2]);
    if (wrong != 0) return HeaderFault::stranger;
    out.kind = static_cast<Kind>(b[at_kind]);
    out.flags = b[at_flags];
    std::memcpy(out.run.bytes.data(), b + at_run, 16);
    out.term = load<std::uint32_t>(b + at_term);
    out.src.value = load<std::uint64_t>(b + at_src);
    out.dst.value = load<std::uint64_t>(b + at_dst);
    out.request = load<std::uint64_t>(b + at_request);
    out.answered_below = load<std::uint64_t>(b + at_answered);
    out.body_bytes = load<std::uint64_t>(b + at_body);
    out.body_offset = load<std::uint64_t>(b + at_offset);
    out.type = load<std::uint16_t>(b + at_type);
    out.aux = load<std::uint64_t>(b + at_aux);
    return HeaderFault::none;
}

namespace {

/// The frame holds a whole small body, as all kinds but REQUEST and REPLY must.
bool whole(const Header& h, std::uint64_t part_bytes) noexcept {
    return h.body_offset == 0 && h.body_bytes == part_bytes && part_bytes <= control_body_bytes_max;
}

bool valid_chunk(const Header& h, std::uint64_t part_bytes) noexcept {
    if (h.body_bytes > message_bytes_max || part_bytes > chunk_bytes) return false;
    if (h.body_offset > h.body_bytes || part_bytes > h.body_bytes - h.body_offset) return false;
    if (h.body_bytes == 0) return h.body_offset == 0;
    return part_bytes > 0 &&
           (h.body_offset + part_bytes == h.body_bytes || part_bytes >= chunk_bytes_min);
}

}  // namespace

bool valid(const Header& h, std::uint64_t part_bytes) noexcept {
    if ((h.flags & ~flag::all) != 0) return false;
    if ((h.flags & flag::busy) != 0 && h.kind != Kind::ping && h.kind != Kind::pong) return false;
    if ((h.flags & flag::sealed) != 0 && !is_data(h.kind) && h.kind != Kind::query &&
        h.kind != Kind::answer)
        return false;
    const bool in_run = !h.run.none();
    switch (h.kind) {
        case Kind::request:
            return in_run && h.term != 0 && h.request != 0 && h.answered_below <= h.request &&
                   (h.flags & flag::error) == 0 && valid_chunk(h, part_bytes);
        case Kind::reply:
            return in_run && h.term != 0 && h.request != 0 && valid_chunk(h, part_bytes);
        case Kind::open:
            return in_run && h.term != 0 && whole(h, part_bytes);
        case Kind::join:
            return in_run && h.term != 0 && whole(h, part_bytes) && part_bytes > 0;
        case Kind::close:
            return in_run && h.term != 0 && whole(h, part_bytes);
        case Kind::credit:
            return in_run && h.term != 0 && h.request != 0 && part_bytes == 0 &&
                   whole(h, part_bytes);
        case Kind::peer_up:
        case Kind::peer_suspect:
        case Kind::peer_down:
            return in_run && whole(h, part_bytes);
        case Kind::query:
            return h.term == 0 && h.request != 0 && whole(h, part_bytes) &&
                   part_bytes <= query_body_bytes_max && (h.flags & flag::error) == 0;
        case Kind::answer:
            return h.term == 0 && h.request != 0 && whole(h, part_bytes) &&
                   part_bytes <= answer_body_bytes_max;
        case Kind::hello:
        case Kind::welcome:
            return !in_run && h.term == 0 && whole(h, part_bytes) && part_bytes > 0;
        case Kind::enrol:
            return !in_run && h.term == 0 && h.request != 0 && whole(h, part_bytes) &&
                   part_bytes > 0 && part_bytes <= enrol_body_bytes_max;
        case Kind::ping:
        case Kind::pong:
            return !in_run && h.term == 0 && part_bytes == 0 && whole(h, part_bytes);
        case Kind::window:
        case Kind::mark:
        case Kind::bulk:
            return !in_run && h.term == 0 && h.aux != 0 && part_bytes == 0 && whole(h, part_bytes);
        case Kind::bye:
        case Kind::error:
            return whole(h, part_bytes);
    }
    return false;
}

}  // namespace vflbus::bus
