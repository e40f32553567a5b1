// The wire, byte for byte: one frame of each kind against tests/golden/frames. A difference is a
// new protocol: read docs/protocol.md first, then run with VFLBUS_ACCEPT=1 to write the files anew.

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "bus/wire/control.hpp"
#include "bus/wire/enrolment.hpp"
#include "bus/wire/header.hpp"
#include "bus/wire/questions.hpp"
#include "bus/wire/sealed.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

/// 16 bytes a line, the header and the body apart.
std::string hex_text(std::span<const std::uint8_t> head, std::span<const std::uint8_t> body) {
    std::string out;
    const auto part = [&](std::string_view title, std::span<const std::uint8_t> bytes) {
        out += title;
        static constexpr char digits[] = "0123456789abcdef";
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            out += i % 16 == 0 ? '\n' : ' ';
            out += digits[bytes[i] >> 4];
            out += digits[bytes[i] & 15];
        }
        out += '\n';
    };
    part("header", head);
    if (!body.empty()) part("body", body);
    return out;
}

Header in_run(Kind kind) {
    Header h;
    h.kind = kind;
    for (std::size_t i = 0; i < 16; ++i) h.run.bytes[i] = static_cast<std::uint8_t>(i + 1);
    h.term = 3;
    return h;
}

void golden(const std::string& name, Header header, const Bytes& body = {}) {
    header.body_bytes = std::max<std::uint64_t>(header.body_bytes, body.size());
    CHECK(valid(header, body.size()));
    const HeaderBytes head = encode(header);
    const std::string now = hex_text(head, body);
    const std::string path = std::string(VFLBUS_GOLDEN_DIR) + "/" + name + ".hex";
    const char* accept = std::getenv("VFLBUS_ACCEPT");
    if (accept != nullptr && std::string_view(accept) == "1") {
        std::ofstream(path, std::ios::binary) << now;
        return;
    }
    std::ifstream file(path, std::ios::binary);
    const std::string then{std::istreambuf_iterator<char>(file), {}};
    INFO(path);
    CHECK(then == now);
}

}  // namespace

TEST_CASE("golden frames") {
    const NodeId master = node_id_of("master");
    const NodeId member = node_id_of("member-0");

    Header h;
    h.kind = Kind::hello;
    h.src = member;
    h.request = 1;
    golden(
        "hello", h,
        encode(Hello{
            "member-0", "member", 0, 1700000000000, 0x0123456789abcdef, "0.1.0", {"chunks"}, {}}));
    golden("hello_extensions", h,
           encode(Hello{"member-0",
                        "member",
                        0,
                        1700000000000,
                        0x0123456789abcdef,
                        "0.1.0",
                        {},
                        {{1, {0xAA}}, {256, {}}, {65535, Bytes(300, 0x11)}}}));

    h = {};
    h.kind = Kind::welcome;
    h.dst = member;
    h.request = 1;
    h.aux = 7;
    golden("welcome", h,
           encode(Welcome{"0.1.0", 1000, 3000, 10000, frame_bytes_max, message_bytes_max, {}}));

    h = {};
    h.kind = Kind::ping;
    h.src = member;
    h.request = 12;
    h.aux = 345;
    golden("ping", h);
    h.kind = Kind::pong;
    h.src = {};
    h.dst = member;
    golden("pong", h);

    h = {};
    h.kind = Kind::bye;
    h.dst = member;
    h.aux = static_cast<std::uint64_t>(Errc::superseded);
    golden("bye", h, encode_sentence("a younger process has taken over the name member-0"));

    h = in_run(Kind::open);
    h.src = master;
    golden("open", h,
           encode(Open{"master",
                       {{"member-0", "member", 0}, {"arbiter", "arbiter", -1}},
                       "[run]\nseed = 1\n",
                       {{32768, {1, 2, 3}}}}));
    h.flags = flag::answer;
    h.src = {};
    h.dst = master;
    golden("open_answer", h);

    h = in_run(Kind::join);
    h.src = member;
    h.dst = master;
    Join join{"member-0", "member", 0, 1700000000000, {}, "0.1.0", Errc::ok, "", {{32769, {4}}}};
    for (std::size_t i = 0; i < 32; ++i) join.config_hash[i] = static_cast<std::uint8_t>(255 - i);
    golden("join", h, encode(join));
    join.code = Errc::config_differs;
    join.sentence = "run.seed differs: 1 here, 2 at the master";
    golden("join_refusal", h, encode(join));

    h = in_run(Kind::close);
    h.src = master;
    golden("close", h, encode(Ending{Errc::ok, "trained"}));
    golden("close_sealed", h,
           encode(Close{{Errc::run_ended, "the run is over"},
                        {{NodeId{7}, Bytes(24, 0xB1)}, {NodeId{9}, Bytes(24, 0xB2)}}}));

    h = in_run(Kind::request);
    h.src = master;
    h.dst = member;
    h.request = 9;
    h.answered_below = 8;
    h.type = 16;
    h.aux = 0x1122334455667788;
    const double values[] = {1.0, -2.5, 0.0, 4.0, 5.0, -0.0};
    Writer w;
    w.array(4).u64(300).f64(2.0).boolean(true).tensor(values, 2, 3);
    golden("request", h, w.take());
    h.body_bytes = 2 * chunk_bytes + 3;
    h.body_offset = 2 * chunk_bytes;
    golden("request_last_chunk", h, Bytes{1, 2, 3});
    h.body_bytes = h.body_offset = 0;
    h.flags = flag::urgent;
    golden("request_empty_urgent", h);

    h = in_run(Kind::reply);
    h.src = member;
    h.dst = master;
    h.request = 9;
    h.type = 16;
    const std::uint32_t words[] = {1, 0xfffffffe};
    w = Writer();
    w.array(2).u32s(words).strs(std::vector<std::string>{"age", "h\xC3\xB6he"});
    golden("reply", h, w.take());
    h.flags = flag::error;
    golden("reply_error", h, encode(Ending{Errc::unknown_message, "no handler for type 16"}));

    h = in_run(Kind::error);
    h.dst = member;
    h.request = 9;
    h.type = 16;
    h.aux = static_cast<std::uint64_t>(Errc::unreachable);
    golden("error", h, encode_sentence("member-0 is not connected"));

    h = {};
    h.kind = Kind::mark;
    h.src = member;
    h.aux = 0x1F2E3D4C5B6A7988;
    golden("mark", h);
    h.kind = Kind::window;
    h.src = {};
    h.dst = member;
    golden("window", h);

    h = {};
    h.kind = Kind::enrol;
    h.request = 1;
    EnrolRequest enrol{"member-0", {}, 1'900'000'000, "0.1.0", {{1, {0xAA}}, {4, Bytes(32, 0x5A)}}};
    for (std::size_t i = 0; i < 32; ++i) enrol.key[i] = static_cast<std::uint8_t>(i);
    golden("enrol", h, encode(enrol));
    h.flags = flag::answer;
    golden("enrol_answer", h,
           encode(EnrolAnswer{
               "member-0", "role=member rank=0", 1'900'000'000, 1'950'000'000, "0.1.0", {}}));

    h = in_run(Kind::peer_up);
    h.dst = master;
    h.aux = member.value;
    golden("peer_up", h, encode(PeerUp{"member-0", "member", 0, 1700000000000}));
    h.kind = Kind::peer_suspect;
    golden("peer_suspect", h, encode(PeerSuspect{"member-0", Errc::stalled, 300100}));
    h.kind = Kind::peer_down;
    golden("peer_down", h, encode(PeerDown{"member-0", Errc::peer_lost, 10250}));

    h = in_run(Kind::credit);
    h.src = member;
    h.dst = master;
    h.request = 9;
    h.aux = 9 << 20;
    golden("credit", h);
    h.flags = flag::answer;
    h.aux = credit_all;
    golden("credit_all", h);

    h = {};
    h.kind = Kind::bulk;
    h.src = member;
    h.request = 0x0123456789ABCDEF;
    h.aux = 17;
    golden("bulk", h);
    h = {};
    h.kind = Kind::bulk;
    h.flags = flag::answer;
    h.dst = member;
    h.aux = 17;
    golden("bulk_answer", h);

    h = {};
    h.kind = Kind::ping;
    h.flags = flag::busy;
    h.src = member;
    h.request = 6;
    h.aux = 0x2A;
    golden("ping_busy", h);

    h = in_run(Kind::query);
    h.term = 0;
    h.src = member;
    h.dst = master;
    h.request = 4;
    h.type = static_cast<std::uint16_t>(Question::log);
    golden("query", h, encode_from(65536));
    h.kind = Kind::answer;
    h.src = master;
    h.dst = member;
    golden("answer", h, encode(LogAnswer{65536, 65550, true, "2026 a line\n"}));
    h.flags = flag::error;
    golden("answer_error", h, encode(Ending{Errc::refused, "member-0 does not share its log"}));

    // sealing (section 14); what is sealed is any bytes here
    SealParty one{"master", "master", {}, {}};
    one.key.fill(0x11);
    one.session.fill(0x12);
    SealParty other{"member-0", "member-0", {}, {}};
    other.key.fill(0x21);
    other.session.fill(0x22);
    h = in_run(Kind::open);
    h.src = master;
    golden("open_sealed", h,
           encode(Open{"master",
                       {{"member-0", "member", 0}},
                       "",
                       {{seal_extension, encode(SealOffer{one, true, 1})}}}));
    h = in_run(Kind::join);
    h.src = member;
    h.dst = master;
    golden("join_sealed", h,
           encode(Join{"member-0",
                       "member",
                       0,
                       1700000000000,
                       {},
                       "0.1.0",
                       Errc::ok,
                       "",
                       {{seal_extension, encode(SealAccept{other, 1, 1, 2, Bytes(51, 0x33)})}}}));
    h = in_run(Kind::query);
    h.term = 0;
    h.src = member;
    h.dst = master;
    h.request = 9;
    h.type = static_cast<std::uint16_t>(Question::terms);
    golden("query_terms", h, encode(TermsQuery{other, 1, 3, 1}));
    h.kind = Kind::answer;
    h.src = master;
    h.dst = member;
    h.flags = flag::sealed;
    golden("answer_sealed", h, encode(SealedAnswer{1, Bytes(40, 0x44)}));
    h.flags = 0;
    h.type = static_cast<std::uint16_t>(Question::key);
    golden("answer_key", h, encode(KeyAnswer{one, true}));
    h.kind = Kind::query;
    h.src = member;
    h.dst = master;
    h.flags = flag::sealed;
    h.type = static_cast<std::uint16_t>(Question::log);
    golden("query_sealed", h, encode(SealedQuery{other, 2, 5, Bytes(18, 0x55)}));
}
