// Which signals count, when one event sends several.

#include <csignal>

#include "catch.hpp"
#include "signals.hpp"

using vflbus::cli::CountedSignals;

TEST_CASE("what one event sends is one signal", "[cli]") {
    CountedSignals counted;
    SECTION("timeout: its command, then the whole group") {
        CHECK(counted.counts(SIGTERM, 5000));
        CHECK_FALSE(counted.counts(SIGTERM, 5001));
    }
    SECTION("a terminal that is closed: its shell, and the kernel") {
        CHECK(counted.counts(SIGHUP, 5000));
        CHECK_FALSE(counted.counts(SIGHUP, 5040));
    }
    SECTION("a session that is ended: SIGTERM, then SIGHUP") {
        CHECK(counted.counts(SIGTERM, 5000));
        CHECK_FALSE(counted.counts(SIGHUP, 5000));
    }
    SECTION("Ctrl-C under a script that hands it on") {
        CHECK(counted.counts(SIGINT, 5000));
        CHECK_FALSE(counted.counts(SIGINT, 5020));
    }
}

TEST_CASE("what comes later, or is another signal, counts", "[cli]") {
    CountedSignals counted;
    SECTION("a second Ctrl-C") {
        CHECK(counted.counts(SIGINT, 5000));
        CHECK(counted.counts(SIGINT, 5200));
        CHECK(counted.counts(SIGINT, 5400));
    }
    SECTION("an impatient supervisor") {
        CHECK(counted.counts(SIGTERM, 5000));
        CHECK(counted.counts(SIGTERM, 6000));
    }
    SECTION("a launch that ends its master at once sends both") {
        CHECK(counted.counts(SIGTERM, 5000));
        CHECK(counted.counts(SIGINT, 5000));
    }
    SECTION("those that did not count do not put it off") {
        CHECK(counted.counts(SIGTERM, 5000));
        CHECK_FALSE(counted.counts(SIGTERM, 5900));
        CHECK(counted.counts(SIGTERM, 6100));
    }
    SECTION("the first one, whenever the machine was started") {
        CHECK(counted.counts(SIGHUP, 0));
    }
}
