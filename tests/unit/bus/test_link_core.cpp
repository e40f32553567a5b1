// A node's side of the bus as a state machine: docs/protocol.md, sections 4 to 7.

#include <limits>

#include "link_fixture.hpp"

using namespace vflbus;
using namespace vflbus::bus;

// -- the connection ------------------------------------------------------------------

TEST_CASE_METHOD(LinkFixture, "HELLO is said again after a while that doubles to 8 s") {
    link.start(now);
    const auto first = expect(Kind::hello);
    const auto hello = decode_hello(first.body);
    REQUIRE(hello);
    CHECK(hello->name == "member-0");
    CHECK(hello->incarnation == 3);
    CHECK(hello->instance == 0xABC);
    double wait_s = 0.25;
    for (int i = 0; i < 12; ++i) {
        const TimePoint before = now;
        while (wire.frames.empty()) pass(milliseconds(5));
        const double waited = std::chrono::duration<double>(now - before).count();
        CHECK(waited >= 0.8 * wait_s - 0.01);
        CHECK(waited <= 1.2 * wait_s + 0.01);
        wait_s = std::min(8.0, 2 * wait_s);
        CHECK(expect(Kind::hello).header.request == first.header.request + 1 + std::uint64_t(i));
        nothing_sent();
    }
    no_event();
    CHECK_FALSE(link.up());
    CHECK(wire.reconnects >= 1);  // perhaps the connection itself was stuck
}

namespace {
/// Pauses between HELLOs from 1 s to 3 s, without chance.
struct Unhurried : LinkFixture {
    static LinkConfig unhurried() {
        LinkConfig c = config();
        c.timings.hello_retry_min = seconds(1);
        c.timings.hello_retry_max = seconds(3);
        c.timings.hello_retry_jitter = 0;
        return c;
    }
    Unhurried() : LinkFixture(unhurried()) {}
};
}  // namespace

TEST_CASE_METHOD(Unhurried, "the pauses between HELLOs are those of the configuration") {
    link.start(now);
    expect(Kind::hello);
    for (const seconds pause : {seconds(1), seconds(2), seconds(3), seconds(3)}) {
        const TimePoint before = now;
        while (wire.frames.empty()) pass(milliseconds(5));
        CHECK(now - before >= pause - milliseconds(10));
        CHECK(now - before <= pause + milliseconds(10));
        expect(Kind::hello);
    }
}

TEST_CASE_METHOD(LinkFixture, "a transport that is not connected yet is no try") {
    wire.full = true;
    link.start(now);
    pass(seconds(3));
    wire.full = false;
    pass(milliseconds(25));
    expect(Kind::hello);
    nothing_sent();
}

TEST_CASE_METHOD(LinkFixture, "only the WELCOME to the last HELLO counts") {
    link.start(now);
    expect(Kind::hello);
    const std::uint64_t first = last_hello;
    pass(milliseconds(400));
    expect(Kind::hello);
    const std::uint64_t second = last_hello;
    last_hello = first;
    welcome();
    no_event();
    CHECK_FALSE(link.up());
    last_hello = second;
    welcome();
    event<LinkUp>();
    CHECK(link.up());
    welcome();  // once
    no_event();
}

TEST_CASE_METHOD(LinkFixture, "WELCOME announces runs again and sends what is pending again") {
    come_up();
    own_run();
    link.join_run({run_of(2), 4, node_id_of("master"), {}},
                  Join{"member-0", "member", 0, 3, {}, "", Errc::ok, ""}, now);
    REQUIRE(link.request(run_of(1), node_id_of("member-1"), 300, Bytes(10, 1), now));
    REQUIRE(link.request(run_of(1), node_id_of("member-2"), 301, Bytes(chunk_bytes + 1, 1), now));
    consume_all();
    ignore();
    error(Errc::not_registered);
    CHECK_FALSE(link.up());
    error(Errc::not_registered);  // one per frame that was under way: one HELLO is enough
    expect(Kind::hello);
    // a last word of the session that is over: what it starts, the next one would count at the
    // broker alone
    peer_up("member-1");
    event<PeerChanged>();
    nothing_sent();
    welcome();
    event<LinkUp>();
    CHECK(expect(Kind::open).header.run == run_of(1));
    const auto join = expect(Kind::join).header;
    CHECK(join.run == run_of(2));
    CHECK(join.term == 4);
    CHECK(join.dst == node_id_of("master"));
    consume_all();
    std::size_t bytes = 0;
    for (int i = 0; i < 3; ++i) bytes += expect(Kind::request).body.size();
    CHECK(bytes == 10 + chunk_bytes + 1);
    nothing_sent();
}

TEST_CASE_METHOD(LinkFixture, "an idle link pings, a busy one does not") {
    come_up();
    pass(milliseconds(999));
    nothing_sent();
    no_event();
    pass(milliseconds(2));
    expect(Kind::ping);
    nothing_sent();
    Header ping;
    ping.kind = Kind::ping;
    ping.request = 9;
    frame(ping);
    const auto pong = expect(Kind::pong).header;
    CHECK(pong.request == 9);
    CHECK(pong.flags == 0);
}

TEST_CASE_METHOD(LinkFixture,
                 "a silent broker: the link says so, opens a new connection and says HELLO again") {
    come_up();
    pass(milliseconds(6499));  // half way between suspect and lost
    CHECK(link.up());
    no_event();
    ignore();
    pass(milliseconds(10));
    CHECK_FALSE(link.up());
    event<LinkDown>();
    CHECK(wire.reconnects == 1);
    CHECK(expect(Kind::hello).header.request == 2);
    pass(seconds(60));
    no_event();  // said once
    ignore();
    welcome();
    event<LinkUp>();
}

TEST_CASE_METHOD(LinkFixture, "BYE of the broker: another may come at its address") {
    come_up();
    bye(Errc::ok);
    CHECK_FALSE(link.up());
    event<LinkDown>();
    pass(milliseconds(400));
    expect(Kind::hello);
    welcome();
    event<LinkUp>();
}

TEST_CASE("fatal codes end the link") {
    for (const Errc code :
         {Errc::name_taken, Errc::stale_incarnation, Errc::superseded, Errc::unsupported_version,
          Errc::too_many, Errc::malformed_frame, Errc::wrong_source})
        for (const bool up : {false, true}) {
            LinkFixture f;
            f.link.start(f.now);
            f.expect(Kind::hello);
            if (up) {
                f.welcome();
                f.event<LinkUp>();
            }
            INFO(name_of(code) << (up ? " when up" : " when greeting"));
            f.error(code);
            const bool about_a_frame = code == Errc::too_many || code == Errc::malformed_frame ||
                                       code == Errc::wrong_source;
            if (up && about_a_frame) {  // not about the node itself
                f.no_event();
                CHECK(f.link.up());
                continue;
            }
            CHECK(f.event<LinkFatal>().failure.code == code);
            CHECK(f.dead());
            f.pass(seconds(20));
            f.welcome();
            f.nothing_sent();
            f.no_event();
        }
    LinkFixture f;
    f.come_up();
    f.bye(Errc::superseded);
    CHECK(f.event<LinkFatal>().failure.code == Errc::superseded);
    CHECK(f.dead());
}

TEST_CASE_METHOD(LinkFixture, "a broker of another version or with a malformed WELCOME is fatal") {
    link.start(now);
    SECTION("version") {
        Header header;
        header.kind = Kind::welcome;
        HeaderBytes head = encode(header);
        head[3] = 9;
        link.on_frame(Payload::copy_of(head), {}, 1, now);
        CHECK(event<LinkFatal>().failure.code == Errc::unsupported_version);
    }
    SECTION("WELCOME") {
        expect(Kind::hello);
        Header header;
        header.kind = Kind::welcome;
        header.request = last_hello;
        frame(header, Bytes{0x90});
        CHECK(event<LinkFatal>().failure.code == Errc::malformed_frame);
    }
    CHECK(dead());
}

TEST_CASE_METHOD(LinkFixture, "WELCOME with an extension that must be understood is fatal") {
    link.start(now);
    expect(Kind::hello);
    Header header;
    header.kind = Kind::welcome;
    header.request = last_hello;
    header.aux = 1;
    SECTION("an odd one is seen by the user") {
        frame(header, encode(Welcome{"0.1.0", 1, 2, 3, 1 << 20, 1 << 20, {{9, {8}}}}));
        CHECK(event<LinkUp>().extensions == Extensions{{9, {8}}});
    }
    SECTION("an even one ends the link") {
        frame(header, encode(Welcome{"0.1.0", 1, 2, 3, 1 << 20, 1 << 20, {{8, {8}}}}));
        const auto fatal = event<LinkFatal>();
        CHECK(fatal.failure.code == Errc::unsupported_version);
        CHECK(fatal.failure.sentence.find("WELCOME has extension 8, which has to be understood") !=
              std::string::npos);
        CHECK(dead());
    }
}

TEST_CASE("a run with an extension that must be understood and is not, is declined at once") {
    for (const bool known : {false, true}) {
        LinkConfig config = LinkFixture::config();
        if (known) config.understood = {300};
        LinkFixture f(std::move(config));
        f.come_up();
        Header header;
        header.kind = Kind::open;
        header.run = LinkFixture::run_of(1);
        header.term = 4;
        header.src = node_id_of("master");
        const Extensions extensions{{299, {}}, {300, {1, 2}}};
        f.frame(header, encode(Open{"master", {{"member-0", "member", 0}}, "agreed", extensions}));
        if (known) {
            CHECK(f.event<RunInvited>().open.extensions == extensions);
            f.nothing_sent();
            continue;
        }
        f.no_event();
        const auto sent = f.expect(Kind::join);
        CHECK(sent.header.term == 4);
        CHECK(sent.header.dst == node_id_of("master"));
        const auto join = decode_join(sent.body);
        REQUIRE(join);
        CHECK(join->code == Errc::unsupported_version);
        CHECK(join->sentence.find("has extension 300") != std::string::npos);
        CHECK(join->sentence.find("not known to member-0") != std::string::npos);
    }
}

TEST_CASE_METHOD(LinkFixture, "a JOIN with an extension that the owner does not know declines") {
    come_up();
    own_run();
    const auto say = [&](Extensions extensions) {
        Header header;
        header.kind = Kind::join;
        header.run = run_of(1);
        header.term = 1;
        header.src = node_id_of("member-1");
        frame(header,
              encode(Join{
                  "member-1", "member", 1, 1, {}, "0.1.0", Errc::ok, "", std::move(extensions)}));
        return event<RunJoined>().join;
    };
    CHECK(say({{3, {1}}}).code == Errc::ok);
    CHECK(say({{3, {1}}}).extensions == Extensions{{3, {1}}});
    const Join declined = say({{4, {}}});
    CHECK(declined.code == Errc::unsupported_version);
    CHECK(declined.sentence.find("JOIN of member-1 has extension 4") == 0);
}

TEST_CASE_METHOD(LinkFixture, "an orderly end is said") {
    come_up();
    link.bye("done");
    const auto bye = expect(Kind::bye);
    CHECK(decode_sentence(bye.body) == "done");
    CHECK(bye.header.aux == 0);
    CHECK(dead());
}

TEST_CASE_METHOD(LinkFixture, "who fails himself says goodbye with its code") {
    come_up();
    link.bye("done", Errc::io);
    CHECK(expect(Kind::bye).header.aux == static_cast<std::uint64_t>(Errc::io));
    CHECK(dead());
}

// -- runs ------------------------------------------------------------------------------

TEST_CASE_METHOD(LinkFixture, "a run of ours: OPEN, answer, JOINs, CLOSE, answer") {
    come_up();
    link.open_run(run_of(1), 2, Open{"member-0", {{"member-1", "member", 1}}, "text"}, now);
    const auto sent = expect(Kind::open);
    CHECK(sent.header.term == 2);
    CHECK(decode_open(sent.body)->agreed == "text");
    opened(run_of(1), 1);  // of an earlier term
    no_event();
    opened(run_of(1), 2, 3);
    const auto taken = event<RunOpened>();
    CHECK(taken.run == run_of(1));
    CHECK(taken.asked == 3);
    opened(run_of(1), 2);
    no_event();  // once
    Header header;
    header.kind = Kind::join;
    header.run = run_of(1);
    header.term = 2;
    header.src = node_id_of("member-1");
    const Bytes join = encode(Join{"member-1", "member", 1, 1, {}, "", Errc::ok, ""});
    frame(header, join);
    CHECK(event<RunJoined>().node == node_id_of("member-1"));
    header.term = 1;
    frame(header, join);
    no_event();
    link.close_run(run_of(1), Ending{Errc::ok, "done"}, now);
    link.close_run(run_of(1), Ending{Errc::internal, "again"}, now);
    CHECK(decode_ending(expect(Kind::close).body)->sentence == "done");
    nothing_sent();
    const auto over = link.request(run_of(1), node_id_of("member-1"), 300, {}, now);
    REQUIRE_FALSE(over);
    CHECK(over.error().code == Errc::run_ended);
    close(true, run_of(1), 2);
    const auto closed = event<RunClosed>();
    CHECK(closed.confirmed);
    CHECK(closed.ending.sentence == "done");
    no_event();
}

TEST_CASE_METHOD(LinkFixture, "CLOSE with a sentence of any length gets through") {
    come_up();
    own_run();
    for (const std::size_t bytes : {20'000u, 3u << 20}) {
        INFO(bytes);
        link.open_run(run_of(2), 1, Open{"member-0", {{"member-1", "member", 1}}, ""}, now);
        ignore();
        link.close_run(run_of(2), Ending{Errc::handler_failed, std::string(bytes, 'x')}, now);
        const auto sent = expect(Kind::close);
        const auto ending = decode_ending(sent.body);
        REQUIRE(ending);
        CHECK(ending->code == Errc::handler_failed);
        CHECK(ending->sentence == std::string(sentence_bytes_max, 'x'));
        close(true, run_of(2));
        ignore();
    }
}

TEST_CASE_METHOD(LinkFixture,
                 "who has lost its memory is told of the numbers that were answered before") {
    come_up();
    own_run();
    for (int i = 0; i < 4; ++i)
        REQUIRE(link.request(run_of(1), node_id_of("member-1"), 300, Bytes(8), now));
    const auto answer = [&](std::uint64_t number) {
        frame(data(Kind::reply, "member-1", number), Bytes{1});
        CHECK(event<ReplyArrived>().number == number);
    };
    answer(2);
    answer(3);
    ignore();
    SECTION("after it was away") {
        peer_up("member-1");
        CHECK(expect(Kind::request).header.request == 1);
        CHECK(expect(Kind::request).header.request == 4);
        ignore();
        answer(1);
        // it would wait for 2 and 3
        const auto again = expect(Kind::request);
        CHECK(again.header.request == 4);
        CHECK(again.header.answered_below == 4);
    }
    SECTION("but not in a session in which it answered them") {
        answer(1);
    }
    nothing_sent();
}

TEST_CASE_METHOD(LinkFixture, "OPEN of an earlier term than the joined one is declined") {
    come_up();
    joined_run(3);
    open("master", 2);
    const auto sent = expect(Kind::join);
    CHECK(sent.header.term == 2);
    const auto join = decode_join(sent.body);
    REQUIRE(join);
    CHECK(join->code == Errc::stale_term);
    CHECK(join->sentence.find("term 3") != std::string::npos);
    no_event();
    nothing_sent();
}

TEST_CASE_METHOD(LinkFixture, "CLOSE of an earlier term ends no later one") {
    come_up();
    own_run(2);
    close(false, run_of(1), 1);
    no_event();
    close(false, run_of(1), 2);
    CHECK(event<RunClosed>().ending.code == Errc::diverged);
}

TEST_CASE_METHOD(LinkFixture,
                 "CLOSE is repeated, survives a new session, and is given up after 5 s") {
    come_up();
    own_run();
    link.close_run(run_of(1), Ending{Errc::ok, "done"}, now);
    expect(Kind::close);
    pass(milliseconds(1100));
    while (wire.frames.size() > 1) wire.frames.pop_front();  // a PING may come first
    CHECK(wire.frames.back().header.kind == Kind::close);
    ignore();
    error(Errc::not_registered);
    ignore();
    welcome();
    event<LinkUp>();
    expect(Kind::close);
    ignore();
    pass(milliseconds(3800));
    no_event();
    pass(milliseconds(200));
    const auto closed = event<RunClosed>();
    CHECK_FALSE(closed.confirmed);
    CHECK(closed.ending.code == Errc::ok);
}

TEST_CASE_METHOD(LinkFixture, "an invitation, its answer, and what the broker may say of it") {
    come_up();
    open("master");
    const auto invited = event<RunInvited>();
    CHECK(invited.owner == node_id_of("master"));
    CHECK(invited.term == 1);
    CHECK(invited.open.agreed == "agreed");
    SECTION("joined: a repeated OPEN is answered by the link itself") {
        joined_run();
        open("master");
        no_event();
        CHECK(expect(Kind::join).header.dst == node_id_of("master"));
        SECTION("OPEN of a higher term is a new invitation") {
            open("master", 2);
            CHECK(event<RunInvited>().term == 2);
            nothing_sent();
            // what the broker still says of the first term does not touch the second
            error(Errc::stale_term, run_of(1), 1);
            error(Errc::unknown_run, run_of(1), 1);
            no_event();
            joined_run(2);
            error(Errc::stale_term, run_of(1), 1, 3, node_id_of("master"));
            no_event();
            request("master", 1);  // of the first term
            no_event();
            open("master", 1);  // lower
            no_event();
            error(Errc::stale_term, run_of(1), 2);
            CHECK(event<RunClosed>().ending.code == Errc::stale_term);
        }
        SECTION("closed by the owner") {
            close(false);
            const auto closed = event<RunClosed>();
            CHECK(closed.ending.code == Errc::diverged);
            CHECK_FALSE(closed.confirmed);
            CHECK(closed.joined);
            close(false);
            CHECK_FALSE(event<RunClosed>().joined);
            no_event();
        }
        SECTION("the broker does not know it yet: again after a second") {
            error(Errc::retry, run_of(1), 1);
            ignore();
            pass(milliseconds(999));
            std::erase_if(wire.frames, [](auto& s) { return s.header.kind == Kind::ping; });
            nothing_sent();
            pass(milliseconds(2));
            std::erase_if(wire.frames, [](auto& s) { return s.header.kind == Kind::ping; });
            expect(Kind::join);
        }
        SECTION("the run is over") {
            error(Errc::unknown_run, run_of(1), 1);
            CHECK(event<RunClosed>().ending.code == Errc::unknown_run);
        }
        SECTION("its owner goes on without this node") {
            error(Errc::not_a_participant, run_of(1), 1, 3, node_id_of("member-1"));
            no_event();  // about a request: the other one is not there yet
            error(Errc::not_a_participant, run_of(1), 1);
            CHECK(event<RunClosed>().ending.code == Errc::not_a_participant);
            no_event();
        }
        SECTION("forgotten without a word") {
            link.forget_run(run_of(1));
            request("master", 1);
            nothing_sent();
            no_event();
        }
    }
    SECTION("closed before it was answered: the user hears how, and nothing is sent") {
        close(false);
        const auto told = event<RunClosed>();
        CHECK_FALSE(told.joined);
        CHECK(told.ending.code == Errc::diverged);
        CHECK(told.ending.sentence == "NaN");
        SECTION("its user has made up its mind") {
            link.join_run({run_of(1), 1, node_id_of("master"), {}},
                          Join{"member-0", "member", 0, 3, {}, "0.1.0", Errc::ok, ""}, now);
            const auto closed = event<RunClosed>();
            CHECK(closed.joined);
            CHECK(closed.ending.code == Errc::diverged);
            CHECK(closed.ending.sentence == "NaN");
            nothing_sent();
        }
        SECTION("and opened again") {
            open("master", 2);
            event<RunInvited>();
            link.join_run({run_of(1), 2, node_id_of("master"), {}},
                          Join{"member-0", "member", 0, 3, {}, "0.1.0", Errc::ok, ""}, now);
            expect(Kind::join);
            no_event();
        }
    }
    SECTION("a refusal is sent once") {
        link.join_run({run_of(1), 1, node_id_of("master"), {}},
                      Join{"member-0", "member", 0, 3, {}, "", Errc::refused, "no"}, now);
        CHECK(decode_join(expect(Kind::join).body)->code == Errc::refused);
        error(Errc::not_registered);
        ignore();
        welcome();
        event<LinkUp>();
        nothing_sent();
        open("master");  // asked again, it decides again
        event<RunInvited>();
    }
    SECTION("an invitation in a false name is no invitation") {
        Header header;
        header.kind = Kind::open;
        header.run = run_of(2);
        header.term = 1;
        header.src = node_id_of("other");
        frame(header, encode(Open{"master", {}, ""}));
        frame(header, Bytes{0x90});
        no_event();
    }
}

TEST_CASE_METHOD(LinkFixture, "a run of ours that the broker closes is closed there once more") {
    come_up();
    own_run();
    wire.frames.clear();
    close(false);  // as owner_lost: an OPEN of ours may have passed it, and opened the run again
    CHECK(event<RunClosed>().ending.code == Errc::diverged);
    CHECK(expect(Kind::close).header.run == run_of(1));
    now += std::chrono::seconds(1);
    link.on_tick(now);
    const auto closes = [&] {
        return std::ranges::count_if(
            wire.frames, [](const auto& sent) { return sent.header.kind == Kind::close; });
    };
    CHECK(closes() == 1);
    SECTION("until it confirms it") {
        close(true);
    }
    SECTION("or another one owns it by then") {
        error(Errc::not_owner, run_of(1), 1);
    }
    SECTION("or it is opened in another term") {
        own_run(2);
        close(true);  // of the first
        CHECK(link.request(run_of(1), node_id_of("member-1"), 300, Bytes(1), now));
    }
    no_event();
    wire.frames.clear();
    now += std::chrono::seconds(2);
    link.on_tick(now);
    CHECK(closes() == 0);
}

TEST_CASE("errors about a run of ours") {
    for (const Errc code : {Errc::stale_term, Errc::not_owner, Errc::wrong_source, Errc::too_many,
                            Errc::malformed_frame}) {
        LinkFixture f;
        f.come_up();
        f.own_run();
        f.error(code, LinkFixture::run_of(1), 1);
        INFO(name_of(code));
        CHECK(f.event<RunClosed>().ending.code == code);
        f.no_event();
    }
    LinkFixture f;
    f.come_up();
    f.own_run();
    f.error(Errc::unknown_run, LinkFixture::run_of(1), 1);  // a broker that came back empty
    f.no_event();
    f.pass(milliseconds(1001));
    std::erase_if(f.wire.frames, [](auto& s) { return s.header.kind == Kind::ping; });
    f.expect(Kind::open);
}

TEST_CASE_METHOD(LinkFixture, "what changes about peers is told") {
    come_up();
    own_run();
    peer_up("member-1", 4);
    auto change = event<PeerChanged>();
    CHECK(change.what == PeerChanged::What::up);
    CHECK(change.incarnation == 4);
    CHECK(change.name == "member-1");
    Header header;
    header.kind = Kind::peer_suspect;
    header.run = run_of(1);
    header.term = 1;
    header.aux = node_id_of("member-1").value;
    frame(header, encode(PeerSuspect{"member-1", Errc::peer_lost, 3000}));
    change = event<PeerChanged>();
    CHECK(change.what == PeerChanged::What::suspect);
    CHECK(change.silent_ms == 3000);
    header.kind = Kind::peer_down;
    frame(header, encode(PeerDown{"member-1", Errc::peer_lost, 10000}));
    change = event<PeerChanged>();
    CHECK(change.what == PeerChanged::What::down);
    CHECK(change.reason == Errc::peer_lost);
    // malformed, of another run, of another term
    frame(header, Bytes{0x90});
    header.kind = Kind::peer_up;
    frame(header, Bytes{0x90});
    header.kind = Kind::peer_suspect;
    frame(header, Bytes{0x90});
    peer_up("member-1", 4, run_of(9));
    peer_up("member-1", 4, run_of(1), 2);
    no_event();
}

// -- requests of ours --------------------------------------------------------------------

TEST_CASE_METHOD(LinkFixture, "a request and its reply") {
    come_up();
    own_run();
    const NodeId dst = node_id_of("member-1");
    const auto number = link.request(run_of(1), dst, 300, Bytes{1, 2, 3}, now);
    REQUIRE(number);
    CHECK(*number == 1);
    const auto sent = expect(Kind::request);
    CHECK(sent.header.dst == dst);
    CHECK(sent.header.request == 1);
    CHECK(sent.header.answered_below == 1);
    CHECK(sent.header.type == 300);
    CHECK(sent.body == Bytes{1, 2, 3});
    reply("member-2", 1);  // of somebody who was not asked
    reply("member-1", 2);  // of something that was not asked
    no_event();
    reply("member-1", 1, {9});
    const auto arrived = event<ReplyArrived>();
    CHECK(arrived.number == 1);
    CHECK(arrived.body == Bytes{9});
    CHECK(arrived.error.code == Errc::ok);
    CHECK(arrived.type == 300);
    reply("member-1", 1, {9});  // repeated
    no_event();
    REQUIRE(link.request(run_of(1), dst, 300, {}, now));
    const auto second = expect(Kind::request);
    CHECK(second.header.request == 2);
    CHECK(second.header.answered_below == 2);
    CHECK(link.bytes_of(run_of(1)).sent == 2 * header_bytes + 3);
    CHECK(link.bytes_of(run_of(1)).received == 4 * (header_bytes + 1));
}

TEST_CASE_METHOD(LinkFixture, "an error reply is a failure, whatever it holds") {
    come_up();
    own_run();
    const NodeId dst = node_id_of("member-1");
    const auto fails_with = [&](Bytes body) {
        const auto number = link.request(run_of(1), dst, 300, {}, now);
        Header header = data(Kind::reply, "member-1", *number);
        header.flags = flag::error;
        frame(header, std::move(body));
        auto arrived = event<ReplyArrived>();
        CHECK(arrived.body.empty());
        return arrived.error.code;
    };
    CHECK(fails_with(encode(Ending{Errc::handler_failed, "x"})) == Errc::handler_failed);
    CHECK(fails_with(Bytes{0x90}) == Errc::malformed_message);
    CHECK(fails_with({}) == Errc::malformed_message);
    CHECK(fails_with(encode(Ending{Errc::ok, "an error that is none"})) != Errc::ok);
}

TEST_CASE_METHOD(LinkFixture,
                 "at most 16 unanswered requests, and none 16 above the oldest leaves") {
    come_up();
    own_run();
    const NodeId dst = node_id_of("member-1");
    for (std::uint64_t i = 1; i <= 16; ++i) REQUIRE(link.request(run_of(1), dst, 300, {}, now));
    const auto refused = link.request(run_of(1), dst, 300, {}, now);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::too_many);
    CHECK(link.request(run_of(1), node_id_of("member-2"), 300, {}, now));  // per destination
    // answered out of order: the receiver keeps 16 numbers from the oldest, not 16 open ones
    for (std::uint64_t i = 2; i <= 16; ++i) reply("member-1", i);
    ignore();
    for (std::uint64_t i = 17; i <= 31; ++i) REQUIRE(link.request(run_of(1), dst, 300, {}, now));
    CHECK_FALSE(link.request(run_of(1), dst, 300, {}, now));
    nothing_sent();  // they wait here
    reply("member-1", 1);
    for (std::uint64_t i = 17; i <= 31; ++i) {
        const Header sent = expect(Kind::request).header;
        CHECK(sent.request == i);
        CHECK(sent.answered_below == 17);
    }
    nothing_sent();
}

namespace {

std::string of_key(int i) {
    return "crowd-0000000" + std::to_string(i);
}

/// Ten nodes of one key, each with as many requests as one may have unanswered. Returns how many
/// the user has.
int handed_over_of_ten(LinkFixture& f) {
    for (int i = 0; i < 10; ++i) f.peer_up(of_key(i));
    for (int i = 0; i < 10; ++i)
        for (std::uint64_t number = 1; number <= outstanding_requests_max; ++number)
            f.request(of_key(i), number);
    int handed_over = 0;
    for (LinkEvent got; f.link.next_event(got);)
        if (std::holds_alternative<RequestArrived>(got)) ++handed_over;
    return handed_over;
}

struct KeyedLink : LinkFixture {
    static LinkConfig keyed() {
        LinkConfig c = config();
        c.names_of_keys = true;
        return c;
    }
    KeyedLink() : LinkFixture(keyed()) {}
};

}  // namespace

TEST_CASE_METHOD(KeyedLink, "all nodes of a key have a share of unanswered requests together") {
    come_up();
    own_run();
    constexpr auto of_one = static_cast<int>(outstanding_requests_max);
    constexpr auto of_all = static_cast<int>(outstanding_of_key_max);
    // four nodes have all that they may have, of the others each has one
    CHECK(handed_over_of_ten(*this) == of_all + 10 - of_all / of_one);
    // another key has what it may have, whatever those do
    peer_up("member-1");
    for (std::uint64_t i = 1; i <= outstanding_requests_max; ++i) request("member-1", i);
    event<PeerChanged>();
    for (int i = 0; i < of_one; ++i) CHECK(event<RequestArrived>().from == node_id_of("member-1"));
    no_event();
    // whoever has one gets the next for its answer, also while the key has more than its share
    link.reply(run_of(1), node_id_of(of_key(9)), 1, {}, now);
    CHECK(event<RequestArrived>().number == 2);
    link.reply(run_of(1), node_id_of(of_key(0)), 1, {}, now);
    no_event();
    // and all come to their turn
    int answered = 0;
    for (int i = 0; i < 10; ++i)
        for (std::uint64_t number = 1; number <= outstanding_requests_max; ++number) {
            link.reply(run_of(1), node_id_of(of_key(i)), number, {}, now);
            for (LinkEvent got; link.next_event(got);)
                if (std::holds_alternative<RequestArrived>(got)) ++answered;
        }
    CHECK(answered == 10 * of_one - (of_all + 10 - of_all / of_one) - 1);
}

TEST_CASE_METHOD(KeyedLink, "what a key has unanswered is forgotten with its runs and processes") {
    come_up();
    for (std::uint32_t term = 1; term <= 3; ++term) {
        own_run(1);
        CHECK(handed_over_of_ten(*this) == 70);
        for (int i = 0; i < 4; ++i) peer_up(of_key(i), 2);  // other processes
        ignore();
        for (int i = 0; i < 4; ++i)
            for (std::uint64_t number = 1; number <= 4; ++number) request(of_key(i), number);
        int handed_over = 0;
        for (LinkEvent got; link.next_event(got);)
            if (std::holds_alternative<RequestArrived>(got)) ++handed_over;
        CHECK(handed_over == 16);
        link.forget_run(run_of(1));
        ignore();
    }
}

TEST_CASE_METHOD(LinkFixture, "where nobody knows whose a name is, each node counts for itself") {
    come_up();
    own_run();
    CHECK(handed_over_of_ten(*this) == 10 * static_cast<int>(outstanding_requests_max));
}

TEST_CASE_METHOD(KeyedLink, "the room for bodies is shared among keys, not among their nodes") {
    come_up();
    own_run();
    // half of it is the most that one sender gets; under ten names it would be nearly all
    const std::uint64_t total = body_budget_bytes / 8;
    for (int i = 0; i < 10; ++i) {
        peer_up(of_key(i));
        chunk(data(Kind::request, of_key(i), 1), total, 0);
    }
    CHECK(link.reserved_bytes() <= body_budget_bytes / 2);
    CHECK(link.reserved_bytes() >= body_budget_bytes / 4);
    // another one finds room
    const std::uint64_t before = link.reserved_bytes();
    peer_up("member-1");
    chunk(data(Kind::request, "member-1", 1), total, 0);
    link.on_tick(now);
    CHECK(link.reserved_bytes() == before + total);
}

TEST_CASE_METHOD(LinkFixture, "requests that cannot be made") {
    come_up();
    CHECK(link.request(run_of(1), node_id_of("member-1"), 300, {}, now).error().code ==
          Errc::run_ended);
}

TEST_CASE_METHOD(LinkFixture, "a request made while the link is down goes out with WELCOME") {
    link.start(now);
    expect(Kind::hello);
    own_run();
    REQUIRE(link.request(run_of(1), node_id_of("member-1"), 300, Bytes{1}, now));
    nothing_sent();
    welcome();
    expect(Kind::open);
    CHECK(expect(Kind::request).header.request == 1);
}

TEST_CASE_METHOD(LinkFixture,
                 "a request is sent again, whole, on PEER_UP and a second after retry") {
    come_up();
    own_run();
    const NodeId dst = node_id_of("member-1");
    REQUIRE(link.request(run_of(1), dst, 300, Bytes(chunk_bytes + 5, 1), now));
    const auto whole = [&] {
        consume_all();
        CHECK(expect(Kind::request).header.body_offset == 0);
        CHECK(expect(Kind::request).header.body_offset == chunk_bytes);
        nothing_sent();
    };
    whole();
    error(Errc::unreachable, run_of(1), 1, 1, dst);  // waits for PEER_UP
    pass(milliseconds(500));
    nothing_sent();
    peer_up("member-1", 4);
    whole();
    peer_up("member-1", 4);
    whole();
    event<PeerChanged>();
    event<PeerChanged>();
    error(Errc::retry, run_of(1), 1, 1, dst);
    pass(milliseconds(1001));
    std::erase_if(wire.frames, [](auto& s) { return s.header.kind == Kind::ping; });
    expect(Kind::open);  // who we are in this run, then the request
    whole();
    no_event();
}

TEST_CASE_METHOD(LinkFixture, "requests to a peer that restarted fail") {
    come_up();
    own_run();
    peer_up("member-1", 4);
    REQUIRE(link.request(run_of(1), node_id_of("member-1"), 300, {}, now));
    REQUIRE(link.request(run_of(1), node_id_of("member-1"), 301, {}, now));
    REQUIRE(link.request(run_of(1), node_id_of("member-2"), 302, {}, now));
    request("member-1", 1);
    ignore();
    peer_up("member-1", 5);
    const auto first = event<ReplyArrived>();
    CHECK(first.number == 1);
    CHECK(first.error.code == Errc::peer_restarted);
    CHECK(event<ReplyArrived>().type == 301);
    CHECK(event<PeerChanged>().incarnation == 5);
    no_event();
    nothing_sent();
    // its own numbers begin again
    request("member-1", 1);
    CHECK(event<RequestArrived>().number == 1);
    REQUIRE(link.request(run_of(1), node_id_of("member-1"), 300, {}, now));
    const auto sent = expect(Kind::request).header;
    CHECK(sent.request == 3);
    CHECK(sent.answered_below == 3);  // the new process need not wait for 1 and 2
}

TEST_CASE_METHOD(LinkFixture, "a JOIN tells of a process as PEER_UP does") {
    come_up();
    own_run();
    const NodeId member = node_id_of("member-1");
    const auto joins = [&](std::uint64_t incarnation, Errc code = Errc::ok) {
        Header header;
        header.kind = Kind::join;
        header.run = run_of(1);
        header.term = 1;
        header.src = member;
        frame(header, encode(Join{"member-1", "member", 1, incarnation, {}, "", code, ""}));
    };
    joins(4);  // it had joined before we came back, and is not there now
    event<RunJoined>();
    REQUIRE(link.request(run_of(1), member, 300, Bytes(credit_free_bytes + 1), now));
    ignore();
    joins(9, Errc::refused);
    event<RunJoined>();
    no_event();
    SECTION("another process comes") {
        peer_up("member-1", 5);
    }
    SECTION("another process had joined, and is gone as well") {
        joins(5);
    }
    CHECK(event<ReplyArrived>().error.code == Errc::peer_restarted);
    ignore();
    REQUIRE(link.request(run_of(1), member, 300, Bytes(credit_free_bytes + 1), now));
    CHECK(expect(Kind::request).header.request == 2);  // the first one holds nothing up
}

TEST_CASE_METHOD(LinkFixture, "a request that the broker calls malformed fails, the run goes on") {
    come_up();
    own_run();
    REQUIRE(link.request(run_of(1), node_id_of("member-1"), 300, {}, now));
    ignore();
    error(Errc::malformed_frame, run_of(1), 1, 1, node_id_of("member-1"));
    CHECK(event<ReplyArrived>().error.code == Errc::malformed_frame);
    error(Errc::malformed_frame, run_of(1), 1, 1, node_id_of("member-1"));
    no_event();
}

// -- requests of others ----------------------------------------------------------------

TEST_CASE_METHOD(LinkFixture, "a request is handled once and its answer repeated") {
    come_up();
    joined_run();
    request("master", 1);
    const auto arrived = event<RequestArrived>();
    CHECK(arrived.from == node_id_of("master"));
    CHECK(arrived.type == 300);
    request("master", 1);  // while it is being handled
    no_event();
    nothing_sent();
    link.reply(run_of(1), node_id_of("master"), 1, Bytes{7}, now);
    CHECK(expect(Kind::reply).body == Bytes{7});
    link.reply(run_of(1), node_id_of("master"), 1, Bytes{8}, now);  // answered already
    link.reply(run_of(1), node_id_of("master"), 2, Bytes{8}, now);  // never asked
    link.reply(run_of(9), node_id_of("master"), 1, Bytes{8}, now);
    link.reply(run_of(1), node_id_of("member-1"), 1, Bytes{8}, now);
    nothing_sent();
    request("master", 1);
    const auto again = expect(Kind::reply);
    CHECK(again.body == Bytes{7});
    CHECK(again.header.type == 300);
    no_event();
    request("master", 2, 2);  // answered below 2: the stored answer is freed
    event<RequestArrived>();
    request("master", 1);
    nothing_sent();
    no_event();
    link.reply_error(run_of(1), node_id_of("master"), 2, {Errc::handler_failed, "x"}, now);
    const auto failed = expect(Kind::reply);
    CHECK(failed.header.flags == flag::error);
    CHECK(decode_ending(failed.body)->code == Errc::handler_failed);
}

TEST_CASE_METHOD(LinkFixture, "a body that begins again takes the place of what waits of it") {
    come_up();
    joined_run();
    request("master", 1);
    event<RequestArrived>();
    wire.full = true;
    link.reply(run_of(1), node_id_of("master"), 1, Bytes(60'000, 7), now);
    const std::uint64_t once = link.queued_bytes();
    REQUIRE(once >= 60'000);
    for (int again = 0; again < 100; ++again) request("master", 1);
    CHECK(link.queued_bytes() == once);
    wire.full = false;
    now += milliseconds(100);
    link.on_tick(now);
    CHECK(expect(Kind::reply).body == Bytes(60'000, 7));
    CHECK(link.queued_bytes() == 0);
}

TEST_CASE_METHOD(LinkFixture, "order is kept when a later request arrives first") {
    come_up();
    joined_run();
    for (const std::uint64_t number : {3, 2}) {
        request("master", number, 1, Bytes{std::uint8_t(number)});
        no_event();
    }
    request("master", 3, 1, Bytes{99});  // a duplicate of what waits
    request("master", 1, 1, Bytes{1});
    for (const std::uint64_t number : {1, 2, 3}) {
        const auto arrived = event<RequestArrived>();
        CHECK(arrived.number == number);
        CHECK(arrived.body == Bytes{std::uint8_t(number)});
    }
    no_event();
    request("master", 20, 4);  // 4 is the oldest: 19 is the last that may come
    no_event();
    request("master", 4 + 15, 4);
    request("master", 4, 4);
    CHECK(event<RequestArrived>().number == 4);
    no_event();
}

TEST_CASE_METHOD(LinkFixture, "numbers that were given up leave no gap") {
    come_up();
    joined_run();
    request("master", 7, 7);  // 1 to 6 were answered or given up
    CHECK(event<RequestArrived>().number == 7);
    request("master", 6, 6);
    no_event();
    nothing_sent();
}

TEST_CASE_METHOD(LinkFixture, "no request has the last number, after which all would come again") {
    come_up();
    joined_run();
    const std::uint64_t last = std::numeric_limits<std::uint64_t>::max();
    request("master", last, last);
    no_event();
    request("master", 1);
    CHECK(event<RequestArrived>().number == 1);
    request("master", last - 1, last - 1);
    CHECK(event<RequestArrived>().number == last - 1);
    request("master", 2, 2);
    no_event();
}

TEST_CASE_METHOD(LinkFixture, "what waits for a number that is given up then has its turn") {
    come_up();
    joined_run();
    request("master", 2, 1, Bytes{2});
    request("master", 4, 1, Bytes{4});
    no_event();
    SECTION("its sender repeats it") {
        request("master", 2, 2, Bytes{2});
    }
    SECTION("another one says so") {
        request("master", 4, 2, Bytes{4});
    }
    SECTION("a part of another one says so") {
        chunk(data(Kind::request, "master", 5, 2), 2 * chunk_bytes, 0);
    }
    CHECK(event<RequestArrived>().number == 2);
    no_event();
    request("master", 4, 4, Bytes{4});
    const auto arrived = event<RequestArrived>();
    CHECK(arrived.number == 4);
    CHECK(arrived.body == Bytes{4});
    no_event();
}

TEST_CASE_METHOD(LinkFixture,
                 "requests of runs that are not here, of other terms, and of strangers' numbers") {
    come_up();
    request("master", 1);
    joined_run();
    frame(data(Kind::request, "master", 1, 1, run_of(1), 2), Bytes{1});
    frame(data(Kind::request, "master", 1, 1, run_of(2), 1), Bytes{1});
    no_event();
    nothing_sent();
}

TEST_CASE_METHOD(LinkFixture, "bodies in chunks, whole and torn") {
    come_up();
    joined_run();
    const std::uint64_t total = 3 * chunk_bytes + 17;
    const Header header = data(Kind::request, "master", 1);
    const auto whole = [&] {
        const auto arrived = event<RequestArrived>();
        REQUIRE(arrived.body.size() == total);
        bool right = true;
        for (std::uint64_t i = 0; i < total; i += 101)
            right = right && arrived.body[static_cast<std::size_t>(i)] == pattern(i);
        CHECK(right);
        no_event();
    };
    SECTION("in order") {
        for (const int i : {0, 1, 2, 3}) chunk(header, total, std::uint64_t(i));
        whole();
    }
    SECTION("torn, and again from the beginning") {
        for (const int i : {0, 1, 0, 1, 2, 0, 1, 2, 3}) {
            no_event();
            chunk(header, total, std::uint64_t(i));
        }
        whole();
    }
    SECTION("parts that do not fit are dropped") {
        for (const int i : {1, 3, 0, 2, 1, 1, 3, 2}) chunk(header, total, std::uint64_t(i));
        chunk(header, total + 1, 3);  // of another length
        no_event();
        chunk(header, total, 3);
        whole();
    }
    SECTION("a duplicate of the last part after the whole") {
        for (const int i : {0, 1, 2, 3}) chunk(header, total, std::uint64_t(i));
        whole();
        ignore();
        chunk(header, total, 3);
        chunk(header, total, 0);
        no_event();
        const auto have = expect_but_window(Kind::credit).header;
        CHECK(have.request == 1);
        CHECK(have.flags == 0);
        CHECK(have.aux == credit_all);
        link.reply(run_of(1), node_id_of("master"), 1, Bytes{1}, now);
        ignore();
        chunk(header, total, 3);
        std::erase_if(wire.frames, [](auto& s) { return s.header.kind == Kind::window; });
        nothing_sent();
        chunk(header, total, 0);  // the first part asks for the answer
        CHECK(expect_but_window(Kind::credit).header.aux == credit_all);
        expect_but_window(Kind::reply);
    }
    SECTION("replies") {
        link.forget_run(run_of(1));
        own_run();
        REQUIRE(link.request(run_of(1), node_id_of("member-1"), 300, {}, now));
        const Header back = data(Kind::reply, "member-1", 1);
        for (const int i : {0, 1, 0, 1, 2}) chunk(back, total, std::uint64_t(i));
        no_event();
        peer_up("member-1");  // what was under way is lost: it is sent again from the beginning
        event<PeerChanged>();
        chunk(back, total, 3);
        no_event();
        for (const int i : {0, 1, 2, 3}) chunk(back, total, std::uint64_t(i));
        CHECK(event<ReplyArrived>().body.size() == total);
    }
}

TEST_CASE_METHOD(LinkFixture, "two bodies may arrive interleaved") {
    come_up();
    joined_run();
    const std::uint64_t total = chunk_bytes + 3;
    chunk(data(Kind::request, "master", 2), total, 0);
    chunk(data(Kind::request, "master", 1), total, 0);
    chunk(data(Kind::request, "master", 2), total, 1);
    no_event();
    chunk(data(Kind::request, "master", 1), total, 1);
    CHECK(event<RequestArrived>().number == 1);
    CHECK(event<RequestArrived>().number == 2);
}

// -- the hop -----------------------------------------------------------------------------

TEST_CASE_METHOD(LinkFixture, "the link keeps to the window and answers MARKs") {
    come_up();
    own_run();
    REQUIRE(link.request(run_of(1), node_id_of("member-1"), 300, Bytes(4u << 20, 1), now));
    std::uint64_t sent = 0;
    for (const auto& f : wire.frames) sent += header_bytes + f.body.size();
    CHECK(sent <= hop_window_bytes_min + chunk_bytes + header_bytes);
    CHECK(link.queued_bytes() > 0);
    wire.frames.clear();
    Header lie;
    lie.kind = Kind::window;
    lie.aux = sent;  // answers no MARK: ignored
    frame(lie);
    nothing_sent();
    window();
    CHECK_FALSE(wire.frames.empty());
    pass(milliseconds(100));
    link.open_run(run_of(2), 1, Open{"member-0", {}, ""}, now);
    CHECK(wire.frames.back().header.kind == Kind::open);  // control passes
    ignore();

    Header header = data(Kind::reply, "member-1", 1);
    for (std::uint64_t i = 0; i < 6; ++i) {
        chunk(header, 6 * chunk_bytes, i);
        mark(100 + i);
        CHECK(wire.frames.back().header.kind == Kind::window);
        CHECK(wire.frames.back().header.aux == 100 + i);
    }
    // a new session: MARKs of the last one are over, the queue is dropped and filled again
    window(0);
    const auto marks = wire.marks;
    error(Errc::not_registered);
    ignore();
    mark(200);  // what came before it was read
    CHECK(expect(Kind::window).header.aux == 200);
    welcome();
    for (const auto& old : marks) {
        lie.aux = old.token;
        frame(lie);
    }
    CHECK(link.up());
}

// -- every state, every event ------------------------------------------------------------

TEST_CASE("every kind of frame in every state: no crash, no false event") {
    enum class State { idle, greeting, up, owner, member, closing, dead };
    for (const State state : {State::idle, State::greeting, State::up, State::owner, State::member,
                              State::closing, State::dead})
        for (int kind = 0; kind <= 17; ++kind)
            for (int variant = 0; variant < 4; ++variant) {
                LinkFixture f;
                if (state != State::idle) f.link.start(f.now);
                if (state != State::idle && state != State::greeting) {
                    f.expect(Kind::hello);
                    f.welcome();
                }
                if (state == State::owner || state == State::closing) f.own_run();
                if (state == State::closing)
                    f.link.close_run(LinkFixture::run_of(1), Ending{Errc::ok, "done"}, f.now);
                if (state == State::member) f.joined_run();
                if (state == State::dead) f.error(Errc::superseded);
                f.ignore();
                const bool was_up = f.link.up();
                Header header;
                header.kind = static_cast<Kind>(kind);
                header.src = node_id_of("member-1");
                header.request = 1;
                if ((variant & 1) != 0) {
                    header.run = LinkFixture::run_of(1);
                    header.term = 1;
                }
                f.frame(header, (variant & 2) != 0 ? Bytes{0x90} : Bytes{});
                f.pass(milliseconds(1));
                INFO("state " << int(state) << " kind " << kind << " variant " << variant);
                const auto k = header.kind;
                const bool ends = k == Kind::bye;
                if (!ends) CHECK(f.link.up() == was_up);
                if (state == State::idle || state == State::dead) {
                    f.nothing_sent();
                    f.no_event();
                } else if (state == State::greeting && k == Kind::welcome && variant == 2) {
                    CHECK(f.dead());  // the broker says what we do not understand
                    f.ignore();
                } else if (!ends && k != Kind::close && k != Kind::request) {
                    f.no_event();
                }
                f.pass(seconds(3));
            }
}

TEST_CASE_METHOD(LinkFixture, "bytes that are no frame do nothing") {
    come_up();
    link.on_frame({}, {}, 1, now);
    link.on_frame(Payload::copy_of(Bytes{'x'}), {}, 1, now);
    Header header;
    header.kind = Kind::bye;
    header.aux = static_cast<std::uint64_t>(Errc::superseded);
    frame(header, {}, 3);
    CHECK(link.up());
    no_event();
    nothing_sent();
}
