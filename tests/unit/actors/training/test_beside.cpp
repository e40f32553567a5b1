// Work beside the thread of a party.

#include <atomic>
#include <stdexcept>
#include <thread>
#include <utility>

#include "actors/training/linear/beside.hpp"
#include "catch.hpp"

using namespace vflbus::actors::linear;

TEST_CASE("work beside is done piece after piece, on one thread that is not the caller's") {
    Beside beside;
    beside.await();  // nothing was begun
    std::thread::id first;
    for (int i = 0; i < 50; ++i) {
        std::thread::id here;
        int done = 0;
        REQUIRE(beside.begin([&] {
            here = std::this_thread::get_id();
            done = i;
        }));
        beside.await();
        CHECK(done == i);
        CHECK(here != std::this_thread::get_id());
        if (i == 0) first = here;
        CHECK(here == first);
    }
}

TEST_CASE("what work beside throws is thrown where it is awaited, and the next one is done") {
    Beside beside;
    REQUIRE(beside.begin([] { throw std::runtime_error("no"); }));
    CHECK_THROWS_AS(beside.await(), std::runtime_error);
    beside.await();
    bool done = false;
    REQUIRE(beside.begin([&] { done = true; }));
    beside.await();
    CHECK(done);
}

TEST_CASE("work beside that was begun is done before its owner goes, wherever that has moved") {
    std::atomic<int> done = 0;
    {
        Beside beside;
        REQUIRE(beside.begin([&] { ++done; }));
        Beside moved = std::move(beside);
        moved.await();
        REQUIRE(moved.begin([&] { ++done; }));
    }
    CHECK(done == 2);
}
