// Runs that wait at serving masters: who may note how many, and when they are given up.

#include "bus/core/waiting_runs.hpp"
#include "catch.hpp"
#include "numbered_run.hpp"

using namespace vflbus;
using namespace vflbus::bus;
using namespace std::chrono_literals;

TEST_CASE("one master does not fill all places of waiting runs") {
    WaitingRuns runs(8);
    const TimePoint now{1h};
    std::uint8_t number = 0;
    const auto notes_all_it_can = [&](std::uint64_t by) {
        std::size_t count = 0;
        for (; runs.has_room_for(numbered_run(static_cast<std::uint8_t>(number + 1)), NodeId{by},
                                 NodeId{by});
             ++count)
            runs.note(numbered_run(++number), NodeId{by}, NodeId{by}, "master", "master", now);
        return count;
    };
    CHECK(notes_all_it_can(1) == 4);
    CHECK(notes_all_it_can(2) == 2);
    CHECK(notes_all_it_can(3) == 1);
    CHECK(notes_all_it_can(4) == 1);
    CHECK(notes_all_it_can(5) == 0);
    CHECK(runs.size() == 8);
    // what it has noted it may note again
    CHECK(runs.has_room_for(numbered_run(1), NodeId{1}, NodeId{1}));
    runs.erase(numbered_run(1));
    CHECK(runs.has_room_for(numbered_run(99), NodeId{5}, NodeId{5}));
    CHECK_FALSE(runs.has_room_for(numbered_run(99), NodeId{1}, NodeId{1}));
}

TEST_CASE("masters with one key have one share of the places of waiting runs together") {
    WaitingRuns runs(8);
    const TimePoint now{1h};
    const NodeId key{1};
    for (std::uint8_t number = 1; number <= 4; ++number) {
        const NodeId by{std::uint64_t{10} + number};
        REQUIRE(runs.has_room_for(numbered_run(number), by, key));
        runs.note(numbered_run(number), by, key, "master", "master", now);
    }
    CHECK_FALSE(runs.has_room_for(numbered_run(9), NodeId{19}, key));
    CHECK(runs.has_room_for(numbered_run(9), NodeId{19}, NodeId{19}));
    // one of its masters comes back; the runs of the others are here as before
    runs.begin_session(NodeId{11});
    CHECK_FALSE(runs.find(numbered_run(1))->here);
    CHECK(runs.find(numbered_run(2))->here);
    runs.erase(numbered_run(2));
    CHECK(runs.has_room_for(numbered_run(9), NodeId{19}, key));
}

TEST_CASE("a waiting run is given up when its master is gone for longer than the grace") {
    WaitingRuns runs(8);
    TimePoint now{1h};
    bool there = true;
    const auto give_up = [&] { return runs.give_up(now, 10s, [&](NodeId) { return there; }); };
    runs.note(numbered_run(1), NodeId{1}, NodeId{1}, "master", "master", now);
    now += 1h;
    CHECK(give_up().empty());
    there = false;
    now += 10s;
    CHECK(give_up().empty());

    SECTION("it does not come back") {
        now += 1s;
        const auto over = give_up();
        REQUIRE(over.size() == 1);
        CHECK(over[0].first == numbered_run(1));
        CHECK(over[0].second.by_name == "master");
        CHECK(over[0].second.since == TimePoint{1h});
        CHECK(runs.size() == 0);
    }
    SECTION("it comes back, and says nothing of the run") {
        there = true;
        runs.begin_session(NodeId{1});
        CHECK(give_up().empty());
        now += 1s;
        CHECK(give_up().size() == 1);
    }
    SECTION("it comes back and notes the run again, which waits since it was noted first") {
        there = true;
        runs.begin_session(NodeId{1});
        runs.note(numbered_run(1), NodeId{1}, NodeId{1}, "master", "master", now);
        now += 1h;
        CHECK(give_up().empty());
        CHECK(runs.find(numbered_run(1))->since == TimePoint{1h});
    }
}
