// Recovery, method: processes die, at moments drawn from the seed and, one after another, in every
// single write that anybody makes. Whatever dies comes back after a while; every run must then
// complete with the model of the undisturbed run, bit for bit, and leave no commit behind.

#include "catch.hpp"
#include "training.hpp"

using namespace vflbus;
using namespace vflbus::sim;

namespace {

void check_like(const Outcome& out, const Outcome& calm, const std::string& replay) {
    INFO(replay << "\n" << out.story << "\n" << out.violation);
    REQUIRE(out.violation.empty());
    REQUIRE(out.ended);
    for (std::size_t r = 0; r < out.runs.size(); ++r) {
        INFO(out.runs[r].reason);
        REQUIRE(out.runs[r].status == "completed");
        REQUIRE(out.runs[r].models == calm.runs[r].models);
    }
    REQUIRE(out.contexts_left == 0);
    // a member that was down when the run ended was not told: it keeps two commits and a term per
    // run
    REQUIRE(out.states_left <= 12);
}

Scenario storm(std::uint64_t seed) {
    Scenario scenario;
    Rng rng(mix_seed(seed, 5));
    Faults& faults = scenario.faults;
    faults.delay_max = std::chrono::milliseconds(20);
    if (rng.below(3) != 0) faults.cuts = 0.1;
    if (rng.below(3) != 0) faults.broker_restarts = 0.05;
    if (rng.below(3) != 0) faults.partitions = 0.05;
    if (rng.below(3) != 0) faults.pauses = 0.05;
    if (rng.below(3) != 0) faults.garbage = 0.3;
    if (rng.below(4) != 0) faults.kills = 0.1;
    if (rng.below(3) == 0) scenario.deaths_per_write = 0.02;
    faults.pause_max = std::chrono::seconds(5);
    faults.partition_max = std::chrono::seconds(5);
    faults.handler_max =
        rng.below(2) == 0 ? std::chrono::milliseconds(5) : std::chrono::milliseconds(200);
    scenario.commit_steps = 1 + rng.below(12);
    return scenario;
}

}  // namespace

TEST_CASE("commits leave no mark on the model, and nothing of them stays") {
    Scenario rare;
    rare.commit_steps = 0;
    const Outcome without = train(1, rare);
    Scenario often;
    often.commit_steps = 1;
    const Outcome with = train(1, often);
    check_like(with, without, "commits at every step");
    CHECK(with.states_left == 0);
    CHECK(with.writes.at("member-0") > without.writes.at("member-0") + 20);
}

TEST_CASE("a process may die in any write, and the run completes with the same model") {
    for (const bool sequential : {false, true}) {
        Scenario calm_scenario;
        calm_scenario.sequential = sequential;
        const Outcome calm = train(1, calm_scenario);
        check_like(calm, calm, "undisturbed");
        std::uint64_t deaths = 0;
        for (const auto& [node, writes] : calm.writes) {
            for (std::uint64_t write = 1; write <= writes; ++write) {
                for (const bool after : {false, true}) {
                    Scenario scenario = calm_scenario;
                    scenario.death = {{node, write, after}};
                    const Outcome out = train(1, scenario);
                    check_like(out, calm,
                               node + " dies " + (after ? "after" : "before") + " its write " +
                                   std::to_string(write));
                    deaths += out.coverage.count("kill") != 0 ? 1 : 0;
                }
            }
        }
        CHECK(deaths > 40);
    }
}

TEST_CASE("whatever dies and comes back, every run completes with the same model") {
    const Outcome calm = train(1, Scenario{});
    std::map<std::string, std::uint64_t> coverage;
    std::uint64_t master_lives = 0;
    const auto [first, last, one] = seeds(100);
    for (std::uint64_t seed = first; seed <= last; ++seed) {
        const Outcome out = train(seed, storm(seed));
        for (const auto& [name, count] : out.coverage) coverage[name] += count;
        for (const Training& run : out.runs) master_lives += run.lives;
        check_like(out, calm, "replay with VFLBUS_SIM_SEED=" + std::to_string(seed));
    }
    if (one) return;
    CHECK(master_lives > 2 * last + 10);
    for (const char* fault : {"broker restarted", "cut told to both sides", "cut told to the node",
                              "cut told to the broker", "cut told to nobody", "partition", "pause",
                              "garbage", "kill", "death before a write", "death after a write"}) {
        INFO(fault);
        CHECK(coverage[fault] > 0);
    }
}
