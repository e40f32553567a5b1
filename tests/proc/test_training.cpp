// One run, every way of starting it: the same model, bit for bit, and the same report.

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include "base/json.hpp"
#include "base/text.hpp"
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

/// The keys of a report as its page names them: "parties[].rows". Below keys whose names are those
/// of the user's data, of metrics or of configuration keys there is nothing to describe.
void add_keys(const Json& json, const std::string& path, std::set<std::string>& keys) {
    static const std::set<std::string> of_user{
        "rows.parties",
        "bytes.parties",
        "configuration",
        "positive_classes",
        "failure",
        "parties[].metrics_without",
        "phase_seconds",
        "metrics.train",
        "metrics.test",
        "metrics.label_holder_alone.train",
        "metrics.label_holder_alone.test",
        "history[].metrics",
        "cross_validation.mean",
        "cross_validation.deviation",
        "cross_validation.folds[].metrics.train",
        "cross_validation.folds[].metrics.test",
        "cross_validation.folds[].metrics.label_holder_alone"};
    if (json.is_array()) {
        keys.insert(path);
        for (const Json& item : json) add_keys(item, path + "[]", keys);
        return;
    }
    if (!json.is_object() || of_user.contains(path)) {
        if (!path.ends_with("[]")) keys.insert(path);
        return;
    }
    for (const auto& item : json.items())
        add_keys(item.value, path.empty() ? item.key : path + "." + item.key, keys);
}

/// What stands in backticks in the first column of the page's table of a report.
std::set<std::string> described_keys() {
    const std::string page = slurp(fs::path(std::getenv("VFLBUS_SOURCE")) / "docs/operating.md");
    const std::size_t begin = page.find("\n## report.json\n");
    std::istringstream table(page.substr(begin, page.find("\n## ", begin + 1) - begin));
    std::set<std::string> keys;
    for (std::string line; std::getline(table, line);) {
        if (!line.starts_with("| `")) continue;
        // names of keys that stand in the text of a line count where they are whole paths
        for (std::size_t at = line.find('`'); at != std::string::npos;) {
            const std::size_t end = line.find('`', at + 1);
            const std::string word = line.substr(at + 1, end - at - 1);
            const bool first = at < line.find(" | ");
            if (first || word.starts_with("parties[].")) keys.insert(word);
            at = line.find('`', end + 1);
        }
    }
    return keys;
}

}  // namespace

TEST_CASE(
    "every key of a report is described on its page, and every one that is described is there",
    "[training]") {
    std::set<std::string> keys;
    const auto report_of = [&](const TempDir& dir, const Words& more, int exit_code = 0) {
        Words words{"launch", "--local", "--config", "run.toml", "--json"};
        words.insert(words.end(), more.begin(), more.end());
        const Finished finished = run(dir, words);
        INFO(finished.err);
        REQUIRE(finished.exit_code == exit_code);
        const Json report = Json::parse(finished.out);
        add_keys(report, "", keys);
        return fs::path(dir / "runs") / report["run_id"].get<std::string>();
    };
    const TempDir dir;
    make_example(dir);
    const auto without = [&](const std::vector<std::string>& keys_of_lines) {
        std::istringstream lines(slurp(dir / "run.toml"));
        std::string kept;
        for (std::string line; std::getline(lines, line);)
            if (std::none_of(keys_of_lines.begin(), keys_of_lines.end(),
                             [&](const std::string& key) { return line.starts_with(key); }))
                kept += line + "\n";
        spit(dir / "run.toml", kept);
    };
    without({"epochs", "batch_size", "learning_rate", "optimizer", "momentum", "weight_decay"});
    // a column that says nothing at the master and at a member, so that something is left out
    for (const char* const party : {"bank", "telecom"})
        for (const char* const table : {"", "_test"}) {
            const fs::path file = fs::path(dir / "data") / (std::string(party) + table + ".csv");
            if (!fs::exists(file)) continue;
            std::istringstream in(slurp(file));
            std::string out;
            for (std::string line; std::getline(in, line);)
                out += line + (out.empty() ? ",one" : ",1") + "\n";
            spit(file, out);
        }
    const fs::path whole = report_of(dir, {"--set", "model.solver=lbfgs"});
    add_keys(Json::parse(slurp(whole / "report.json")), "", keys);
    report_of(dir, {"--set", "model.solver=lbfgs", "--set", "model.max_iterations=1"});
    report_of(dir, {"--set", "party.master.label=nothing"}, 3);
    const Finished predicted =
        run(dir, {"predict", "--local", "--model", whole.filename().string(), "--json"});
    INFO(predicted.err);
    REQUIRE(predicted.exit_code == 0);
    const std::string id = Json::parse(predicted.out)["run_id"].get<std::string>();
    for (const auto& entry : fs::recursive_directory_iterator(dir.path() / "runs"))
        if (entry.path().filename() == "report.json" &&
            entry.path().string().find(id) != std::string::npos)
            add_keys(Json::parse(slurp(entry.path())), "", keys);

    report_of(dir, {"--set", "model.solver=lbfgs", "--set", "model.early_stopping=auc"});
    report_of(dir, {"--set", "model.solver=lbfgs", "--set", "data.join=left"});
    report_of(dir, {"--set", "model.solver=sgd", "--set", "privacy.noise_multiplier=2", "--set",
                    "privacy.score_noise_multiplier=2", "--set", "privacy.insecure_testing=true",
                    "--set", "data.stratify=false", "--set", "model.epochs=1", "--set",
                    "model.report_train_metrics_iteration=0", "--set",
                    "model.report_test_metrics_iteration=0"});
    without({"test_data"});
    report_of(dir,
              {"--folds", "2", "--set", "model.solver=lbfgs", "--set", "model.max_iterations=1"});
    const TempDir labels;
    make_example(labels, "multilabel");
    report_of(labels, {});

    const std::set<std::string> described = described_keys();
    std::string missing;
    for (const std::string& key : keys)
        if (!described.contains(key)) missing += key + " ";
    CHECK(missing == "");
    std::string stale;
    for (const std::string& key : described)
        if (!keys.contains(key) && !keys.contains(key + "[]")) stale += key + " ";
    CHECK(stale == "");
}

TEST_CASE("columns that are copies, sums, constant, huge, tiny or far from 0 do not hurt",
          "[training]") {
    // column j of the member's four, of row i: numbers without a pattern, in [-1, 1)
    const auto value = [](int i, int j) {
        std::uint64_t x = static_cast<std::uint64_t>(i) * 2654435761U +
                          static_cast<std::uint64_t>(j) * 40503U + 12345U;
        for (int k = 0; k < 3; ++k) x = (x ^ (x >> 13)) * 0x9e3779b97f4a7c15U;
        return static_cast<double>(x >> 11) * 0x1p-52 - 1;
    };
    using Columns = std::function<std::vector<double>(int)>;
    const auto plain = [&](int i) {
        return std::vector<double>{value(i, 0), value(i, 1), value(i, 2), value(i, 3)};
    };
    const auto changed = [&](double scale, double offset) -> Columns {
        return [=](int i) {
            std::vector<double> row = plain(i);
            for (double& x : row) x = x * scale + offset;
            return row;
        };
    };
    const std::map<std::string, Columns> tables{
        {"plain", plain},
        {"huge", changed(1e15, 0)},
        {"tiny", changed(1e-150, 0)},
        {"far from 0", changed(1, 1e7)},
        {"constant",
         [&](int i) {
             std::vector<double> row = plain(i);
             row.insert(row.end(), {0, 7, -1e9});
             return row;
         }},
        {"copies",
         [&](int i) {
             std::vector<double> row = plain(i);
             const std::vector<double> same = row;
             for (int k = 0; k < 3; ++k) row.insert(row.end(), same.begin(), same.end());
             return row;
         }},
        {"sums",
         [&](int i) {
             std::vector<double> row = plain(i);
             row.insert(row.end(), {row[0] + row[1], row[2] - 2 * row[3], row[0] + row[3]});
             return row;
         }},
        {"more columns than rows", [&](int i) {
             std::vector<double> row = plain(i);
             for (int j = 4; j < 260; ++j) row.push_back(value(i, j) * 1e-6);
             return row;
         }}};
    for (const std::string task : {"logistic", "linear"}) {
        std::map<std::string, double> figures;
        for (const auto& [name, columns] : tables) {
            INFO(task << ", " << name);
            const TempDir dir;
            std::string left = "id,own,y\n";
            std::string right = "id";
            for (std::size_t j = 0; j < columns(0).size(); ++j) right += ",c" + std::to_string(j);
            right += '\n';
            for (int i = 0; i < 240; ++i) {
                const double y = value(i, 0) + 2 * value(i, 1) - value(i, 3) + value(i, 900) / 2;
                left += std::to_string(i) + "," + vflbus::shortest(value(i, 901)) + "," +
                        (task == "linear" ? vflbus::shortest(y)
                         : y > 0          ? "yes"
                                          : "no") +
                        "\n";
                right += std::to_string(i);
                for (const double x : columns(i)) right += "," + vflbus::shortest(x);
                right += '\n';
            }
            spit(dir / "left.csv", left);
            spit(dir / "right.csv", right);
            const Finished finished = run(
                dir, {"launch", "--threads", "--data", "left.csv", "--data", "right.csv", "--label",
                      "y", "--task", task, "--set", "data.test_fraction=0", "--json"});
            INFO(finished.err);
            REQUIRE(finished.exit_code == 0);
            const Json report = Json::parse(finished.out);
            CHECK(report["converged"].get<bool>());
            figures[name] =
                report["metrics"]["train"][task == "linear" ? "r2" : "auc"].get<double>();
        }
        CAPTURE(task);
        CHECK(figures["plain"] > 0.9);
        // columns are scaled, so these are the same table to the last digits
        for (const char* const same : {"huge", "tiny", "far from 0", "constant"}) {
            INFO(same);
            CHECK(figures[same] == Approx(figures["plain"]).margin(1e-6));
        }
        // the penalty is shared out otherwise, and that is all
        for (const char* const like : {"copies", "sums"}) {
            INFO(like);
            CHECK(figures[like] == Approx(figures["plain"]).margin(0.01));
        }
        CHECK(figures["more columns than rows"] > figures["plain"]);
    }
}

TEST_CASE("the loss has a curve without being asked for one", "[training]") {
    const TempDir dir;
    make_example(dir);
    for (const std::string solver : {"sgd", "adam"}) {
        INFO(solver);
        const Finished finished = train(dir,
                                        {"--threads", "--set", "model.solver=" + solver, "--set",
                                         "model.report_train_metrics_iteration=0"},
                                        solver);
        INFO(finished.err);
        REQUIRE(finished.exit_code == 0);
        const Json report = Json::parse(finished.out);
        REQUIRE(report["steps"].get<std::uint64_t>() >= 20);
        std::size_t points = 0;
        for (const Json& entry : report["history"]) points += entry["split"] == "train" ? 1 : 0;
        CHECK(points >= 20);
    }
}

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
    std::set<std::string> checks;
    for (const std::string how : {"--local", "--threads"}) {
        const Finished finished = run(dir, {"check", how, "--config", "run.toml", "--json"});
        INFO(finished.err);
        REQUIRE(finished.exit_code == 0);
        const Json said = Json::parse(finished.out);
        checks.insert(said["run_id"].get<std::string>());
        REQUIRE(said["parties"].size() == 3);
        CHECK(said["parties"][1]["name"] == "member-0");
        CHECK(said["parties"][1]["rows"].get<int>() > 300);
        CHECK(said["parties"][1]["match_rate"].get<double>() > 0.3);
        CHECK(said["parties"][1]["round_trip_ms"].get<double>() > 0);
        CHECK(said["parties"][1]["version"].get<std::string>().size() >= 5);
        CHECK(said["common"].get<int>() > 300);
        CHECK(left_behind(dir) == "");
    }
    // what its parties have logged lies in one directory for each, under the id that it tells
    std::set<std::string> kept;
    for (const auto& entry : fs::directory_iterator(dir / "runs"))
        kept.insert(entry.path().filename().string());
    CHECK(kept == checks);
    const Finished table = run(dir, {"check", "--local", "--config", "run.toml"});
    CHECK(table.out.find("ids are common to all parties") != std::string::npos);
}

TEST_CASE("the examples in conf/ run on generated data alone", "[training]") {
    const TempDir dir;
    const fs::path conf = fs::path(std::getenv("VFLBUS_SOURCE")) / "conf";
    fs::copy(conf, dir / "conf", fs::copy_options::recursive);
    for (const std::string task : {"linear", "logistic", "multilabel", "softmax", "poisson"})
        REQUIRE(
            run(dir, {"data", "synth", "--task", task, "--rows", "300", "--out", "data/" + task})
                .exit_code == 0);
    REQUIRE(run(dir,
                {"data", "synth", "--pictures", "16x16", "--rows", "300", "--out", "data/pictures"})
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
