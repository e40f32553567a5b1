// Children of one command, method: a shell script in place of this program, which ends as it is
// told to.

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "scratch.hpp"
#include "supervisor.hpp"

using namespace vflbus;
using cli::RestartRule;
using cli::Supervised;
using cli::Supervisor;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

/// A directory with the program that children are: `sh -c` of their first argument, with what
/// follows as $1, $2, ... (the last two are --parent PID).
struct SupervisorDirectory : cli::testing::Scratch {
    SupervisorDirectory() {
        const fs::path program = path / "program";
        std::ofstream(program) << "#!/bin/sh\nscript=$1; shift\nexec sh -c \"$script\" sh \"$@\"\n";
        fs::permissions(program, fs::perms::owner_all);
        ::setenv("VFLBUS_PROGRAM", program.c_str(), 1);
    }
    ~SupervisorDirectory() { ::unsetenv("VFLBUS_PROGRAM"); }
    SupervisorDirectory(const SupervisorDirectory&) = delete;
    SupervisorDirectory& operator=(const SupervisorDirectory&) = delete;
};

Supervised& started(Supervisor& supervisor, const std::string& script, RestartRule rule = {}) {
    auto place = supervisor.start({"child", {script}, {}, {}}, std::move(rule));
    REQUIRE(place.has_value());
    return **place;
}

void await_end(Supervisor& supervisor, const Supervised& place) {
    supervisor.wait_for([&] { return !place.running(); }, 20s);
    REQUIRE_FALSE(place.running());
}

}  // namespace

TEST_CASE("restarts are counted until there is progress", "[cli]") {
    cli::Restarts restarts;
    CHECK(restarts.again(2, 0));
    CHECK(restarts.again(2, 0));
    CHECK_FALSE(restarts.again(2, 0));
    CHECK(restarts.count() == 2);
    CHECK(restarts.again(2, 7));  // a newer commit
    CHECK(restarts.count() == 1);
    CHECK(restarts.ever() == 3);
    CHECK_FALSE(cli::Restarts{}.again(0, 0));
    restarts.restore(2, 9);
    CHECK_FALSE(restarts.again(2, 9));
    CHECK(restarts.again(2, 10));
}

TEST_CASE("the number of restarts in words", "[cli]") {
    CHECK(cli::restarted_text("it", 0).empty());
    CHECK(cli::restarted_text("it", 1) ==
          " after it had been started again 1 time without a newer commit (bus.restarts_max)");
    CHECK(cli::restarted_text("run 12", 3) ==
          " after run 12 had been started again 3 times without a newer commit (bus.restarts_max)");
}

TEST_CASE("a wait ends when a child has written, when one has ended, or in time", "[cli]") {
    const SupervisorDirectory dir;
    Supervisor supervisor;
    const Supervised& place =
        started(supervisor, "echo ready; read line < /dev/zero; exec sleep 60");
    supervisor.wait_for([&] { return !place.child().output().empty(); }, 20s);
    CHECK(place.child().output() == "ready\n");
    const auto begin = Supervisor::Clock::now();
    supervisor.wait(begin + 50ms);
    CHECK(Supervisor::Clock::now() >= begin + 50ms);
    place.signal(SIGKILL);
    await_end(supervisor, place);
    CHECK(place.child().by_signal() == SIGKILL);
}

TEST_CASE("a wait ends when another descriptor can be read", "[cli]") {
    const SupervisorDirectory dir;
    Supervisor supervisor;
    const Supervised& place = started(supervisor, "exec sleep 60");
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    REQUIRE(::write(ends[1], "x", 1) == 1);
    // would last as long as a wait may, if it did not look there
    const auto begin = Supervisor::Clock::now();
    for (int i = 0; i < 100; ++i) supervisor.wait(begin + 60s, ends[0]);
    CHECK(Supervisor::Clock::now() < begin + 50s);
    CHECK(place.running());
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("a child that a signal has ended is started again, as often as its rule says", "[cli]") {
    const SupervisorDirectory dir;
    Supervisor supervisor;
    std::vector<std::string> said;
    std::uint64_t commit = 0;
    RestartRule rule;
    rule.at_most = 1;
    rule.progress = [&] { return commit; };
    rule.say = [&](const std::string& text) { said.push_back(text); };
    Supervised& place = started(supervisor, "kill -9 $$", rule);
    await_end(supervisor, place);
    REQUIRE(supervisor.start_again(place));
    REQUIRE(said.size() == 1);
    CHECK(said[0] ==
          "child was ended by signal 9 (Killed) and is started again (1 of at most 1 times without "
          "a newer commit)");
    await_end(supervisor, place);
    CHECK_FALSE(supervisor.start_again(place));
    commit = 5;  // it got on in between
    CHECK(supervisor.start_again(place));
    await_end(supervisor, place);
    CHECK(place.restarts().ever() == 2);
    CHECK(said.size() == 2);
}

TEST_CASE("a child that exits with a code of its own is not started again", "[cli]") {
    const SupervisorDirectory dir;
    Supervisor supervisor;
    RestartRule rule;
    rule.at_most = 3;
    Supervised& place = started(supervisor, "exit 3", rule);
    await_end(supervisor, place);
    CHECK(place.child().exit_status() == 3);
    CHECK_FALSE(supervisor.start_again(place));
    CHECK(place.restarts().ever() == 0);
}

TEST_CASE("one that finds its address taken after a restart is started once more", "[cli]") {
    const SupervisorDirectory dir;
    Supervisor supervisor;
    const std::string mark = (dir.path / "mark").string();
    RestartRule rule;
    rule.at_most = 3;
    rule.address_taken = {7};
    rule.arguments = [&] { return std::vector<std::string>{"exit 7"}; };
    SECTION("but not at its first start") {
        Supervised& place = started(supervisor, "exit 7", rule);
        await_end(supervisor, place);
        CHECK_FALSE(supervisor.start_again(place));
    }
    SECTION("after a signal") {
        Supervised& place = started(supervisor, "kill -9 $$", rule);
        await_end(supervisor, place);
        REQUIRE(supervisor.start_again(place));
        await_end(supervisor, place);
        REQUIRE(place.child().exit_status() == 7);
        CHECK(supervisor.start_again(place));
        await_end(supervisor, place);
        CHECK(place.restarts().ever() == 2);
    }
}

TEST_CASE("what a killed child has left half-written is removed before it starts again", "[cli]") {
    const SupervisorDirectory dir;
    Supervisor supervisor;
    fs::create_directories(dir.path / "run" / "state");
    RestartRule rule;
    rule.at_most = 1;
    rule.files = {dir.path / "run"};
    Supervised& place =
        started(supervisor,
                "echo x > " + (dir.path / "run" / "state").string() + "/commit.tmp-$$; echo x > " +
                    (dir.path / "run").string() + "/kept.tmp-1; kill -9 $$",
                rule);
    await_end(supervisor, place);
    REQUIRE(!fs::is_empty(dir.path / "run" / "state"));
    rule.arguments = [] { return std::vector<std::string>{"exit 0"}; };
    REQUIRE(supervisor.start_again(place));
    // of the first process; the second one may have left its own by now
    await_end(supervisor, place);
    Supervisor::remove_unfinished_files(place);
    CHECK(fs::is_empty(dir.path / "run" / "state"));
    CHECK(fs::exists(dir.path / "run" / "kept.tmp-1"));
}

TEST_CASE("a child is restarted with other arguments when its rule says so", "[cli]") {
    const SupervisorDirectory dir;
    Supervisor supervisor;
    RestartRule rule;
    rule.at_most = 1;
    rule.arguments = [] { return std::vector<std::string>{"echo resumed"}; };
    Supervised& place = started(supervisor, "kill -9 $$", rule);
    await_end(supervisor, place);
    REQUIRE(supervisor.start_again(place));
    await_end(supervisor, place);
    CHECK(place.child().output() == "resumed\n");
}

TEST_CASE("the end of a group is orderly for those who answer, and sure for those who do not",
          "[cli]") {
    const SupervisorDirectory dir;
    Supervisor supervisor;
    const Supervised& polite =
        started(supervisor, "trap 'exit 130' TERM; echo on; while :; do sleep 0.05; done");
    const Supervised& deaf =
        started(supervisor, "trap '' TERM; echo on; while :; do sleep 0.05; done");
    const auto ready = [](const Supervised& place) { return !place.child().output().empty(); };
    supervisor.wait_for([&] { return ready(polite) && ready(deaf); }, 20s);
    REQUIRE((ready(polite) && ready(deaf)));
    supervisor.end(supervisor.all(), 5s);
    CHECK_FALSE(cli::any_running(supervisor.all()));
    CHECK(polite.child().exit_status() == 130);
    CHECK(deaf.child().by_signal() == SIGKILL);
}

TEST_CASE("a child that is forgotten is ended", "[cli]") {
    const SupervisorDirectory dir;
    Supervisor supervisor;
    const Supervised& place = started(supervisor, "exec sleep 60");
    const pid_t pid = place.child().pid();
    supervisor.forget(place);
    CHECK(supervisor.all().empty());
    CHECK(::kill(pid, 0) != 0);
}
