// Residual and curvature by finite differences, weights of rows and classes, scaled labels.

#include <algorithm>

#include "models/objective.hpp"
#include "support.hpp"

using namespace vflbus;
using namespace vflbus::models;
using namespace support;

namespace {

/// Linear and multilabel: three columns each.
Labels labels_in_threes(Task task, std::size_t n, Rng& rng) {
    Labels out;
    out.task = task;
    out.classes = task == Task::softmax ? 4 : 0;
    out.values.resize(n, task == Task::multilabel || task == Task::linear ? 3 : 1);
    for (double& y : out.values.span())
        y = task == Task::linear    ? 40 + 3 * normal(rng)
            : task == Task::softmax ? static_cast<double>(rng.below(4))
                                    : static_cast<double>(rng.below(3) == 0);
    return out;
}

struct Panel {
    double loss = 0;  ///< mean
    Matrix residual;
};

Panel measure(const Objective& objective, std::size_t group, const Matrix& z) {
    Panel out;
    ObjectiveScratch scratch;
    out.residual.resize(z.rows(), z.cols());
    out.loss = objective.loss_and_residual(group, 0, z, out.residual.view(), scratch) /
               objective.total_weight();
    return out;
}

std::vector<double> some_weights(std::size_t n) {
    std::vector<double> out(n);
    for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<double>(i % 4);
    return out;
}

}  // namespace

TEST_CASE("the residual is the slope of the mean loss, the curvature that of the residual") {
    Rng rng(1);
    const double h = 1e-5;
    for (const Task task : all_tasks)
        for (const bool weighted : {false, true}) {
            ClassWeights classes;
            if (weighted && task != Task::linear) classes.kind = ClassWeights::Kind::balanced;
            const Objective objective =
                value_of(Objective::create(labels_in_threes(task, 23, rng), true, classes,
                                           weighted ? some_weights(23) : std::vector<double>{}));
            INFO(name_of(task));
            for (std::size_t group = 0; group < objective.groups(); ++group) {
                Matrix z = random_matrix(23, objective.group_outputs(), rng);
                const Panel here = measure(objective, group, z);
                Matrix curve(23, z.cols());
                std::vector<double> share(23);
                ObjectiveScratch scratch;
                objective.curvature(group, 0, z, curve.view(), share, scratch);
                for (std::size_t i = 0; i < 23; ++i)
                    for (std::size_t c = 0; c < z.cols(); ++c) {
                        const double at = z(i, c);
                        z(i, c) = at + h;
                        const Panel up = measure(objective, group, z);
                        z(i, c) = at - h;
                        const Panel down = measure(objective, group, z);
                        z(i, c) = at;
                        CHECK(here.residual(i, c) ==
                              Approx((up.loss - down.loss) / (2 * h)).margin(1e-9));
                        for (std::size_t e = 0; e < z.cols(); ++e) {
                            const double expected = task == Task::softmax
                                                        ? share[i] * ((e == c ? curve(i, c) : 0) -
                                                                      curve(i, e) * curve(i, c))
                                                        : curve(i, c);
                            CHECK((up.residual(i, e) - down.residual(i, e)) / (2 * h) ==
                                  Approx(expected).margin(1e-9));
                        }
                    }
            }
        }
}

TEST_CASE("a row of weight 3 counts like three rows, one of weight 0 like none") {
    Rng rng(2);
    for (const Task task : all_tasks) {
        const Labels labels = labels_in_threes(task, 40, rng);
        std::vector<double> weights(40);
        std::vector<RowIndex> repeated;
        for (RowIndex i = 0; i < 40; ++i) {
            weights[i] = static_cast<double>(i % 4);
            for (RowIndex j = 0; j < i % 4; ++j) repeated.push_back(i);
        }
        const Objective weighted = value_of(Objective::create(labels, true, {}, weights));
        const Objective many = value_of(Objective::create(select(labels, repeated), true, {}));
        CHECK(weighted.total_weight() == many.total_weight());
        for (std::size_t c = 0; c < weighted.outputs(); ++c) {
            CHECK(weighted.start()[c] == Approx(many.start()[c]).margin(1e-14));
            CHECK(weighted.unit()[c] == Approx(many.unit()[c]).epsilon(1e-13));
            CHECK(weighted.shift()[c] == Approx(many.shift()[c]).epsilon(1e-13));
        }
        const Matrix z = random_matrix(40, weighted.group_outputs(), rng);
        Matrix z_many;
        gather_rows(z, repeated, z_many);
        CHECK(measure(weighted, 0, z).loss == Approx(measure(many, 0, z_many).loss).epsilon(1e-12));
    }
}

TEST_CASE("linear labels are scaled to mean 0 and variance 1, whatever their size") {
    Rng rng(3);
    for (const double size : {1e-200, 1e-3, 1.0, 1e7, 1e200}) {
        Labels labels = labels_in_threes(Task::linear, 60, rng);
        for (double& y : labels.values.span()) y *= size;
        const Objective objective = value_of(Objective::create(labels, true, {}));
        for (std::size_t c = 0; c < 3; ++c) {
            CHECK(objective.shift()[c] == Approx(40 * size).epsilon(0.1));
            CHECK(objective.unit()[c] == Approx(3 * size).epsilon(0.3));
            // the loss of the mean is half the variance
            CHECK(measure(objective, c, Matrix(60, 1)).loss == Approx(0.5).epsilon(1e-12));
        }
        const Objective through_zero = value_of(Objective::create(labels, false, {}));
        CHECK(through_zero.shift()[0] == 0);
        CHECK(through_zero.unit()[0] == Approx(40 * size).epsilon(0.1));
    }
    Labels constant = labels_in_threes(Task::linear, 10, rng);
    constant.values.fill(0.1);
    const Objective objective = value_of(Objective::create(constant, true, {}));
    CHECK(objective.shift()[0] == Approx(0.1).epsilon(1e-15));
    CHECK(measure(objective, 0, Matrix(10, 1)).loss == 0);
}

TEST_CASE("the start is the best constant: the residual adds up to 0") {
    Rng rng(4);
    for (const Task task : all_tasks) {
        const Objective objective = value_of(
            Objective::create(labels_in_threes(task, 50, rng), true, {}, some_weights(50)));
        for (std::size_t group = 0; group < objective.groups(); ++group) {
            Matrix z(50, objective.group_outputs());
            for (std::size_t c = 0; c < z.cols(); ++c)
                std::fill(z.col(c).begin(), z.col(c).end(), objective.start()[group + c]);
            const Panel here = measure(objective, group, z);
            for (std::size_t c = 0; c < z.cols(); ++c) {
                double sum = 0;
                for (const double r : here.residual.col(c)) sum += r;
                CHECK(std::abs(sum) < 1e-14);
            }
        }
    }
}

TEST_CASE("what has no sense as a label or a weight is refused") {
    Rng rng(5);
    const Labels labels = labels_in_threes(Task::logistic, 10, rng);
    const auto code = [&](std::vector<double> weights) {
        return Objective::create(labels, true, {}, weights).error().code;
    };
    CHECK(code({1, 2}) == Errc::bad_data);
    CHECK(code(std::vector<double>(10, 0.0)) == Errc::bad_data);
    CHECK(code({1, 1, 1, 1, 1, 1, 1, 1, 1, -1}) == Errc::bad_data);
    CHECK(code({1, 1, 1, 1, 1, 1, 1, 1, 1, NAN}) == Errc::bad_data);
    CHECK(code({1, 1, 1, 1, 1, 1, 1, 1, 1, HUGE_VAL}) == Errc::bad_data);
    Labels one_class = labels;
    one_class.values.fill(1);
    CHECK(Objective::create(one_class, true, {}).error().code == Errc::bad_data);
    ClassWeights three{ClassWeights::Kind::listed, {1, 2, 3}};
    CHECK(Objective::create(labels, true, three).error().code == Errc::bad_config);
    Labels number = labels_in_threes(Task::linear, 10, rng);
    CHECK(Objective::create(number, true, {ClassWeights::Kind::balanced, {}}).error().code ==
          Errc::bad_config);
    number.values(3, 0) = NAN;
    CHECK(Objective::create(number, true, {}).error().code == Errc::bad_data);
}
