// A member behind a network that is slow, breaks, or swallows everything: the same model, bit for
// bit, or an end with a sentence. The proxy is in the test's own process; what it does is steered
// by what the run has stored.

#include <thread>

#include "catch.hpp"
#include "parties.hpp"
#include "proxy.hpp"

using namespace proc;
using std::chrono::milliseconds;

namespace {

/// A training by hand over tcp, with member-1 behind a proxy.
struct Behind {
    explicit Behind(const Words& for_all) : hand(dir, for_all, {}, true), proxy(hand.endpoint) {
        hand.parties["member-1"].broker = proxy.endpoint();
    }
    void start() {
        make_example(dir);
        hand.start_all();
    }
    /// All parties end well, with this model.
    void completes(const Models& expected) {
        const Finished finished = hand.master->wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
        for (const auto& member : hand.members) {
            const Finished ended = member->wait();
            INFO(ended.err);
            CHECK(ended.exit_code == 0);
        }
        CHECK(models(run) == expected);
    }

    TempDir dir;
    ByHand hand;
    Proxy proxy;
    fs::path run = run_dir(dir, "runs");
};

/// Found out soon, with time enough between suspect and lost for a busy machine.
const Words wary{"--set", "bus.heartbeat_interval=0.3",
                 "--set", "bus.suspect_after=1",
                 "--set", "bus.time_between_idle_connections_checks=0.2"};

}  // namespace

TEST_CASE("a link that takes 50 ms each way", "[network]") {
    const Words few{"--set", "model.epochs=3"};
    const Models expected = undisturbed(few);
    Behind behind(few);
    behind.proxy.set({milliseconds(50)});
    const auto began = std::chrono::steady_clock::now();
    behind.start();
    behind.completes(expected);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    CHECK(took.count() > 30 * 0.1);  // some 30 steps: the delay was there
}

TEST_CASE("a link that is cut ten times", "[network]") {
    const Models expected = undisturbed();
    Behind behind({});
    behind.start();
    for (int cut = 0; cut < 10; ++cut) {
        INFO("cut " << cut << "\n" << behind.hand.master->err());
        const std::uint64_t step = record(behind.run).step;
        const std::uint64_t before = behind.proxy.connections();
        REQUIRE(commits_beyond(*behind.hand.master, behind.run, step));
        behind.proxy.cut(cut % 2 == 0 ? Cut::rst : Cut::fin);
        REQUIRE(await(*behind.hand.master, [&] { return behind.proxy.connections() > before; }));
    }
    behind.completes(expected);
    CHECK(behind.proxy.connections() >= 11);
    CHECK(record(behind.run).term == 1);
}

TEST_CASE("a link that swallows everything for longer than suspect, shorter than lost",
          "[network]") {
    const Models expected = undisturbed();
    Behind behind(with(wary, {"--set", "bus.disconnect_idle_client_time=20"}));
    behind.start();
    std::size_t suspected = 0;
    // both ways, then one way only
    for (const auto& [out, back] : {std::pair{true, true}, {true, false}, {false, true}}) {
        INFO(out << back << "\n" << behind.hand.master->err());
        REQUIRE(commits_beyond(*behind.hand.master, behind.run, record(behind.run).step));
        behind.proxy.set(Direction::out, {.hole = out});
        behind.proxy.set(Direction::back, {.hole = back});
        std::this_thread::sleep_for(milliseconds(2000));
        behind.proxy.set({});
        const std::string said = behind.hand.master->err();
        if (said.find("member-1 has been silent for", suspected) != std::string::npos)
            suspected = said.size();
    }
    CHECK(suspected != 0);
    behind.completes(expected);
    CHECK(record(behind.run).term == 1);
}

TEST_CASE("a link that swallows everything for longer than lost, and comes back in time",
          "[network]") {
    const Models expected = undisturbed();
    Behind behind(
        with(wary, {"--set", "bus.disconnect_idle_client_time=3", "--set", "bus.rejoin_grace=60"}));
    behind.start();
    REQUIRE(commits_beyond(*behind.hand.master, behind.run, 0));
    behind.proxy.set({.hole = true});
    REQUIRE(behind.hand.master->await_output("member-1 is gone", true));
    behind.proxy.set({});
    behind.completes(expected);
}

TEST_CASE("a link that swallows everything for good ends the run", "[network]") {
    Behind behind(with(impatient, {"--set", "model.epochs=100000"}));
    behind.start();
    REQUIRE(commits_beyond(*behind.hand.master, behind.run, 0));
    behind.proxy.set({.hole = true});
    const Finished finished = behind.hand.master->wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 5);
    const std::string sentence = sentence_of(finished);
    CHECK(sentence.find("member-1 is gone, at step ") != std::string::npos);
    CHECK(sentence.find("--resume " + run_id) != std::string::npos);
    const Finished other = behind.hand.members[0]->wait();
    INFO(other.err);
    CHECK(other.exit_code == 5);
    CHECK(other.err.find("member-1") != std::string::npos);
    // who was cut off hears of the end as soon as somebody can tell
    behind.proxy.set({});
    const Finished cut_off = behind.hand.members[1]->wait();
    INFO(cut_off.err);
    CHECK(cut_off.exit_code == 5);
    CHECK(!sentence_of(cut_off).empty());
}

TEST_CASE("a link of 1 MB/s", "[network]") {
    // every row in every step: 5 kB each way and step
    const Words bulky{"--set", "model.batch_size=0", "--set", "model.epochs=400"};
    const Models expected = undisturbed(bulky);
    Behind behind(bulky);
    behind.proxy.set({.bytes_per_second = 1e6});
    const auto began = std::chrono::steady_clock::now();
    behind.start();
    behind.completes(expected);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    const auto bytes = static_cast<double>(
        std::max(behind.proxy.bytes(Direction::out), behind.proxy.bytes(Direction::back)));
    CHECK(bytes > 1e6);
    CHECK(took.count() > bytes / 1e6 - 0.1);  // the limit was there
}
