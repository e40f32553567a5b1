// How runs ended, for those who come late: what is remembered, for how long, and who makes room.

#include "bus/core/ended_runs.hpp"
#include "catch.hpp"
#include "numbered_run.hpp"

using namespace vflbus;
using namespace vflbus::bus;
using namespace std::chrono_literals;

namespace {

EndedRun ended_by(std::uint64_t payer, TimePoint at, std::size_t sentence_bytes = 10) {
    return {2,
            NodeId{payer},
            {NodeId{5}, NodeId{7}},
            {Errc::refused, std::string(sentence_bytes, 'x')},
            {{NodeId{7}, Bytes(20, 1)}},
            at};
}

}  // namespace

TEST_CASE("how a run ended is remembered for those whom it named, until it is open again") {
    EndedRuns runs(8, 1 << 20, 10min);
    const TimePoint now{1h};
    CHECK(runs.find(numbered_run(1), now) == nullptr);
    runs.note(numbered_run(1), ended_by(1, now));
    const EndedRun* const ended = runs.find(numbered_run(1), now + 10min);
    REQUIRE(ended != nullptr);
    CHECK(ended->names(NodeId{5}));
    CHECK(ended->names(NodeId{7}));
    CHECK_FALSE(ended->names(NodeId{6}));
    EndedRun open = ended_by(1, now);
    open.open_to_all = true;
    CHECK(open.names(NodeId{6}));
    CHECK(ended->ending.code == Errc::refused);
    CHECK(ended->sealed.at(NodeId{7}).size() == 20);
    CHECK(runs.find(numbered_run(1), now + 10min + 1ns) == nullptr);
    runs.erase(numbered_run(1));
    CHECK(runs.find(numbered_run(1), now) == nullptr);
    CHECK(runs.bytes() == 0);
    // noted again it is as new, and what is too old goes when another one ends
    runs.note(numbered_run(1), ended_by(1, now));
    runs.note(numbered_run(1), ended_by(1, now + 5min));
    CHECK(runs.size() == 1);
    runs.note(numbered_run(2), ended_by(2, now + 14min));
    CHECK(runs.size() == 2);
    runs.note(numbered_run(3), ended_by(2, now + 16min));
    CHECK(runs.size() == 2);
    CHECK(runs.find(numbered_run(1), now + 6min) == nullptr);
}

TEST_CASE("who ends many runs forgets his own") {
    const TimePoint now{1h};
    SECTION("places") {
        EndedRuns runs(4, 1 << 20, 10min);
        runs.note(numbered_run(1), ended_by(1, now));
        for (std::uint8_t i = 10; i < 30; ++i)
            runs.note(numbered_run(i), ended_by(2, now + i * 1s));
        CHECK(runs.size() == 4);
        CHECK(runs.find(numbered_run(1), now) != nullptr);
        for (std::uint8_t i = 27; i < 30; ++i) CHECK(runs.find(numbered_run(i), now) != nullptr);
    }
    SECTION("bytes, of which one long ending takes as many as others") {
        const std::uint64_t small = ended_by(1, now).kept_bytes();
        EndedRuns runs(100, 6 * small, 10min);
        for (std::uint8_t i = 1; i <= 3; ++i) runs.note(numbered_run(i), ended_by(i, now));
        runs.note(numbered_run(9), ended_by(9, now + 1s, 10 + 2 * small));
        CHECK(runs.size() == 4);
        CHECK(runs.bytes() == 6 * small);
        runs.note(numbered_run(4), ended_by(1, now + 2s));
        CHECK(runs.find(numbered_run(9), now) == nullptr);
        CHECK(runs.size() == 4);
        // more than there is room for is not remembered at all
        runs.note(numbered_run(5), ended_by(8, now + 3s, 7 * small));
        CHECK(runs.find(numbered_run(5), now) == nullptr);
        CHECK(runs.bytes() == 4 * small);
    }
}
