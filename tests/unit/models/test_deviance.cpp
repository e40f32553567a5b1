// Models with a log link: derivatives by finite differences, and what scikit-learn reaches.

#include "count_cases.hpp"
#include "models/deviance.hpp"
#include "models/lbfgs_trainer.hpp"
#include "models/local_trainer.hpp"
#include "models/math.hpp"
#include "models/metrics.hpp"
#include "models/objective.hpp"
#include "models/verdict.hpp"
#include "support.hpp"

using namespace vflbus;
using namespace vflbus::models;
using namespace support;

namespace {

constexpr std::size_t rows = 300;
constexpr std::size_t cols = 4;
constexpr double signal[cols] = {0.5, -0.4, 0.2, 0};

double chi_square(Rng& rng) {
    double sum = 0;
    for (int i = 0; i < 4; ++i) {
        const double one = normal(rng);
        sum += one * one;
    }
    return sum / 4;
}

struct CountTable {
    Matrix x;
    Labels labels;
};

/// The table of make_count_cases.py.
CountTable make_table(const cases::Count& wanted) {
    CountTable out{Matrix(rows, cols), {}};
    out.labels.task = wanted.task;
    out.labels.tweedie_power = wanted.power;
    out.labels.values.resize(rows, 1);
    Rng rng(wanted.seed);
    for (std::size_t i = 0; i < rows; ++i) {
        double score = 0.3;
        for (std::size_t j = 0; j < cols; ++j) {
            out.x(i, j) = normal(rng);
            score += signal[j] * out.x(i, j);
        }
        const double exposure = 0.1 + 2 * rng.uniform();
        const double mean = exposure * models::exp(score);
        double y = 0;
        if (wanted.task == Task::gamma) {
            y = 100 * mean * chi_square(rng);
        } else {
            int count = 0;
            for (double product = rng.uniform(); product > models::exp(-mean); ++count)
                product *= rng.uniform();
            if (wanted.task == Task::poisson) y = count;
            for (int k = 0; k < count && wanted.task == Task::tweedie; ++k)
                y += 100 * chi_square(rng);
        }
        if (wanted.exposed) out.labels.exposure.push_back(exposure);
        out.labels.values(i, 0) = wanted.exposed ? y / exposure : y;
    }
    return out;
}

LbfgsTrainer trained(const CountTable& table, double l2) {
    LbfgsTrainerConfig config;
    config.solver.l2 = l2;
    config.solver.tolerance = 1e-7;
    LbfgsTrainer trainer =
        value_of(LbfgsTrainer::create(row_major(table.x).view(), table.labels, config));
    require_ok(trainer.run());
    return trainer;
}

double of_one(const HalfDeviance& deviance, double z, double y) {
    double loss = 0;
    double slope = 0;
    deviance.at({&z, 1}, {&y, 1}, {&loss, 1}, {&slope, 1});
    return loss;
}

}  // namespace

TEST_CASE("slope and curvature of half the deviance are those of finite differences") {
    for (const double power : {1.0, 1.2, 1.5, 1.9, 2.0})
        for (const double y : {0.0, 0.5, 3.0, 250.0})
            for (const double z : {-3.0, 0.0, 1.5}) {
                if (power == 2 && y == 0) continue;
                const HalfDeviance deviance(power);
                double loss = 0;
                double slope = 0;
                double curvature = 0;
                deviance.at({&z, 1}, {&y, 1}, {&loss, 1}, {&slope, 1});
                deviance.curvature({&z, 1}, {&y, 1}, {&curvature, 1});
                const double h = 1e-4;
                const double up = of_one(deviance, z + h, y);
                const double down = of_one(deviance, z - h, y);
                CHECK(slope == Approx((up - down) / (2 * h)).epsilon(1e-6));
                CHECK(curvature == Approx((up - 2 * loss + down) / (h * h)).epsilon(1e-4));
                // all of it is what `of` says, and 0 where the mean is the label
                CHECK(loss + deviance.constant(y) ==
                      Approx(deviance.of(y, models::exp(z))).epsilon(1e-9).margin(1e-9));
                if (y > 0) CHECK(deviance.of(y, y) == Approx(0).margin(1e-12 * y));
            }
}

TEST_CASE("L-BFGS reaches what scikit-learn reaches with a log link, with exposures and without") {
    for (const cases::Count& wanted : cases::counts) {
        CAPTURE(name_of(wanted.task), wanted.power, wanted.exposed, wanted.l2);
        const CountTable table = make_table(wanted);
        const LbfgsTrainer trainer = trained(table, wanted.l2);
        REQUIRE(trainer.master().end() == LbfgsEnd::converged);
        CHECK(trainer.master().intercept()[0] == Approx(wanted.weights[0]).margin(1e-5));
        const Matrix p = trainer.predict_training_rows();
        const Metrics metrics = metrics_for(table.labels, p);
        CHECK(metrics.headline() == "d2");
        CHECK(metrics.get("deviance") == Approx(wanted.deviance).epsilon(1e-7));
        CHECK(metrics.get("d2") == Approx(wanted.d2).margin(1e-7));
        // the loss on the way is the one at the end, and half the deviance
        CHECK(trainer.master().loss() == Approx(metrics.get("loss")).epsilon(1e-9));
        CHECK(metrics.get("loss") == Approx(metrics.get("deviance") / 2).epsilon(1e-12));
    }
}

TEST_CASE("mini-batches of a log link come near the same deviance in any unit of the label") {
    for (const double unit : {0.001, 1.0, 1000.0}) {
        CountTable table = make_table(cases::counts[2]);
        for (double& y : table.labels.values.span()) y *= unit;
        const Design design = row_major(table.x);
        LocalConfig config;
        config.optimizer.learning_rate = config.head.optimizer.learning_rate = 0.1;
        LocalTrainer trainer = value_of(LocalTrainer::create(design.view(), table.labels, config));
        for (std::uint64_t epoch = 0; epoch < 60; ++epoch)
            for (const auto& batch : batches(rows, 50, 3, epoch)) value_of(trainer.step(batch));
        const Metrics metrics = trainer.metrics(first_rows(rows));
        CHECK(metrics.get("d2") == Approx(cases::counts[2].d2).margin(0.01));
    }
}

TEST_CASE("the residual of a log link is the gradient of its loss over the label's size") {
    for (const cases::Count& wanted : cases::counts) {
        const CountTable table = make_table(wanted);
        const Head head = value_of(Head::create(table.labels, {}));
        Rng rng(9);
        Matrix z(7, 1);
        for (double& value : z.span()) value = 0.3 * normal(rng);
        const std::vector<RowIndex> some = first_rows(7, 20);
        Head stepped = head;
        const HeadStep step = value_of(stepped.forward_backward(z, some));
        CHECK(step.loss == Approx(head.loss(z, some)));
        std::vector<double> ratios;
        for (std::size_t i = 0; i < 7; ++i) {
            Matrix up = z;
            Matrix down = z;
            up(i, 0) += 1e-5;
            down(i, 0) -= 1e-5;
            const double slope = (head.loss(up, some) - head.loss(down, some)) / 2e-5;
            ratios.push_back(slope / step.residual(i, 0));
        }
        for (const double ratio : ratios) CHECK(ratio == Approx(ratios[0]).epsilon(1e-4));
        CHECK(ratios[0] > 0);
    }
}

TEST_CASE("labels that a log link cannot have are refused, and so is a mean of 0") {
    Labels labels;
    labels.task = Task::poisson;
    labels.values.resize(3, 1);
    CHECK(Objective::create(labels, true, {}).error().sentence.find("has the mean 0") !=
          std::string::npos);
    CHECK(Head::create(labels, {}).error().sentence.find("has the mean 0") != std::string::npos);
    labels.values(1, 0) = -1;
    CHECK(validate(labels).error().sentence.find("a number of 0 or more") != std::string::npos);
    labels.task = Task::gamma;
    labels.values(1, 0) = 1;
    CHECK(validate(labels).error().sentence.find("a number above 0") != std::string::npos);
    labels.values.resize(3, 2);
    CHECK(validate(labels).error().sentence.find("one label column") != std::string::npos);
}
