// Training on the sets of ../shared/data, to the bars that conf/public/*.toml have to meet with the
// same hyperparameters. Skipped, by name, where the folder is absent.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <string>

#include "models/local_trainer.hpp"
#include "models/sequential.hpp"
#include "solver_cases.hpp"
#include "solver_support.hpp"

using namespace vflbus::models;
using namespace support;

namespace {

std::string folder() {
    const char* set = std::getenv("VFLBUS_SHARED_DATA");
    return set != nullptr ? set : VFLBUS_SHARED_DATA;
}

struct Csv {
    std::vector<std::string> header;
    std::map<std::string, std::vector<double>> rows;  // by id
};

/// Plain numbers, the id first; enough for these files and for nothing else.
Csv read_csv(const std::string& name) {
    std::ifstream in(folder() + "/" + name);
    if (!in) FAIL("cannot read " << folder() << "/" << name);
    Csv out;
    std::string line;
    std::getline(in, line);
    std::istringstream head(line);
    for (std::string cell; std::getline(head, cell, ',');) out.header.push_back(cell);
    while (std::getline(in, line)) {
        if (line.empty()) continue;
        const std::size_t comma = line.find(',');
        std::vector<double>& row = out.rows[line.substr(0, comma)];
        row.reserve(out.header.size() - 1);
        for (const char* at = line.c_str() + comma; *at == ',';) {
            char* end = nullptr;
            row.push_back(std::strtod(at + 1, &end));
            at = end;
        }
    }
    return out;
}

struct Set {
    Labels labels;
    std::vector<Design> parties;  // the label holder first; no design for a table of labels only
};

/// Joins by id; the label is the first column of the first file.
Set load(Task task, const std::vector<std::string>& files) {
    std::vector<Csv> tables;
    for (const std::string& file : files) tables.push_back(read_csv(file));
    Set out;
    out.labels.task = task;
    std::vector<double> labels;
    out.parties.resize(tables.size());
    for (std::size_t p = 0; p < tables.size(); ++p)
        out.parties[p].cols = tables[p].header.size() - (p == 0 ? 2 : 1);
    for (const auto& [id, row] : tables[0].rows) {
        const bool common = std::all_of(tables.begin(), tables.end(),
                                        [&](const Csv& table) { return table.rows.contains(id); });
        if (!common) continue;
        labels.push_back(row[0]);
        for (std::size_t p = 0; p < tables.size(); ++p) {
            const std::vector<double>& values = tables[p].rows[id];
            Design& design = out.parties[p];
            design.values.insert(design.values.end(), values.begin() + (p == 0 ? 1 : 0),
                                 values.end());
            ++design.rows;
        }
    }
    if (out.parties[0].cols == 0) out.parties.erase(out.parties.begin());
    out.labels.values.resize(labels.size(), 1);
    const double least = *std::min_element(labels.begin(), labels.end());
    const double most = *std::max_element(labels.begin(), labels.end());
    for (std::size_t i = 0; i < labels.size(); ++i)
        out.labels.values(i, 0) = task == Task::softmax ? labels[i] - least : labels[i];
    if (task == Task::softmax) out.labels.classes = static_cast<std::size_t>(most - least) + 1;
    return out;
}

/// (x - mean) / standard deviation; constant columns go.
void standardize(Design& design) {
    std::vector<double> kept;
    std::size_t cols = 0;
    const double n = static_cast<double>(design.rows);
    for (std::size_t j = 0; j < design.cols; ++j) {
        double mean = 0, square = 0;
        for (std::size_t i = 0; i < design.rows; ++i)
            mean += design.values[i * design.cols + j] / n;
        for (std::size_t i = 0; i < design.rows; ++i)
            square += std::pow(design.values[i * design.cols + j] - mean, 2) / n;
        if (square == 0) continue;
        for (std::size_t i = 0; i < design.rows; ++i)
            kept.push_back((design.values[i * design.cols + j] - mean) / std::sqrt(square));
        ++cols;
    }
    design = row_major({kept.data(), design.rows, cols});
}

struct Plan {
    std::size_t epochs;
    std::size_t batch;
    OptimizerConfig optimizer;
    bool sequential = false;
    double reg_lambda = 0;
    std::uint64_t seed = 1;
};

/// The vertical training of the master and its members, without a bus between them. Scores are
/// summed in the order of the parties.
struct Vertical {
    Head head;
    std::vector<PartyModel> models;
    double seconds = 0;

    Matrix scores(const std::vector<Design>& parties) const {
        Matrix z(parties[0].rows, head.outputs());
        for (std::size_t p = 0; p < parties.size(); ++p)
            add(z.view(), models[p].design_scores(parties[p].view()));
        return z;
    }
};

Vertical train(const Set& set, const Plan& plan) {
    Vertical out{value_of(Head::create(set.labels, {true, {}, plan.optimizer})), {}};
    for (const Design& design : set.parties)
        out.models.emplace_back(design.cols, out.head.outputs(), plan.optimizer);
    const std::size_t n = set.labels.rows();
    const std::size_t parties = set.parties.size();
    std::vector<Matrix> batch(parties), scores(parties);
    Matrix z;
    HeadStep work;
    std::optional<SequentialMaster> sequential;
    if (plan.sequential) sequential.emplace(out.head, parties);
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t epoch = 0; epoch < plan.epochs; ++epoch) {
        for (const auto& rows : batches(n, plan.batch == 0 ? n : plan.batch, plan.seed, epoch)) {
            z.resize(rows.size(), out.head.outputs());
            for (std::size_t p = 0; p < parties; ++p) {
                gather_batch(set.parties[p].view(), rows, batch[p]);
                out.models[p].scores(batch[p], scores[p]);
                add(z.view(), scores[p]);
            }
            if (sequential) {
                require_ok(sequential->begin(scores, rows));
                for (std::size_t p = 0; p < parties; ++p) {
                    const Matrix target = value_of(sequential->target(p));
                    require_ok(
                        out.models[p].fit_ridge(batch[p], target, plan.reg_lambda, scores[p]));
                    require_ok(sequential->accept(p, scores[p]));
                }
                require_ok(sequential->finish());
                continue;
            }
            require_ok(out.head.forward_backward(z, rows, work));
            for (std::size_t p = 0; p < parties; ++p)
                require_ok(out.models[p].update(batch[p], work.residual));
        }
    }
    out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return out;
}

bool absent() {
    if (std::ifstream(folder() + "/README.md")) return false;
    WARN("skipped: " << folder() << " is absent (VFLBUS_SHARED_DATA names another folder)");
    return true;
}

OptimizerConfig sgd(double rate, double momentum, double decay = 0) {
    OptimizerConfig out;
    out.learning_rate = rate;
    out.momentum = momentum;
    out.weight_decay = decay;
    return out;
}

OptimizerConfig adam(double rate, double decay = 0) {
    OptimizerConfig out;
    out.kind = OptimizerKind::adam;
    out.learning_rate = rate;
    out.weight_decay = decay;
    return out;
}

/// The headline figure of all rows, and a line for whoever looks for hyperparameters.
double trained(const std::string& name, Set& set, const Plan& plan) {
    for (Design& design : set.parties) standardize(design);
    const Vertical out = train(set, plan);
    const Metrics metrics = metrics_for(set.labels, out.head.predict(out.scores(set.parties)));
    if (std::getenv("VFLBUS_SHOW") != nullptr)
        std::cout << name << ' ' << metrics.headline() << ' ' << metrics.headline_value()
                  << " loss " << metrics.get("loss") << " in " << out.seconds << " s\n";
    return metrics.headline_value();
}

}  // namespace

TEST_CASE("default_credit reaches the joined AUC in 20 epochs at batch 256", "[public]") {
    if (absent()) return;
    Set set =
        load(Task::logistic, {"default_credit_hetero_guest.csv", "default_credit_hetero_host.csv"});
    REQUIRE(set.labels.rows() == 30000);
    CHECK(trained("default_credit", set, {20, 256, adam(0.002)}) >= 0.7222);
}

TEST_CASE("default_credit with permuted labels learns nothing", "[public]") {
    if (absent()) return;
    Set set =
        load(Task::logistic, {"default_credit_hetero_guest.csv", "default_credit_hetero_host.csv"});
    const auto order = batches(set.labels.rows(), set.labels.rows(), 99, 0).front();
    set.labels = select(set.labels, order);
    const double auc = trained("default_credit, permuted", set, {20, 256, adam(0.002)});
    CHECK(auc > 0.47);
    CHECK(auc < 0.53);
}

TEST_CASE("breast reaches the joined AUC", "[public]") {
    if (absent()) return;
    Set set = load(Task::logistic, {"breast_hetero_guest.csv", "breast_hetero_host.csv"});
    CHECK(trained("breast", set, {50, 64, sgd(0.1, 0.9)}) >= 0.9955);
}

TEST_CASE("vehicle reaches the joined accuracy by softmax", "[public]") {
    if (absent()) return;
    Set set =
        load(Task::softmax, {"vehicle_scale_hetero_guest.csv", "vehicle_scale_hetero_host.csv"});
    REQUIRE(set.labels.outputs() == 4);
    CHECK(trained("vehicle", set, {1000, 0, adam(0.1)}) >= 0.83);
}

TEST_CASE("motor of three parties reaches the joined R2", "[public]") {
    if (absent()) return;
    Set set = load(Task::linear, {"motor_hetero_guest.csv", "motor_hetero_host_1.csv",
                                  "motor_hetero_host_2.csv"});
    REQUIRE(set.parties.size() == 3);
    CHECK(trained("motor", set, {500, 0, sgd(0.2, 0.95)}) >= 0.921);
}

TEST_CASE("motor by sequential least squares, full batch, lambda 0.5, 20 epochs", "[public]") {
    if (absent()) return;
    Set set = load(Task::linear, {"motor_hetero_guest.csv", "motor_hetero_host_1.csv",
                                  "motor_hetero_host_2.csv"});
    CHECK(trained("motor_sequential", set, {20, 0, sgd(0.05, 0.9), true, 0.5}) >= 0.92);
}

// -- L-BFGS: scikit-learn's figures, with no hyperparameter chosen ------------------------

namespace {

/// scikit-learn's figures of a set; see make_solver_cases.py.
SharedCase stored(const std::string& name) {
    for (const SharedCase& which : shared_cases)
        if (which.name == name) return which;
    FAIL("no stored case " << name);
    return {};
}

struct Solved {
    std::uint64_t round_trips = 0;
    double figure = 0;
};

/// By the vertical halves, or by the label holder's columns alone.
Solved solved(const Set& set, const LbfgsTrainerConfig& config,
              std::span<const double> row_weights = {}) {
    VerticalTraining training(set.parties, set.labels, config, row_weights);
    training.run();
    CHECK(training.master->end() == LbfgsEnd::converged);
    const Solved out{training.parties[0].rounds(),
                     figure(set.labels, training.predict(set.parties))};
    if (std::getenv("VFLBUS_SHOW") != nullptr)
        std::cout << "lbfgs " << out.figure << " in " << out.round_trips << " round trips\n";
    return out;
}

}  // namespace

TEST_CASE("L-BFGS reaches scikit-learn's figures on every set, and the label holder alone too",
          "[public]") {
    if (absent()) return;
    struct Files {
        const char* name;
        Task task;
        std::vector<std::string> files;
        std::uint64_t round_trips_max;
    };
    const std::vector<Files> sets = {
        {"default_credit",
         Task::logistic,
         {"default_credit_hetero_guest.csv", "default_credit_hetero_host.csv"},
         40},
        {"breast", Task::logistic, {"breast_hetero_guest.csv", "breast_hetero_host.csv"}, 25},
        {"vehicle",
         Task::softmax,
         {"vehicle_scale_hetero_guest.csv", "vehicle_scale_hetero_host.csv"},
         60},
        {"motor",
         Task::linear,
         {"motor_hetero_guest.csv", "motor_hetero_host_1.csv", "motor_hetero_host_2.csv"},
         15},
        {"mnist",
         Task::softmax,
         {"mnist_labels_train.csv", "mnist_left_train.csv", "mnist_right_train.csv"},
         160}};
    for (const Files& which : sets) {
        Set set = load(which.task, which.files);
        for (Design& design : set.parties) standardize(design);
        const SharedCase expected = stored(which.name);
        const double allowed = which.task == Task::linear ? 0.005 * expected.joined : 0.002;
        INFO(which.name);
        const Solved joined = solved(set, {});
        CHECK(joined.figure == Approx(expected.joined).margin(allowed));
        CHECK(joined.round_trips <= which.round_trips_max);
        if (std::isnan(expected.alone)) continue;
        set.parties.resize(1);
        CHECK(solved(set, {}).figure == Approx(expected.alone).margin(allowed));
    }
}

TEST_CASE("weights of classes and rows give scikit-learn's figures on default_credit", "[public]") {
    if (absent()) return;
    Set set =
        load(Task::logistic, {"default_credit_hetero_guest.csv", "default_credit_hetero_host.csv"});
    for (Design& design : set.parties) standardize(design);
    LbfgsTrainerConfig balanced;
    balanced.class_weights.kind = ClassWeights::Kind::balanced;
    CHECK(solved(set, balanced).figure ==
          Approx(stored("default_credit, balanced").joined).margin(2e-5));
    std::vector<double> weights(set.labels.rows());
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<double>(1 + i % 3);
    CHECK(solved(set, {}, weights).figure ==
          Approx(stored("default_credit, row weights").joined).margin(2e-5));
}

TEST_CASE("mnist by softmax and a master with labels only reaches its test accuracy", "[public]") {
    if (absent()) return;
    const auto files = [](const std::string& part) {
        return std::vector<std::string>{"mnist_labels_" + part + ".csv",
                                        "mnist_left_" + part + ".csv",
                                        "mnist_right_" + part + ".csv"};
    };
    Set train_set = load(Task::softmax, files("train"));
    Set test_set = load(Task::softmax, files("test"));
    REQUIRE(train_set.parties.size() == 2);
    // pixels stay 0..255: standardizing blows up those at the rim that are hardly ever lit
    const Vertical out = train(train_set, {10, 256, adam(3e-5)});
    const Metrics metrics =
        metrics_for(test_set.labels, out.head.predict(out.scores(test_set.parties)));
    if (std::getenv("VFLBUS_SHOW") != nullptr)
        std::cout << "mnist " << metrics.get("accuracy") << " loss " << metrics.get("loss")
                  << " in " << out.seconds << " s\n";
    CHECK(metrics.get("accuracy") >= 0.90);
}
