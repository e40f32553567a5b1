// Five shells: broker, master and members started one by one, in any order, by flags or by
// environment variables alone.

#include <algorithm>
#include <memory>

#include "catch.hpp"
#include "support.hpp"

using namespace proc;

namespace {

std::map<std::string, std::string> launched(const TempDir& dir) {
    const Finished finished = run(dir, {"launch", "--threads", "--config", "run.toml", "--run-id",
                                        run_id, "--set", "output.runs_dir=" + dir / "reference"});
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    return models(fs::path(dir / "reference") / run_id);
}

}  // namespace

TEST_CASE("started by hand in any order", "[by_hand]") {
    const TempDir dir;
    make_example(dir);
    const auto reference = launched(dir);
    REQUIRE(reference.size() == 3);
    const std::string address = "ipc://" + dir / "bus";
    const std::map<std::string, Words> commands{
        {"broker", {"broker", "--bind", address}},
        {"master",
         {"actor", "--role", "master", "--broker", address, "--config", "run.toml", "--run-id",
          run_id}},
        {"member-0",
         {"actor", "--role", "member", "--rank", "0", "--broker", address, "--config", "run.toml",
          "--once"}},
        {"member-1",
         {"actor", "--role", "member", "--rank", "1", "--broker", address, "--config", "run.toml",
          "--once"}}};
    const std::vector<Words> orders{{"broker", "member-0", "member-1", "master"},
                                    {"master", "member-1", "broker", "member-0"},
                                    {"member-1", "member-0", "master", "broker"}};
    for (const Words& order : orders) {
        INFO(order[0] << " first, then " << order[1]);
        const std::string runs = dir / ("runs-" + order[0]);
        std::map<std::string, std::unique_ptr<Process>> running;
        for (const std::string& who : order) {
            running[who] = std::make_unique<Process>(dir, commands.at(who),
                                                     Variables{{"VFLBUS_OUTPUT_RUNS_DIR", runs}});
            // each really is there, and waits, before the next one comes
            const bool broker = who == "broker";
            const Process& process = *running[who];
            INFO(process.err());
            REQUIRE(running[who]->await_output(broker ? "ipc://" : "node=" + who, !broker));
        }
        for (const char* const who : {"master", "member-0", "member-1"}) {
            const Finished finished = running[who]->wait();
            INFO(who << ": " << finished.err);
            CHECK(finished.exit_code == 0);
        }
        running["broker"]->signal(15);
        CHECK(running["broker"]->wait().exit_code == 0);
        CHECK(models(fs::path(runs) / run_id) == reference);
        CHECK(left_behind(dir) == "");
        CHECK_FALSE(fs::exists(dir / "bus"));
    }
}

TEST_CASE("by environment variables alone, over tcp", "[by_hand]") {
    const TempDir dir;
    make_example(dir);
    const auto reference = launched(dir);
    Process broker(dir, {"broker", "--bind", "tcp://127.0.0.1:0"});
    const std::string address = first_endpoint(broker);
    REQUIRE(address.substr(0, 16) == "tcp://127.0.0.1:");
    const std::string runs = dir / "runs";
    Variables common{{"VFLBUS_BROKER", address}, {"VFLBUS_OUTPUT_RUNS_DIR", runs}};

    std::vector<std::unique_ptr<Process>> members;
    const std::vector<std::string> tables{"telecom", "shop"};
    for (std::size_t rank = 0; rank < 2; ++rank) {
        Variables variables = common;
        variables["VFLBUS_ROLE"] = "member";
        variables["VFLBUS_RANK"] = std::to_string(rank);
        variables["VFLBUS_ONCE"] = "1";
        variables["VFLBUS_PARTY_ID"] = "customer_id";
        variables["VFLBUS_PARTY_DATA"] = "data/" + tables[rank] + ".csv";
        variables["VFLBUS_PARTY_TEST_DATA"] = "data/" + tables[rank] + "_test.csv";
        members.push_back(std::make_unique<Process>(dir, Words{"actor"}, variables));
    }
    Variables variables = common;
    variables["VFLBUS_ROLE"] = "master";
    variables["VFLBUS_RUN_ID"] = run_id;
    variables["VFLBUS_RUN_SEED"] = "7";
    variables["VFLBUS_RUN_WORLD_SIZE"] = "2";
    variables["VFLBUS_MODEL_TASK"] = "logistic";
    variables["VFLBUS_MODEL_EPOCHS"] = "4";
    variables["VFLBUS_MODEL_BATCH_SIZE"] = "64";
    variables["VFLBUS_MODEL_LEARNING_RATE"] = "0.1";
    variables["VFLBUS_MODEL_REPORT_TRAIN_METRICS_ITERATION"] = "10";
    variables["VFLBUS_PARTY_ID"] = "customer_id";
    variables["VFLBUS_PARTY_LABEL"] = "default";
    variables["VFLBUS_PARTY_DATA"] = "data/bank.csv";
    variables["VFLBUS_PARTY_TEST_DATA"] = "data/bank_test.csv";
    const Finished master = run(dir, {"actor"}, variables);
    INFO(master.err);
    CHECK(master.exit_code == 0);
    for (const auto& member : members) {
        const Finished finished = member->wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
    }
    CHECK(models(fs::path(runs) / run_id) == reference);
}

TEST_CASE("a member without --once stays for the next run", "[by_hand]") {
    const TempDir dir;
    make_example(dir);
    Process broker(dir, {"broker", "--bind", "tcp://127.0.0.1:0"});
    const std::string address = first_endpoint(broker);
    const auto member = [&](const std::string& rank) {
        return Words{"actor",    "--role", "member",   "--rank",  rank,
                     "--broker", address,  "--config", "run.toml"};
    };
    Process first(dir, member("0"));
    Process second(dir, member("1"));
    const Words master{"actor", "--role", "master", "--broker", address, "--config", "run.toml"};
    CHECK(run(dir, master).exit_code == 0);
    CHECK(run(dir, master).exit_code == 0);
    const Finished checked = run(dir, {"check", "--broker", address, "--config", "run.toml"});
    INFO(checked.err);
    CHECK(checked.exit_code == 0);
    for (Process* const process : {&first, &second, &broker}) {
        process->signal(2);
        const Finished finished = process->wait();
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
        CHECK(finished.err.find("ended in order, as a signal asked\n") != std::string::npos);
    }
    CHECK(left_behind(dir) == "");
}
