#include <catch.hpp>
#include <regex>

#include "base/files.hpp"
#include "observers/metrics.hpp"
#include "observers/run_metrics.hpp"
#include "observers/samples.hpp"

using namespace vflbus;
using namespace vflbus::observers;
using namespace std::chrono_literals;

namespace {

std::size_t lines_with(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
        ++count;
    return count;
}

bool has_line(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

/// A broker with so many nodes and runs.
bus::BrokerSample large_sample(std::size_t nodes, std::size_t runs) {
    bus::BrokerSample sample;
    for (std::size_t i = 0; i < nodes; ++i) {
        bus::BrokerSample::Node& node = sample.nodes.emplace_back();
        node.name = "member-" + std::to_string(i);
        node.role = "member";
        node.connected = true;
        node.silent = 1234567us;
        node.queued_bytes = i * 1000;
        node.credit_bytes = 1u << 20;
        node.messages = 1'000'000 + i;
        node.bytes = 1'000'000'000'000 + i;
        node.sessions = 3;
    }
    sample.runs_by_state[bus::RunState::running] = runs;
    for (std::size_t i = 0; i < std::min(runs, bus::sampled_runs_max); ++i) {
        bus::BrokerSample::Run& run = sample.runs.emplace_back();
        run.run.bytes[0] = static_cast<std::uint8_t>(i);
        run.bytes = 1'000'000'000 + i;
    }
    sample.refused[Errc::unknown_run] = 7;
    return sample;
}

/// A run as its observers hear of it.
void train(RunMetrics& metrics) {
    const TimePoint start{1s};
    metrics.on_phase(actors::Phase::training, start);
    for (std::uint64_t step = 1; step <= 3; ++step) {
        observe::ProgressState state;
        state.step = step;
        state.steps = 3;
        state.loss = 0.5;
        metrics.on_answer({0, 19, start, start + 2ms, 4000, 300, false});
        metrics.on_work(start, start + 1ms);
        metrics.on_step(state, start + step * 10ms);
    }
    observe::HistoryEntry entry;
    entry.split = "fold 2 test";
    entry.metrics = {{"auc", 0.75}, {"ks", std::nan("")}};
    metrics.on_metrics({}, entry, start);
    observe::RunReport report;
    report.status = "completed";
    metrics.on_end(report, {Errc::ok, {}});
}

std::set<std::string> names_in(const std::string& text) {
    std::set<std::string> names;
    static const std::regex type("# TYPE ([a-z_]+) ");
    for (std::sregex_iterator at(text.begin(), text.end(), type), end; at != end; ++at)
        names.insert((*at)[1]);
    return names;
}

}  // namespace

TEST_CASE("a run's steps, tasks and messages are counted") {
    const auto metrics = std::make_shared<Metrics>(Labels{{"node", "master"}});
    RunMetrics run(metrics, {"member-0"}, "mine");
    train(run);
    const std::string text = metrics->text(run.sample());
    const std::string of_run = R"(experiment_label="mine")";
    CHECK(has_line(text, "vflbus_iteration_seconds_count{" + of_run + R"(,node="master"} 2)"));
    CHECK(has_line(text, "vflbus_iteration_seconds_sum{" + of_run + R"(,node="master"} 0.02)"));
    CHECK(has_line(text, "vflbus_steps_total{" + of_run + R"(,node="master"} 3)"));
    CHECK(has_line(text, "vflbus_task_execution_seconds_count{" + of_run +
                             R"(,node="master",party="member-0",task="step"} 3)"));
    CHECK(has_line(text, "vflbus_task_execution_seconds_sum{" + of_run +
                             R"(,node="master",party="member-0",task="step"} 0.006)"));
    CHECK(has_line(text, R"(vflbus_message_bytes_sum{direction="to",)" + of_run +
                             R"(,node="master",party="member-0"} 12000)"));
    CHECK(has_line(
        text, "vflbus_run_metric{" + of_run + R"(,metric="auc",node="master",table="test"} 0.75)"));
    CHECK(text.find(R"(metric="ks")") == std::string::npos);
    CHECK(has_line(
        text, R"(vflbus_runs_ended_total{)" + of_run + R"(,node="master",status="completed"} 1)"));
}

TEST_CASE("a step that comes again after a recovery is work, and no iteration") {
    const auto metrics = std::make_shared<Metrics>();
    RunMetrics run(metrics, {}, "");
    const auto step = [&](std::uint64_t number, std::chrono::milliseconds at) {
        observe::ProgressState state;
        state.step = number;
        run.on_step(state, TimePoint{at});
    };
    step(5, 100ms);
    step(6, 110ms);
    step(5, 5000ms);
    step(6, 5020ms);
    run.on_phase(actors::Phase::gathering, {});
    step(7, 90000ms);
    const std::string text = metrics->text({});
    CHECK(has_line(text, R"(vflbus_iteration_seconds_count{experiment_label=""} 2)"));
    CHECK(has_line(text, R"(vflbus_iteration_seconds_sum{experiment_label=""} 0.03)"));
    CHECK(has_line(text, R"(vflbus_steps_total{experiment_label=""} 5)"));
}

TEST_CASE("what others call themselves cannot make series without end") {
    Metrics metrics;
    for (int i = 0; i < 1000; ++i)
        metrics.count("vflbus_x_total", "x", {{"party", metrics.bounded("p" + std::to_string(i))}});
    const std::string text = metrics.text({});
    CHECK(lines_with(text, "vflbus_x_total{") == parties_max + 1);
    CHECK(has_line(text, R"(vflbus_x_total{party="other"} 900)"));
}

TEST_CASE("labels are escaped") {
    Metrics metrics;
    metrics.count("vflbus_x_total", "x", {{"party", "a\"b\\c\nd"}});
    CHECK(has_line(metrics.text({}), R"(vflbus_x_total{party="a\"b\\c\nd"} 1)"));
}

TEST_CASE("a broker with 1,000 nodes and 1,000 runs is shown in less than 2 MB") {
    const Metrics metrics(Labels{{"node", "broker"}});
    const std::string text = metrics.text(families_of(large_sample(1000, 1000)));
    CHECK(text.size() < 2'000'000);
    CHECK(has_line(text, R"(vflbus_connected_agents{node="broker"} 1000)"));
    CHECK(has_line(text, R"(vflbus_broker_runs{node="broker",state="running"} 1000)"));
    CHECK(lines_with(text, "vflbus_broker_run_routed_bytes_total{") == 100);
    CHECK(has_line(text,
                   R"(vflbus_broker_refused_frames_total{node="broker",reason="unknown_run"} 7)"));
    // no series may come twice, or Prometheus drops the whole page
    std::set<std::string> series;
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t end = text.find('\n', at);
        if (text[at] != '#')
            CHECK(series.insert(text.substr(at, text.rfind(' ', end) - at)).second);
        at = end + 1;
    }
}

TEST_CASE("commits are measured, and nothing else that is written") {
    const auto metrics = std::make_shared<Metrics>();
    MeasuredEnv env(std::make_unique<actors::MemoryEnv>(), metrics);
    CHECK(env.write_file("runs/1/member-0/state/commit-12", "0123456789").has_value());
    CHECK(env.write_file("runs/1/member-0/model.json", "{}").has_value());
    CHECK(env.read_file("runs/1/member-0/model.json").value() == "{}");
    const std::string text = metrics->text({});
    CHECK(has_line(text, "vflbus_commit_bytes_sum 10"));
    CHECK(has_line(text, "vflbus_commit_seconds_count 1"));
}

TEST_CASE("docs/observing.md lists every metric, and no other") {
    const auto metrics = std::make_shared<Metrics>();
    RunMetrics run(metrics, {"member-0"}, "");
    train(run);
    run.on_handled({.type = 19, .failed = true});
    MeasuredEnv env(std::make_unique<actors::MemoryEnv>(), metrics);
    CHECK(env.write_file("state/commit", "x").has_value());
    std::vector<Family> all = run.sample();
    bus::LinkSample link;
    link.peers.push_back({});
    for (auto more : {families_of(large_sample(1, 1)), families_of(link, {}), process_families()})
        all.insert(all.end(), more.begin(), more.end());
    std::set<std::string> made = names_in(metrics->text(std::move(all)));
    made.insert("vflbus_build_info");
    const std::string page = read_file(VFLBUS_SOURCE "/docs/observing.md").value();
    std::set<std::string> told;
    static const std::regex row("\n\\| `([a-z_]+)`[^|]*\\| (?:gauge|counter|histogram) \\|");
    for (std::sregex_iterator at(page.begin(), page.end(), row), end; at != end; ++at)
        told.insert((*at)[1]);
    CHECK(made == told);
}
