// Trainings whose results may not change: model parts, predictions and reports of every file of
// conf/ and conf/public and of ten generated trainings, against digests in *.txt of this directory.
//
// A training is deterministic, so a change of the code that was not meant to change what is trained
// leaves every digest as it is. The numbers beside a digest are there to be read when it differs:
// a loss that moved in the 16th digit is another order of summation, one that moved in the second
// is another algorithm. VFLBUS_ACCEPT=1 writes the files anew; read the difference before you
// commit it.
//
// Each training states every agreed key, so that it goes on to test the same algorithm when a
// default changes or a file of conf/ is revised. A digest covers the listed fields of a file:
// what a later version adds to it changes nothing here, what it drops does.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/hash.hpp"
#include "catch.hpp"
#include "proc/support.hpp"

using namespace proc;
using JsonValue = nlohmann::json;
using Settings = std::map<std::string, std::string>;

namespace {

/// The agreed half with the defaults of the day on which the digests were made.
const Settings agreed{
    {"run.seed", "1"},
    {"run.protocol", "honest"},
    {"model.sequential", "false"},
    {"model.epochs", "20"},
    {"model.batch_size", "256"},
    {"model.learning_rate", "0.1"},
    {"model.optimizer", "sgd"},
    {"model.momentum", "0"},
    {"model.adam_beta1", "0.9"},
    {"model.adam_beta2", "0.999"},
    {"model.adam_epsilon", "1e-08"},
    {"model.weight_decay", "0"},
    {"model.reg_lambda", "0.5"},
    {"model.intercept", "true"},
    {"model.class_weights", "none"},
    {"model.shuffle", "true"},
    {"model.report_train_metrics_iteration", "0"},
    {"model.report_test_metrics_iteration", "0"},
    {"model.label_holder_alone", "true"},
    {"data.dataset_size", "0"},
    {"data.duplicates", "refuse"},
    {"data.test_fraction", "0"},
    {"data.stratify", "false"},
    {"data.id_salt", ""},
    {"data.standardize", "true"},
    {"data.one_hot_max", "32"},
};

struct Training {
    std::string name;
    std::string config;  ///< file of conf/, which then names columns; empty: none
    std::string task;
    int members = 2;
    Settings settings;  ///< where it differs from `agreed`; model. stands before a bare key
    int rows = 10000;   ///< of `vflbus data synth`; 0: the tables are those of the file
    bool test_tables = false;
    std::string predict_key = "data";  ///< of each party: which of its tables is predicted
};

// -- what is compared -----------------------------------------------------------------

std::string digest(const std::string& text) {
    return vflbus::to_hex(vflbus::hash128(text)).substr(0, 24);
}

JsonValue fields_of(const JsonValue& from, const std::vector<std::string>& names) {
    JsonValue chosen = JsonValue::object();
    for (const std::string& name : names)
        if (from.contains(name)) chosen[name] = from[name];
    return chosen;
}

/// One line per part: its digest, the shape of its weights, the first weight, the intercept.
std::string model_line(const std::string& party, const std::string& text) {
    const JsonValue part = JsonValue::parse(text);
    const JsonValue kept = fields_of(
        part, {"party", "role", "rank", "world_size", "protocol", "task", "seed", "steps",
               "outputs", "features", "columns", "weights", "intercept", "labels", "report"});
    std::string line = "model " + party + " " + digest(kept.dump());
    const JsonValue& weights = part.at("weights");
    line += " weights " + std::to_string(weights.size());
    if (!weights.empty()) {
        line += "x" + std::to_string(weights[0].size());
        if (!weights[0].empty()) line += " first " + weights[0][0].dump();
    }
    if (part.contains("intercept") && !part["intercept"].empty())
        line += " intercept " + part["intercept"][0].dump();
    return line + "\n";
}

std::string numbers_of(const JsonValue& metrics) {
    std::string text;
    for (const auto& [name, value] : metrics.items()) text += " " + name + " " + value.dump();
    return text;
}

/// The digest of a report without ids, times, bytes, paths and versions; then its last numbers.
std::string report_lines(const JsonValue& report) {
    JsonValue kept = fields_of(report, {"status", "reason", "model", "task", "protocol", "seed",
                                        "rows", "steps", "epochs", "metrics", "history"});
    for (const JsonValue& party : report.at("parties"))
        kept["parties"].push_back(fields_of(party, {"name", "role", "rank", "rows", "rows_matched",
                                                    "features", "left_out", "missing_cells"}));
    // points of the curve without metrics came later
    JsonValue measured = JsonValue::array();
    for (const JsonValue& entry : report.at("history"))
        if (!entry.at("metrics").empty()) measured.push_back(entry);
    kept["history"] = measured;
    std::string text = "report " + digest(kept.dump()) + " steps " + report.at("steps").dump() +
                       " history " + std::to_string(measured.size()) + " rows " +
                       report.at("rows").at("train").dump() + " and " +
                       report.at("rows").at("test").dump() + "\n";
    const JsonValue& metrics = report.at("metrics");
    text += "train" + numbers_of(metrics.at("train")) + "\n";
    text += "test" + numbers_of(metrics.at("test")) + "\n";
    if (metrics.contains("label_holder_alone"))
        text += "alone" + numbers_of(metrics["label_holder_alone"].at("train")) + "\n";
    return text;
}

std::string prediction_line(const std::string& csv) {
    const std::size_t head = csv.find('\n') + 1;
    const std::string first = csv.substr(head, csv.find('\n', head) - head);
    return "predictions " + digest(csv) + " rows " +
           std::to_string(std::count(csv.begin(), csv.end(), '\n') - 1) + " first " + first + "\n";
}

// -- one training ---------------------------------------------------------------------

std::string party_name(int i) {
    return i == 0 ? "master" : "member-" + std::to_string(i - 1);
}

/// The columns and tables of generated parties, in `dir`/data.
Settings generated_parties(const TempDir& dir, const Training& training) {
    const Finished made =
        run(dir, {"data", "synth", "--task", training.task, "--out", "data", "--rows",
                  std::to_string(training.rows), "--members", std::to_string(training.members),
                  "--test-files", "--predict-files", "--seed", "1"});
    INFO(made.err);
    REQUIRE(made.exit_code == 0);
    const std::map<std::string, std::string> labels{
        {"linear", "credit_limit"},
        {"logistic", "default"},
        {"softmax", "rating"},
        {"multilabel", "default,late_30_days,overdraft,churn,fraud"}};
    const std::vector<std::string> files{"bank", "telecom", "shop", "insurer", "energy"};
    Settings settings{{"party.master.label", labels.at(training.task)}};
    for (int i = 0; i <= training.members; ++i) {
        const std::string section = "party." + party_name(i) + ".";
        const std::string file = dir / "data/" + files[static_cast<std::size_t>(i)];
        settings[section + "id"] = "customer_id";
        settings[section + "data"] = file + ".csv";
        settings[section + "predict_data"] = file + "_predict.csv";
        if (training.test_tables) settings[section + "test_data"] = file + "_test.csv";
    }
    return settings;
}

/// The tables that a file of conf/public names are those to predict as well.
Settings public_parties(const Training& training) {
    Settings settings;
    const std::string text = slurp(training.config);
    for (int i = 0; i <= training.members; ++i) {
        const std::size_t section = text.find("[party." + party_name(i) + "]");
        REQUIRE(section != std::string::npos);
        const std::string key = "\n" + training.predict_key + " = \"../../../shared/data/";
        const std::size_t at = text.find(key, section);
        REQUIRE(at != std::string::npos);
        const std::size_t from = at + key.size();
        settings["party." + party_name(i) + ".predict_data"] =
            std::string(std::getenv("VFLBUS_SHARED_DATA")) + "/" +
            text.substr(from, text.find('"', from) - from);
    }
    return settings;
}

std::string results_of(const Training& training) {
    INFO(training.name);
    const TempDir dir;
    Settings settings = agreed;
    settings["run.world_size"] = std::to_string(training.members);
    settings["model.task"] = training.task;
    settings["output.runs_dir"] = dir / "runs";
    for (const auto& [key, value] : training.settings)
        settings[key.find('.') == std::string::npos ? "model." + key : key] = value;
    settings.merge(training.rows > 0 ? generated_parties(dir, training) : public_parties(training));

    Words launch{"launch", "--threads", "--quiet", "--run-id", run_id};
    if (!training.config.empty()) launch.insert(launch.end(), {"--config", training.config});
    for (const auto& [key, value] : settings)
        launch.insert(launch.end(), {"--set", key + "=" + value});
    const Finished trained = run(dir, launch);
    INFO(trained.err);
    REQUIRE(trained.exit_code == 0);
    const fs::path run_dir = fs::path(dir / "runs") / run_id;

    const Finished predicted = run(
        dir, {"predict", "--threads", "--quiet", "--model", run_dir.string(), "--out", "p.csv"});
    INFO(predicted.err);
    REQUIRE(predicted.exit_code == 0);

    std::string text = "[" + training.name + "]\n";
    for (const auto& [party, part] : models(run_dir)) text += model_line(party, part);
    return text + report_lines(JsonValue::parse(slurp(run_dir / "report.json"))) +
           prediction_line(slurp(dir / "p.csv"));
}

void compare(const std::string& name, const std::vector<Training>& trainings) {
    std::string now;
    for (const Training& training : trainings) now += results_of(training) + "\n";
    const std::string path = std::string(VFLBUS_GOLDEN_MODELS) + "/" + name + ".txt";
    const char* const accept = std::getenv("VFLBUS_ACCEPT");
    if (accept != nullptr && std::string(accept) == "1") {
        spit(path, now);
        return;
    }
    INFO(path);
    const std::string then = slurp(path);
    REQUIRE(!then.empty());
    // line by line, so that a difference is read and not searched
    std::istringstream before(then), after(now);
    std::string training;
    for (std::string old_line, new_line; std::getline(before, old_line);) {
        REQUIRE(std::getline(after, new_line));
        if (!old_line.empty() && old_line[0] == '[') training = old_line;
        INFO(training);
        CHECK(new_line == old_line);
    }
    CHECK(now == then);
}

std::string source(const std::string& file) {
    return std::string(std::getenv("VFLBUS_SOURCE")) + "/" + file;
}

}  // namespace

TEST_CASE("the files of conf/ train what they trained", "[conf]") {
    const Settings report{{"report_train_metrics_iteration", "100"},
                          {"report_test_metrics_iteration", "100"},
                          {"learning_rate", "0.05"},
                          {"momentum", "0.9"},
                          {"data.test_fraction", "0.2"}};
    const auto with = [&](Settings more) {
        more.insert(report.begin(), report.end());
        return more;
    };
    compare("conf",
            {{"conf/linear", source("conf/linear.toml"), "linear", 2, with({{"epochs", "30"}})},
             {"conf/logistic", source("conf/logistic.toml"), "logistic", 2,
              with({{"weight_decay", "0.0001"}})},
             {"conf/multilabel", source("conf/multilabel.toml"), "multilabel", 2, report},
             {"conf/sequential", source("conf/sequential.toml"), "linear", 2,
              with({{"sequential", "true"},
                    {"batch_size", "0"},
                    {"momentum", "0"},
                    {"report_train_metrics_iteration", "1"},
                    {"report_test_metrics_iteration", "1"}})},
             {"conf/softmax", source("conf/softmax.toml"), "softmax", 2,
              with({{"epochs", "30"},
                    {"learning_rate", "0.02"},
                    {"optimizer", "adam"},
                    {"momentum", "0"}})}});
}

TEST_CASE("generated trainings give what they gave", "[generated]") {
    compare("generated",
            {{"linear, one member, all rows at once",
              "",
              "linear",
              1,
              {{"batch_size", "0"}, {"momentum", "0.95"}, {"data.test_fraction", "0.3"}},
              400},
             {"linear, four members, Adam, test tables",
              "",
              "linear",
              4,
              {{"batch_size", "64"}, {"optimizer", "adam"}, {"report_test_metrics_iteration", "7"}},
              900,
              true},
             {"sequential, three members, batches",
              "",
              "linear",
              3,
              {{"sequential", "true"},
               {"epochs", "4"},
               {"batch_size", "100"},
               {"report_train_metrics_iteration", "3"},
               {"reg_lambda", "2.5"}},
              800,
              true},
             {"sequential, one member, no intercept",
              "",
              "linear",
              1,
              {{"sequential", "true"},
               {"epochs", "6"},
               {"batch_size", "0"},
               {"intercept", "false"},
               {"data.test_fraction", "0.25"}},
              500},
             {"logistic, three members, balanced",
              "",
              "logistic",
              3,
              {{"epochs", "7"},
               {"batch_size", "33"},
               {"class_weights", "balanced"},
               {"report_train_metrics_iteration", "20"},
               {"data.id_salt", "a salt"}},
              1000,
              true},
             {"logistic, one member, rows in order",
              "",
              "logistic",
              1,
              {{"epochs", "5"},
               {"batch_size", "1"},
               {"learning_rate", "0.01"},
               {"shuffle", "false"},
               {"data.dataset_size", "120"},
               {"label_holder_alone", "false"},
               {"run.seed", "99"}},
              300},
             {"logistic, four members, Adam of its own",
              "",
              "logistic",
              4,
              {{"optimizer", "adam"},
               {"adam_beta1", "0.8"},
               {"adam_beta2", "0.99"},
               {"adam_epsilon", "0.0001"},
               {"weight_decay", "0.01"},
               {"class_weights", "[1, 4]"},
               {"data.test_fraction", "0.1"}},
              1500},
             {"softmax, two members, raw columns",
              "",
              "softmax",
              2,
              {{"learning_rate", "0.000001"},
               {"data.standardize", "false"},
               {"data.one_hot_max", "3"},
               {"data.duplicates", "first"}},
              600,
              true},
             {"softmax, four members, one batch",
              "",
              "softmax",
              4,
              {{"batch_size", "0"}, {"momentum", "0.5"}, {"class_weights", "balanced"}},
              700,
              true},
             {"multilabel, three members, Adam",
              "",
              "multilabel",
              3,
              {{"batch_size", "128"},
               {"optimizer", "adam"},
               {"intercept", "false"},
               {"report_train_metrics_iteration", "11"},
               {"data.test_fraction", "0.2"}},
              800}});
}

TEST_CASE("the public sets train what they trained", "[public]") {
    const char* const where = std::getenv("VFLBUS_SHARED_DATA");
    if (where == nullptr || !fs::is_directory(where)) {
        std::puts("skipped: there is no ../shared/data beside the repository");
        std::fflush(stdout);
        std::_Exit(77);
    }
    const auto file = [](const std::string& name) { return source("conf/public/" + name); };
    compare(
        "public",
        {{"conf/public/breast",
          file("breast.toml"),
          "logistic",
          1,
          {{"epochs", "50"}, {"batch_size", "64"}, {"momentum", "0.9"}},
          0},
         {"conf/public/default_credit",
          file("default_credit.toml"),
          "logistic",
          1,
          {{"learning_rate", "0.002"}, {"optimizer", "adam"}},
          0},
         {"conf/public/mnist_softmax",
          file("mnist_softmax.toml"),
          "softmax",
          2,
          {{"epochs", "10"},
           {"learning_rate", "0.00003"},
           {"optimizer", "adam"},
           {"data.standardize", "false"}},
          0,
          false,
          "test_data"},
         {"conf/public/motor",
          file("motor.toml"),
          "linear",
          2,
          {{"epochs", "500"}, {"batch_size", "0"}, {"learning_rate", "0.2"}, {"momentum", "0.95"}},
          0},
         {"conf/public/motor_sequential",
          file("motor_sequential.toml"),
          "linear",
          2,
          {{"sequential", "true"}, {"batch_size", "0"}},
          0},
         {"conf/public/vehicle",
          file("vehicle.toml"),
          "softmax",
          1,
          {{"epochs", "1000"}, {"batch_size", "0"}, {"optimizer", "adam"}},
          0}});
}
