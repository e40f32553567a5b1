// Predictions on rows whose labels are known: the metric that a stranger computes from the CSV is
// the one that the training reported.

#include "base/json.hpp"
#include "catch.hpp"
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
    p = [float(r["prediction"]) for r in rows]
    print(json.dumps({"auc": metrics.roc_auc_score(y, p), "loss": metrics.log_loss(y, p)}))
elif task == "linear":
    y = [float(table[r["customer_id"]]["credit_limit"]) for r in rows]
    p = [float(r["prediction"]) for r in rows]
    print(json.dumps({"r2": metrics.r2_score(y, p), "mae": metrics.mean_absolute_error(y, p)}))
elif task == "softmax":
    y = [table[r["customer_id"]]["rating"] for r in rows]
    p = [r["prediction"] for r in rows]
    print(json.dumps({"accuracy": metrics.accuracy_score(y, p), "f1_macro": metrics.f1_score(y, p, average="macro")}))
else:
    names = ["default", "late_30_days", "overdraft", "churn", "fraud"]
    y = [[int(table[r["customer_id"]][n]) for n in names] for r in rows]
    p = [[float(r["prediction_" + n]) for n in names] for r in rows]
    print(json.dumps({"auc_macro": metrics.roc_auc_score(y, p, average="macro")}))
)";

}  // namespace

TEST_CASE("the metric recomputed from the predictions is the reported one", "[predict]") {
    const bool sklearn = have_sklearn();
    if (!sklearn) WARN("scikit-learn is not there: metrics are not recomputed by it");
    for (const std::string task : {"logistic", "linear", "softmax", "multilabel"}) {
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
    CHECK(by_threads.out.substr(0, 23) == "customer_id,prediction\n");
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
