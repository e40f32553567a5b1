// Deadlines of many: the next one is found without looking at all.

#include "base/rng.hpp"
#include "bus/core/deadlines.hpp"
#include "link_fixture.hpp"

using namespace vflbus;
using namespace vflbus::bus;

TEST_CASE("deadlines come in order, and one that is put off stays where it is") {
    Deadlines<int> deadlines;
    const TimePoint begin{std::chrono::hours(1)};
    TimePoint a = Deadlines<int>::nowhere, b = a, c = a;
    CHECK(deadlines.next() == Deadlines<int>::nowhere);
    deadlines.no_later(1, begin + seconds(3), a);
    deadlines.no_later(2, begin + seconds(1), b);
    deadlines.no_later(3, begin + seconds(2), c);
    deadlines.no_later(1, begin + seconds(5), a);  // later than where it stands
    CHECK(a == begin + seconds(3));
    deadlines.no_later(1, begin + milliseconds(500), a);
    CHECK(deadlines.next() == begin + milliseconds(500));
    CHECK(deadlines.size() == 3);
    deadlines.remove(3, c);
    deadlines.remove(3, c);
    CHECK_FALSE(deadlines.take_due(begin));
    CHECK(deadlines.take_due(begin + seconds(1)) == 1);
    CHECK(deadlines.take_due(begin + seconds(1)) == 2);
    CHECK_FALSE(deadlines.take_due(begin + seconds(9)));
}

TEST_CASE_METHOD(LinkFixture, "a thousand nodes with requests under way: one deadline each") {
    come_up();
    std::vector<Participant> participants;
    for (int i = 0; i < 1000; ++i)
        participants.push_back({"node-" + std::to_string(i), "member", i});
    link.open_run(run_of(1), 1, Open{"member-0", participants, ""}, now);
    for (int i = 0; i < 1000; ++i)
        for (int n = 0; n < 16; ++n)
            REQUIRE(
                link.request(run_of(1), node_id_of("node-" + std::to_string(i)), 300, {1}, now));
    consume_all();
    ignore();
    CHECK(link.deadlines() == 1000);
    const Duration unheard = config().timings.resend_unheard;
    // all of them are due at the same time, and all are said again
    const TimePoint due = now + unheard;
    while (now + seconds(1) < due) {  // the broker is alive
        pass(seconds(1));
        ping_from_broker();
    }
    ignore();
    ping_from_broker();
    pass(due - now);
    consume_all();
    std::size_t again = 0;
    for (const auto& sent : wire.frames) again += sent.header.kind == Kind::request ? 1 : 0;
    CHECK(again == 16'000);
    // those that are answered are due no more
    ignore();
    for (int i = 0; i < 1000; ++i)
        for (std::uint64_t n = 1; n <= 16; ++n) reply("node-" + std::to_string(i), n);
    ignore();
    for (int i = 0; i < 90; ++i) {
        pass(seconds(1));
        ping_from_broker();
    }
    CHECK(link.deadlines() == 0);
    link.forget_run(run_of(1));
    CHECK(link.deadlines() == 0);
}
