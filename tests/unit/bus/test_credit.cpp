// End-to-end credit and the limits of a link: docs/protocol.md, sections 6 and 7. A link by hand;
// whatever happens to a body, its room comes back.

#include "link_fixture.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

struct SmallBudget : LinkFixture {
    static LinkConfig small() {
        LinkConfig c = config();
        c.limits.body_budget = 4 * MiB;
        return c;
    }
    explicit SmallBudget(LinkConfig c = small()) : LinkFixture(std::move(c)) { come_up(); }

    /// All chunks from `first` to before `last` of a body.
    void part(const Header& header, std::uint64_t total, std::uint64_t first, std::uint64_t last) {
        for (std::uint64_t i = first; i < last; ++i) chunk(header, total, i);
    }
    void whole(const Header& header, std::uint64_t total) {
        part(header, total, 0, (total + chunk_bytes - 1) / chunk_bytes);
    }
    Header asked(std::uint64_t number, const char* from = "master") {
        return data(Kind::request, from, number);
    }
    Header answered(std::uint64_t number, const char* from = "member-1") {
        return data(Kind::reply, from, number);
    }
    Header expect_credit(std::uint64_t number, std::uint64_t up_to) {
        const Header header = expect_but_window(Kind::credit).header;
        CHECK(header.request == number);
        CHECK(header.aux == up_to);
        CHECK(header.run == run_of(1));
        CHECK(header.term == 1);
        return header;
    }
    void nothing_but_windows() {
        std::erase_if(wire.frames, [](auto& s) { return s.header.kind == Kind::window; });
        nothing_sent();
    }
    /// Bytes of REQUEST and REPLY frames that have left since, by kind and number.
    std::uint64_t left(Kind kind, std::uint64_t number) {
        std::uint64_t bytes = 0;
        consume_all();
        std::erase_if(wire.frames, [&](auto& s) {
            if (s.header.kind != kind || s.header.request != number) return false;
            bytes += s.body.size();
            return true;
        });
        return bytes;
    }
    void ask(std::uint64_t bytes, const char* of = "member-1") {
        REQUIRE(link.request(run_of(1), node_id_of(of), 300, Bytes(bytes, 7), now));
    }
    void nothing_held() {
        no_event();
        CHECK(link.reserved_bytes() == 0);
        CHECK(link.waiting_bodies() == 0);
        CHECK(link.arriving_bytes() == 0);
    }
};

/// Room for two bodies of 2 MiB of one sender: its share is half of all room.
struct DoubleBudget : SmallBudget {
    static LinkConfig doubled() {
        LinkConfig c = config();
        c.limits.body_budget = 8 * MiB;
        return c;
    }
    DoubleBudget() : SmallBudget(doubled()) {}
};

}  // namespace

// -- the sender ------------------------------------------------------------------------

TEST_CASE_METHOD(SmallBudget, "a body of up to 64 KiB waits for nobody, of a larger one 1 MiB") {
    own_run();
    for (int i = 0; i < 8; ++i) ask(credit_free_bytes);
    for (std::uint64_t n = 1; n <= 8; ++n) CHECK(left(Kind::request, n) == credit_free_bytes);
    ask(3 * MiB);
    CHECK(left(Kind::request, 9) == MiB);
    credit("member-1", 9, 2 * MiB + 77);
    CHECK(left(Kind::request, 9) == MiB);  // 77 bytes are not worth a frame
    credit("member-1", 9, 2 * MiB);        // an earlier word says nothing new
    CHECK(left(Kind::request, 9) == 0);
    credit("member-1", 9, 100 * MiB);
    CHECK(left(Kind::request, 9) == MiB);
    nothing_sent();
}

TEST_CASE_METHOD(SmallBudget, "bodies that leave whole begin beside others, 1 MiB of them") {
    own_run();
    for (int i = 0; i < 5; ++i) ask(bulk_lead_bytes);
    for (std::uint64_t n = 1; n <= 4; ++n) CHECK(left(Kind::request, n) == bulk_lead_bytes);
    nothing_sent();
    ask(10);
    CHECK(left(Kind::request, 6) == 0);  // requests stay in order
    SECTION("one of them gets credit") {
        credit("member-1", 3, bulk_lead_bytes);
    }
    SECTION("one of them is answered, which says the same") {
        reply("member-1", 2);
        event<ReplyArrived>();
    }
    CHECK(left(Kind::request, 5) == bulk_lead_bytes);
    CHECK(left(Kind::request, 6) == 10);
    nothing_sent();
    // they hold up no longer one, and it holds up none of them
    ask(2 * MiB, "member-2");
    ask(bulk_lead_bytes, "member-2");
    CHECK(left(Kind::request, 1) == MiB);
    CHECK(left(Kind::request, 2) == bulk_lead_bytes);
    ask(2 * MiB, "member-2");
    nothing_sent();
}

TEST_CASE_METHOD(SmallBudget, "only one body without credit asks for it, requests stay in order") {
    own_run();
    ask(2 * MiB);
    ask(3 * MiB);
    ask(10);
    ask(5, "member-2");  // others do not wait
    CHECK(left(Kind::request, 1) == MiB + 5);
    nothing_sent();
    SECTION("it gets credit") {
        credit("member-1", 1, 2 * MiB);
        CHECK(left(Kind::request, 1) == MiB);
    }
    SECTION("it is there already") {
        credit("member-1", 1, credit_all);
        CHECK(left(Kind::request, 1) == 0);
    }
    SECTION("it is answered") {
        reply("member-1", 1);
        event<ReplyArrived>();
    }
    SECTION("it is refused") {
        error(Errc::too_large, run_of(1), 1, 1, node_id_of("member-1"));
        CHECK(event<ReplyArrived>().error.code == Errc::too_large);
    }
    CHECK(left(Kind::request, 2) == MiB);
    CHECK(left(Kind::request, 3) == 10);
    nothing_sent();
}

TEST_CASE_METHOD(SmallBudget, "a body whose turn has not come, and whose room is there, begins") {
    // a first chunk that was on its way when all began again has got its receiver to make room
    SECTION("a request") {
        own_run();
        ask(2 * MiB);
        ask(3 * MiB);
        CHECK(left(Kind::request, 1) == MiB);
        nothing_sent();
        credit("member-1", 2, 2 * MiB);
        CHECK(left(Kind::request, 2) == MiB);  // from its beginning
        credit("member-1", 2, 2 * MiB);
        CHECK(left(Kind::request, 2) == MiB);
    }
    SECTION("an answer, also when it is asked for only then") {
        joined_run();
        for (std::uint64_t n = 1; n <= 2; ++n) {
            request("master", n);
            event<RequestArrived>();
            link.reply(run_of(1), node_id_of("master"), n, Bytes(2 * MiB, 7), now);
        }
        CHECK(left(Kind::reply, 1) == MiB);
        credit("master", 1, 2 * MiB, true);
        CHECK(left(Kind::reply, 1) == MiB);
        CHECK(left(Kind::reply, 2) == MiB);
        peer_up("master", 1);
        credit("master", 2, 2 * MiB, true);
        ignore_frames();
        request("master", 1);
        CHECK(left(Kind::reply, 1) == MiB);
        request("master", 2);
        CHECK(left(Kind::reply, 2) == MiB);
    }
}

TEST_CASE_METHOD(SmallBudget, "CREDIT for an earlier attempt says only that there is room") {
    own_run();
    ask(3 * MiB);
    const auto tag = [&] { return wire.tags[{node_id_of("member-1"), 1, false}]; };
    const std::uint64_t earlier = tag();
    CHECK(left(Kind::request, 1) == MiB);
    peer_up("member-1");
    CHECK(left(Kind::request, 1) == MiB);
    const std::uint64_t present = tag();
    CHECK(present != earlier);
    // its receiver would drop what it has not granted to this one
    wire.tags[{node_id_of("member-1"), 1, false}] = earlier;
    credit("member-1", 1, 3 * MiB);
    CHECK(left(Kind::request, 1) == 0);
    wire.tags[{node_id_of("member-1"), 1, false}] = present;
    credit("member-1", 1, 3 * MiB);
    CHECK(left(Kind::request, 1) == 2 * MiB);
}

TEST_CASE_METHOD(SmallBudget, "answers need credit as requests do, and pass requests that wait") {
    joined_run();
    request("master", 1);
    request("master", 2);
    request("master", 3);
    const NodeId master = node_id_of("master");
    link.reply(run_of(1), master, 1, Bytes(2 * MiB), now);
    link.reply(run_of(1), master, 2, Bytes(2 * MiB), now);
    link.reply(run_of(1), master, 3, Bytes(9), now);
    CHECK(left(Kind::reply, 1) == MiB);
    CHECK(left(Kind::reply, 2) == 0);
    CHECK(left(Kind::reply, 3) == 9);
    credit("master", 1, 2 * MiB);  // that would be a request of ours
    CHECK(left(Kind::reply, 1) == 0);
    credit("master", 1, 2 * MiB, true);
    CHECK(left(Kind::reply, 1) == MiB);
    CHECK(left(Kind::reply, 2) == MiB);
    request("master", 4, 3);  // 1 and 2 are answered: the rest of 2 is of no use
    credit("master", 2, 2 * MiB, true);
    CHECK(left(Kind::reply, 2) == 0);
    link.reply(run_of(1), master, 4, Bytes(2 * MiB), now);
    CHECK(left(Kind::reply, 4) == MiB);
}

TEST_CASE_METHOD(SmallBudget, "a body that has its room begins again without waiting for others") {
    const auto credit = [&](std::uint64_t number, std::uint8_t flags, std::uint64_t up_to) {
        Header header = data(Kind::credit, flags == 0 ? "member-1" : "master", number);
        header.type = 0;
        header.flags = flags;
        header.answered_below = wire.tags[{header.src, number, flags != 0}];
        header.aux = up_to;
        frame(header);
    };
    SECTION("an answer that is asked for again") {
        joined_run();
        for (const std::uint64_t n : {1, 2}) {
            request("master", n);
            event<RequestArrived>();
            link.reply(run_of(1), node_id_of("master"), n, Bytes(2 * MiB), now);
        }
        CHECK(left(Kind::reply, 1) == MiB);
        credit(1, flag::answer, MiB + chunk_bytes);
        CHECK(left(Kind::reply, 1) == chunk_bytes);
        CHECK(left(Kind::reply, 2) == MiB);  // asks, perhaps for the room that 1 has
        request("master", 1);
        CHECK(left(Kind::reply, 1) == MiB);
        request("master", 2);  // 2 asks still: a third one waits
        CHECK(left(Kind::reply, 2) == MiB);
        request("master", 3);
        event<RequestArrived>();
        link.reply(run_of(1), node_id_of("master"), 3, Bytes(2 * MiB), now);
        CHECK(left(Kind::reply, 3) == 0);
    }
    SECTION("a request of which nothing is heard") {
        own_run();
        ask(2 * MiB);
        ask(2 * MiB);
        CHECK(left(Kind::request, 1) == MiB);
        credit(1, 0, MiB + chunk_bytes);
        CHECK(left(Kind::request, 1) == chunk_bytes);
        CHECK(left(Kind::request, 2) == MiB);
        for (int s = 0; s < 31; ++s) {
            Header pong;
            pong.kind = Kind::pong;
            frame(pong);
            pass(seconds(1));
        }
        CHECK(left(Kind::request, 1) == MiB);
    }
}

TEST_CASE_METHOD(SmallBudget, "after a reconnect bodies begin again, and so does credit") {
    own_run();
    ask(2 * MiB);
    ask(2 * MiB);
    credit("member-1", 1, 2 * MiB);
    CHECK(left(Kind::request, 1) == 2 * MiB);
    CHECK(left(Kind::request, 2) == MiB);
    SECTION("of this node") {
        error(Errc::not_registered);
        expect(Kind::hello);
        welcome();
        expect(Kind::open);
    }
    SECTION("of the other") {
        peer_up("member-1");
    }
    CHECK(left(Kind::request, 1) == MiB);
    CHECK(left(Kind::request, 2) == 0);
    nothing_sent();
}

TEST_CASE_METHOD(SmallBudget,
                 "a request of which nothing is heard is sent again, ever more rarely") {
    own_run();
    ask(10);
    CHECK(left(Kind::request, 1) == 10);
    const auto sent_again_within = [&](Duration d) {
        std::uint64_t bytes = 0;
        for (const TimePoint until = now + d; now < until;) {
            pass(seconds(1));
            ping_from_broker();
            bytes += left(Kind::request, 1);
        }
        return bytes;
    };
    CHECK(sent_again_within(seconds(28)) == 0);
    CHECK(sent_again_within(seconds(4)) == 10);
    CHECK(sent_again_within(seconds(55)) == 0);
    CHECK(sent_again_within(seconds(6)) == 10);
    peer_down("member-1");
    CHECK(sent_again_within(seconds(900)) == 0);
    peer_up("member-1");
    CHECK(left(Kind::request, 1) == 10);
}

TEST_CASE_METHOD(DoubleBudget, "a peer that is gone holds no room, not even with what is whole") {
    joined_run();
    part(asked(1), 2 * MiB, 0, 2);
    whole(asked(2), 2 * MiB);  // waits for its turn
    CHECK(link.reserved_bytes() == 4 * MiB);
    SECTION("as the broker says") {
        peer_down("master");
    }
    SECTION("as far as a broker knows that came back empty") {
        error(Errc::not_registered);
        expect_but_window(Kind::credit);
        expect(Kind::credit);
        expect(Kind::hello);
        welcome();
        expect(Kind::join);
        CHECK(link.reserved_bytes() == 2 * MiB);  // of what is whole: the broker may be the same
        error(Errc::retry, run_of(1), 1, 0, node_id_of("master"));
    }
    CHECK(link.reserved_bytes() == 0);
    CHECK(link.arriving_bytes() == 0);
    peer_up("master");
    ignore();
    whole(asked(1), 2 * MiB);
    whole(asked(2), 2 * MiB);
    CHECK(event<RequestArrived>().number == 1);
    CHECK(event<RequestArrived>().number == 2);
}

TEST_CASE_METHOD(SmallBudget,
                 "an answer that is here already, and begins again, waits for no CREDIT") {
    own_run();
    ask(10);
    whole(answered(1), MiB);
    CHECK(event<ReplyArrived>().body.size() == MiB);
    ignore_frames();
    part(answered(1), MiB, 0, 1);  // the request had arrived twice
    const auto enough = expect_but_window(Kind::credit);
    CHECK(enough.header.request == 1);
    CHECK(enough.header.aux == credit_all);
    CHECK(enough.header.flags == flag::answer);
    part(answered(1), MiB, 1, 2);
    part(answered(1), credit_free_bytes, 0, 1);
    nothing_but_windows();
    nothing_held();
}

TEST_CASE_METHOD(SmallBudget, "while an answer arrives its request is not sent again") {
    own_run();
    ask(10);
    left(Kind::request, 1);
    for (std::uint64_t i = 0; i < 8; ++i) {
        for (int s = 0; s < 20; ++s) {
            pass(seconds(1));
            ping_from_broker();
        }
        chunk(answered(1), 4 * MiB, i);
        CHECK(left(Kind::request, 1) == 0);
    }
    CHECK(event_after_others<ReplyArrived>().body.size() == 4 * MiB);
}

// -- the receiver ----------------------------------------------------------------------

TEST_CASE_METHOD(SmallBudget, "small bodies take no room and get no credit") {
    joined_run();
    for (std::uint64_t n = 1; n <= 16; ++n) request("master", n, 1, Bytes(credit_free_bytes));
    CHECK(link.reserved_bytes() == 0);
    nothing_but_windows();
}

TEST_CASE_METHOD(SmallBudget, "a request that came whole gets credit when another one is at work") {
    joined_run();
    whole(asked(1), bulk_lead_bytes);
    CHECK(event<RequestArrived>().number == 1);
    CHECK(link.reserved_bytes() == 0);  // the event is gone, and its room with it
    nothing_but_windows();              // its sender hears of it by the answer
    whole(asked(2), bulk_lead_bytes);
    expect_credit(2, bulk_lead_bytes);
    CHECK(event<RequestArrived>().number == 2);
    const NodeId master = node_id_of("master");
    link.reply(run_of(1), master, 1, Bytes(1), now);
    link.reply(run_of(1), master, 2, Bytes(1), now);
    wire.frames.clear();
    Header third = asked(3);
    third.answered_below = 3;
    whole(third, bulk_lead_bytes + 1);  // whole, and longer than what may go without CREDIT
    expect_credit(3, bulk_lead_bytes + 1);
    CHECK(event<RequestArrived>().number == 3);
    link.reply(run_of(1), master, 3, Bytes(1), now);
    wire.frames.clear();
    // said again it is answered, as ever
    whole(third, bulk_lead_bytes + 1);
    expect_credit(3, credit_all);
}

TEST_CASE_METHOD(SmallBudget, "a request gets credit while an earlier answer waits") {
    // or two nodes that ask each other for much at once would wait for each other
    joined_run();
    for (int i = 0; i < 4; ++i) ask(bulk_lead_bytes, "master");
    for (std::uint64_t n = 1; n <= 4; ++n) CHECK(left(Kind::request, n) == bulk_lead_bytes);
    whole(asked(1), bulk_lead_bytes);
    CHECK(event<RequestArrived>().number == 1);
    link.reply(run_of(1), node_id_of("master"), 1, Bytes(100'000), now);
    CHECK(left(Kind::reply, 1) == 0);
    nothing_but_windows();
    whole(asked(2), bulk_lead_bytes);
    expect_credit(2, bulk_lead_bytes);
    CHECK(event<RequestArrived>().number == 2);
}

TEST_CASE_METHOD(SmallBudget, "a reply that came whole gets credit when others are awaited") {
    own_run();
    ask(1);
    ask(1);
    wire.frames.clear();
    whole(answered(1), bulk_lead_bytes);
    expect_credit(1, bulk_lead_bytes);
    CHECK(event<ReplyArrived>().number == 1);
    whole(answered(2), bulk_lead_bytes);  // the last one
    nothing_but_windows();
    CHECK(event<ReplyArrived>().number == 2);
}

TEST_CASE_METHOD(SmallBudget, "an answer without credit makes way when its asker says it has it") {
    joined_run();
    for (std::uint64_t n = 1; n <= 5; ++n) request("master", n);
    const NodeId master = node_id_of("master");
    for (std::uint64_t n = 1; n <= 5; ++n)
        link.reply(run_of(1), master, n, Bytes(bulk_lead_bytes), now);
    for (std::uint64_t n = 1; n <= 4; ++n) CHECK(left(Kind::reply, n) == bulk_lead_bytes);
    CHECK(left(Kind::reply, 5) == 0);
    request("master", 6, 2);
    CHECK(left(Kind::reply, 5) == bulk_lead_bytes);
    nothing_but_windows();
}

TEST_CASE_METHOD(SmallBudget, "a body has its room until the user has handled it") {
    joined_run();
    part(asked(1), 3 * MiB, 0, 1);
    expect_credit(1, 3 * MiB);
    CHECK(link.reserved_bytes() == 3 * MiB);
    part(asked(1), 3 * MiB, 1, 6);
    LinkEvent held;
    REQUIRE(link.next_event(held));
    CHECK(std::get<RequestArrived>(held).body.size() == 3 * MiB);
    nothing_but_windows();
    part(asked(2), 2 * MiB, 0, 2);  // what goes without asking
    nothing_but_windows();
    CHECK(link.waiting_bodies() == 1);
    CHECK_FALSE(link.next_event(held));  // which lets the body go
    CHECK(link.waiting_bodies() == 0);
    expect_credit(2, 2 * MiB);
    CHECK(link.reserved_bytes() == 2 * MiB);
    part(asked(2), 2 * MiB, 2, 4);
    CHECK(event<RequestArrived>().body.size() == 2 * MiB);
    nothing_held();
}

TEST_CASE_METHOD(SmallBudget, "a whole body without room is not handed over before it has some") {
    own_run();
    ask(1);
    ask(1);
    ignore();
    whole(answered(1), 4 * MiB);
    expect_credit(1, 4 * MiB);
    whole(answered(2), MiB);
    CHECK(link.waiting_bodies() == 1);
    chunk(answered(2), MiB, 0);  // again: it waits as before
    nothing_but_windows();
    const auto first = event<ReplyArrived>();
    CHECK(first.number == 1);
    no_event();  // `first` still holds its room
    {
        const auto gone = std::move(first);
    }
    CHECK(link.reserved_bytes() == 4 * MiB);
}

TEST_CASE_METHOD(SmallBudget, "credit of a large body grows as it arrives") {
    LinkFixture big;
    big.come_up();
    big.joined_run();
    const std::uint64_t total = 20 * MiB;
    Header header = big.data(Kind::request, "master", 1);
    std::uint64_t granted = 0;
    for (std::uint64_t i = 0; i < 40; ++i) {
        big.chunk(header, total, i);
        for (const auto& sent : big.wire.frames) {
            if (sent.header.kind != Kind::credit) continue;
            CHECK(sent.header.aux > granted);
            granted = sent.header.aux;
            CHECK(granted <= (i + 1) * chunk_bytes + credit_share_bytes_max);
        }
        big.wire.frames.clear();
        CHECK(granted >= std::min(total, (i + 1) * chunk_bytes + credit_share_bytes_max / 2));
    }
    CHECK(big.event<RequestArrived>().body.size() == total);
}

TEST_CASE_METHOD(SmallBudget, "parts beyond the credit are dropped") {
    joined_run();
    whole(asked(1, "member-9"), 4 * MiB);
    ignore_frames();
    part(asked(1), 2 * MiB, 0, 4);  // without room: 1 MiB of it is kept
    CHECK(link.arriving_bytes() == MiB);
    nothing_but_windows();
    event<RequestArrived>();
    no_event();
    expect_credit(1, 2 * MiB);
    part(asked(1), 2 * MiB, 2, 4);
    CHECK(event<RequestArrived>().body.size() == 2 * MiB);
    nothing_held();
}

TEST_CASE_METHOD(SmallBudget,
                 "of bodies larger than the whole budget one at a time is let through") {
    own_run();
    for (int i = 0; i < 3; ++i) ask(1);
    ignore();
    part(answered(1), 9 * MiB, 0, 1);
    CHECK(expect_credit(1, 8 * MiB + chunk_bytes).flags == flag::answer);
    part(answered(2), 9 * MiB, 0, 1);
    nothing_but_windows();
    part(answered(3), 4 * MiB, 0, 1);  // there is room for this besides
    expect_credit(3, 4 * MiB);
    CHECK(link.reserved_bytes() == 13 * MiB);
    part(answered(1), 9 * MiB, 1, 18);
    ignore_frames();
    event<ReplyArrived>();
    no_event();
    expect_credit(2, 8 * MiB + chunk_bytes);
}

TEST_CASE_METHOD(SmallBudget, "requests take room in the order in which they are handed over") {
    joined_run();
    part(asked(2), 3 * MiB, 0, 2);  // 1 has not begun: 2 must not take what 1 will need
    nothing_but_windows();
    part(asked(1), 3 * MiB, 0, 2);
    expect_credit(1, 3 * MiB);
    part(asked(1), 3 * MiB, 2, 6);
    CHECK(event<RequestArrived>().number == 1);
    no_event();
    expect_credit(2, 3 * MiB);
    part(asked(2), 3 * MiB, 2, 6);
    CHECK(event<RequestArrived>().number == 2);
    nothing_held();
}

TEST_CASE_METHOD(SmallBudget,
                 "a body whose turn comes because one before it was given up has room") {
    joined_run();
    Header second = asked(2);
    whole(second, MiB);  // 1 is missing
    CHECK(link.waiting_bodies() == 1);
    ignore_frames();
    second.answered_below = 2;
    SECTION("its sender repeats it") {
        part(second, MiB, 0, 1);
    }
    SECTION("another one says so") {
        request("master", 3, 2);
    }
    CHECK(event<RequestArrived>().body.size() == MiB);
    CHECK(link.waiting_bodies() == 0);
}

TEST_CASE_METHOD(SmallBudget, "a body that waits is passed by those that fit, but not for ever") {
    joined_run();
    whole(asked(1), 2 * MiB);
    LinkEvent held;
    REQUIRE(link.next_event(held));
    part(asked(1, "slow"), 3 * MiB, 0, 1);  // does not fit beside the first
    ignore_frames();
    std::uint64_t passed = 0;
    for (std::uint64_t n = 1; n < 100; ++n) {
        request("quick", n, n, Bytes(100'000));  // each needs room, and fits
        LinkEvent quick;
        if (link.next_event(quick)) ++passed;
        // while `held` lives the slow one cannot begin
        if (auto* r = std::get_if<RequestArrived>(&quick))
            link.reply(run_of(1), r->from, r->number, {}, now);
        ignore_frames();
    }
    CHECK(passed == 64);
    held = LinkEvent{};
    REQUIRE(link.next_event(held));  // those who waited behind it have their turn as well
    expect_credit(1, 3 * MiB);
}

// -- nothing leaks ---------------------------------------------------------------------

TEST_CASE_METHOD(DoubleBudget, "room comes back whatever becomes of a body") {
    own_run();
    ask(1);
    ask(1);
    ignore();
    whole(asked(1, "member-1"), MiB);           // handed over when the user asks for it
    part(asked(2, "member-1"), 2 * MiB, 0, 3);  // under way
    part(answered(1), MiB, 0, 1);               // under way as well
    part(answered(2), 2 * MiB, 0, 2);           // waits
    CHECK(link.reserved_bytes() == 4 * MiB);
    CHECK(link.waiting_bodies() == 1);
    SECTION("the run is closed") {
        link.close_run(run_of(1), Ending{Errc::ok, "done"}, now);
        event<RequestArrived>();
    }
    SECTION("the run is forgotten") {
        link.forget_run(run_of(1));
        event<RequestArrived>();
    }
    SECTION("a new term") {
        link.open_run(run_of(1), 2, Open{"member-0", {{"member-1", "member", 1}}, ""}, now);
        event<RequestArrived>();
    }
    SECTION("the peer is lost") {
        peer_down("member-1");
        event<RequestArrived>();
        event<PeerChanged>();
    }
    SECTION("the peer is back as another process") {
        peer_up("member-1", 1);
        event<RequestArrived>();
        event<PeerChanged>();
        peer_up("member-1", 2);
        event<ReplyArrived>();
        event<ReplyArrived>();
        event<PeerChanged>();
    }
    SECTION("the link reconnects") {
        error(Errc::not_registered);
        expect_but_window(Kind::credit);
        ignore_frames();
        welcome();
        event<RequestArrived>();
        event<LinkUp>();
    }
    SECTION("they are answered with errors") {
        event<RequestArrived>();
        error(Errc::malformed_frame, run_of(1), 1, 1, node_id_of("member-1"));
        error(Errc::malformed_frame, run_of(1), 1, 2, node_id_of("member-1"));
        event<ReplyArrived>();
        event<ReplyArrived>();
        request("member-1", 4, 4);  // its sender has given 1 to 3 up
        event<RequestArrived>();
    }
    nothing_held();
    pass(seconds(2));
    nothing_held();
}

TEST_CASE_METHOD(SmallBudget, "room of the dead goes to those who wait for it") {
    joined_run();
    part(asked(1, "member-1"), 4 * MiB, 0, 3);
    part(asked(1, "member-2"), 4 * MiB, 0, 2);
    ignore_frames();
    peer_down("member-1");
    expect_credit(1, 4 * MiB);
    CHECK(link.reserved_bytes() == 4 * MiB);
}

TEST_CASE_METHOD(SmallBudget, "room of a body of which nothing more comes goes to those who wait") {
    joined_run();
    const auto beat = [this] {
        Header pong;
        pong.kind = Kind::pong;
        pass(milliseconds(10));
        frame(pong, {});
        pass(milliseconds(990));
        std::erase_if(wire.frames, [](const auto& s) { return s.header.kind == Kind::ping; });
    };
    part(asked(1, "member-1"), 4 * MiB, 0, 1);
    expect_credit(1, 4 * MiB);
    beat();
    SECTION("somebody waits") {
        part(asked(1, "member-2"), 4 * MiB, 0, 1);
        ignore_frames();
        SECTION("and what comes is next to nothing") {
            for (int i = 0; i < 9; ++i) beat();
            nothing_sent();
            CHECK(link.waiting_bodies() == 1);
            beat();
            const auto credit = expect_credit(1, 4 * MiB);
            CHECK(credit.dst == node_id_of("member-2"));
            CHECK(link.reserved_bytes() == 4 * MiB);
            part(asked(1, "member-1"), 4 * MiB, 1, 1);  // it goes on where it was: too late
            CHECK(link.arriving_bytes() == chunk_bytes);
        }
        SECTION("and more of it comes, however slowly") {
            for (std::size_t i = 0; i < 40; ++i) {
                Header header = asked(1, "member-1");
                header.body_bytes = 4 * MiB;
                header.body_offset = chunk_bytes + i * chunk_bytes_min;
                frame(header, Bytes(chunk_bytes_min));
                beat();
            }
            CHECK(link.waiting_bodies() == 1);
        }
        SECTION("while the broker is silent nobody is idle") {
            for (int i = 0; i < 5; ++i) pass(seconds(1));
            ignore_frames();
            for (int i = 0; i < 8; ++i) beat();
            CHECK(link.waiting_bodies() == 1);
        }
    }
    SECTION("nobody waits") {
        for (int i = 0; i < 30; ++i) beat();
        CHECK(link.reserved_bytes() == 4 * MiB);
        CHECK(link.arriving_bytes() == chunk_bytes);
    }
}

TEST_CASE_METHOD(DoubleBudget,
                 "a sender that waits for its own share has no slow body of others dropped") {
    joined_run();
    const auto beat = [this] {
        Header pong;
        pong.kind = Kind::pong;
        pass(milliseconds(10));
        frame(pong, {});
        pass(milliseconds(990));
        ignore_frames();
    };
    part(asked(1, "slow"), 3 * MiB, 0, 1);
    std::vector<LinkEvent> held(1);
    whole(asked(1, "greedy"), 2 * MiB);
    REQUIRE(link.next_event(held[0]));
    part(asked(2, "greedy"), 2 * MiB, 0, 1);
    CHECK(link.waiting_bodies() == 1);
    for (int i = 0; i < 30; ++i) beat();
    CHECK(link.reserved_bytes() == 5 * MiB);
    CHECK(link.waiting_bodies() == 1);
    SECTION("one that has no room gets what is not used") {
        part(asked(1, "modest"), 4 * MiB, 0, 1);
        beat();
        CHECK(link.waiting_bodies() == 0);  // and now there is enough for the other one as well
        CHECK(link.reserved_bytes() == 8 * MiB);
    }
    SECTION("so does the slow one itself") {
        part(asked(2, "slow"), 3 * MiB, 0, 1);
        for (int i = 0; i < 11; ++i) beat();
        CHECK(link.reserved_bytes() < 5 * MiB);
    }
}

// -- shares ----------------------------------------------------------------------------

TEST_CASE_METHOD(DoubleBudget, "who holds room leaves as much of it to others") {
    joined_run();
    std::vector<LinkEvent> held(1);  // handlers of "greedy" hang
    whole(asked(1, "greedy"), 3 * MiB);
    REQUIRE(link.next_event(held[0]));
    for (std::uint64_t n = 2; n <= 16; ++n) part(asked(n, "greedy"), 3 * MiB, 0, 1);
    CHECK(link.reserved_bytes() == 3 * MiB);
    CHECK(link.waiting_bodies() == 15);
    ignore_frames();
    // all that stays free is for others, any number of times, and nobody waits behind the greedy
    for (std::uint64_t n = 1; n <= 100; ++n) {
        Header header = asked(n, "modest");
        header.answered_below = n;
        whole(header, 5 * MiB);
        CHECK(event<RequestArrived>().body.size() == 5 * MiB);
        link.reply(run_of(1), node_id_of("modest"), n, {}, now);
        ignore_frames();
        CHECK(link.reserved_bytes() == 3 * MiB);
    }
    held.clear();
    LinkEvent next;
    CHECK_FALSE(link.next_event(next));
    expect_credit(2, 3 * MiB);  // and then it is its own turn again
}

namespace {
struct Unasked : LinkFixture {
    static LinkConfig bounded() {
        LinkConfig c = config();
        c.limits.unasked_budget = 4 * MiB;
        c.limits.body_budget = 4 * MiB;
        return c;
    }
    Unasked() : LinkFixture(bounded()) {
        come_up();
        for (std::uint8_t n = 1; n <= 200; ++n)
            link.join_run({run_of(n), 1, node_id_of("greedy"), {}},
                          Join{"member-0", "member", 0, 3, {}, "0.1.0", Errc::ok, ""}, now);
        ignore();
    }
    std::vector<RequestArrived> take() {
        std::vector<RequestArrived> taken;
        LinkEvent got;
        while (link.next_event(got))
            if (auto* request = std::get_if<RequestArrived>(&got))
                taken.push_back(std::move(*request));
        return taken;
    }
};
}  // namespace

TEST_CASE_METHOD(Unasked, "small requests of one node that nobody has handled yet have a bound") {
    for (std::uint8_t run = 1; run <= 200; ++run)
        for (std::uint64_t n = 1; n <= 16; ++n)
            frame(data(Kind::request, "greedy", n, 1, run_of(run)), Bytes(60'000));
    auto taken = take();  // 190 MB were sent
    CHECK(taken.size() > 30);
    CHECK(link.unasked_bytes() <= 2 * MiB);
    // another one's are taken beside them
    frame(data(Kind::request, "modest", 1, 1, run_of(1)), Bytes(60'000));
    CHECK(take().size() == 1);
    // what was handled makes room, and what was dropped is taken when it is said again
    const std::size_t first = taken.size();
    taken.clear();
    CHECK(link.unasked_bytes() == 0);
    for (std::uint64_t n = 1; n <= 16; ++n)
        frame(data(Kind::request, "greedy", n, 1, run_of(200)), Bytes(60'000));
    CHECK(first < 200 * 16);
    CHECK(take().size() == 16);
    CHECK(link.unasked_bytes() == 0);
}

TEST_CASE_METHOD(Unasked, "first parts of bodies that wait for room have a bound") {
    Header hanging = data(Kind::request, "other", 1, 1, run_of(1));
    for (std::uint64_t i = 0; i < 8; ++i) chunk(hanging, 4 * MiB, i);
    auto held = take();
    REQUIRE(held.size() == 1);  // has all room
    for (std::uint8_t run = 1; run <= 200; ++run)
        for (std::uint64_t n = 1; n <= 16; ++n) {
            Header header = data(Kind::request, "greedy", n, 1, run_of(run));
            chunk(header, 4 * MiB, 0);
            chunk(header, 4 * MiB, 1);
        }
    CHECK(link.arriving_bytes() >= MiB);  // 3 GB were sent
    CHECK(link.arriving_bytes() <= 2 * MiB);
    CHECK(link.unasked_bytes() <= 2 * MiB);
    for (std::uint8_t run = 1; run <= 200; ++run) link.forget_run(run_of(run));
    CHECK(link.unasked_bytes() == 0);
}

TEST_CASE_METHOD(Unasked,
                 "who calls requests answered before they are has no more of them at work") {
    for (std::uint64_t n = 1; n <= 1000; ++n)
        frame(data(Kind::request, "greedy", n, n, run_of(1)), {1});
    const auto taken = take();
    CHECK(taken.size() == outstanding_requests_max);
    // with each that is answered, in whatever way, the next one comes
    frame(data(Kind::request, "greedy", 1000, 1000, run_of(1)), {1});
    CHECK(take().empty());
    link.reply(run_of(1), node_id_of("greedy"), taken[3].number, {}, now);
    CHECK(take().size() == 1);
}

TEST_CASE_METHOD(SmallBudget,
                 "a request that the broker had no place for is said again, and the run goes on") {
    own_run();
    ask(10);
    CHECK(left(Kind::request, 1) == 10);
    error(Errc::too_many, run_of(1), 1, 1, node_id_of("member-1"));
    no_event();
    pass(milliseconds(900));
    CHECK(left(Kind::request, 1) == 0);
    pass(milliseconds(200));
    CHECK(left(Kind::request, 1) == 10);
    error(Errc::too_many, run_of(1), 1);  // to OPEN: there are too many runs
    CHECK(event<RunClosed>().ending.code == Errc::too_many);
}

// -- limits ----------------------------------------------------------------------------

namespace {
struct Limited : SmallBudget {
    static LinkConfig limited() {
        LinkConfig c = config();
        c.limits.message = 100'000;
        c.limits.chunk = 10'000;
        c.limits.outstanding = 2;
        c.limits.hop_window = MiB;
        return c;
    }
    Limited() : SmallBudget(limited()) {}
};
}  // namespace

TEST_CASE_METHOD(Limited, "messages larger than the limit are neither sent nor taken") {
    own_run();
    const NodeId peer = node_id_of("member-1");
    const auto sent = link.request(run_of(1), peer, 300, Bytes(100'001), now);
    REQUIRE_FALSE(sent);
    CHECK(sent.error().code == Errc::too_large);
    ask(100'000);
    CHECK(left(Kind::request, 1) == 100'000);
    part(answered(1), 100'001, 0, 1);
    const auto reply = event<ReplyArrived>();
    CHECK(reply.error.code == Errc::too_large);
    CHECK(reply.number == 1);
    // who answers waits for no CREDIT, nor do its other bodies
    const auto enough = expect_but_window(Kind::credit);
    CHECK(enough.header.aux == credit_all);
    CHECK(enough.header.flags == flag::answer);

    request("member-1", 1);
    event<RequestArrived>();
    chunk(asked(2, "member-1"), 100'001, 0);
    no_event();
    expect_credit(2, credit_all);
    const auto answer = expect_but_window(Kind::reply);
    CHECK(answer.header.request == 2);
    CHECK(answer.header.flags == flag::error);
    CHECK(decode_ending(answer.body)->code == Errc::too_large);
    request("member-1", 3);  // and it goes on
    CHECK(event<RequestArrived>().number == 3);
}

TEST_CASE_METHOD(Limited, "bodies are cut as configured, or as the broker's frames allow") {
    own_run();
    ask(25'000);
    for (const std::size_t bytes : {10'000u, 10'000u, 5'000u})
        CHECK(expect(Kind::request).body.size() == bytes);
    error(Errc::not_registered);
    expect(Kind::hello);
    Header header;
    header.kind = Kind::welcome;
    header.request = last_hello;
    wire.data_bytes = 0;
    frame(header, encode(Welcome{"0.1.0", 1000, 3000, 10000, 8192, 20'000}));
    expect(Kind::open);
    // the broker that came back takes less: what is too large for it fails here
    event<LinkUp>();
    CHECK(event<ReplyArrived>().error.code == Errc::too_large);
    ask(9'000);
    for (const std::size_t bytes : {8192u, 808u}) CHECK(expect(Kind::request).body.size() == bytes);
    // an announcement that no frame can hold ends the run here instead of the connection
    link.open_run(run_of(2), 1, Open{"member-0", {}, std::string(9'000, 'x')}, now);
    const auto closed = event<RunClosed>();
    CHECK(closed.run == run_of(2));
    CHECK(closed.ending.code == Errc::too_large);
}

TEST_CASE_METHOD(Limited, "more requests than may be under way wait for their turn") {
    own_run();
    for (std::uint64_t n = 1; n <= 5; ++n) ask(n);
    ask(9, "member-2");
    CHECK(left(Kind::request, 1) == 1 + 9);
    CHECK(left(Kind::request, 2) == 2);
    nothing_sent();
    reply("member-1", 2);
    CHECK(left(Kind::request, 3) == 3);
    nothing_sent();
    reply("member-1", 1);
    reply("member-1", 3);
    CHECK(left(Kind::request, 4) == 4);
    CHECK(left(Kind::request, 5) == 5);
    peer_up("member-1");
    CHECK(left(Kind::request, 4) == 4);
    CHECK(left(Kind::request, 5) == 5);
    nothing_sent();
}

TEST_CASE("the hop begins with the window that is configured, and again after a reconnect") {
    LinkConfig config = LinkFixture::config();
    config.limits.hop_window = MiB;
    SmallBudget node(config);
    node.own_run();
    for (int i = 0; i < 32; ++i) node.ask(60'000, i % 2 == 0 ? "member-1" : "member-2");
    CHECK(node.wire.data_bytes >= MiB);
    CHECK(node.wire.data_bytes <= MiB + 61'000);
    node.error(Errc::not_registered);
    node.ignore();
    node.welcome();
    CHECK(node.wire.data_bytes >= MiB);
    CHECK(node.wire.data_bytes <= MiB + 61'000);
}

// -- progress --------------------------------------------------------------------------

TEST_CASE_METHOD(SmallBudget,
                 "PING says whether the node works, and changes when that makes progress") {
    joined_run();
    no_event();
    pass(milliseconds(1001));
    CHECK(expect(Kind::ping).header.flags == 0);
    request("master", 1);
    request("master", 2);
    event<RequestArrived>();
    event<RequestArrived>();
    no_event();
    ignore_frames();
    std::uint64_t quick = 0;
    const auto beat = [&] {
        for (int i = 0; i < 11; ++i) {  // the link has other things to say meanwhile
            pass(milliseconds(100));
            peer_up("member-2");
            event<PeerChanged>();
            REQUIRE(link.request(run_of(1), node_id_of("quick"), 300, {}, now));
            reply("quick", ++quick);
            event<ReplyArrived>();
            no_event();
        }
        std::erase_if(wire.frames, [](auto& s) { return s.header.kind != Kind::ping; });
        REQUIRE_FALSE(wire.frames.empty());
        const Header header = wire.frames.back().header;
        wire.frames.clear();
        return header;
    };
    const Header first = beat();
    CHECK(first.flags == flag::busy);
    const Header second = beat();
    CHECK(second.flags == flag::busy);
    CHECK(second.aux == first.aux);
    link.reply(run_of(1), node_id_of("master"), 2, {}, now);  // not the one that hangs
    CHECK(beat().aux == first.aux);
    link.reply(run_of(1), node_id_of("master"), 1, {}, now);
    const Header idle = beat();
    CHECK(idle.flags == 0);
    CHECK(idle.aux != first.aux);
}

TEST_CASE_METHOD(SmallBudget, "what the user begins and does not end is work") {
    own_run();
    const auto work = link.begin_work();
    const auto other = link.begin_work();
    pass(milliseconds(1001));
    const Header hung = expect(Kind::ping).header;
    CHECK(hung.flags == flag::busy);
    pass(milliseconds(1001));
    CHECK(expect(Kind::ping).header.aux == hung.aux);
    link.end_work(other);
    pass(milliseconds(1001));
    CHECK(expect(Kind::ping).header.aux == hung.aux);
    link.end_work(work);
    pass(milliseconds(1001));
    CHECK(expect(Kind::ping).header.flags == 0);
}
