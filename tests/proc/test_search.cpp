// vflbus tune, features and train-joined, records that a member lacks, and a source that never
// ends.

#include <cmath>
#include <map>

#include "base/json.hpp"
#include "catch.hpp"
#include "parties.hpp"

using namespace proc;

namespace {

std::string cell_text(double value) {
    return std::to_string(value);
}

/// A bank with labels and a shop; the shop has the ids that `has` says, and some of its own.
void make_bank_and_shop(const TempDir& dir, int people, int lacks_every) {
    std::string bank = "id,age,y\n";
    std::string shop = "id,pay,age\n";
    for (int i = 0; i < people; ++i) {
        const double a = std::sin(i * 1.7);
        const double b = std::cos(i * 2.3);
        const double noise = std::sin(i * 12.9898) * 0.6;
        const std::string id = "c" + std::to_string(i);
        bank += id + "," + cell_text(a) + "," + (a + b + noise > 0 ? "yes" : "no") + "\n";
        if (lacks_every == 0 || i % lacks_every != 1)
            shop += id + "," + cell_text(b) + "," + cell_text(a * b) + "\n";
    }
    shop += "stranger,1,1\n";
    spit(dir / "bank.csv", bank);
    spit(dir / "shop.csv", shop);
}

const Words two_files{"--data", "bank.csv", "--data", "shop.csv", "--label", "y"};

/// In how many runs of a search the log of member-0 has a line with `text`.
int told_by_members(const TempDir& dir, const Json& search, const std::string& text) {
    int runs = 0;
    for (const Json& one : search["runs"]) {
        const fs::path run = fs::path(dir / "runs") / one["run_id"].get<std::string>();
        runs += slurp(run / "member-0/log").find(text) == std::string::npos ? 0 : 1;
    }
    return runs;
}

Json json_of_run(const Finished& finished) {
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    return Json::parse(finished.out);
}

}  // namespace

TEST_CASE("tune trains each combination on the same members", "[search]") {
    const TempDir dir;
    make_bank_and_shop(dir, 150, 0);
    const Json told = json_of_run(run(
        dir, with({"tune", "--grid", "model.l2=0.01,1000", "--grid", "model.max_iterations=50,1",
                   "--jobs", "3", "--json", "--set", "output.log_level=info"},
                  two_files)));
    CHECK(told["status"] == "completed");
    CHECK(told["metric"] == "auc");
    REQUIRE(told["runs"].size() == 4);
    std::string best;
    double best_value = 0;
    for (const Json& one : told["runs"]) {
        CHECK(one["status"] == "completed");
        const double value = one["value"].get<double>();
        if (value > best_value) {
            best_value = value;
            best = one["run_id"].get<std::string>();
        }
        // each run is one like any other, with the model that it has alone
        const fs::path own = fs::path(dir / "runs") / one["run_id"].get<std::string>();
        const Json report = Json::parse(slurp(own / "report.json"));
        CHECK(report["status"] == "completed");
        CHECK(report["metrics"]["test"]["auc"] == one["value"]);
        CHECK(models(own).size() == 2);
    }
    CHECK(told["best"] == best);
    CHECK(fs::exists(told["best_configuration"].get<std::string>()));
    // one of them has aligned, and all go on from there
    CHECK(told_by_members(dir, told, "hashed ids of its training table") == 1);
    CHECK(told_by_members(dir, told, "goes on from an alignment that it has kept") == 3);
    const auto settings = told["runs"][2]["settings"];
    CHECK(settings["model.l2"] == "1000");
    CHECK(settings["model.max_iterations"] == "50");
    const Json alone =
        json_of_run(run(dir, with({"launch", "--threads", "--json", "--set", "model.l2=1000",
                                   "--set", "model.max_iterations=50"},
                                  two_files)));
    const auto own = [&](const std::string& id) {
        std::string text = slurp(fs::path(dir / "runs") / id / "member-0/model.json");
        return replaced(text, id, "");
    };
    CHECK(own(told["runs"][2]["run_id"].get<std::string>()) ==
          own(alone["run_id"].get<std::string>()));
    CHECK(left_behind(dir) == "");

    // for people, with folds and a metric of which less is better
    const Finished table =
        run(dir, with({"tune", "--grid", "model.l2=0.01,1000", "--folds", "3", "--metric", "loss"},
                      two_files));
    INFO(table.err);
    CHECK(table.exit_code == 0);
    CHECK(table.out.find("loss, mean of the folds") != std::string::npos);
    const std::size_t at = table.out.find("  best");
    REQUIRE(at != std::string::npos);
    CHECK(table.out.rfind("0.01", at) > table.out.rfind('\n', at));
    CHECK(table.out.find("Predict with the best: ") != std::string::npos);
}

TEST_CASE("tune trains with members that serve at a bus which stands", "[search]") {
    const TempDir dir;
    const bool folds = GENERATE(false, true);
    make_example(dir);
    const ByHand bus(dir, {});
    // without test tables, and members take over what the owner of a run says
    std::string all = slurp(dir / "run.toml");
    for (std::size_t at = 0; (at = all.find("test_data", at)) != std::string::npos;)
        all.erase(at, all.find('\n', at) + 1 - at);
    spit(dir / "run.toml", all);
    spit(dir / "members.toml", all.substr(all.find("[bus]")));
    std::vector<std::unique_ptr<Process>> members;
    for (const char* const rank : {"0", "1"})
        members.push_back(std::make_unique<Process>(
            dir, Words{"actor", "--role", "member", "--rank", rank, "--broker", bus.endpoint,
                       "--config", "members.toml", "--set", "output.runs_dir=" + (dir / "runs")}));
    Words words{"tune",       "--broker",
                bus.endpoint, "--config",
                "run.toml",   "--json",
                "--jobs",     "2",
                "--grid",     "model.learning_rate=0.1,0.2,0.3",
                "--out",      "best.toml",
                "--set",      "data.alignment=psi",
                "--set",      "output.runs_dir=" + (dir / "runs")};
    words = with(words, folds ? Words{"--folds", "2"} : Words{"--set", "data.test_fraction=0.2"});
    const Json told = json_of_run(run(dir, words));
    REQUIRE(told["runs"].size() == 3);
    for (const Json& one : told["runs"]) {
        CHECK(one["status"] == "completed");
        CHECK(models(fs::path(dir / "runs") / one["run_id"].get<std::string>()).size() == 3);
    }
    CHECK(told_by_members(dir, told, "takes part in a private set intersection") == 1);
    CHECK(told_by_members(dir, told, "goes on from an alignment that it has kept") == 2);
    CHECK(fs::exists(dir / "best.toml"));
    // what the best is trained with alone is the same
    const std::string best = told["best"].get<std::string>();
    const Json alone =
        json_of_run(run(dir, {"launch", "--threads", "--config", "best.toml", "--json", "--set",
                              "output.runs_dir=" + (dir / "alone")}));
    const auto own = [](const fs::path& runs, const std::string& id) {
        return replaced(slurp(runs / id / "member-0/model.json"), id, "");
    };
    CHECK(own(dir / "runs", best) == own(dir / "alone", alone["run_id"].get<std::string>()));
}

TEST_CASE("what cannot be searched is refused before anything runs", "[search]") {
    const TempDir dir;
    make_bank_and_shop(dir, 40, 0);
    const std::map<std::string, Words> refused{
        {"KEY=VALUE", {"--grid", "model.l2"}},
        {"a key of [model] or [data]", {"--grid", "bus.workers=1,2"}},
        {"is there twice", {"--grid", "model.l2=1,1"}},
        {"a value is missing", {"--grid", "model.l2=1,"}},
        {"model.l3", {"--grid", "model.l3=1,2"}},
        {"model.l2", {"--grid", "model.l2=1,-2"}},
        {"rows that tell which model is best",
         {"--grid", "model.l2=1,2", "--set", "data.test_fraction=0"}},
        {"no such metric", {"--grid", "model.l2=1,2", "--metric", "rmse"}},
    };
    for (const auto& [needle, words] : refused) {
        INFO(needle);
        const Finished finished = run(dir, with(with({"tune"}, words), two_files));
        INFO(finished.err);
        CHECK(finished.exit_code != 0);
        CHECK(finished.err.find(needle) != std::string::npos);
    }
    CHECK(left_behind(dir) == "");
}

TEST_CASE("the joined training comes to what the parties come to", "[search]") {
    const TempDir dir;
    make_bank_and_shop(dir, 150, 7);
    const Json parties = json_of_run(run(dir, with({"launch", "--threads", "--json"}, two_files)));
    const Json joined = json_of_run(run(dir, with({"train-joined", "--json"}, two_files)));
    CHECK(joined["rows"]["train"] == parties["rows"]["train"]);
    CHECK(joined["rows"]["test"] == parties["rows"]["test"]);
    for (const std::string split : {"train", "test"})
        for (const std::string metric : {"loss", "auc"}) {
            CAPTURE(split, metric);
            CHECK(joined["metrics"][split][metric].get<double>() ==
                  Approx(parties["metrics"][split][metric].get<double>()).epsilon(1e-6));
        }
    // one column of that name is the master's, the other one is said to be the member's
    const Json part = Json::parse(
        slurp(fs::path(dir / "runs") / joined["run_id"].get<std::string>() / "master/model.json"));
    CHECK(part["features"] == Json::parse(R"(["age", "pay", "member-0.age"])"));
    const Finished left = run(dir, with({"train-joined", "--set", "data.join=left"}, two_files));
    CHECK(left.exit_code != 0);
    CHECK(left.err.find("data.join") != std::string::npos);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("columns are told of by what they say of the label, and chosen by it", "[features]") {
    const TempDir dir;
    make_example(dir);
    const Words local{"--local", "--config", "run.toml"};
    const Json open = json_of_run(run(dir, with({"features", "--json"}, local)));
    CHECK(open["status"] == "completed");
    const Json hidden = json_of_run(
        run(dir, with({"features", "--json", "--set", "run.protocol=encrypted"}, local)));
    CHECK(hidden["rows"] == open["rows"]);
    // the same figures, whether the labels are seen or counted encrypted
    const auto figures = [](const Json& told) {
        std::map<std::string, double> out;
        for (const Json& one : told["columns"])
            out[one["party"].get<std::string>() + " " + one["column"].get<std::string>()] =
                one["information"].get<double>();
        return out;
    };
    const auto expected = figures(open);
    const auto got = figures(hidden);
    REQUIRE(got.size() == expected.size());
    double most = 0;
    for (const auto& [column, value] : expected) {
        CAPTURE(column);
        REQUIRE(got.count(column) == 1);
        CHECK(got.at(column) == Approx(value).margin(1e-9));
        most = std::max(most, value);
    }
    CHECK(most > 0.05);
    const std::string id = hidden["run_id"].get<std::string>();
    const Json own = Json::parse(slurp(dir / ("runs/" + id + "/member-0/features.json")));
    CHECK(own["columns"][0]["column"].get<std::string>() != "");
    CHECK_FALSE(own["columns"][0]["bins"][0].contains("positives"));

    double least = 1;
    for (const Json& one : own["columns"])
        least = std::min(least, one["information"].get<double>());
    const std::string bounds = " information>=" + std::to_string(least + 0.0005);

    // a training takes what keeps the bounds, and predicts without them
    const auto columns_of = [&](const Json& report) {
        const Json part = Json::parse(
            slurp(dir / ("runs/" + report["run_id"].get<std::string>() + "/member-0/model.json")));
        return part["features"].size();
    };
    const Words launch = with({"launch", "--json", "--set", "model.epochs=2"}, local);
    const Json all = json_of_run(run(dir, launch));
    const Json some = json_of_run(run(dir, with(launch, {"--set", "data.select=" + id + bounds})));
    CHECK(columns_of(some) < columns_of(all));
    const Finished predicted =
        run(dir, {"predict", "--local", "--json", "--model", some["run_id"].get<std::string>()});
    INFO(predicted.err);
    CHECK(predicted.exit_code == 0);

    const Finished unknown = run(
        dir, with(launch, {"--set", "data.select=" + std::string(32, 'a') + " information>=0.02"}));
    CHECK(unknown.exit_code != 0);
    CHECK(unknown.err.find("vflbus features") != std::string::npos);
    const Finished wrong =
        run(dir, with(launch, {"--set", "data.select=" + id + " information>0.02"}));
    CHECK(wrong.exit_code == 2);
    CHECK(wrong.err.find("is no bound") != std::string::npos);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("records that a member lacks are used with data.join = left", "[search]") {
    const TempDir dir;
    make_bank_and_shop(dir, 150, 5);
    std::map<std::string, std::string> parts;
    for (const std::string way : {"hashed", "psi"}) {
        const std::string seed_word = way == "psi" ? "data.use_inner_join=false" : "data.join=left";
        const Json told = json_of_run(run(dir, with({"launch", "--local", "--json", "--set",
                                                     seed_word, "--set", "data.alignment=" + way},
                                                    two_files)));
        CHECK(told["rows"]["common"] == 150);
        CHECK(told["parties"][0].find("rows_absent") == nullptr);
        CHECK(told["parties"][1]["rows_matched"] == 120);
        CHECK(told["parties"][1]["rows_absent"] == 30);
        const std::string id = told["run_id"].get<std::string>();
        const Json part = Json::parse(slurp(fs::path(dir / "runs") / id / "member-0/model.json"));
        CHECK(part["features"] == Json::parse(R"(["pay", "age", "has features"])"));
        parts[way] = part["weights"].dump();
        // a prediction of rows of which the member has one
        spit(dir / "new-bank.csv", "id,age\nn1,0.5\nn2,0.5\nc0,0.5\n");
        spit(dir / "new-shop.csv", "id,pay,age\nn2,0.1,0.2\nc0,3,3\nc9,1,1\nc10,1,1\n");
        const Json predicted = json_of_run(
            run(dir, {"predict", "--local", "--model", id, "--data", "new-bank.csv", "--data",
                      "new-shop.csv", "--out", "p.csv", "--json", "--set", "data.common_min=1"}));
        CHECK(predicted["rows"] == 3);
        CHECK(predicted["parties"][1]["rows_absent"] == 1);
        CHECK(slurp(dir / "p.csv").find("\nn1,") != std::string::npos);
    }
    CHECK(parts["hashed"] == parts["psi"]);
    CHECK(left_behind(dir) == "");
}

TEST_CASE("a source that never ends is given up when its own section says so", "[search]") {
    const TempDir dir;
    make_bank_and_shop(dir, 60, 0);
    // whoever has the label, and in whatever order the two files stand
    const std::string endless = "exec:echo id,pay; exec sleep 600";
    for (const Words& both : {Words{"--data", "bank.csv", "--data", endless},
                              Words{"--data", endless, "--data", "bank.csv"}}) {
        const Finished finished = run(dir, with({"launch", "--local", "--label", "y", "--set",
                                                 "party.member-0.source_timeout=0.3"},
                                                both));
        INFO(finished.err);
        CHECK(finished.exit_code == 3);
        CHECK(finished.err.find("did not end within 0.30 s (source_timeout)") != std::string::npos);
    }
    // the master's is slower than a member may be, and is waited for
    const Finished slow =
        run(dir, {"launch", "--threads", "--label", "y", "--data", "exec:sleep 0.6; cat bank.csv",
                  "--data", "shop.csv", "--set", "party.member-0.source_timeout=0.2", "--json"});
    INFO(slow.err);
    CHECK(slow.exit_code == 0);
    CHECK(left_behind(dir) == "");
}
