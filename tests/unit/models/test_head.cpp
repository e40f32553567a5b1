// Residuals by finite differences of the loss, starting intercepts, class weights, refusals.

#include <algorithm>

#include "models/head.hpp"
#include "models/math.hpp"
#include "support.hpp"

using namespace vflbus;
using namespace vflbus::models;
using namespace support;

namespace {

Labels some_labels(Task task, std::size_t n, Rng& rng) {
    Labels out;
    out.task = task;
    out.classes = task == Task::softmax ? 4 : 0;
    out.values.resize(n, task == Task::multilabel ? 3 : 1);
    for (double& y : out.values.span())
        y = task == Task::linear    ? normal(rng)
            : task == Task::softmax ? static_cast<double>(rng.below(4))
                                    : static_cast<double>(rng.below(3) == 0);
    return out;
}

Labels of(Task task, std::vector<double> values, std::size_t classes = 0) {
    return {task, Matrix(ConstMatrixView{values.data(), values.size(), 1}), classes, {}};
}

}  // namespace

TEST_CASE("the residual is the gradient of the loss, with and without class weights") {
    Rng rng(1);
    for (const Task task : all_tasks)
        for (const ClassWeights::Kind kind :
             {ClassWeights::Kind::none, ClassWeights::Kind::balanced, ClassWeights::Kind::listed}) {
            if (task == Task::linear && kind != ClassWeights::Kind::none) continue;
            HeadConfig config;
            config.class_weights = {kind, task == Task::softmax ? std::vector<double>{1, 2, 0.5, 3}
                                                                : std::vector<double>{0.5, 4}};
            Head head = value_of(Head::create(some_labels(task, 60, rng), config));
            const std::vector<RowIndex> rows = batches(60, 13, 1, 1).front();
            Matrix z = random_matrix(13, head.outputs(), rng);
            Head stepped = head;
            const HeadStep step = value_of(stepped.forward_backward(z, rows));
            CHECK(step.loss == head.loss(z, rows));
            CHECK(stepped.intercept()[0] != head.intercept()[0]);
            const double h = 1e-5;
            for (std::size_t i = 0; i < z.size(); ++i) {
                const double at = z.data()[i];
                z.data()[i] = at + h;
                const double up = head.loss(z, rows);
                z.data()[i] = at - h;
                const double down = head.loss(z, rows);
                z.data()[i] = at;
                INFO(name_of(task));
                CHECK(step.residual.data()[i] == Approx((up - down) / (2 * h)).margin(2e-10));
            }
        }
}

TEST_CASE("the intercept follows the column sums of the residual") {
    Rng rng(2);
    HeadConfig config;
    config.optimizer.learning_rate = 0.5;
    config.optimizer.weight_decay = 100;  // has no say over an intercept
    Head head = value_of(Head::create(some_labels(Task::logistic, 40, rng), config));
    const double before = head.intercept()[0];
    const HeadStep step = value_of(head.forward_backward(random_matrix(8, 1, rng), first_rows(8)));
    double sum = 0;
    for (const double r : step.residual.span()) sum += r;
    CHECK(head.intercept()[0] == Approx(before - 0.5 * sum).epsilon(1e-13));
    CHECK(head.steps() == 1);
}

TEST_CASE("intercepts start where the training labels put them") {
    CHECK(value_of(Head::create(of(Task::linear, {1, 2, 3, 6}), {})).intercept()[0] == 3);
    CHECK(value_of(Head::create(of(Task::logistic, {0, 0, 0, 1}), {})).intercept()[0] ==
          Approx(std::log(1.0 / 3)));
    const Head softmax = value_of(Head::create(of(Task::softmax, {0, 0, 1, 1, 1, 2}, 3), {}));
    const Matrix share = softmax.predict(Matrix(1, 3));
    CHECK(share(0, 0) == Approx(1.0 / 3));
    CHECK(share(0, 1) == Approx(1.0 / 2));
    CHECK(share(0, 2) == Approx(1.0 / 6));
    CHECK(softmax.intercept()[0] + softmax.intercept()[1] + softmax.intercept()[2] ==
          Approx(0).margin(1e-15));

    SECTION("of the training rows alone") {
        const std::vector<RowIndex> rows = {0, 1, 2};
        const Head head = value_of(Head::create(of(Task::linear, {1, 2, 3, 600}), {}, rows));
        CHECK(head.intercept()[0] == 2);
    }
    SECTION("balanced classes start even") {
        HeadConfig config;
        config.class_weights.kind = ClassWeights::Kind::balanced;
        CHECK(value_of(Head::create(of(Task::logistic, {0, 0, 0, 1}), config)).intercept()[0] ==
              Approx(0).margin(1e-15));
    }
    SECTION("or there are none") {
        HeadConfig config;
        config.intercept = false;
        Head head = value_of(Head::create(of(Task::logistic, {0, 0, 0, 1}), config));
        CHECK(head.intercept().empty());
        value_of(head.forward_backward(Matrix(2, 1), first_rows(2)));
        CHECK(head.steps() == 1);
        CHECK(head.predict(Matrix(1, 1))(0, 0) == 0.5);
    }
    SECTION("a class without training rows still has a finite one") {
        const Head head = value_of(Head::create(of(Task::softmax, {0, 1, 1}, 3), {}));
        CHECK(all_finite(head.intercept()));
        CHECK(head.intercept()[2] < head.intercept()[0]);
    }
}

TEST_CASE("balanced weights are n / (K * count)") {
    HeadConfig config;
    config.intercept = false;
    config.class_weights.kind = ClassWeights::Kind::balanced;
    Head head = value_of(Head::create(of(Task::logistic, {0, 0, 0, 1}), config));
    const HeadStep step = value_of(head.forward_backward(Matrix(4, 1), first_rows(4)));
    CHECK(step.residual(0, 0) == Approx(4.0 / (2 * 3) * 0.5 / 4));
    CHECK(step.residual(3, 0) == Approx(4.0 / (2 * 1) * -0.5 / 4));
    CHECK(step.loss == Approx(std::log(2.0)));
}

TEST_CASE("softmax of far scores neither overflows nor loses the loss") {
    HeadConfig config;
    config.intercept = false;
    Head head = value_of(Head::create(of(Task::softmax, {0, 1, 2}, 3), config));
    Matrix z(1, 3);
    z(0, 0) = -1000;
    z(0, 1) = 1000;
    const HeadStep step = value_of(head.forward_backward(z, first_rows(1)));
    CHECK(step.loss == 2000);
    CHECK(step.residual(0, 0) == -1);
    CHECK(step.residual(0, 1) == 1);
    CHECK(step.residual(0, 2) == 0);
}

TEST_CASE("predictions are values, or probabilities that sum to one") {
    Rng rng(3);
    const Matrix z = random_matrix(20, 4, rng);
    const std::vector<double> intercept = {1, 2, 3, 4};
    CHECK(predict(Task::linear, z, intercept)(5, 2) == z(5, 2) + 3);
    CHECK(predict(Task::multilabel, z, intercept)(5, 2) == sigmoid(z(5, 2) + 3));
    const Matrix p = predict(Task::softmax, z, {});
    for (std::size_t i = 0; i < 20; ++i)
        CHECK(p(i, 0) + p(i, 1) + p(i, 2) + p(i, 3) == Approx(1).epsilon(1e-15));
    CHECK(predict(Task::softmax, Matrix(0, 3), {}).rows() == 0);
}

TEST_CASE("scores that are not finite are divergence, with step and learning rate") {
    Rng rng(4);
    for (const Task task : all_tasks)
        for (const double value : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
            Head head = value_of(Head::create(some_labels(task, 30, rng), {}));
            Matrix z(30, head.outputs());
            z.fill(value);
            const auto result = head.forward_backward(z, first_rows(30));
            REQUIRE_FALSE(result);
            CHECK(result.error().code == Errc::diverged);
            CHECK(result.error().sentence.find("step 1") != std::string::npos);
            CHECK(result.error().sentence.find("model.learning_rate") != std::string::npos);
        }
}

TEST_CASE("labels that nothing can be learned from, or that do not fit, are refused") {
    const auto refused = [](Labels labels, Errc code, const std::string& words,
                            const HeadConfig& config = {}, std::vector<RowIndex> rows = {}) {
        const auto result = Head::create(std::move(labels), config, rows);
        if (result) return false;
        INFO(result.error().sentence);
        CHECK(result.error().sentence.find(words) != std::string::npos);
        return result.error().code == code;
    };
    CHECK(refused(of(Task::logistic, {1, 1, 1}), Errc::bad_data, "one class only"));
    CHECK(refused(of(Task::logistic, {1, 1, 0}), Errc::bad_data, "one class only", {}, {0, 1}));
    CHECK(refused(of(Task::softmax, {1, 1, 1}, 3), Errc::bad_data, "one class only"));
    CHECK(refused(of(Task::softmax, {0, 0}, 1), Errc::bad_data, "one class only"));
    CHECK(refused(of(Task::logistic, {0, 1, 2}), Errc::bad_data, "0 or 1"));
    CHECK(refused(of(Task::softmax, {0, 1, 1.5}, 3), Errc::bad_data, "record 2"));
    CHECK(refused(of(Task::softmax, {0, 1, 3}, 3), Errc::bad_data, "class index"));
    CHECK(refused(of(Task::linear, {0, std::nan("")}), Errc::bad_data, "finite"));
    CHECK(refused(of(Task::linear, {}), Errc::bad_data, "no labels"));
    Labels two{Task::multilabel, Matrix(3, 2), 0, {"late", "lost"}};
    two.values(0, 0) = 1;
    CHECK(refused(two, Errc::bad_data, "label 'lost' has one class only"));
    two.task = Task::logistic;
    CHECK(refused(two, Errc::bad_data, "one label column"));

    HeadConfig weights;
    weights.class_weights = {ClassWeights::Kind::listed, {1, 2, 3}};
    CHECK(refused(of(Task::logistic, {0, 1}), Errc::bad_config, "model.class_weights", weights));
    weights.class_weights.listed = {1, 0};
    CHECK(refused(of(Task::logistic, {0, 1}), Errc::bad_config, "positive", weights));
    weights.class_weights = {ClassWeights::Kind::balanced, {}};
    CHECK(refused(of(Task::linear, {0, 1}), Errc::bad_config, "linear", weights));
    weights = {};
    weights.optimizer.learning_rate = -1;
    CHECK(refused(of(Task::linear, {0, 1}), Errc::bad_config, "model.learning_rate", weights));
    CHECK_FALSE(task_named("tree"));
}

TEST_CASE("a restored head continues bit for bit, and refuses what does not fit") {
    Rng rng(6);
    HeadConfig config;
    config.optimizer.kind = OptimizerKind::adam;
    Head head = value_of(Head::create(some_labels(Task::softmax, 50, rng), config));
    Head other = head;
    const Matrix z = random_matrix(10, 4, rng);
    for (int i = 0; i < 3; ++i) value_of(head.forward_backward(z, first_rows(10)));
    const HeadState stored = head.state();
    require_ok(other.set_state(stored));
    CHECK(value_of(head.forward_backward(z, first_rows(10))).loss ==
          value_of(other.forward_backward(z, first_rows(10))).loss);
    CHECK(head.state() == other.state());
    CHECK(other.set_state({{1, 2}, {}}).error().code == Errc::bad_data);
    CHECK(other.set_intercept(std::vector<double>{1, 2, 3, HUGE_VAL}).error().code ==
          Errc::bad_data);
    CHECK(head.state() == other.state());
}

TEST_CASE("a weight counts a row so many times, whatever the unit of weights is") {
    for (const Task task : {Task::linear, Task::logistic, Task::softmax}) {
        CAPTURE(name_of(task));
        Rng rng(11);
        Labels once = some_labels(task, 40, rng);
        once.weights.assign(40, 0);
        Labels repeated = once;
        repeated.weights.clear();
        std::vector<RowIndex> rows, copies;
        for (RowIndex i = 0; i < 40; ++i) {
            const std::size_t times = i % 4;
            once.weights[i] = 0.25 * static_cast<double>(times);
            rows.push_back(i);
            for (std::size_t k = 0; k < times; ++k) copies.push_back(i);
        }
        Head weighted = value_of(Head::create(once, {}));
        Head plain = value_of(Head::create(repeated, {}));
        // intercepts start where all labels put them, weighted or not
        Matrix scores(40, weighted.outputs());
        for (double& score : scores.span()) score = rng.uniform() * 2 - 1;
        Matrix of_copies;
        gather_rows(scores, copies, of_copies);
        HeadStep one, many;
        REQUIRE(weighted.forward_backward(scores, rows, one));
        REQUIRE(plain.forward_backward(of_copies, copies, many));
        CHECK(one.loss == Approx(many.loss).epsilon(1e-12));
        for (std::size_t c = 0; c < one.residual.cols(); ++c) {
            std::vector<double> sum(40, 0);
            for (std::size_t i = 0; i < copies.size(); ++i) sum[copies[i]] += many.residual(i, c);
            for (std::size_t i = 0; i < 40; ++i)
                CHECK(one.residual(i, c) == Approx(sum[i]).margin(1e-12));
        }
    }
}
