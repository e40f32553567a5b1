// Trainings by L-BFGS over a run: the joined fit, the report, what is said at the end.

#include <algorithm>

#include "actors/training/labels.hpp"
#include "actors/training/linear/lbfgs/messages.hpp"
#include "catch.hpp"
#include "models/lbfgs_trainer.hpp"
#include "observe/report.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

World lbfgs_world(vflbus::Task task) {
    World world;
    world.task = task;
    world.solver = config::Solver::lbfgs;
    return world;
}

/// All parties' columns and labels of the rows that everybody has, in the master's table order.
struct JoinedTable {
    explicit JoinedTable(const World& world) {
        for (std::size_t row = 0; row < world.rows; ++row) {
            bool all = true;
            for (std::size_t p = 0; p <= world.members; ++p) all = all && row % (p + 7) != 3;
            if (all) people.push_back(row);
        }
        const std::size_t n = people.size();
        labels.task = world.task;
        labels.classes = world.task == vflbus::Task::softmax ? 3 : 0;
        labels.values.resize(n, world.label_columns());
        for (std::size_t i = 0; i < n; ++i)
            for (std::size_t c = 0; c < world.label_columns(); ++c)
                labels.values(i, c) = world.label(people[i], c);
        for (const std::size_t row : people)
            for (std::size_t p = world.master_features ? 0 : 1; p <= world.members; ++p)
                for (std::size_t j = 0; j < world.features; ++j)
                    design.push_back(world.value(row, p, j));
        columns = design.size() / n;
    }
    std::vector<std::size_t> people;
    models::Labels labels;
    std::vector<double> design;  ///< row-major
    std::size_t columns = 0;
};

}  // namespace

TEST_CASE("a run by L-BFGS comes to the joined fit") {
    const auto task = GENERATE(vflbus::Task::logistic, vflbus::Task::linear,
                               vflbus::Task::multilabel, vflbus::Task::softmax);
    World world = lbfgs_world(task);
    world.master_features = GENERATE(true, false);
    CAPTURE(config::name_of(task), world.master_features);
    Play play(world);
    play.config.data.test_fraction = 0;
    play.config.data.standardize = false;  // weights of the columns as they are
    play.config.model.tolerance = 1e-7;
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);

    const JoinedTable joined(world);
    models::LbfgsTrainerConfig config;
    config.solver.tolerance = 1e-7;
    auto trainer = models::LbfgsTrainer::create(
        {joined.design.data(), joined.people.size(), joined.columns}, joined.labels, config);
    REQUIRE(trainer);
    REQUIRE(trainer->run());
    const models::Matrix expected = trainer->party().weights(trainer->master().objective().unit());
    std::size_t first = 0;
    for (std::size_t p = 0; p <= world.members; ++p) {
        const auto part = play.part(p);
        const std::size_t d = part.features();
        CHECK(d == (p == 0 && !world.master_features ? 0 : 3));
        for (std::size_t c = 0; c < expected.cols(); ++c)
            for (std::size_t j = 0; j < d; ++j)
                CHECK(part.weights[c * d + j] == Approx(expected(first + j, c)).margin(1e-6));
        first += d;
    }
    const auto intercept = trainer->master().intercept();
    REQUIRE(play.part(0).intercept.size() == intercept.size());
    for (std::size_t c = 0; c < intercept.size(); ++c)
        CHECK(play.part(0).intercept[c] == Approx(intercept[c]).margin(1e-6));
}

TEST_CASE("the report tells of the solver, its end and its course") {
    const auto task = GENERATE(vflbus::Task::logistic, vflbus::Task::linear,
                               vflbus::Task::multilabel, vflbus::Task::softmax);
    CAPTURE(config::name_of(task));
    Play play(lbfgs_world(task));
    REQUIRE(play.play().code == Errc::ok);
    const auto& report = play.master->report();
    CHECK(report.solver == "lbfgs");
    REQUIRE(report.converged);
    CHECK(*report.converged);
    CHECK(report.steps == report.iterations + 1);
    CHECK(report.epochs == 0);
    CHECK(report.notes.empty());
    CHECK_FALSE(report.label_holder_alone_test.empty());
    // one point for each step, and the test metrics at the end
    REQUIRE(report.history.size() == report.steps + 1);
    double last = HUGE_VAL;
    for (std::size_t i = 0; i < report.steps; ++i) {
        CHECK(report.history[i].step == i + 1);
        CHECK(report.history[i].split == "train");
        CHECK(report.history[i].loss <= last * (1 + 1e-4));  // the penalty is not in it
        last = report.history[i].loss;
    }
    CHECK(last == Approx(play.metric(report.train, "loss")).epsilon(1e-9));
    const auto stored =
        observe::from_json(play.env.files.at("runs/" + play.run.hex() + "/report.json"));
    REQUIRE(stored);
    CHECK(stored->solver == "lbfgs");
    CHECK(stored->converged == report.converged);
    CHECK(stored->iterations == report.iterations);
    CHECK(play.part(1).steps == report.steps);
}

TEST_CASE("the scores of the test rows are those of the model parts") {
    const auto task = GENERATE(vflbus::Task::logistic, vflbus::Task::linear, vflbus::Task::softmax);
    Play play(lbfgs_world(task));
    REQUIRE(play.play().code == Errc::ok);
    Play again(lbfgs_world(task));
    again.config.model.report_test_metrics_iteration = 1;
    again.config.model.report_train_metrics_iteration = 2;
    REQUIRE(again.play().code == Errc::ok);
    // metrics on the way change nothing
    for (std::size_t p = 0; p < 3; ++p) CHECK(play.part(p).weights == again.part(p).weights);
    CHECK(play.master->report().test == again.master->report().test);
    // the model that is stored, on the training rows' side of the split
    const auto& report = play.master->report();
    CHECK(play.metric(report.test, "loss") < 0.9 * report.history.front().loss);
}

TEST_CASE("the same bits by L-BFGS, whatever the order of rows and of arrival") {
    World world = lbfgs_world(vflbus::Task::softmax);
    world.members = 3;
    std::vector<std::string> first;
    for (std::uint64_t variant = 1; variant <= 4; ++variant) {
        Play play(world, variant);
        play.harness_seed = variant * 17;
        REQUIRE(play.play().code == Errc::ok);
        const std::vector<std::string> files = play.files();
        if (variant == 1) first = files;
        CHECK(files == first);
    }
}

TEST_CASE("a training that stops at its bound says so") {
    Play play(lbfgs_world(vflbus::Task::softmax));
    play.config.model.max_iterations = 2;
    REQUIRE(play.play().code == Errc::ok);
    const auto& report = play.master->report();
    REQUIRE(report.converged);
    CHECK_FALSE(*report.converged);
    CHECK(report.iterations == 2);
    CHECK(report.steps == 3);
    REQUIRE(report.notes.size() == 1);
    CHECK(report.notes[0].find("not converged after 2 iterations") == 0);
    CHECK(report.notes[0].find("model.max_iterations = 2") != std::string::npos);
    CHECK(std::ranges::find(play.log, report.notes[0]) != play.log.end());
    CHECK(observe::to_table(report).find("not converged after 2") != std::string::npos);
}

TEST_CASE("the report says whether others could read what was sent") {
    const auto notes = [](const std::string& broker, const std::string& keys) {
        Play play(lbfgs_world(vflbus::Task::logistic));
        play.config.bus.broker = broker;
        play.config.bus.certificates = keys;
        REQUIRE(play.play().code == Errc::ok);
        std::string all;
        for (const std::string& note : play.master->report().notes) all += note + "\n";
        return all;
    };
    CHECK(notes("tcp://10.1.2.3:7423", "").find("the link to the broker was in the clear") == 0);
    CHECK(notes("tcp://10.1.2.3:7423", "/keys").find("in the clear") == std::string::npos);
    CHECK(notes("tcp://127.0.0.1:7423", "").find("in the clear") == std::string::npos);
    CHECK(notes("ipc:///run/vflbus.sock", "").find("in the clear") == std::string::npos);
}

TEST_CASE("a descent that blows up fails, though every number is finite") {
    World world;
    world.task = vflbus::Task::linear;
    Play play(world);
    play.config.model.learning_rate = 3;
    play.config.model.epochs = 6;
    const Ending ending = play.play();
    CAPTURE(ending.sentence);
    CHECK(ending.code == Errc::diverged);
    CHECK(ending.sentence.find("best constant") != std::string::npos);
    CHECK(ending.sentence.find("model.learning_rate (now 3)") != std::string::npos);
    CHECK(exit_code(ending.code) == ExitCode::diverged);
}

TEST_CASE("a model that is worse than none, or than the label holder alone, says so") {
    World world;
    Play play(world);
    play.config.model.learning_rate = 100;  // far too long, but it comes back
    play.config.model.momentum = 0;
    play.config.model.epochs = 1;
    const Ending ending = play.play();
    CAPTURE(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    const auto& notes = play.master->report().notes;
    REQUIRE(!notes.empty());
    CHECK(notes[0].find("the model is worse than none") == 0);
    CHECK(notes[0].find("model.learning_rate (now 100)") != std::string::npos);

    // members whose columns are noise, many of them, and no penalty to speak of
    const World noisy = lbfgs_world(vflbus::Task::logistic);
    Play overfitted(noisy);
    overfitted.config.model.l2 = 1e-6;
    overfitted.config.data.test_fraction = 0.5;
    for (std::size_t p = 1; p <= noisy.members; ++p) {
        auto table = std::make_shared<data::Table>(noisy.table(p, noisy.order(p, 1)));
        Rng rng(p);
        table->features.resize(40, table->features.front());
        for (std::size_t j = 0; j < table->features.size(); ++j) {
            table->features[j].name = "noise" + std::to_string(j);
            for (double& value : table->features[j].numbers) value = rng.uniform();
        }
        overfitted.tables[p][TableKind::train] = table;
    }
    REQUIRE(overfitted.play().code == Errc::ok);
    const auto& said = overfitted.master->report().notes;
    REQUIRE(!said.empty());
    CHECK(said.back().find("worse than the label holder's columns alone on the test rows") !=
          std::string::npos);
}

TEST_CASE("settings of a solver that make no sense are refused") {
    const auto wire = [](std::vector<double> values) {
        bus::Writer w;
        w.array(1).tensor(values, values.size(), 1);
        return w.take();
    };
    const auto refused = [&](std::vector<double> values, std::size_t outputs) {
        const Bytes body = wire(std::move(values));
        bus::Reader r("settings", body, 1);
        const auto settings = linear::settings_of(r.tensor(), outputs);
        return settings ? Errc::ok : settings.error().code;
    };
    CHECK(refused({0.1, 1}, 1) == Errc::ok);
    CHECK(refused({0, 1, 2}, 2) == Errc::ok);
    CHECK(refused({0.1}, 1) == Errc::malformed_message);
    CHECK(refused({0.1, 1, 1}, 1) == Errc::malformed_message);
    CHECK(refused({-0.1, 1}, 1) == Errc::malformed_message);
    CHECK(refused({NAN, 1}, 1) == Errc::malformed_message);
    CHECK(refused({0.1, 0}, 1) == Errc::malformed_message);
    CHECK(refused({0.1, HUGE_VAL}, 1) == Errc::malformed_message);
}
