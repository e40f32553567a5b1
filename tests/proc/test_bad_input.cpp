// Bad input: one clear sentence, an exit code that means something, nothing left behind.

#include <csignal>
#include <map>
#include <sstream>

#include "base/json.hpp"
#include "catch.hpp"
#include "support.hpp"

using namespace proc;

namespace {

struct Case {
    std::string name;
    int exit_code;
    Words needles;           ///< in the sentence on standard error
    Words arguments;         ///< after launch --config run.toml
    std::string party = {};  ///< whose table is at fault
    Words in_own_log = {};   ///< what nobody else is told
};

/// The sentence that the program ended with.
std::string last_sentence(const std::string& err) {
    const std::size_t at = err.rfind("vflbus: ");
    return at == std::string::npos ? "" : err.substr(at);
}

void check_failure(const TempDir& dir, const Finished& finished, int exit_code,
                   const Words& needles) {
    INFO(finished.err);
    CHECK(finished.exit_code == exit_code);
    const std::string sentence = last_sentence(finished.err);
    for (const std::string& needle : needles) {
        INFO("looking for: " << needle);
        CHECK(sentence.find(needle) != std::string::npos);
    }
    CHECK(left_behind(dir) == "");
}

void check_launch(const TempDir& dir, const Case& one) {
    for (const std::string how : {"--local", "--threads"}) {
        INFO(one.name << " " << how);
        Words words{"launch", how, "--config", "run.toml", "--json"};
        words.insert(words.end(), one.arguments.begin(), one.arguments.end());
        const Finished finished = run(dir, words);
        check_failure(dir, finished, one.exit_code, one.needles);
        // the sentence is said once, and in the JSON as well
        CHECK(finished.err.find("vflbus: ", finished.err.rfind("vflbus: ") + 1) ==
              std::string::npos);
        const auto said = Json::parse(finished.out);
        CHECK(said["status"] == "failed");
        CHECK("vflbus: " + said["reason"].get<std::string>() + "\n" == last_sentence(finished.err));
        // nothing half-done: no party has a model of this run
        const fs::path run_dir = fs::path(dir / "runs") / said["run_id"].get<std::string>();
        CHECK(models(run_dir).empty());
        // what quotes a party's table is in its own log, and nowhere else
        std::string log = finished.err;
        if (const fs::path own = run_dir / one.party / "log"; fs::exists(own)) log += slurp(own);
        for (const std::string& needle : one.in_own_log) {
            INFO("looking in the log of " << one.party << " for: " << needle);
            CHECK(log.find(needle) != std::string::npos);
            CHECK(last_sentence(finished.err).find(needle) == std::string::npos);
        }
    }
}

}  // namespace

TEST_CASE("tables that cannot be used", "[bad_input][short]") {
    const TempDir dir;
    make_example(dir);
    const std::string shop = slurp(dir / "data/shop.csv");
    const std::string bank = slurp(dir / "data/bank.csv");

    // a number in the middle of the file becomes a word
    const std::size_t line = shop.find('\n', shop.size() / 2) + 1;
    const std::size_t first = shop.find(',', line);
    std::string malformed = shop;
    malformed.replace(first + 1, shop.find(',', first + 1) - first - 1, "12,5O");
    malformed = shop;
    malformed.replace(first + 1, shop.find(',', first + 1) - first - 1, "12.5O");
    spit(dir / "malformed.csv", malformed);

    std::string strangers;
    std::istringstream lines(shop);
    std::string row;
    std::getline(lines, row);
    strangers = row + "\n";
    while (std::getline(lines, row)) strangers += "stranger-" + row + "\n";
    spit(dir / "strangers.csv", strangers);

    std::string one_class;
    std::istringstream bank_lines(bank);
    std::getline(bank_lines, row);
    const Words columns = [&] {
        Words names;
        std::istringstream cells(row);
        for (std::string cell; std::getline(cells, cell, ',');) names.push_back(cell);
        return names;
    }();
    one_class = row + "\n";
    while (std::getline(bank_lines, row)) {
        std::istringstream cells(row);
        std::string out;
        for (std::size_t i = 0; i < columns.size(); ++i) {
            std::string cell;
            std::getline(cells, cell, ',');
            out += (i == 0 ? "" : ",") + (columns[i] == "default" ? "0" : cell);
        }
        one_class += out + "\n";
    }
    spit(dir / "one_class.csv", one_class);
    const Words no_tests{"--set", "party.master.test_data=",  "--set", "party.member-0.test_data=",
                         "--set", "party.member-1.test_data="};
    const auto with_no_tests = [&](Words words) {
        words.insert(words.end(), no_tests.begin(), no_tests.end());
        return words;
    };

    check_launch(dir, {"missing file",
                       3,
                       {"member-1", "nowhere.csv", "party.member-1.data"},
                       {"--set", "party.member-1.data=nowhere.csv"}});
    check_launch(dir, {"malformed cell",
                       3,
                       {"member-1", "malformed.csv", "line", "column 2"},
                       {"--set", "party.member-1.data=malformed.csv"},
                       "member-1",
                       {"12.5O", "basket_value"}});
    check_launch(dir, {"no common ids",
                       3,
                       {"no id is common", "member-1"},
                       with_no_tests({"--set", "party.member-1.data=strangers.csv"})});
    check_launch(dir, {"one class",
                       3,
                       {"default", "class"},
                       with_no_tests({"--set", "party.master.data=one_class.csv"})});
    check_launch(dir, {"no such id column",
                       3,
                       {"member-0", "telecom.csv", "a column for the id is not there"},
                       {"--set", "party.member-0.id=customerid"},
                       "member-0",
                       {"customerid", "customer_id"}});
}

TEST_CASE("a loss that diverges", "[bad_input]") {
    const TempDir dir;
    make_example(dir, "linear");
    check_launch(dir, {"diverging",
                       6,
                       {"loss", "learning_rate"},
                       {"--set", "model.learning_rate=1000", "--set", "model.epochs=200"}});
}

TEST_CASE("keys that make no sense", "[bad_input]") {
    const TempDir dir;
    make_example(dir);
    check_launch(dir,
                 {"unknown key", 2, {"model.epoch", "model.epochs"}, {"--set", "model.epoch=3"}});
    const Finished wrong_number = run(dir, {"launch", "--local", "3", "--config", "run.toml"});
    check_failure(dir, wrong_number, 2, {"3", "2 members"});
    const Finished no_file = run(dir, {"launch", "--local", "--config", "other.toml"});
    check_failure(dir, no_file, 3, {"other.toml"});
    spit(dir / "typo.toml", replaced(slurp(dir / "run.toml"), "epochs", "epocks"));
    const Finished typo = run(dir, {"launch", "--local", "--config", "typo.toml"});
    check_failure(dir, typo, 2, {"typo.toml:6", "epocks", "epochs"});
    const Finished protocol = run(dir, {"launch", "--local", "--config", "run.toml", "--set",
                                        "run.protocol=arbitered", "--set", "model.solver=lbfgs"});
    check_failure(dir, protocol, 2, {"arbitered", "sgd"});
}

TEST_CASE("a member that never comes is named", "[bad_input]") {
    const TempDir dir;
    make_example(dir);
    Process broker(dir, {"broker", "--bind", "tcp://127.0.0.1:0"});
    const std::string address = first_endpoint(broker);
    Process member(dir, {"actor", "--role", "member", "--rank", "0", "--once", "--config",
                         "run.toml", "--broker", address});
    REQUIRE(broker.await_output("node up name=member-0", true));
    const Finished master =
        run(dir, {"actor", "--role", "master", "--config", "run.toml", "--broker", address, "--set",
                  "bus.rendezvous_timeout=10", "--set", "bus.wait_report_interval=0.5"});
    INFO(master.err);
    CHECK(master.exit_code == 4);
    CHECK(last_sentence(master.err).find("member-1") != std::string::npos);
    CHECK(last_sentence(master.err).find("member-0") == std::string::npos);
    CHECK(member.wait().exit_code == 4);
    broker.signal(15);
    broker.wait();
    CHECK(left_behind(dir) == "");
}

TEST_CASE("nobody listens at the broker's address", "[bad_input]") {
    const TempDir dir;
    make_example(dir);
    const Finished master =
        run(dir, {"actor", "--role", "master", "--config", "run.toml", "--broker",
                  "ipc://" + dir / "nobody", "--set", "bus.rendezvous_timeout=0.5"});
    check_failure(dir, master, 4, {"broker", "nobody"});
}

TEST_CASE("two members of one rank", "[bad_input]") {
    const TempDir dir;
    make_example(dir);
    Process broker(dir, {"broker", "--bind", "tcp://127.0.0.1:0"});
    const std::string address = first_endpoint(broker);
    const Words words{"actor",    "--role",   "member",   "--rank", "0",
                      "--config", "run.toml", "--broker", address,  "--verbose"};
    Process first(dir, words, {{"VFLBUS_OUTPUT_RUNS_DIR", dir / "a"}});
    REQUIRE(first.await_output("node=member-0", true));
    REQUIRE(broker.await_output("node up name=member-0", true));
    SECTION("in two places") {
        const Finished second = run(dir, words, {{"VFLBUS_OUTPUT_RUNS_DIR", dir / "b"}});
        INFO(second.err);
        CHECK((second.exit_code == 7 || second.exit_code == 9));
        CHECK(last_sentence(second.err).find("member-0") != std::string::npos);
    }
    SECTION("in one directory") {
        const Finished second = run(dir, words, {{"VFLBUS_OUTPUT_RUNS_DIR", dir / "a"}});
        INFO(second.err);
        CHECK(second.exit_code == 3);
        CHECK(last_sentence(second.err).find("in use by process") != std::string::npos);
    }
    first.signal(15);
    first.wait();
}

TEST_CASE("configurations that differ between parties", "[bad_input][short]") {
    const TempDir dir;
    make_example(dir);
    spit(dir / "other.toml", replaced(slurp(dir / "run.toml"), "epochs = 4", "epochs = 5"));
    Process broker(dir, {"broker", "--bind", "tcp://127.0.0.1:0"});
    const std::string address = first_endpoint(broker);
    const auto member = [&](const std::string& rank, const std::string& config) {
        return Words{"actor",  "--role",   "member", "--rank",   rank,
                     "--once", "--config", config,   "--broker", address};
    };
    Process same(dir, member("0", "run.toml"));
    Process other(dir, member("1", "other.toml"));
    const Finished master =
        run(dir, {"actor", "--role", "master", "--config", "run.toml", "--broker", address});
    INFO(master.err);
    CHECK(master.exit_code == 8);
    CHECK(last_sentence(master.err).find("member-1") != std::string::npos);
    CHECK(last_sentence(master.err).find("model.epochs") != std::string::npos);
    CHECK(same.wait().exit_code != 0);
    CHECK(other.wait().exit_code == 8);
    CHECK(models(fs::path(dir / "runs")).empty());
}

TEST_CASE("addresses that cannot be bound", "[bad_input]") {
    const TempDir dir;
    Process broker(dir, {"broker", "--bind", "tcp://127.0.0.1:0"});
    const std::string address = first_endpoint(broker);
    check_failure(dir, run(dir, {"broker", "--bind", "tcp://0.0.0.0:0"}), 2, {"--insecure"});
    const Finished taken = run(dir, {"broker", "--bind", address});
    INFO(taken.err);
    CHECK(taken.exit_code == 7);
    CHECK(last_sentence(taken.err).find(address) != std::string::npos);
    CHECK(last_sentence(taken.err).find("in use") != std::string::npos);
    const Finished malformed = run(dir, {"broker", "--bind", "127.0.0.1"});
    CHECK(malformed.exit_code != 0);
    CHECK(last_sentence(malformed.err).find("tcp://") != std::string::npos);
    Process wide(dir, {"broker", "--bind", "tcp://0.0.0.0:0", "--insecure"});
    CHECK(first_endpoint(wide).substr(0, 6) == "tcp://");
    wide.signal(15);
    CHECK(wide.wait().exit_code == 0);
}

TEST_CASE("no cell, id or column name of a member reaches the master, or those who ask the broker",
          "[bad_input][secrets]") {
    const TempDir dir;
    std::string bank = "id,y,age\n";
    std::string rows;
    for (int i = 0; i < 60; ++i) {
        bank +=
            std::to_string(i) + "," + std::to_string(i % 2) + "," + std::to_string(i % 9) + "\n";
        rows += std::to_string(i) + "," + std::to_string(i * 7 % 13) + "." + std::to_string(i) +
                ",SECRET\n";  // measurements: a word among them is a mistake, and no class
    }
    const std::string header = "SECRETKEY,SECRETCOL,SECRETCONST\n";
    const std::map<std::string, std::string> tables{
        {"sound", header + rows},  // a constant column is left out, which the report says
        {"cell", "SECRETKEY,SECRETCOL,SECRETCONST\n" + rows + "60,12SECRETCELL,SECRET\n"},
        {"twice", header + rows + "3,SECRET,SECRET\n"},
        {"no id", "SECRETOTHER,SECRETCOL\n1,2\n3,4\n"},
        {"same name", "SECRETKEY,SECRETCOL,SECRETCOL\n1,2,3\n"},
        {"others", header + "SECRETID1,3,x\nSECRETID2,4,y\n"},
        {"quote", header + rows + "60,\"SECRETCELL,x\n"}};
    spit(dir / "bank.csv", bank);
    for (const auto& [name, table] : tables) {
        INFO(name);
        spit(dir / "shop.csv", table);
        const std::string at = "ipc://" + (dir / (name.substr(0, 2) + ".bus"));
        const std::string master_runs = name + "-master";
        Process broker(dir, {"broker", "--bind", at});
        REQUIRE(broker.await_output("ipc://"));
        Process member(
            dir, {"actor", "--role", "member", "--rank", "0", "--once", "--broker", at, "--set",
                  "party.member-0.data=shop.csv", "--set", "party.member-0.id=SECRETKEY", "--set",
                  "output.runs_dir=" + name + "-member"});
        const Finished master =
            run(dir, {"actor", "--role", "master", "--broker", at, "--json", "--set",
                      "run.world_size=1", "--set", "model.task=logistic", "--set",
                      "party.master.data=bank.csv", "--set", "party.master.id=id", "--set",
                      "party.master.label=[\"y\"]", "--set", "output.runs_dir=" + master_runs});
        INFO(master.err);
        CHECK(master.exit_code == (name == "sound" ? 0 : 3));
        std::string heard = master.out + master.err;
        const std::string id = Json::parse(master.out)["run_id"].get<std::string>();
        for (const Words& question : {Words{"runs", "--broker", at, "--json"},
                                      Words{"run", "show", id, "--broker", at, "--json"},
                                      Words{"run", "logs", id, "--broker", at, "--json"}}) {
            const Finished answer = run(dir, question);
            heard += answer.out + answer.err;
        }
        for (const auto& entry : fs::recursive_directory_iterator(dir / master_runs))
            if (entry.is_regular_file()) heard += slurp(entry.path());
        CHECK(heard.find("member-0") != std::string::npos);
        const std::size_t secret = heard.find("SECRET");
        INFO((secret == std::string::npos ? ""
                                          : heard.substr(secret > 200 ? secret - 200 : 0, 400)));
        CHECK(secret == std::string::npos);
        member.wait();
        // its own log says all of it
        if (name == "cell") CHECK(member.err().find("12SECRETCELL") != std::string::npos);
        broker.signal(SIGTERM);
        broker.wait();
    }
}
