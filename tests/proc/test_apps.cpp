// Apps as users build and start them: the example, trouble of every kind, and what is left behind.

#include <csignal>
#include <map>
#include <regex>
#include <set>

#include "app_bus.hpp"
#include "base/json.hpp"
#include "catch.hpp"
#include "support.hpp"

using namespace proc;
namespace {

Json json_of(const Finished& finished) {
    INFO(finished.out << finished.err);
    Json said = Json::parse(finished.out);
    CHECK(said.is_object());
    return said.is_object() ? said : Json::object();
}

}  // namespace

TEST_CASE("the example: two servers at once on five nodes, each with its own replies") {
    const TempDir dir;
    const Finished finished =
        run(dir, {"launch", "--local", "5", "--client", app("echo_client"), "--server",
                  app("sampling_server"), "--server", app("sampling_server"), "--json"});
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    const Json said = json_of(finished);
    CHECK(said["status"] == "completed");
    REQUIRE(said["runs"].size() == 2);
    CHECK(finished.err.find("The echo differs") == std::string::npos);

    // what the nodes handled, by run
    std::map<std::string, std::multiset<std::string>> handled;
    for (const auto& entry : fs::recursive_directory_iterator(dir / "runs"))
        if (entry.path().filename() == "log") {
            const std::string log = slurp(entry.path());
            const std::regex line("node=(node-[0-9]) run=([0-9a-f]{8}) `train` not implemented");
            for (std::sregex_iterator at(log.begin(), log.end(), line), end; at != end; ++at)
                handled[(*at)[2]].insert((*at)[1]);
        }
    for (const Json& one : said["runs"]) {
        CHECK(one["status"] == "completed");
        CHECK(one["messages"] == 6);
        CHECK(one["replies"] == 6);
        CHECK(one["errors"] == 0);
        const std::string run = one["run_id"].get<std::string>().substr(0, 8);
        CHECK(handled[run].size() == 6);
        const std::string mark = "run=" + run + " ";
        for (int round = 1; round <= 3; ++round)
            CHECK(count_of(finished.err, mark + "Starting server round " + std::to_string(round)) ==
                  1);
        CHECK(count_of(finished.err, mark + "Received replies from node IDs: [") == 3);
        CHECK(count_of(finished.err, mark + "Multi-run example complete!") == 1);
        // the ids it printed are those of the nodes that handled its messages
        std::multiset<std::string> ids;
        const std::regex line(mark + "Received replies from node IDs: \\[([0-9]+), ([0-9]+)\\]");
        for (std::sregex_iterator at(finished.err.begin(), finished.err.end(), line), end;
             at != end; ++at) {
            CHECK((*at)[1] != (*at)[2]);
            ids.insert((*at)[1]);
            ids.insert((*at)[2]);
        }
        CHECK(ids.size() == 6);
        std::map<std::string, std::size_t> per_node, per_id;
        for (const std::string& node : handled[run]) ++per_node[node];
        for (const std::string& id : ids) ++per_id[id];
        std::multiset<std::size_t> nodes, printed;
        for (const auto& [name, n] : per_node) nodes.insert(n);
        for (const auto& [id, n] : per_id) printed.insert(n);
        CHECK(nodes == printed);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("the whole example of docs/apps.md: five nodes find the line that their rows lie on") {
    const TempDir dir;
    const Finished finished =
        run(dir, {"launch", "--local", "5", "--client", app("page_client"), "--server",
                  app("page_server"), "--run-config", "rounds=20", "--json"});
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    CHECK(count_of(finished.err, " metrics step=") == 20);
    std::smatch found;
    REQUIRE(std::regex_search(finished.err, found,
                              std::regex("weights: \\[([0-9.e-]+), ([0-9.e-]+)\\]")));
    CHECK(std::stod(found[1]) == Approx(2).margin(0.05));
    CHECK(std::stod(found[2]) == Approx(1).margin(0.05));
    const Json said = json_of(finished);
    CHECK(said["runs"][0]["messages"] == 200);
    CHECK(said["runs"][0]["errors"] == 0);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("what a handler may do wrong is told to its owner, and no other run notices") {
    const TempDir dir;
    {
        AppBus bus(dir);
        bus.node("node-a", "test_client",
                 {"--node-config", "place=here", "--set", "bus.cancel_grace=10"});
        Process others(dir, bus.server("test_server", {"play=many", "total=2000", "label=quiet"}));
        const Finished trouble = bus.play("trouble");
        INFO(trouble.err);
        CHECK(trouble.exit_code == 0);
        CHECK(trouble.err.find("throws: node-a: handler train.throws: no luck today") !=
              std::string::npos);
        CHECK(trouble.err.find("refuses: 32 node-a: not today") != std::string::npos);
        CHECK(trouble.err.find("no handler for messages of type \"query.nobody\"") !=
              std::string::npos);
        CHECK(trouble.err.find("was ended by signal 11 (Segmentation fault) in handler "
                               "train.crashes") != std::string::npos);
        CHECK(trouble.err.find("all as promised") != std::string::npos);
        const Finished quiet = others.wait();
        INFO(quiet.err);
        CHECK(quiet.exit_code == 0);
        CHECK(quiet.err.find("2000 replies, all of this run") != std::string::npos);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a node at its limit handles no more messages at a time, says so, and goes on") {
    const TempDir dir;
    {
        AppBus bus(dir);
        Process& node = bus.node("node-a", "test_client", {"--set", "bus.workers=1"});
        Process holds(dir, bus.server("test_server", {"play=holds"}));
        CHECK(await(node, [&] { return below(node.pid()).size() == at_work; }));
        const Finished late = bus.play("late");  // its time to live ends in the queue
        INFO(late.err);
        CHECK(late.exit_code == 0);
        CHECK(late.err.find("late: 37") != std::string::npos);
        Process waits(dir, bus.server("test_server", {"play=many", "total=3"}));
        REQUIRE(node.await_output("waits at node-a, where 1 handlers of apps are at work", true));
        CHECK_FALSE(waits.reap());
        holds.signal(SIGTERM);
        CHECK(holds.wait().exit_code == 130);
        CHECK(waits.wait().exit_code == 0);
        CHECK(node.err().find("goes on at node-a") != std::string::npos);
        // who crashes, hangs or is killed gives its place back
        CHECK(bus.play("trouble").err.find("all as promised") != std::string::npos);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a handler that says that it gets on is not stalled, and one that does not is") {
    const TempDir dir;
    {
        AppBus bus(dir,
                   {"--set", "bus.progress_stall_after=2", "--set", "bus.heartbeat_interval=0.1"});
        bus.node("node-a", "test_client");
        Process works(dir, bus.server("test_server", {"play=long", "type=query.works"}));
        REQUIRE(works.await_output("asks", true));
        bus.node("node-b", "test_client");  // comes too late for the first
        const Finished silent = bus.play("long", {"nodes=2", "type=train.waits", "node=node-b"});
        INFO(silent.err);
        CHECK(silent.err.find("node-b is busy and has made no progress for") != std::string::npos);
        const Finished worked = works.wait();
        INFO(worked.err);
        CHECK(worked.err.find("came back") != std::string::npos);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("what main logs of its metrics is shown over time") {
    const TempDir dir;
    {
        AppBus bus(dir);
        Words words = bus.server("test_server", {"play=metrics"});
        words.insert(words.end(), {"--run-id", run_id});
        Process server(dir, words);
        REQUIRE(server.await_output("logged", true));
        const Json shown =
            json_of(run(dir, {"run", "show", run_id, "--json", "--broker", bus.address}));
        REQUIRE(shown["metrics"].size() == 300);
        CHECK(shown["metrics"][0]["step"] == 1);
        CHECK(shown["metrics"][3]["loss"] == 0.25);
        CHECK(shown["metrics"][3]["metrics"]["loss"] == 0.25);
        CHECK(shown["metrics"][299]["metrics"]["accuracy"] == 0.5);
        server.signal(SIGINT);
        const Finished finished = server.wait();
        CHECK(finished.exit_code == 130);
        CHECK(finished.err.find("metrics step=4 accuracy=0.5 loss=0.25") != std::string::npos);
        const fs::path kept = dir.path() / "runs" / run_id / ("serverapp-" + run_id.substr(0, 8));
        CHECK(slurp(kept / "log").find("metrics step=4 accuracy=0.5 loss=0.25") !=
              std::string::npos);
        // also when the process that drove the run is gone
        const Finished after = run(dir, {"run", "show", run_id, "--broker", bus.address});
        INFO(after.out << after.err);
        CHECK(after.exit_code == 0);
        CHECK(after.out.find("accuracy") != std::string::npos);
        CHECK(after.err.find("its metrics are from ") != std::string::npos);
        const Json said =
            json_of(run(dir, {"run", "show", run_id, "--json", "--broker", bus.address}));
        CHECK(said["owner_answers"] == false);
        CHECK(said["metrics"] == shown["metrics"]);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("many messages, callbacks, and messages that are refused") {
    const TempDir dir;
    {
        AppBus bus(dir);
        for (const std::string name : {"node-a", "node-b", "node-c"}) bus.node(name, "test_client");
        Process first(dir, bus.server("test_server", {"nodes=3", "label=first"}));
        Process second(dir, bus.server("test_server", {"nodes=3", "label=second"}));
        for (Process* each : {&first, &second}) {
            const Finished finished = each->wait();
            INFO(finished.err);
            CHECK(finished.exit_code == 0);
            CHECK(finished.err.find("300 replies, all of this run") != std::string::npos);
            const Json said = json_of(finished);
            CHECK(said["replies"] == 300);
        }
        CHECK(bus.play("callback").err.find("called back") != std::string::npos);
        CHECK(bus.play("refused").err.find("refused what it should") != std::string::npos);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("main that throws, crashes or hangs ends its run by name, and nodes are free") {
    const TempDir dir;
    {
        AppBus bus(dir);
        Process& node = bus.node("node-a", "test_client", {"--set", "bus.cancel_grace=10"});
        const Finished thrown = bus.play("throws");
        CHECK(thrown.exit_code == 5);
        CHECK(json_of(thrown)["status"] == "failed");
        CHECK(json_of(thrown)["error"] == "handler_failed");
        CHECK(json_of(thrown)["reason"].get<std::string>().find("main has had enough") !=
              std::string::npos);
        const Finished crashed = bus.play("crashes");
        CHECK(crashed.exit_code == 5);
        CHECK(json_of(crashed)["reason"].get<std::string>().find("signal 6") != std::string::npos);

        // stopped while main hangs, and while a handler is at work for it
        Process hangs(dir, bus.server("test_server", {"play=hangs"}));
        REQUIRE(hangs.await_output("hangs", true));
        hangs.signal(SIGINT);
        const Finished hung = hangs.wait();
        CHECK(hung.exit_code == 130);
        CHECK(json_of(hung)["status"] == "stopped");
        Process holds(dir, bus.server("test_server", {"play=holds"}));
        CHECK(await(holds, [&] { return below(node.pid()).size() == at_work; }));
        holds.signal(SIGTERM);
        CHECK(holds.wait().exit_code == 130);
        REQUIRE(node.await_output("told to stop", true));
        CHECK(await(node, [&] { return below(node.pid()).size() == idle; }));

        // its owner is killed: nobody has told the node
        Process killed(dir, bus.server("test_server", {"play=holds"}));
        CHECK(await(killed, [&] { return below(node.pid()).size() == at_work; }));
        const auto family = below(killed.pid());
        CHECK(family.size() == 2);
        killed.signal(SIGKILL);
        killed.wait();
        CHECK(await(node, [&] { return gone(family) && below(node.pid()).size() == idle; }));
        CHECK(bus.play("many").exit_code == 0);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a node that goes away in a handler, and one that comes later") {
    const TempDir dir;
    {
        AppBus bus(dir);
        Process early(dir, bus.server("test_server", {"play=gone"}));
        Process& node = bus.node("node-a", "test_client");  // after the run has begun
        CHECK(await(node, [&] { return below(node.pid()).size() == at_work; }));
        const auto family = below(node.pid());
        SECTION("in order") {
            node.signal(SIGTERM);
        }
        SECTION("killed, and started again") {
            node.signal(SIGKILL);
            node.wait();
            bus.node("node-a", "test_client");
        }
        const Finished finished = early.wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
        CHECK(finished.err.find("gone: 1") != std::string::npos);  // 17 or 18
        CHECK(soon_gone(family));
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("files that are no app, of another version or of the other kind are refused") {
    const TempDir dir;
    const auto refused = [&](const Words& more, const std::string& why) {
        Words words{"actor", "--broker", "ipc://" + (dir / "nobody")};
        words.insert(words.end(), more.begin(), more.end());
        const Finished finished = run(dir, words);
        INFO(finished.err);
        CHECK(finished.exit_code == 2);
        CHECK(finished.err.find(why) != std::string::npos);
        CHECK(count_of(finished.err, "\n") == 1);
    };
    refused({"--role", "member", "--app", app("old_client")},
            "was built for vflbus 0.0.9, this is vflbus 0.1.0");
    refused({"--role", "member", "--app", app("no_app")}, "is no vflbus app");
    refused({"--role", "member", "--app", app("test_server")}, "is a ServerApp");
    refused({"--role", "serverapp", "--app", app("test_client")}, "is a ClientApp");
    refused({"--role", "member", "--app", dir / "none.so"}, "there is no app");
    spit(dir / "text.so", "not a library");
    refused({"--role", "member", "--app", dir / "text.so"}, "is no app that can be loaded");
    refused({"--role", "serverapp"}, "needs --app");
    refused({"--role", "serverapp", "--app", app("test_server"), "--run-config", "x"},
            "must be key=value");
    CHECK(left_behind(dir) == "");
}

TEST_CASE("launch of apps: Ctrl-C, failures and what they leave") {
    const TempDir dir;
    SECTION("stopped") {
        Process launch(dir, {"launch", "--local", "2", "--client", app("test_client"), "--server",
                             app("test_server"), "--server", app("test_server"), "--run-config",
                             "play=waits", "--json"});
        REQUIRE(launch.await_output("waits to be stopped", true));
        launch.signal(SIGINT);
        const Finished finished = launch.wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 130);
        CHECK(json_of(finished)["status"] == "stopped");
    }
    SECTION("one of them fails") {
        const Finished finished =
            run(dir, {"launch", "--local", "1", "--client", app("test_client"), "--server",
                      app("test_server"), "--run-config", "play=throws"});
        INFO(finished.err);
        CHECK(finished.exit_code == 5);
        CHECK(finished.err.find("main has had enough") != std::string::npos);
        CHECK(finished.out.find("failed") != std::string::npos);
    }
    SECTION("killed") {
        Process launch(dir, {"launch", "--local", "2", "--client", app("test_client"), "--server",
                             app("test_server"), "--run-config", "play=holds"});
        // broker, two nodes, one of them at work, server with helper and main
        CHECK(await(launch, [&] { return below(launch.pid()).size() >= 6 + idle + at_work; }));
        const auto family = below(launch.pid());
        launch.signal(SIGKILL);
        launch.wait();
        CHECK(soon_gone(family));
        return;  // the socket's directory is nobody's to remove
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a member of trainings serves apps as well") {
    const TempDir dir;
    make_example(dir);
    {
        AppBus bus(dir);
        for (const std::string rank : {"0", "1"}) {
            bus.nodes.push_back(std::make_unique<Process>(
                dir, Words{"actor", "--role", "member", "--rank", rank, "--config", "run.toml",
                           "--app", app("test_client"), "--broker", bus.address}));
            REQUIRE(bus.nodes.back()->await_output("serves runs", true));
        }
        Process apps_run(dir, bus.server("test_server", {"nodes=2", "total=500"}));
        const Finished training = run(dir, {"actor", "--role", "master", "--config", "run.toml",
                                            "--broker", bus.address, "--json"});
        INFO(training.err);
        CHECK(training.exit_code == 0);
        const Finished finished = apps_run.wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
        CHECK(finished.err.find("1000 replies, all of this run") != std::string::npos);
    }
    CHECK(left_behind(dir) == "");
}
