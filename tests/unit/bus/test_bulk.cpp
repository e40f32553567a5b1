// Second connections, for what follows the first chunks of large bodies: docs/protocol.md,
// section 7. A link and a broker by hand.

#include "broker_fixture.hpp"
#include "link_fixture.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

constexpr std::uint64_t KiB = 1u << 10;

struct BulkLink : LinkFixture {
    BulkLink() {
        come_up();
        wire.has_bulk = true;
    }
    void ask(std::uint64_t bytes) {
        REQUIRE(link.request(LinkFixture::run_of(1), node_id_of("member-1"), 300, pattern_of(bytes),
                             now));
    }
    static Bytes pattern_of(std::uint64_t bytes) {
        Bytes body(static_cast<std::size_t>(bytes));
        for (std::size_t i = 0; i < body.size(); ++i) body[i] = pattern(i);
        return body;
    }
    FakeDealer::Sent expect_on(Lane lane, Kind kind) {
        auto sent = expect(kind);
        CHECK(sent.lane == lane);
        return sent;
    }
    /// BULK of this session is said.
    void expect_bulk_asked() {
        const Header header = expect_on(Lane::bulk, Kind::bulk).header;
        CHECK(header.aux == session);
        CHECK(header.request == config().hello.instance);
        CHECK(header.flags == 0);
    }
    /// One part of the body of `total` bytes that counts up.
    void part(Header header, std::uint64_t total, std::uint64_t from, std::uint64_t to,
              Lane lane = Lane::bulk) {
        header.body_bytes = total;
        header.body_offset = from;
        Bytes bytes;
        for (std::uint64_t i = from; i < to; ++i) bytes.push_back(pattern(i));
        frame(header, std::move(bytes), 0, lane);
    }
    Header tagged(std::uint64_t tag, std::uint64_t number = 1) {
        Header header = data(Kind::request, "master", number);
        header.aux = tag;
        return header;
    }
};

}  // namespace

// -- the sender ------------------------------------------------------------------------

TEST_CASE("small messages of other runs count wherever they go") {
    const auto run = [](std::uint8_t n) {
        RunId id;
        id.bytes.fill(n);
        return id;
    };
    SmallTrafficOfAll all;
    TimePoint now{std::chrono::hours(1)};
    CHECK_FALSE(all.beside(run(1), now));
    all.seen(run(1), 100, now);
    CHECK_FALSE(all.beside(run(1), now));  // its own do not make it wait
    CHECK(all.beside(run(2), now));
    now += milliseconds(20);
    all.seen(run(2), 100, now);
    CHECK(all.beside(run(1), now));
    CHECK(all.beside(run(2), now));
    now += milliseconds(20);
    all.seen(run(2), 100, now);
    CHECK(all.beside(run(2), now));
    now += milliseconds(20);  // those of run 1 are too long ago
    CHECK_FALSE(all.beside(run(2), now));
    CHECK(all.beside(run(1), now));
    now += milliseconds(60);
    CHECK_FALSE(all.beside(run(1), now));
    all.seen(run(3), credit_free_bytes + 1, now);  // no small one
    CHECK_FALSE(all.beside(run(1), now));
}

TEST_CASE_METHOD(BulkLink, "a body of up to 256 KiB needs no second connection") {
    own_run();
    ask(bulk_lead_bytes);
    const auto sent = expect_on(Lane::main, Kind::request);
    CHECK(sent.body.size() == bulk_lead_bytes);
    CHECK(sent.header.aux % 2 == 0);
    nothing_sent();
    CHECK(wire.bulk_opened == 0);
}

TEST_CASE_METHOD(BulkLink,
                 "the first chunk leaves on the first connection, the rest on the second, when "
                 "CREDIT has come and BULK is answered") {
    own_run();
    ask(bulk_lead_bytes + 100 * KiB);
    expect_bulk_asked();
    const auto first = expect_on(Lane::main, Kind::request);
    CHECK(first.body.size() == bulk_lead_bytes);
    CHECK(first.header.aux % 2 == 1);
    SECTION("in this order") {
        credit("member-1", 1, MiB);
        nothing_sent();
        bulk_is_up();
    }
    SECTION("or in that") {
        bulk_is_up();
        nothing_sent();
        credit("member-1", 1, MiB);
    }
    Bytes got = first.body;
    for (const std::uint64_t bytes : {64 * KiB, 36 * KiB}) {
        const auto sent = expect_on(Lane::bulk, Kind::request);
        CHECK(sent.header.aux == first.header.aux);
        CHECK(sent.header.body_offset == got.size());
        CHECK(sent.body.size() == bytes);
        got.insert(got.end(), sent.body.begin(), sent.body.end());
    }
    CHECK(got == pattern_of(got.size()));
    nothing_sent();

    ask(300 * KiB);  // the connection is there already
    const auto second = expect_on(Lane::main, Kind::request);
    CHECK(second.header.aux != first.header.aux);
    nothing_sent();
    CHECK(wire.bulk_opened == 1);
}

TEST_CASE_METHOD(BulkLink,
                 "small messages pass a body that waits for the bulk connection's window") {
    own_run();
    ask(20 * MiB);
    bulk_is_up();
    credit("member-1", 1, 20 * MiB);
    ignore_frames();
    CHECK(link.queued_bytes() > 10 * MiB);
    ask(10);
    const auto sent = expect_on(Lane::main, Kind::request);
    CHECK(sent.header.request == 2);
    nothing_sent();
    // and each connection has a window of its own
    window();  // of the first one
    CHECK(wire.frames.empty());
    window(256 * KiB, Lane::bulk);
    CHECK(expect_on(Lane::bulk, Kind::request).header.request == 1);
}

TEST_CASE_METHOD(BulkLink, "without a second connection all goes on the first one") {
    wire.has_bulk = false;
    own_run();
    ask(2 * MiB);
    consume_all();
    std::uint64_t bytes = 0;
    for (const auto& sent : wire.frames) {
        CHECK(sent.lane == Lane::main);
        CHECK(sent.header.aux % 2 == 0);
        bytes += sent.body.size();
    }
    CHECK(bytes == credit_first_bytes);
    ask(2 * MiB);
    CHECK(wire.bulk_opened == 1);  // it does not try for every body
}

TEST_CASE_METHOD(BulkLink,
                 "BULK is said again every second, and after five the link goes without") {
    own_run();
    ask(MiB);
    credit("member-1", 1, MiB);
    ignore_frames();
    pass(milliseconds(4900));
    const auto asked = std::count_if(wire.frames.begin(), wire.frames.end(),
                                     [](auto& s) { return s.header.kind == Kind::bulk; });
    CHECK(asked == 4);
    CHECK(wire.bulk_closed == 0);
    ignore_frames();
    pass(milliseconds(200));
    CHECK(wire.bulk_closed == 1);
    std::erase_if(wire.frames, [](auto& s) { return !is_data(s.header.kind); });
    const auto rest = expect_on(Lane::main, Kind::request);
    CHECK(rest.header.body_offset == bulk_lead_bytes);
    CHECK(rest.header.aux % 2 == 1);
}

TEST_CASE_METHOD(BulkLink,
                 "CREDIT for an earlier attempt does not let the rest of a later one go") {
    own_run();
    ask(2 * MiB);
    bulk_is_up();
    const std::uint64_t earlier = wire.tags[{node_id_of("member-1"), 1, false}];
    ignore_frames();
    // the first chunk of the next attempt waits in the link
    wire.full = true;
    peer_up("member-1");
    wire.full = false;
    wire.tags[{node_id_of("member-1"), 1, false}] = earlier;
    credit("member-1", 1, MiB);
    nothing_sent();
    pass(milliseconds(50));
    std::erase_if(wire.frames, [](auto& s) { return !is_data(s.header.kind); });
    const auto first = expect_on(Lane::main, Kind::request);
    CHECK(first.header.body_offset == 0);
    CHECK(first.header.aux != earlier);
    nothing_sent();
    credit("member-1", 1, MiB);
    CHECK(expect_on(Lane::bulk, Kind::request).header.aux == first.header.aux);
}

// -- the receiver ----------------------------------------------------------------------

TEST_CASE_METHOD(BulkLink, "CREDIT for a body with a tag waits for the bulk connection") {
    joined_run();
    part(tagged(77), MiB, 0, 100 * KiB, Lane::main);
    expect_bulk_asked();
    nothing_sent();
    SECTION("until BULK is answered") {
        bulk_is_up();
    }
    SECTION("or for five seconds") {
        pass(milliseconds(5100));
        std::erase_if(wire.frames, [](auto& s) { return s.header.kind != Kind::credit; });
    }
    const auto granted = expect_on(Lane::main, Kind::credit);
    CHECK(granted.header.aux == MiB);
    CHECK(granted.header.answered_below == 77);
    part(tagged(77), MiB, 100 * KiB, 512 * KiB, wire.bulk_closed == 0 ? Lane::bulk : Lane::main);
    part(tagged(77), MiB, 512 * KiB, MiB, wire.bulk_closed == 0 ? Lane::bulk : Lane::main);
    CHECK(event<RequestArrived>().body == pattern_of(MiB));
}

TEST_CASE_METHOD(BulkLink, "where there is no second connection CREDIT comes at once") {
    wire.has_bulk = false;
    joined_run();
    part(tagged(77), MiB, 0, 100 * KiB, Lane::main);
    expect_on(Lane::main, Kind::credit);
}

TEST_CASE_METHOD(BulkLink,
                 "parts of another tag are dropped: they are of a body that was given up") {
    joined_run();
    part(tagged(77), MiB, 0, 256 * KiB, Lane::main);
    bulk_is_up();
    part(tagged(79), MiB, 0, 256 * KiB, Lane::main);  // its sender begins again
    part(tagged(77), MiB, 256 * KiB, 512 * KiB);
    part(tagged(79), MiB, 256 * KiB, 512 * KiB);
    part(tagged(77), MiB, 512 * KiB, MiB);
    no_event();
    part(tagged(79), MiB, 512 * KiB, MiB);
    CHECK(event<RequestArrived>().body == pattern_of(MiB));
    no_event();
}

TEST_CASE_METHOD(BulkLink, "a MARK is answered on the connection on which it came") {
    joined_run();
    part(tagged(77), MiB, 0, 64 * KiB, Lane::main);
    bulk_is_up();
    ignore_frames();
    part(tagged(77), MiB, 64 * KiB, 256 * KiB);
    nothing_sent();
    mark(5, Lane::bulk);
    CHECK(expect_on(Lane::bulk, Kind::window).header.aux == 5);
    mark(6);
    CHECK(expect_on(Lane::main, Kind::window).header.aux == 6);
    nothing_sent();
}

// -- its end ---------------------------------------------------------------------------

TEST_CASE_METHOD(BulkLink, "a bulk connection that the broker does not know ends the session") {
    own_run();
    ask(MiB);
    ignore_frames();
    Header unknown;
    unknown.kind = Kind::error;
    unknown.aux = static_cast<std::uint64_t>(Errc::not_registered);
    SECTION("while BULK is not answered that may be about an earlier one") {
        frame(unknown, encode_sentence("say HELLO first"), 0, Lane::bulk);
        nothing_sent();
        CHECK(link.up());
    }
    SECTION("later it is about what was in it") {
        bulk_is_up();
        frame(unknown, encode_sentence("say HELLO first"), 0, Lane::bulk);
        expect_on(Lane::main, Kind::hello);
        welcome();
        CHECK(wire.bulk_closed == 1);
        // all begins again in the new session
        expect_on(Lane::main, Kind::open);
        expect_bulk_asked();
        CHECK(expect_on(Lane::main, Kind::request).header.body_offset == 0);
    }
}

TEST_CASE_METHOD(BulkLink,
                 "silence on the bulk connection ends both, whatever is heard on the first") {
    own_run();
    ask(MiB);
    bulk_is_up();
    ignore();
    bool pinged = false;
    for (int i = 0; i < 6; ++i) {
        pass(seconds(1));
        ping_from_broker();
        for (const auto& sent : wire.frames)
            pinged = pinged || (sent.lane == Lane::bulk && sent.header.kind == Kind::ping);
        wire.frames.clear();
    }
    CHECK(pinged);
    CHECK(link.up());
    pass(seconds(1));
    CHECK_FALSE(link.up());
    CHECK(wire.reconnects == 1);
    event<LinkDown>();
}

TEST_CASE_METHOD(BulkLink, "an idle bulk connection that is answered lives for ever") {
    own_run();
    ask(MiB);
    bulk_is_up();
    ignore();
    for (int i = 0; i < 100; ++i) {
        pass(seconds(1));
        ping_from_broker();
        Header pong;
        pong.kind = Kind::pong;
        frame(pong, {}, 0, Lane::bulk);
        wire.frames.clear();
    }
    CHECK(link.up());
    CHECK(wire.reconnects == 0);
}

// -- the broker ------------------------------------------------------------------------

namespace {

struct BulkBroker : BrokerFixture {
    BulkBroker() { run_with("master", {"member-0", "member-1"}); }

    /// `name` says BULK on a connection.
    void say_bulk(ConnId on, const std::string& name, std::uint64_t session,
                  std::uint64_t instance = 77) {
        Header header;
        header.kind = Kind::bulk;
        header.src = node_id_of(name);
        header.request = instance;
        header.aux = session;
        frame(on, header);
    }
    /// It opens a second connection, which is called name/bulk here.
    void attach(const std::string& name, std::uint64_t session, std::uint64_t instance = 77) {
        say_bulk(conn(name + "/bulk"), name, session, instance);
    }
    void attached(const std::string& name, std::uint64_t session) {
        attach(name, session);
        const auto answer = expect(Kind::bulk).to(name + "/bulk");
        CHECK(answer.header.flags == flag::answer);
        CHECK(answer.header.aux == session);
        nothing_more();
    }
    void part(const std::string& from, const std::string& to, std::uint64_t offset, Lane lane,
              std::size_t bytes = 64 << 10) {
        Header header = data_header(Kind::request, from, to);
        header.body_bytes = 100 * MiB;
        header.body_offset = offset;
        header.aux = 5;
        frame(conn(lane == Lane::bulk ? from + "/bulk" : from), header, Bytes(bytes, 1));
    }
};

// sessions are counted from 1, in the order of HELLO
constexpr std::uint64_t of_master = 1;
constexpr std::uint64_t of_member_0 = 2;

}  // namespace

TEST_CASE_METHOD(BulkBroker, "what came on a bulk connection goes out on one, if there is one") {
    attached("master", of_master);
    part("master", "member-0", 256 * KiB, Lane::bulk);
    CHECK(expect(Kind::request).from("master").to("member-0").header.aux == 5);
    mark("master/bulk", 21);
    CHECK(expect(Kind::window).to("master/bulk").header.aux == 21);
    attached("member-0", of_member_0);
    part("master", "member-0", 320 * KiB, Lane::bulk);
    expect(Kind::request).from("master").to("member-0/bulk");
    // reported where it came
    mark("master/bulk", 22);
    CHECK(expect(Kind::window).to("master/bulk").header.aux == 22);
    // the order on first connections is kept
    part("master", "member-0", 0, Lane::main, 4 * KiB);
    expect(Kind::request).from("master").to("member-0");
    part("master", "member-0", 4 * KiB, Lane::main, 4 * KiB);
    expect(Kind::request).from("master").to("member-0");
    nothing_more();
}

TEST_CASE_METHOD(BulkBroker, "BULK needs the session and the instance of a node that is there") {
    const auto refused = [&](const std::string& name) {
        expect(Kind::error).code(Errc::not_registered).to(name + "/bulk");
        nothing_more();
    };
    attach("master", of_member_0);
    refused("master");
    attach("master", of_master, 78);
    refused("master");
    attach("nobody", of_master);
    refused("nobody");
    attached("master", of_master);
    attached("master", of_master);  // it had not heard the answer
    SECTION("nobody else's connection can be claimed") {
        say_bulk(conn("master/bulk"), "member-0", of_member_0);
        expect_error(Errc::wrong_source, "master");
        nothing_more();
    }
    SECTION("a first connection is not a second one") {
        say_bulk(conn("member-0"), "member-0", of_member_0);
        expect_error(Errc::malformed_frame, "member-0");
        nothing_more();
    }
}

TEST_CASE_METHOD(BulkBroker, "a bulk connection on which nothing comes is taken for closed") {
    attached("master", of_master);
    Header ping;
    ping.kind = Kind::ping;
    ping.src = node_id_of("master");
    const std::vector<std::string> all{"master", "member-0", "member-1"};
    for (int i = 0; i < 3; ++i) {
        pass_alive(seconds(9), all);
        frame(conn("master/bulk"), ping);
        expect(Kind::pong).to("master/bulk");
    }
    nothing_more();
    pass_alive(seconds(9), all);
    pass_alive(seconds(2), all, false);
    expect_error(Errc::not_registered, "master");
    nothing_more();
}

TEST_CASE_METHOD(BulkBroker,
                 "a bulk connection carries what follows first chunks, and nothing else") {
    attached("master", of_master);
    part("master", "member-0", 0, Lane::bulk);
    expect_error(Errc::malformed_frame, "master");
    Header hello;
    hello.kind = Kind::hello;
    hello.src = node_id_of("master");
    frame(conn("master/bulk"), hello, encode(Hello{"master", "master", -1, 1, 77, "0.1.0", {}}));
    expect_error(Errc::malformed_frame, "master");
    Header bye;
    bye.kind = Kind::bye;
    bye.src = node_id_of("master");
    frame(conn("master/bulk"), bye);
    expect_error(Errc::malformed_frame, "master");
    Header ping;
    ping.kind = Kind::ping;
    ping.src = node_id_of("master");
    ping.request = 9;
    frame(conn("master/bulk"), ping);
    CHECK(expect(Kind::pong).to("master/bulk").header.request == 9);
    nothing_more();
}

TEST_CASE_METHOD(BulkBroker, "each connection has its window and its reports") {
    attached("master", of_master);
    attached("member-0", of_member_0);
    for (int i = 1; i <= 40; ++i)
        part("master", "member-0", static_cast<std::uint64_t>(i) * 64 * KiB, Lane::bulk);
    std::size_t parts = 0;
    for (const auto& sent : router.frames) {
        if (sent.header.kind != Kind::request) continue;
        CHECK(sent.to == conn("member-0/bulk"));
        ++parts;
    }
    CHECK(parts == 8);  // 512 KiB, and the frame that crosses the line
    router.frames.clear();
    request("master", "member-0", 100);  // passes
    expect(Kind::request).to("member-0");
    nothing_more();
    window("member-0/bulk", 2 * (64 * KiB + header_bytes));
    expect(Kind::request).to("member-0/bulk");
}

TEST_CASE_METHOD(
    BulkBroker,
    "who reads nothing gets no more than a window in all sessions of its bulk connection") {
    attached("master", of_master);
    attached("member-0", of_member_0);
    const ConnId deaf = conn("member-0/bulk");
    std::uint64_t offset = 0;
    std::uint64_t delivered = 0;
    const auto fill = [&] {
        for (int i = 0; i < 20; ++i) part("master", "member-0", offset += 64 * KiB, Lane::bulk);
        for (const SentFrame& sent : router.frames)
            if (sent.to == deaf) delivered += header_bytes + sent.body.size();
        router.frames.clear();
    };
    fill();
    for (int round = 0; round < 30; ++round) {
        window("member-0");  // it reads its first connection
        if (round % 2 == 0) bye("member-0");
        hello("member-0");
        const std::uint64_t session = expect(Kind::welcome).to("member-0").header.aux;
        attach("member-0", session);
        join("member-0");
        fill();
    }
    CHECK(delivered >= 512 * KiB);
    CHECK(delivered < 576 * KiB + control_allowance_bytes);
}

TEST_CASE_METHOD(BulkBroker,
                 "while small messages of another run are about, less bulk is under way") {
    attached("master", of_master);
    attached("member-0", of_member_0);
    run_with("master", {"member-0"}, run_of(2));
    const auto parts_sent = [&] {
        return std::count_if(router.frames.begin(), router.frames.end(),
                             [](auto& s) { return s.header.kind == Kind::request; });
    };
    SECTION("of another") {
        request("master", "member-0", 100, run_of(2));
        router.frames.clear();
        for (std::uint64_t i = 1; i <= 40; ++i)
            part("master", "member-0", i * 64 * KiB, Lane::bulk);
        CHECK(parts_sent() == 3);  // 192 KiB, and not 512
        router.frames.clear();
        now += milliseconds(60);
        window("member-0/bulk", 64 * KiB + header_bytes);
        CHECK(parts_sent() == 6);  // they are gone: all of the window again
    }
    SECTION("of its own they count for nothing") {
        part("master", "member-0", 64 * KiB, Lane::bulk);
        request("master", "member-0", 100);
        router.frames.clear();
        for (std::uint64_t i = 2; i <= 40; ++i)
            part("master", "member-0", i * 64 * KiB, Lane::bulk);
        CHECK(parts_sent() == 7);
    }
}

TEST_CASE_METHOD(BulkBroker, "a node that has lost its bulk connection says HELLO again") {
    attached("master", of_master);
    attached("member-0", of_member_0);
    SECTION("the transport has seen it") {
        broker.on_disconnected(conn("member-0/bulk"), now);
    }
    SECTION("it is found when something is sent") {
        router.gone.insert(conn("member-0/bulk"));
        part("master", "member-0", 256 * KiB, Lane::bulk);
    }
    SECTION("or when something that waits is sent") {
        router.full.insert(conn("member-0/bulk"));
        part("master", "member-0", 256 * KiB, Lane::bulk);
        router.gone.insert(conn("member-0/bulk"));
        pass(seconds(1));
    }
    expect_error(Errc::not_registered, "member-0");
    nothing_more();
    router.gone.clear();
    router.full.clear();
    // what it still had to say there was lost on the way or is of no session
    part("member-0", "master", 256 * KiB, Lane::bulk);
    expect(Kind::error).code(Errc::not_registered).to("member-0/bulk");
    hello("member-0");
    expect(Kind::welcome).to("member-0");
}

TEST_CASE_METHOD(BulkBroker, "a bulk connection ends with the session, the node and the name") {
    attached("member-0", of_member_0);
    const std::size_t before = broker.connections_of_nodes();
    SECTION("another HELLO of the process") {
        hello("member-0");
        ignore();
    }
    SECTION("another process") {
        connect("member-0");
        pass(seconds(4));
        hello("member-0", 2, 78);
        ignore();
    }
    SECTION("it leaves") {
        bye("member-0");
        ignore();
        CHECK(broker.connections_of_nodes() == before - 2);
        CHECK(broker.nodes() == 3);
        close("master");
        ignore();
        CHECK(broker.nodes() == 2);
        attach("member-0", of_member_0);
        expect(Kind::error).code(Errc::not_registered).to("member-0/bulk");
        return;
    }
    SECTION("its first connection is gone") {
        broker.on_disconnected(conn("member-0"), now);
        CHECK(broker.connections_of_nodes() == before - 2);
        ignore();
        part("member-0", "master", 256 * KiB, Lane::bulk);
        expect(Kind::error).code(Errc::not_registered).to("member-0/bulk");
        return;
    }
    CHECK(broker.connections_of_nodes() == before - 1);
    part("member-0", "master", 256 * KiB, Lane::bulk);
    expect(Kind::error).code(Errc::not_registered).to("member-0/bulk");
    nothing_more();
}
