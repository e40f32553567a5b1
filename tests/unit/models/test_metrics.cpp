// Every metric against what scikit-learn stored in metrics_cases.hpp (make_metrics_cases.py).

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/metric_names.hpp"
#include "metrics_cases.hpp"
#include "models/metrics.hpp"
#include "support.hpp"

using namespace vflbus::models;
using namespace support;
using vflbus::Task;

TEST_CASE("metrics equal scikit-learn's to 1e-9") {
    for (const metrics_cases::Case& one : metrics_cases::all()) {
        Labels labels;
        labels.task = task_named(one.task).value();
        labels.values =
            Matrix(ConstMatrixView{one.labels.data(), one.rows, one.labels.size() / one.rows});
        const ConstMatrixView predictions{one.predictions.data(), one.rows,
                                          one.predictions.size() / one.rows};
        if (labels.task == Task::softmax) labels.classes = predictions.cols;
        const Metrics got = metrics_for(labels, predictions);
        CHECK(got.entries().size() == one.expected.size());
        for (std::size_t i = 0; i < one.expected.size(); ++i) {
            const auto& [name, want] = one.expected[i];
            INFO(one.task << ", " << one.name << ", " << name);
            CHECK(got.entries()[i].first == name);
            if (std::isnan(want))
                CHECK(std::isnan(got.get(name)));
            else
                CHECK(std::abs(got.get(name) - want) <= 1e-9 * std::max(1.0, std::abs(want)));
        }
        CHECK(got.contains(got.headline()));
        CHECK(got.headline() == headline_metric(labels.task));
    }
}

TEST_CASE("an AUC counts pairs, ties as halves") {
    Rng rng(5);
    std::vector<double> y(300), p(300);
    for (std::size_t i = 0; i < y.size(); ++i) {
        y[i] = rng.below(3) == 0 ? 1 : 0;
        p[i] = static_cast<double>(rng.below(20)) / 20;
    }
    double won = 0, pairs = 0;
    for (std::size_t i = 0; i < y.size(); ++i)
        for (std::size_t j = 0; j < y.size(); ++j)
            if (y[i] == 1 && y[j] == 0) {
                pairs += 1;
                won += p[i] > p[j] ? 1 : p[i] == p[j] ? 0.5 : 0;
            }
    CHECK(auc(y, p) == Approx(won / pairs).epsilon(1e-14));
}

TEST_CASE("AUC and KS of many scores of any sign are those of the ranks") {
    Rng rng(7);
    std::vector<double> y;
    std::vector<double> score;
    for (int i = 0; i < 20'000; ++i) {
        const double truth = rng.uniform() < 0.3 ? 1 : 0;
        double value = (rng.uniform() - 0.5) * std::pow(10, std::floor(rng.uniform() * 12) - 6);
        if (i % 50 == 0) value = i % 100 == 0 ? 0.0 : -0.0;
        if (i % 7 == 0) value = std::round(value);
        y.push_back(truth);
        score.push_back(truth != 0 ? value + 0.1 : value);  // -0.0 + 0 would be 0.0
    }
    // with average ranks of equal scores (Mann and Whitney), and by the distribution functions
    std::vector<std::size_t> order(y.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t i) { return score[i]; });
    double ranks = 0;
    double apart = 0;
    double below = 0;
    double below_positive = 0;
    const double positives = std::accumulate(y.begin(), y.end(), 0.0);
    const double negatives = static_cast<double>(y.size()) - positives;
    for (std::size_t i = 0; i < order.size();) {
        std::size_t end = i;
        while (end < order.size() && score[order[end]] == score[order[i]]) ++end;
        const double rank = (static_cast<double>(i + 1) + static_cast<double>(end)) / 2;
        for (; i < end; ++i) {
            ranks += y[order[i]] * rank;
            below_positive += y[order[i]];
            below += 1 - y[order[i]];
        }
        apart = std::max(apart, std::abs(below_positive / positives - below / negatives));
    }
    const double expected = (ranks - positives * (positives + 1) / 2) / (positives * negatives);
    CHECK(auc(y, score) == Approx(expected).epsilon(1e-12));
    CHECK(ks(y, score) == Approx(apart).epsilon(1e-12));
}

TEST_CASE("what is undefined is NaN") {
    const std::vector<double> y = {0, 1, 1};
    const std::vector<double> bad = {0.5, std::nan(""), 0.1};
    const std::vector<double> endless = {0.5, HUGE_VAL, 0.1};
    for (const auto figure : {auc, ks, log_loss, accuracy, f1, rmse, mae, r2}) {
        CHECK(std::isnan(figure(y, bad)));
        CHECK(std::isnan(figure(y, endless)));
        CHECK(std::isnan(figure({}, {})));
    }
    CHECK(std::isnan(auc(std::vector<double>{1, 1}, std::vector<double>{0.1, 0.2})));
    CHECK(std::isnan(ks(std::vector<double>{0, 0}, std::vector<double>{0.1, 0.2})));
    CHECK(std::isnan(r2(std::vector<double>{1}, std::vector<double>{1})));
    Labels labels{Task::softmax, Matrix(3, 1), 2, {}};
    Matrix p(3, 2);
    p(1, 1) = std::nan("");
    const Metrics got = metrics_for(labels, p);
    for (const auto& [name, value] : got.entries()) CHECK(std::isnan(value));
}

TEST_CASE("labels with names get an AUC each") {
    Labels labels{Task::multilabel, Matrix(4, 2), 0, {"late", "lost"}};
    labels.values(0, 0) = labels.values(3, 1) = 1;
    Matrix p(4, 2);
    p(0, 0) = 0.9;
    p(2, 1) = 0.7;
    const Metrics got = metrics_for(labels, p);
    CHECK(got.get("auc[late]") == 1);
    CHECK(got.get("auc[lost]") == Approx(1.0 / 3));
    CHECK(got.entries().back().first == "auc[lost]");
    CHECK(std::isnan(got.get("no such metric")));
    CHECK_FALSE(got.contains("no such metric"));
}

TEST_CASE("what a configuration may name is what is measured") {
    for (const Task task : {Task::linear, Task::logistic, Task::multilabel, Task::softmax,
                            Task::poisson, Task::gamma, Task::tweedie}) {
        INFO(name_of(task));
        Labels labels;
        labels.task = task;
        labels.classes = task == Task::softmax ? 2 : 0;
        labels.values.resize(4, task == Task::multilabel ? 2 : 1);
        Matrix predictions(4, task == Task::multilabel || task == Task::softmax ? 2 : 1);
        for (double& value : labels.values.span()) value = 1;
        for (double& value : predictions.span()) value = 0.5;
        labels.values(0, 0) = task == Task::gamma ? 2 : 0;
        std::vector<std::string> measured;
        const Metrics metrics = metrics_for(labels, predictions);
        for (const auto& [name, value] : metrics.entries()) measured.push_back(name);
        const auto named = vflbus::metric_names(task);
        CHECK(measured == std::vector<std::string>(named.begin(), named.end()));
    }
}
