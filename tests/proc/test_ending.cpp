// Signals and crashes: everything ends in order, with one sentence, and nothing is left.

#include <csignal>

#include "catch.hpp"
#include "parties.hpp"
#include "support.hpp"

using namespace proc;

namespace {

/// A training that does not end by itself within these tests.
Words endless(const std::string& how) {
    return {"launch",   how,    "--config", "run.toml",
            "--run-id", run_id, "--set",    "model.epochs=1000000",
            "--json"};
}

/// The process id in a party's lock file; 0 when there is none.
pid_t pid_of(const TempDir& dir, const std::string& party) {
    const std::string text = slurp(fs::path(dir / "runs") / run_id / party / "node" / "lock");
    return text.empty() ? 0 : static_cast<pid_t>(std::stol(text));
}

/// 'R', 'S', 'T' (stopped), ...; a blank when there is no such process.
char state_of(pid_t pid) {
    const std::string text = slurp("/proc/" + std::to_string(pid) + "/stat");
    const std::size_t after = text.rfind(") ");
    return pid <= 0 || after == std::string::npos ? ' ' : text[after + 2];
}

}  // namespace

TEST_CASE("SIGINT and SIGTERM end a training in order", "[ending][short]") {
    for (const std::string how : {"--local", "--threads"}) {
        for (const int number : {SIGINT, SIGTERM}) {
            INFO(how << " signal " << number);
            const TempDir dir;
            make_example(dir);
            Process launch(dir, endless(how));
            REQUIRE(launch.await_output("epoch ", true));
            launch.signal(number);
            const Finished finished = launch.wait();
            INFO(finished.err);
            CHECK(finished.exit_code == 130);
            CHECK(finished.out.find("\"stopped\"") != std::string::npos);
            CHECK(left_behind(dir) == "");
            CHECK(models(fs::path(dir / "runs") / run_id).empty());
        }
    }
}

TEST_CASE("a training needs neither a terminal nor standard streams", "[ending]") {
    const TempDir dir;
    make_example(dir);
    const Words words{"launch", "--local", "--config", "run.toml", "--run-id", run_id};
    Process launch(dir, words, {}, {"setsid", "sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"});
    const Finished finished = launch.wait();
    CHECK(finished.exit_code == 0);
    CHECK(finished.out.empty());
    const fs::path made = fs::path(dir / "runs") / run_id;
    CHECK(Json::parse(slurp(made / "report.json"))["status"] == "completed");
    CHECK(models(made).size() == 3);
    // what was printed went into none of the files
    for (const char* const file : {"master/log", "member-0/log", "vflbus.toml"})
        CHECK(slurp(made / file).find("Predict with it") == std::string::npos);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a training under nohup outlives its terminal", "[ending]") {
    const TempDir dir;
    make_example(dir);
    Process launch(dir, endless("--local"), {}, {"nohup"});
    REQUIRE(launch.await_output("epoch ", true));
    launch.signal(SIGHUP);
    launch.signal(SIGHUP);
    const std::size_t lines = launch.err().size();
    // it goes on telling how far it is
    REQUIRE(await(launch, [&] { return launch.err().size() > lines; }));
    launch.signal(SIGTERM);
    const Finished finished = launch.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 130);
    CHECK(finished.err.find("stopped at step ") != std::string::npos);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("what one event sends twice stops a training in order", "[ending]") {
    // `timeout` signals its command and then the group; a closed terminal says so twice as well
    for (const int number : {SIGTERM, SIGHUP}) {
        INFO("signal " << number);
        const TempDir dir;
        make_example(dir);
        Words words = endless("--local");
        words.insert(words.end(), {"--set", "bus.commit_interval=0"});
        Process launch(dir, words);
        REQUIRE(launch.await_output("epoch ", true));
        launch.signal(number);
        launch.signal(number);
        const Finished finished = launch.wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 130);
        CHECK(finished.err.find("stopped at step ") != std::string::npos);
        CHECK(finished.err.find("ended at once") == std::string::npos);
        // what it had done by then is committed
        CHECK(record(fs::path(dir / "runs") / run_id).step > 0);
        CHECK(left_behind(dir) == "");
    }
}

TEST_CASE("Ctrl-Z stops all processes of a training, and fg lets them go on", "[ending]") {
    const TempDir dir;
    make_example(dir);
    Process launch(dir, endless("--local"));
    REQUIRE(launch.await_output("epoch ", true));
    const auto states = [&] {
        std::string all;
        for (const char* const who : {"broker", "master", "member-0", "member-1"})
            all += state_of(child_of(launch, who));
        return all + state_of(launch.pid());
    };
    launch.signal(SIGTSTP);
    REQUIRE(await(launch, [&] { return states() == "TTTTT"; }));
    launch.signal(SIGCONT);
    REQUIRE(await(launch, [&] { return states().find('T') == std::string::npos; }));
    const std::size_t lines = launch.err().size();
    REQUIRE(await(launch, [&] { return launch.err().size() > lines; }));
    launch.signal(SIGINT);
    const Finished finished = launch.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 130);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a second signal ends everything at once", "[ending]") {
    const TempDir dir;
    make_example(dir);
    Process launch(dir, endless("--local"));
    REQUIRE(launch.await_output("epoch ", true));
    // a master that does not answer makes the first one last
    const pid_t master = pid_of(dir, "master");
    REQUIRE(master > 0);
    ::kill(master, SIGSTOP);
    launch.signal(SIGTERM);
    launch.signal(SIGINT);
    const Finished finished = launch.wait();
    CHECK(finished.exit_code == 130);
    CHECK(finished.err.find("--resume " + run_id) != std::string::npos);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a second signal before the run began promises nothing", "[ending]") {
    const TempDir dir;
    make_example(dir);
    Process launch(dir, endless("--local"));
    // the broker's log comes with the first child; a broker that is stopped keeps all others away
    pid_t broker = 0;
    REQUIRE(await(launch, [&] { return (broker = child_of(launch, "broker")) != 0; }));
    ::kill(broker, SIGSTOP);
    launch.signal(SIGTERM);
    launch.signal(SIGINT);
    const Finished finished = launch.wait();
    const bool begun = fs::exists(fs::path(dir / "runs") / run_id / "run.json");
    INFO(finished.err);
    CHECK(finished.exit_code == 130);
    if (begun) WARN("the run had begun already");
    CHECK(begun == (finished.err.find("--resume") != std::string::npos));
    CHECK(begun == (finished.err.find("before the run began") == std::string::npos));
    // others than the broker may have been killed in a write
    const bool others = fs::exists(fs::path(dir / "runs") / run_id / "member-0");
    CHECK((others ? left_running(dir) : left_behind(dir)) == "");
}

TEST_CASE("a signal that comes before there is a run has a sentence", "[ending]") {
    const TempDir dir;
    // a source that says nothing, until nobody reads it
    spit(dir / "never.sh", "touch began; while echo; do sleep 0.1; done\n");
    spit(dir / "shop.csv", "id,a\n1,2\n2,3\n");
    for (const int number : {SIGINT, SIGTERM}) {
        fs::remove(dir / "began");
        Process launch(dir, {"launch", "--local", "--data", "exec:sh never.sh", "--data",
                             "shop.csv", "--label", "y"});
        REQUIRE(await(launch, [&] { return fs::exists(dir / "began"); }));
        launch.signal(number);
        const Finished finished = launch.wait();
        CHECK(finished.exit_code == 130);
        CHECK(finished.err == "vflbus: ended before the run began\n");
    }
    CHECK_FALSE(fs::exists(dir / "runs"));
}

TEST_CASE("a launch that was killed is gone on with at once", "[ending]") {
    const TempDir dir;
    make_example(dir);
    Process launch(dir, with(endless("--local"), {"--set", "bus.commit_interval=0"}));
    REQUIRE(launch.await_output("epoch ", true));
    // a member that is stopped ends later than the others
    const pid_t member = pid_of(dir, "member-0");
    REQUIRE(member > 0);
    ::kill(member, SIGSTOP);
    launch.signal(SIGKILL);
    launch.wait();
    Process again(dir, {"launch", "--local", "--resume", run_id, "--json"});
    const bool waits = again.await_output("are still ending; waiting for them", true);
    ::kill(member, SIGCONT);
    INFO(again.err());
    CHECK(waits);
    CHECK(again.await_output("epoch ", true));
    again.signal(SIGTERM);
    const Finished finished = again.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 130);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a launch that is killed takes its children along", "[ending]") {
    for (const std::string transport : {"ipc", "tcp"}) {
        INFO(transport);
        const TempDir dir;
        make_example(dir);
        Words words = endless("--local");
        words.insert(words.end(), {"--transport", transport});
        Process launch(dir, words);
        REQUIRE(launch.await_output("epoch ", true));
        launch.signal(SIGKILL);
        CHECK(launch.wait().exit_code == 128 + SIGKILL);
        CHECK(left_behind(dir) == "");
    }
}

TEST_CASE("a child that dies and is not started again ends the run with its name", "[ending]") {
    for (const std::string victim : {"member-1", "master"}) {
        INFO(victim);
        const TempDir dir;
        make_example(dir);
        Words words = endless("--local");
        words.insert(words.end(), {"--set", "bus.restarts_max=0"});
        Process launch(dir, words);
        REQUIRE(launch.await_output("epoch ", true));
        const pid_t pid = pid_of(dir, victim);
        REQUIRE(pid > 0);
        ::kill(pid, SIGKILL);
        const Finished finished = launch.wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 5);
        const std::string sentence = finished.err.substr(finished.err.rfind("vflbus: "));
        CHECK(sentence.find("vflbus: " + victim + " was ended by signal 9 (Killed); ") == 0);
        CHECK(sentence.find("`" + binary() + " launch --local --resume " + run_id) !=
              std::string::npos);
        CHECK(finished.out.find("\"failed\"") != std::string::npos);
        CHECK(left_behind(dir) == "");
    }
}

TEST_CASE("a run whose children are not started again is resumed by its user all the same",
          "[ending]") {
    const TempDir dir;
    make_example(dir);
    const Words never{"--set", "bus.restarts_max=0"};
    Words words = with(endless("--local"), never);
    words.insert(words.end(), {"--transport", "tcp"});
    for (int time = 0; time < 2; ++time) {
        Process launch(dir, words);
        REQUIRE(launch.await_output("epoch ", true));
        launch.signal(SIGTERM);
        const Finished finished = launch.wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 130);
        CHECK(finished.out.find("\"error\": \"cancelled\"") != std::string::npos);
        // what the flags said is in the command, unless the run was begun with it
        CHECK(finished.err.find("`" + binary() + " launch --local --resume " + run_id +
                                " --transport tcp" +
                                (time == 0 ? "" : " --set bus.restarts_max=0") +
                                "` continues it") != std::string::npos);
        words =
            with({"launch", "--local", "--resume", run_id, "--transport", "tcp", "--json"}, never);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a stop that fails says so", "[ending]") {
    const TempDir dir;
    make_example(dir);
    Process launch(dir, with(endless("--local"), {"--set", "bus.commit_interval=0"}));
    REQUIRE(launch.await_output("epoch ", true));
    // what cannot hold the last commit
    const fs::path state = fs::path(dir / "runs") / run_id / "member-0" / "state";
    REQUIRE(fs::is_directory(state));
    fs::remove_all(state);
    spit(state, "no directory");
    launch.signal(SIGTERM);
    const Finished finished = launch.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 3);
    CHECK(finished.err.find("vflbus: member-0: cannot store") != std::string::npos);
    CHECK(finished.err.find(state.string()) != std::string::npos);
    CHECK(finished.err.find("stopped by a signal") == std::string::npos);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("of a member that ends by itself the way on is said as well", "[ending]") {
    const TempDir dir;
    make_example(dir);
    Process launch(dir, endless("--local"));
    REQUIRE(launch.await_output("epoch ", true));
    const pid_t member = pid_of(dir, "member-0");
    REQUIRE(member > 0);
    ::kill(member, SIGTERM);
    const Finished finished = launch.wait();
    INFO(finished.err);
    const std::string sentence = finished.err.substr(finished.err.rfind("vflbus: "));
    CHECK(sentence.starts_with("vflbus: member-0 was stopped; "));
    CHECK(sentence.find("`" + binary() + " launch --local --resume " + run_id) !=
          std::string::npos);
    CHECK(left_behind(dir) == "");
}
