// Control bodies: round trips, and a seeded fuzz loop over random and mutated bodies. Nothing may
// crash, and what is accepted means the same after it was encoded again.

#include <functional>
#include <optional>
#include <set>
#include <string>

#include "base/rng.hpp"
#include "bus/wire/control.hpp"
#include "bus/wire/questions.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

Hello a_hello() {
    return {
        "member-2",           "member", 2, 17, 0xDEADBEEFCAFEF00D, "0.1.0", {"chunks", "credit"},
        {{1, {7}}, {300, {}}}};
}
Open an_open() {
    return {"master",
            {{"member-0", "member", 0}, {"member-1", "member", 1}},
            "[run]\nseed = 1\n",
            {{2, {1, 2, 3}}}};
}
Join a_join() {
    Join join{"member-0",           "member",           0,         3, {}, "0.1.0",
              Errc::config_differs, "run.seed differs", {{3, {9}}}};
    join.config_hash[5] = 9;
    return join;
}

RunRow a_run_row() {
    RunRow row;
    row.run.bytes.fill(7);
    row.state = RunState::failed;
    row.code = Errc::owner_lost;
    row.reason = "server, which drove run 07070707, is gone";
    row.owner = "server";
    row.role = "serverapp";
    row.open = true;
    row.participants = 2;
    row.names = {"n-0", "n-1"};
    row.created_ms = 1'700'000'000'000;
    row.started_ms = row.created_ms + 1;
    row.finished_ms = row.created_ms + 2;
    row.messages = 12;
    row.bytes = 3456;
    row.term = 2;
    return row;
}
NodeRow a_node_row() {
    return {"member-2", "member", 2, NodeState::suspect, "0.1.0", {"apps"}, 1, 2, 3, 4, 5};
}

/// Decodes; when accepted, encodes again: the result, or nothing.
using Again = std::function<std::optional<Bytes>(std::span<const std::uint8_t>)>;

template <class Decode>
Again again(Decode decode) {
    return [decode](std::span<const std::uint8_t> body) -> std::optional<Bytes> {
        const auto value = decode(body);
        if (!value) return std::nullopt;
        return encode(*value);
    };
}

struct Body {
    const char* name;
    Bytes bytes;
    Again decode_and_encode;
};

std::vector<Body> all_bodies() {
    return {
        {"HELLO", encode(a_hello()), again(decode_hello)},
        {"WELCOME", encode(Welcome{"0.1.0", 1000, 3000, 10000, 2 << 20, 1 << 30, {{5, {}}}}),
         again(decode_welcome)},
        {"OPEN", encode(an_open()), again(decode_open)},
        {"JOIN", encode(a_join()), again(decode_join)},
        {"CLOSE", encode(Ending{Errc::diverged, "loss is NaN in step 3"}), again(decode_ending)},
        {"PEER_UP", encode(PeerUp{"member-0", "member", 0, 3}), again(decode_peer_up)},
        {"PEER_SUSPECT", encode(PeerSuspect{"member-0", Errc::peer_lost, 3100}),
         again(decode_peer_suspect)},
        {"PEER_DOWN", encode(PeerDown{"member-0", Errc::peer_lost, 10000}),
         again(decode_peer_down)},
    };
}

/// Of QUERY and ANSWER: the header says which question it is, so that some look alike.
std::vector<Body> question_bodies() {
    return {
        {"runs", encode(RunsQuery{"running", 20}), again(decode_runs_query)},
        {"note", encode(NoteQuery{RunState::failed, Errc::io, "no room"}),
         again(decode_note_query)},
        {"run rows", encode(std::span<const RunRow>(std::vector{a_run_row(), a_run_row()})),
         [](std::span<const std::uint8_t> body) -> std::optional<Bytes> {
             const auto rows = decode_run_rows(body);
             if (!rows) return std::nullopt;
             return encode(std::span<const RunRow>(*rows));
         }},
        {"node rows", encode(std::span<const NodeRow>(std::vector{a_node_row()})),
         [](std::span<const std::uint8_t> body) -> std::optional<Bytes> {
             const auto rows = decode_node_rows(body);
             if (!rows) return std::nullopt;
             return encode(std::span<const NodeRow>(*rows));
         }},
        {"status", encode(RunStatus{"training", 3, 40, 1, 2, 0.5}), again(decode_status)},
        {"metrics",
         encode(MetricsAnswer{9, {{3, 1, "train", 0.5, {{"auc", 0.75}, {"accuracy", 0.5}}}}}),
         again(decode_metrics)},
        {"timing",
         encode(TimingAnswer{9, {{3, 1, 5, 2, {{0, 1, 2}, {1, 1, 3}}}}, {{8, 1, 2}, {9, 4, 1}}}),
         again(decode_timing)},
        {"load", encode(LoadAnswer{1, 2, 3, 4}), again(decode_load)},
        {"log", encode(LogAnswer{10, 20, false, "a line\n"}), again(decode_log)},
        {"submit", encode(SubmitQuery{"run.seed = 1\n", "credit"}), again(decode_submit)},
        {"submitted", encode(SubmitAnswer{RunState::pending, 2}), again(decode_submit_answer)},
    };
}

std::vector<Body> every_body() {
    std::vector<Body> bodies = all_bodies();
    for (Body& body : question_bodies()) bodies.push_back(std::move(body));
    return bodies;
}

}  // namespace

TEST_CASE("control bodies survive the wire") {
    const auto hello = decode_hello(encode(a_hello()));
    REQUIRE(hello);
    CHECK(hello->name == "member-2");
    CHECK(hello->role == "member");
    CHECK(hello->rank == 2);
    CHECK(hello->incarnation == 17);
    CHECK(hello->instance == 0xDEADBEEFCAFEF00D);
    CHECK(hello->version == "0.1.0");
    CHECK(hello->features == std::vector<std::string>{"chunks", "credit"});

    const auto welcome = decode_welcome(encode(Welcome{"v", 1, 2, 3, 4, 5}));
    REQUIRE(welcome);
    CHECK(welcome->heartbeat_ms == 1);
    CHECK(welcome->suspect_ms == 2);
    CHECK(welcome->lost_ms == 3);
    CHECK(welcome->frame_bytes == 4);
    CHECK(welcome->message_bytes == 5);

    const auto open = decode_open(encode(an_open()));
    REQUIRE(open);
    CHECK(open->owner == "master");
    CHECK(open->participants == an_open().participants);
    CHECK(open->agreed == an_open().agreed);

    const auto join = decode_join(encode(a_join()));
    REQUIRE(join);
    CHECK(join->config_hash == a_join().config_hash);
    CHECK(join->code == Errc::config_differs);
    CHECK(join->sentence == "run.seed differs");
    CHECK(join->rank == 0);
    CHECK(join->incarnation == 3);

    const auto ending = decode_ending(encode(Ending{Errc::diverged, "x"}));
    REQUIRE(ending);
    CHECK(ending->code == Errc::diverged);

    const auto up = decode_peer_up(encode(PeerUp{"n", "r", -1, 5}));
    REQUIRE(up);
    CHECK(up->rank == -1);
    CHECK(up->incarnation == 5);
    const auto suspect = decode_peer_suspect(encode(PeerSuspect{"n", Errc::stalled, 6}));
    REQUIRE(suspect);
    CHECK(suspect->code == Errc::stalled);
    CHECK(suspect->silent_ms == 6);
    const auto down = decode_peer_down(encode(PeerDown{"n", Errc::superseded, 7}));
    REQUIRE(down);
    CHECK(down->code == Errc::superseded);
    CHECK(down->silent_ms == 7);

    CHECK(decode_sentence(encode_sentence("why")) == "why");
    CHECK(decode_sentence({}).empty());
    const Bytes garbage{0xff, 1};
    CHECK(decode_sentence(garbage).empty());
}

TEST_CASE("extensions come back, and a body without them is malformed") {
    CHECK(decode_hello(encode(a_hello()))->extensions == a_hello().extensions);
    CHECK(decode_open(encode(an_open()))->extensions == an_open().extensions);
    CHECK(decode_join(encode(a_join()))->extensions == a_join().extensions);
    const Extensions some{{1, {}}, {2, Bytes(1000, 3)}, {65535, {1}}};
    CHECK(decode_welcome(encode(Welcome{"v", 1, 2, 3, 4, 5, some}))->extensions == some);
    Writer w;
    w.array(6).str("v").u64(1).u64(2).u64(3).u64(4).u64(5);
    CHECK_FALSE(decode_welcome(w.take()));
}

TEST_CASE("extensions are bounded, in rising order and bytes") {
    const auto accepts = [](auto&& put) {
        Writer w;
        w.array(7).str("v").u64(1).u64(2).u64(3).u64(4).u64(5);
        put(w);
        return bool(decode_welcome(w.take()));
    };
    const auto entries = [](std::size_t n, std::size_t bytes) {
        return [=](Writer& w) {
            w.map(n);
            for (std::size_t i = 1; i <= n; ++i) w.u64(i).bin(Bytes(bytes));
        };
    };
    CHECK(accepts(entries(0, 0)));
    CHECK(accepts(entries(extensions_max, extension_bytes_max / extensions_max)));
    CHECK_FALSE(accepts(entries(extensions_max, extension_bytes_max / extensions_max + 1)));
    CHECK_FALSE(accepts(entries(extensions_max + 1, 0)));
    CHECK(accepts(entries(1, extension_bytes_max)));
    CHECK_FALSE(accepts(entries(1, extension_bytes_max + 1)));
    CHECK_FALSE(accepts([](Writer& w) { w.map(1).u64(0).bin({}); }));
    CHECK_FALSE(accepts([](Writer& w) { w.map(1).u64(65536).bin({}); }));
    CHECK_FALSE(accepts([](Writer& w) { w.map(2).u64(2).bin({}).u64(1).bin({}); }));
    CHECK_FALSE(accepts([](Writer& w) { w.map(2).u64(1).bin({}).u64(1).bin({}); }));
    CHECK_FALSE(accepts([](Writer& w) { w.map(1).u64(1).str(""); }));
    CHECK_FALSE(accepts([](Writer& w) { w.map(1).str("1").bin({}); }));
    CHECK_FALSE(accepts([](Writer& w) { w.array(0); }));

    CHECK(within_limits({}));
    CHECK(within_limits({{1, Bytes(extension_bytes_max)}}));
    CHECK_FALSE(within_limits({{1, Bytes(extension_bytes_max)}, {2, {1}}}));
    CHECK_FALSE(within_limits({{0, {}}}));
}

TEST_CASE("an odd extension may be ignored, an even one must be understood") {
    const Extensions both{{3, {}}, {4, {}}, {5, {}}, {6, {}}};
    CHECK(first_not_understood({}, {}) == std::nullopt);
    CHECK(first_not_understood({{1, {}}, {65535, {}}}, {}) == std::nullopt);
    CHECK(first_not_understood(both, {}) == 4);
    CHECK(first_not_understood(both, {4}) == 6);
    CHECK(first_not_understood(both, {4, 6}) == std::nullopt);
}

TEST_CASE("names that are no node names are refused where they stand") {
    for (const std::string name : {"", ".x", "-x", "a b", "a/b", "a\n", "\xC3\xA9"}) {
        INFO(name);
        Hello hello = a_hello();
        hello.name = name;
        CHECK_FALSE(decode_hello(encode(hello)));
        Open open = an_open();
        open.owner = name;
        CHECK_FALSE(decode_open(encode(open)));
        open = an_open();
        open.participants[1].name = name;
        CHECK_FALSE(decode_open(encode(open)));
        Join join = a_join();
        join.name = name;
        CHECK_FALSE(decode_join(encode(join)));
        CHECK_FALSE(decode_peer_up(encode(PeerUp{name, "r", 0, 0})));
        CHECK_FALSE(decode_peer_suspect(encode(PeerSuspect{name, Errc::stalled, 0})));
        CHECK_FALSE(decode_peer_down(encode(PeerDown{name, Errc::ok, 0})));
    }
    Hello hello = a_hello();
    hello.name = std::string(64, 'a');
    CHECK(decode_hello(encode(hello)));
    hello.name = std::string(65, 'a');
    CHECK_FALSE(decode_hello(encode(hello)));
}

TEST_CASE("limits of control bodies") {
    Hello hello = a_hello();
    hello.role = std::string(17, 'r');
    CHECK_FALSE(decode_hello(encode(hello)));
    hello = a_hello();
    hello.version = std::string(65, 'v');
    CHECK_FALSE(decode_hello(encode(hello)));

    hello = a_hello();
    hello.features.assign(features_max, std::string(feature_bytes_max, 'f'));
    CHECK(decode_hello(encode(hello))->features == hello.features);
    hello.features[3] += 'f';
    CHECK_FALSE(decode_hello(encode(hello)));
    hello.features.assign(features_max + 1, "f");
    CHECK_FALSE(decode_hello(encode(hello)));

    Open open = an_open();
    open.participants.assign(participants_max, {"member-0", "member", 0});
    CHECK(decode_open(encode(open)));
    open.participants.push_back({"member-0", "member", 0});
    CHECK_FALSE(decode_open(encode(open)));
    open = an_open();
    open.agreed = std::string(control_body_bytes_max, 'a');
    CHECK_FALSE(decode_open(encode(open)));

    Writer w;  // a code that is no code
    w.array(2).u64(65536).str("");
    const Bytes body = w.take();
    CHECK_FALSE(decode_ending(body));
    w = Writer();
    w.array(9).str("a").str("b").i64(0).u64(0).bin(Bytes(31)).str("v").u64(0).str("").map(0);
    const Bytes short_hash = w.take();
    CHECK_FALSE(decode_join(short_hash));
}

TEST_CASE("a sentence is cut where it is too long, and its receivers have it all the same") {
    const std::string just(sentence_bytes_max, 'a');
    const std::string before(sentence_bytes_max - 1, 'a');
    const auto cut = [](const std::string& text) { return std::string(cut_sentence(text)); };
    CHECK(cut(just) == just);
    CHECK(cut(just + "b") == just);
    CHECK(cut(before + "\xC3\xA9") == before);  // not half an e with an accent
    CHECK(cut(before.substr(1) + "\xC3\xA9!") == before.substr(1) + "\xC3\xA9");
    for (std::size_t shift = 1; shift <= 3; ++shift)
        CHECK(cut(before.substr(shift - 1) + "\xF0\x9F\x9A\x8C") == before.substr(shift - 1));
    CHECK(cut(std::string(9000, '\x80')).size() == sentence_bytes_max);  // that is no UTF-8

    for (const std::size_t bytes : {5'000u, 20'000u, 3u << 20}) {
        INFO(bytes);
        const std::string text(bytes, 'a');
        CHECK(decode_ending(encode(Ending{Errc::handler_failed, text}))->sentence == just);
        CHECK(decode_sentence(encode_sentence(text)) == just);
        Join join = a_join();
        join.sentence = text;
        CHECK(decode_join(encode(join))->sentence == just);
        CHECK(decode_note_query(encode(NoteQuery{RunState::failed, Errc::io, text}))->sentence ==
              just);
        RunRow row = a_run_row();
        row.reason = text;
        const auto rows = decode_run_rows(encode(std::span<const RunRow>(std::vector{row, row})));
        REQUIRE(rows);
        REQUIRE(rows->size() == 2);
        CHECK(rows->at(1).reason == just);
    }
    Writer w;  // of a peer that does not cut
    w.array(2).u64(1).str(std::string(20'000, 'a'));
    CHECK(decode_ending(w.take())->sentence == just);
}

TEST_CASE("a row that takes the room of many does not hide the others") {
    std::vector<NodeRow> nodes{a_node_row(), a_node_row(), a_node_row()};
    nodes[0].name = "0";
    nodes[0].features.assign(65, std::string(4000, 'f'));
    auto left = decode_node_rows(encode(std::span<const NodeRow>(nodes)));
    REQUIRE(left);
    CHECK(left->size() == 2);
    nodes[0].features.assign(10, std::string(4000, 'f'));
    left = decode_node_rows(encode(std::span<const NodeRow>(nodes)));
    REQUIRE(left);
    CHECK(left->size() == 2);

    RunRow run = a_run_row();  // the largest that there is fits
    run.reason.assign(sentence_bytes_max, 'r');
    run.names.assign(row_names_max, std::string(64, 'n'));
    std::vector<RunRow> runs(rows_max, run);
    const Bytes body = encode(std::span<const RunRow>(runs));
    CHECK(body.size() <= answer_body_bytes_max);
    CHECK(decode_run_rows(body)->size() > 10);
    runs.assign(rows_max + 1, a_run_row());
    CHECK(decode_run_rows(encode(std::span<const RunRow>(runs)))->size() == rows_max);
}

TEST_CASE("a body of one kind is not one of another") {
    const auto bodies = all_bodies();
    for (const Body& a : bodies)
        for (const Body& b : bodies) {
            if (a.name == b.name) continue;
            // these two have one shape on purpose: what is wrong, and since when
            const std::set<std::string> pair{a.name, b.name};
            if (pair == std::set<std::string>{"PEER_SUSPECT", "PEER_DOWN"}) continue;
            INFO(a.name << " read as " << b.name);
            CHECK_FALSE(b.decode_and_encode(a.bytes));
        }
}

TEST_CASE("fuzz: whatever is accepted means the same when it was encoded again") {
    Rng rng(20260203);
    std::size_t accepted = 0;
    for (const Body& body : every_body()) {
        REQUIRE(body.decode_and_encode(body.bytes) == body.bytes);
        for (int round = 0; round < 3000; ++round) {
            Bytes bytes = body.bytes;
            const std::uint64_t edits = 1 + rng.below(3);
            for (std::uint64_t i = 0; i < edits; ++i) {
                const auto at = static_cast<std::ptrdiff_t>(rng.below(bytes.size()));
                const auto value = static_cast<std::uint8_t>(rng.next());
                switch (rng.below(5)) {
                    case 0:
                        bytes[static_cast<std::size_t>(at)] = value;
                        break;
                    case 1:
                        bytes[static_cast<std::size_t>(at)] ^=
                            static_cast<std::uint8_t>(1u << rng.below(8));
                        break;
                    case 2:
                        bytes.insert(bytes.begin() + at, value);
                        break;
                    case 3:
                        if (bytes.size() > 1) bytes.erase(bytes.begin() + at);
                        break;
                    default:
                        bytes.resize(static_cast<std::size_t>(at) + 1);
                        break;
                }
            }
            const auto once = body.decode_and_encode(bytes);
            if (!once) continue;
            ++accepted;
            const auto twice = body.decode_and_encode(*once);
            REQUIRE(twice.has_value());
            REQUIRE(*twice == *once);
        }
    }
    CHECK(accepted > 100);  // the loop reaches what lies behind the checks
    const auto bodies = every_body();
    for (int round = 0; round < 20000; ++round) {
        Bytes bytes(rng.below(64));
        for (auto& b : bytes) b = static_cast<std::uint8_t>(rng.next());
        // half of them begin as an array of the right length
        const Body& body = bodies[rng.below(bodies.size())];
        if (!bytes.empty() && rng.below(2) == 0) bytes[0] = body.bytes[0];
        if (const auto once = body.decode_and_encode(bytes))
            REQUIRE(body.decode_and_encode(*once) == once);
        (void)decode_sentence(bytes);
    }
}

TEST_CASE("an open run is one entry of its own, and no node is called so") {
    const Open to_all{"server", {any_node}, "agreed"};
    const auto open = decode_open(encode(to_all));
    REQUIRE(open);
    CHECK(open->to_everybody());
    CHECK_FALSE(decode_open(encode(Open{"server", {any_node, {"n-0", "member", 0}}, ""})));
    CHECK_FALSE(decode_open(encode(Open{"server", {{"*", "member", 0}}, ""})));
    CHECK_FALSE(decode_open(encode(Open{"server", {{"*", "master", -1}}, ""})));
    CHECK_FALSE(decode_open(encode(Open{"*", {any_node}, ""})));
    CHECK_FALSE(decode_open(encode(an_open()))->to_everybody());
}

TEST_CASE("rows mean the same after the wire, and those that do not fit are left out") {
    std::vector<RunRow> rows(3, a_run_row());
    rows[1].state = RunState::running;
    const auto same = decode_run_rows(encode(std::span<const RunRow>(rows)));
    REQUIRE(same);
    CHECK(*same == rows);
    const std::vector<NodeRow> nodes{a_node_row()};
    const auto node = decode_node_rows(encode(std::span<const NodeRow>(nodes)));
    REQUIRE(node);
    CHECK(*node == nodes);

    rows.assign(rows_max + 5, a_run_row());
    const Bytes many = encode(std::span<const RunRow>(rows));
    CHECK(many.size() <= answer_body_bytes_max);
    CHECK(decode_run_rows(many)->size() == rows_max);
    for (RunRow& row : rows) row.names.assign(row_names_max, std::string(64, 'n'));
    const Bytes wide = encode(std::span<const RunRow>(rows));
    CHECK(wide.size() <= answer_body_bytes_max);
    CHECK_FALSE(decode_run_rows(wide)->empty());
}

TEST_CASE("an answer has no more rows than the limit, whatever it claims") {
    Writer w;
    w.array(1).array(rows_max + 1);
    for (std::size_t i = 0; i <= rows_max; ++i) w.array(0);
    const Bytes rows = w.take();
    CHECK(decode_run_rows(rows).error().sentence.find("too many rows") != std::string::npos);
    CHECK(decode_node_rows(rows).error().sentence.find("too many rows") != std::string::npos);
    w = Writer();
    w.array(2).u64(9).array(metric_entries_max + 1);
    for (std::size_t i = 0; i <= metric_entries_max; ++i) w.array(0);
    CHECK(decode_metrics(w.take()).error().sentence.find("too many entries") != std::string::npos);
}

TEST_CASE("a prefix of a run is made of hexadecimal digits") {
    CHECK(*decode_run_query(encode_run_query("0f")) == "0f");
    CHECK_FALSE(decode_run_query(encode_run_query("xyz")));
    CHECK_FALSE(decode_run_query(encode_run_query(std::string(33, 'a'))));
}
