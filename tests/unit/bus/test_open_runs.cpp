// Runs that are open to every node that serves apps, and runs that end with the process that drives
// them: docs/protocol.md, section 5.

#include "broker_fixture.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

class OpenRuns : public BrokerFixture {
  public:
    void app_node(const std::string& name, std::uint64_t instance = 0) {
        hello(name, 1, instance, "member", {"apps"});
        expect(Kind::welcome).to(name);
    }
    void server(const std::string& name, std::uint64_t instance = 0) {
        hello(name, 1, instance, "serverapp");
        expect(Kind::welcome).to(name);
    }
    void open_to_all(const std::string& owner, RunId run = run_of(1), std::uint32_t term = 1) {
        send(owner, Kind::open, encode(Open{owner, {any_node}, ""}), run, term);
    }
};

}  // namespace

TEST_CASE_METHOD(OpenRuns, "open runs: who serves apps is invited, now and later") {
    app_node("n-0");
    join_bus("member-0");  // serves no apps
    server("server");
    open_to_all("server");
    CHECK(expect(Kind::open).to("server").header.aux == 1);  // so many are asked
    CHECK(expect(Kind::open).from("server").to("n-0").header.run == run_of(1));
    nothing_more();
    app_node("n-1");
    expect(Kind::open).from("server").to("n-1");
    nothing_more();
    join("member-0");
    expect_error(Errc::not_a_participant, "member-0");
}

TEST_CASE_METHOD(OpenRuns, "open runs: participants hear of the owner alone, the owner of all") {
    server("server");
    open_to_all("server");
    for (const char* name : {"n-0", "n-1", "n-2"}) app_node(name);
    ignore();
    for (const char* name : {"n-0", "n-1", "n-2"}) {
        join(name);
        expect(Kind::peer_up).about(name).to("server");
        expect(Kind::peer_up).about("server").to(name);
        expect(Kind::join).from(name).to("server");
        nothing_more();
    }
    SECTION("one that leaves") {
        bye("n-1");
        expect(Kind::peer_down).about("n-1").to("server");
        nothing_more();
    }
    SECTION("one that falls silent is suspect, then lost") {
        for (int i = 0; i < 4; ++i) {
            pass(seconds(1));
            for (const char* name : {"server", "n-0", "n-2"}) ping(name);
        }
        while (!router.frames.empty() && router.frames.front().header.kind == Kind::pong)
            router.frames.pop_front();
        std::size_t suspects = 0;
        for (const SentFrame& frame : router.frames)
            if (frame.header.kind == Kind::peer_suspect) {
                CHECK(frame.to == conn("server"));
                ++suspects;
            }
        CHECK(suspects == 1);
    }
}

TEST_CASE_METHOD(OpenRuns, "open runs: participants talk with the owner alone") {
    server("server");
    open_to_all("server");
    for (const char* name : {"n-0", "n-1"}) {
        app_node(name);
        join(name);
    }
    ignore();
    request("server", "n-0", 10);
    expect(Kind::request).from("server").to("n-0");
    reply("n-0", "server", 10);
    expect(Kind::reply).from("n-0").to("server");
    request("n-1", "server", 10);
    expect(Kind::request).from("n-1").to("server");
    request("n-0", "n-1", 10);
    expect_error(Errc::not_a_participant, "n-0");
    nothing_more();
}

TEST_CASE_METHOD(OpenRuns, "open runs: who has left is out, and invited when it is back") {
    server("server");
    open_to_all("server");
    app_node("n-0");
    join("n-0");
    ignore();
    bye("n-0");
    expect(Kind::peer_down).about("n-0").to("server");
    CHECK(broker.nodes() == 1);
    request("server", "n-0");
    expect_error(Errc::not_a_participant, "server");
    app_node("n-0", 99);
    expect(Kind::open).to("n-0");
    join("n-0");
    expect(Kind::peer_up).about("n-0").to("server");
}

TEST_CASE_METHOD(OpenRuns, "open runs: who was lost says HELLO again") {
    server("server");
    open_to_all("server");
    app_node("n-0");
    join("n-0");
    for (int i = 0; i < 12; ++i) {
        pass(seconds(1));
        ping("server");
    }
    ignore();
    CHECK(broker.nodes() == 1);
    ping("n-0");
    expect_error(Errc::not_registered, "n-0");
    hello("n-0", 1, 0, "member", {"apps"});
    expect(Kind::welcome).to("n-0");
    expect(Kind::open).from("server").to("n-0");
    nothing_more();
}

TEST_CASE_METHOD(OpenRuns, "open runs: a higher term invites all again") {
    server("server");
    open_to_all("server");
    app_node("n-0");
    join("n-0");
    ignore();
    open_to_all("server", run_of(1), 2);
    expect(Kind::open).to("server");
    CHECK(expect(Kind::open).to("n-0").header.term == 2);
    nothing_more();
}

TEST_CASE_METHOD(OpenRuns, "open runs: a thousand nodes in sixteen runs cost what they should") {
    const std::size_t nodes = 1000;
    for (std::uint8_t r = 1; r <= 16; ++r) {
        server("server-" + std::to_string(r));
        open_to_all("server-" + std::to_string(r), run_of(r));
    }
    ignore();
    for (std::size_t i = 0; i < nodes; ++i) {
        const std::string name = "n-" + std::to_string(i);
        hello(name, 1, 0, "member", {"apps"});
        for (std::uint8_t r = 1; r <= 16; ++r) join(name, run_of(r));
    }
    // per node: WELCOME; per node and run: OPEN, PEER_UP to both, JOIN to the owner
    CHECK(router.frames.size() == nodes * (1 + 16 * 4));
    ignore();
    for (std::uint8_t r = 1; r <= 16; ++r) close("server-" + std::to_string(r), run_of(r));
    CHECK(router.frames.size() == 16 * (nodes + 1));
    CHECK(broker.runs() == 0);
    ignore();
}

// -- the end of an owner ---------------------------------------------------------------

TEST_CASE_METHOD(OpenRuns,
                 "open runs: an OPEN costs its owner a frame for each node that there is") {
    constexpr int nodes = 64;
    for (int i = 0; i < nodes; ++i) app_node("n-" + std::to_string(i));
    server("server");
    const int opens = static_cast<int>(announcements_at_once) / (1 + nodes + 1);
    for (int i = 0; i < opens; ++i) {
        open_to_all("server");
        CHECK(expect(Kind::open).to("server").header.aux == nodes);
        ignore();
    }
    open_to_all("server");
    expect_error(Errc::retry, "server");
    nothing_more();
}

TEST_CASE_METHOD(OpenRuns, "a server app that is gone ends its run without a grace") {
    server("server");
    app_node("n-0");
    open_to_all("server");
    join("n-0");
    ignore();
    SECTION("BYE: at once") {
        bye("server");
        expect(Kind::peer_down).about("server").to("n-0");
    }
    SECTION("its connection was closed: a second") {
        broker.on_disconnected(conn("server"), now);
        pass(milliseconds(900));
        nothing_more();
        pass(milliseconds(200));
    }
    SECTION("another process of its name: at once") {
        broker.on_disconnected(conn("server"), now);
        connect("server");
        hello("server", 2, 88, "serverapp");
    }
    SECTION("silence: when it is lost") {
        pass(seconds(9));
        ping("n-0");
        CHECK(broker.runs() == 1);
        pass(seconds(2));
        while (!router.frames.empty() && router.frames.front().header.kind != Kind::close)
            router.frames.pop_front();
        // its process may be heard again: it would wait for its nodes for ever
        expect(Kind::close).to("server");
    }
    const SentFrame closed = expect(Kind::close).to("n-0");
    const auto ending = decode_ending(closed.body);
    REQUIRE(ending);
    CHECK(ending->code == Errc::owner_lost);
    CHECK(ending->sentence.find("server") != std::string::npos);
    CHECK(broker.runs() == 0);
    ignore();
}

TEST_CASE_METHOD(OpenRuns, "a server app whose link broke for a moment keeps its run") {
    server("server");
    app_node("n-0");
    open_to_all("server");
    join("n-0");
    ignore();
    broker.on_disconnected(conn("server"), now);
    request("n-0", "server");
    expect_error(Errc::unreachable, "n-0");
    pass(milliseconds(500));
    connect("server");
    server("server");
    open_to_all("server");
    expect(Kind::open).to("server");
    expect(Kind::peer_up).about("server").to("n-0");
    expect(Kind::peer_up).about("n-0").to("server");
    expect(Kind::join).from("n-0").to("server");
    nothing_more();
    pass(seconds(2));
    CHECK(broker.runs() == 1);
}

TEST_CASE_METHOD(OpenRuns, "a node that was silent hears of what was opened to all meanwhile") {
    server("server");
    app_node("n-0");
    join_bus("master");
    open("master", {"n-0"}, run_of(2));  // for which its session stays
    join("n-0", run_of(2));
    pass_alive(seconds(11), {"server", "master"});
    open_to_all("server");
    ignore();
    ping("n-0");
    while (!router.frames.empty() && router.frames.front().header.kind != Kind::open)
        router.frames.pop_front();
    expect(Kind::open).to("n-0");
    ignore();
}

TEST_CASE_METHOD(OpenRuns, "a training outlives the closed connection of its master") {
    run_with("master", {"member-0"});
    broker.on_disconnected(conn("master"), now);
    pass(seconds(2));
    nothing_more();
    CHECK(broker.runs() == 1);
    // and nobody has to wait for its name
    connect("master");
    hello("master", 2, 88);
    expect(Kind::welcome).to("master");
}

TEST_CASE_METHOD(OpenRuns, "a connection that the node has left already changes nothing") {
    join_bus("member-0");
    const ConnId old = connect("member-0");
    hello("member-0");
    expect(Kind::welcome).to("member-0");
    broker.on_disconnected(old, now);
    broker.on_disconnected(12345, now);
    ping("member-0");
    expect(Kind::pong).to("member-0");
}

namespace {

/// Lost so soon after it was suspect that whoever asks for its name may still wait.
struct SoonLost : OpenRuns {
    static BrokerConfig config_of() {
        BrokerConfig c = config();
        c.timings.lost = c.timings.suspect + milliseconds(500);
        return c;
    }
    SoonLost() : early(config_of(), router, start) { addressed = &early; }
    void comes(const std::string& name, std::uint64_t incarnation = 1) {
        send(name, Kind::hello,
             encode(Hello{name, "serverapp", -1, incarnation, incarnation, "0.1.0", {"apps"}}));
    }
    BrokerCore early;
};

}  // namespace

TEST_CASE_METHOD(SoonLost, "a newcomer that gets the name while the runs of the old one end") {
    comes("old");
    comes("other");
    send("other", Kind::open, encode(Open{"other", {any_node}, ""}), run_of(3), 1);
    for (const std::uint8_t n : {1, 2})
        send("old", Kind::open, encode(Open{"old", {any_node}, ""}), run_of(n), 1);
    REQUIRE(early.runs() == 3);
    bool asked = false;
    for (Duration passed{}; passed < seconds(5); passed += milliseconds(250)) {
        now += milliseconds(250);
        send("other", Kind::ping);
        if (passed > milliseconds(2500) && !std::exchange(asked, true)) {
            connect("old");
            comes("old", 2);
        }
        CHECK_NOTHROW(early.on_tick(now));
    }
    CHECK(early.runs() == 1);
    bool welcome = false;
    for (const SentFrame& sent : router.frames)
        if (sent.to == conn("old") && sent.header.kind == Kind::welcome) welcome = true;
    CHECK(welcome);
    ignore();
}
