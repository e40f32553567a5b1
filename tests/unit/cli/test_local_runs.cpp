// What lies under a runs directory, and what may be removed of it.

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "actors/run/run_record.hpp"
#include "base/files.hpp"
#include "catch.hpp"
#include "local_runs.hpp"
#include "run_directory.hpp"
#include "scratch.hpp"

using namespace vflbus;
namespace fs = std::filesystem;
using actors::Purpose;

namespace {

const std::string completed_id = "00112233445566778899aabbccddeeff";
const std::string killed_id = "0011aaaa445566778899aabbccddeeff";
const std::string check_id = "77aa01bc445566778899aabbccddeeff";

struct RunsDirectory : cli::testing::Scratch {
    void record(const std::string& id, actors::RunRecord::Phase phase, std::uint64_t commit) const {
        const auto env = actors::make_file_env();
        actors::RunRecord record;
        record.run = *parse_run_id(id);
        record.owner = "master";
        record.agreed = "model.epochs = 3\n";
        record.phase = phase;
        if (commit != 0) record.commits.push_back({commit, {}});
        REQUIRE(actors::write_run_record(*env, path, record).has_value());
    }
    void report(const std::string& id, const std::string& purpose = "train") const {
        observe::RunReport report;
        report.status = "completed";
        report.run_id = id;
        report.purpose = purpose;
        report.experiment_label = "the first";
        report.task = "logistic";
        report.steps = report.steps_planned = 20;
        report.rows_train = 80;
        report.rows_test = 20;
        report.train = {{"loss", 0.5}, {"auc", 0.75}};
        report.test = {{"loss", 0.6}, {"auc", 0.625}};
        REQUIRE(
            write_file_atomically(path / id / "report.json", observe::to_json(report)).has_value());
    }
    [[nodiscard]] cli::LocalRun run(const std::string& digits) const {
        auto found = cli::local_run(path, digits);
        REQUIRE(found.has_value());
        return *found;
    }
};

}  // namespace

TEST_CASE("runs that lie here are listed with what their files tell", "[cli]") {
    const RunsDirectory runs;
    runs.record(completed_id, actors::RunRecord::Phase::finished, 0);
    runs.report(completed_id);
    runs.record(killed_id, actors::RunRecord::Phase::running, 7);
    REQUIRE(cli::RunDirectory::begin(runs.path / check_id, Purpose::check).has_value());
    fs::create_directories(runs.path / "nodes" / "master");  // no run
    std::ofstream(runs.path / "00112233445566778899aabbccddee00") << "a file";
    REQUIRE(cli::local_runs(runs.path).size() == 3);

    const cli::LocalRun completed = runs.run("00112");
    CHECK(completed.status == "completed");
    CHECK(completed.purpose == "train");
    CHECK_FALSE(completed.resumable);
    CHECK(completed.headline() == "test auc 0.6250");
    CHECK(completed.configuration == "model.epochs = 3\n");
    CHECK(completed.bytes > 0);

    const cli::LocalRun killed = runs.run("0011AAAA");
    CHECK(killed.status == "interrupted");
    CHECK(killed.resumable);
    CHECK(killed.report.steps == 7);
    CHECK(killed.report.steps_planned == 0);
    CHECK(killed.headline().empty());

    const cli::LocalRun check = runs.run("77");
    CHECK(check.purpose == "check");
    CHECK(check.status == "not begun");
}

TEST_CASE("why a run ended before any party wrote something is in its directory", "[cli]") {
    const RunsDirectory runs;
    const auto why = [&](const char* digits) { return runs.run(digits).report.reason; };
    {
        const auto begun = cli::RunDirectory::begin(runs.path / completed_id, Purpose::train);
        REQUIRE(begun.has_value());
        begun->note_end({Errc::address, "broker: cannot listen at 127.0.0.1:9464"});
    }
    CHECK(runs.run("00112").status == "failed");
    CHECK(runs.run("00112").purpose == "train");
    CHECK(why("00112") == "broker: cannot listen at 127.0.0.1:9464");
    CHECK(runs.run("00112").report.failure.code == Errc::address);
    // begun again, and killed: that is not why any more
    REQUIRE(cli::RunDirectory::begin(runs.path / completed_id, Purpose::train).has_value());
    CHECK(runs.run("00112").status == "not begun");
    CHECK(why("00112").empty());

    runs.record(killed_id, actors::RunRecord::Phase::running, 7);
    const auto say = [](const std::string&) {};
    const auto resumed = [&] { return cli::RunDirectory::resume(runs.path / killed_id, say); };
    resumed().value().note_end({Errc::io, "no space left"});
    CHECK(runs.run("0011aaaa").status == "interrupted");
    CHECK(why("0011aaaa") == "no space left");
    REQUIRE(resumed().has_value());
    CHECK(why("0011aaaa").empty());
}

TEST_CASE("a run that is under way is told apart from one that was killed", "[cli]") {
    const RunsDirectory runs;
    runs.record(killed_id, actors::RunRecord::Phase::running, 7);
    CHECK(runs.run("0011").status == "interrupted");
    {
        const auto held =
            cli::RunDirectory::resume(runs.path / killed_id, [](const std::string&) {});
        REQUIRE(held.has_value());
        const cli::LocalRun again = runs.run("0011");
        CHECK(again.status == "running");
        CHECK(cli::remove_local_run(again, true).error().code == Errc::usage);
    }
    CHECK(runs.run("0011").status == "interrupted");
}

TEST_CASE("digits that mean no run, or several, are told with what there is", "[cli]") {
    const RunsDirectory runs;
    runs.report(completed_id);
    runs.report(killed_id);
    CHECK(cli::local_run(runs.path, "ff").error().code == Errc::unknown_run);
    CHECK(cli::local_run(runs.path, "").error().code == Errc::usage);
    CHECK(cli::local_run(runs.path, "../x").error().code == Errc::usage);
    const auto several = cli::local_run(runs.path, "0011");
    REQUIRE_FALSE(several.has_value());
    CHECK(several.error().code == Errc::usage);
    CHECK(several.error().sentence.find(completed_id) != std::string::npos);
    CHECK(several.error().sentence.find(killed_id) != std::string::npos);
    CHECK(cli::local_runs(runs.path / "not there").empty());
}

TEST_CASE("what could still be resumed is removed only by force", "[cli]") {
    const RunsDirectory runs;
    runs.record(completed_id, actors::RunRecord::Phase::finished, 0);
    runs.report(completed_id);
    runs.record(killed_id, actors::RunRecord::Phase::running, 7);
    CHECK(cli::remove_local_run(runs.run("00112"), false).has_value());
    CHECK_FALSE(fs::exists(runs.path / completed_id));
    const auto refused = cli::remove_local_run(runs.run("0011"), false);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().sentence.find("--force") != std::string::npos);
    CHECK(fs::exists(runs.path / killed_id));
    CHECK(cli::remove_local_run(runs.run("0011"), true).has_value());
    CHECK_FALSE(fs::exists(runs.path / killed_id));
}

TEST_CASE("log lines of all parties are merged by time", "[cli]") {
    const RunsDirectory runs;
    const auto write = [&](const std::string& party, const std::string& text) {
        fs::create_directories(runs.path / completed_id / party);
        std::ofstream(runs.path / completed_id / party / "log") << text;
    };
    write("master", "2026-02-03T04:05:06.001Z info one\n2026-02-03T04:05:06.004Z info four\n");
    write("member-0",
          "2026-02-03T04:05:06.002Z info two\nwithout a time\n"
          "2026-02-03T04:05:06.003Z info three\n");
    std::string all;
    for (const cli::LocalLogLine& line : cli::local_log(runs.run("00")))
        all += line.party + ": " + line.text.substr(line.text.rfind(' ') + 1) + "\n";
    CHECK(all == "master: one\nmember-0: two\nmember-0: time\nmember-0: three\nmaster: four\n");
}

// -- the directory of a run -----------------------------------------------------------

TEST_CASE("an earlier run is never overwritten, what never began is", "[cli]") {
    const RunsDirectory runs;
    const fs::path directory = runs.path / completed_id;
    REQUIRE(cli::RunDirectory::begin(directory, Purpose::train).has_value());
    std::ofstream(directory / "vflbus.toml") << "# no room for more\n";
    REQUIRE(cli::RunDirectory::begin(directory, Purpose::train).has_value());
    CHECK(cli::noted_purpose(directory) == "train");
    for (const char* const file : {"run.json", "report.json", "predictions.csv"}) {
        CAPTURE(file);
        std::ofstream(directory / file) << "{}";
        const auto refused = cli::RunDirectory::begin(directory, Purpose::train);
        REQUIRE_FALSE(refused.has_value());
        CHECK(refused.error().code == Errc::usage);
        CHECK(refused.error().sentence.find("never overwritten") != std::string::npos);
        fs::remove(directory / file);
    }
}

TEST_CASE("a run that a serving master, or one started by hand, drives is under way", "[cli]") {
    const RunsDirectory runs;
    const fs::path directory = runs.path / killed_id;
    runs.record(killed_id, actors::RunRecord::Phase::running, 7);
    {
        const auto process = DirectoryLock::acquire(directory / "master" / "node");
        REQUIRE(process.has_value());
        CHECK(runs.run("0011").status == "running");
        CHECK(cli::remove_local_run(runs.run("0011"), true).error().code == Errc::usage);
    }
    CHECK(runs.run("0011").status == "interrupted");
    const auto node = DirectoryLock::acquire(runs.path / "nodes" / "master");
    REQUIRE(node.has_value());
    CHECK(runs.run("0011").status == "interrupted");
    {
        const std::ofstream log(directory / "master" / "log");
        CHECK(runs.run("0011").status == "running");
        CHECK(cli::remove_local_run(runs.run("0011"), true).error().code == Errc::usage);
    }
    const std::ifstream reader(directory / "master" / "log");
    CHECK(runs.run("0011").status == "interrupted");
}

TEST_CASE("two commands cannot have the same run directory at once", "[cli]") {
    const RunsDirectory runs;
    const fs::path directory = runs.path / completed_id;
    const auto first = cli::RunDirectory::begin(directory, Purpose::train);
    REQUIRE(first.has_value());
    CHECK(cli::is_held(directory));
    for (const auto& second : {cli::RunDirectory::begin(directory, Purpose::train),
                               cli::RunDirectory::resume(directory, [](const std::string&) {})}) {
        REQUIRE_FALSE(second.has_value());
        CHECK(second.error().code == Errc::io);
        CHECK(second.error().sentence.find("is in use by process " + std::to_string(::getpid())) !=
              std::string::npos);
    }
}

TEST_CASE("a run that cannot begin leaves no directory", "[cli]") {
    const RunsDirectory runs;
    const fs::path directory = runs.path / "runs" / completed_id;
    auto taken = cli::RunDirectory::begin(directory, Purpose::train);
    REQUIRE(taken.has_value());
    taken->abandon();
    CHECK_FALSE(fs::exists(runs.path / "runs"));
    // but what is in it stays
    auto again = cli::RunDirectory::begin(directory, Purpose::train);
    REQUIRE(again.has_value());
    std::ofstream(directory / "notes.txt") << "mine";
    again->abandon();
    CHECK(fs::exists(directory / "notes.txt"));
}
