#include <catch.hpp>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/json.hpp"
#include "observers/trace.hpp"
#include "observers/trace_clocks.hpp"

using namespace vflbus;
using namespace vflbus::observers;
using namespace std::chrono_literals;

TEST_CASE("the parts of all parties become one trace, also those of a killed process") {
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("vflbus-trace-" + random_run_id().hex());
    const auto master = folder / "master" / "trace.json";
    const auto member = folder / "member-0" / "trace.json";
    const TimePoint at{100s};
    {
        auto opened = TraceObserver::open(
            {.file = master, .party = "master", .place = 1, .parties = {"member-0"}});
        REQUIRE(opened.has_value());
        TraceObserver& trace = **opened;
        trace.on_phase(actors::Phase::training, at);
        trace.on_work(at, at + 1ms);
        trace.on_work(at, at + 1us);  // looks at an event only
        trace.on_answer({0, 19, at + 1ms, at + 5ms, 4000, 300, false});
        observe::ProgressState state;
        state.step = 1;
        trace.on_step(state, at + 6ms);
        trace.on_end({}, {Errc::ok, {}});
    }
    for (int life = 0; life < 2; ++life) {
        auto opened = TraceObserver::open(
            {.file = member, .party = "member-0", .place = 2, .parties = {}, .goes_on = true});
        REQUIRE(opened.has_value());
        actors::HandledRequest handled;
        handled.type = 19;
        handled.begun = at + 2ms;
        handled.ended = at + 4ms;
        handled.bytes_in = 77;
        (*opened)->on_handled(handled);
    }
    // it was killed in the middle of a line
    std::string cut = read_file(member).value() + R"({"name":"step","ph":"X","ts":12)";
    CHECK(write_file_atomically(member, cut).has_value());

    // ... and was started again, and killed once more while it wrote its first lines
    CHECK(TraceObserver::open(
              {.file = member, .party = "member-0", .place = 2, .parties = {}, .goes_on = true})
              .has_value());
    std::string whole = read_file(member).value();
    CHECK(whole.find(R"("ts":12{)") == std::string::npos);
    CHECK(whole.ends_with(",\n"));
    whole.replace(whole.size() - 2, 1, "]");  // (an array need not be closed in a trace)
    CHECK(Json::parse(whole).is_array());
    const auto begun = folder / "begun.json";
    CHECK(write_file_atomically(begun, "[").has_value());
    CHECK(TraceObserver::open(
              {.file = begun, .party = "member-0", .place = 2, .parties = {}, .goes_on = true})
              .has_value());
    CHECK(read_file(begun).value().starts_with("[\n{"));

    // what is no JSON is left out, as it would make the whole unreadable
    CHECK(has_events(member));
    CHECK(write_file_atomically(member, read_file(member).value() + "{damaged},\n").has_value());
    CHECK(write_file_atomically(begun, "[\n{\"name\":").has_value());
    CHECK_FALSE(has_events(begun));
    const auto out = folder / "all.json";
    CHECK(merge_traces({master, member, begun, folder / "not there"}, out).has_value());
    const Json all = Json::parse(read_file(out).value());
    REQUIRE(all.is_object());
    std::map<std::string, int> count;
    double asked = 0;
    double handled = 0;
    for (const Json& event : all["traceEvents"]) {
        const auto name = event["name"].get<std::string>();
        if (event["ph"] == "M") continue;
        ++count[name + " of " + std::to_string(event["pid"].get<int>())];
        if (name == "step" && event["pid"].get<int>() == 1) asked = event["ts"].get<double>();
        if (name == "step" && event["pid"].get<int>() == 2) handled = event["ts"].get<double>();
    }
    CHECK(count == std::map<std::string, int>{{"compute of 1", 1},
                                              {"step of 1", 1},
                                              {"step 1 of 1", 1},
                                              {"training of 1", 1},
                                              {"step of 2", 2}});
    // both are on one clock
    CHECK(handled - asked == Approx(1000).margin(500));
    std::filesystem::remove_all(folder);
}

TEST_CASE("the traces of machines whose clocks differ are laid over one another") {
    // the member's clock is 3 s behind; a step takes 1 ms there, and 0.2 to 5 ms on its way
    const auto at = [](double asked, double on_way, double back, double behind) {
        const double begin = asked + on_way - behind;
        return std::pair{TraceSpan{asked, asked + on_way + 1000 + back},
                         TraceSpan{begin, begin + 1000}};
    };
    TraceSpans asked;
    TraceSpans worked;
    const auto exchange = [&](double when, double on_way, double back, double behind) {
        const auto [outside, inside] = at(when, on_way, back, behind);
        asked["step"].push_back(outside);
        worked["step"].push_back(inside);
    };
    SECTION("the exchanges with the shortest ways say the most") {
        exchange(0, 5000, 200, 3e6);
        exchange(10'000, 200, 5000, 3e6);
        exchange(20'000, 700, 900, 3e6);
        CHECK(clock_offset(asked, worked) == Approx(3e6).margin(200));
    }
    SECTION("clocks that may be the same are left alone") {
        exchange(0, 5000, 200, 0);
        exchange(10'000, 200, 5000, 0);
        CHECK(clock_offset(asked, worked) == 0);
    }
    SECTION("a clock that was set in between: what holds of most") {
        for (int i = 0; i < 10; ++i) exchange(i * 10'000, 200, 200, i < 3 ? 9e6 : 3e6);
        CHECK(clock_offset(asked, worked) == Approx(3e6).margin(500));
    }
    SECTION("what was asked more often than it was done says nothing") {
        exchange(0, 200, 200, 3e6);
        asked["step"].push_back({1, 2});
        CHECK(clock_offset(asked, worked) == 0);
        CHECK(clock_offset({}, {}) == 0);
    }
}

TEST_CASE("a member's events are merged on the clock of the master") {
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("vflbus-trace-" + random_run_id().hex());
    const auto master = folder / "master.json";
    const auto member = folder / "member-0.json";
    const TimePoint asked{100s};
    const TimePoint behind{40s};  // of the other machine
    {
        auto one = TraceObserver::open(
            {.file = master, .party = "master", .place = 1, .parties = {"member-0"}});
        auto other =
            TraceObserver::open({.file = member, .party = "member-0", .place = 2, .parties = {}});
        REQUIRE(one);
        REQUIRE(other);
        for (int i = 0; i < 3; ++i) {
            (*one)->on_answer({0, 19, asked + i * 10ms, asked + i * 10ms + 4ms, 4000, 300, false});
            actors::HandledRequest handled;
            handled.type = 19;
            handled.begun = behind + i * 10ms + 1ms;
            handled.ended = behind + i * 10ms + 3ms;
            (*other)->on_handled(handled);
        }
    }
    const auto out = folder / "all.json";
    REQUIRE(merge_traces({master, member}, out));
    std::vector<double> begun[2];
    const Json all = Json::parse(read_file(out).value());
    for (const Json& event : all["traceEvents"])
        if (event["ph"] == "X")
            begun[event["pid"].get<int>() - 1].push_back(event["ts"].get<double>());
    REQUIRE(begun[0].size() == 3);
    REQUIRE(begun[1].size() == 3);
    for (std::size_t i = 0; i < 3; ++i) CHECK(begun[1][i] - begun[0][i] == Approx(1000).margin(50));
    std::filesystem::remove_all(folder);
}
