// A run over split columns against the joined fit, party models, and the label holder alone.

#include <algorithm>
#include <bit>
#include <cstdint>

#include "models/local_trainer.hpp"
#include "models/sequential.hpp"
#include "support.hpp"

using namespace vflbus;
using namespace vflbus::models;
using namespace support;

namespace {

struct Problem {
    Design joined;
    Labels labels;
};

/// n rows of ten features with a signal in all of them.
Problem make_problem(Task task, std::size_t n) {
    Rng rng(11);
    const Matrix X = random_matrix(n, 10, rng);
    Problem out{row_major(X), {}};
    const std::size_t k = task == Task::multilabel || task == Task::softmax ? 3 : 1;
    const Matrix W = random_matrix(10, k, rng);
    Matrix z(n, k);
    partial_scores(X, W, z.view());
    out.labels.task = task;
    out.labels.classes = task == Task::softmax ? 3 : 0;
    out.labels.values.resize(n, task == Task::multilabel ? 3 : 1);
    for (std::size_t i = 0; i < n; ++i) {
        if (task == Task::softmax) {
            std::size_t best = 0;
            for (std::size_t c = 1; c < 3; ++c) best = z(i, c) > z(i, best) ? c : best;
            out.labels.values(i, 0) = static_cast<double>(best);
            continue;
        }
        for (std::size_t c = 0; c < k; ++c)
            out.labels.values(i, c) = task == Task::linear
                                          ? z(i, c) + 0.1 * normal(rng) + 5
                                          : static_cast<double>(z(i, c) + normal(rng) > 0.5);
    }
    return out;
}

OptimizerConfig optimizer_of(OptimizerKind kind) {
    OptimizerConfig out;
    out.kind = kind;
    out.learning_rate = 0.05;
    out.momentum = 0.9;
    out.weight_decay = 0.01;
    return out;
}

double largest_difference(ConstMatrixView a, ConstMatrixView b) {
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        most = std::max(most, std::abs(a.data[i] - b.data[i]));
    return most;
}

}  // namespace

TEST_CASE("a run over split columns equals the joined fit up to the order of sums") {
    for (const Task task : {Task::linear, Task::logistic, Task::multilabel, Task::softmax})
        for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam}) {
            const Problem problem = make_problem(task, 500);
            const OptimizerConfig optimizer = optimizer_of(kind);
            HeadConfig head_config{true, {}, optimizer};
            if (task != Task::linear) head_config.class_weights.kind = ClassWeights::Kind::balanced;
            LocalTrainer joined = value_of(LocalTrainer::create(
                problem.joined.view(), problem.labels, {head_config, optimizer}));

            const std::vector<Design> parts = {columns(problem.joined, 0, 2),
                                               columns(problem.joined, 2, 7),
                                               columns(problem.joined, 7, 10)};
            Head head = value_of(Head::create(problem.labels, head_config));
            std::vector<PartyModel> models;
            for (const Design& part : parts)
                models.emplace_back(part.cols, head.outputs(), optimizer);

            double first = 0, last = 0;
            for (std::size_t epoch = 0; epoch < 15; ++epoch)
                for (const auto& rows : batches(500, 64, 9, epoch)) {
                    std::vector<Matrix> batch(3);
                    Matrix z(rows.size(), head.outputs());
                    for (std::size_t p = 0; p < 3; ++p) {
                        gather_batch(parts[p].view(), rows, batch[p]);
                        add(z.view(), models[p].scores(batch[p]));
                    }
                    const HeadStep step = value_of(head.forward_backward(z, rows));
                    for (std::size_t p = 0; p < 3; ++p)
                        require_ok(models[p].update(batch[p], step.residual));
                    last = value_of(joined.step(rows));
                    if (first == 0) first = last;
                    CHECK(step.loss == Approx(last).epsilon(1e-9));
                }
            CHECK(last < 0.6 * first);
            Matrix z(500, head.outputs());
            for (std::size_t p = 0; p < 3; ++p)
                add(z.view(), models[p].design_scores(parts[p].view()));
            CHECK(largest_difference(head.predict(z), joined.predict(problem.joined.view())) <
                  1e-9);
            CHECK(joined.metrics(first_rows(500)).headline_value() > 0.85);
        }
}

TEST_CASE("a party's step is X' r and the optimizer's") {
    Rng rng(1);
    const Matrix X = random_matrix(12, 3, rng);
    const Matrix r = random_matrix(12, 2, rng);
    OptimizerConfig config;
    config.learning_rate = 0.5;
    config.weight_decay = 0.1;
    PartyModel model(3, 2, config);
    require_ok(model.update(X, r));
    require_ok(model.update(X, r));
    Matrix G(3, 2);
    gradient(X, r, G.view());
    for (std::size_t i = 0; i < 6; ++i) {
        const double once = -0.5 * G.data()[i];
        CHECK(model.weights().data[i] ==
              Approx(once - 0.5 * (G.data()[i] + 0.1 * once)).epsilon(1e-14));
    }
    CHECK(model.steps() == 2);

    SECTION("and goes on bit for bit from a stored state") {
        PartyModel other(3, 2, config);
        require_ok(other.set_state(model.state()));
        require_ok(model.update(X, r));
        require_ok(other.update(X, r));
        CHECK(model.state() == other.state());
    }
    SECTION("diverges with a sentence") {
        Matrix wild = r;
        wild.fill(1e308);
        const auto result = model.update(X, wild);
        REQUIRE_FALSE(result);
        CHECK(result.error().code == Errc::diverged);
        CHECK(result.error().sentence.find("step 3") != std::string::npos);
        CHECK(result.error().sentence.find("model.learning_rate") != std::string::npos);
    }
    SECTION("refuses weights that do not fit") {
        CHECK(model.set_weights(std::vector<double>(5)).error().code == Errc::bad_data);
        CHECK(model.set_weights(std::vector<double>(6, HUGE_VAL)).error().code == Errc::bad_data);
        CHECK(model.set_state({std::vector<double>(6), {1, {1.0}, {}}}).error().code ==
              Errc::bad_data);
    }
}

TEST_CASE("too high a learning rate ends as divergence, not as a model") {
    const Problem problem = make_problem(Task::linear, 200);
    OptimizerConfig optimizer;
    optimizer.learning_rate = 1e6;
    LocalTrainer trainer = value_of(LocalTrainer::create(problem.joined.view(), problem.labels,
                                                         {{true, {}, optimizer}, optimizer}));
    Result<double> result = 0.0;
    for (int i = 0; i < 1000 && result; ++i) result = trainer.step(first_rows(200));
    REQUIRE_FALSE(result);
    CHECK(result.error().code == Errc::diverged);
}

TEST_CASE("without features the label holder alone is the constant predictor") {
    Problem problem = make_problem(Task::logistic, 100);
    double share = 0;
    for (const double y : problem.labels.values.span()) share += y / 100;
    LocalTrainer trainer = value_of(LocalTrainer::create({}, problem.labels, {}));
    for (int i = 0; i < 5; ++i) value_of(trainer.step(first_rows(10)));
    const Metrics metrics = trainer.metrics(first_rows(100));
    CHECK(metrics.get("auc") == 0.5);
    CHECK(metrics.get("ks") == 0);
    CHECK(trainer.predict(first_rows(3))(0, 0) == Approx(share).epsilon(1e-14));

    const Problem values = make_problem(Task::linear, 100);
    LocalTrainer mean = value_of(LocalTrainer::create({}, values.labels, {}));
    CHECK(mean.metrics(first_rows(100)).get("r2") == Approx(0).margin(1e-12));
}

TEST_CASE("training is the same to the bit on every instruction set") {
    std::vector<std::vector<double>> weights;
    const Problem problem = make_problem(Task::softmax, 300);
    const OptimizerConfig optimizer = optimizer_of(OptimizerKind::adam);
    for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
        use_isa(isa);
        LocalTrainer trainer = value_of(LocalTrainer::create(problem.joined.view(), problem.labels,
                                                             {{true, {}, optimizer}, optimizer}));
        for (std::size_t epoch = 0; epoch < 3; ++epoch)
            for (const auto& rows : batches(300, 37, 2, epoch)) value_of(trainer.step(rows));
        weights.push_back(trainer.model().state().weights);
    }
    use_isa(best_isa());
    CHECK(weights[0] == weights[1]);
    CHECK(weights[0] == weights[2]);
}

TEST_CASE("trained weights have the bits of every other build") {
    // FNV-1a over weights and intercept; no compiler, flag or machine may change one bit
    const auto hash_of = [](const LocalTrainer& trainer) {
        std::uint64_t hash = 0xcbf29ce484222325ULL;
        for (const auto values : {trainer.model().weights().span(), trainer.head().intercept()})
            for (const double x : values)
                hash = (hash ^ std::bit_cast<std::uint64_t>(x)) * 0x100000001b3ULL;
        return hash;
    };
    const auto trained = [&](Task task, OptimizerKind kind, bool sequential) {
        const Problem problem = make_problem(task, 300);
        const OptimizerConfig optimizer = optimizer_of(kind);
        LocalTrainer trainer =
            value_of(LocalTrainer::create(problem.joined.view(), problem.labels,
                                          {{true, {}, optimizer}, optimizer, sequential, 0.5}));
        for (std::size_t epoch = 0; epoch < 5; ++epoch)
            for (const auto& rows : batches(300, 37, 2, epoch)) value_of(trainer.step(rows));
        return hash_of(trainer);
    };
    CHECK(trained(Task::linear, OptimizerKind::sgd, false) == 0xa75fe9d1e6ca45a9ULL);
    CHECK(trained(Task::linear, OptimizerKind::sgd, true) == 0x7f35acc0d129c553ULL);
    CHECK(trained(Task::logistic, OptimizerKind::adam, false) == 0xa02d7d4982b2cdd9ULL);
    CHECK(trained(Task::multilabel, OptimizerKind::sgd, false) == 0x6a6de92729b38635ULL);
    CHECK(trained(Task::softmax, OptimizerKind::adam, false) == 0xf3513ad98d1af2c1ULL);
}

// -- the sequential mode --------------------------------------------------------------

TEST_CASE("ridge_solve meets the normal equations, tall and wide") {
    Rng rng(3);
    for (const auto& [b, d] : {std::pair<std::size_t, std::size_t>{50, 6}, {6, 6}, {5, 12}, {1, 3}})
        for (const double lambda : {1e-3, 0.5, 100.0}) {
            const Matrix X = random_matrix(b, d, rng);
            const Matrix t = random_matrix(b, 2, rng);
            const Matrix w = value_of(ridge_solve(X, t, lambda));
            Matrix left(b, 2);  // X' (t - X w) = lambda w
            partial_scores(X, w, left.view());
            for (std::size_t i = 0; i < left.size(); ++i)
                left.data()[i] = t.data()[i] - left.data()[i];
            Matrix slope(d, 2);
            gradient(X, left, slope.view());
            for (std::size_t i = 0; i < w.size(); ++i)
                CHECK(slope.data()[i] == Approx(lambda * w.data()[i]).margin(1e-11));
        }
}

TEST_CASE("without a penalty the shortest solution is taken") {
    Rng rng(4);
    Matrix X = random_matrix(20, 3, rng);
    std::copy_n(X.col(0).data(), 20, X.col(2).data());  // two equal columns share the weight
    Matrix t(20, 1);
    for (std::size_t i = 0; i < 20; ++i) t(i, 0) = 4 * X(i, 0) - X(i, 1);
    const Matrix w = value_of(ridge_solve(X, t, 0));
    CHECK(w(0, 0) == Approx(2).epsilon(1e-12));
    CHECK(w(1, 0) == Approx(-1).epsilon(1e-12));
    CHECK(w(2, 0) == Approx(2).epsilon(1e-12));
    const Matrix none = value_of(ridge_solve(Matrix(5, 2), Matrix(5, 1), 0));
    CHECK(none(0, 0) == 0);
    CHECK(ridge_solve(X, t, -1).error().code == Errc::bad_config);
    t(3, 0) = HUGE_VAL;
    CHECK(ridge_solve(X, t, 1).error().code == Errc::diverged);
}

TEST_CASE("factors that are used again give the bits of those that are not") {
    Rng rng(9);
    for (const auto& [b, d] : {std::pair<std::size_t, std::size_t>{60, 7}, {7, 7}, {5, 12}}) {
        const Matrix X = random_matrix(b, d, rng);
        const RidgeFactors factors = value_of(RidgeFactors::create(X));
        PartyModel once(d, 2, {});
        PartyModel each_time(d, 2, {});
        for (const double lambda : {0.0, 0.5, 3.0}) {
            const Matrix target = random_matrix(b, 2, rng);
            Matrix z, z_each_time;
            require_ok(once.fit_ridge(factors, X, target, lambda, z));
            require_ok(each_time.fit_ridge(X, target, lambda, z_each_time));
            CHECK(once.state() == each_time.state());
            CHECK(std::ranges::equal(z.span(), z_each_time.span()));
        }
    }
    Matrix broken = random_matrix(4, 2, rng);
    broken(1, 1) = NAN;
    CHECK(RidgeFactors::create(broken).error().code == Errc::diverged);
}

TEST_CASE("the label holder alone factors the same rows once, others anew") {
    const Problem problem = make_problem(Task::linear, 120);
    LocalConfig config;
    config.sequential = true;
    config.reg_lambda = 0.5;
    LocalTrainer trainer =
        value_of(LocalTrainer::create(problem.joined.view(), problem.labels, config));
    Head head = value_of(Head::create(problem.labels, {}));
    PartyModel model(10, 1, {});
    SequentialMaster master(head, 1);
    Matrix batch;
    std::vector<Matrix> scores(1);
    for (const auto& rows : {first_rows(120), first_rows(120), first_rows(60), first_rows(60, 60),
                             first_rows(60, 60), first_rows(120)}) {
        value_of(trainer.step(rows));
        gather_batch(problem.joined.view(), rows, batch);
        model.scores(batch, scores[0]);
        require_ok(master.begin(scores, rows));
        require_ok(model.fit_ridge(batch, value_of(master.target(0)), 0.5, scores[0]));
        require_ok(master.accept(0, scores[0]));
        CHECK(trainer.model().state() == model.state());
    }
}

TEST_CASE("one party after another arrives at the joined least squares") {
    const Problem problem = make_problem(Task::linear, 200);
    const std::vector<RowIndex> rows = first_rows(200);
    const std::vector<Design> parts = {columns(problem.joined, 0, 4),
                                       columns(problem.joined, 4, 10)};
    Head head = value_of(Head::create(problem.labels, {}));
    std::vector<PartyModel> models;
    std::vector<Matrix> batch(2), scores(2);
    for (std::size_t p = 0; p < 2; ++p) {
        models.emplace_back(parts[p].cols, 1, OptimizerConfig{});
        gather_batch(parts[p].view(), rows, batch[p]);
    }
    SequentialMaster master(head, 2);
    double last = HUGE_VAL;
    for (int epoch = 0; epoch < 30; ++epoch) {
        for (std::size_t p = 0; p < 2; ++p) models[p].scores(batch[p], scores[p]);
        require_ok(master.begin(scores, rows));
        for (std::size_t p = 0; p < 2; ++p) {
            require_ok(models[p].fit_ridge(batch[p], value_of(master.target(p)), 0, scores[p]));
            require_ok(master.accept(p, scores[p]));
        }
        const double loss = value_of(master.finish());
        CHECK(loss <= last * (1 + 1e-12));
        last = loss;
    }
    LocalConfig alone;
    alone.sequential = true;
    LocalTrainer joined =
        value_of(LocalTrainer::create(problem.joined.view(), problem.labels, alone));
    double best = 0;
    for (int epoch = 0; epoch < 30; ++epoch) best = value_of(joined.step(rows));
    CHECK(last == Approx(best).epsilon(1e-6));
    CHECK(joined.metrics(rows).get("r2") > 0.99);
    CHECK(master.accept(0, Matrix(3, 1)).error().code == Errc::malformed_message);

    Problem binary = make_problem(Task::logistic, 50);
    CHECK(LocalTrainer::create(binary.joined.view(), binary.labels, alone).error().code ==
          Errc::bad_config);
}
