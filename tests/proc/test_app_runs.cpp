// Runs of apps as operators see them: told of, followed and stopped from elsewhere, and what
// `launch --client` does when a node or the broker dies.

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "catch.hpp"
#include "parties.hpp"
#include "support.hpp"

using namespace proc;
using nlohmann::json;

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
            const json runs = asked({"runs"})["runs"];
            return runs.size() == 1 && runs[0]["status"] == "running";
        }));
        return server;
    }
    Words ask(Words words) const { return with(std::move(words), {"--broker", address_}); }
    json asked(Words words) const {
        const Finished finished = run(dir_, ask(with(std::move(words), {"--json"})));
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
        return json::parse(finished.out, nullptr, false);
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
    const json stopped = bus.asked({"run", "stop", run_id.substr(0, 6)});
    CHECK(stopped["run"]["status"] == "stopped");
    CHECK(stopped["run"]["error"] == "cancelled");
    CHECK(stopped["run"]["owner"] == "server");
    CHECK(stopped["run"]["reason"].get<std::string>().find("stopped") != std::string::npos);
    const Finished finished = server->wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 130);
    CHECK(json::parse(finished.out)["status"] == "stopped");
    CHECK(bus.asked({"runs", "--status", "stopped"})["runs"].size() == 1);
    const Finished shown =
        run(dir, bus.ask({"run", "show", run_id}), {{"VFLBUS_OUTPUT_RUNS_DIR", dir / "elsewhere"}});
    CHECK(shown.exit_code == 0);
    CHECK(shown.err.find("server, which drove it, is gone; what it logged is where it ran, in "
                         "runs/" +
                         run_id + "/server/log") != std::string::npos);
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
    CHECK(of_node == slurp(fs::path(dir / "runs") / run_id / "node-a" / "log"));
    // the owner has ended with its run: what it wrote last is in its own log alone
    CHECK(followed.err.find("the last lines of server may be missing") != std::string::npos);
    bus.end();
}
