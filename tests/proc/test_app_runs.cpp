// Runs of apps as operators see them: told of, followed and stopped from elsewhere, and what
// `launch --client` does when a node or the broker dies.

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>
#include <stdexcept>

#include "base/json.hpp"
#include "catch.hpp"
#include "parties.hpp"
#include "support.hpp"

using namespace proc;

namespace {

std::string app(const std::string& name) {
    const char* const dir = std::getenv("VFLBUS_APPS");
    if (dir == nullptr) throw std::runtime_error("VFLBUS_APPS is not set");
    return std::string(dir) + "/" + name + ".so";
}

const Words short_grace{"--set", "bus.cancel_grace=0.5"};

/// A broker and nodes that stay, and a run of the test's server app on them.
class Bus {
  public:
    explicit Bus(const TempDir& dir) : dir_(dir) {
        broker_ =
            std::make_unique<Process>(dir, Words{"broker", "--bind", "ipc://" + (dir / "bus")});
        address_ = first_endpoint(*broker_);
        for (const std::string name : {"node-a", "node-b"}) {
            nodes.push_back(std::make_unique<Process>(
                dir, with({"actor", "--role", "member", "--app", app("test_client"), "--name", name,
                           "--broker", address_, "--set", "output.share_log=all"},
                          short_grace)));
            REQUIRE(nodes.back()->await_output("serves apps", true));
        }
    }
    std::unique_ptr<Process> play(const std::string& name) {
        auto server = std::make_unique<Process>(
            dir_, with({"actor", "--role", "serverapp", "--app", app("test_server"), "--name",
                        "server", "--broker", address_, "--json", "--run-id", run_id,
                        "--run-config", "nodes=2", "--run-config", "play=" + name},
                       short_grace));
        CHECK(await(*server, [&] {
            const Json runs = asked({"runs"})["runs"];
            return runs.size() == 1 && runs[0]["status"] == "running";
        }));
        return server;
    }
    Words ask(Words words) const { return with(std::move(words), {"--broker", address_}); }
    Json asked(Words words) const {
        const Finished finished = ask_bus(dir_, ask(with(std::move(words), {"--json"})));
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
        return Json::parse(finished.out);
    }
    /// Tells all to end, and that nothing of them is left.
    void end() {
        for (auto& node : nodes) node->signal(SIGTERM);
        for (auto& node : nodes) CHECK(node->wait().exit_code == 0);
        broker_->signal(SIGTERM);
        broker_->wait();
        CHECK(left_behind(dir_) == "");
    }
    std::vector<std::unique_ptr<Process>> nodes;

  private:
    const TempDir& dir_;
    std::unique_ptr<Process> broker_;
    std::string address_;
};

bool holds(const std::vector<std::unique_ptr<Process>>& nodes, const std::string& text) {
    return std::any_of(nodes.begin(), nodes.end(), [&](const auto& node) {
        return node->err().find(text) != std::string::npos;
    });
}

/// The times that log lines begin with.
std::vector<std::string> times_of(const std::string& text) {
    std::vector<std::string> times;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
        if (line.size() > 24 && line[10] == 'T') times.push_back(line.substr(0, 24));
    return times;
}

}  // namespace

TEST_CASE("a run of apps is stopped from elsewhere: handlers are told, then killed") {
    const TempDir dir;
    Bus bus(dir);
    std::unique_ptr<Process> server;
    SECTION("a handler that returns when it is told") {
        server = bus.play("holds");
        REQUIRE(await(*server, [&] { return holds(bus.nodes, "waits to be told"); }));
    }
    SECTION("a handler that never returns") {
        server = bus.play("hangs_there");
        REQUIRE(await(*server, [&] { return holds(bus.nodes, " hangs"); }));
    }
    SECTION("main never returns") {
        server = bus.play("hangs");
        REQUIRE(server->await_output(" hangs", true));
    }
    const Json stopped = bus.asked({"run", "stop", run_id.substr(0, 6)});
    CHECK(stopped["run"]["status"] == "stopped");
    CHECK(stopped["run"]["error"] == "cancelled");
    CHECK(stopped["run"]["owner"] == "server");
    CHECK(stopped["run"]["reason"].get<std::string>().find("stopped") != std::string::npos);
    const Finished finished = server->wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 130);
    CHECK(Json::parse(finished.out)["status"] == "stopped");
    CHECK(bus.asked({"runs", "--status", "stopped"})["runs"].size() == 1);
    const Finished shown =
        run(dir, bus.ask({"run", "show", run_id}), {{"VFLBUS_OUTPUT_RUNS_DIR", dir / "elsewhere"}});
    CHECK(shown.exit_code == 0);
    CHECK(shown.err.find("server, which drove it, is gone; what it logged is where it ran, in "
                         "runs/" +
                         run_id + "/server/log") != std::string::npos);
    bus.end();
}

TEST_CASE("a server that is killed is named by run show, and by each node in its log") {
    const TempDir dir;
    Bus bus(dir);
    const std::unique_ptr<Process> server = bus.play("asks");
    REQUIRE(server->await_output("2 of 2 answered", true));
    server->signal(SIGKILL);
    for (const auto& node : bus.nodes)
        CHECK(node->await_output("the run has ended: server, which drove run ", true));
    const std::string reason =
        bus.asked({"run", "show", run_id})["run"]["reason"].get<std::string>();
    CHECK(reason.find("server, which drove run ") == 0);
    for (const auto& node : bus.nodes) CHECK(node->err().find(reason) != std::string::npos);
    for (const char* node : {"node-a", "node-b"})
        CHECK(slurp(dir.path() / "runs" / run_id / node / "log").find(reason) != std::string::npos);
    bus.end();
}

TEST_CASE("the log lines of a run of apps are followed, merged by time") {
    const TempDir dir;
    Bus bus(dir);
    const auto server = bus.play("talks");
    Process follower(dir, bus.ask({"run", "logs", "--follow", run_id}));
    for (const char* party : {"node=server", "node=node-a", "node=node-b"})
        REQUIRE(follower.await_output(party));
    REQUIRE(server->await_output("round 100", true));
    CHECK(bus.asked({"run", "stop", run_id})["run"]["status"] == "stopped");
    const Finished followed = follower.wait();
    INFO(followed.err);
    CHECK(followed.exit_code == 0);
    const auto times = times_of(followed.out);
    CHECK(times.size() > 100);
    CHECK(std::is_sorted(times.begin(), times.end()));
    CHECK(server->wait().exit_code == 130);
    // of who is still there each line, once and in order, also those of after the stop
    std::string of_node;
    std::istringstream lines(followed.out);
    for (std::string line; std::getline(lines, line);)
        if (line.find(" node=node-a ") != std::string::npos) of_node += line + "\n";
    // (what the node has written after the follower's last question is in its log alone)
    CHECK_FALSE(of_node.empty());
    CHECK(slurp(fs::path(dir / "runs") / run_id / "node-a" / "log").starts_with(of_node));
    // the owner has ended with its run: what it wrote last is in its own log alone
    CHECK(followed.err.find("the last lines of server may be missing") != std::string::npos);
    bus.end();
}

namespace {

/// The one child of `launch` whose command line holds `mark`; 0 when there is none just now.
pid_t child_with(const Process& launch, const std::string& mark) {
    const std::string parent = " --parent " + std::to_string(launch.pid()) + " ";
    for (const auto& entry : fs::directory_iterator("/proc")) {
        const std::string pid = entry.path().filename();
        if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
        std::string line = slurp(entry.path() / "cmdline") + " ";
        std::replace(line.begin(), line.end(), '\0', ' ');
        // the helper has the same command line as its node, which is its parent
        const std::string stat = slurp(entry.path() / "stat");
        const std::string up = " " + std::to_string(launch.pid()) + " ";
        const std::size_t at = stat.rfind(')');
        if (at == std::string::npos || stat.substr(at + 3, up.size()) != up) continue;
        if (line.find(mark) != std::string::npos && line.find(parent) != std::string::npos)
            return static_cast<pid_t>(std::stol(pid));
    }
    return 0;
}

/// Children of `launch` that have ended and that it has not waited for.
std::size_t zombies_of(const Process& launch) {
    const std::string zombie = " Z " + std::to_string(launch.pid()) + " ";
    std::size_t zombies = 0;
    for (const auto& entry : fs::directory_iterator("/proc")) {
        const std::string stat = slurp(entry.path() / "stat");
        const std::size_t at = stat.rfind(')');
        if (at != std::string::npos && stat.compare(at + 1, zombie.size(), zombie) == 0) ++zombies;
    }
    return zombies;
}

std::size_t count_of(const std::string& text, const std::string& what) {
    std::size_t n = 0;
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
        ++n;
    return n;
}

/// Two nodes, and a run that says every round how many nodes have answered.
Words launch_of(const std::string& play, const Words& more = {}) {
    return with(
        {"launch", "--local", "2", "--client", app("test_client"), "--server", app("test_server"),
         "--run-config", "play=" + play, "--run-config", "nodes=2", "--json"},
        with(short_grace, more));
}

}  // namespace

TEST_CASE("launch of apps starts a killed node again: its messages fail, the next ones are taken") {
    const TempDir dir;
    Process launch(dir, launch_of("asks"));
    for (int kill = 1; kill <= 2; ++kill) {
        const std::string before = launch.err();
        const std::size_t rounds = count_of(before, " of 2 answered");
        REQUIRE(
            await(launch, [&] { return count_of(launch.err(), "2 of 2 answered") > rounds + 2; }));
        const pid_t node = child_with(launch, " --name node-1 ");
        REQUIRE(node > 0);
        ::kill(node, SIGKILL);
        REQUIRE(launch.await_output(
            "(" + std::to_string(kill) + " of at most 3 times in ten minutes)", true));
        // it is there again, under the same name and with nothing of what it knew
        const std::size_t all = count_of(launch.err(), "2 of 2 answered");
        REQUIRE(await(launch, [&] { return count_of(launch.err(), "2 of 2 answered") > all + 2; }));
        // neither its helper nor what that had started stays behind
        CHECK(await(launch, [&] { return zombies_of(launch) == 0; }));
    }
    CHECK(launch.err().find("node-1 was ended by signal 9 (Killed) and is started again") !=
          std::string::npos);
    launch.signal(SIGINT);
    const Finished finished = launch.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 130);
    // what was under way to it, or was pushed while it was gone, is answered with why not
    CHECK(count_of(finished.err, "failed: ") > 0);
    std::istringstream lines(finished.err);
    for (std::string line; std::getline(lines, line);)
        if (line.find("failed: ") != std::string::npos)
            CHECK((line.find("failed: 17 ") != std::string::npos ||
                   line.find("failed: 18 ") != std::string::npos));
    CHECK(left_behind(dir) == "");
}

TEST_CASE("launch of apps starts a killed broker again, and the runs go on") {
    const TempDir dir;
    const std::string transport = GENERATE("ipc", "tcp");
    Process launch(dir, launch_of("asks", {"--transport", transport}));
    REQUIRE(launch.await_output("2 of 2 answered", true));
    const pid_t broker = child_with(launch, " broker --bind ");
    REQUIRE(broker > 0);
    ::kill(broker, SIGKILL);
    REQUIRE(
        launch.await_output("broker was ended by signal 9 (Killed) and is started again", true));
    const std::size_t before = count_of(launch.err(), "2 of 2 answered");
    REQUIRE(await(launch, [&] { return count_of(launch.err(), "2 of 2 answered") > before + 10; }));
    launch.signal(SIGINT);
    const Finished finished = launch.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 130);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("launch of apps does not start a server app again: its run fails by name") {
    const TempDir dir;
    Process launch(dir, launch_of("asks"));
    REQUIRE(launch.await_output("2 of 2 answered", true));
    const pid_t server = child_with(launch, " --name server-0 ");
    REQUIRE(server > 0);
    ::kill(server, SIGKILL);
    const Finished finished = launch.wait();
    INFO(finished.err << finished.out);
    CHECK(finished.exit_code == 5);
    CHECK(finished.err.find("server-0 was ended by signal 9 (Killed)") != std::string::npos);
    CHECK(finished.err.find("started again") == std::string::npos);
    const std::string failed = Json::parse(finished.out)["runs"][0]["run_id"].get<std::string>();
    CHECK(Json::parse(finished.out)["runs"][0]["status"] == "failed");
    // the nodes were not ended before they had heard of it
    std::size_t told = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir.path() / "runs"))
        if (entry.path().filename() == "log" &&
            entry.path().parent_path().filename().string().starts_with("node-")) {
            const std::string log = slurp(entry.path());
            CHECK(log.find("the run has ended: server-0, which drove run " + failed.substr(0, 8)) !=
                  std::string::npos);
            ++told;
        }
    CHECK(told == 2);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a node that is killed again and again stays away") {
    const TempDir dir;
    Process launch(dir, launch_of("asks", with(impatient, {"--set", "bus.restarts_max=1"})));
    pid_t last = 0;
    for (int i = 0; i < 2; ++i) {
        pid_t node = 0;
        REQUIRE(await(launch, [&] {
            node = child_with(launch, " --name node-0 ");
            return node > 0 && node != last && count_of(launch.err(), "2 of 2 answered") > 0;
        }));
        ::kill(node, SIGKILL);
        last = node;
    }
    REQUIRE(launch.await_output("node-0 was ended by signal 9 (Killed); its log is ", true));
    const std::size_t before = count_of(launch.err(), "1 of 1 answered");
    REQUIRE(await(launch, [&] { return count_of(launch.err(), "1 of 1 answered") > before + 2; }));
    launch.signal(SIGINT);
    CHECK(launch.wait().exit_code == 130);
    CHECK(left_behind(dir) == "");
}
