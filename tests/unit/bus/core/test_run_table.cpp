// The runs of a broker: who is named in them, and who may have how many.

#include "bus/core/run_table.hpp"
#include "catch.hpp"
#include "numbered_run.hpp"

using namespace vflbus;
using namespace vflbus::bus;

namespace {

BrokerMember table_member(std::uint64_t id) {
    return {{"member-" + std::to_string(id), "member", static_cast<std::int64_t>(id)},
            NodeId{id},
            false,
            {}};
}

Limits table_limits() {
    Limits limits;
    limits.runs = 8;
    limits.kept_of_one = 4000;
    limits.kept_opens = 6000;
    return limits;
}

BrokerRun& opened(RunTable& table, std::uint8_t number, std::uint64_t owner,
                  std::size_t bytes = 0) {
    BrokerRun& run = table.open(numbered_run(number), NodeId{owner}, NodeId{owner});
    run.open = std::make_shared<const Bytes>(bytes);
    return run;
}

}  // namespace

TEST_CASE("a node is found in all runs that it owns or is named in, and in no other") {
    RunTable table(table_limits());
    BrokerRun& first = opened(table, 1, 10);
    BrokerRun& second = opened(table, 2, 20);
    CHECK(table.set_members(first, {table_member(3), table_member(5), table_member(20)}).empty());
    CHECK(table.runs_of(NodeId{10}) == std::set{numbered_run(1)});
    CHECK(table.runs_of(NodeId{5}) == std::set{numbered_run(1)});
    CHECK(table.runs_of(NodeId{20}) == std::set{numbered_run(1), numbered_run(2)});
    CHECK(table.runs_of(NodeId{4}).empty());
    CHECK(first.find(NodeId{4}) == nullptr);
    CHECK(first.find(NodeId{5})->participant.name == "member-5");

    SECTION("others are named instead") {
        const auto before = table.set_members(first, {table_member(4), table_member(5)});
        CHECK(before.size() == 3);
        CHECK(table.runs_of(NodeId{3}).empty());
        CHECK(table.runs_of(NodeId{4}) == std::set{numbered_run(1)});
        CHECK(table.runs_of(NodeId{5}) == std::set{numbered_run(1)});
        CHECK(table.runs_of(NodeId{20}) == std::set{numbered_run(2)});
    }
    SECTION("one comes and goes") {
        table.add_member(second, NodeId{7}, {"member-7", "member", 7});
        table.add_member(second, NodeId{3}, {"member-3", "member", 3});
        table.add_member(second, NodeId{7}, {"member-7", "node", -1});
        REQUIRE(second.members().size() == 2);
        CHECK(second.members()[0].id == NodeId{3});
        CHECK(second.members()[1].participant.role == "node");
        CHECK(table.runs_of(NodeId{3}) == std::set{numbered_run(1), numbered_run(2)});
        table.remove_member(second, NodeId{3});
        CHECK(table.runs_of(NodeId{3}) == std::set{numbered_run(1)});
        CHECK(second.find(NodeId{3}) == nullptr);
    }
    SECTION("an owner that named itself owns the run still when it is named no longer") {
        table.set_members(second, {table_member(20)});
        table.set_members(second, {});
        CHECK(table.runs_of(NodeId{20}) == std::set{numbered_run(1), numbered_run(2)});
    }
    SECTION("a run is closed") {
        table.close(numbered_run(1));
        CHECK(table.find(numbered_run(1)) == nullptr);
        for (const std::uint64_t id : {3, 5, 10}) CHECK(table.runs_of(NodeId{id}).empty());
        CHECK(table.runs_of(NodeId{20}) == std::set{numbered_run(2)});
        CHECK(table.size() == 1);
    }
}

TEST_CASE("who takes part: an owner that is here, and a member that has joined") {
    RunTable table(table_limits());
    BrokerRun& run = opened(table, 1, 10);
    table.set_members(run, {table_member(3), table_member(5)});
    CHECK_FALSE(run.takes_part(NodeId{10}));
    run.owner_here = true;
    run.find(NodeId{5})->joined = true;
    CHECK(run.takes_part(NodeId{10}));
    CHECK(run.takes_part(NodeId{5}));
    CHECK_FALSE(run.takes_part(NodeId{3}));
    CHECK_FALSE(run.takes_part(NodeId{4}));
    CHECK_FALSE(run.all_joined());
    run.find(NodeId{3})->joined = true;
    CHECK(run.all_joined());
}

TEST_CASE("nobody has all places: one more only while as many stay free as a payer has") {
    RunTable table(table_limits());
    const auto room = [&](std::uint64_t payer) {
        return table.room_for_open(numbered_run(99), NodeId{payer}, 0);
    };
    std::uint8_t number = 0;
    const auto takes_all_it_can = [&](std::uint64_t payer) {
        std::size_t count = 0;
        for (; room(payer) == RunTable::Room::free; ++count) opened(table, ++number, payer);
        return count;
    };
    CHECK(takes_all_it_can(1) == 4);
    CHECK(room(1) == RunTable::Room::share_taken);
    CHECK(takes_all_it_can(2) == 2);
    CHECK(takes_all_it_can(3) == 1);
    CHECK(takes_all_it_can(4) == 1);
    CHECK(room(5) == RunTable::Room::no_place);
    CHECK(table.most_places() == 4);
    // a run that is there is announced again, whatever is free
    CHECK(table.room_for_open(numbered_run(1), NodeId{1}, 0) == RunTable::Room::free);
    table.close(numbered_run(1));
    CHECK(table.places_of(NodeId{1}) == 3);
    CHECK(room(5) == RunTable::Room::free);
}

TEST_CASE("owners with one key have one share together") {
    RunTable table(table_limits());
    const NodeId key{1};
    for (std::uint8_t number = 1; number <= 4; ++number) {
        const NodeId owner{std::uint64_t{10} + number};
        REQUIRE(table.room_for_open(numbered_run(number), key, 0) == RunTable::Room::free);
        table.open(numbered_run(number), owner, key);
    }
    CHECK(table.room_for_open(numbered_run(9), key, 0) == RunTable::Room::share_taken);
    CHECK(table.room_for_open(numbered_run(9), NodeId{19}, 0) == RunTable::Room::free);
}

TEST_CASE("what is kept of OPEN and JOIN is bounded for each node, and of OPEN in all") {
    RunTable table(table_limits());
    using Room = RunTable::Room;
    BrokerRun& run = opened(table, 1, 1, 3000);
    CHECK(table.kept_bytes_of(NodeId{1}, nullptr) == 3000);
    CHECK(table.kept_bytes_of(NodeId{1}, &run) == 0);
    CHECK(table.room_for_open(numbered_run(2), NodeId{1}, 1000) == Room::free);
    CHECK(table.room_for_open(numbered_run(2), NodeId{1}, 1001) == Room::too_many_bytes);
    // another OPEN of the run takes the place of the one that is there
    CHECK(table.room_for_open(numbered_run(1), NodeId{1}, 4000) == Room::free);
    CHECK(table.room_for_open(numbered_run(2), NodeId{2}, 3000) == Room::free);
    CHECK(table.room_for_open(numbered_run(2), NodeId{2}, 3001) == Room::too_many_bytes);

    table.set_members(run, {table_member(5)});
    CHECK(table.kept_bytes_of(NodeId{1}, nullptr) == 3000 + waiting_frame_bytes);
    BrokerRun& other = opened(table, 2, 2, 0);
    table.set_members(other, {table_member(5)});
    table.keep_join(*run.find(NodeId{5}), NodeId{5}, std::make_shared<const Bytes>(2000));
    CHECK(table.kept_bytes_of(NodeId{5}, nullptr) == 2000 + waiting_frame_bytes);
    const std::uint64_t left = 4000 - 2000 - 2 * waiting_frame_bytes;
    CHECK(table.room_for_join(other, NodeId{5}, NodeId{5}, left));
    CHECK_FALSE(table.room_for_join(other, NodeId{5}, NodeId{5}, left + 1));
    CHECK(table.room_for_join(run, NodeId{5}, NodeId{5}, 4000 - waiting_frame_bytes));
}

TEST_CASE("what all nodes of one key have said in OPEN and JOIN is bounded together") {
    RunTable table(table_limits());
    using Room = RunTable::Room;
    const NodeId key{1};
    BrokerRun& run = table.open(numbered_run(1), NodeId{11}, key);
    run.open = std::make_shared<const Bytes>(2000);
    BrokerRun& of_another = opened(table, 2, 2);
    table.set_members(of_another, {table_member(12), table_member(13)});
    const auto join = [&](std::uint64_t node, std::size_t bytes) {
        if (!table.room_for_join(of_another, NodeId{node}, key, bytes)) return false;
        table.keep_join(*of_another.find(NodeId{node}), key, std::make_shared<const Bytes>(bytes));
        return true;
    };
    CHECK(join(12, 1000));
    CHECK(table.room_for_open(numbered_run(3), key, 2000 - 1000 - waiting_frame_bytes) ==
          Room::free);
    CHECK(table.room_for_open(numbered_run(3), key, 2000 - 1000 - waiting_frame_bytes + 1) ==
          Room::too_many_bytes);
    CHECK_FALSE(join(13, 900));
    CHECK(join(12, 500));  // in place of what it has said before
    CHECK(join(13, 900));
    CHECK(table.most_kept_bytes() == 2000 + 500 + 900 + 2 * waiting_frame_bytes);
    SECTION("one of them is not named any more") {
        table.remove_member(of_another, NodeId{13});
        CHECK(table.kept_bytes_of(key, nullptr) == 2000 + 500 + waiting_frame_bytes);
    }
    SECTION("others are named") {
        table.set_members(of_another, {table_member(14)});
        CHECK(table.kept_bytes_of(key, nullptr) == 2000);
    }
    SECTION("the run is closed") {
        table.close(numbered_run(2));
        CHECK(table.kept_bytes_of(key, nullptr) == 2000);
        table.close(numbered_run(1));
        CHECK(table.most_kept_bytes() == 0);
    }
}
