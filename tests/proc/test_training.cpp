// One run, every way of starting it: the same model, bit for bit, and the same report.

#include <cstdlib>
#include <set>

#include "base/json.hpp"
#include "catch.hpp"
#include "support.hpp"

using namespace proc;
namespace {

Finished train(const TempDir& dir, const Words& how, const std::string& runs) {
    Words words{"launch"};
    words.insert(words.end(), how.begin(), how.end());
    words.insert(words.end(), {"--config", "run.toml", "--json", "--run-id", run_id, "--set",
                               "output.runs_dir=" + dir / runs});
    return run(dir, words);
}

}  // namespace

TEST_CASE("tcp, ipc and threads give the same model bit for bit", "[training][short]") {
    const TempDir dir;
    make_example(dir);
    const std::map<std::string, Words> ways{{"ipc", {"--local"}},
                                            {"tcp", {"--local", "2", "--transport", "tcp"}},
                                            {"threads", {"--threads", "2"}}};
    for (const auto& [name, how] : ways) {
        INFO(name);
        const Finished finished = train(dir, how, name);
        INFO(finished.err);
        REQUIRE(finished.exit_code == 0);
        CHECK(left_behind(dir) == "");
        CHECK(Json::parse(finished.out)["status"] == "completed");
    }
    const auto first = models(fs::path(dir / "ipc") / run_id);
    REQUIRE(first.size() == 3);
    CHECK(models(fs::path(dir / "tcp") / run_id) == first);
    CHECK(models(fs::path(dir / "threads") / run_id) == first);

    SECTION("another seed gives another model") {
        Words words{
            "launch", "--threads", "--config",   "run.toml", "--run-id",
            run_id,   "--set",     "run.seed=8", "--set",    "output.runs_dir=" + dir / "other"};
        REQUIRE(run(dir, words).exit_code == 0);
        CHECK(models(fs::path(dir / "other") / run_id) != first);
    }
}

TEST_CASE("every task trains over processes", "[training]") {
    for (const std::string task : {"linear", "multilabel", "softmax"}) {
        INFO(task);
        const TempDir dir;
        make_example(dir, task);
        const Finished finished = train(dir, {"--local"}, "runs");
        INFO(finished.err);
        REQUIRE(finished.exit_code == 0);
        const Json report = Json::parse(finished.out);
        CHECK(report["task"] == task);
        const auto& metrics = report["metrics"];
        const std::string name = task == "linear"    ? "r2"
                                 : task == "softmax" ? "accuracy"
                                                     : "auc_macro";
        CHECK(metrics["test"][name].get<double>() >
              metrics["label_holder_alone"]["test"][name].get<double>());
    }
}

TEST_CASE("--json holds what programs read", "[training]") {
    const TempDir dir;
    make_example(dir);
    const Finished finished = train(dir, {"--local", "--quiet"}, "runs");
    REQUIRE(finished.exit_code == 0);
    const Json report = Json::parse(finished.out);
    for (const char* key : {"status", "reason", "run_id", "model", "protocol", "parties", "rows",
                            "steps", "train_seconds", "metrics", "bytes", "model_dir"}) {
        INFO(key);
        CHECK(report.contains(key));
    }
    CHECK(report["run_id"] == run_id);
    CHECK(report["protocol"] == "honest");
    CHECK(report["parties"].size() == 3);
    CHECK(report["parties"][0]["name"] == "master");
    CHECK(report["rows"]["common"].get<int>() > 300);
    CHECK(report["rows"]["parties"].size() == 3);
    CHECK(report["steps"].get<int>() > 0);
    CHECK(report["bytes"]["sent"].get<int>() > 1000);
    CHECK(report["metrics"]["test"]["auc"].get<double>() >
          report["metrics"]["label_holder_alone"]["test"]["auc"].get<double>());
    CHECK(report["metrics"]["train"].contains("loss"));
    CHECK(fs::exists(fs::path(report["model_dir"].get<std::string>()) / "master" / "model.json"));
    CHECK(fs::exists(fs::path(dir / "runs") / run_id / "report.json"));
    CHECK(slurp(fs::path(dir / "runs") / run_id / "member-0" / "log").find("joined") !=
          std::string::npos);
}

TEST_CASE("launch without a configuration makes an example and trains on it", "[training]") {
    const TempDir dir;
    const Finished finished = run(dir, {"launch", "--local", "--json"});
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    const Json report = Json::parse(finished.out);
    CHECK(report["metrics"]["test"]["auc"].get<double>() >
          report["metrics"]["label_holder_alone"]["test"]["auc"].get<double>() + 0.05);
    CHECK(finished.err.find("vflbus.toml") != std::string::npos);
    CHECK(left_behind(dir) == "");
    // nothing but the runs directory: all of this run in one place, and the example that it shares
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(dir / "runs"))
        names.insert(entry.path().filename().string());
    CHECK(names == std::set<std::string>{report["run_id"].get<std::string>(), "examples"});

    SECTION("and the model predicts without further arguments") {
        const Finished predicted =
            run(dir, {"predict", "--local", "--model",
                      "runs/" + report["run_id"].get<std::string>(), "--out", "p.csv"});
        INFO(predicted.err);
        CHECK(predicted.exit_code == 0);
        CHECK(slurp(dir / "p.csv").starts_with("customer_id,prediction,probability_1\n"));
    }
}

TEST_CASE("--out moves the parts of the model, an earlier run is never overwritten", "[training]") {
    const TempDir dir;
    make_example(dir);
    const Finished first = train(dir, {"--local", "--out", dir / "parts"}, "runs");
    INFO(first.err);
    REQUIRE(first.exit_code == 0);
    CHECK(models(dir / "parts").size() == 3);
    const Finished second = train(dir, {"--local"}, "runs");
    CHECK(second.exit_code == 2);
    CHECK(second.err.find("never overwritten") != std::string::npos);
}

TEST_CASE("check shows who is there and what is common", "[training]") {
    const TempDir dir;
    make_example(dir);
    for (const std::string how : {"--local", "--threads"}) {
        const Finished finished = run(dir, {"check", how, "--config", "run.toml", "--json"});
        INFO(finished.err);
        REQUIRE(finished.exit_code == 0);
        const Json said = Json::parse(finished.out);
        REQUIRE(said["parties"].size() == 3);
        CHECK(said["parties"][1]["name"] == "member-0");
        CHECK(said["parties"][1]["rows"].get<int>() > 300);
        CHECK(said["parties"][1]["match_rate"].get<double>() > 0.3);
        CHECK(said["parties"][1]["round_trip_ms"].get<double>() > 0);
        CHECK(said["parties"][1]["version"].get<std::string>().size() >= 5);
        CHECK(said["common"].get<int>() > 300);
        CHECK(left_behind(dir) == "");
    }
    const Finished table = run(dir, {"check", "--local", "--config", "run.toml"});
    CHECK(table.out.find("ids are common to all parties") != std::string::npos);
}

TEST_CASE("the examples in conf/ run on generated data alone", "[training]") {
    const TempDir dir;
    const fs::path conf = fs::path(std::getenv("VFLBUS_SOURCE")) / "conf";
    fs::copy(conf, dir / "conf", fs::copy_options::recursive);
    for (const std::string task : {"linear", "logistic", "multilabel", "softmax"})
        REQUIRE(
            run(dir, {"data", "synth", "--task", task, "--rows", "300", "--out", "data/" + task})
                .exit_code == 0);
    for (const auto& entry : fs::directory_iterator(dir / "conf")) {
        if (!entry.is_regular_file()) continue;
        INFO(entry.path().filename());
        const Finished finished = run(dir, {"launch", "--threads", "--config",
                                            entry.path().string(), "--set", "model.epochs=2"});
        INFO(finished.err);
        CHECK(finished.exit_code == 0);
    }
    for (const std::string party : {"master", "member-0", "member-1"}) {
        const Finished good =
            run(dir, {"config", "check", "-c", "conf/parties/" + party + ".toml"});
        INFO(good.err);
        CHECK(good.exit_code == 0);
    }
}
