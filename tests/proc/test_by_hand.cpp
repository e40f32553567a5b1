// Five shells: broker, master and members started one by one, in any order, by flags or by
// environment variables alone.

#include <algorithm>
#include <memory>

#include "catch.hpp"
#include "parties.hpp"

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

TEST_CASE("who trained by hand predicts by hand, and says nothing of the training again",
          "[by_hand]") {
    const TempDir dir;
    std::string bank = "id,a,churn\n";
    std::string shop = "id,u\n";
    for (int i = 0; i < 60; ++i) {
        const std::string n = std::to_string(i);
        bank += n + "," + std::to_string(i % 7) + "," + (i % 7 < 3 ? "yes" : "no") + "\n";
        shop += n + "," + std::to_string(i % 5) + "\n";
    }
    Process broker(dir, {"broker", "--bind", "tcp://127.0.0.1:0"});
    const std::string bus = "[bus]\nbroker = \"" + first_endpoint(broker) + "\"\n";
    // as `vflbus join` writes them: each party's own section and nothing agreed
    for (const char* const place : {"bank", "shop"}) fs::create_directories(dir / place);
    spit(dir / "bank/bank.csv", bank);
    spit(dir / "shop/shop.csv", shop);
    spit(dir / "bank/vflbus.toml",
         bus + "[party.master]\ndata = \"bank.csv\"\nlabel = \"churn\"\n");
    spit(dir / "shop/vflbus.toml", bus + "[party.member-0]\ndata = \"shop.csv\"\n");
    const Variables at_shop{{"VFLBUS_CONFIG", dir / "shop/vflbus.toml"},
                            {"VFLBUS_OUTPUT_RUNS_DIR", dir / "shop/runs"}};
    const Variables at_bank{{"VFLBUS_CONFIG", dir / "bank/vflbus.toml"},
                            {"VFLBUS_OUTPUT_RUNS_DIR", dir / "bank/runs"}};
    const Words member{"actor", "--role", "member", "--rank", "0"};
    Process trains(dir, with(member, {"--once"}), at_shop);
    const Finished trained = run(dir,
                                 {"actor", "--role", "master", "--run-id", run_id, "--set",
                                  "run.world_size=1", "--set", "model.task=logistic"},
                                 at_bank);
    INFO(trained.err);
    REQUIRE(trained.exit_code == 0);
    CHECK(trains.wait().exit_code == 0);
    CHECK(trained.out.find("Predict with it: ") != std::string::npos);
    CHECK(trained.out.find(" predict --model ") != std::string::npos);

    // new rows at both, some of them with an answer that is a text
    spit(dir / "bank/new.csv", "id,a,churn\n1,1,yes\n2,5,no\n3,2,\n4,6,no\n5,0,yes\n");
    spit(dir / "shop/new.csv", "id,u\n1,1\n2,2\n3,3\n4,4\n5,0\n");
    Process predicts(
        dir,
        with(member, {"--once", "--set", "party.member-0.predict_data=" + dir / "shop/new.csv"}),
        at_shop);
    const Finished predicted = run(dir,
                                   {"predict", "--model", run_id, "--json", "--data",
                                    dir / "bank/new.csv", "--out", dir / "p.csv"},
                                   at_bank);
    INFO(predicted.err << predicted.out);
    REQUIRE(predicted.exit_code == 0);
    CHECK(predicts.wait().exit_code == 0);
    const Json said = Json::parse(predicted.out);
    CHECK(said["rows"] == 5);
    CHECK(said["rows_unlabelled"] == 1);
    CHECK(said["positive_class"] == "yes");
    CHECK(said["metrics"]["accuracy"] == 1.0);
    CHECK(slurp(dir / "p.csv").starts_with("id,prediction,probability_yes\n1,yes,"));

    // without rows of its own the master is told what to give
    const Finished none = run(dir, {"predict", "--model", run_id}, at_bank);
    INFO(none.err);
    CHECK(none.exit_code != 0);
    const Finished two = run(dir,
                             {"predict", "--model", run_id, "--data", dir / "bank/new.csv",
                              "--data", dir / "shop/new.csv"},
                             at_bank);
    CHECK(two.exit_code == 2);
    CHECK(two.err.find("with --local or --threads") != std::string::npos);
}
