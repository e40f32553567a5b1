#include "catch.hpp"
#include "observe/progress.hpp"
#include "recorder.hpp"

using namespace vflbus;
using namespace vflbus::observe;
using namespace std::chrono_literals;

namespace {
const TimePoint start{std::chrono::hours(5)};

ProgressState at(std::uint64_t step, double loss = 0.5) {
    ProgressState state;
    state.epoch = step < 1000 ? 1 + step / 100 : 10;
    state.epochs = 10;
    state.step = step;
    state.steps = 1000;
    state.loss = loss;
    return state;
}

ProgressState report_at(std::uint64_t step, double metric) {
    ProgressState state = at(step);
    state.metric_name = "test auc";
    state.metric = metric;
    state.report = true;
    return state;
}
}  // namespace

TEST_CASE("a live line is rewritten in place, at most ten times a second") {
    Recorder recorder;
    Console console(recorder.output(true));
    Progress progress(console);
    for (int ms = 0; ms < 1000; ms += 10)
        progress.update(at(static_cast<std::uint64_t>(ms / 10)), start + ms * 1ms);
    CHECK(recorder.writes == 10);
    REQUIRE(screen(recorder.text).size() == 1);
    CHECK(screen(recorder.text)[0] ==
          "epoch 1/10  step 90/1000  loss 0.5000  100 steps/s  10 s left");
}

TEST_CASE("in a narrow window the live line keeps how far it is and how long it takes") {
    for (const auto& [columns, line] :
         {std::pair{80,
                    "epoch 1/10  step 90/1000  loss 0.5000  test auc 0.7500  100 steps/s  10 s "
                    "left"},
          std::pair{66, "epoch 1/10  step 90/1000  loss 0.5000  test auc 0.7500  10 s left"},
          std::pair{60, "step 90/1000  loss 0.5000  test auc 0.7500  10 s left"},
          std::pair{40, "step 90/1000  test auc 0.7500  10 s left"},
          std::pair{39, "step 90/1000  10 s left"}, std::pair{20, "10 s left"},
          std::pair{8, "10 s le…"}}) {
        CAPTURE(columns);
        Recorder recorder;
        Console console(recorder.output(true, static_cast<std::size_t>(columns + 1)));
        Progress progress(console);
        progress.update(report_at(0, 0.75), start);
        for (int ms = 0; ms < 1000; ms += 10)
            progress.update(at(static_cast<std::uint64_t>(ms / 10)), start + ms * 1ms);
        CHECK(screen(recorder.text).back() == line);
    }
}

TEST_CASE("a line of ours never runs into the live line of another process") {
    Recorder recorder;
    Console child(recorder.output(true));
    Console parent(recorder.output(true));
    child.live("step 5 of 10");
    parent.line("member-1 was started again");
    CHECK(screen(recorder.text)[0] == "member-1 was started again");
}

TEST_CASE("the metric of the last report stays on the live line") {
    Recorder recorder;
    Console console(recorder.output(true));
    Progress progress(console);
    progress.update(report_at(100, 0.75), start);
    progress.update(at(101), start + 200ms);
    CHECK(screen(recorder.text)[0].find("test auc 0.7500") != std::string::npos);
}

TEST_CASE("a log line does not garble the live line") {
    Recorder recorder;
    Console console(recorder.output(true));
    Progress progress(console);
    progress.update(at(5), start);
    const std::string live = screen(recorder.text)[0];
    const auto before = recorder.writes;
    console.line("member-1 rejoined");
    CHECK(recorder.writes == before + 1);
    CHECK(screen(recorder.text) == std::vector<std::string>{"member-1 rejoined", live});
}

TEST_CASE("finish leaves the last state on a line of its own, once") {
    Recorder recorder;
    Console console(recorder.output(true));
    Progress progress(console);
    progress.update(at(1), start);
    progress.update(at(1000, 0.25), start + 20ms);
    progress.finish(start + 2s);
    progress.finish(start + 3s);
    progress.update(at(1000), start + 4s);
    CHECK(screen(recorder.text) ==
          std::vector<std::string>{
              "epoch 10/10  step 1000/1000  loss 0.2500  500 steps/s  in 2.00 s", ""});
    console.line("next");
    CHECK(screen(recorder.text)[1] == "next");
}

TEST_CASE("an abandoned live line vanishes") {
    Recorder recorder;
    Console console(recorder.output(true));
    {
        Progress progress(console);
        progress.update(at(1), start);
    }
    CHECK(screen(recorder.text) == std::vector<std::string>{""});
}

TEST_CASE("without a terminal: a line at each report, and every five seconds") {
    Recorder recorder;
    Console console(recorder.output(false));
    Progress progress(console);
    for (int s = 0; s <= 12; ++s)
        progress.update(at(static_cast<std::uint64_t>(s * 10)), start + s * 1s);
    CHECK(screen(recorder.text).size() == 3);  // at 5 s and 10 s, and the empty last one
    progress.update(report_at(125, 0.7), start + 12100ms);
    progress.update(report_at(126, 0.8), start + 12200ms);
    const auto lines = screen(recorder.text);
    REQUIRE(lines.size() == 5);
    CHECK(lines[3].find("step 126/1000  loss 0.5000  test auc 0.8000") != std::string::npos);
    CHECK(recorder.text.find('\r') == std::string::npos);
    CHECK(recorder.text.find('\x1b') == std::string::npos);
}

TEST_CASE("without a terminal finish does not repeat a report") {
    Recorder recorder;
    Console console(recorder.output(false));
    Progress progress(console);
    progress.update(report_at(1000, 0.7), start);
    progress.finish(start + 1s);
    CHECK(recorder.writes == 1);
}

TEST_CASE("a short training without a terminal still shows its end") {
    Recorder recorder;
    Console console(recorder.output(false));
    Progress progress(console);
    progress.update(at(1), start);
    progress.update(at(1000), start + 1s);
    progress.finish(start + 1s);
    CHECK(recorder.writes == 1);
    CHECK(screen(recorder.text)[0].find("step 1000/1000") != std::string::npos);
}

TEST_CASE("the rate is that of the last seconds, and starts afresh after a rollback") {
    Recorder recorder;
    Console console(recorder.output(true, 200));
    Progress progress(console);
    std::uint64_t step = 0;
    for (int s = 0; s < 20; ++s) progress.update(at(step += 1), start + s * 1s);
    for (int s = 20; s < 40; ++s) progress.update(at(step += 10), start + s * 1s);
    CHECK(screen(recorder.text)[0].find("  10.0 steps/s") != std::string::npos);
    progress.update(at(5), start + 41s);
    CHECK(screen(recorder.text)[0].find("steps/s") == std::string::npos);
    progress.update(at(7), start + 42s);
    CHECK(screen(recorder.text)[0].find("  2.0 steps/s") != std::string::npos);
}

TEST_CASE("quiet writes nothing") {
    Recorder recorder;
    Console console(recorder.output(true));
    Progress progress(console, {.quiet = true});
    progress.update(report_at(1, 0.5), start);
    progress.finish(start + 1s);
    CHECK(recorder.writes == 0);
}
