// Questions about runs: what is in memory is answered at once, what is in files by another thread,
// within bounds.

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "actors/run/run_record.hpp"
#include "base/files.hpp"
#include "bus/wire/questions.hpp"
#include "catch.hpp"
#include "run_desk.hpp"
#include "scratch.hpp"

using namespace vflbus;
using bus::Question;
using cli::RunDesk;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

const RunId run = *parse_run_id("00112233445566778899aabbccddeeff");

/// A runs directory with one training that is over.
struct Runs : cli::testing::Scratch {
    Runs() {
        const auto env = actors::make_file_env();
        actors::RunRecord record;
        record.run = run;
        record.owner = "master";
        record.agreed = "data.id_salt = \"secret\"\nmodel.epochs = 3\n";
        record.phase = actors::RunRecord::Phase::finished;
        REQUIRE(actors::write_run_record(*env, path, record).has_value());
        write_report(7);
    }
    [[nodiscard]] fs::path report() const { return path / run.hex() / "report.json"; }
    void write_report(std::uint64_t steps, const std::string& status = "completed",
                      std::uint64_t planned = 0, const std::string& reason = {}) const {
        observe::RunReport made;
        made.status = status;
        made.reason = reason;
        made.run_id = run.hex();
        made.steps = steps;
        made.steps_planned = planned;
        made.train = {{"auc", 0.75}};
        REQUIRE(write_file_atomically(report(), observe::to_json(made)).has_value());
    }
};

bus::QueryArrived query(Question question, bus::Bytes body = bus::encode_empty()) {
    return {{}, run, 0, static_cast<std::uint16_t>(question), std::move(body)};
}

Result<bus::Bytes> ask(RunDesk& desk, const bus::QueryArrived& question) {
    std::promise<Result<bus::Bytes>> answer;
    auto future = answer.get_future();
    desk.answer(question, [&](Result<bus::Bytes> given) { answer.set_value(std::move(given)); });
    REQUIRE(future.wait_for(20s) == std::future_status::ready);
    return future.get();
}

std::uint64_t steps_told(RunDesk& desk) {
    const auto answer = ask(desk, query(Question::status));
    REQUIRE(answer.has_value());
    return bus::decode_status(*answer)->steps;
}

}  // namespace

TEST_CASE("the run that a process drives is told of at once, by whoever asks", "[cli]") {
    const Runs runs;
    RunDesk desk("master", runs.path, config::ShareLog::owned);
    int stopped = 0;
    desk.drives(run, "model.epochs = 5\n", [&] { ++stopped; }, {});
    std::thread::id answered_by;
    desk.answer(query(Question::configuration), [&](Result<bus::Bytes> answer) {
        answered_by = std::this_thread::get_id();
        REQUIRE(answer.has_value());
        CHECK(*bus::decode_text(*answer) == "model.epochs = 5\n");
    });
    CHECK(answered_by == std::this_thread::get_id());
    CHECK(ask(desk, query(Question::stop)).has_value());
    CHECK(stopped == 1);
    desk.done();
    CHECK(ask(desk, query(Question::stop)).error().code == Errc::run_ended);
}

TEST_CASE("a run that is over is told of from its files, by another thread", "[cli]") {
    const Runs runs;
    RunDesk desk("master", runs.path, config::ShareLog::owned);
    std::promise<std::thread::id> by;
    desk.answer(query(Question::configuration), [&](Result<bus::Bytes> answer) {
        CHECK((answer && *bus::decode_text(*answer) == "model.epochs = 3\n"));  // without the salt
        by.set_value(std::this_thread::get_id());
    });
    CHECK(by.get_future().get() != std::this_thread::get_id());
    CHECK(steps_told(desk) == 7);
    const auto metrics = ask(desk, query(Question::metrics, bus::encode_from(0)));
    REQUIRE(metrics.has_value());
    CHECK(bus::decode_metrics(*metrics)->entries.size() == 1);
    CHECK(ask(desk, query(Question::stop)).error().code == Errc::not_owner);
}

TEST_CASE("why a run is not completed is told from its files", "[cli]") {
    const Runs runs;
    RunDesk desk("master", runs.path, config::ShareLog::owned);
    const auto reason = [&] {
        const auto answer = ask(desk, query(Question::reason));
        REQUIRE(answer.has_value());
        return *bus::decode_text(*answer);
    };
    CHECK(reason().empty());  // it is completed
    runs.write_report(3, "failed", 9, "member-1 did not join within 30.0 s");
    CHECK(reason() == "member-1 did not join within 30.0 s");
    desk.drives(run, "", {}, {});
    CHECK(reason().empty());  // it goes on
}

TEST_CASE("what was read of a run is read again when its files have changed", "[cli]") {
    const Runs runs;
    RunDesk desk("master", runs.path, config::ShareLog::owned);
    CHECK(steps_told(desk) == 7);
    runs.write_report(9);
    // file systems with coarse times would hide the change from us
    fs::last_write_time(runs.report(), fs::last_write_time(runs.report()) + 1s);
    CHECK(steps_told(desk) == 9);
}

TEST_CASE("a run that was stopped is not told as one that has done all its steps", "[cli]") {
    const Runs runs;
    const auto told = [&] {
        RunDesk desk("master", runs.path, config::ShareLog::owned);
        const auto answer = ask(desk, query(Question::status));
        REQUIRE(answer.has_value());
        return *bus::decode_status(*answer);
    };
    runs.write_report(7236, "stopped", 20000);
    CHECK(told().phase == "stopped");
    CHECK(told().step == 7236);
    CHECK(told().steps == 20000);
    runs.write_report(7236, "stopped");  // how many were planned is not known
    CHECK(told().steps == 0);
    fs::remove(runs.report());  // killed: the record alone tells, and it has no commit
    CHECK(told().phase == "interrupted");
    CHECK(told().step == 0);
    CHECK(told().steps == 0);
}

TEST_CASE("a report that is too long to be parsed for an asker is refused", "[cli]") {
    const Runs runs;
    RunDesk desk("master", runs.path, config::ShareLog::owned);
    fs::resize_file(runs.report(), cli::told_report_bytes_max + 1);
    const auto answer = ask(desk, query(Question::metrics, bus::encode_from(0)));
    REQUIRE_FALSE(answer.has_value());
    CHECK(answer.error().code == Errc::too_large);
    CHECK(answer.error().sentence.find("16.0 MiB") != std::string::npos);
    // nobody is told where this machine keeps it
    CHECK(answer.error().sentence.find(runs.path.string()) == std::string::npos);
}

TEST_CASE("another party's run, or none, is not told of", "[cli]") {
    const Runs runs;
    RunDesk member("member-0", runs.path, config::ShareLog::owned);
    CHECK(ask(member, query(Question::status)).error().code == Errc::not_owner);
    CHECK(ask(member, query(Question::log, bus::encode_from(0))).error().code == Errc::refused);
    CHECK(ask(member, query(static_cast<Question>(77))).error().code == Errc::unknown_message);
}

TEST_CASE("those who ask too much at once are refused, and nobody waits for them", "[cli]") {
    const Runs runs;
    RunDesk desk("master", runs.path, config::ShareLog::owned);
    std::mutex mutex;
    std::condition_variable changed;
    bool entered = false;
    bool released = false;
    std::size_t answered = 0;
    // the desk's thread is kept in the first answer, so that all others wait
    desk.answer(query(Question::status), [&](const Result<bus::Bytes>&) {
        std::unique_lock lock(mutex);
        entered = true;
        changed.notify_all();
        changed.wait(lock, [&] { return released; });
    });
    {
        std::unique_lock lock(mutex);
        REQUIRE(changed.wait_for(lock, 20s, [&] { return entered; }));
    }
    const auto count = [&](const Result<bus::Bytes>&) {
        const std::lock_guard lock(mutex);
        ++answered;
        changed.notify_all();
    };
    for (std::size_t i = 0; i < cli::questions_waiting_max; ++i)
        desk.answer(query(Question::status), count);
    Errc refused = Errc::ok;
    desk.answer(query(Question::status), [&](const Result<bus::Bytes>& answer) {
        if (!answer) refused = answer.error().code;
    });
    CHECK(refused == Errc::too_many);
    std::unique_lock lock(mutex);
    CHECK(answered == 0);
    released = true;
    changed.notify_all();
    CHECK(changed.wait_for(lock, 20s, [&] { return answered == cli::questions_waiting_max; }));
}

TEST_CASE("a desk that is closed answers none of those that wait", "[cli]") {
    const Runs runs;
    for (int i = 0; i < 20; ++i) {
        RunDesk desk("master", runs.path, config::ShareLog::owned);
        for (int k = 0; k < 5; ++k)
            desk.answer(query(Question::status), [](const Result<bus::Bytes>&) {});
    }
}

TEST_CASE("where the time of a run's steps goes is told, of the last steps alone", "[cli]") {
    const Runs runs;
    RunDesk desk("master", runs.path, config::ShareLog::owned);
    desk.drives(run, "", {}, {});
    observe::ProgressState state;
    const TimePoint begin{100s};
    for (state.step = 1; state.step <= 100; ++state.step) {
        desk.add_answer({0, 19, begin, begin + 2ms, 4000, 300, false});
        desk.add_answer({1, 19, begin, begin + 3ms, 4000, 300, false});
        desk.add_answer({1, 23, begin, begin + 9s, 4000, 300, true});  // no step waits for it
        desk.add_work(begin, begin + 1ms);
        desk.update(state);
    }
    const auto told = bus::decode_timing(*ask(desk, query(Question::timing)));
    REQUIRE(told.has_value());
    REQUIRE(told->steps.size() == bus::timing_steps_max);
    const bus::StepTiming& last = told->steps.back();
    CHECK(last.step == 100);
    CHECK(last.compute_us == 1000);
    REQUIRE(last.waits.size() == 2);
    CHECK(last.waits[0].took_us == 2000);
    CHECK(last.waits[1].party == 1);
    CHECK(last.waits[1].took_us == 3000);
    CHECK(told->work.empty());

    // a member tells what it has worked on, of the run that is asked about
    RunDesk member("member-0", runs.path, config::ShareLog::owned);
    member.add_handled({run, 19, begin, begin + 1ms, 1, 1, false});
    member.add_handled({RunId{}, 19, begin, begin + 5ms, 1, 1, false});
    const auto work = bus::decode_timing(*ask(member, query(Question::timing)));
    REQUIRE(work.has_value());
    REQUIRE(work->work.size() == 1);
    CHECK(work->work[0].took_us == 1000);
    const auto load = bus::decode_load(*ask(member, query(Question::load)));
    REQUIRE(load.has_value());
    CHECK(load->memory_bytes > 1'000'000);
    CHECK(load->now_us / 1000 >= load->started_ms);
}
