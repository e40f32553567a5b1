// docs/protocol.md, sections 2 and 3: the header's bytes and the rules of each kind.

#include <algorithm>
#include <iterator>
#include <vector>

#include "bus/wire/header.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

Header full_header() {
    Header h;
    h.kind = Kind::request;
    h.flags = flag::urgent;
    for (std::size_t i = 0; i < 16; ++i) h.run.bytes[i] = static_cast<std::uint8_t>(0xA0 + i);
    h.term = 0x01020304;
    h.src = NodeId{0x1112131415161718};
    h.dst = NodeId{0x2122232425262728};
    h.request = 0x3132333435363738;
    h.answered_below = 0x4142434445464748;
    h.body_bytes = 0x5152535455565758;
    h.body_offset = 0x6162636465666768;
    h.type = 0x7172;
    h.aux = 0x8182838485868788;
    return h;
}

/// Where a marker byte stands: the table of section 2.
constexpr std::size_t marker_at[] = {0, 1, 4, 6, 8, 9, 26, 31, 40, 49, 58, 67, 76, 85, 88};

RunId a_run() {
    RunId run;
    run.bytes[0] = 7;
    return run;
}

/// The smallest header of a kind that is right.
Header good(Kind kind) {
    Header h;
    h.kind = kind;
    switch (kind) {
        case Kind::request:
        case Kind::reply:
        case Kind::credit:
            h.request = 1;
            [[fallthrough]];
        case Kind::open:
        case Kind::join:
        case Kind::close:
        case Kind::peer_up:
        case Kind::peer_suspect:
        case Kind::peer_down:
            h.run = a_run();
            h.term = 1;
            break;
        default:
            break;
    }
    if (kind == Kind::request) h.answered_below = 1;
    if (kind == Kind::query || kind == Kind::answer || kind == Kind::enrol) h.request = 1;
    if (kind == Kind::bulk || kind == Kind::mark || kind == Kind::window) h.aux = 1;
    return h;
}

bool valid_with(Header h, std::uint64_t body) {
    h.body_bytes = body;
    return valid(h, body);
}

constexpr Kind all_kinds[] = {
    Kind::hello,   Kind::welcome, Kind::ping,         Kind::pong,      Kind::bye,   Kind::open,
    Kind::join,    Kind::close,   Kind::request,      Kind::reply,     Kind::error, Kind::window,
    Kind::peer_up, Kind::credit,  Kind::peer_suspect, Kind::peer_down, Kind::query, Kind::answer,
    Kind::bulk,    Kind::mark,    Kind::enrol};

}  // namespace

TEST_CASE("a header survives the wire") {
    const Header sent = full_header();
    const HeaderBytes bytes = encode(sent);
    Header got;
    REQUIRE(decode(bytes, got) == HeaderFault::none);
    CHECK(got == sent);
}

TEST_CASE("every value stands at its offset, big-endian") {
    const HeaderBytes b = encode(full_header());
    CHECK(b[2] == 0xAF);
    CHECK(b[3] == 1);
    CHECK(b[5] == 9);
    CHECK(b[7] == 4);
    CHECK(b[10] == 0xA0);
    CHECK(b[25] == 0xAF);
    CHECK(b[27] == 0x01);
    CHECK(b[30] == 0x04);
    const std::size_t wide[] = {32, 41, 50, 59, 68, 77, 89};
    const std::uint8_t first[] = {0x11, 0x21, 0x31, 0x41, 0x51, 0x61, 0x81};
    for (std::size_t i = 0; i < 7; ++i) {
        CHECK(b[wide[i]] == first[i]);
        CHECK(b[wide[i] + 7] == first[i] + 7);
    }
    CHECK(b[86] == 0x71);
    CHECK(b[87] == 0x72);
}

TEST_CASE("any corrupted marker byte makes a stranger") {
    const HeaderBytes good_bytes = encode(full_header());
    for (const std::size_t at : marker_at)
        for (int bit = 0; bit < 8; ++bit) {
            HeaderBytes bytes = good_bytes;
            bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1u << bit));
            Header got;
            INFO("byte " << at << " bit " << bit);
            CHECK(decode(bytes, got) == HeaderFault::stranger);
        }
}

TEST_CASE("bytes that are no marker are values, whatever they hold") {
    const HeaderBytes good_bytes = encode(full_header());
    for (std::size_t at = 4; at < header_bytes; ++at) {
        if (std::find(std::begin(marker_at), std::end(marker_at), at) != std::end(marker_at))
            continue;
        HeaderBytes bytes = good_bytes;
        bytes[at] ^= 0xFF;
        Header got;
        INFO("byte " << at);
        REQUIRE(decode(bytes, got) == HeaderFault::none);
        CHECK(encode(got) == bytes);
    }
}

TEST_CASE("a wrong magic is a stranger, another version is told apart") {
    HeaderBytes bytes = encode(full_header());
    Header got;
    bytes[2] = 0xAE;
    CHECK(decode(bytes, got) == HeaderFault::stranger);
    bytes[2] = 0xAF;
    for (const int version : {0, 2, 255}) {
        bytes[3] = static_cast<std::uint8_t>(version);
        CHECK(decode(bytes, got) == HeaderFault::other_version);
        // another version may have another length
        CHECK(decode(std::span(bytes).first(20), got) == HeaderFault::other_version);
    }
}

TEST_CASE("a header of another length is a stranger") {
    const HeaderBytes bytes = encode(full_header());
    Header got;
    for (std::size_t n = 0; n < header_bytes; ++n)
        CHECK(decode(std::span(bytes).first(n), got) == HeaderFault::stranger);
    std::vector<std::uint8_t> longer(bytes.begin(), bytes.end());
    longer.push_back(0);
    CHECK(decode(longer, got) == HeaderFault::stranger);
}

TEST_CASE("every kind has a name and one good header") {
    for (const Kind kind : all_kinds) {
        INFO(name_of(kind));
        CHECK(name_of(kind) != "unknown kind");
        const bool wants_body = kind == Kind::hello || kind == Kind::welcome ||
                                kind == Kind::join || kind == Kind::enrol;
        CHECK(valid_with(good(kind), wants_body ? 1 : 0));
    }
    CHECK(name_of(static_cast<Kind>(22)) == "unknown kind");
}

TEST_CASE("unknown kinds and flags are refused") {
    Header h = good(Kind::request);
    for (const int kind : {0, 21, 22, 128, 255}) {
        h.kind = static_cast<Kind>(kind);
        CHECK_FALSE(valid_with(h, 0));
    }
    for (const Kind kind : all_kinds)
        for (int bit = 3; bit < 8; ++bit) {
            if (bit == 3 && (kind == Kind::ping || kind == Kind::pong)) continue;  // busy
            if (bit == 4 && (is_data(kind) || kind == Kind::query || kind == Kind::answer))
                continue;  // sealed
            Header bad = good(kind);
            bad.flags = static_cast<std::uint8_t>(1u << bit);
            CHECK_FALSE(valid_with(bad, 1));
            CHECK_FALSE(valid_with(bad, 0));
        }
}

TEST_CASE("kinds of a run need a run and a term, the others must not have them") {
    for (const Kind kind :
         {Kind::request, Kind::reply, Kind::open, Kind::join, Kind::close, Kind::credit}) {
        INFO(name_of(kind));
        const std::uint64_t body = kind == Kind::credit ? 0 : 1;
        CHECK(valid_with(good(kind), body));
        Header h = good(kind);
        h.run = RunId{};
        CHECK_FALSE(valid_with(h, body));
        h = good(kind);
        h.term = 0;
        CHECK_FALSE(valid_with(h, body));
    }
    for (const Kind kind : {Kind::peer_up, Kind::peer_suspect, Kind::peer_down}) {
        Header h = good(kind);
        h.run = RunId{};
        CHECK_FALSE(valid_with(h, 1));
    }
    for (const Kind kind :
         {Kind::hello, Kind::welcome, Kind::ping, Kind::pong, Kind::window, Kind::bulk}) {
        INFO(name_of(kind));
        const std::uint64_t body = kind == Kind::hello || kind == Kind::welcome ? 1 : 0;
        Header h = good(kind);
        h.run = a_run();
        CHECK_FALSE(valid_with(h, body));
        h = good(kind);
        h.term = 1;
        CHECK_FALSE(valid_with(h, body));
    }
}

TEST_CASE("bodies where there must be one, none where there must be none") {
    for (const Kind kind : {Kind::hello, Kind::welcome, Kind::join})
        CHECK_FALSE(valid_with(good(kind), 0));
    for (const Kind kind : {Kind::ping, Kind::pong, Kind::window, Kind::credit, Kind::bulk})
        CHECK_FALSE(valid_with(good(kind), 1));
}

TEST_CASE("BULK names a session") {
    Header h = good(Kind::bulk);
    h.aux = 0;
    CHECK_FALSE(valid_with(h, 0));
}

TEST_CASE("control kinds travel whole and within their limit") {
    for (const Kind kind :
         {Kind::hello, Kind::welcome, Kind::bye, Kind::open, Kind::join, Kind::close, Kind::error,
          Kind::peer_up, Kind::peer_suspect, Kind::peer_down}) {
        INFO(name_of(kind));
        CHECK(valid_with(good(kind), control_body_bytes_max));
        CHECK_FALSE(valid_with(good(kind), control_body_bytes_max + 1));
        Header h = good(kind);
        h.body_bytes = 10;
        CHECK_FALSE(valid(h, 9));
        CHECK_FALSE(valid(h, 11));
        h.body_offset = chunk_bytes;
        h.body_bytes = chunk_bytes + 10;
        CHECK_FALSE(valid(h, 10));
    }
}

TEST_CASE("questions have a number and no term, with or without a run, and bounds of their own") {
    for (const Kind kind : {Kind::query, Kind::answer}) {
        INFO(name_of(kind));
        const std::uint64_t most =
            kind == Kind::query ? query_body_bytes_max : answer_body_bytes_max;
        Header h = good(kind);
        CHECK(valid_with(h, 0));
        CHECK(valid_with(h, most));
        CHECK_FALSE(valid_with(h, most + 1));
        h.run = a_run();
        CHECK(valid_with(h, 1));
        h.term = 1;
        CHECK_FALSE(valid_with(h, 1));
        h = good(kind);
        h.request = 0;
        CHECK_FALSE(valid_with(h, 1));
        h = good(kind);
        h.body_bytes = 10;
        CHECK_FALSE(valid(h, 9));
        h = good(kind);
        h.flags = flag::error;
        CHECK(valid_with(h, 1) == (kind == Kind::answer));
    }
}

TEST_CASE("requests and replies have a number, and requests carry no error") {
    for (const Kind kind : {Kind::request, Kind::reply}) {
        Header h = good(kind);
        h.request = 0;
        h.answered_below = 0;
        CHECK_FALSE(valid_with(h, 0));
    }
    Header h = good(Kind::request);
    h.answered_below = 2;
    CHECK_FALSE(valid_with(h, 0));
    h = good(Kind::request);
    h.flags = flag::error;
    CHECK_FALSE(valid_with(h, 0));
    h.flags = flag::error | flag::urgent;
    CHECK_FALSE(valid_with(h, 0));
    h = good(Kind::reply);
    h.flags = flag::error;
    CHECK(valid_with(h, 0));
}

TEST_CASE("chunks: none larger than a chunk, none beyond the body, small ones at the end only") {
    for (const Kind kind : {Kind::request, Kind::reply}) {
        const auto chunk = [&](std::uint64_t total, std::uint64_t offset, std::uint64_t part) {
            Header h = good(kind);
            h.body_bytes = total;
            h.body_offset = offset;
            return valid(h, part);
        };
        CHECK(chunk(0, 0, 0));
        CHECK(chunk(5, 0, 5));
        CHECK(chunk(chunk_bytes, 0, chunk_bytes));
        CHECK(chunk(chunk_bytes + 1, 0, chunk_bytes));
        CHECK(chunk(chunk_bytes + 1, chunk_bytes, 1));
        CHECK(chunk(chunk_bytes + 1, 0, chunk_bytes - 1));
        CHECK(chunk(chunk_bytes, 0, chunk_bytes_min));
        CHECK(chunk(5, 2, 3));
        CHECK(chunk(message_bytes_max, message_bytes_max - chunk_bytes, chunk_bytes));

        CHECK_FALSE(chunk(0, 0, 1));                                // more than announced
        CHECK_FALSE(chunk(5, 0, 4));                                // a short first part
        CHECK_FALSE(chunk(5, 0, 0));                                // nothing of something
        CHECK_FALSE(chunk(5, 5, 0));                                // nothing at the end
        CHECK_FALSE(chunk(chunk_bytes + 1, 0, chunk_bytes + 1));    // too large a part
        CHECK_FALSE(chunk(chunk_bytes, 0, chunk_bytes_min - 1));    // too small a part
        CHECK_FALSE(chunk(chunk_bytes + 1, chunk_bytes, 2));        // beyond the end
        CHECK_FALSE(chunk(chunk_bytes, 2 * chunk_bytes, 1));        // begins beyond the end
        CHECK_FALSE(chunk(0, chunk_bytes, 0));                      // an empty body has no offset
        CHECK_FALSE(chunk(message_bytes_max + 1, 0, chunk_bytes));  // too large a body
        CHECK_FALSE(chunk(UINT64_MAX, UINT64_MAX - 1, 1));          // sums that would wrap
        CHECK_FALSE(chunk(UINT64_MAX, 0, chunk_bytes));
    }
}

TEST_CASE("node ids are those of the page") {
    // python3: int.from_bytes(hashlib.blake2b(b"vflbus-node:member-0",
    // digest_size=16).digest()[:8], "little")
    CHECK(node_id_of("member-0").value == 0xf1cc8c5ab6a17e3fULL);
    CHECK(node_id_of("master").value == 0x11b180ad62d1c8e5ULL);
}
