// The broker as a state machine: the tables of docs/protocol.md, sections 4 and 5, row by row.

#include "broker_fixture.hpp"

using namespace vflbus;
using namespace vflbus::bus;

// -- section 4: HELLO ------------------------------------------------------------

TEST_CASE_METHOD(BrokerFixture, "HELLO: nothing known, anything is welcome") {
    Header header;
    header.kind = Kind::hello;
    header.request = 5;
    header.src = node_id_of("member-0");
    frame(conn("member-0"), header, encode(Hello{"member-0", "member", 0, 0, 1, "0.1.0", {}}));
    const SentFrame welcome = expect(Kind::welcome).to("member-0");
    nothing_more();
    CHECK(welcome.header.dst == node_id_of("member-0"));
    CHECK(welcome.header.aux != 0);      // the session
    CHECK(welcome.header.request == 5);  // which HELLO it answers
    const auto body = decode_welcome(welcome.body);
    REQUIRE(body);
    CHECK(body->version == "0.1.0");
    CHECK(body->heartbeat_ms == 1000);
    CHECK(body->suspect_ms == 3000);
    CHECK(body->lost_ms == 10000);
    CHECK(body->frame_bytes == frame_bytes_max);
    CHECK(body->message_bytes == message_bytes_max);
    CHECK(broker.nodes() == 1);
}

TEST_CASE_METHOD(BrokerFixture, "HELLO: the same instance is welcome again, the connection moves") {
    join_bus("member-0");
    hello("member-0");  // on the same connection
    const auto second = expect(Kind::welcome).to("member-0").header.aux;
    const ConnId old = connect("member-0");
    hello("member-0");
    CHECK(expect(Kind::welcome).to("member-0").header.aux > second);
    nothing_more();  // no BYE: it is the same process
    CHECK(broker.nodes() == 1);
    // the old connection is forgotten
    Header ping_header;
    ping_header.kind = Kind::ping;
    ping_header.src = node_id_of("member-0");
    frame(old, ping_header);
    expect(Kind::error).code(Errc::not_registered).to(old);
}

TEST_CASE_METHOD(BrokerFixture,
                 "HELLO: another instance after BYE, after silence, after a gone connection") {
    join_bus("member-0");
    SECTION("the old connection was silent") {
        pass(seconds(4));
        const ConnId old = connect("member-0");
        hello("member-0", 2, 88);
        expect(Kind::welcome).to("member-0");
        const auto bye_frame = expect(Kind::bye).code(Errc::superseded).to(old);
        CHECK_FALSE(decode_sentence(bye_frame.body).empty());
    }
    SECTION("the old connection is gone") {
        const ConnId old = connect("member-0");
        router.gone.insert(old);
        hello("member-0", 2, 88);  // heard of lately, so the broker asks, and sees that it is gone
        expect(Kind::welcome).to("member-0");
    }
    SECTION("the old process said BYE") {
        bye("member-0");
        connect("member-0");
        hello("member-0", 1, 88);
        expect(Kind::welcome).to("member-0");
    }
    nothing_more();
    CHECK(broker.nodes() == 1);
}

TEST_CASE_METHOD(BrokerFixture,
                 "HELLO: a lower incarnation than that of a silent process is stale") {
    hello("member-0", 5);
    expect(Kind::welcome).to("member-0");
    pass(seconds(4));
    connect("member-0");
    hello("member-0", 4, 88);
    expect_error(Errc::stale_incarnation, "member-0");
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture,
                 "HELLO: a higher incarnation while the old one was heard of lately") {
    join_bus("member-0");
    const ConnId old = connect("member-0");
    hello("member-0", 2, 88);
    const TimePoint asked = now;
    const std::uint64_t number = expect(Kind::ping).to(old).header.request;
    nothing_more();  // nobody has the name yet but the old one
    Header answer;
    answer.src = node_id_of("member-0");

    SECTION("an answer keeps the name") {
        now += milliseconds(900);
        answer.kind = Kind::pong;
        answer.request = number;
        frame(old, answer);
        expect_error(Errc::name_taken, "member-0");
        nothing_more();
        answer.kind = Kind::ping;
        frame(old, answer);
        expect(Kind::pong).to(old);
    }
    SECTION("what the old process had sent before it ended is no answer") {
        now += milliseconds(900);
        answer.kind = Kind::ping;
        frame(old, answer);
        expect(Kind::pong).to(old);
        answer.kind = Kind::pong;  // to some other PING
        answer.request = number + 1;
        frame(old, answer);
        pass(milliseconds(750));
        nothing_more();
        pass(milliseconds(500));
        expect(Kind::bye).code(Errc::superseded).to(old);
        expect(Kind::welcome).to("member-0");
    }
    SECTION("who goes on speaking keeps the name") {
        answer.kind = Kind::ping;
        for (int i = 0; i < 8; ++i) {
            pass(milliseconds(500));
            frame(old, answer);
            if (now - asked <= Timings{}.suspect) {
                expect(Kind::pong).to(old);
                nothing_more();
            }
        }
        expect_error(Errc::name_taken, "member-0");
        expect(Kind::pong).to(old);
    }
    SECTION("nor is its own HELLO, said again before it ended") {
        now += milliseconds(900);
        Header again;
        again.kind = Kind::hello;
        again.src = node_id_of("member-0");
        again.request = 2;
        frame(old, again, encode(Hello{"member-0", "member", 0, 1, 77, "0.1.0", {}}));
        expect(Kind::welcome).to(old);
        expect(Kind::ping).to(old);
        nothing_more();
        pass(milliseconds(750));
        nothing_more();
        pass(milliseconds(500));
        expect(Kind::bye).code(Errc::superseded).to(old);
        expect(Kind::welcome).to("member-0");
    }
    SECTION("no answer within a second gives the name away") {
        pass(milliseconds(750));
        nothing_more();
        pass(milliseconds(500));
        expect(Kind::bye).code(Errc::superseded).to(old);
        expect(Kind::welcome).to("member-0");
        nothing_more();
    }
    SECTION("BYE of the old process gives the name away at once") {
        answer.kind = Kind::bye;
        frame(old, answer);
        expect(Kind::welcome).to("member-0");
        nothing_more();
        pass(seconds(2));
        ping("member-0");
        expect(Kind::pong).to("member-0");
    }
    SECTION("the newcomer may repeat itself, and its last HELLO is the one that is answered") {
        Header again;
        again.kind = Kind::hello;
        again.src = node_id_of("member-0");
        again.request = 2;
        frame(conn("member-0"), again, encode(Hello{"member-0", "member", -1, 2, 88, "0.1.0", {}}));
        nothing_more();
        pass(milliseconds(1250));
        expect(Kind::bye).to(old);
        CHECK(expect(Kind::welcome).to("member-0").header.request == 2);
    }
    SECTION("the newcomer may come again on another connection") {
        connect("member-0");
        hello("member-0", 2, 88);
        nothing_more();
        pass(milliseconds(1250));
        expect(Kind::bye).to(old);
        expect(Kind::welcome).to("member-0");
    }
    SECTION("a third process of the same age does not get in between") {
        const ConnId second = connect("member-0");
        hello("member-0", 2, 99);
        expect_error(Errc::name_taken, "member-0");
        pass(milliseconds(1250));
        expect(Kind::bye).to(old);
        expect(Kind::welcome).to(second);
    }
    SECTION("an older one does not get in between when the name is free") {
        const ConnId second = conn("member-0");
        connect("member-0");
        const ConnId third = conn("member-0");
        hello("member-0", 4, 99);  // waits instead of the second
        expect(Kind::error).code(Errc::superseded).to(second);
        router.gone.insert(old);
        answer.kind = Kind::ping;
        frame(old, answer);  // its last, and the answer finds that it is gone
        nothing_more();
        connect("member-0");
        hello("member-0", 3, 98);  // of a process that is gone as well
        expect(Kind::welcome).to(third);
        expect_error(Errc::stale_incarnation, "member-0");
    }
    SECTION("a younger one waits in its place") {
        const ConnId second = conn("member-0");
        connect("member-0");
        hello("member-0", 3, 99);
        expect(Kind::error).code(Errc::superseded).to(second);
        pass(milliseconds(1250));
        expect(Kind::bye).to(old);
        expect(Kind::welcome).to("member-0");
    }
    CHECK(broker.nodes() == 1);
}

TEST_CASE_METHOD(
    BrokerFixture,
    "HELLO: an equal or lower incarnation of another instance while the old one is heard of") {
    hello("member-0", 5);
    expect(Kind::welcome).to("member-0");
    connect("member-0");
    hello("member-0", 5, 88);
    expect_error(Errc::name_taken, "member-0");
    hello("member-0", 4, 88);
    expect_error(Errc::stale_incarnation, "member-0");
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "HELLO: a connection that is a node cannot become another") {
    join_bus("member-0");
    Header header;
    header.kind = Kind::hello;
    frame(conn("member-0"), header, encode(Hello{"member-1", "member", 1, 1, 5, "0.1.0", {}}));
    expect_error(Errc::wrong_source, "member-0");
    nothing_more();
    CHECK(broker.nodes() == 1);
}

TEST_CASE_METHOD(BrokerFixture, "HELLO: an odd extension may be unknown, an even one may not") {
    const auto say = [&](const std::string& name, Extensions extensions) {
        Header header;
        header.kind = Kind::hello;
        header.src = node_id_of(name);
        frame(conn(name), header,
              encode(Hello{name, "member", 0, 1, 5, "0.1.0", {}, std::move(extensions)}));
    };
    say("member-0", {{1, {1}}, {65535, {}}});
    expect(Kind::welcome).to("member-0");
    say("member-1", {{1, {1}}, {4, {}}});
    const auto refused = expect_error(Errc::unsupported_version, "member-1");
    CHECK(decode_sentence(refused.body) ==
          "HELLO of member-1 has extension 4, which has to be understood and is not known to this "
          "broker; use the same vflbus version on all parties, or do without what needs it");
    CHECK(broker.nodes() == 1);
    nothing_more();
}

TEST_CASE("what a broker understands it takes, and what it adds to WELCOME arrives") {
    BrokerConfig config = BrokerFixture::config();
    config.understood = {4};
    config.welcome_extensions = {{6, {7}}};
    BrokerFixture f(std::move(config));
    Header header;
    header.kind = Kind::hello;
    header.src = node_id_of("member-0");
    f.frame(f.conn("member-0"), header,
            encode(Hello{"member-0", "member", 0, 1, 5, "0.1.0", {}, {{4, {}}}}));
    const auto welcome = decode_welcome(f.expect(Kind::welcome).to("member-0").body);
    REQUIRE(welcome);
    CHECK(welcome->extensions == Extensions{{6, {7}}});
}

TEST_CASE_METHOD(BrokerFixture, "extensions of OPEN and JOIN pass the broker, whatever they are") {
    join_bus("master");
    join_bus("member-0");
    const Extensions from_owner{{2, {1}}, {3, {}}};
    const Open open{"master", {{"member-0", "member", 0}}, "agreed", from_owner};
    send("master", Kind::open, encode(open), run_of(1), 1);
    expect(Kind::open).to("master");
    CHECK(decode_open(expect(Kind::open).to("member-0").body)->extensions == from_owner);
    const Extensions from_member{{4, Bytes(extension_bytes_max)}};
    const Join join{"member-0", "member", 0, 1, {}, "0.1.0", Errc::ok, "", from_member};
    send("member-0", Kind::join, encode(join), run_of(1), 1);
    expect(Kind::peer_up).to("master");
    CHECK(decode_join(expect(Kind::join).to("master").body)->extensions == from_member);
    // also when the owner has come back and is told again
    send("master", Kind::open, encode(open), run_of(1), 1);
    expect(Kind::open).to("master");
    expect(Kind::peer_up).to("master");
    CHECK(decode_join(expect(Kind::join).to("master").body)->extensions == from_member);
}

TEST_CASE_METHOD(BrokerFixture, "HELLO: a malformed body is refused with a sentence") {
    Header header;
    header.kind = Kind::hello;
    frame(conn("x"), header, Bytes{0x90});
    const auto error = expect_error(Errc::malformed_frame, "x");
    CHECK(decode_sentence(error.body).find("HELLO") != std::string::npos);
    CHECK(broker.nodes() == 0);
}

TEST_CASE_METHOD(BrokerFixture,
                 "before HELLO every kind is answered with not_registered, but BYE and ERROR") {
    for (int kind = 3; kind <= 16; ++kind) {
        Header header;
        header.kind = static_cast<Kind>(kind);
        frame(conn("x"), header);
        if (header.kind == Kind::bye || header.kind == Kind::error)
            nothing_more();
        else
            expect_error(Errc::not_registered, "x");
    }
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "strangers get no answer, other versions do") {
    raw(conn("x"), Bytes{});
    raw(conn("x"), Bytes{'G', 'E', 'T', ' ', '/'});
    raw(conn("x"), Bytes(97, 0x9d));
    Header header;
    header.kind = Kind::ping;
    raw(conn("x"), encode(header), Bytes{1}, 3);  // too many frames
    nothing_more();
    CHECK(broker.counters().strangers == 4);
    CHECK(broker.connections() == 1);  // what it has sent that was none is counted
    CHECK(broker.connections_of_nodes() == 0);

    HeaderBytes other = encode(header);
    other[3] = 2;
    raw(conn("x"), other);
    expect_error(Errc::unsupported_version, "x");
    // also from a node that is known, first and later
    join_bus("member-0");
    for (int i = 0; i < 2; ++i) {
        raw(conn("member-0"), other);
        expect_error(Errc::unsupported_version, "member-0");
        ping("member-0");
        expect(Kind::pong).to("member-0");
    }
}

TEST_CASE_METHOD(BrokerFixture, "a frame with a foreign source goes nowhere") {
    run_with("master", {"member-0", "member-1"});
    Header header = data_header(Kind::request, "member-1", "master");
    frame(conn("member-0"), header);
    expect_error(Errc::wrong_source, "member-0");
    for (const Kind kind : {Kind::ping, Kind::open, Kind::close, Kind::bye}) {
        Header h;
        h.kind = kind;
        h.src = node_id_of("member-1");
        if (kind == Kind::open || kind == Kind::close) {
            h.run = run_of(1);
            h.term = 1;
        }
        frame(conn("member-0"), h);
        expect_error(Errc::wrong_source, "member-0");
    }
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "connections that never say HELLO are forgotten and bounded") {
    Header header;
    header.kind = Kind::ping;
    for (std::size_t i = 0; i < anonymous_connections_max + 10; ++i) frame(1000 + i, header);
    CHECK(broker.connections() == anonymous_connections_max);
    CHECK(router.frames.size() == anonymous_connections_max);
    ignore();
    SECTION("a real node gets in all the same") {
        join_bus("member-0");
        nothing_more();
    }
    SECTION("they are forgotten after a minute, whatever they send") {
        pass(seconds(30));
        frame(1000, header);
        pass(seconds(31));
        CHECK(broker.connections() == 0);
        ignore();
        frame(1000, header);
        CHECK(broker.connections() == 1);
    }
}

TEST_CASE("a connection has as long for its HELLO as the configuration gives it") {
    BrokerConfig quick = BrokerFixture::config();
    quick.timings.without_hello = seconds(5);
    BrokerFixture at(quick);
    Header header;
    header.kind = Kind::ping;
    at.frame(1000, header);
    at.pass(seconds(4));
    CHECK(at.broker.connections() == 1);
    at.pass(seconds(2));
    CHECK(at.broker.connections() == 0);
}

// -- section 4: liveness -----------------------------------------------------------

TEST_CASE_METHOD(BrokerFixture, "PING is answered with PONG of the same number") {
    join_bus("member-0");
    Header header;
    header.kind = Kind::ping;
    header.src = node_id_of("member-0");
    header.request = 42;
    frame(conn("member-0"), header);
    CHECK(expect(Kind::pong).to("member-0").header.request == 42);
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "a silent node is suspect, then lost, then back") {
    run_with("master", {"member-0", "member-1"});
    const auto others_live = [&](Duration d) {
        const TimePoint until = now + d;
        while (now < until) {
            pass(milliseconds(250));
            ping("master");
            ping("member-1");
        }
    };
    const auto drop_pongs = [&] {
        std::erase_if(router.frames,
                      [](const SentFrame& f) { return f.header.kind == Kind::pong; });
    };
    others_live(milliseconds(2750));
    drop_pongs();
    nothing_more();
    others_live(milliseconds(500));
    drop_pongs();
    for (const char* peer : {"master", "member-1"}) {
        const auto suspect = expect(Kind::peer_suspect).about("member-0").to(peer);
        const auto body = decode_peer_suspect(suspect.body);
        REQUIRE(body);
        CHECK(body->name == "member-0");
        CHECK(body->silent_ms >= 3000);
    }
    nothing_more();
    SECTION("it speaks: everybody hears of everybody") {
        ping("member-0");
        expect(Kind::peer_up).about("member-0").to("master");
        expect(Kind::peer_up).about("member-0").to("member-1");
        expect(Kind::peer_up).about("master").to("member-0");
        expect(Kind::peer_up).about("member-1").to("member-0");
        expect(Kind::pong).to("member-0");
        nothing_more();
    }
    SECTION("it stays silent") {
        others_live(seconds(7));
        drop_pongs();
        for (const char* peer : {"master", "member-1"}) {
            const auto down =
                decode_peer_down(expect(Kind::peer_down).about("member-0").to(peer).body);
            REQUIRE(down);
            CHECK(down->code == Errc::peer_lost);
            CHECK(down->silent_ms >= 10000);
        }
        nothing_more();
        request("master", "member-0");
        expect_error(Errc::unreachable, "master");
        ping("member-0");
        expect(Kind::peer_up).about("member-0").to("master");
        expect(Kind::peer_up).about("member-0").to("member-1");
        expect(Kind::peer_up).about("master").to("member-0");
        expect(Kind::peer_up).about("member-1").to("member-0");
        expect(Kind::pong).to("member-0");
        request("master", "member-0");
        expect(Kind::request).from("master").to("member-0");
        nothing_more();
    }
}

TEST_CASE_METHOD(BrokerFixture, "the broker's own lag is nobody's silence") {
    run_with("master", {"member-0"});
    pass(seconds(1));
    now += seconds(60);  // the machine slept: one late tick, and only then the frames
    broker.on_tick(now);
    nothing_more();
    pass(seconds(1));
    nothing_more();
    pass(seconds(60));  // but silence after that is silence
    expect(Kind::peer_suspect).about("member-0").to("master");
}

TEST_CASE_METHOD(BrokerFixture, "a newcomer that is believed while it waits waits no longer") {
    join_bus("member-0");
    const ConnId old = conn("member-0");
    ignore();
    pass(milliseconds(2500));
    connect("member-0");
    hello("member-0", 2, 88);
    expect(Kind::ping).to(old);
    pass(milliseconds(750));  // the old one is suspect by now
    ignore();
    hello("member-0", 2, 88);
    expect(Kind::bye).code(Errc::superseded).to(old);
    expect(Kind::welcome).to("member-0");
    ping("member-0");
    expect(Kind::pong).to("member-0");
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "a newcomer does not profit from the broker's lag") {
    join_bus("member-0");
    pass(seconds(1));
    now += seconds(60);
    const ConnId old = connect("member-0");
    hello("member-0", 2, 88);  // read before the next tick and before what the old one said
    expect(Kind::ping).to(old);
    nothing_more();
}

TEST_CASE_METHOD(
    BrokerFixture,
    "a registered node is never closed for having nothing to do, a lost one is forgotten") {
    join_bus("member-0");
    for (int i = 0; i < 200; ++i) {
        pass(seconds(2));
        ping("member-0");
        expect(Kind::pong).to("member-0");
    }
    nothing_more();
    pass(seconds(11));
    CHECK(broker.nodes() == 0);
    CHECK(broker.connections_of_nodes() == 0);
    ping("member-0");
    expect_error(Errc::not_registered, "member-0");
    SECTION("its connection serves it again when it is back") {
        hello("member-0");
        expect(Kind::welcome).to("member-0");
        CHECK(broker.connections_of_nodes() == 1);
    }
    SECTION("or is closed") {
        pass(seconds(61));
        CHECK(broker.connections() == 0);
        CHECK(router.closed == std::vector{conn("member-0")});
    }
}

TEST_CASE_METHOD(BrokerFixture,
                 "connections that were nodes' are bounded like those of strangers") {
    for (std::size_t i = 0; i < anonymous_connections_max + 10; ++i) {
        const std::string name = "n-" + std::to_string(i);
        join_bus(name);
        bye(name);
    }
    CHECK(broker.connections() == anonymous_connections_max);
    CHECK(router.closed.size() == 10);
    CHECK(broker.nodes() == 0);
}

TEST_CASE_METHOD(BrokerFixture, "BYE announces PEER_DOWN at once") {
    run_with("master", {"member-0", "member-1"});
    bye("member-0");
    expect(Kind::peer_down).about("member-0").to("master");
    expect(Kind::peer_down).about("member-0").to("member-1");
    nothing_more();
    request("master", "member-0");
    expect_error(Errc::unreachable, "master");
    // it is invited again when it comes back
    connect("member-0");
    hello("member-0", 2, 88);
    expect(Kind::welcome).to("member-0");
    expect(Kind::open).from("master").to("member-0");
    nothing_more();
    join("member-0");
    expect(Kind::peer_up).about("member-0").to("master");
    expect(Kind::peer_up).about("master").to("member-0");
    expect(Kind::join).from("member-0").to("master");
}

TEST_CASE_METHOD(BrokerFixture, "a run whose owner is lost is closed after the rejoin grace") {
    run_with("master", {"member-0"});
    const auto member_lives = [&](Duration d) {
        const TimePoint until = now + d;
        while (now < until) {
            pass(seconds(1));
            ping("member-0");
            if (router.frames.back().header.kind == Kind::pong) router.frames.pop_back();
        }
    };
    SECTION("lost by silence") {
        member_lives(seconds(11));
        expect(Kind::peer_suspect).about("master").to("member-0");
        expect(Kind::peer_down).about("master").to("member-0");
        std::erase_if(router.frames, [&](const auto& f) { return f.to == conn("master"); });
        member_lives(seconds(28));
    }
    SECTION("lost by BYE") {
        bye("master");
        expect(Kind::peer_down).about("master").to("member-0");
        member_lives(seconds(29));
    }
    nothing_more();
    CHECK(broker.runs() == 1);
    member_lives(seconds(4));
    const auto ending = decode_ending(expect(Kind::close).to("member-0").body);
    REQUIRE(ending);
    CHECK(ending->code == Errc::owner_lost);
    CHECK(ending->sentence.find("master") != std::string::npos);
    CHECK(broker.runs() == 0);
}

TEST_CASE_METHOD(BrokerFixture, "an owner that comes back hears who is lost meanwhile") {
    run_with("master", {"member-0", "member-1"});
    // member-0 is silent, and its connection stays open
    pass_alive(seconds(12), {"master", "member-1"});
    ignore();
    bye("master");
    connect("master");
    hello("master", 2, 88);
    ignore();
    open("master", {"member-0", "member-1"});
    std::vector<Kind> said;  // of member-0 to the master, in the order in which it hears them
    for (const SentFrame& sent : router.frames)
        if (sent.to == conn("master") && sent.header.aux == node_id_of("member-0").value)
            said.push_back(sent.header.kind);
    REQUIRE_FALSE(said.empty());
    CHECK(said.back() == Kind::peer_down);
    ignore();
}

TEST_CASE_METHOD(BrokerFixture, "an owner that comes back within the grace keeps its run") {
    run_with("master", {"member-0"});
    bye("master");
    pass(seconds(5));
    connect("master");
    hello("master", 2, 88);
    ignore();
    open("master", {"member-0"});
    expect(Kind::open).to("master");
    expect(Kind::peer_up).about("master").to("member-0");
    expect(Kind::peer_up).about("member-0").to("master");
    const auto join_again = expect(Kind::join).from("member-0").to("master");
    CHECK(decode_join(join_again.body)->name == "member-0");
    nothing_more();
    ping("member-0");
    pass(seconds(2));
    CHECK(broker.runs() == 1);
}

TEST_CASE_METHOD(
    BrokerFixture,
    "an owner that comes back with nothing to say of its run loses it after the grace") {
    run_with("master", {"member-0"});
    connect("master");
    hello("master", 2, 88);
    ignore();
    pass_alive(seconds(29), {"master", "member-0"});
    CHECK(broker.runs() == 1);
    pass_alive(seconds(4), {"master", "member-0"}, false);
    for (int n = 0; n < 2; ++n) {  // to both, in the order of their ids
        REQUIRE(router.frames.size() >= 1);
        const auto ending = decode_ending(router.frames.front().body);
        router.frames.erase(router.frames.begin());
        REQUIRE(ending);
        CHECK(ending->code == Errc::owner_lost);
    }
    CHECK(broker.runs() == 0);
}

TEST_CASE_METHOD(BrokerFixture, "time that the loop slept is nobody's silence, however often") {
    run_with("master", {"member-0"});
    for (int sleeps = 0; sleeps < 5; ++sleeps) {
        now += seconds(8);
        broker.on_tick(now);
        pass(milliseconds(1500));
        ping("master");
    }
    // awake for 7.5 s of 47.5
    for (const SentFrame& frame : router.frames) CHECK(frame.header.kind != Kind::peer_down);
    pass(seconds(3));
    CHECK(std::ranges::count(router.frames, Kind::peer_down,
                             [](const SentFrame& frame) { return frame.header.kind; }) == 1);
    ignore();
}

// -- section 5: OPEN -----------------------------------------------------------------

TEST_CASE_METHOD(
    BrokerFixture,
    "OPEN of an unknown run invites those who are there, and the others when they come") {
    join_bus("master");
    join_bus("member-0");
    open("master", {"member-0", "member-1"});
    const auto answer = expect(Kind::open).to("master");
    CHECK(answer.header.flags == flag::answer);
    CHECK(answer.body.empty());
    const auto invitation = expect(Kind::open).from("master").to("member-0");
    CHECK(invitation.header.term == 1);
    CHECK(decode_open(invitation.body)->participants.size() == 2);
    nothing_more();
    hello("member-1");
    expect(Kind::welcome).to("member-1");
    expect(Kind::open).from("master").to("member-1");
    nothing_more();
    CHECK(broker.runs() == 1);
}

TEST_CASE_METHOD(BrokerFixture,
                 "OPEN of a known run by its owner: same term, then higher, then lower") {
    run_with("master", {"member-0", "member-1"});
    open("master", {"member-0", "member-1"});
    expect(Kind::open).to("master");
    // who is there, then who has joined: what the owner asks at once is meant for the former
    for (const char* name : {"member-1", "member-0"}) {  // by id
        expect(Kind::peer_up).about("master").to(name);
        expect(Kind::peer_up).about(name).to("master");
    }
    expect(Kind::join).to("master");  // the joins of this term, again
    expect(Kind::join).to("master");
    nothing_more();
    open("master", {"member-0", "member-1"}, run_of(1), 2);
    CHECK(expect(Kind::open).to("master").header.term == 2);
    CHECK(expect(Kind::open).to("member-0").header.term == 2);
    CHECK(expect(Kind::open).to("member-1").header.term == 2);
    nothing_more();  // joins of a lower term are forgotten
    request("master", "member-0", 0, run_of(1), 2);
    expect_error(Errc::not_a_participant, "master");
    open("master", {"member-0", "member-1"}, run_of(1), 1);
    expect_error(Errc::stale_term, "master");
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "OPEN of another's run, in another's name, or malformed") {
    run_with("master", {"member-0"});
    open("member-0", {"member-0"});
    expect_error(Errc::not_owner, "member-0");
    send("member-0", Kind::open, encode(Open{"master", {}, ""}), run_of(2), 1);
    expect_error(Errc::wrong_source, "member-0");
    send("member-0", Kind::open, Bytes{0x90}, run_of(2), 1);
    expect_error(Errc::malformed_frame, "member-0");
    send("member-0", Kind::open, {}, run_of(2), 1);
    expect_error(Errc::malformed_frame, "member-0");
    open("member-0", {"master", "master"}, run_of(2));
    const auto twice = expect_error(Errc::malformed_frame, "member-0");
    CHECK(decode_sentence(twice.body).find("twice") != std::string::npos);
    nothing_more();
    CHECK(broker.runs() == 1);
}

TEST_CASE_METHOD(BrokerFixture,
                 "there are not more runs than the limit, and each owner has a share") {
    std::size_t opened = 0;
    std::size_t tried = 0;
    const auto opens = [&](const std::string& owner) {
        RunId run = run_of(9);
        run.bytes[0] = static_cast<std::uint8_t>(tried);
        run.bytes[1] = static_cast<std::uint8_t>(tried >> 8);
        ++tried;
        const std::size_t before = broker.runs();
        open(owner, {}, run);
        if (broker.runs() == before) {
            expect_error(Errc::too_many, owner);
            return false;
        }
        expect(Kind::open).to(owner);
        ++opened;
        return true;
    };
    join_bus("greedy");
    while (opens("greedy")) {
    }
    CHECK(opened == runs_max / 2);
    CHECK(broker.most_runs_of_one() == runs_max / 2);
    join_bus("second");
    while (opens("second")) {
    }
    CHECK(opened == runs_max / 2 + runs_max / 4);
    // who has none gets what is free, until nothing is
    for (std::size_t i = opened; i < runs_max; ++i) {
        const std::string name = "n-" + std::to_string(i);
        join_bus(name);
        CHECK(opens(name));
    }
    join_bus("late");
    CHECK_FALSE(opens("late"));
    CHECK(broker.runs() == runs_max);
    close("greedy", [] {
        RunId run = run_of(9);
        run.bytes[0] = run.bytes[1] = 0;
        return run;
    }());
    ignore();
    CHECK_FALSE(opens("greedy"));
    CHECK(opens("late"));
    CHECK(broker.most_runs_of_one() == runs_max / 2 - 1);
}

TEST_CASE_METHOD(BrokerFixture, "participants that a second OPEN leaves out are out, and told so") {
    run_with("master", {"member-0", "member-1"});
    open("master", {"member-1"});
    const auto told = expect(Kind::close).to("member-0");
    CHECK(told.header.term == 1);
    CHECK(decode_ending(told.body)->code == Errc::run_ended);
    ignore();
    join("member-1");
    ignore();
    request("master", "member-0");
    expect_error(Errc::not_a_participant, "master");
    join("member-0");
    expect_error(Errc::not_a_participant, "member-0");
    request("master", "member-1");
    expect(Kind::request).to("member-1");
    nothing_more();
}

// -- section 5: JOIN -----------------------------------------------------------------

TEST_CASE_METHOD(BrokerFixture,
                 "JOIN of a participant is forwarded, and everybody hears of everybody") {
    join_bus("master");
    join_bus("member-0");
    join_bus("member-1");
    open("master", {"member-0", "member-1"});
    ignore();
    join("member-0");
    // the news of a restart comes first, so that what is asked on JOIN is asked of the new process
    expect(Kind::peer_up).about("member-0").to("master");
    expect(Kind::peer_up).about("master").to("member-0");
    const auto forwarded = expect(Kind::join).from("member-0").to("master");
    CHECK(decode_join(forwarded.body)->name == "member-0");
    nothing_more();
    join("member-1");
    expect(Kind::peer_up).about("member-1").to("master");
    expect(Kind::peer_up).about("member-1").to("member-0");
    expect(Kind::peer_up).about("master").to("member-1");
    expect(Kind::peer_up).about("member-0").to("member-1");
    expect(Kind::join).from("member-1").to("master");
    nothing_more();
    join("member-1");  // again: the owner hears it again, the peers know
    expect(Kind::join).from("member-1").to("master");
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "JOIN with a refusal is forwarded and joins nobody") {
    join_bus("master");
    join_bus("member-0");
    open("master", {"member-0"});
    ignore();
    join("member-0", run_of(1), 1, Errc::config_differs);
    CHECK(decode_join(expect(Kind::join).to("master").body)->code == Errc::config_differs);
    nothing_more();
    request("master", "member-0");
    expect_error(Errc::not_a_participant, "master");
}

TEST_CASE_METHOD(BrokerFixture,
                 "a participant that joined and then declines is announced as down") {
    join_bus("master");
    join_bus("member-0");
    open("master", {"member-0"});
    join("member-0");
    ignore();
    join("member-0", run_of(1), 1, Errc::bad_data);
    const auto down = expect(Kind::peer_down).about("member-0").to("master");
    CHECK(decode_peer_down(down.body)->code == Errc::refused);
    expect(Kind::join).from("member-0").to("master");
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "CLOSE of an earlier term does not end the run") {
    join_bus("master");
    open("master", {"member-0"}, run_of(1), 2);
    ignore();
    send("master", Kind::close, encode(Ending{Errc::ok, ""}), run_of(1), 1);
    expect_error(Errc::stale_term, "master");
    CHECK(broker.runs() == 1);
}

TEST_CASE_METHOD(BrokerFixture, "JOIN otherwise") {
    run_with("master", {"member-0"});
    join_bus("stranger");
    join("stranger");
    expect_error(Errc::not_a_participant, "stranger");
    join("member-0", run_of(1), 2);
    expect_error(Errc::stale_term, "member-0");
    join("member-0", run_of(2));
    expect_error(Errc::retry, "member-0");
    send("member-0", Kind::join, encode(Join{"master", "member", 0, 1, {}, "", Errc::ok, ""}),
         run_of(1), 1);
    expect_error(Errc::wrong_source, "member-0");
    send("member-0", Kind::join, Bytes{0x90}, run_of(1), 1);
    expect_error(Errc::malformed_frame, "member-0");
    pass_alive(seconds(31), {"master", "member-0"});
    join("member-0", run_of(2));
    expect_error(Errc::unknown_run, "member-0");
    nothing_more();
}

// -- section 5: CLOSE ----------------------------------------------------------------

TEST_CASE_METHOD(BrokerFixture, "CLOSE of the owner ends the run for all, and is answered") {
    run_with("master", {"member-0", "member-1"});
    close("master");
    for (const char* member : {"member-0", "member-1"}) {
        const auto told = expect(Kind::close).to(member);
        CHECK(told.header.flags == 0);
        CHECK(decode_ending(told.body)->sentence == "done");
    }
    CHECK(expect(Kind::close).to("master").header.flags == flag::answer);
    nothing_more();
    CHECK(broker.runs() == 0);
    close("master");  // it may not have heard the answer
    CHECK(expect(Kind::close).to("master").header.flags == flag::answer);
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "a participant that joins a run which has ended hears how") {
    for (const char* name : {"master", "member-0", "member-1", "stranger"}) join_bus(name);
    open("master", {"member-0", "member-1"}, run_of(1), 2);
    ignore();
    const Close said{
        {Errc::refused, "member-1 refuses"},
        {{node_id_of("member-0"), Bytes(30, 1)}, {node_id_of("member-1"), Bytes(9, 2)}}};
    send("master", Kind::close, encode(said), run_of(1), 2);
    ignore();
    const auto ended_as_said = [&](bool sealed) {
        const auto told = expect(Kind::close).to("member-0");
        CHECK(told.header.flags == 0);
        CHECK(told.header.run == run_of(1));
        CHECK(told.header.term == 2);
        const auto close = decode_close(told.body);
        REQUIRE(close);
        CHECK(close->ending.code == Errc::refused);
        CHECK(close->ending.sentence == "member-1 refuses");
        CHECK(close->sealed.size() == (sealed ? 1 : 0));
        if (sealed) CHECK(close->sealed.at(node_id_of("member-0")) == Bytes(30, 1));
    };
    join("member-0", run_of(1), 2);
    ended_as_said(true);
    join("member-0", run_of(1), 1);
    ended_as_said(false);
    join("member-0", run_of(1), 3);  // nobody has opened that
    expect_error(Errc::retry, "member-0");
    join("stranger", run_of(1), 2);
    expect_error(Errc::retry, "stranger");
    pass_alive(seconds(599), {"master", "member-0", "member-1", "stranger"});
    join("member-0", run_of(1), 2);
    ended_as_said(true);
    nothing_more();
    SECTION("for ten minutes") {
        pass_alive(seconds(2), {"master", "member-0", "member-1", "stranger"});
        join("member-0", run_of(1), 2);
        expect_error(Errc::unknown_run, "member-0");
    }
    SECTION("until it is open again") {
        open("master", {"member-1"}, run_of(1), 3);
        ignore();
        join("member-0", run_of(1), 2);
        expect_error(Errc::not_a_participant, "member-0");
        CHECK(broker.ended_runs() == 0);
    }
    SECTION("and of its owner alone, not of who has opened and closed it since") {
        open("stranger", {"member-0"}, run_of(1), 2);
        close("stranger", run_of(1), 2);
        ignore();
        join("member-0", run_of(1), 2);
        expect_error(Errc::unknown_run, "member-0");
        join("member-0", run_of(1), 2, Errc::ok, "stranger");
        CHECK(decode_close(expect(Kind::close).to("member-0").body)->ending.sentence == "done");
        nothing_more();
    }
}

TEST_CASE_METHOD(BrokerFixture, "CLOSE otherwise") {
    run_with("master", {"member-0"});
    close("member-0");
    expect_error(Errc::not_owner, "member-0");
    send("master", Kind::close, Bytes{0x90}, run_of(1), 1);
    expect_error(Errc::malformed_frame, "master");
    nothing_more();
    CHECK(broker.runs() == 1);
}

// -- section 5: anything else ----------------------------------------------------------

TEST_CASE_METHOD(BrokerFixture, "anything else is malformed") {
    run_with("master", {"member-0"});
    for (int kind = 0; kind < 256; ++kind) {
        switch (static_cast<Kind>(kind)) {
            case Kind::hello:
            case Kind::ping:
            case Kind::pong:
            case Kind::bye:
            case Kind::open:
            case Kind::join:
            case Kind::close:
            case Kind::request:
            case Kind::reply:
            case Kind::window:
            case Kind::credit:
            case Kind::error:
            case Kind::query:  // test_queries.cpp
            case Kind::answer:
                continue;
            default:
                break;
        }
        INFO("kind " << kind);
        send("member-0", static_cast<Kind>(kind), {}, run_of(1), 1);
        expect_error(Errc::malformed_frame, "member-0");
        send("member-0", static_cast<Kind>(kind), Bytes{0x90});
        expect_error(Errc::malformed_frame, "member-0");
        // (some are borne, and more with time: test_conduct.cpp)
        for (int second = 0; second < 4; ++second) {
            pass(seconds(1));
            ping("member-0");
            ping("master");
        }
        ignore();
    }
    send("member-0", Kind::error);  // never answered
    nothing_more();
}

// -- routing ---------------------------------------------------------------------------

TEST_CASE_METHOD(BrokerFixture, "requests and replies go to their destination, untouched") {
    run_with("master", {"member-0", "member-1"});
    for (int i = 0; i < 2; ++i) {  // looked up, then remembered
        request("master", "member-0", 100);
        const auto sent = expect(Kind::request).from("master").to("member-0");
        CHECK(sent.body == Bytes(100, 5));
        Header header = data_header(Kind::request, "master", "member-0");
        header.body_bytes = 100;
        CHECK(sent.header == header);
        reply("member-0", "master", 50);
        CHECK(expect(Kind::reply).from("member-0").to("master").body == Bytes(50, 6));
        request("member-0", "member-1");  // between members
        expect(Kind::request).from("member-0").to("member-1");
    }
    nothing_more();
    CHECK(broker.counters().frames_routed == 6);
}

TEST_CASE_METHOD(BrokerFixture, "nothing crosses from one run to another") {
    run_with("master", {"member-0"}, run_of(1));
    run_with("master-b", {"member-1"}, run_of(2));
    request("master", "member-0");  // the route is remembered
    ignore();
    request("master", "member-1", 0, run_of(1));  // not in run 1
    auto error = expect_error(Errc::not_a_participant, "master");
    CHECK(error.header.request == 1);
    CHECK(error.header.dst == node_id_of("member-1"));
    CHECK(error.header.type == 300);
    CHECK(error.header.run == run_of(1));
    request("master", "member-1", 0, run_of(2));  // the sender is not in run 2
    expect_error(Errc::not_a_participant, "master");
    request("master", "member-0", 0, run_of(2));
    expect_error(Errc::not_a_participant, "master");
    request("master", "nobody");
    expect_error(Errc::not_a_participant, "master");
    Header to_broker = data_header(Kind::request, "master", "member-0");
    to_broker.dst = broker_node;
    frame(conn("master"), to_broker);
    expect_error(Errc::not_a_participant, "master");
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture,
                 "frames of another term, of unknown runs, and before joining go nowhere") {
    run_with("master", {"member-0"});
    request("master", "member-0", 0, run_of(1), 2);
    expect_error(Errc::stale_term, "master");
    request("master", "member-0", 0, run_of(7));
    expect_error(Errc::retry, "master");
    pass_alive(seconds(31), {"master", "member-0"});
    request("master", "member-0", 0, run_of(7));
    expect_error(Errc::unknown_run, "master");

    join_bus("member-1");
    open("master", {"member-0", "member-1"}, run_of(2));
    join("member-0", run_of(2));
    ignore();
    request("master", "member-1", 0, run_of(2));
    expect_error(Errc::not_a_participant, "master");
    request("member-1", "master", 0, run_of(2));
    expect_error(Errc::not_a_participant, "member-1");
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "a remembered route is forgotten when anything changes") {
    run_with("master", {"member-0"});
    request("master", "member-0");
    expect(Kind::request).to("member-0");
    SECTION("the destination has a new connection and has not joined again") {
        connect("member-0");
        hello("member-0");
        ignore();
        request("master", "member-0");
        expect_error(Errc::not_a_participant, "master");
        join("member-0");
        ignore();
        request("master", "member-0");
        expect(Kind::request).to("member-0");
    }
    SECTION("the connection is gone") {
        router.gone.insert(conn("member-0"));
        request("master", "member-0");
        expect_error(Errc::unreachable, "master");
        request("master", "member-0");
        expect_error(Errc::unreachable, "master");
    }
    SECTION("the run is closed") {
        close("master");
        ignore();
        request("master", "member-0");
        expect_error(Errc::retry, "master");
    }
    SECTION("the source joins nothing any more") {
        connect("master");
        hello("master");
        ignore();
        request("master", "member-0");
        expect_error(Errc::not_a_participant, "master");
    }
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "CREDIT goes where a REPLY would, or nowhere without a word") {
    run_with("master", {"member-0"});
    Header credit = data_header(Kind::credit, "member-0", "master");
    credit.aux = 99;
    frame(conn("member-0"), credit);
    CHECK(expect(Kind::credit).from("member-0").to("master").header.aux == 99);
    credit.term = 2;
    frame(conn("member-0"), credit);
    credit.term = 1;
    credit.dst = node_id_of("nobody");
    frame(conn("member-0"), credit);
    nothing_more();
}

// -- section 7: windows at the broker ----------------------------------------------------

TEST_CASE_METHOD(BrokerFixture, "the broker answers MARKs and keeps to the window") {
    run_with("master", {"member-0"});
    std::uint64_t sent = 0;
    std::uint64_t delivered = 0;
    const auto collect = [&] {
        for (const SentFrame& f : router.frames)
            if (f.header.kind == Kind::request) delivered += header_bytes + f.body.size();
        ignore();
    };
    for (int i = 0; i < 20; ++i) {
        request("master", "member-0", 100'000);
        sent += 100'000 + header_bytes;
    }
    collect();
    mark("master", 7);
    CHECK(expect(Kind::window).to("master").header.aux == 7);
    CHECK(delivered >= hop_window_bytes_min);
    CHECK(delivered < hop_window_bytes_min + 100'097);
    CHECK(broker.queued_bytes() == sent - delivered);
    window("member-0", delivered);
    collect();
    CHECK(delivered > hop_window_bytes_min + 400'000);
    answer_mark("member-0", 12345);  // of no MARK: says nothing
    nothing_more();
    // a new session: the queue is dropped
    hello("member-0");
    CHECK(broker.queued_bytes() == 0);
}

TEST_CASE_METHOD(BrokerFixture,
                 "who reads nothing gets no more than a window, whatever it says and does") {
    run_with("master", {"member-0"});
    std::uint64_t delivered = 0;
    const auto collect = [&] {
        for (const SentFrame& f : router.frames)
            if (f.to == conn("member-0")) delivered += header_bytes + f.body.size();
        ignore();
    };
    for (int round = 0; round < 50; ++round) {
        for (int i = 0; i < 10; ++i) request("master", "member-0", 100'000);
        for (std::uint64_t lie = 1; lie < 30; ++lie) answer_mark("member-0", lie * delivered);
        if (round % 10 == 9) {  // another session on the same connection
            hello("member-0");
            open("master", {"member-0"}, run_of(1), static_cast<std::uint32_t>(round));
            join("member-0", run_of(1), static_cast<std::uint32_t>(round));
        }
        collect();
    }
    // the window, the frame that crosses the line, control frames and MARKs
    CHECK(delivered < hop_window_bytes_min + 100'000 + control_allowance_bytes +
                          report_allowance_bytes + mark_every_bytes);
    CHECK(broker.queued_controls() < control_queue_frames_max);
}

namespace {

/// What a connection may have that reads nothing: the window, the frame that crosses the line,
/// control frames and the one that crosses theirs, and MARKs.
constexpr std::uint64_t of_one_that_reads_nothing = hop_window_bytes_min + chunk_bytes +
                                                    control_allowance_bytes +
                                                    report_allowance_bytes + 2 * mark_every_bytes;

}  // namespace

TEST_CASE_METHOD(BrokerFixture,
                 "who reads nothing gets no more than a window in all sessions of its connection") {
    run_with("master", {"member-0", "member-1"});
    const ConnId deaf = conn("member-0");
    std::uint64_t delivered = 0;
    std::uint32_t term = 1;
    const auto collect = [&] {
        for (const SentFrame& f : router.frames)
            if (f.to == deaf) delivered += header_bytes + f.body.size();
        ignore();
    };
    const auto fill = [&](const std::string& name) {
        open("master", {"member-0", "member-1", "other"}, run_of(1), ++term);
        join(name, run_of(1), term);
        for (int i = 0; i < 10; ++i) request("master", name, 100'000, run_of(1), term);
        for (std::uint64_t lie = 1; lie < 30; ++lie) answer_mark(name, lie * delivered);
        collect();
    };
    fill("member-0");
    const auto rounds = 30;

    SECTION("BYE and HELLO") {
        for (int round = 0; round < rounds; ++round) {
            bye("member-0");
            hello("member-0");
            fill("member-0");
        }
    }
    SECTION("BYE, and words of a stranger in between") {
        for (int round = 0; round < rounds; ++round) {
            bye("member-0");
            for (int i = 0; i < 200; ++i) ping("member-0");
            pass_alive(seconds(10), {"master"}, false);
            hello("member-0");
            fill("member-0");
        }
    }
    SECTION("superseded by another process, and back") {
        std::uint64_t incarnation = 1;
        for (int round = 0; round < rounds; ++round) {
            pass_alive(seconds(4), {"master"}, false);  // it is silent, so the younger one is taken
            collect();
            connect("member-0");
            ++incarnation;
            hello("member-0", incarnation, 1000 + incarnation);
            fill("member-0");
            pass_alive(seconds(4), {"master"}, false);
            collect();
            conns().at("member-0") = deaf;
            ++incarnation;
            hello("member-0", incarnation, 1000 + incarnation);
            fill("member-0");
        }
    }
    SECTION("the same process on two connections in turn") {
        for (int round = 0; round < rounds; ++round) {
            const ConnId other = connect("member-0");
            CHECK(other == deaf);
            hello("member-0");
            fill("member-0");
            conns().at("member-0") = deaf;
            hello("member-0");
            fill("member-0");
        }
    }
    SECTION("another name each time") {
        bye("member-0");
        conns()["other"] = deaf;
        for (int round = 0; round < rounds; ++round) {
            hello("other");
            fill("other");
            bye("other");
            hello("member-0");
            fill("member-0");
            bye("member-0");
        }
    }
    SECTION("a connection that becomes a bulk connection, and back") {
        bye("member-0");
        const ConnId main = connect("member-0");
        for (int round = 0; round < rounds; ++round) {
            conns().at("member-0") = main;
            hello("member-0");
            fill("member-0");
            bye("member-0");
            connect("member-0");
            hello("member-0");
            Header header;
            header.kind = Kind::bulk;
            header.src = node_id_of("member-0");
            header.request = 77;
            header.aux = expect(Kind::welcome).to("member-0").header.aux;
            frame(main, header);
            collect();
            bye("member-0");
        }
    }
    collect();
    CHECK(delivered > hop_window_bytes_min);  // the test fills what there is
    CHECK(delivered < of_one_that_reads_nothing);
    CHECK(broker.queued_controls() < control_queue_frames_max);
}

TEST_CASE_METHOD(BrokerFixture, "who has read what was sent gets more, whatever session it is in") {
    run_with("master", {"member-0"});
    std::uint32_t term = 1;
    std::uint64_t delivered = 0;
    const auto fill = [&] {
        open("master", {"member-0"}, run_of(1), ++term);
        join("member-0", run_of(1), term);
        for (int i = 0; i < 10; ++i) request("master", "member-0", 100'000, run_of(1), term);
        delivered = 0;
        for (const SentFrame& f : router.frames)
            if (f.header.kind == Kind::request) delivered += f.body.size();
        ignore();
    };
    fill();
    CHECK(delivered >= hop_window_bytes_min - 100'000);
    SECTION("it answers MARKs before BYE is read") {
        window("member-0");
        bye("member-0");
        hello("member-0");
    }
    SECTION("it answers MARKs between BYE and HELLO") {
        bye("member-0");
        window("member-0");
        hello("member-0");
    }
    SECTION("it answers MARKs after its next HELLO") {
        bye("member-0");
        hello("member-0");
        fill();
        CHECK(delivered == 0);
        window("member-0");
    }
    SECTION("it comes on another connection") {
        connect("member-0");
        hello("member-0");
    }
    fill();
    CHECK(delivered >= hop_window_bytes_min - 200'000);
}

TEST_CASE_METHOD(BrokerFixture, "a newcomer that waits for a name, and takes another one") {
    join_bus("a");
    connect("a");
    hello("a", 2, 99);  // asks for the name that the first process has
    const ConnId both = conn("a");
    conns()["b"] = both;
    hello("b");
    expect(Kind::welcome).to("b");
    ignore();
    pass(seconds(5));  // the first process does not answer
    ping("b");
    expect(Kind::pong).to(both);
    request("b", "a");
    expect_error(Errc::retry, "b");
}

TEST_CASE_METHOD(BrokerFixture,
                 "processes that ask for a name do not fill the pipe of its holder") {
    join_bus("a");
    const ConnId deaf = connect("a");
    std::uint64_t delivered = 0;
    const auto collect = [&] {
        for (const SentFrame& f : router.frames)
            if (f.to == deaf) delivered += header_bytes + f.body.size();
        ignore();
    };
    for (std::uint64_t n = 1; n < 40'000; ++n) {
        hello("a", 5, 99);
        Header pong;  // of the PING that it has not read, whose number is easily guessed
        pong.kind = Kind::pong;
        pong.src = node_id_of("a");
        pong.request = n;
        frame(deaf, pong);
        now += milliseconds(1);
        if (n % 100 == 0) collect();
    }
    collect();
    CHECK(delivered < of_one_that_reads_nothing);
}

TEST_CASE_METHOD(BrokerFixture,
                 "a destination far behind holds back its senders, not the broker's memory") {
    run_with("master", {"member-0", "member-1"});
    const std::uint64_t per_frame = chunk_bytes + header_bytes;
    Header header = data_header(Kind::request, "master", "member-0");
    header.body_bytes = chunk_bytes;
    std::uint64_t sent = 0;
    while (broker.queued_bytes() <= broker_queue_bytes_max) {
        frame(conn("master"), header, Bytes(chunk_bytes, 1));
        sent += per_frame;
    }
    const auto reported = [&] {
        std::uint64_t token = 0;
        for (const SentFrame& f : router.frames)
            if (f.header.kind == Kind::window && f.to == conn("master")) token = f.header.aux;
        return token;
    };
    mark("master", sent);
    CHECK(reported() == sent);
    for (int i = 0; i < 4; ++i) frame(conn("master"), header, Bytes(chunk_bytes, 1));
    const std::uint64_t deferred = 4 * per_frame;
    mark("master", sent + deferred);
    CHECK(reported() == sent);  // not consumed yet

    SECTION("the destination takes it all") {
        std::uint64_t taken = 0;
        for (int i = 0; i < 2000 && broker.queued_bytes() > 0; ++i) {
            for (const SentFrame& f : router.frames)
                if (f.header.kind == Kind::request) taken += header_bytes + f.body.size();
            std::erase_if(router.frames,
                          [](const auto& f) { return f.header.kind == Kind::request; });
            now += milliseconds(1);
            window("member-0", taken);
        }
        CHECK(broker.queued_bytes() == 0);
    }
    SECTION("the destination starts a new session") {
        hello("member-0");
    }
    SECTION("the destination says BYE") {
        bye("member-0");
    }
    SECTION("the run is closed") {
        close("master");
    }
    SECTION("the connection turns out to be gone") {
        router.gone.insert(conn("member-0"));
        SECTION("by a data frame") {
            window("member-0", header_bytes + chunk_bytes);
        }
        SECTION("by a control frame") {
            ping("member-0");
        }
        broker.on_tick(now);
    }
    SECTION("the destination is lost") {
        for (int i = 0; i < 22; ++i) {
            ping("master");
            pass(milliseconds(500));
        }
    }
    CHECK(reported() == sent + deferred);  // its sender may go on in all its runs
}

TEST_CASE_METHOD(BrokerFixture, "a sender that ignores its window fills no queue") {
    run_with("master", {"member-0", "member-1"});
    Header header = data_header(Kind::request, "master", "member-0");
    header.body_bytes = chunk_bytes;
    const auto send_one = [&] {
        frame(conn("master"), header, Bytes(chunk_bytes, 1));
        std::erase_if(router.frames, [](const auto& f) { return f.header.kind != Kind::error; });
    };
    while (broker.queued_bytes() <= broker_queue_bytes_max) send_one();
    const std::uint64_t before = broker.queued_bytes();
    for (int i = 0; i < 90; ++i) send_one();
    const std::uint64_t per_frame = chunk_bytes + header_bytes;
    const std::uint64_t windows = 2 * (hop_window_bytes_max + per_frame);
    CHECK(broker.queued_bytes() - before < windows + per_frame);
    expect_error(Errc::too_many, "master");

    SECTION("in another session no more") {
        ignore();
        hello("master");
        open("master", {"member-0", "member-1"});
        for (int i = 0; i < 20; ++i) send_one();
        CHECK(broker.queued_bytes() - before < windows + per_frame);
    }
    SECTION("and who goes on is cut") {
        for (int i = 0; i < 100; ++i) send_one();
        CHECK(router.closed == std::vector<ConnId>{conn("master")});
    }
    SECTION("another one is not held back for it") {
        ignore();
        Header small = data_header(Kind::reply, "member-1", "master");
        frame(conn("member-1"), small, {});
        expect(Kind::reply).to("master");
    }
    SECTION("once the destination has taken it, all goes on") {
        ignore();
        hello("member-0");
        join("member-0");
        ignore();
        CHECK(broker.queued_bytes() == 0);
        send_one();
        CHECK(router.frames.empty());
    }
}

TEST_CASE_METHOD(BrokerFixture,
                 "connections that turn out to be gone in the middle of a broadcast") {
    run_with("master", {"member-0", "member-1", "member-2"});
    router.gone.insert(conn("member-0"));
    router.gone.insert(conn("member-2"));
    SECTION("CLOSE") {
        close("master");
        expect(Kind::close).to("member-1");
        CHECK(expect(Kind::close).to("master").header.flags == flag::answer);
        nothing_more();
        CHECK(broker.runs() == 0);
    }
    SECTION("PEER_DOWN") {
        bye("master");
        expect(Kind::peer_down).to("member-1");
        nothing_more();
        pass(seconds(1));
    }
    SECTION("a JOIN when the owner is gone") {
        router.gone.insert(conn("master"));
        connect("member-0");
        hello("member-0");
        ignore();
        join("member-0");
        expect(Kind::peer_up).about("member-0").to("member-1");
        expect(Kind::peer_up).about("member-1").to("member-0");
        ignore();
    }
    SECTION("PEER_UP of a node whose own connection is gone") {
        router.gone.insert(conn("member-1"));
        pass(seconds(4));
        ignore();
        ping("member-1");  // the frame came, the connection went
        pass(seconds(1));
    }
    // whatever was found out, the broker goes on
    pass(seconds(60));
    connect("member-0");
    hello("member-0", 9, 99);
    expect(Kind::welcome).to("member-0");
    ping("member-0");
}

TEST_CASE_METHOD(BrokerFixture,
                 "control frames wait while a transport is full, and go out in order") {
    run_with("master", {"member-0"});
    router.full.insert(conn("member-0"));
    ping("member-0");
    open("master", {"member-0"}, run_of(2));
    std::erase_if(router.frames, [&](const auto& f) { return f.to != conn("member-0"); });
    nothing_more();
    CHECK(broker.next_deadline() - now <= milliseconds(250));
    broker.on_tick(now);
    CHECK(broker.next_deadline() - now <= milliseconds(2));
    router.full.clear();
    broker.on_tick(now);
    expect(Kind::pong).to("member-0");
    expect(Kind::open).from("master").to("member-0");
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "shutdown says BYE to all nodes") {
    join_bus("member-0");
    join_bus("member-1");
    broker.shutdown("over");
    CHECK(decode_sentence(expect(Kind::bye).code(Errc::ok).to("member-0").body) == "over");
    expect(Kind::bye).to("member-1");
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "who asks without end and reads nothing is given up") {
    run_with("master", {"member-0", "member-1"});
    const ConnId conn_id = conn("member-0");
    router.full.insert(conn_id);
    std::size_t most = 0;
    for (int i = 0; i < 20'000; ++i) {
        request("member-0", "master", 1, run_of(77));  // which is answered with ERROR
        most = std::max(most, broker.queued_controls());
        ignore();
    }
    CHECK(most == control_queue_frames_max);
    pass(milliseconds(500));
    CHECK(broker.queued_controls() == 0);
    router.full.clear();
    ignore();
    // its session is over; the next one has all that there is
    ping("member-0");
    expect_error(Errc::not_registered, "member-0");
    hello("member-0");
    expect(Kind::welcome).to("member-0");
    expect(Kind::open).to("member-0");
    nothing_more();
    // and the others have seen no more of it than that
    ping("member-1");
    expect(Kind::pong).to("member-1");
}

TEST_CASE_METHOD(
    BrokerFixture,
    "what finds no room in the queue of a slow node is said when there is room again") {
    run_with("master", {"member-0", "member-1"});
    const auto fill = [&](const std::string& from, const std::string& to) {
        router.full.insert(conn(to));
        Header credit = data_header(Kind::credit, from, to);
        for (credit.request = 1; credit.request <= passed_on_of_one_frames_max; ++credit.request)
            frame(conn(from), credit);
    };
    const auto drain = [&](const std::string& name) {
        ignore();
        router.full.clear();
        pass(seconds(1));
        std::erase_if(router.frames, [&](const auto& sent) {
            return sent.to != conn(name) || sent.header.kind == Kind::credit;
        });
    };
    SECTION("OPEN to a participant") {
        fill("master", "member-0");
        open("master", {"member-0"}, run_of(2));
        const bool closed = GENERATE(false, true);
        if (closed) close("master", run_of(2));
        drain("member-0");
        if (closed) {
            expect(Kind::close).to("member-0");
        } else {
            CHECK(expect(Kind::open).from("master").to("member-0").header.run == run_of(2));
            join("member-0", run_of(2));
            expect(Kind::peer_up).about("member-0").to("master");
            expect(Kind::peer_up).about("master").to("member-0");
            CHECK(expect(Kind::join).from("member-0").to("master").header.run == run_of(2));
        }
    }
    SECTION("JOIN to an owner that opens its run once more") {
        fill("member-0", "master");
        open("master", {"member-0", "member-1"});
        drain("master");
        std::set<NodeId> heard;
        for (const SentFrame& sent : router.frames)
            if (sent.header.kind == Kind::join) heard.insert(sent.header.src);
        CHECK(heard == std::set<NodeId>{node_id_of("member-0"), node_id_of("member-1")});
        ignore();
    }
    nothing_more();
    pass(seconds(1));
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "the flood of one node costs no other one its session") {
    run_with("master", {"member-0", "member-1"});
    const ConnId victim = conn("master");  // slow, but alive
    router.full.insert(victim);
    std::size_t most = 0;
    const auto flood = [&](auto&& once) {
        for (std::uint64_t i = 1; i <= 30'000; ++i) {
            once(i);
            most = std::max(most, broker.queued_controls());
            window("member-0");  // which reads what it is answered
            ignore();
        }
    };
    SECTION("CREDIT") {
        flood([&](std::uint64_t i) {
            Header credit = data_header(Kind::credit, "member-0", "master");
            credit.request = i;
            frame(conn("member-0"), credit);
        });
        CHECK(most == passed_on_of_one_frames_max);
    }
    SECTION("JOIN") {
        flood([&](std::uint64_t i) {
            const Errc code = i % 2 == 0 ? Errc::ok : Errc::refused;
            send("member-0", Kind::join,
                 encode(Join{"member-0", "member", 0, i, {}, "", code, std::string(4000, 'j'), {}}),
                 run_of(1), 1);
        });
        CHECK(most < 10);  // the newest of each is all there is to say
    }
    SECTION("QUERY") {
        flood([&](std::uint64_t i) {
            Header query;
            query.kind = Kind::query;
            query.src = node_id_of("member-0");
            query.dst = node_id_of("master");
            query.request = i;
            query.type = 16;
            frame(conn("member-0"), query);
        });
        CHECK(most <= queries_max);
    }
    SECTION("OPEN of runs that name it") {
        flood([&](std::uint64_t i) {
            open("member-0", {"master"}, run_of(static_cast<std::uint8_t>(2 + i % 100)),
                 static_cast<std::uint32_t>(1 + i / 100));
        });
        // one OPEN of each run
        CHECK(most < 110);
    }
    pass(milliseconds(500));
    router.full.clear();
    pass(milliseconds(500));
    ignore();
    ping("master");
    expect(Kind::pong).to("master");
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "a run's OPEN is there once for all who are invited") {
    join_bus("master");
    for (const char* name : {"member-0", "member-1", "member-2"}) join_bus(name);
    std::set<const void*> at;
    for (int i = 0; i < 2; ++i) {  // said again as well
        open("master", {"member-0", "member-1", "member-2"});
        expect(Kind::open).to("master");
        for (const char* name : {"member-0", "member-1", "member-2"})
            at.insert(expect(Kind::open).to(name).held_at);
    }
    connect("member-1");
    hello("member-1");
    expect(Kind::welcome).to("member-1");
    at.insert(expect(Kind::open).to("member-1").held_at);
    CHECK(at.size() == 1);
    nothing_more();
}

TEST_CASE_METHOD(BrokerFixture, "what a node says in OPEN is kept within a bound") {
    join_bus("master");
    const auto large = [&](std::uint8_t run) {
        const Open open{"master", {{"member-0", "member", 0}}, std::string(1'000'000, 'x')};
        send("master", Kind::open, encode(open), run_of(run), 1);
    };
    std::uint64_t opened = 0;
    std::uint64_t refused = 0;
    for (std::uint8_t i = 1; i <= 40; ++i) {
        large(i);
        for (const SentFrame& f : router.frames) {
            opened += f.header.kind == Kind::open ? 1 : 0;
            refused += f.header.kind == Kind::error &&
                               f.header.aux == static_cast<std::uint64_t>(Errc::too_many)
                           ? 1
                           : 0;
        }
        router.frames.clear();
    }
    CHECK(opened == 16);
    CHECK(refused == 24);
    CHECK(broker.runs() == 16);
    CHECK(broker.kept_of_one_bytes() <= kept_of_one_bytes_max);
    // it is about this node alone, and about what is kept now
    join_bus("other");
    open("other", {"member-0"}, run_of(50));
    expect(Kind::open).to("other");
    close("master", run_of(1));
    expect(Kind::close).to("master");
    large(60);
    expect(Kind::open).to("master");
}

TEST_CASE_METHOD(BrokerFixture, "JOIN of many runs is kept within a bound") {
    join_bus("member-0");
    std::vector<RunId> runs;
    for (std::uint8_t owner = 1; owner <= 2; ++owner) {
        const std::string name = "owner-" + std::to_string(owner);
        join_bus(name);
        for (std::uint8_t i = 0; i < 150; ++i) {
            RunId run = run_of(owner);
            run.bytes[0] = i;
            open(name, {"member-0"}, run);
            runs.push_back(run);
        }
    }
    router.frames.clear();
    std::uint64_t refused = 0;
    for (const RunId& run : runs) {
        Join join{"member-0", "member", 0, 1, {}, "0.1.0", Errc::ok, ""};
        join.extensions = Extensions{{1, Bytes(extension_bytes_max, 7)}};
        send("member-0", Kind::join, encode(join), run, 1);
        for (const SentFrame& f : router.frames)
            refused += f.header.kind == Kind::error &&
                               f.header.aux == static_cast<std::uint64_t>(Errc::too_many)
                           ? 1
                           : 0;
        router.frames.clear();
    }
    CHECK(refused > 0);
    CHECK(broker.kept_of_one_bytes() <= kept_of_one_bytes_max);
}

TEST_CASE_METHOD(BrokerFixture, "OPEN in ever later terms is paid for by its owner") {
    std::vector<std::string> names;
    for (int i = 0; i < 500; ++i) {
        names.push_back("n-" + std::to_string(i));
        join_bus(names.back());
    }
    join_bus("mallory");
    join_bus("master");
    std::uint64_t invited = 0;
    for (std::uint32_t term = 1; term <= 400; ++term) {
        open("mallory", names, run_of(1), term);
        for (const SentFrame& f : router.frames) invited += f.header.kind == Kind::open ? 1 : 0;
        router.frames.clear();
    }
    // all in the same moment
    CHECK(invited <= static_cast<std::uint64_t>(announcements_at_once));
    open("mallory", names, run_of(1), 401);
    expect_error(Errc::retry, "mallory");
    open("master", {"n-0"}, run_of(2));  // others are not kept waiting
    expect(Kind::open).to("master");
    expect(Kind::open).to("n-0");
    pass(seconds(1));
    router.frames.clear();
    open("mallory", {"n-0"}, run_of(1), 401);
    expect(Kind::open).to("mallory");
}

TEST_CASE_METHOD(BrokerFixture, "HELLO and BYE without end are paid for") {
    join_bus("master");
    for (std::uint8_t i = 1; i <= 100; ++i) open("master", {"mallory"}, run_of(i));
    router.frames.clear();
    std::uint64_t told = 0;
    for (int i = 0; i < 2000; ++i) {
        hello("mallory");
        if (i % 2 == 0) bye("mallory");
        window("mallory");
        for (const SentFrame& f : router.frames) told += f.header.kind == Kind::open ? 1 : 0;
        router.frames.clear();
    }
    CHECK(told <= static_cast<std::uint64_t>(announcements_at_once));
    pass(seconds(1));
    router.frames.clear();
    hello("mallory");
    expect(Kind::welcome).to("mallory");
}

TEST_CASE_METHOD(BrokerFixture, "a stranger that goes on is not answered for ever") {
    for (int i = 0; i < 10'000; ++i) ping("x");
    CHECK(router.frames.size() <= static_cast<std::size_t>(stranger_answers_at_once));
    router.frames.clear();
    pass(seconds(1));
    ping("x");
    expect_error(Errc::not_registered, "x");
    hello("x");  // and may still become a node
    expect(Kind::welcome).to("x");
    for (int i = 0; i < 10'000; ++i) {
        Header header;
        header.kind = Kind::hello;
        header.src = node_id_of("y");
        frame(conn("y"), header, Bytes(3, 1));
    }
    CHECK(router.frames.size() <= static_cast<std::size_t>(stranger_answers_at_once));
}
