// Predictions on rows whose labels are known: the metric that a stranger computes from the CSV is
// the one that the training reported.

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>

#include "base/json.hpp"
#include "catch.hpp"
#include "parties.hpp"
#include "support.hpp"

using namespace proc;
namespace {

const char* const judge = R"(
import csv, json, sys
from sklearn import metrics
task, predictions, truth = sys.argv[1:4]
table = {r["customer_id"]: r for r in csv.DictReader(open(truth))}
rows = list(csv.DictReader(open(predictions)))
if task == "logistic":
    y = [int(table[r["customer_id"]]["default"]) for r in rows]
    p = [float(r["probability_1"]) for r in rows]
    assert all((r["prediction"] == "1") == (q > 0.5) for r, q in zip(rows, p))
    print(json.dumps({"auc": metrics.roc_auc_score(y, p), "loss": metrics.log_loss(y, p)}))
elif task == "linear":
    y = [float(table[r["customer_id"]]["credit_limit"]) for r in rows]
    p = [float(r["prediction"]) for r in rows]
    print(json.dumps({"r2": metrics.r2_score(y, p), "mae": metrics.mean_absolute_error(y, p)}))
elif task == "poisson":
    y = [float(table[r["customer_id"]]["claims"]) for r in rows]
    p = [float(r["prediction"]) for r in rows]
    print(json.dumps({"deviance": metrics.mean_poisson_deviance(y, p), "mae": metrics.mean_absolute_error(y, p)}))
elif task == "softmax":
    y = [table[r["customer_id"]]["rating"] for r in rows]
    p = [r["prediction"] for r in rows]
    print(json.dumps({"accuracy": metrics.accuracy_score(y, p), "f1_macro": metrics.f1_score(y, p, average="macro")}))
else:
    names = ["default", "late_30_days", "overdraft", "churn", "fraud"]
    y = [[int(table[r["customer_id"]][n]) for n in names] for r in rows]
    p = [[float(r["probability_" + n]) for n in names] for r in rows]
    print(json.dumps({"auc_macro": metrics.roc_auc_score(y, p, average="macro")}))
)";

}  // namespace

TEST_CASE("the metric recomputed from the predictions is the reported one", "[predict]") {
    const bool sklearn = have_sklearn();
    if (!sklearn) WARN("scikit-learn is not there: metrics are not recomputed by it");
    for (const std::string task : {"logistic", "linear", "softmax", "multilabel", "poisson"}) {
        INFO(task);
        const TempDir dir;
        make_example(dir, task);
        const Finished trained =
            run(dir, {"launch", "--threads", "--config", "run.toml", "--json"});
        INFO(trained.err);
        REQUIRE(trained.exit_code == 0);
        const Json report = Json::parse(trained.out);
        const Json& reported = report["metrics"]["test"];

        // the test rows are the rows to predict
        std::string config = slurp(dir / "run.toml");
        for (const char* const name : {"bank", "telecom", "shop"})
            config = replaced(config, std::string(name) + "_predict", std::string(name) + "_test");
        spit(dir / "predict.toml", config);
        const Words words{"predict",
                          "--local",
                          "--config",
                          "predict.toml",
                          "--json",
                          "--model",
                          "runs/" + report["run_id"].get<std::string>(),
                          "--out",
                          "p.csv"};
        const Finished predicted = run(dir, words);
        INFO(predicted.err);
        REQUIRE(predicted.exit_code == 0);
        const Json said = Json::parse(predicted.out);
        CHECK(said["rows"] == report["rows"]["test"]);
        for (const auto& [name, value] : said["metrics"].items()) {
            INFO(name);
            if (reported.contains(name))
                CHECK(value.get<double>() == Approx(reported[name].get<double>()).epsilon(1e-12));
        }
        CHECK(left_behind(dir) == "");
        if (!sklearn) continue;
        const Finished judged = python(dir, judge, {task, "p.csv", "data/bank_test.csv"});
        INFO(judged.err);
        REQUIRE(judged.exit_code == 0);
        const Json verdict = Json::parse(judged.out);
        for (const auto& [name, value] : verdict.items()) {
            INFO(name);
            CHECK(value.get<double>() == Approx(reported.at(name).get<double>()).margin(1e-9));
        }
    }
}

TEST_CASE("the trace of a prediction or a check has what each party did", "[predict][short]") {
    const TempDir dir;
    make_example(dir);
    REQUIRE(
        run(dir, {"launch", "--threads", "--config", "run.toml", "--run-id", run_id}).exit_code ==
        0);
    for (const Words& command : {Words{"predict", "--local", "--model", "runs/" + run_id},
                                 Words{"check", "--local", "--config", "run.toml"}}) {
        CAPTURE(command.front());
        const std::string file = command.front() + ".json";
        const Finished done = run(dir, with(command, {"--set", "observe.trace=" + file}));
        INFO(done.err);
        REQUIRE(done.exit_code == 0);
        std::map<std::uint64_t, std::string> parties;
        std::map<std::string, std::size_t> spans;
        const Json trace = Json::parse(slurp(dir / file));
        for (const Json& event : trace["traceEvents"])
            if (event["name"] == "process_name")
                parties[event["pid"].get<std::uint64_t>()] =
                    event["args"]["name"].get<std::string>();
        for (const Json& event : trace["traceEvents"])
            if (event["ph"] == "X") ++spans[parties[event["pid"].get<std::uint64_t>()]];
        for (const char* const party : {"master", "member-0", "member-1"}) CHECK(spans[party] > 2);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("rows without labels are predicted, over processes and threads alike",
          "[predict][short]") {
    const TempDir dir;
    make_example(dir);
    const Finished trained =
        run(dir, {"launch", "--threads", "--config", "run.toml", "--json", "--run-id", run_id});
    REQUIRE(trained.exit_code == 0);
    const Finished by_threads =
        run(dir, {"predict", "--threads", "--model", "runs/" + run_id, "--out", "-"});
    INFO(by_threads.err);
    REQUIRE(by_threads.exit_code == 0);
    const Finished by_processes = run(dir, {"predict", "--local", "--transport", "tcp", "--model",
                                            "runs/" + run_id, "--out", "-"});
    INFO(by_processes.err);
    REQUIRE(by_processes.exit_code == 0);
    CHECK(by_threads.out == by_processes.out);
    CHECK(by_threads.out.starts_with("customer_id,prediction,probability_1\n"));
}

namespace {

/// Does what a run printed last, as a shell does when it is pasted there; the predictions' CSV.
const char* const paste = R"(
import os, re, subprocess, sys
where, out = sys.argv[1:3]
env = {k: v for k, v in os.environ.items() if not k.startswith("VFLBUS_")}
command = re.search(r"^Predict with it: (.*)$", open(out).read(), re.M).group(1)
done = subprocess.run(command, shell=True, cwd=where, env=env, capture_output=True, text=True)
if done.returncode != 0:
    sys.exit(command + ": " + done.stderr)
print(open(re.search(r"^[\d,]+ predictions: (.*)$", done.stdout, re.M).group(1)).read())
)";

/// Two tables whose people are the same, in files with blanks in their names.
void make_own_files(const fs::path& where, int people) {
    std::string bank = "id,y,city,age\n";
    std::string shop = "id,pay\n";
    for (int i = 0; i < people; ++i) {
        bank += std::to_string(i) + (i * 7 % 10 < 5 ? ",yes," : ",no,") + (i % 2 == 0 ? "a" : "b") +
                "," + std::to_string(i % 50) + "\n";
        shop += std::to_string(i) + "," + std::to_string(i * 7 % 10 + i % 3) + "\n";
    }
    spit(where / "the bank.csv", bank);
    spit(where / "shop.csv", shop);
}

}  // namespace

TEST_CASE("what a run prints last predicts when it is pasted", "[predict][paste]") {
    const TempDir dir;
    const std::string where = dir / "with blank";
    fs::create_directories(where);
    make_example(dir);
    make_own_files(where, 120);
    const Words there{"sh", "-c", "cd \"with blank\" && exec \"$@\"", "sh"};
    Words words{"launch", "--local"};
    std::string header = "customer_id,prediction,probability_1\n";
    SECTION("an example of its own") {}
    SECTION("own files") {
        words.insert(words.end(), {"--data", "the bank.csv", "--data", "shop.csv", "--label", "y"});
        header = "id,prediction,probability_yes\n";
    }
    SECTION("a configuration") {
        words.insert(words.end(), {"--config", "../run.toml"});
    }
    SECTION("--out") {
        words.insert(words.end(), {"--out", "the parts"});
    }
    SECTION("another runs directory") {
        words.insert(words.end(), {"--set", "output.runs_dir=the runs"});
    }
    Process trained(dir, words, {}, there);
    const Finished finished = trained.wait();
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    spit(dir / "out", finished.out);
    const Finished predicted = python(dir, paste, {where, dir / "out"});
    INFO(predicted.err);
    CHECK(predicted.exit_code == 0);
    CHECK(predicted.out.starts_with(header));
    CHECK(std::ranges::count(predicted.out, '\n') > 50);
    CHECK(left_behind(dir) == "");
    if (std::ranges::find(words, "--out") == words.end()) return;
    // a second training does not write over the first one's parts
    Process again(dir, words, {}, there);
    const Finished refused = again.wait();
    CHECK(refused.exit_code == 2);
    CHECK(refused.err.find("is part of an earlier model; name another directory") !=
          std::string::npos);
}

TEST_CASE("new rows come by --data, to the party whose columns they have", "[predict][rows]") {
    const TempDir dir;
    make_own_files(dir.path(), 120);
    const Finished trained = run(dir, {"launch", "--local", "--data", "the bank.csv", "--data",
                                       "shop.csv", "--label", "y", "--run-id", run_id, "--json"});
    INFO(trained.err);
    REQUIRE(trained.exit_code == 0);
    spit(dir / "bank2.csv", "id,city,age,y\n1,a,3,yes\n2,zz,,no\n3,b,4,\n99,a,1,no\n");
    spit(dir / "shop2.csv", "id,pay\n1,2\n2,\n3,1\n4,9\n5,9\n");
    const Words common{"predict", "--local", "--model", "0011", "--json"};
    const auto with = [&](const Words& more) {
        Words words = common;
        words.insert(words.end(), more.begin(), more.end());
        return run(dir, words);
    };
    const Finished predicted =
        with({"--data", "shop2.csv", "--data", "bank2.csv", "--out", "p.csv"});
    INFO(predicted.err);
    REQUIRE(predicted.exit_code == 0);
    const Json said = Json::parse(predicted.out);
    CHECK(said["rows"] == 3);
    CHECK(said["rows_unlabelled"] == 1);
    const Json& master = said["parties"][0];
    CHECK(master["rows_without_counterpart"] == 1);
    CHECK(master["filled_cells"] == 1);
    CHECK(master["unseen_values"] == 1);
    CHECK(said["parties"][1]["rows_without_counterpart"] == 2);
    CHECK(said["parties"][1]["filled_cells"] == 1);
    CHECK(slurp(dir / "p.csv").starts_with("id,prediction,probability_yes\n1,"));
    // one directory, with the report
    const fs::path own = fs::path(dir / "runs") / said["run_id"].get<std::string>();
    const Json report = Json::parse(slurp(own / "report.json"));
    CHECK(report["purpose"] == "predict");
    CHECK(report["rows"]["unlabelled"] == 1);
    CHECK(report["parties"][0]["unseen_values"] == 1);
    CHECK(std::distance(fs::directory_iterator(dir / "runs"), fs::directory_iterator()) == 2);
    // the same for people
    const Finished told = run(dir, {"predict", "--local", "--model", "0011", "--data", "bank2.csv",
                                    "--data", "shop2.csv"});
    CHECK(told.out.find("no counterpart") != std::string::npos);
    CHECK(told.out.find("1 rows have no label") != std::string::npos);
    // and what does not fit is said
    const Finished unfit = with({"--data", "shop2.csv", "--data", "shop2.csv"});
    CHECK(unfit.exit_code == 3);
    CHECK(unfit.err.find("lacks city and age") != std::string::npos);
    const Finished few = with({"--data", "shop2.csv"});
    CHECK(few.exit_code == 2);
    CHECK(few.err.find("once for each of master and member-0") != std::string::npos);
    const Finished none = with({});
    CHECK(none.exit_code == 2);
    CHECK(none.err.find("no rows to predict") != std::string::npos);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("what cannot be predicted is refused", "[predict]") {
    const TempDir dir;
    make_example(dir);
    const Finished none =
        run(dir, {"predict", "--local", "--model", "runs/none", "--config", "run.toml"});
    CHECK(none.exit_code == 3);
    CHECK(none.err.find("runs/none") != std::string::npos);
    REQUIRE(
        run(dir, {"launch", "--threads", "--config", "run.toml", "--run-id", run_id}).exit_code ==
        0);
    fs::remove(fs::path(dir / "runs") / run_id / "member-1" / "model.json");
    const Finished part = run(dir, {"predict", "--local", "--model", "runs/" + run_id});
    INFO(part.err);
    CHECK(part.exit_code == 3);
    CHECK(part.err.find("member-1") != std::string::npos);
    CHECK(left_behind(dir) == "");
}

namespace {

/// 300 people: a code of the shop, and a label of the bank that follows the code. The tables with
/// -p in their names hold those alone whose codes look like numbers.
void make_codes(const TempDir& dir) {
    const std::vector<std::pair<std::string, int>> codes{{"01", 1},  {"02", 0}, {"1e1", 1},
                                                         {"007", 0}, {"A1", 1}, {"B2", 0}};
    std::string bank = "id,a,y\n", shop = "id,code,unused\n";
    std::string bank_p = bank, shop_p = "id,code\n";
    for (int i = 0; i < 300; ++i) {
        const auto& [code, y] = codes[static_cast<std::size_t>(i * 7 % 6)];
        const std::string id = "u" + std::to_string(i);
        const std::string row = id + "," + std::to_string(i % 5) + "," + std::to_string(y) + "\n";
        bank += row;
        shop += id + "," + code + ",1\n";
        if (code[0] > '9') continue;
        bank_p += row;
        shop_p += id + "," + code + "\n";
    }
    spit(dir / "bank.csv", bank);
    spit(dir / "shop.csv", shop);
    spit(dir / "bank-p.csv", bank_p);
    spit(dir / "shop-p.csv", shop_p);
}

std::string codes_config(const std::string& kind) {
    return "[party.master]\ndata = \"bank.csv\"\nlabel = \"y\"\n" + kind +
           " = \"bank-p.csv\"\n[party.member-0]\ndata = \"shop.csv\"\nexclude = [\"unused\"]\n" +
           kind + " = \"shop-p.csv\"\n";
}

}  // namespace

TEST_CASE("a column is read as the model knows it, whatever its few rows look like", "[predict]") {
    const TempDir dir;
    make_codes(dir);
    // as test tables: the shop's has no column that is excluded
    spit(dir / "test.toml", codes_config("test_data"));
    const Finished tested = run(dir, {"launch", "--threads", "--config", "test.toml", "--json"});
    INFO(tested.err);
    REQUIRE(tested.exit_code == 0);
    const Json report = Json::parse(tested.out);
    CHECK(report["rows"]["test"] == 200);
    CHECK(report["metrics"]["test"]["auc"] == 1);
    // as prediction tables
    spit(dir / "predict.toml", codes_config("predict_data"));
    const Finished predicted =
        run(dir, {"predict", "--local", "--config", "predict.toml", "--json", "--model",
                  "runs/" + report["run_id"].get<std::string>(), "--out", "p.csv"});
    INFO(predicted.err);
    REQUIRE(predicted.exit_code == 0);
    CHECK(Json::parse(predicted.out)["metrics"]["auc"] == 1);
}

TEST_CASE("words for missing numbers and amounts are read in a prediction, and it is said",
          "[predict][words]") {
    const TempDir dir;
    std::string left = "id,rain,profit,y\n";
    std::string right = "id,b\n";
    for (int i = 0; i < 60; ++i) {
        const std::string id = std::to_string(i);
        left += id + "," +
                (i % 12 == 5 ? "T" : std::to_string(i % 7) + "." + std::to_string(10 + i)) + "," +
                std::to_string(i % 11) + "," + (i % 7 + i % 5 > 5 ? "yes" : "no") + "\n";
        right += id + "," + std::to_string(i % 5) + "\n";
    }
    spit(dir / "left.csv", left);
    spit(dir / "right.csv", right);
    const Finished trained = run(dir, {"launch", "--local", "--data", "left.csv", "--data",
                                       "right.csv", "--label", "y", "--json"});
    INFO(trained.err);
    REQUIRE(trained.exit_code == 0);
    CHECK(trained.err.find("words that stand for no number are taken for missing ones: 'rain' "
                           "('T', 5 cells)") != std::string::npos);
    const Json report = Json::parse(trained.out);
    spit(dir / "new_left.csv", "id,rain,profit\n1,T,(1.5)\n");
    spit(dir / "new_right.csv", "id,b\n1,3\n");
    const Finished predicted =
        run(dir, {"predict", "--local", "--model", report["run_id"].get<std::string>(), "--data",
                  "new_left.csv", "--data", "new_right.csv", "--json"});
    INFO(predicted.err);
    REQUIRE(predicted.exit_code == 0);
    CHECK(predicted.err.find("amounts are read without the signs around them, in parentheses as "
                             "negative: 'profit' ('(1.5)' on line 2)") != std::string::npos);
    CHECK(Json::parse(predicted.out)["parties"][0]["filled_cells"] == 1);
}

TEST_CASE("counts: the exposure decides the task, and what cannot be is refused by line and name",
          "[predict][short]") {
    const TempDir dir;
    make_example(dir, "poisson");
    const Words files{"--data",  "data/bank.csv",
                      "--data",  "data/telecom.csv",
                      "--label", "claims",
                      "--id",    "customer_id",
                      "--set",   "party.master.exposure=insured_years"};
    Words launch{"launch", "--threads", "--json", "--run-id", run_id};
    launch.insert(launch.end(), files.begin(), files.end());
    const Finished trained = run(dir, launch);
    INFO(trained.err);
    REQUIRE(trained.exit_code == 0);
    const Json report = Json::parse(trained.out);
    CHECK(report["task"] == "poisson");
    CHECK(report["metrics"]["train"]["d2"].get<double>() > 0.1);
    const Json part = Json::parse(slurp(dir / "runs/" + run_id + "/master/model.json"));
    CHECK(part["labels"]["exposure"] == "insured_years");

    // a table without the exposure cannot be predicted, one with a negative count not be learned
    std::string bank = slurp(dir / "data/bank.csv");
    spit(dir / "data/renamed.csv", replaced(bank, "insured_years", "years"));
    const Finished predicted =
        run(dir, {"predict", "--threads", "--model", "runs/" + run_id, "--data", "data/renamed.csv",
                  "--data", "data/telecom.csv", "--out", "-"});
    CHECK(predicted.exit_code != 0);
    CHECK(predicted.err.find("insured_years") != std::string::npos);
    const std::size_t first = bank.find('\n');
    const std::size_t cell = bank.find(',', first) + 1;
    bank.replace(cell, bank.find(',', cell) - cell, "-3");
    spit(dir / "data/bank.csv", bank);
    launch[4] = std::string(run_id).replace(0, 1, "f");
    const Finished negative = run(dir, launch);
    CHECK(negative.exit_code != 0);
    CHECK(negative.err.find("label 'claims' is -3; task poisson needs numbers of 0 or more") !=
          std::string::npos);
}
