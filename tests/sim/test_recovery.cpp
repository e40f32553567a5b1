// Recovery, method: processes die before every single step that anybody's disk makes
// (base/durable.hpp), alone or with the power. Whatever dies comes back after a while; every run
// must then complete with the model of the undisturbed run, bit for bit, and leave no commit
// behind.

#include "catch.hpp"
#include "sanitized.hpp"
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
    CHECK(with.steps.at("member-0") > without.steps.at("member-0") + 60);
}

TEST_CASE("a process may die in any step of a write, and the run completes with the same model") {
    for (const bool sequential : {false, true}) {
        Scenario calm_scenario;
        calm_scenario.sequential = sequential;
        const Outcome calm = train(1, calm_scenario);
        check_like(calm, calm, "undisturbed");
        std::uint64_t deaths = 0;
        for (const auto& [node, steps] : calm.steps) {
            for (std::uint64_t step = 1; step <= steps; step += sanitized ? 7 : 1) {
                for (const bool power : {false, true}) {
                    Scenario scenario = calm_scenario;
                    scenario.death = {{node, step, power}};
                    const Outcome out = train(1, scenario);
                    check_like(out, calm,
                               node + " dies before step " + std::to_string(step) + " of its disk" +
                                   (power ? " and loses its power" : ""));
                    deaths += out.coverage.count("kill") != 0 ? 1 : 0;
                }
            }
        }
        CHECK(deaths > (sanitized ? 20 : 200));
    }
}
