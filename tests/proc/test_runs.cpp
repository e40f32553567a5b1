// What is told about runs and nodes, stopping them from elsewhere, and runs that are handed to a
// master: vflbus runs, nodes, run show, stop, logs, submit.

#include <algorithm>
#include <csignal>
#include <memory>
#include <thread>

#include "base/json.hpp"
#include "catch.hpp"
#include "parties.hpp"
#include "support.hpp"

using namespace proc;

namespace {

/// A broker with a state directory, and two members that stay.
class Bus {
  public:
    explicit Bus(const TempDir& dir, const Words& member_flags = {}, Words broker_flags = {})
        : dir_(dir), broker_flags_(std::move(broker_flags)) {
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
            dir_,
            with({"broker", "--bind", bind, "--state-dir", dir_ / "broker-state"}, broker_flags_));
        first_endpoint(*broker);
    }
    Words master(const std::string& id, Words more = {}) const {
        Words words{"actor",    "--role",   "master",   "--broker", address,
                    "--config", "run.toml", "--run-id", id};
        words.insert(words.end(), more.begin(), more.end());
        return words;
    }
    /// A master that waits for submissions, with these trainings' limits.
    std::unique_ptr<Process> serve(const Words& more = {}) const {
        const Words words{"actor", "--role",   "master",   "--serve", "--broker",
                          address, "--config", "run.toml", "--set",   "bus.submitted_at_once=1"};
        auto master = std::make_unique<Process>(dir_, with(words, more));
        CHECK(await(*master, [&] {
            const Json nodes = asked({"nodes"})["nodes"];
            return std::any_of(nodes.begin(), nodes.end(), [](const Json& node) {
                return node["name"] == "master" && node["status"] == "up" &&
                       node["features"] == Json({"serve"});
            });
        }));
        return master;
    }
    /// The id of a run that is handed over.
    std::string submit(Words words) const {
        words = with({"run", "submit", "--config", "run.toml"}, words);
        return run(dir_, ask(words)).out.substr(0, 32);
    }
    /// Somebody who waits for the end of the run that is submitted so.
    std::unique_ptr<Process> submit_and_wait(Words words) const {
        words = with({"run", "submit", "--config", "run.toml", "--wait", "--json"}, words);
        auto waiting = std::make_unique<Process>(dir_, ask(words));
        CHECK(waiting->await_output("submitted to master as run ", true));
        return waiting;
    }
    static std::string id_of(const Process& waiting) {
        const std::string text = waiting.err();
        const std::string mark = "submitted to master as run ";
        return text.substr(text.find(mark) + mark.size(), 32);
    }
    Words ask(Words words) const {
        words.insert(words.end(), {"--broker", address});
        return words;
    }
    Json asked(Words words) const {
        words.emplace_back("--json");
        const Finished finished = ask_bus(dir_, ask(words));
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
        return Json::parse(finished.out);
    }
    Json row(const std::string& id) const {
        const Json all = asked({"runs"});
        for (const Json& row : all["runs"])
            if (row["run_id"] == id) return row;
        return {};
    }
    /// The run has this status before patience ends.
    bool await_status(const std::string& id, const std::string& status) {
        return await(*broker, [&] {
            const Json now = row(id);
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
    Words broker_flags_;
};

const Words endless_run{"--set", "model.epochs=1000000",
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
    Process master(dir, bus.master(run_id, endless_run));
    INFO(master.err());
    REQUIRE(bus.await_status(run_id, "running"));

    Json nodes;
    REQUIRE(await(*bus.broker, [&] {
        nodes = bus.asked({"nodes"})["nodes"];
        return nodes.size() == 3;
    }));
    CHECK(nodes[0]["name"] == "master");
    CHECK(nodes[1]["name"] == "member-0");
    CHECK(nodes[1]["status"] == "up");
    CHECK(nodes[1]["rank"] == 0);

    Json shown;
    REQUIRE(await(master, [&] {
        shown = bus.asked({"run", "show", "0011"});
        // sizes are those of a second ago
        return shown["metrics"].size() >= 2 && shown["run"]["messages"] > 10;
    }));
    CHECK(shown["run"]["owner"] == "master");
    CHECK(shown["run"]["participants"] == Json({"member-0", "member-1"}));
    CHECK(shown["progress"]["phase"] == "training");
    CHECK(shown["metrics"][0]["step"] == 50);
    CHECK(shown["metrics"][0]["metrics"].contains("auc"));
    const auto configuration = shown["configuration"].get<std::string>();
    CHECK(configuration.find("model.epochs = 1000000") != std::string::npos);
    CHECK(configuration.find("secret") == std::string::npos);

    const Json logs = bus.asked({"run", "logs", run_id});
    CHECK(logs["missing"].empty());
    std::vector<std::string> parties;
    std::string last;
    for (const Json& line : logs["lines"]) {
        parties.push_back(line["party"].get<std::string>());
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
    const Json stopped = bus.asked({"run", "stop", "001122"});
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

TEST_CASE("to be told twice to stop is no hurry", "[runs]") {
    const TempDir dir;
    Bus bus(dir);
    Process master(dir, bus.master(run_id, endless_run));
    REQUIRE(bus.await_status(run_id, "running"));
    REQUIRE(commits_beyond(master, fs::path(dir / "runs") / run_id, 0));
    master.signal(SIGSTOP);  // it hears of both at once
    Process first(dir, bus.ask({"run", "stop", run_id}));
    Process second(dir, bus.ask({"run", "stop", run_id}));
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    master.signal(SIGCONT);
    const Finished finished = master.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 130);
    CHECK(finished.err.find("at once") == std::string::npos);
    CHECK(finished.err.find("--resume " + run_id) != std::string::npos);
    first.wait();
    second.wait();
}

TEST_CASE("who follows a run hears when nothing is told of it any more", "[runs]") {
    const TempDir dir;
    Bus bus(dir, {"--set", "output.share_log=all"});
    Process master(dir, bus.master(run_id, endless_run));
    REQUIRE(bus.await_status(run_id, "running"));
    Process follower(dir, bus.ask(with({"run", "logs", "--follow", run_id}, impatient)));
    INFO(follower.err());
    REQUIRE(follower.await_output("member-1"));
    bus.broker->signal(SIGKILL);
    bus.broker->wait();
    const Finished finished = follower.wait();
    INFO(finished.err);
    CHECK(finished.exit_code == 4);
    CHECK(finished.err.find("the broker at " + bus.address + " has told nothing of run 00112233") !=
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
        const Json nodes = bus.asked({"nodes"})["nodes"];
        return nodes.size() == 3 && nodes[0]["features"] == Json({"serve"});
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
    const Json done = Json::parse(first.out);
    CHECK(done["run"]["status"] == "completed");
    const std::string id = done["run"]["run_id"].get<std::string>();
    CHECK(done["run"]["owner"] == "master-" + id.substr(0, 8));

    // the same model as that of a master of its own
    const Finished alone = run(dir, bus.master(run_id, {"--name", "master-alone"}));
    INFO(alone.err);
    REQUIRE(alone.exit_code == 0);
    const auto expected = bus.models_of(run_id);
    CHECK(expected.size() == 3);
    CHECK(bus.models_of(id) == expected);

    // who follows sees how far it is, then what came of it, and is told how to see it again
    Words followed = submit;
    followed.insert(followed.end(), {"--follow", "--set", "model.epochs=1000"});
    const Finished shown = run(dir, bus.ask(followed));
    INFO(shown.err << shown.out);
    REQUIRE(shown.exit_code == 0);
    CHECK(shown.out.find("is completed") != std::string::npos);
    CHECK(shown.out.find("auc") != std::string::npos);
    const std::size_t again = shown.out.find(" run show ");
    REQUIRE(again != std::string::npos);
    const std::string digits = shown.out.substr(again + 10, 8);
    CHECK(run(dir, bus.ask({"run", "show", digits})).out.find("auc") != std::string::npos);

    // one goes, the next waits; both are stopped
    Words long_one = submit;
    long_one.insert(long_one.end(), {"--set", "model.epochs=1000000"});
    const std::string one = run(dir, bus.ask(long_one)).out.substr(0, 32);
    REQUIRE(bus.await_status(one, "running"));
    const std::string two = run(dir, bus.ask(long_one)).out.substr(0, 32);
    CHECK(bus.row(two)["status"] == "pending");
    CHECK(bus.asked({"run", "stop", two})["run"]["status"] == "stopped");
    const std::string command =
        "`vflbus actor --role master --name master-" + one.substr(0, 8) + " --resume " + one;
    const Finished stopped = run(dir, bus.ask({"run", "stop", one}));
    INFO(stopped.err << stopped.out);
    CHECK(stopped.exit_code == 0);
    CHECK(stopped.out.starts_with("run " + one.substr(0, 8) + " is stopped"));
    CHECK(stopped.err.find("where master runs, " + command + "` goes on with it") !=
          std::string::npos);
    // which it does when it is pasted there, and then says how many steps there are in all
    {
        Process resumed(dir, {"actor", "--role", "master", "--name", "master-" + one.substr(0, 8),
                              "--resume", one});
        REQUIRE(bus.await_status(one, "running"));
        CHECK(bus.asked({"run", "stop", one})["run"]["status"] == "stopped");
        const Finished ended = resumed.wait();
        INFO(ended.err);
        CHECK(ended.exit_code == 130);
        const Json local = Json::parse(run(dir, {"run", "show", one, "--local", "--json"}).out);
        const auto steps = local["progress"]["steps"].get<std::uint64_t>();
        CHECK(local["progress"]["step"].get<std::uint64_t>() < steps);
        CHECK(run(dir, {"run", "show", one, "--local"}).out.find(" of " + std::to_string(steps)) !=
              std::string::npos);
    }
    // its own words say how to go on, under the name that owns it
    const fs::path output = fs::path(dir / "runs") / one / "master" / "output";
    CHECK(await(master, [&] { return slurp(output).find(command) != std::string::npos; }));

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

TEST_CASE("a master that waits predicts with what it has trained, when it is asked", "[predict]") {
    const TempDir dir;
    Bus bus(dir);
    const auto master = bus.serve();
    const auto trained = bus.submit_and_wait({});
    const std::string model = Bus::id_of(*trained);
    REQUIRE(trained->wait().exit_code == 0);

    const Finished asked =
        run(dir, bus.ask({"run", "predict", model.substr(0, 8), "--wait", "--json"}));
    INFO(asked.err << asked.out);
    REQUIRE(asked.exit_code == 0);
    const Json done = Json::parse(asked.out);
    CHECK(done["run"]["status"] == "completed");
    const std::string id = done["run"]["run_id"].get<std::string>();
    CHECK(done["run"]["owner"] == "master-" + id.substr(0, 8));
    const std::string predictions = slurp(dir / ("runs/" + id + "/predictions.csv"));

    // those of a master on its own
    const Finished alone =
        run(dir, bus.ask({"predict", "--model", model, "--config", "run.toml", "--out", "own.csv",
                          "--name", "master-00000a10", "--state-dir", "alone"}));
    INFO(alone.err);
    REQUIRE(alone.exit_code == 0);
    CHECK(std::count(predictions.begin(), predictions.end(), '\n') > 100);
    CHECK(predictions == slurp(dir / "own.csv"));

    // the same request once more is the same run, and other models are not here
    const Words token{"run", "predict", model, "--token", "tonight"};
    const std::string first = run(dir, bus.ask(token)).out.substr(0, 32);
    REQUIRE(bus.await_status(first, "completed"));
    CHECK(run(dir, bus.ask(token)).out.substr(0, 32) == first);
    const Finished unknown = run(dir, bus.ask({"run", "predict", "ffff0000"}));
    CHECK(unknown.exit_code != 0);
    CHECK(unknown.err.find("does not take the run") != std::string::npos);
    const Finished path = run(dir, bus.ask({"run", "predict", "runs/" + model}));
    CHECK(path.exit_code == 2);
}

TEST_CASE("a submitted run whose process is killed goes on to the same model", "[serve]") {
    const TempDir dir;
    Bus bus(dir);
    const Words limits{"--set", "bus.commit_steps=150", "--set", "bus.commit_interval=0"};
    const Words epochs{"--set", "model.epochs=400"};
    REQUIRE(run(dir, bus.master(run_id, with(limits, epochs))).exit_code == 0);
    const auto expected = bus.models_of(run_id);

    auto master = bus.serve(limits);
    const auto waiting = bus.submit_and_wait(epochs);
    const std::string id = Bus::id_of(*waiting);
    const fs::path files = fs::path(dir / "runs") / id;
    std::uint64_t step = 0;
    for (int i = 0; i < 2; ++i) {
        REQUIRE(commits_beyond(*master, files, step));
        pid_t child = 0;  // (the one before may have stored that commit while it was killed)
        REQUIRE(await(*master, [&] { return (child = child_of(*master, "master")) > 0; }));
        ::kill(child, SIGKILL);
        step = record(files).step;
    }
    const Finished finished = waiting->wait();
    INFO(finished.err << master->err());
    CHECK(finished.exit_code == 0);
    CHECK(Json::parse(finished.out)["run"]["status"] == "completed");
    CHECK(Json::parse(finished.out)["run"]["term"] == 3);
    CHECK(master->err().find("(Killed) and is started again (1 of at most 3 times") !=
          std::string::npos);
    CHECK(bus.models_of(id) == expected);

    // its process is gone, and the master that it was submitted to tells of it
    Json shown;  // (that may still be there for a moment, and leave without an answer)
    CHECK(await(*master, [&] {
        shown = bus.asked({"run", "show", id});
        return shown["owner_answers"] == true && shown["progress"]["phase"] == "completed";
    }));
    CHECK(shown["metrics"].size() > 10);
    CHECK(shown["metrics"][shown["metrics"].size() - 1]["metrics"].contains("auc"));
    CHECK(shown["configuration"].get<std::string>().find("model.epochs = 400") !=
          std::string::npos);
    const Json logs = bus.asked({"run", "logs", id});
    CHECK(logs["lines"].size() > 3);
    master->signal(SIGTERM);
    CHECK(master->wait().exit_code == 0);
    for (const auto& entry : fs::recursive_directory_iterator(files))
        CHECK(entry.path().filename().string().find(".tmp-") == std::string::npos);

    // who is where it ran, or is not, without that master
    const Json here = bus.asked({"run", "show", id});
    CHECK(here["owner_answers"] == false);
    CHECK(here["owner_sentence"].get<std::string>().find("/runs/" + id) != std::string::npos);
    CHECK(here["metrics"] == shown["metrics"]);
    const Finished elsewhere =
        run(dir, bus.ask({"run", "show", id}), {{"VFLBUS_OUTPUT_RUNS_DIR", dir / "elsewhere"}});
    CHECK(elsewhere.exit_code == 0);
    CHECK(elsewhere.err.find("which drove it, is gone; metrics and configuration are where it "
                             "ran, in runs/" +
                             id + "/report.json") != std::string::npos);
}

TEST_CASE("a submitted run that is killed again and again fails, and says so", "[serve]") {
    const TempDir dir;
    Bus bus(dir);
    auto master = bus.serve({"--set", "bus.restarts_max=1", "--set", "bus.commit_interval=1000"});
    const auto waiting = bus.submit_and_wait(endless_run);
    const std::string id = Bus::id_of(*waiting);
    pid_t last = 0;
    for (int i = 0; i < 2; ++i) {
        pid_t child = 0;
        REQUIRE(await(*master, [&] {
            child = child_of(*master, "master");
            const Json row = bus.row(id);
            return child > 0 && child != last && row["status"] == "running" && row["term"] == i + 1;
        }));
        ::kill(child, SIGKILL);
        last = child;
    }
    const Finished finished = waiting->wait();
    INFO(finished.out << finished.err << master->err());
    CHECK(finished.exit_code == 5);
    const Json row = Json::parse(finished.out)["run"];
    CHECK(row["status"] == "failed");
    CHECK(row["error"] == "too_many_restarts");
    CHECK(row["participants"] == Json({"member-0", "member-1"}));
    const auto reason = row["reason"].get<std::string>();
    CHECK(reason.find("was ended by signal 9 (Killed) after run " + id.substr(0, 8) +
                      " had been started again 1 time without a newer commit") !=
          std::string::npos);
    CHECK(reason.find("--resume " + id) != std::string::npos);
    // nobody was left to write a report, but how far it came is known
    const Json shown = bus.asked({"run", "show", id});
    CHECK(shown["owner_answers"] == true);
    CHECK(shown["progress"]["phase"] == "interrupted");
    CHECK(shown["metrics"].empty());
    CHECK(shown["configuration"].get<std::string>().find("model.epochs = 1000000") !=
          std::string::npos);
    CHECK(shown["configuration"].get<std::string>().find("secret") == std::string::npos);
    // its members are free at once, and the master takes the next one
    CHECK(run(dir, bus.ask({"run", "submit", "--config", "run.toml", "--wait"})).exit_code == 0);
    // (sizes are those of a second ago)
    CHECK(await(*bus.broker, [&] {
        return std::ranges::all_of(bus.asked({"nodes"})["nodes"], [](const Json& node) {
            return node["role"] != "member" || node["runs"] == 0;
        });
    }));
}

TEST_CASE("a serving master that is killed and started again goes on with its queue", "[serve]") {
    const TempDir dir;
    Bus bus(dir);
    const Words limits{"--set", "bus.commit_steps=150", "--set", "bus.commit_interval=0"};
    const Words epochs{"--set", "model.epochs=1200"};  // until the second one waits
    REQUIRE(run(dir, bus.master(run_id, with(limits, epochs))).exit_code == 0);
    auto master = bus.serve(limits);
    const auto first = bus.submit_and_wait(epochs);
    const std::string id = Bus::id_of(*first);
    REQUIRE(commits_beyond(*master, fs::path(dir / "runs") / id, 0));
    const auto second = bus.submit_and_wait({});
    const std::string next = Bus::id_of(*second);
    CHECK(bus.await_status(next, "pending"));
    const pid_t child = child_of(*master, "master");
    REQUIRE(child > 0);
    master->signal(SIGKILL);
    master->wait();
    master = bus.serve(limits);
    CHECK(await(*master, [&] { return ::kill(child, 0) != 0; }));
    for (Process* waiting : {first.get(), second.get()}) {
        const Finished finished = waiting->wait();
        INFO(finished.err << master->err());
        CHECK(finished.exit_code == 0);
    }
    CHECK(bus.row(id)["status"] == "completed");
    CHECK(bus.row(id)["term"] == 2);
    CHECK(bus.row(next)["status"] == "completed");
    CHECK(bus.models_of(id) == bus.models_of(run_id));

    // what was stopped in order is not gone on with
    const std::string running = bus.submit(endless_run);
    REQUIRE(bus.await_status(running, "running"));
    const std::string pending = bus.submit(endless_run);
    master->signal(SIGTERM);
    CHECK(master->wait().exit_code == 0);
    CHECK(bus.row(running)["status"] == "stopped");
    CHECK(bus.row(pending)["status"] == "stopped");
    master = bus.serve(limits);
    CHECK(child_of(*master, "master") == 0);
    CHECK(bus.row(running)["status"] == "stopped");

    // a queue that cannot be read is named, and nothing is lost silently
    master->signal(SIGTERM);
    master->wait();
    spit(dir / "runs/nodes/master/submitted.json", "{\"format\": ");
    const Finished damaged =
        run(dir, bus.ask({"actor", "--role", "master", "--serve", "--config", "run.toml"}));
    CHECK(damaged.exit_code == 3);
    CHECK(damaged.err.find("runs/nodes/master/submitted.json") != std::string::npos);
}

TEST_CASE("a master that finds its name taken keeps its queue, however often it is started",
          "[serve]") {
    const TempDir dir;
    Bus bus(dir);
    const Words limits{"--set", "bus.commit_steps=150", "--set", "bus.commit_interval=0"};
    auto master = bus.serve(limits);
    const auto waiting = bus.submit_and_wait({"--set", "model.epochs=400"});
    REQUIRE(commits_beyond(*master, fs::path(dir / "runs") / Bus::id_of(*waiting), 0));
    master->signal(SIGKILL);
    master->wait();
    {
        // called `master` as well
        Process other(dir, bus.master(other_id, with(endless_run, {"--state-dir", dir / "other"})));
        REQUIRE(bus.await_status(other_id, "running"));
        for (int time = 0; time < 5; ++time) {
            const Finished refused =
                run(dir, bus.ask({"actor", "--role", "master", "--serve", "--config", "run.toml"}));
            INFO(refused.err);
            CHECK(refused.exit_code == 7);
            CHECK(refused.err.find("master") != std::string::npos);
        }
        other.signal(SIGTERM);
        other.wait();
    }
    {
        // nor does one that was stopped before it reached a broker give it up
        Process nowhere(dir, {"actor", "--role", "master", "--serve", "--config", "run.toml",
                              "--broker", "ipc://" + dir / "nobody"});
        REQUIRE(nowhere.await_output("waits for submissions", true));
        nowhere.signal(SIGTERM);
        nowhere.wait();
    }
    master = bus.serve(limits);
    const Finished finished = waiting->wait();
    INFO(finished.err << master->err());
    CHECK(finished.exit_code == 0);
}

TEST_CASE("as many runs wait as the configuration allows", "[serve]") {
    const TempDir dir;
    Bus bus(dir);
    auto master = bus.serve({"--set", "bus.submitted_max=1"});
    const std::string running = bus.submit(endless_run);
    REQUIRE(bus.await_status(running, "running"));
    CHECK(bus.submit(endless_run).size() == 32);  // waits
    const Finished refused = run(dir, bus.ask({"run", "submit", "--config", "run.toml"}));
    INFO(refused.err);
    CHECK(refused.exit_code != 0);
    CHECK(refused.err.find("1 run waits already (bus.submitted_max)") != std::string::npos);
    master->signal(SIGTERM);
    CHECK(master->wait().exit_code == 0);
}

TEST_CASE("a master that is being stopped takes no more runs", "[serve]") {
    const TempDir dir;
    Bus bus(dir);
    auto master = bus.serve();
    const std::string running = bus.submit(endless_run);
    REQUIRE(bus.await_status(running, "running"));
    REQUIRE(commits_beyond(*master, fs::path(dir / "runs") / running, 0));
    bus.members[0]->signal(SIGSTOP);  // so that the stop takes a while
    master->signal(SIGTERM);
    REQUIRE(await(*master, [&] {
        return slurp(dir / "runs/nodes/master/submitted.json").find(running) == std::string::npos;
    }));
    const Finished late = run(dir, bus.ask({"run", "submit", "--config", "run.toml"}));
    bus.members[0]->signal(SIGCONT);
    INFO(late.err);
    CHECK(late.exit_code != 0);
    CHECK(late.err.find("is being stopped; submit it again") != std::string::npos);
    CHECK(master->wait().exit_code == 0);
    CHECK(bus.row(running)["status"] == "stopped");
}

TEST_CASE("what a serving master had taken is over when it does not come back", "[serve]") {
    const TempDir dir;
    Bus bus(dir, {}, impatient);
    auto master = bus.serve();
    const auto first = bus.submit_and_wait(endless_run);
    REQUIRE(bus.await_status(Bus::id_of(*first), "running"));
    const auto second = bus.submit_and_wait(endless_run);
    CHECK(bus.await_status(Bus::id_of(*second), "pending"));
    master->signal(SIGKILL);
    master->wait();
    for (Process* waiting : {first.get(), second.get()}) {
        const Finished finished = waiting->wait();
        INFO(finished.out << finished.err);
        CHECK(finished.exit_code == 5);
        const Json row = Json::parse(finished.out)["run"];
        CHECK(row["status"] == "failed");
        CHECK(row["error"] == "owner_lost");
        CHECK(row["reason"].get<std::string>().find("is gone") != std::string::npos);
    }
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

TEST_CASE("the same token gives the same run, however often it is sent", "[submit]") {
    const TempDir dir;
    Bus bus(dir);
    auto master = bus.serve();
    const Words nightly{"--token", "nightly 7"};
    const std::string first = bus.submit(nightly);
    REQUIRE(first.size() == 32);
    CHECK(bus.submit(nightly) == first);
    const Words another{"run",     "submit",    "--config", "run.toml",
                        "--token", "nightly 7", "--set",    "model.epochs=9"};
    const Finished refused = run(dir, bus.ask(another));
    CHECK(refused.exit_code != 0);
    CHECK(refused.err.find("another configuration") != std::string::npos);
    const Finished waited =
        run(dir, bus.ask(with({"run", "submit", "--config", "run.toml", "--wait"}, nightly)));
    INFO(waited.err);
    CHECK(waited.exit_code == 0);
    // a master that was started again knows it by its files
    master->signal(SIGTERM);
    (void)master->wait();
    master = bus.serve();
    CHECK(bus.submit(nightly) == first);
    CHECK(bus.asked({"runs"})["runs"].size() == 1);
}
