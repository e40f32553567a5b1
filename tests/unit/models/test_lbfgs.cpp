// L-BFGS over split columns: against scikit-learn, against itself on any number of parties, through
// a commit, with weights, and on tables that break solvers.

#include <algorithm>
#include <bit>
#include <cstring>

#include "models/metrics.hpp"
#include "solver_cases.hpp"
#include "solver_support.hpp"

using namespace vflbus;
using namespace vflbus::models;
using namespace support;

namespace {

SolverTable some_table(Task task, std::size_t n = 300, std::size_t d = 12,
                       const std::string& kind = "plain") {
    return make_table({"", task, n, d, kind, 0}, 77);
}

LbfgsTrainerConfig config_of(double l2, double tolerance = 1e-4) {
    LbfgsTrainerConfig out;
    out.solver.l2 = l2;
    out.solver.tolerance = tolerance;
    return out;
}

/// The gradient of scikit-learn's objective, sum of losses + 1/2 l2 |w|^2, at a stored model:
/// X' (p - y) + l2 w for each weight, and sum (p - y) for the intercept.
double largest_slope(const SolverTable& table, const Matrix& w, std::span<const double> intercept,
                     double l2) {
    const std::size_t n = table.scaled.rows();
    Matrix z(n, w.cols());
    partial_scores(table.scaled, w, z.view());
    Matrix miss = predict(table.labels.task, z, intercept);
    for (std::size_t c = 0; c < w.cols(); ++c)
        for (std::size_t i = 0; i < n; ++i)
            miss(i, c) -= table.labels.task == Task::softmax
                              ? (table.labels.values(i, 0) == static_cast<double>(c) ? 1 : 0)
                              : table.labels.values(i, c);
    Matrix slope(w.rows(), w.cols());
    gradient(table.scaled, miss, slope.view());
    double most = 0;
    for (std::size_t i = 0; i < slope.size(); ++i)
        most = std::max(most, std::abs(slope.data()[i] + l2 * w.data()[i]));
    for (std::size_t c = 0; c < w.cols(); ++c)
        most = std::max(most, std::abs(lane_sum(miss.col(c))));
    return most;
}

}  // namespace

// -- the optimum ------------------------------------------------------------------------

TEST_CASE("the model is where the gradient of scikit-learn's objective vanishes") {
    for (const Task task : all_tasks)
        for (const double l2 : {0.01, 1.0, 30.0}) {
            const SolverTable table = some_table(task);
            LbfgsTrainer trainer = value_of(LbfgsTrainer::create(
                row_major(table.scaled).view(), table.labels, config_of(l2, 1e-8)));
            require_ok(trainer.run());
            INFO(name_of(task) << " l2 " << l2);
            CHECK(trainer.master().end() == LbfgsEnd::converged);
            const double unit = trainer.master().objective().unit()[0];
            CHECK(largest_slope(table, trainer.party().weights(trainer.master().objective().unit()),
                                trainer.master().intercept(), l2) < 1e-5 * unit);
        }
}

TEST_CASE("tables that break solvers: scikit-learn's figure, at two parties") {
    REQUIRE(solver_cases.size() >= 20);
    for (std::size_t i = 0; i < solver_cases.size(); ++i) {
        const SolverCase& which = solver_cases[i];
        const SolverTable table = make_table(which, i);
        const std::vector<Design> parts = cut(table.scaled, 2);
        VerticalTraining training(parts, table.labels, config_of(1));
        training.run();
        INFO(which.name << ", " << training.master->iterations() << " iterations");
        CHECK(training.master->end() == LbfgsEnd::converged);
        const double reached = figure(table.labels, training.predict(parts));
        const double allowed = which.task == Task::linear ? 0.005 * which.scikit_learn : 0.002;
        CHECK(reached == Approx(which.scikit_learn).margin(allowed));
        // the scores that the master has added up are those of the stored model
        CHECK(largest_difference(training.master->predict_training_rows().span(),
                                 training.predict(parts).span()) <
              1e-8 * training.master->objective().unit()[0]);
    }
}

TEST_CASE("the same tables as they are, not scaled: no divergence, better than the constant") {
    for (std::size_t i = 0; i < solver_cases.size(); ++i)
        for (const double l2 : {0.0, 1.0}) {
            const SolverCase& which = solver_cases[i];
            const SolverTable table = make_table(which, i);
            const std::vector<Design> parts = cut(table.raw, 3);
            VerticalTraining training(parts, table.labels, config_of(l2));
            double last = training.master->constant_loss();
            while (!training.master->done()) {
                training.step();
                REQUIRE(std::isfinite(training.master->loss()));
            }
            INFO(which.name << ", l2 " << l2 << ", " << training.master->iterations()
                            << " iterations, loss " << training.master->loss() << " of " << last);
            CHECK(training.master->loss() < last);
            CHECK(all_finite(training.predict(parts).span()));
            if (l2 == 1) CHECK(training.master->end() == LbfgsEnd::converged);
        }
}

TEST_CASE("without a penalty, the unit of a column does not matter") {
    for (const Task task : all_tasks) {
        const SolverTable table = some_table(task);
        Matrix other(table.scaled);
        for (std::size_t j = 0; j < other.cols(); ++j)
            for (double& x : other.col(j))
                x = x * std::pow(10, 13 * static_cast<double>(j) - 70) * (j % 2 == 0 ? 1 : -1);
        const auto predicted = [&](const Matrix& x) {
            LbfgsTrainer trainer = value_of(
                LbfgsTrainer::create(row_major(x).view(), table.labels, config_of(0, 1e-7)));
            require_ok(trainer.run());
            return trainer.predict(row_major(x).view());
        };
        const Matrix expected = predicted(table.scaled);
        CHECK(largest_difference(predicted(other).span(), expected.span()) <
              (task == Task::linear ? 1e-3 : 1e-5));
    }
}

TEST_CASE("equal columns at different parties share the weight: the shortest solution") {
    // x, x, -x and 2 parties more: w is the least-norm one, as numpy's lstsq gives it
    Rng rng(5);
    Matrix x = random_matrix(200, 3, rng);
    std::copy(x.col(0).begin(), x.col(0).end(), x.col(1).begin());
    for (std::size_t i = 0; i < 200; ++i) x(i, 2) = -x(i, 0);
    Labels labels{Task::linear, Matrix(200, 1), 0, {}};
    for (std::size_t i = 0; i < 200; ++i) labels.values(i, 0) = 6 * x(i, 0) + 10;
    VerticalTraining training(cut(x, 3), labels, config_of(0));
    training.run();
    const auto unit = training.master->objective().unit();
    CHECK(training.parties[0].weights(unit)(0, 0) == Approx(2).epsilon(1e-9));
    CHECK(training.parties[1].weights(unit)(0, 0) == Approx(2).epsilon(1e-9));
    CHECK(training.parties[2].weights(unit)(0, 0) == Approx(-2).epsilon(1e-9));
    CHECK(training.master->intercept()[0] == Approx(10).epsilon(1e-9));
    CHECK(training.master->end() == LbfgsEnd::converged);
}

TEST_CASE("without an intercept the plane goes through the origin") {
    Rng rng(6);
    const Matrix x = random_matrix(300, 4, rng);
    Labels labels{Task::linear, Matrix(300, 1), 0, {}};
    for (std::size_t i = 0; i < 300; ++i)
        labels.values(i, 0) = 3 * x(i, 0) - x(i, 3) + 50 + 0.1 * normal(rng);
    LbfgsTrainerConfig config = config_of(2, 1e-8);
    config.intercept = false;
    VerticalTraining training(cut(x, 2), labels, config);
    training.run();
    CHECK(training.master->intercept().empty());
    // (X' X + 2 I) w = X' y
    Matrix w(4, 1);
    for (std::size_t p = 0; p < 2; ++p)
        std::ranges::copy(training.parties[p].weights(training.master->objective().unit()).col(0),
                          w.col(0).begin() + 2 * static_cast<std::ptrdiff_t>(p));
    Matrix z(300, 1), slope(4, 1);
    partial_scores(x, w, z.view());
    for (std::size_t i = 0; i < 300; ++i) z(i, 0) -= labels.values(i, 0);
    gradient(x, z, slope.view());
    for (std::size_t j = 0; j < 4; ++j) CHECK(std::abs(slope(j, 0) + 2 * w(j, 0)) < 1e-4);
}

// -- parties ----------------------------------------------------------------------------

TEST_CASE("one to four parties take the same steps, but for rounding") {
    for (const Task task : all_tasks)
        for (const char* kind : {"plain", "chain", "twice"}) {
            const SolverTable table = some_table(task, 400, 16, kind);
            std::vector<std::vector<double>> losses;
            for (const std::size_t count : {1, 2, 3, 4}) {
                VerticalTraining training(cut(table.scaled, count), table.labels, config_of(1));
                std::vector<double> course;
                while (!training.master->done()) {
                    training.step();
                    course.push_back(training.master->loss());
                }
                losses.push_back(course);
            }
            INFO(name_of(task) << ", " << kind);
            for (std::size_t p = 1; p < losses.size(); ++p) {
                const std::size_t steps = std::min(losses[0].size(), losses[p].size());
                CHECK(std::max(losses[0].size(), losses[p].size()) - steps <= 1);
                for (std::size_t i = 0; i < steps; ++i)
                    CHECK(losses[p][i] == Approx(losses[0][i]).epsilon(1e-9));
            }
        }
}

TEST_CASE("a party without columns, and a master without any, change nothing") {
    const SolverTable table = some_table(Task::logistic);
    std::vector<Design> parts = cut(table.scaled, 2);
    VerticalTraining plain(parts, table.labels, config_of(1));
    plain.run();
    parts.insert(parts.begin(), Design{table.scaled.rows(), 0, {}});
    parts.push_back(Design{table.scaled.rows(), 0, {}});
    VerticalTraining more(parts, table.labels, config_of(1));
    more.run();
    CHECK(more.master->loss() == plain.master->loss());
    CHECK(more.parties[1].state() == plain.parties[0].state());
    CHECK(more.parties[0].weights(more.master->objective().unit()).empty());
}

TEST_CASE("without any column the model is the constant") {
    for (const Task task : all_tasks) {
        const SolverTable table = some_table(task);
        LbfgsTrainer trainer =
            value_of(LbfgsTrainer::create({}, table.labels, LbfgsTrainerConfig{}));
        require_ok(trainer.run());
        CHECK(trainer.master().end() == LbfgsEnd::converged);
        CHECK(trainer.master().iterations() <= 1);
        CHECK(trainer.master().loss() == Approx(trainer.master().constant_loss()).epsilon(1e-12));
        const double none = 0;
        const Matrix p = trainer.predict(DesignView(&none, 3, 0));
        CHECK(p(0, 0) == p(2, 0));
    }
}

// -- weights ----------------------------------------------------------------------------

TEST_CASE("row weights give the model of repeated rows") {
    for (const Task task : all_tasks) {
        const SolverTable table = some_table(task);
        std::vector<double> weights(300);
        std::vector<RowIndex> repeated;
        for (RowIndex i = 0; i < 300; ++i) {
            weights[i] = static_cast<double>(i % 3);
            for (RowIndex j = 0; j < i % 3; ++j) repeated.push_back(i);
        }
        Matrix many;
        gather_rows(table.scaled, repeated, many);
        LbfgsTrainer a = value_of(LbfgsTrainer::create(row_major(table.scaled).view(), table.labels,
                                                       config_of(1, 1e-7), weights));
        LbfgsTrainer b = value_of(LbfgsTrainer::create(
            row_major(many).view(), select(table.labels, repeated), config_of(1, 1e-7)));
        require_ok(a.run());
        require_ok(b.run());
        INFO(name_of(task));
        const auto unit = a.master().objective().unit();
        CHECK(largest_difference(a.party().weights(unit).span(), b.party().weights(unit).span()) <
              1e-6 * unit[0]);
        CHECK(a.master().intercept()[0] == Approx(b.master().intercept()[0]).epsilon(1e-6));
        CHECK(a.master().loss() == Approx(b.master().loss()).epsilon(1e-10));
    }
}

TEST_CASE("class weights are row weights of their classes") {
    const SolverTable table = some_table(Task::logistic);
    LbfgsTrainerConfig config = config_of(1, 1e-7);
    config.class_weights = {ClassWeights::Kind::listed, {1, 5}};
    LbfgsTrainer a =
        value_of(LbfgsTrainer::create(row_major(table.scaled).view(), table.labels, config));
    require_ok(a.run());
    // the same weights on the rows need another l2: lambda is l2 / sum of row weights
    std::vector<double> weights(300);
    for (std::size_t i = 0; i < 300; ++i) weights[i] = table.labels.values(i, 0) == 1 ? 5 : 1;
    LbfgsTrainer b = value_of(LbfgsTrainer::create(row_major(table.scaled).view(), table.labels,
                                                   config_of(1, 1e-7), weights));
    require_ok(b.run());
    const auto unit = a.master().objective().unit();
    CHECK(largest_difference(a.party().weights(unit).span(), b.party().weights(unit).span()) <
          1e-6);
}

// -- commits ----------------------------------------------------------------------------

TEST_CASE("restored in the middle, the rest is the same to the bit") {
    for (const Task task : all_tasks) {
        const SolverTable table = some_table(task, 300, 12, "chain");
        const std::vector<Design> parts = cut(table.scaled, 2);
        VerticalTraining whole(parts, table.labels, config_of(0.1, 1e-6));
        std::vector<LbfgsMasterState> masters;
        std::vector<std::vector<LbfgsPartyState>> parties;
        const auto note = [&](const VerticalTraining& training) {
            masters.push_back(training.master->state());
            parties.push_back({training.parties[0].state(), training.parties[1].state()});
        };
        note(whole);
        while (!whole.master->done()) {
            whole.step();
            note(whole);
        }
        REQUIRE(masters.size() > 5);
        for (const std::size_t at : {std::size_t{0}, std::size_t{1}, masters.size() / 2,
                                     masters.size() - 2, masters.size() - 1}) {
            VerticalTraining again(parts, table.labels, config_of(0.1, 1e-6));
            require_ok(again.master->set_state(masters[at]));
            for (std::size_t p = 0; p < 2; ++p)
                require_ok(again.parties[p].set_state(parties[at][p]));
            CHECK(again.master->state() == masters[at]);
            while (!again.master->done()) again.step();
            INFO(name_of(task) << " at " << at << " of " << masters.size());
            CHECK(again.master->state() == masters.back());
            for (std::size_t p = 0; p < 2; ++p)
                CHECK(again.parties[p].state() == parties.back()[p]);
            CHECK(again.master->intercept() == whole.master->intercept());
        }
    }
}

TEST_CASE("a state of another training is refused and changes nothing") {
    const SolverTable table = some_table(Task::logistic);
    const std::vector<Design> parts = cut(table.scaled, 2);
    VerticalTraining training(parts, table.labels, config_of(1));
    training.step();
    training.step();
    const LbfgsMasterState master = training.master->state();
    const LbfgsPartyState party = training.parties[0].state();
    const auto refused = [&](auto&& change) {
        LbfgsMasterState other = master;
        change(other);
        CHECK(training.master->set_state(other).error().code == Errc::bad_data);
        CHECK(training.master->state() == master);
    };
    refused([](LbfgsMasterState& s) { s.scores.pop_back(); });
    refused([](LbfgsMasterState& s) { s.memory.pop_back(); });
    refused([](LbfgsMasterState& s) { s.products.pop_back(); });
    refused([](LbfgsMasterState& s) { s.intercept.push_back(0); });
    refused([](LbfgsMasterState& s) { s.intercept_step.push_back(0); });
    refused([](LbfgsMasterState& s) { s.offsets.clear(); });
    refused([](LbfgsMasterState& s) { s.coefficients.clear(); });
    refused([](LbfgsMasterState& s) { s.losses.clear(); });
    refused([](LbfgsMasterState& s) { s.groups.clear(); });
    refused([](LbfgsMasterState& s) { s.memory[3] = NAN; });
    LbfgsPartyState other = party;
    other.vectors.pop_back();
    CHECK(training.parties[0].set_state(other).error().code == Errc::bad_data);
    other = party;
    other.vectors[0] = HUGE_VAL;
    CHECK(training.parties[0].set_state(other).error().code == Errc::bad_data);
    CHECK(training.parties[0].state() == party);
}

// -- layouts ----------------------------------------------------------------------------

TEST_CASE("the model has the bits of every instruction set and every build") {
    const auto hash_of = [](const VerticalTraining& training) {
        std::uint64_t hash = 0xcbf29ce484222325ULL;
        const auto take = [&](std::span<const double> values) {
            for (const double x : values)
                hash = (hash ^ std::bit_cast<std::uint64_t>(x)) * 0x100000001b3ULL;
        };
        for (const LbfgsParty& party : training.parties)
            take(party.weights(training.master->objective().unit()).span());
        take(training.master->intercept());
        return hash;
    };
    const std::vector<std::uint64_t> expected = {0x4e73cf9a2ca93d7e, 0x74477b2bd5391e50,
                                                 0x64969a5bd8495b42, 0x9731d95ac8b8bd66};
    for (std::size_t i = 0; i < all_tasks.size(); ++i) {
        const SolverTable table = some_table(all_tasks[i], 600, 12, "chain");
        for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
            use_isa(isa);
            VerticalTraining training(cut(table.raw, 2), table.labels, config_of(1));
            training.run();
            INFO(name_of(all_tasks[i]) << ' ' << name_of(isa));
            CHECK(hash_of(training) == expected[i]);
        }
    }
    use_isa(best_isa());
}

// -- ends -------------------------------------------------------------------------------

TEST_CASE("it says how it ended") {
    const SolverTable table = some_table(Task::softmax, 300, 12, "chain");
    LbfgsTrainerConfig config = config_of(1);
    config.solver.max_iterations = 3;
    LbfgsTrainer few =
        value_of(LbfgsTrainer::create(row_major(table.scaled).view(), table.labels, config));
    CHECK_FALSE(few.done());
    require_ok(few.run());
    CHECK(few.master().end() == LbfgsEnd::max_iterations);
    CHECK(few.master().iterations() == 3);
    CHECK(few.master().loss() < few.master().constant_loss());

    // a tolerance below what doubles can tell apart: it ends where only rounding is left
    LbfgsTrainer fine = value_of(
        LbfgsTrainer::create(row_major(table.scaled).view(), table.labels, config_of(1, 1e-300)));
    require_ok(fine.run());
    CHECK(fine.master().end() == LbfgsEnd::converged);
    CHECK(fine.master().gradient_norm() < 1e-13);

    // answers that lead nowhere: a gradient without any scores
    VerticalTraining lost(cut(table.scaled, 1), table.labels, config_of(1));
    while (!lost.master->done()) {
        require_ok(lost.parties[0].answer(lost.master->request().coefficients,
                                          lost.master->request().residual, lost.answer));
        lost.answer.scores.fill(0);
        lost.master->begin_answers();
        require_ok(lost.master->add(lost.answer.scores, lost.answer.scalars));
        require_ok(lost.master->advance());
    }
    CHECK(lost.master->iterations() < 20);
    CHECK(lost.master->end() == LbfgsEnd::no_progress);
    CHECK(lost.master->loss() == Approx(lost.master->constant_loss()).epsilon(1e-9));
}

TEST_CASE("the loss never rises") {
    for (std::size_t i = 0; i < solver_cases.size(); ++i) {
        const SolverTable table = make_table(solver_cases[i], i);
        VerticalTraining training(cut(table.raw, 1), table.labels, config_of(1));
        const auto value = [&] {
            const LbfgsMasterState state = training.master->state();
            double sum = 0;
            const std::size_t width = LbfgsSlots{lbfgs_memory(table.raw.rows(), 1)}.products();
            for (std::size_t g = 0; g < state.losses.size(); ++g)
                sum += state.losses[g] + 0.5 * state.products[(g + 1) * width * width - 1];
            return sum;
        };
        double last = HUGE_VAL;
        INFO(solver_cases[i].name);
        while (!training.master->done()) {
            training.step();
            CHECK(value() <= last * (1 + 1e-13));
            last = value();
        }
    }
}

TEST_CASE("labels that no column explains converge at once, perfect ones without end trouble") {
    Rng rng(8);
    const Matrix x = random_matrix(100, 3, rng);
    Labels constant{Task::linear, Matrix(100, 1), 0, {}};
    constant.values.fill(12.5);
    LbfgsTrainer flat =
        value_of(LbfgsTrainer::create(row_major(x).view(), constant, LbfgsTrainerConfig{}));
    require_ok(flat.run());
    CHECK(flat.master().end() == LbfgsEnd::converged);
    CHECK(flat.predict(row_major(x).view())(7, 0) == Approx(12.5));

    Labels exact{Task::linear, Matrix(100, 1), 0, {}};
    for (std::size_t i = 0; i < 100; ++i) exact.values(i, 0) = x(i, 0) + 2 * x(i, 1);
    LbfgsTrainer line =
        value_of(LbfgsTrainer::create(row_major(x).view(), exact, config_of(0, 1e-8)));
    require_ok(line.run());
    CHECK(line.master().end() == LbfgsEnd::converged);
    CHECK(line.master().loss() < 1e-14);

    Labels split{Task::logistic, Matrix(100, 1), 0, {}};  // separable, and no penalty
    for (std::size_t i = 0; i < 100; ++i) split.values(i, 0) = x(i, 0) > 0 ? 1 : 0;
    LbfgsTrainer sure = value_of(LbfgsTrainer::create(row_major(x).view(), split, config_of(0)));
    require_ok(sure.run());
    CHECK(sure.master().end() == LbfgsEnd::converged);
    CHECK(sure.master().loss() < 1e-4);
}

// -- what peers send --------------------------------------------------------------------

TEST_CASE("requests and answers of other shapes, or not finite, are refused") {
    const SolverTable table = some_table(Task::logistic);
    VerticalTraining training(cut(table.scaled, 2), table.labels, config_of(1));
    const LbfgsRequest& request = training.master->request();
    LbfgsAnswer answer;
    LbfgsParty& party = training.parties[0];
    const auto asked = [&](const Matrix& coefficients, const Matrix& residual) {
        return party.answer(coefficients, residual, answer).error().code;
    };
    const std::size_t vectors = request.coefficients.rows();
    CHECK(asked(Matrix(vectors + 1, 1), request.residual) == Errc::malformed_message);
    CHECK(asked(Matrix(vectors, 2), request.residual) == Errc::malformed_message);
    CHECK(asked(request.coefficients, Matrix(299, 1)) == Errc::malformed_message);
    CHECK(asked(request.coefficients, Matrix(300, 2)) == Errc::malformed_message);
    Matrix infinite(300, 1);
    infinite(4, 0) = HUGE_VAL;
    CHECK(asked(request.coefficients, infinite) == Errc::diverged);
    CHECK(party.rounds() == 0);

    require_ok(party.answer(request.coefficients, request.residual, answer));
    training.master->begin_answers();
    const auto answered = [&](const Matrix& scores, std::vector<double> scalars) {
        return training.master->add(scores, scalars).error().code;
    };
    CHECK(answered(Matrix(299, 1), answer.scalars) == Errc::malformed_message);
    CHECK(answered(Matrix(300, 2), answer.scalars) == Errc::malformed_message);
    CHECK(answered(answer.scores, {1, 2}) == Errc::malformed_message);
    CHECK(answered(infinite, answer.scalars) == Errc::diverged);
    std::vector<double> none = answer.scalars;
    none[3] = NAN;
    CHECK(answered(answer.scores, none) == Errc::diverged);
}

TEST_CASE("a configuration without sense is refused by its key") {
    const auto sentence = [](LbfgsConfig config) {
        const Result<> checked = validate(config);
        REQUIRE_FALSE(checked);
        CHECK(checked.error().code == Errc::bad_config);
        return checked.error().sentence;
    };
    CHECK(sentence({-1, 1e-4, 10}).find("model.l2") != std::string::npos);
    CHECK(sentence({NAN, 1e-4, 10}).find("model.l2") != std::string::npos);
    CHECK(sentence({1, 0, 10}).find("model.tolerance") != std::string::npos);
    CHECK(sentence({1, 1, 10}).find("model.tolerance") != std::string::npos);
    CHECK(sentence({1, 1e-4, 0}).find("model.max_iterations") != std::string::npos);
    CHECK(validate(LbfgsConfig{}));
}

TEST_CASE("the memory shrinks with the table, never below six gradients") {
    CHECK(lbfgs_memory(100, 1) == 30);
    CHECK(lbfgs_memory(500'000, 1) == 30);
    CHECK(lbfgs_memory(2'000'000, 1) == 7);
    CHECK(lbfgs_memory(2'000'000, 10) == 6);
    CHECK(lbfgs_memory(0, 1) == 30);
}
