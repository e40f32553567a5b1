// Processes that are killed, stopped and started again in the middle of a training: the same model,
// bit for bit, or an end within bounds with a sentence. Moments are found by what the run has
// stored, not by waiting for a time. The kills driver (kills.cpp) does the same at random.

#include <csignal>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "catch.hpp"
#include "parties.hpp"

using namespace proc;
using Clock = std::chrono::steady_clock;

namespace {

/// What is promised is the bound. VFLBUS_SLACK, in seconds, is what a machine that is known to be
/// slow may take beyond it.
void within(double seconds, double bound) {
    const char* const slack = std::getenv("VFLBUS_SLACK");
    const double at_most = bound + (slack == nullptr ? 0 : std::atof(slack));
    INFO("took " << seconds << " s, promised are " << bound << " s, VFLBUS_SLACK is "
                 << (slack == nullptr ? "not set" : slack));
    CHECK(seconds < at_most);
}

double since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

TEST_CASE("launch goes on when each of its children is killed", "[recovery][short]") {
    undisturbed();
    const TempDir dir;
    make_example(dir);
    Process process(dir, launch(dir, "runs"));
    const fs::path run = run_dir(dir, "runs");
    for (const std::string victim : {"member-1", "master", "broker"}) {
        INFO(victim << "\n" << process.err());
        REQUIRE(commits_beyond(process, run, record(run).step));
        const std::uint64_t term = record(run).term;
        const pid_t pid = child_of(process, victim);
        REQUIRE(pid > 0);
        REQUIRE(::kill(pid, SIGKILL) == 0);
        REQUIRE(process.await_output(victim + " was ended by signal 9", true));
        // what the next one is killed in is the term after this
        if (victim != "broker") REQUIRE(await(process, [&] { return record(run).term > term; }));
    }
    const Finished finished = process.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 0);
    CHECK(finished.out.find("\"completed\"") != std::string::npos);
    CHECK(models(run) == undisturbed());
    CHECK(record(run).phase == "finished");
    CHECK(record(run).term >= 3);  // once for the member, once for the master
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a training goes on when its arbiter is killed, over tcp with keys", "[recovery]") {
    // (nothing is encrypted here: the kills are what counts, and steps take less)
    const Words arbitered{"--set", "run.protocol=arbitered", "--set", "run.he=none"};
    const Models expected = undisturbed(arbitered);
    const TempDir dir;
    make_example(dir);
    Process process(dir, launch(dir, "runs", with(arbitered, {"--transport", "tcp"})));
    const fs::path run = run_dir(dir, "runs");
    for (const std::string victim : {"arbiter", "master"}) {
        INFO(victim << "\n" << process.err());
        REQUIRE(commits_beyond(process, run, record(run).step));
        const std::uint64_t term = record(run).term;
        const pid_t pid = child_of(process, victim);
        REQUIRE(pid > 0);
        REQUIRE(::kill(pid, SIGKILL) == 0);
        REQUIRE(process.await_output(victim + " was ended by signal 9", true));
        REQUIRE(await(process, [&] { return record(run).term > term; }));
    }
    const Finished finished = process.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 0);
    CHECK(models(run) == expected);
    CHECK(finished.out.find("NOTHING IS ENCRYPTED") != std::string::npos);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a cross-validation goes on in the fold in which somebody was killed", "[recovery]") {
    const TempDir dir;
    make_example(dir);
    std::istringstream whole(slurp(dir / "run.toml"));
    std::string without;
    for (std::string line; std::getline(whole, line);)
        if (!line.starts_with("test_data")) without += line + "\n";
    spit(dir / "run.toml", without);
    const Words folds{"--folds", "3", "--set", "model.epochs=60"};
    const auto facts = [&](const Finished& finished, const std::string& runs) {
        auto files = models(run_dir(dir, runs));
        files["out of fold"] = slurp(run_dir(dir, runs) / "master" / "out_of_fold.csv");
        const Json report = Json::parse(finished.out);
        files["figures"] = report["cross_validation"].dump() + report["metrics"].dump();
        return files;
    };
    const Finished calm = run(dir, launch(dir, "calm", folds));
    INFO(calm.err);
    REQUIRE(calm.exit_code == 0);
    const auto expected = facts(calm, "calm");
    REQUIRE(expected.at("out of fold").size() > 1000);
    const Json report = Json::parse(calm.out);
    const Json& all = report["cross_validation"]["folds"];
    REQUIRE(all.size() == 3);
    // the first fold whose commits are seen is not the first one
    std::uint64_t first = all[0]["steps"].get<std::uint64_t>();

    Process process(dir, launch(dir, "runs", folds));
    const fs::path killed = run_dir(dir, "runs");
    for (const std::string victim : {"member-0", "master"}) {
        INFO(victim << "\n" << process.err());
        REQUIRE(commits_beyond(process, killed, first));
        const std::uint64_t term = record(killed).term;
        const pid_t pid = child_of(process, victim);
        REQUIRE(pid > 0);
        REQUIRE(::kill(pid, SIGKILL) == 0);
        REQUIRE(process.await_output(victim + " was ended by signal 9", true));
        REQUIRE(await(process, [&] { return record(killed).term > term; }));
        first = record(killed).step;
    }
    const Finished finished = process.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 0);
    CHECK(record(killed).term >= 3);
    CHECK(facts(finished, "runs") == expected);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("killed over tcp with keys, sealing and policies, at the start and at the end",
          "[recovery_long]") {
    undisturbed();
    for (const std::string victim : {"broker", "master", "member-0"}) {
        const TempDir dir;
        make_example(dir);
        // launch makes keys for its run, and parties seal; each member has a policy of its own
        const std::string policy = make_policy(dir);
        Process process(
            dir, launch(dir, "runs",
                        {"--transport", "tcp", "--set", "party.member-0.policy=" + policy, "--set",
                         "party.member-1.policy=" + policy}));
        const fs::path run = run_dir(dir, "runs");
        INFO(victim);
        // as soon as it is there; then in the middle; then when model files are written
        REQUIRE(await(process, [&] { return child_of(process, victim) > 0; }));
        if (const pid_t pid = child_of(process, victim); pid > 0) ::kill(pid, SIGKILL);
        REQUIRE(commits_beyond(process, run, 1000));
        if (const pid_t pid = child_of(process, victim); pid > 0) ::kill(pid, SIGKILL);
        if (await(process, [&] { return !models(run).empty(); }))
            if (const pid_t pid = child_of(process, victim); pid > 0) ::kill(pid, SIGKILL);
        const Finished finished = process.wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
        CHECK(models(run) == undisturbed());
        CHECK(left_behind(dir) == "");
    }
}

TEST_CASE("launch gives up on a child that dies again and again", "[recovery]") {
    const TempDir dir;
    make_example(dir);
    Process process(dir, launch(dir, "runs",
                                {"--set", "bus.restarts_max=1", "--set", "bus.commit_steps=0",
                                 "--set", "model.epochs=100000"}));
    for (int kill = 0; kill < 2; ++kill) {
        REQUIRE(await(process, [&] { return child_of(process, "member-1") > 0; }));
        const pid_t pid = child_of(process, "member-1");
        ::kill(pid, SIGKILL);
        await(process, [&] { return child_of(process, "member-1") != pid; });
    }
    const Finished finished = process.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 5);
    CHECK(finished.err.find("started again (1 of at most 1") != std::string::npos);
    const std::string sentence = sentence_of(finished);
    CHECK(sentence.find("vflbus: member-1 was ended by signal 9 (Killed) after it had been started "
                        "again 1 time without a newer commit (bus.restarts_max); ") == 0);
    CHECK(sentence.find("; its log is ") != std::string::npos);
    CHECK(sentence.find("`" + binary() + " launch --local --resume " + run_id) !=
          std::string::npos);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("the party whose state cannot be read is named", "[recovery]") {
    const TempDir dir;
    make_example(dir);
    const fs::path term = run_dir(dir, "runs") / "member-1" / "state" / "term";
    fs::create_directories(term);
    const Finished finished = run(dir, launch(dir, "runs"));
    INFO(finished.err);
    CHECK(finished.exit_code == 3);
    CHECK(sentence_of(finished).find("vflbus: member-1: cannot read ") == 0);
}

TEST_CASE("a run that was stopped goes on with --resume", "[recovery]") {
    undisturbed();
    const TempDir dir;
    make_example(dir);
    const fs::path run = run_dir(dir, "runs");
    {
        Process process(dir, launch(dir, "runs"));
        REQUIRE(commits_beyond(process, run, 0));
        process.signal(SIGINT);
        const Finished finished = process.wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 130);
        const std::string sentence = finished.err.substr(finished.err.rfind("vflbus: "));
        CHECK(sentence.find("stopped at step ") != std::string::npos);
        CHECK(sentence.find(binary() + " launch --local --resume " + run_id) != std::string::npos);
        CHECK(finished.out.find("\"stopped\"") != std::string::npos);
        CHECK(left_behind(dir) == "");
    }
    CHECK(models(run).empty());

    const Finished other = proc::run(dir, resume(dir, "runs", {"--set", "model.epochs=5"}));
    INFO(other.err);
    CHECK(other.exit_code == 8);
    CHECK(other.err.find("model.epochs") != std::string::npos);

    const Finished finished = proc::run(dir, resume(dir, "runs"));
    INFO(finished.err);
    CHECK(finished.exit_code == 0);
    CHECK(models(run) == undisturbed());
    CHECK(left_behind(dir) == "");

    const Finished again = proc::run(dir, resume(dir, "runs"));
    INFO(again.err);
    CHECK(again.exit_code == 0);
    CHECK(again.out == finished.out);
}

TEST_CASE("--resume says which run it does not find", "[recovery][short]") {
    const TempDir dir;
    make_example(dir);
    const auto said = [&](const std::string& which, const Words& command) {
        return run(dir, with(command, {"--config", "run.toml", "--resume", which}));
    };
    for (const std::string name :
         {"00112233445566778899aabbccddee01", "00112233445566778899aabbccddee02"})
        spit(fs::path(dir / "runs") / name / "run.json", "{}");
    spit(fs::path(dir / "runs") / "f0000000000000000000000000000000" / "report.json", "{}");
    for (const Words& command : {Words{"launch", "--local"}, Words{"actor", "--role", "master"}}) {
        Finished finished = said("77", command);
        CHECK(finished.exit_code == 2);
        CHECK(finished.err.find("there is no run 77 in ") != std::string::npos);
        finished = said("0011", command);
        CHECK(finished.exit_code == 2);
        CHECK(finished.err.find("ddee01 and 0011") != std::string::npos);
        finished = said("last", command);
        CHECK(finished.exit_code == 2);
        CHECK(finished.err.find("32 hexadecimal digits") != std::string::npos);
        finished = said("00112233445566778899aabbccddee01", command);
        CHECK(finished.exit_code == 5);
        CHECK(finished.err.find("is damaged") != std::string::npos);
        finished = said("f0", command);
        CHECK(finished.exit_code == 5);
        CHECK(finished.err.find("run.json is missing") != std::string::npos);
    }
    const Finished member = said("0011", {"actor", "--role", "member", "--rank", "0"});
    CHECK(member.exit_code == 2);
    CHECK(member.err.find("--resume is for the master") != std::string::npos);
}

TEST_CASE("whoever is kept from a run that is under way leaves it alone", "[recovery]") {
    const Words longer{"--set", "model.epochs=2000"};  // than those who are kept out try
    undisturbed(longer);
    const TempDir dir;
    make_example(dir);
    Process process(dir, launch(dir, "runs", longer));
    const fs::path run = run_dir(dir, "runs");
    REQUIRE(commits_beyond(process, run, 0));
    SECTION("by a directory that is in use") {
        const Finished second = proc::run(dir, resume(dir, "runs"));
        INFO(second.err);
        CHECK(second.exit_code == 3);
        CHECK(second.err.find("in use") != std::string::npos);
    }
    SECTION("by a broker that is not there") {
        for (int i = 0; i < 4; ++i) {
            const Finished second = proc::run(
                dir, {"actor", "--role", "master", "--json", "--resume", run_id, "--broker",
                      "ipc://" + dir / "nobody", "--state-dir", dir / "other", "--set",
                      "output.runs_dir=" + dir / "runs", "--set", "bus.rendezvous_timeout=0.2"});
            INFO(second.err);
            CHECK(second.exit_code == 4);
            CHECK(second.err.find("could not reach the broker") != std::string::npos);
        }
    }
    CHECK(record(run).term == 1);
    CHECK(slurp(run / "run.json").find("\"restarts\": {}") != std::string::npos);
    CHECK(record(run).phase == "running");  // or the run is too short for this test
    const Finished finished = process.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 0);
    CHECK(models(run) == undisturbed(longer));
    CHECK(record(run).term == 1);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a member that is stopped for a while goes on", "[recovery]") {
    undisturbed();
    const TempDir dir;
    make_example(dir);
    ByHand hand(dir, {});  // with the timing of the defaults
    hand.start_all();
    const fs::path run = run_dir(dir, "runs");
    REQUIRE(commits_beyond(*hand.master, run, 0));
    hand.members[1]->signal(SIGSTOP);
    // between suspect and lost
    REQUIRE(hand.master->await_output("member-1 has been silent for ", true));
    hand.members[1]->signal(SIGCONT);
    const Finished finished = hand.master->wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 0);
    for (const auto& member : hand.members) CHECK(member->wait().exit_code == 0);
    CHECK(models(run) == undisturbed());
    CHECK(record(run).term == 1);
}

TEST_CASE("a member that is killed and not started again ends the run", "[recovery]") {
    const TempDir dir;
    make_example(dir);
    ByHand hand(dir, with(impatient, {"--set", "model.epochs=100000"}));
    hand.start_all();
    const fs::path run = run_dir(dir, "runs");
    REQUIRE(commits_beyond(*hand.master, run, 0));
    hand.members[1]->signal(SIGKILL);
    const auto killed = Clock::now();
    const Finished finished = hand.master->wait();
    const double took = since(killed);
    INFO(finished.err);
    within(took, 3 + 2 + 2);  // lost + grace + 2 s
    CHECK(finished.exit_code == 5);
    const std::string sentence = finished.err.substr(finished.err.rfind("vflbus: "));
    CHECK(sentence.find("member-1") != std::string::npos);
    CHECK(sentence.find("step ") != std::string::npos);
    CHECK(sentence.find("vflbus actor --role master --resume " + run_id) != std::string::npos);
    const Finished other = hand.members[0]->wait();
    INFO(other.err);
    CHECK(other.exit_code == 5);
    CHECK(other.err.find("member-1") != std::string::npos);
    CHECK(hand.members[1]->wait().exit_code == 128 + SIGKILL);
    hand.broker->signal(SIGTERM);
    CHECK(hand.broker->wait().exit_code == 0);
}

TEST_CASE("a stop does not wait for a member that is gone already", "[recovery]") {
    const TempDir dir;
    make_example(dir);
    ByHand hand(dir,
                with(impatient, {"--set", "model.epochs=100000", "--set", "bus.rejoin_grace=60"}));
    hand.start_all();
    REQUIRE(commits_beyond(*hand.master, run_dir(dir, "runs"), 0));
    hand.members[1]->signal(SIGSTOP);
    REQUIRE(hand.master->await_output("member-1 is gone", true));
    hand.master->signal(SIGINT);
    const auto stopped = Clock::now();
    const Finished finished = hand.master->wait();
    INFO(finished.err);
    within(since(stopped), 5);  // no patience with anybody is as short
    CHECK(finished.exit_code == 130);
    const std::string sentence = sentence_of(finished);
    CHECK(sentence.find("without member-1, which is gone; the last commit is that of step ") !=
          std::string::npos);
    CHECK(sentence.find("`vflbus actor --role master --resume " + run_id) != std::string::npos);
}

TEST_CASE("the second signal to a master leaves the way on, and that works", "[recovery]") {
    const TempDir dir;
    make_example(dir);
    ByHand hand(dir, {"--set", "bus.commit_interval=0.5"});
    for (const std::string member : {"member-0", "member-1"}) hand.start(member);
    hand.start("master", {"--run-id", run_id, "--name", "bank"});
    REQUIRE(commits_beyond(*hand.master, run_dir(dir, "runs"), 0));
    hand.members[1]->signal(SIGSTOP);
    // the first lets it wait for member-1, which does not answer; two different ones are two,
    // however close they come
    hand.master->signal(SIGTERM);
    hand.master->signal(SIGINT);
    Finished finished = hand.master->wait();
    hand.members[1]->signal(SIGCONT);
    INFO(finished.err);
    CHECK(finished.exit_code == 130);
    const std::string sentence = sentence_of(finished);
    CHECK(sentence.find("ended at once by its owner, at step ") != std::string::npos);
    CHECK(sentence.find("; the last commit is that of step ") != std::string::npos);
    const std::string begin = "`vflbus actor --role master --name bank --resume " + run_id;
    const std::size_t at = sentence.find(begin);
    REQUIRE(at != std::string::npos);
    // what stands between the quotes, as it is
    std::string command = sentence.substr(at + 1 + sizeof "vflbus" - 1);
    command.resize(command.find('`'));
    for (const std::string member : {"member-0", "member-1"}) hand.start(member);
    const std::string line = "cd '" + dir.path().string() + "' && '" +
                             std::getenv("VFLBUS_BINARY") + "'" + command + " >out 2>err";
    INFO(line);
    CHECK(std::system(line.c_str()) == 0);
    INFO(slurp(dir / "err"));
    CHECK(models(run_dir(dir, "runs")) == undisturbed());
}

TEST_CASE("a master that was killed is started again by hand", "[recovery]") {
    undisturbed();
    const TempDir dir;
    make_example(dir);
    ByHand hand(dir, impatient);
    hand.start_all();
    const fs::path run = run_dir(dir, "runs");
    REQUIRE(commits_beyond(*hand.master, run, 0));
    hand.master->signal(SIGKILL);
    CHECK(hand.master->wait().exit_code == 128 + SIGKILL);
    hand.start("master", {"--resume", run_id});
    const Finished finished = hand.master->wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 0);
    for (const auto& member : hand.members) {
        const Finished ended = member->wait();
        INFO(ended.err);
        CHECK(ended.exit_code == 0);
    }
    CHECK(models(run) == undisturbed());
}

TEST_CASE("members end with a reason when their master is killed for good", "[recovery_long]") {
    const TempDir dir;
    make_example(dir);
    ByHand hand(dir, with(impatient, {"--set", "model.epochs=100000"}));
    hand.start_all();
    REQUIRE(commits_beyond(*hand.master, run_dir(dir, "runs"), 0));
    hand.master->signal(SIGKILL);
    const auto killed = Clock::now();
    for (const auto& member : hand.members) {
        const Finished ended = member->wait();
        INFO(ended.err);
        CHECK(ended.exit_code == 5);
        CHECK(ended.out.find("\"owner_lost\"") != std::string::npos);
        CHECK(ended.err.find("master") != std::string::npos);
    }
    within(since(killed), 3 + 2 + 2);  // lost + grace + 2 s
}

TEST_CASE("members with --once end with the code of a run that is stopped", "[recovery]") {
    const TempDir dir;
    make_example(dir);
    ByHand hand(dir, {});
    hand.start_all();
    REQUIRE(commits_beyond(*hand.master, run_dir(dir, "runs"), 0));
    hand.master->signal(SIGTERM);
    const Finished finished = hand.master->wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 130);
    for (const auto& member : hand.members) {
        const Finished ended = member->wait();
        INFO(ended.err);
        CHECK(ended.exit_code == 130);
        CHECK(ended.err.find("stopped at step ") != std::string::npos);
    }
}
