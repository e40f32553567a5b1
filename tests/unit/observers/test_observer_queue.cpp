#include <atomic>
#include <catch.hpp>
#include <future>
#include <stdexcept>

#include "actors/run/observer_queue.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace std::chrono_literals;

namespace {

/// Writes down what it hears; the first event waits for `gate` when that is asked for.
struct Recorder final : RunObserver {
    void on_phase(Phase phase, TimePoint) override { add("phase " + std::string(name_of(phase))); }
    void on_step(const observe::ProgressState& state, TimePoint) override {
        add("step " + std::to_string(state.step));
    }
    void on_metrics(const observe::ProgressState&, const observe::HistoryEntry& entry,
                    TimePoint) override {
        add("metrics " + entry.split);
    }
    void on_end(const observe::RunReport& report, const Failure&) override {
        add("end " + report.status);
    }
    void on_answer(const AnsweredRequest& answer) override {
        add("answer " + std::to_string(answer.party));
    }
    void on_work(TimePoint, TimePoint) override { add("work"); }
    void on_handled(const HandledRequest&) override { add("handled"); }

    void add(const std::string& text) {
        if (gate.valid()) {
            reached.set_value();
            gate.wait();
            gate = {};
        }
        const std::lock_guard lock(mutex);
        story.push_back(text);
    }

    std::promise<void> reached;  ///< it waits at the gate
    std::shared_future<void> gate;
    std::mutex mutex;
    std::vector<std::string> story;
};

observe::ProgressState at_step(std::uint64_t step) {
    observe::ProgressState state;
    state.step = step;
    return state;
}

observe::RunReport completed() {
    observe::RunReport report;
    report.status = "completed";
    return report;
}

/// Throws at its second event.
struct Thrower final : RunObserver {
    void on_step(const observe::ProgressState&, TimePoint) override {
        if (++steps == 2) throw std::runtime_error("a number where a text should be");
    }
    std::atomic<int> steps = 0;
};

}  // namespace

TEST_CASE("an observer that throws is shown nothing more, and said once; the run goes on") {
    std::vector<std::string> said;
    const auto observer = std::make_shared<Thrower>();
    {
        ObserverQueue queue(
            observer, {.name = "MLflow", .patience = 60s, .warn = [&](const std::string& text) {
                           said.push_back(text);
                       }});
        for (int round = 0; round < 3; ++round) {
            for (std::uint64_t step = 1; step <= 5; ++step) queue.on_step(at_step(step), {});
            CHECK(queue.drain(60s));
        }
        queue.on_end(completed(), {Errc::ok, {}});
    }
    CHECK(observer->steps == 2);
    REQUIRE(said.size() == 1);
    CHECK(said[0].find("MLflow has failed (a number where a text should be)") == 0);
}

TEST_CASE("an observer hears everything in order, in another thread") {
    const auto recorder = std::make_shared<Recorder>();
    ObserverQueue queue(recorder, {.name = "test", .patience = 60s, .warn = {}});
    queue.on_phase(Phase::training, {});
    queue.on_step(at_step(1), {});
    queue.on_answer({.party = 2});
    queue.on_work({}, {});
    queue.on_handled({});
    observe::HistoryEntry entry;
    entry.split = "test";
    queue.on_metrics({}, entry, {});
    queue.on_end(completed(), {Errc::ok, {}});  // returns when it was seen
    CHECK(recorder->story == std::vector<std::string>{"phase training", "step 1", "answer 2",
                                                      "work", "handled", "metrics test",
                                                      "end completed"});
    CHECK(queue.dropped() == 0);
}

TEST_CASE("an observer that hangs stops nobody, and what it has missed is counted and said") {
    const auto recorder = std::make_shared<Recorder>();
    std::promise<void> opens;
    recorder->gate = opens.get_future().share();
    std::vector<std::string> said;
    {
        ObserverQueue queue(recorder,
                            {.name = "the slow one",
                             .often_max = 10,
                             .seldom_max = 4,
                             .patience = 1ms,
                             .warn = [&](const std::string& text) { said.push_back(text); }});
        queue.on_phase(Phase::training, {});
        queue.drain(0ms);
        recorder->reached.get_future().wait();  // it hangs in the first event
        for (std::uint64_t step = 1; step <= 100; ++step) queue.on_step(at_step(step), {});
        for (int i = 0; i < 6; ++i) queue.on_phase(Phase::evaluating, {});
        CHECK(queue.dropped() == 90 + 2);
        queue.on_end(completed(), {Errc::ok, {}});
        REQUIRE(said.size() == 1);
        CHECK(said[0].find("the slow one was too slow: 92 events") == 0);
        CHECK(said[0].find("has not finished in time") != std::string::npos);
    }
    CHECK(said.size() == 1);
    opens.set_value();
}

TEST_CASE("an observer that catches up sees all that was kept") {
    const auto recorder = std::make_shared<Recorder>();
    std::promise<void> opens;
    recorder->gate = opens.get_future().share();
    ObserverQueue queue(recorder, {.name = "test", .often_max = 3, .patience = 60s, .warn = {}});
    queue.on_phase(Phase::training, {});
    queue.drain(0ms);
    recorder->reached.get_future().wait();
    for (std::uint64_t step = 1; step <= 5; ++step) queue.on_step(at_step(step), {});
    opens.set_value();
    queue.on_end(completed(), {Errc::ok, {}});
    CHECK(recorder->story == std::vector<std::string>{"phase training", "step 1", "step 2",
                                                      "step 3", "end completed"});
}
