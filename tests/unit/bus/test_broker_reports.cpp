// What the broker says of nodes that are in trouble, each reason in turn, and the limits that a
// configuration narrows: docs/protocol.md, sections 4 and 5.

#include "broker_fixture.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

struct Watched : BrokerFixture {
    static BrokerConfig quick() {
        BrokerConfig c = config();
        c.timings.progress_stall = seconds(60);
        return c;
    }
    explicit Watched(BrokerConfig c = quick()) : BrokerFixture(std::move(c)) {
        run_with("master", {"member-0", "member-1"});
    }
    PeerSuspect suspect(const std::string& to, const std::string& about = "member-0") {
        const auto body = decode_peer_suspect(expect(Kind::peer_suspect).about(about).to(to).body);
        REQUIRE(body);
        CHECK(body->name == about);
        return *body;
    }
    PeerDown down(const std::string& to, const std::string& about = "member-0") {
        const auto body = decode_peer_down(expect(Kind::peer_down).about(about).to(to).body);
        REQUIRE(body);
        CHECK(body->name == about);
        return *body;
    }
    /// Time passes while all but `silent` ping; PONGs out of the way.
    void pass_alive(Duration d, const std::set<std::string>& silent) {
        for (const TimePoint until = now + d; now < until;) {
            pass(milliseconds(500));
            for (const char* name : {"master", "member-0", "member-1"})
                if (silent.count(name) == 0) ping(name);
            drop_pongs();
        }
    }
    void drop_pongs() {
        std::erase_if(router.frames,
                      [](const SentFrame& f) { return f.header.kind == Kind::pong; });
    }
    /// `name` works on one thing all the time, and the others are idle.
    void hang(const std::string& name, Duration d, std::uint64_t progress = 7) {
        for (const TimePoint until = now + d; now < until;) {
            pass(milliseconds(500));
            for (const char* other : {"master", "member-0", "member-1"})
                if (other == name)
                    busy(other, progress);
                else
                    ping(other);
            drop_pongs();
        }
    }
};

}  // namespace

// -- reasons ---------------------------------------------------------------------------

TEST_CASE_METHOD(Watched, "silence") {
    pass_alive(seconds(4), {"member-0"});
    for (const char* to : {"master", "member-1"}) {
        const auto told = suspect(to);
        CHECK(told.code == Errc::peer_lost);
        CHECK(told.silent_ms >= 3000);
    }
    nothing_more();
    pass_alive(seconds(7), {"member-0"});
    for (const char* to : {"master", "member-1"}) CHECK(down(to).code == Errc::peer_lost);
    nothing_more();
}

TEST_CASE_METHOD(Watched, "a connection that was closed") {
    router.gone.insert(conn("member-0"));
    request("master", "member-0");
    expect_error(Errc::unreachable, "master");
    pass_alive(seconds(4), {"member-0"});
    for (const char* to : {"master", "member-1"}) CHECK(suspect(to).code == Errc::unreachable);
    pass_alive(seconds(7), {"member-0"});
    for (const char* to : {"master", "member-1"}) CHECK(down(to).code == Errc::unreachable);
    nothing_more();
}

TEST_CASE_METHOD(Watched, "BYE, in order or with a code") {
    Header header;
    header.kind = Kind::bye;
    header.src = node_id_of("member-0");
    SECTION("in order") {
        frame(conn("member-0"), header);
        for (const char* to : {"master", "member-1"}) CHECK(down(to).code == Errc::ok);
    }
    SECTION("with a code") {
        header.aux = static_cast<std::uint64_t>(Errc::cancelled);
        frame(conn("member-0"), header);
        for (const char* to : {"master", "member-1"}) CHECK(down(to).code == Errc::cancelled);
    }
    SECTION("with what is no code") {
        header.aux = 1ULL << 40;
        frame(conn("member-0"), header);
        for (const char* to : {"master", "member-1"}) CHECK(down(to).code == Errc::peer_lost);
    }
    nothing_more();
}

TEST_CASE_METHOD(Watched, "superseded by another process of the name") {
    pass_alive(seconds(4), {"member-0"});
    router.frames.clear();
    const ConnId old = connect("member-0");
    hello("member-0", 2, 99);
    expect(Kind::bye).code(Errc::superseded).to(old);
    for (const char* to : {"master", "member-1"}) CHECK(down(to).code == Errc::superseded);
    expect(Kind::welcome).to("member-0");
    expect(Kind::open).to("member-0");
    nothing_more();
}

TEST_CASE_METHOD(Watched, "the same process with a new connection is no news") {
    connect("member-0");
    hello("member-0");
    expect(Kind::welcome).to("member-0");
    expect(Kind::open).to("member-0");
    nothing_more();
}

// -- stalled ---------------------------------------------------------------------------

TEST_CASE_METHOD(Watched,
                 "a worker that is alive and does not get on is told once, then given up") {
    hang("member-0", seconds(59));
    nothing_more();
    hang("member-0", seconds(3));
    for (const char* to : {"master", "member-1"}) {
        const auto told = suspect(to);
        CHECK(told.code == Errc::stalled);
        CHECK(told.silent_ms >= 60'000);
    }
    hang("member-0", seconds(57));
    nothing_more();
    hang("member-0", seconds(3));
    for (const char* to : {"master", "member-1"}) {
        const auto told = down(to);
        CHECK(told.code == Errc::stalled);
        CHECK(told.silent_ms >= 120'000);
    }
    hang("member-0", seconds(300));
    nothing_more();
    // and when it gets on after all, it is back
    hang("member-0", seconds(1), 8);
    CHECK(expect(Kind::peer_up).about("member-0").to("master").header.run == run_of(1));
    expect(Kind::peer_up).about("master").to("member-0");
    expect(Kind::peer_up).about("member-0").to("member-1");
    expect(Kind::peer_up).about("member-1").to("member-0");
    nothing_more();
    hang("member-0", seconds(59), 8);
    nothing_more();
}

TEST_CASE_METHOD(Watched, "a worker that gets on, or has nothing to do, is never stalled") {
    for (std::uint64_t i = 0; i < 20; ++i) hang("member-0", seconds(30), i);
    nothing_more();
    hang("member-0", seconds(50), 99);
    pass_alive(seconds(500), {});  // idle, with the same number all the time
    nothing_more();
    hang("member-0", seconds(62), 99);
    suspect("master");
    suspect("member-1");
    hang("member-0", seconds(10), 100);  // it got on: no second word
    hang("member-0", seconds(45), 100);
    nothing_more();
}

TEST_CASE_METHOD(Watched, "a dead process is not a hung worker") {
    hang("member-0", seconds(50));
    pass_alive(seconds(30), {"member-0"});
    CHECK(suspect("master").code == Errc::peer_lost);
    CHECK(suspect("member-1").code == Errc::peer_lost);
    CHECK(down("master").code == Errc::peer_lost);
    CHECK(down("member-1").code == Errc::peer_lost);
    nothing_more();
}

TEST_CASE_METHOD(Watched,
                 "how long a worker hangs is what its beats say, not how long it is silent") {
    hang("member-0", seconds(59));
    pass_alive(seconds(2), {"member-0"});  // stopped, perhaps
    nothing_more();
    hang("member-0", seconds(1));  // not stopped: it hangs indeed
    CHECK(suspect("master").code == Errc::stalled);
    CHECK(suspect("member-1").code == Errc::stalled);
    nothing_more();
}

TEST_CASE_METHOD(Watched, "the run of an owner that hangs is closed, with the reason") {
    hang("master", seconds(62));
    CHECK(suspect("member-0", "master").code == Errc::stalled);
    CHECK(suspect("member-1", "master").code == Errc::stalled);
    hang("master", seconds(60));
    for (const char* to : {"master", "member-0", "member-1"}) {
        const auto ending = decode_ending(expect(Kind::close).to(to).body);
        REQUIRE(ending);
        CHECK(ending->code == Errc::stalled);
        CHECK(ending->sentence.find("master") != std::string::npos);
        CHECK(ending->sentence.find("2 min") != std::string::npos);
    }
    nothing_more();
    CHECK(broker.runs() == 0);
}

// -- slow ------------------------------------------------------------------------------

TEST_CASE_METHOD(Watched, "a node that takes nothing of what waits for it is told of, once") {
    router.full.insert(conn("member-0"));
    request("master", "member-0", 1000);
    pass_alive(seconds(10), {});
    nothing_more();
    pass_alive(seconds(2), {});
    for (const char* to : {"master", "member-1"}) {
        const auto told = suspect(to);
        CHECK(told.code == Errc::timed_out);
        CHECK(told.silent_ms >= 10'000);
    }
    pass_alive(seconds(60), {});
    nothing_more();
    router.full.clear();
    pass_alive(seconds(1), {});
    std::erase_if(router.frames, [](const SentFrame& f) { return f.header.kind != Kind::request; });
    CHECK(router.frames.size() == 1);
}

namespace {
struct Impatient : Watched {
    static BrokerConfig impatient() {
        BrokerConfig c = quick();
        c.timings.slow_peer = seconds(2);
        return c;
    }
    Impatient() : Watched(impatient()) {}
};
}  // namespace

TEST_CASE_METHOD(Impatient, "a slow node is told of after the time that is configured") {
    router.full.insert(conn("member-0"));
    request("master", "member-0", 1000);
    pass_alive(milliseconds(1500), {});
    nothing_more();
    pass_alive(seconds(2), {});
    for (const char* to : {"master", "member-1"}) CHECK(suspect(to).code == Errc::timed_out);
}

// -- the broker's own lag --------------------------------------------------------------

namespace {
/// Two minutes in which nothing ran on this machine.
struct Paused : Watched {
    void pause(Duration d) {
        now += d;
        broker.on_tick(now);
    }
};
}  // namespace

TEST_CASE_METHOD(Paused, "no deadline ends while the whole machine is paused") {
    SECTION("of a worker") {
        hang("member-0", seconds(30));
        pause(seconds(120));
        hang("member-0", seconds(10));
        nothing_more();
    }
    SECTION("of a newcomer that waits for a name") {
        const ConnId old = connect("member-0");
        hello("member-0", 2, 99);
        expect(Kind::ping).to(old);
        pause(seconds(120));
        nothing_more();  // the old one has not had its second yet
    }
    SECTION("of an owner that is gone") {
        bye("master");
        router.frames.clear();
        pause(seconds(120));
        CHECK(broker.runs() == 1);
    }
    SECTION("of a connection that has not said HELLO") {
        Header header;
        header.kind = Kind::ping;
        frame(1000, header);
        router.frames.clear();
        const auto before = broker.connections();
        pause(seconds(120));
        CHECK(broker.connections() == before);
    }
}

// -- limits ----------------------------------------------------------------------------

namespace {
struct Narrow : BrokerFixture {
    static BrokerConfig narrow() {
        BrokerConfig c = config();
        c.limits.nodes = 3;
        c.limits.runs = 2;
        c.limits.message = 70'000;
        c.limits.frame = 9'000;
        c.limits.hop_window = 1 << 20;
        return c;
    }
    Narrow() : BrokerFixture(narrow()) {}
};
}  // namespace

TEST_CASE_METHOD(Narrow, "a broker takes as many nodes and runs as configured") {
    run_with("a", {"b"});
    join_bus("c");
    hello("d");
    expect_error(Errc::too_many, "d");
    open("a", {"b"}, run_of(2));
    expect_error(Errc::too_many, "a");  // what is free is for others
    open("b", {"a"}, run_of(2));
    router.frames.clear();
    open("c", {"b"}, run_of(3));
    expect_error(Errc::too_many, "c");
    CHECK(broker.runs() == 2);
    CHECK(broker.nodes() == 3);
}

TEST_CASE_METHOD(Narrow, "WELCOME says what frames and messages may have, and larger ones end") {
    hello("a");
    const auto welcome = decode_welcome(expect(Kind::welcome).to("a").body);
    REQUIRE(welcome);
    CHECK(welcome->frame_bytes == 9'000);
    CHECK(welcome->message_bytes == 70'000);
    run_with("m", {"b"});
    Header header = data_header(Kind::request, "m", "b");
    header.body_bytes = 70'000;
    frame(conn("m"), header, Bytes(5'000));
    expect(Kind::request).to("b");
    header.body_bytes = 70'001;
    frame(conn("m"), header, Bytes(5'000));
    expect_error(Errc::too_large, "m");
    nothing_more();
}

TEST_CASE_METHOD(Narrow, "the broker's hops begin with the window that is configured") {
    run_with("m", {"b"});
    for (int i = 0; i < 40; ++i) request("m", "b", 60'000);
    std::size_t bytes = 0;
    for (const SentFrame& sent : router.frames)
        if (sent.header.kind == Kind::request) bytes += sent.body.size();
    CHECK(bytes >= 1'000'000);
    CHECK(bytes <= 1'120'000);
}
