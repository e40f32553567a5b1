// What is told about runs and nodes, stopping them from elsewhere, and runs that are handed to a
// master: vflbus runs, nodes, run show, stop, logs, submit.

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "support.hpp"

using namespace proc;
using nlohmann::json;

namespace {

/// A broker with a state directory, and two members that stay.
class Bus {
  public:
    explicit Bus(const TempDir& dir, Words member_flags = {}) : dir_(dir) {
        make_example(dir);
        // members take over what the owner of a run says
        const std::string all = slurp(dir / "run.toml");
        spit(dir / "members.toml", all.substr(all.find("[bus]")));
        start_broker("tcp://127.0.0.1:0");
        address = first_endpoint(*broker);
        for (const char* rank : {"0", "1"}) {
            Words words{"actor",    "--role", "member",   "--rank",      rank,
                        "--broker", address,  "--config", "members.toml"};
            words.insert(words.end(), member_flags.begin(), member_flags.end());
            members.push_back(std::make_unique<Process>(dir, words));
        }
    }
    void start_broker(const std::string& bind) {
        broker = std::make_unique<Process>(
            dir_, Words{"broker", "--bind", bind, "--state-dir", dir_ / "broker-state"});
        first_endpoint(*broker);
    }
    Words master(const std::string& id, Words more = {}) const {
        Words words{"actor",    "--role",   "master",   "--broker", address,
                    "--config", "run.toml", "--run-id", id};
        words.insert(words.end(), more.begin(), more.end());
        return words;
    }
    Words ask(Words words) const {
        words.insert(words.end(), {"--broker", address});
        return words;
    }
    json asked(Words words) const {
        words.emplace_back("--json");
        const Finished finished = run(dir_, ask(words));
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
        return json::parse(finished.out, nullptr, false);
    }
    json row(const std::string& id) const {
        const json all = asked({"runs"});
        for (const json& row : all["runs"])
            if (row["run_id"] == id) return row;
        return {};
    }
    /// The run has this status before patience ends.
    bool await_status(const std::string& id, const std::string& status) {
        return await(*broker, [&] {
            const json now = row(id);
            return now.is_object() && now["status"] == status;
        });
    }

    /// What is left of its models when its name is taken out.
    std::map<std::string, std::string> models_of(const std::string& id) const {
        auto found = models(fs::path(dir_ / "runs") / id);
        for (auto& [party, text] : found) text = replaced(text, id, "RUN");
        return found;
    }

    std::string address;
    std::unique_ptr<Process> broker;
    std::vector<std::unique_ptr<Process>> members;

  private:
    const TempDir& dir_;
};

const Words endless{"--set", "model.epochs=1000000",
                    "--set", "model.report_train_metrics_iteration=50",
                    "--set", "data.id_salt=secret"};
const std::string other_id = "00112233000000000000000000000000";

}  // namespace

TEST_CASE("no broker: said in a sentence", "[runs]") {
    const TempDir dir;
    for (const Words& words : {Words{"runs"}, Words{"nodes"}, Words{"run", "show", "00"},
                               Words{"run", "stop", "00"}, Words{"run", "logs", "00"}}) {
        Words all = words;
        all.insert(all.end(), {"--broker", "ipc://" + dir / "nowhere"});
        const Finished finished = run(dir, all);
        INFO(finished.err);
        CHECK(finished.exit_code == 4);
        CHECK(finished.err.find("no broker answers at ipc://") != std::string::npos);
        CHECK(std::count(finished.err.begin(), finished.err.end(), '\n') == 1);
    }
}

TEST_CASE("a run is seen, followed and stopped from elsewhere", "[runs]") {
    const TempDir dir;
    Bus bus(dir, {"--set", "output.share_log=all"});
    CHECK(bus.asked({"runs"})["runs"].empty());
    Process master(dir, bus.master(run_id, endless));
    INFO(master.err());
    REQUIRE(bus.await_status(run_id, "running"));

    json nodes;
    REQUIRE(await(*bus.broker, [&] {
        nodes = bus.asked({"nodes"})["nodes"];
        return nodes.size() == 3;
    }));
    CHECK(nodes[0]["name"] == "master");
    CHECK(nodes[1]["name"] == "member-0");
    CHECK(nodes[1]["status"] == "up");
    CHECK(nodes[1]["rank"] == 0);

    json shown;
    REQUIRE(await(master, [&] {
        shown = bus.asked({"run", "show", "0011"});
        // sizes are those of a second ago
        return shown["metrics"].size() >= 2 && shown["run"]["messages"] > 10;
    }));
    CHECK(shown["run"]["owner"] == "master");
    CHECK(shown["run"]["participants"] == json({"member-0", "member-1"}));
    CHECK(shown["progress"]["phase"] == "training");
    CHECK(shown["metrics"][0]["step"] == 50);
    CHECK(shown["metrics"][0]["metrics"].contains("auc"));
    const auto configuration = shown["configuration"].get<std::string>();
    CHECK(configuration.find("model.epochs = 1000000") != std::string::npos);
    CHECK(configuration.find("secret") == std::string::npos);

    const json logs = bus.asked({"run", "logs", run_id});
    CHECK(logs["missing"].empty());
    std::vector<std::string> parties;
    std::string last;
    for (const json& line : logs["lines"]) {
        parties.push_back(line["party"]);
        const std::string time = line["line"].get<std::string>().substr(0, 24);
        CHECK(last <= time);
        last = time;
    }
    for (const char* party : {"master", "member-0", "member-1"})
        CHECK(std::count(parties.begin(), parties.end(), party) > 0);

    // a table for people, too
    const Finished table = run(dir, bus.ask({"runs"}));
    CHECK(table.out.find("00112233") != std::string::npos);
    CHECK(table.out.find("running") != std::string::npos);
    CHECK(run(dir, bus.ask({"run", "show", "00"})).out.find("STEP") != std::string::npos);

    Process follower(dir, bus.ask({"run", "logs", "--follow", run_id}));
    REQUIRE(follower.await_output("member-1"));
    const json stopped = bus.asked({"run", "stop", "001122"});
    CHECK(stopped["run"]["status"] == "stopped");
    CHECK(follower.wait().exit_code == 0);
    const Finished finished = master.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 130);
    const Finished again = run(dir, bus.ask({"run", "stop", run_id}));
    CHECK(again.exit_code != 0);
    CHECK(again.err.find("over already: stopped") != std::string::npos);
    CHECK(bus.asked({"runs", "--status", "stopped"})["runs"].size() == 1);
    CHECK(bus.asked({"runs", "--status", "running"})["runs"].empty());

    // what the broker has noted outlives it
    bus.broker->signal(15);
    CHECK(bus.broker->wait().exit_code == 0);
    bus.start_broker(bus.address);
    CHECK(bus.row(run_id)["status"] == "stopped");
    CHECK(run(dir, bus.ask({"run", "show", "77"})).err.find("knows no run 77") !=
          std::string::npos);
}

TEST_CASE("a member keeps its lines to itself unless it is told otherwise", "[runs]") {
    const TempDir dir;
    Bus bus(dir);
    REQUIRE(run(dir, bus.master(run_id)).exit_code == 0);
    REQUIRE(run(dir, bus.master(other_id)).exit_code == 0);
    REQUIRE(bus.await_status(other_id, "completed"));
    // its owner is gone and its members refuse
    const Finished logs = run(dir, bus.ask({"run", "logs", other_id}));
    INFO(logs.err);
    CHECK(logs.exit_code == 5);
    CHECK(logs.err.find("member-0 keeps its log lines to itself (output.share_log)") !=
          std::string::npos);
    // digits that two runs have
    const Finished show = run(dir, bus.ask({"run", "show", "001122"}));
    CHECK(show.exit_code == 2);
    CHECK(show.err.find(run_id) != std::string::npos);
    CHECK(show.err.find(other_id) != std::string::npos);
    CHECK(bus.asked({"runs", "--limit", "1"})["runs"].size() == 1);
    CHECK(run(dir, bus.ask({"runs", "--status", "dead"})).exit_code == 2);
}

TEST_CASE("a broken registry is named, and the broker does not start", "[runs]") {
    const TempDir dir;
    fs::create_directories(dir / "state");
    spit(dir / "state/registry.db", std::string(4096, 'x'));
    const Finished finished =
        run(dir, {"broker", "--bind", "tcp://127.0.0.1:0", "--state-dir", dir / "state"});
    INFO(finished.err);
    CHECK(finished.exit_code == 3);
    CHECK(finished.err.find("registry.db") != std::string::npos);
    CHECK(std::count(finished.err.begin(), finished.err.end(), '\n') == 1);
}

TEST_CASE("runs are submitted to a master that waits, one by one or some at once", "[submit]") {
    const TempDir dir;
    Bus bus(dir);
    const Finished nobody = run(dir, bus.ask({"run", "submit", "--config", "run.toml"}));
    CHECK(nobody.exit_code == 4);
    CHECK(nobody.err.find("--serve") != std::string::npos);
    Process master(dir, bus.ask({"actor", "--role", "master", "--serve", "--config", "run.toml",
                                 "--set", "bus.submitted_at_once=1"}));
    REQUIRE(await(master, [&] {
        const json nodes = bus.asked({"nodes"})["nodes"];
        return nodes.size() == 3 && nodes[0]["features"] == json({"serve"});
    }));

    // the submitter needs the agreed half only
    std::string agreed = slurp(dir / "run.toml");
    agreed = agreed.substr(0, agreed.find("[party"));
    spit(dir / "agreed.toml", agreed);
    const Words submit{"run", "submit", "--config", "agreed.toml"};
    Words with = submit;
    with.insert(with.end(), {"--wait", "--json"});
    const Finished first = run(dir, bus.ask(with));
    INFO(first.err);
    REQUIRE(first.exit_code == 0);
    const json done = json::parse(first.out);
    CHECK(done["run"]["status"] == "completed");
    const std::string id = done["run"]["run_id"];
    CHECK(done["run"]["owner"] == "master-" + id.substr(0, 8));

    // the same model as that of a master of its own
    const Finished alone = run(dir, bus.master(run_id, {"--name", "master-alone"}));
    INFO(alone.err);
    REQUIRE(alone.exit_code == 0);
    const auto expected = bus.models_of(run_id);
    CHECK(expected.size() == 3);
    CHECK(bus.models_of(id) == expected);

    // one goes, the next waits; both are stopped
    Words long_one = submit;
    long_one.insert(long_one.end(), {"--set", "model.epochs=1000000"});
    const std::string one = run(dir, bus.ask(long_one)).out.substr(0, 32);
    REQUIRE(bus.await_status(one, "running"));
    const std::string two = run(dir, bus.ask(long_one)).out.substr(0, 32);
    CHECK(bus.row(two)["status"] == "pending");
    CHECK(bus.asked({"run", "stop", two})["run"]["status"] == "stopped");
    CHECK(bus.asked({"run", "stop", one})["run"]["status"] == "stopped");

    // what cannot be trained is refused, or fails, in a sentence
    Words failing = submit;
    failing.insert(failing.end(), {"--set", "data.test_fraction=0.5", "--wait"});
    const Finished failed = run(dir, bus.ask(failing));
    INFO(failed.err << failed.out);
    CHECK(failed.exit_code != 0);
    CHECK((failed.out + failed.err).find("test") != std::string::npos);

    master.signal(15);
    CHECK(master.wait().exit_code == 0);
}

TEST_CASE("trainings at once on the same members give the models that they give alone",
          "[many_runs]") {
    const TempDir dir;
    Bus bus(dir);
    const int count = 4;
    const auto flags = [&](int i) {
        return Words{"--set", "run.seed=" + std::to_string(100 + i), "--set",
                     "model.learning_rate=0." + std::to_string(i + 1), "--quiet"};
    };
    const auto id = [](const std::string& kind, int i) {
        return kind + std::string(28, '0') + std::to_string(100 + i).substr(1) + "0";
    };
    const auto files = [&](int i) { return Words{"--name", "master-" + std::to_string(i)}; };
    std::vector<std::map<std::string, std::string>> alone;
    for (int i = 0; i < count; ++i) {
        Words words = bus.master(id("a", i), flags(i));
        for (const std::string& word : files(i)) words.push_back(word);
        const Finished finished = run(dir, words);
        INFO(finished.err);
        REQUIRE(finished.exit_code == 0);
        alone.push_back(bus.models_of(id("a", i)));
        CHECK(alone.back().size() == 3);
    }
    CHECK(alone[0] != alone[1]);
    std::vector<std::unique_ptr<Process>> masters;
    for (int i = 0; i < count; ++i) {
        Words words = bus.master(id("b", i), flags(i));
        for (const std::string& word : files(i)) words.push_back(word);
        masters.push_back(std::make_unique<Process>(dir, words));
    }
    for (int i = 0; i < count; ++i) {
        const Finished finished = masters[static_cast<std::size_t>(i)]->wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
        CHECK(bus.models_of(id("b", i)) == alone[static_cast<std::size_t>(i)]);
    }
}
