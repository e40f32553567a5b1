// Peers that break the protocol: cut, counted, and kept out for longer each time; and what one key
// may have of a broker in all.

#include "broker_fixture.hpp"
#include "bus/core/conduct.hpp"
#include "bus/wire/frame.hpp"
#include "bus/wire/questions.hpp"
#include "keyed_broker.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

constexpr auto borne = static_cast<int>(breaches_borne.most);

/// As many frames from there as may not be borne any more, each with a kind that no node sends.
void break_protocol(Keyed& k, const std::string& name) {
    for (int i = 0; i <= borne; ++i) {
        Header header;
        header.kind = Kind::welcome;
        header.src = node_id_of(name);
        k.frame(k.conn(name), header, {});
    }
}

bool is_closed(const Keyed& k, ConnId conn) {
    return std::find(k.router.closed.begin(), k.router.closed.end(), conn) != k.router.closed.end();
}

/// On a new connection with that key. True: it was welcomed.
bool comes_again(Keyed& k, const std::string& connection, const std::string& name, char letter,
                 const std::string& role, std::int64_t rank) {
    k.router.frames.clear();
    k.key(connection, name, letter);
    k.hello_on(connection, Keyed::as(name, role, rank));
    REQUIRE(!k.router.frames.empty());
    const Header& answer = k.router.frames.front().header;
    if (answer.kind == Kind::welcome) return true;
    CHECK(answer.kind == Kind::error);
    CHECK(static_cast<Errc>(answer.aux) == Errc::held_off);
    return false;
}

/// Connections below 10 come from one address, of the others none is known.
struct Addressed final : BrokerTransport {
    SendResult send(ConnId, Frame& frame) override {
        Frame taken = std::move(frame);
        Header header;
        REQUIRE(decode(taken.header.bytes(), header) == HeaderFault::none);
        last = header;
        return SendResult::ok;
    }
    void close(ConnId conn) override { closed.insert(conn); }
    std::string address_of(ConnId conn) override { return conn < 10 ? "192.0.2.7" : ""; }
    std::set<ConnId> closed;
    Header last;
};

}  // namespace

TEST_CASE("some breaches are borne, and gather again", "[conduct]") {
    Conduct conduct;
    TimePoint now{};
    for (int i = 0; i < borne; ++i) CHECK_FALSE(conduct.breach("a", now));
    now += seconds(2);
    CHECK_FALSE(conduct.breach("a", now));
    CHECK(conduct.held_off("a", now) == Duration{});
    CHECK(conduct.breach("a", now));
    CHECK(conduct.held_off("a", now) == first_hold_off);
    CHECK(conduct.held_off("b", now) == Duration{});
}

TEST_CASE("each hold-off is twice the one before, up to a bound, and forgiven later", "[conduct]") {
    Conduct conduct;
    TimePoint now{};
    Duration expected = first_hold_off;
    for (int times = 1; times <= 14; ++times) {
        while (!conduct.breach("a", now)) {
        }
        CHECK(conduct.held_off("a", now) == expected);
        CHECK(conduct.cuts("a") == static_cast<std::uint64_t>(times));
        now += expected;
        CHECK(conduct.held_off("a", now) == Duration{});
        expected = std::min<Duration>(2 * expected, longest_hold_off);
    }
    conduct.forget(now + forgiven_after);
    CHECK(conduct.cuts("a") == 14);
    conduct.forget(now + forgiven_after + seconds(1));
    CHECK(conduct.cuts("a") == 0);
    CHECK(conduct.empty());
}

TEST_CASE("conduct of any number of keys takes a bounded room", "[conduct]") {
    Conduct conduct;
    for (std::size_t i = 0; i < 3 * conduct_entries_max; ++i)
        (void)conduct.breach(std::to_string(i), TimePoint{} + milliseconds(i));
    CHECK(conduct.rows(TimePoint{}).size() == conduct_entries_max);
}

TEST_CASE("what is held against keys outlives the broker, and no longer than it should",
          "[conduct]") {
    Conduct before;
    TimePoint now{};
    (void)before.breach("b", now);
    now += std::chrono::minutes(30);
    for (int times = 0; times < 5; ++times) {
        now += before.held_off("a", now);
        while (!before.breach("a", now)) {
        }
    }
    REQUIRE(before.held_off("a", now) == 16 * first_hold_off);

    SECTION("at once") {
        Conduct after;
        after.restore(before.rows(now + seconds(5)), now + seconds(5));
        CHECK(after.held_off("a", now + seconds(5)) == 11 * first_hold_off);
        CHECK(after.cuts("a") == 5);
        CHECK(after.rows(now).size() == 2);
        // what is forgiven after an hour is so an hour after it was done
        after.forget(now + std::chrono::minutes(31));
        CHECK(after.rows(now).size() == 1);
        const TimePoint later = now + seconds(20);
        while (!after.breach("a", later)) {
        }
        CHECK(after.held_off("a", later) == 32 * first_hold_off);
    }
    SECTION("what somebody has written there keeps nobody out for ever") {
        Conduct after;
        const std::vector<ConductRow> odd{
            {"a", 1, UINT64_MAX, std::chrono::hours(10'000), -seconds(9)}};
        after.restore(odd, now);
        CHECK(after.held_off("a", now) == longest_hold_off);
        after.forget(now + longest_hold_off + forgiven_after + seconds(1));
        CHECK(after.empty());
    }
    SECTION("of any number of lines a bounded room is taken") {
        std::vector<ConductRow> many;
        for (std::size_t i = 0; i < 3 * conduct_entries_max; ++i)
            many.push_back({std::to_string(i), 1, 1, seconds(1), {}});
        Conduct after;
        after.restore(many, now);
        CHECK(after.rows(now).size() == conduct_entries_max);
    }
}

TEST_CASE("a new broker keeps out whom the one before it held off", "[conduct]") {
    Keyed k;
    k.all_enter();
    break_protocol(k, "member-0");
    k.restart();
    CHECK_FALSE(comes_again(k, "second", "member-0", 'A', "member", 0));
    CHECK(comes_again(k, "member-1 again", "member-1", 'B', "member", 1));
    k.tick(first_hold_off + milliseconds(10));
    CHECK(comes_again(k, "third", "member-0", 'A', "member", 0));
}

TEST_CASE("who sends PING without end is cut, and nobody who beats as others do", "[conduct]") {
    Keyed k;
    k.all_enter();
    Header ping;
    ping.kind = Kind::ping;
    ping.src = node_id_of("member-1");
    for (int i = 0; i < 1000; ++i) {
        k.tick(milliseconds(50));
        k.frame(k.conn("member-1"), ping, {});
    }
    CHECK(k.core->counters().cuts == 0);
    k.router.frames.clear();
    k.enter("member-0", 'A', "member", 0);  // (which was silent meanwhile)
    ping.src = node_id_of("member-0");
    k.router.frames.clear();
    for (int i = 0; i < static_cast<int>(pings_at_once) + borne; ++i)
        k.frame(k.conn("member-0"), ping, {});
    CHECK(k.core->counters().cuts == 0);
    CHECK(k.router.frames.size() == static_cast<std::size_t>(pings_at_once));
    k.frame(k.conn("member-0"), ping, {});
    CHECK(is_closed(k, k.conn("member-0")));
}

TEST_CASE("who is held off is cut at the first frame that is no HELLO", "[conduct]") {
    Keyed k;
    k.all_enter();
    break_protocol(k, "member-0");
    k.key("second", "member-0", 'A');
    Header ping;
    ping.kind = Kind::ping;
    ping.src = node_id_of("member-0");
    k.frame(k.conn("second"), ping, {});
    CHECK(is_closed(k, k.conn("second")));
    // of another key it is only told to say HELLO
    k.key("third", "member-1", 'B');
    k.frame(k.conn("third"), ping, {});
    CHECK_FALSE(is_closed(k, k.conn("third")));
}

TEST_CASE("who never says HELLO is heard no further than what may have been under way",
          "[conduct]") {
    Keyed k;
    k.all_enter();
    k.key("second", "member-0", 'A');
    Header request;
    request.kind = Kind::request;
    request.src = node_id_of("member-0");
    request.dst = node_id_of("master");
    request.run = run_of(1);
    request.request = 1;
    const Bytes body(512u << 10, 1);
    const auto window = static_cast<int>(hop_window_bytes_max / body.size());
    for (int i = 0; i < window; ++i) k.frame(k.conn("second"), request, body);
    CHECK_FALSE(is_closed(k, k.conn("second")));
    CHECK(k.core->counters().breaches == 0);
    for (int i = 0; i < 2 * borne; ++i) k.frame(k.conn("second"), request, body);
    CHECK(is_closed(k, k.conn("second")));
}

TEST_CASE("a key that breaks the protocol is cut and kept out for longer each time", "[conduct]") {
    Keyed k;
    k.all_enter();
    Duration expected = first_hold_off;
    std::string connection = "member-0";
    for (int times = 1; times <= 4; ++times) {
        const ConnId conn = k.conn(connection);
        for (int i = 0; i <= borne; ++i) {
            Header header;
            header.kind = Kind::welcome;
            header.src = node_id_of("member-0");
            CHECK_FALSE(is_closed(k, conn));
            k.frame(conn, header, {});
        }
        CHECK(is_closed(k, conn));
        CHECK(k.core->counters().cuts == static_cast<std::uint64_t>(times));
        // another connection of it is no way around, nor is its other key
        CHECK_FALSE(comes_again(k, "second" + std::to_string(times), "member-0", 'Z', "member", 0));
        k.tick(expected - milliseconds(10));
        CHECK_FALSE(comes_again(k, "third" + std::to_string(times), "member-0", 'A', "member", 0));
        k.tick(milliseconds(20));
        connection = "fourth" + std::to_string(times);
        CHECK(comes_again(k, connection, "member-0", 'A', "member", 0));
        expected *= 2;
    }
    CHECK(std::ranges::count_if(k.lines, [](const std::string& line) {
              return line.find("cut and held off name=member-0 key=") != std::string::npos;
          }) == 4);
    // and nobody else has noticed
    CHECK(comes_again(k, "member-1", "member-1", 'B', "member", 1));
}

TEST_CASE("who is held off is closed soon, and hears why", "[conduct]") {
    Keyed k;
    k.all_enter();
    break_protocol(k, "member-0");
    CHECK_FALSE(comes_again(k, "second", "member-0", 'A', "member", 0));
    k.tick(milliseconds(500));
    CHECK(is_closed(k, k.conn("second")));
}

TEST_CASE("who is cut does not come back as the process that waits for its name", "[conduct]") {
    Keyed k;
    k.all_enter();
    const auto asks_for_the_name = [&](const std::string& connection) {
        Hello younger = Keyed::as("member-0", "member", 0, {}, 8);
        younger.incarnation = 2;
        k.hello_on(connection, younger);
        (void)k.expect(Kind::ping).to("member-0");
    };
    SECTION("on the connection that is cut") {
        asks_for_the_name("member-0");
    }
    SECTION("on another connection of the key") {
        k.key("second", "member-0", 'Z');
        asks_for_the_name("second");
    }
    k.router.frames.clear();
    break_protocol(k, "member-0");
    CHECK(k.core->counters().cuts == 1);
    CHECK(is_closed(k, k.conn("member-0")));
    k.tick(milliseconds(900));
    CHECK(std::ranges::none_of(
        k.router.frames, [](const SentFrame& sent) { return sent.header.kind == Kind::welcome; }));
    CHECK(k.core->conduct().held_off("member-0", k.now) > Duration{});
    // nothing more is heard of what was cut; a connection that was forgotten since is cut anew, at
    // its first frame
    const std::uint64_t breaches = k.core->counters().breaches;
    break_protocol(k, "member-0");
    CHECK(k.core->counters().breaches <= breaches + 1);
    k.tick(milliseconds(200));
    CHECK(comes_again(k, "third", "member-0", 'A', "member", 0));
}

TEST_CASE("frames that are none, before any HELLO, count against the key of the connection",
          "[conduct]") {
    Keyed k;
    k.key("scanner", "bob", 'D');
    for (int i = 0; i <= borne; ++i)
        k.core->on_frame(k.conn("scanner"), Payload::copy_of(Bytes{1, 2, 3}), Payload(), 1, k.now);
    CHECK(is_closed(k, k.conn("scanner")));
    CHECK(k.core->conduct().held_off("bob", k.now) > Duration{});
}

TEST_CASE("where no key is known, an address is held off, or the connection alone is cut",
          "[conduct]") {
    Addressed transport;
    TimePoint now{};
    BrokerCore core(BrokerConfig{}, transport, now);
    const auto garbage = [&](ConnId conn) {
        for (int i = 0; i <= borne; ++i)
            core.on_frame(conn, Payload::copy_of(Bytes{1}), Payload(), 1, now);
    };
    const auto hello = [&](ConnId conn, std::uint64_t incarnation = 1) {
        const Hello said{"n", "node", -1, incarnation, 6 + incarnation, "0.1.0", {}};
        Header header;
        header.kind = Kind::hello;
        header.src = node_id_of("n");
        Frame frame = make_frame(header, encode(said));
        core.on_frame(conn, frame, 2, now);
        return transport.last.kind;
    };
    garbage(1);
    CHECK(transport.closed.count(1) == 1);
    CHECK(hello(2) == Kind::error);
    CHECK(static_cast<Errc>(transport.last.aux) == Errc::held_off);
    garbage(11);
    CHECK(transport.closed.count(11) == 1);
    CHECK(hello(12) == Kind::welcome);
    // nor is the name given to a younger process that waits for it there
    CHECK(hello(12, 2) == Kind::ping);
    garbage(12);
    CHECK(transport.closed.count(12) == 1);
    CHECK(transport.last.kind == Kind::ping);
    CHECK(core.connections_of_nodes() == 0);
}

TEST_CASE("a HELLO that is none counts also where its connection is forgotten over it",
          "[conduct]") {
    Addressed transport;
    const TimePoint now{};
    BrokerCore core(BrokerConfig{}, transport, now);
    const auto say = [&](ConnId conn, Kind kind) {
        Header header;
        header.kind = kind;
        header.src = node_id_of("n");
        Frame frame = make_frame(header, Bytes{});
        core.on_frame(conn, frame, 1, now);
    };
    // more strangers than the broker keeps
    for (ConnId conn = 100; conn < 100 + anonymous_connections_max; ++conn) say(conn, Kind::bye);
    for (int i = 0; i <= borne; ++i) say(1, Kind::hello);
    CHECK(core.connections() == anonymous_connections_max);
    CHECK(transport.closed.count(1) == 1);
    CHECK(core.conduct().held_off("192.0.2.7", now) > Duration{});
}

TEST_CASE("all names of one key have one share of nodes, runs and questions", "[conduct]") {
    Keyed k;
    k.all_enter();
    const auto name = [](int i) {
        char text[32];
        std::snprintf(text, sizeof text, "rival-%08x", i);
        return std::string(text);
    };
    SECTION("runs") {
        Limits limits;
        std::size_t opened = k.core->runs();
        for (int i = 0; i < 8; ++i) {
            k.key(name(i), "rival", 'R');
            k.hello_on(name(i), Keyed::as(name(i), "master"));
        }
        for (std::size_t i = 0; i < limits.runs; ++i) {
            RunId run = run_of(9);
            run.bytes[0] = static_cast<std::uint8_t>(i);
            run.bytes[1] = static_cast<std::uint8_t>(i >> 8);
            const std::string owner = name(static_cast<int>(i % 8));
            k.open_as(owner, {}, run);
            if (i % 16 == 0) k.tick(seconds(1));
        }
        CHECK(k.core->runs() - opened <= limits.runs / 2);
        CHECK(k.core->runs() - opened >= limits.runs / 2 - 1);
    }
    SECTION("what is kept of OPEN") {
        const std::size_t before = k.core->runs();
        for (int i = 0; i < 4; ++i) {
            k.key(name(i), "rival", 'R');
            k.hello_on(name(i), Keyed::as(name(i), "master"));
        }
        for (std::uint8_t i = 0; i < 40; ++i) {
            RunId run = run_of(9);
            run.bytes[0] = i;
            const Open open{name(i % 4), {}, std::string(1'000'000, 'x')};
            k.send(open.owner, Kind::open, encode(open), run, 1);
        }
        CHECK(k.core->runs() - before == 16);
        CHECK(k.core->kept_of_one_bytes() <= kept_of_one_bytes_max);
    }
    SECTION("questions at once, and a second") {
        int answered = 0;
        for (int i = 0; i < 4; ++i) {
            k.key(name(i), "rival", 'R');
            k.hello_on(name(i), Keyed::as(name(i), "node", -1, {"asks"}));
        }
        k.router.frames.clear();
        for (int i = 0; i < 1000; ++i)
            k.ask(name(i % 4), "", Question::nodes, encode_nodes_query(10));
        for (const SentFrame& sent : k.router.frames)
            if (sent.header.kind == Kind::answer && (sent.header.flags & flag::error) == 0)
                ++answered;
        CHECK(answered == static_cast<int>(questions_of_key_at_once));
        // somebody else is answered meanwhile
        k.router.frames.clear();
        k.ask("alice-0123456789abcdef", "", Question::nodes, encode_nodes_query(10));
        CHECK((k.router.frames.back().header.flags & flag::error) == 0);
    }
    SECTION("notes at once, and a second") {
        for (int i = 0; i < 4; ++i) {
            k.key(name(i), "rival", 'R');
            k.hello_on(name(i), Keyed::as(name(i), "master", -1, {"serve"}));
        }
        const auto noted = [&](int notes) {
            k.router.frames.clear();
            for (int i = 0; i < notes; ++i) k.note(name(i % 4), RunState::pending, run_of(7));
            return std::ranges::count_if(k.router.frames, [](const SentFrame& sent) {
                return sent.header.kind == Kind::answer && (sent.header.flags & flag::error) == 0;
            });
        };
        const auto at_once = static_cast<int>(notes_of_key_at_once);
        CHECK(noted(at_once + 100) == at_once);
        k.tick(seconds(1));
        CHECK(noted(1000) == static_cast<int>(notes_of_key_per_second));
        // it may still ask meanwhile
        k.router.frames.clear();
        k.ask(name(0), "", Question::nodes, encode_nodes_query(10));
        CHECK((k.router.frames.back().header.flags & flag::error) == 0);
    }
    SECTION("questions that wait for an answer") {
        for (int i = 0; i < 8; ++i) {
            k.key(name(i), "master", 'M');
            const std::string as = "master" + name(i).substr(5);
            k.key(as, "master", 'M');
            k.hello_on(as, Keyed::as(as, "node", -1, {"asks"}));
            k.router.frames.clear();
            for (std::size_t q = 0; q < queries_max; ++q) k.ask(as, "master", Question::status, {});
        }
        const auto refused = std::ranges::count_if(k.router.frames, [](const SentFrame& sent) {
            return sent.header.kind == Kind::answer && (sent.header.flags & flag::error) != 0;
        });
        CHECK(refused == static_cast<int>(queries_max));
    }
}
