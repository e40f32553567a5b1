// Losses by row, the best constant, and what is clearly worse.

#include "models/metrics.hpp"
#include "models/verdict.hpp"
#include "support.hpp"

using namespace vflbus::models;
using namespace support;

namespace {

Labels labels_to_judge(Task task, std::size_t n, Rng& rng) {
    Labels out;
    out.task = task;
    out.classes = task == Task::softmax ? 3 : 0;
    out.values.resize(n, task == Task::multilabel || task == Task::linear ? 2 : 1);
    for (double& y : out.values.span())
        y = task == Task::linear    ? 5 + normal(rng)
            : task == Task::softmax ? static_cast<double>(rng.below(3))
                                    : static_cast<double>(rng.below(3) == 0);
    return out;
}

double mean_of(std::span<const double> values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
}

}  // namespace

TEST_CASE("the mean of the rows' losses is the loss of the metrics") {
    Rng rng(1);
    for (const Task task : all_tasks) {
        const Labels labels = labels_to_judge(task, 40, rng);
        Matrix p(40, labels.outputs());
        for (double& value : p.span()) value = task == Task::linear ? normal(rng) : rng.uniform();
        p(3, 0) = task == Task::linear ? 1e6 : 1;  // sure of it, rightly or not
        const std::vector<double> losses = row_losses(labels, p);
        CHECK(mean_of(losses) == Approx(metrics_for(labels, p).get("loss")).epsilon(1e-12));
    }
}

TEST_CASE("no other constant is better than the best one") {
    Rng rng(2);
    for (const Task task : all_tasks) {
        const Labels labels = labels_to_judge(task, 50, rng);
        const Matrix best = constant_prediction(labels, 50);
        const double loss = mean_of(row_losses(labels, best));
        for (std::size_t c = 0; c < best.cols(); ++c)
            for (const double shift : {-0.01, 0.01}) {
                Matrix other = best;
                for (double& value : other.col(c)) value += shift;
                CHECK(mean_of(row_losses(labels, other)) > loss);
            }
    }
}

TEST_CASE("with class weights the best constant is the weighted one") {
    Rng rng(6);
    for (const Task task : {Task::logistic, Task::multilabel, Task::softmax}) {
        const Labels labels = labels_to_judge(task, 60, rng);
        const std::vector<double> weights =
            value_of(weights_of_classes(labels, {ClassWeights::Kind::balanced, {}}));
        const Matrix best = constant_prediction(labels, 60, weights);
        for (const double p : best.span())
            CHECK(p == Approx(task == Task::softmax ? 1.0 / 3 : 0.5).epsilon(1e-12));
        const double loss = mean_of(row_losses(labels, best, weights));
        CHECK(loss < mean_of(row_losses(labels, constant_prediction(labels, 60), weights)));
        CHECK(mean_of(row_losses(labels, best)) >
              mean_of(row_losses(labels, constant_prediction(labels, 60))));
    }
}

TEST_CASE("what differs by noise is not clearly larger") {
    Rng rng(3);
    std::vector<double> a(200), b(200);
    for (std::size_t i = 0; i < 200; ++i) {
        b[i] = rng.uniform();
        a[i] = b[i] + 0.2 * normal(rng);
    }
    CHECK_FALSE(clearly_larger(a, b));
    CHECK_FALSE(clearly_larger(b, b));
    for (std::size_t i = 0; i < 200; ++i) a[i] += 0.1;
    CHECK(clearly_larger(a, b));
    CHECK_FALSE(clearly_larger(b, a));
    // the same for every row is sure, unless it is rounding
    std::vector<double> c = b;
    for (double& value : c) value += 1e-3;
    CHECK(clearly_larger(c, b));
    const std::vector<double> ones(10, 1.0);
    CHECK_FALSE(clearly_larger(std::vector<double>(10, 1 + 1e-14), ones));
    CHECK_FALSE(clearly_larger(std::vector<double>{2}, std::vector<double>{1}));
    CHECK_FALSE(clearly_larger(std::vector<double>(5, NAN), std::vector<double>(5, 1.0)));
}

TEST_CASE("a hundred times the loss of the constant, or none, is divergence") {
    Rng rng(4);
    for (const Task task : all_tasks) {
        const Labels labels = labels_to_judge(task, 60, rng);
        const double constant = mean_of(row_losses(labels, constant_prediction(labels, 60)));
        CHECK_FALSE(has_diverged(labels, 0));
        CHECK_FALSE(has_diverged(labels, 99 * constant));
        CHECK(has_diverged(labels, 101 * constant));
        CHECK(has_diverged(labels, NAN));
        CHECK(has_diverged(labels, HUGE_VAL));
        CHECK(has_diverged(labels, 1e117));
    }
    Labels constant{Task::linear, Matrix(20, 1), 0, {}};
    constant.values.fill(1e6);
    CHECK_FALSE(has_diverged(constant, 1e-20));
    CHECK(has_diverged(constant, 1e9));
}
