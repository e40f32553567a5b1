// What an app, or whoever sends it messages, may cost a node: memory, time, disk, processes. The
// apps here do what they should not.

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>

#include "app_bus.hpp"
#include "catch.hpp"
#include "support.hpp"

using namespace proc;

namespace {

/// The most memory that a process has had, in MiB.
std::size_t peak_mebibytes(pid_t pid) {
    std::ifstream in("/proc/" + std::to_string(pid) + "/status");
    for (std::string word; in >> word;)
        if (word == "VmHWM:") {
            std::size_t kibibytes = 0;
            in >> kibibytes;
            return kibibytes / 1024;
        }
    return 0;
}

/// "started: [1, 2, 3]"
std::set<pid_t> started_in(const std::string& text) {
    constexpr std::string_view mark = "started: [";
    std::set<pid_t> pids;
    const std::size_t begin = text.find(mark);
    const std::size_t end = begin == std::string::npos ? begin : text.find(']', begin);
    if (end == std::string::npos) return pids;
    std::istringstream in(text.substr(begin + mark.size(), end - begin - mark.size()));
    for (std::string number; std::getline(in, number, ',');)
        pids.insert(static_cast<pid_t>(std::stol(number)));
    return pids;
}

/// The helper of a node that serves no run now: its only child that has children.
pid_t helper_of(pid_t node) {
    for (const pid_t pid : below(node))
        if (!below(pid).empty()) return pid;
    return 0;
}

/// The sockets that a process has open.
std::size_t sockets_of(pid_t pid) {
    std::size_t n = 0;
    std::error_code gone;
    for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd", gone)) {
        const fs::path what = fs::read_symlink(entry.path(), gone);
        n += what.string().rfind("socket:", 0) == 0 ? 1 : 0;
    }
    return n;
}

/// The helper of a node that serves no run, once the node is connected and the spare processes have
/// been started: "serves apps" is said before both. The helper has closed their sockets then and
/// has only its own left, so that neither it nor the node gets a descriptor back, or needs one,
/// later. 0: that never came.
pid_t helper_at_rest(const AppBus& bus, Process& node) {
    pid_t helper = 0;
    const bool rests = await(node, [&] {
        if (!bus.connected("node-a")) return false;
        if (below(node.pid()).size() != idle) return false;
        helper = helper_of(node.pid());
        return helper > 0 && sockets_of(helper) == 1;
    });
    return rests ? helper : 0;
}

bool runs(pid_t pid) {
    return ::kill(pid, 0) == 0;
}

/// As many descriptors as `pid` has now, or as many as it likes.
void take_descriptors(pid_t pid, bool away) {
    rlimit limit{};
    REQUIRE(::prlimit(pid, RLIMIT_NOFILE, nullptr, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    const fs::path open = "/proc/" + std::to_string(pid) + "/fd";
    if (away)  // up to the lowest that is free
        for (limit.rlim_cur = 0; fs::is_symlink(open / std::to_string(limit.rlim_cur));)
            ++limit.rlim_cur;
    REQUIRE(::prlimit(pid, RLIMIT_NOFILE, &limit, nullptr) == 0);
}

}  // namespace

TEST_CASE("messages to a handler that hangs keep their room: the node stays within its budget",
          "[bounds]") {
    const TempDir dir;
    {
        AppBus bus(dir);
        Process& node = bus.node("node-a", "test_client");
        Process fills(dir, bus.server("test_server", {"play=fills", "mib=100", "total=10"}));
        REQUIRE(fills.await_output("pushed", true));
        REQUIRE(node.await_output(" hangs", true));
        // until nothing more arrives
        std::size_t peak = 0;
        for (int still = 0; still < 20;) {
            ::usleep(100'000);
            const std::size_t now = peak_mebibytes(node.pid());
            still = now == peak ? still + 1 : 0;
            peak = now;
        }
        INFO("peak of the node in MiB: " << peak);
        CHECK(peak > 100);       // it holds what fits
        CHECK(peak < 256 + 64);  // docs/protocol.md, section 7
        // another run's small messages pass
        const Finished beside = bus.play("many", {"total=50"});
        INFO(beside.err);
        CHECK(beside.exit_code == 0);
        fills.signal(SIGTERM);
        CHECK(fills.wait().exit_code == 130);
        // and the room comes back with the end of the run
        const Finished after = bus.play("large", {"mib=200", "total=1"});
        INFO(after.err);
        CHECK(after.exit_code == 0);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a handler that logs without end is killed after its grace, and others go on beside it",
          "[bounds]") {
    const TempDir dir;
    {
        AppBus bus(dir);
        Process& node = bus.node("node-a", "test_client", {"--set", "bus.workers=2"});
        // its owner has patience, so that the word of the node is the one that is heard
        Words words = bus.server("test_server", {"play=floods", "ttl-ms=8000"});
        words.insert(words.end(), {"--set", "bus.cancel_grace=300"});
        Process floods(dir, words);
        REQUIRE(node.await_output(" of a flood", true));
        const Finished beside = bus.play("many", {"total=100"});
        INFO(beside.err);
        CHECK(beside.exit_code == 0);
        CHECK_FALSE(floods.reap());  // it still floods
        const Finished flooded = floods.wait();
        INFO(flooded.err);
        CHECK(flooded.exit_code == 0);
        CHECK(flooded.err.find("flooded: 37 node-a: handler train.floods did not answer within the "
                               "time to live of 8.00 s") != std::string::npos);
        CHECK(await(node, [&] { return below(node.pid()).size() == idle; }));
        // what it wrote is bounded by a burst and a rate
        std::uintmax_t bytes = 0;
        bool said = false;
        for (const auto& entry : fs::recursive_directory_iterator(dir.path() / "runs"))
            if (entry.path().filename().string().starts_with("log") &&  // and its earlier parts
                entry.path().string().find("node-a") != std::string::npos) {
                bytes += entry.file_size();
                said = said || slurp(entry.path()).find("lines of the app were left out") !=
                                   std::string::npos;
            }
        CHECK(bytes < (16U + 30U) << 20);
        CHECK(said);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a handler that writes nonsense to its node is killed, and no other run notices",
          "[bounds]") {
    const TempDir dir;
    {
        AppBus bus(dir);
        Process& node = bus.node("node-a", "test_client");
        Process others(dir, bus.server("test_server", {"play=many", "total=500"}));
        const Finished scribbled = bus.play("scribbles");
        INFO(scribbled.err);
        CHECK(scribbled.exit_code == 0);
        CHECK(scribbled.err.find("scribbled: 34 node-a: the app's process was ended by signal 9") !=
              std::string::npos);
        CHECK(node.err().find("a process of the app is killed: a frame of an unknown kind") !=
              std::string::npos);
        CHECK(others.wait().exit_code == 0);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("nothing that a handler has started outlives its run", "[bounds]") {
    const TempDir dir;
    {
        AppBus bus(dir);
        Process& node = bus.node("node-a", "test_client");
        // a run that stays, and must keep what it has started
        Process stays(dir, bus.server("test_server", {"play=spawns"}));
        REQUIRE(stays.await_output("started: ", true));
        const auto kept = started_in(stays.err());
        REQUIRE(kept.size() == 4);
        Process server(
            dir, bus.server("test_server", {"play=spawns", GENERATE("stay=true", "stay=false")}));
        REQUIRE(server.await_output("started: ", true));
        const auto started = started_in(server.err());
        REQUIRE(started.size() == 4);
        const std::string how = GENERATE("in order", "the owner is killed");
        server.signal(how == "in order" ? SIGTERM : SIGKILL);
        server.wait();
        CHECK(soon_gone(started));
        for (const pid_t pid : kept) CHECK(runs(pid));
        stays.signal(SIGTERM);
        stays.wait();
        CHECK(soon_gone(kept));
        CHECK(await(node, [&] { return below(node.pid()).size() == idle; }));
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("nothing that a handler has started outlives its process, its node or the helper",
          "[bounds]") {
    const TempDir dir;
    {
        AppBus bus(dir);
        Process& node = bus.node("node-a", "test_client");
        Process server(dir, bus.server("test_server", {"play=spawns"}));
        REQUIRE(server.await_output("started: ", true));
        const auto started = started_in(server.err());
        REQUIRE(started.size() == 4);
        const std::string what = GENERATE("handler", "node in order", "node", "helper");
        INFO("ended: the " << what);
        const pid_t helper = helper_of(node.pid());
        REQUIRE(helper > 0);
        if (what == "handler") {
            for (const pid_t pid : below(helper))
                if (!below(pid).empty()) ::kill(pid, SIGKILL);
        } else if (what == "helper") {
            ::kill(helper, SIGKILL);
        } else {
            node.signal(what == "node" ? SIGKILL : SIGTERM);
        }
        CHECK(soon_gone(started));
        if (what == "helper") {
            const Finished ended = node.wait();
            INFO(ended.err);
            CHECK(ended.exit_code == 1);
            CHECK(ended.err.find("the helper of apps at node-a was ended by signal 9 (Killed); the "
                                 "node can start no more processes of apps and ends") !=
                  std::string::npos);
        }
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("launch starts a node again whose helper has died", "[bounds]") {
    const TempDir dir;
    Process launch(dir, {"launch", "--local", "2", "--client", app("test_client"), "--server",
                         app("test_server"), "--run-config", "play=asks", "--run-config", "nodes=2",
                         "--json", "--set", "bus.cancel_grace=0.5"});
    REQUIRE(launch.await_output("2 of 2 answered", true));
    pid_t helper = 0;  // of any node: below launch, with processes of an app below it
    for (const pid_t pid : below(launch.pid())) {
        const std::string line = slurp("/proc/" + std::to_string(pid) + "/cmdline");
        if (line.find("node-1") == std::string::npos) continue;
        if (const pid_t found = helper_of(pid); found != 0) helper = found;
    }
    REQUIRE(helper > 0);
    ::kill(helper, SIGKILL);
    REQUIRE(launch.await_output("node-1 ended with exit code 1 and is started again", true));
    const std::size_t before = count_of(launch.err(), "2 of 2 answered");
    REQUIRE(await(launch, [&] { return count_of(launch.err(), "2 of 2 answered") > before + 2; }));
    launch.signal(SIGINT);
    CHECK(launch.wait().exit_code == 130);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a node or helper without descriptors says so, and serves again when it has some",
          "[bounds]") {
    const TempDir dir;
    {
        AppBus bus(dir);
        Process& node = bus.node("node-a", "test_client", {"--set", "bus.workers=4"});
        const pid_t helper = helper_at_rest(bus, node);
        REQUIRE(helper > 0);
        const bool of_helper = GENERATE(false, true);
        const pid_t poor = of_helper ? helper : node.pid();
        take_descriptors(poor, true);
        // two runs get the spare processes, the third one none
        Process first(dir, bus.server("test_server", {"play=holds"}));
        Process second(dir, bus.server("test_server", {"play=holds"}));
        REQUIRE(await(node, [&] { return count_of(node.err(), "waits to be told") == 2; }));
        const Finished failed = bus.play("many", {"total=1"});
        INFO(failed.err);
        CHECK(failed.err.find("the app's process could not be started: Too many open files") !=
              std::string::npos);
        take_descriptors(poor, false);
        const Finished served = bus.play("many", {"total=10"});
        INFO(served.err);
        CHECK(served.exit_code == 0);
        first.signal(SIGTERM);
        CHECK(first.wait().exit_code == 130);
        second.signal(SIGTERM);
        CHECK(second.wait().exit_code == 130);
    }
    CHECK(left_behind(dir) == "");
}
