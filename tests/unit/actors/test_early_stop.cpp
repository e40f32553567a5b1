// Early stopping: which model is kept, when a training ends, what is refused. That a kill changes
// nothing of it is in test_recovery.cpp.

#include <utility>

#include "actors/early_stop.hpp"
#include "catch.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

/// Steps that are too long, so that the test rows' loss rises again and again.
World restless(config::Solver solver) {
    World world;
    world.rows = 140;
    world.solver = solver;
    return world;
}

void configure(Play& play, std::uint64_t epochs) {
    if (play.world.solver != config::Solver::lbfgs) {
        play.config.model.epochs = epochs;
        play.config.model.learning_rate = 2;
    }
    play.config.model.label_holder_alone = false;
}

/// What a run has trained, but for the numbers of its steps and its configuration.
std::vector<std::vector<double>> weights_by_party(const Play& play) {
    std::vector<std::vector<double>> out;
    for (std::size_t p = 0; p <= play.world.members; ++p) {
        out.push_back(play.part(p).weights);
        out.push_back(play.part(p).intercept);
    }
    return out;
}

}  // namespace

TEST_CASE("the model of the best look is kept, as if nothing had been trained after it") {
    Play early(restless(config::Solver::sgd));
    configure(early, 60);
    early.config.model.early_stopping = "loss";
    early.config.model.patience = 3;
    const Ending ending = early.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    const observe::RunReport& report = early.master->report();
    REQUIRE(report.early_stopping);
    const observe::EarlyStopping& stop = *report.early_stopping;
    CHECK(stop.metric == "loss");
    CHECK(stop.step == report.steps);
    CHECK(stop.last_step > stop.step);
    CHECK(stop.last_step < report.steps_planned);
    const std::uint64_t batches = report.steps_planned / 60;
    CHECK(stop.last_step == stop.step + 3 * batches);
    CHECK(stop.value == early.metric(report.test, "loss"));
    for (const observe::HistoryEntry& entry : report.history)
        if (entry.split == "test") CHECK(entry.loss >= stop.value);
    for (std::size_t p = 0; p < 3; ++p) CHECK(early.part(p).steps == stop.step);

    Play plain(restless(config::Solver::sgd));
    configure(plain, stop.step / batches);
    REQUIRE(plain.play().code == Errc::ok);
    CHECK(weights_by_party(plain) == weights_by_party(early));
    CHECK(plain.master->report().test == report.test);
    CHECK(plain.master->report().train == report.train);
}

TEST_CASE("a solver that has converged goes back to the weights that were best for the test") {
    Play play(restless(config::Solver::lbfgs));
    configure(play, 0);
    play.config.model.early_stopping = "auc";
    play.config.model.patience = 100;
    play.config.model.l2 = 0.001;
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    const observe::RunReport& report = play.master->report();
    REQUIRE(report.early_stopping);
    CHECK(report.early_stopping->value == play.metric(report.test, "auc"));
    for (const observe::HistoryEntry& entry : report.history)
        if (entry.split == "test")
            CHECK(play.metric(entry.metrics, "auc") <= report.early_stopping->value);
    // the solver had converged, and went back to weights that it had passed
    CHECK(report.early_stopping->step < report.early_stopping->last_step);
    CHECK(play.part(1).steps == report.early_stopping->step);
}

namespace {

/// A training that goes on too long, under a protocol that hides numbers.
Play hidden(config::Protocol protocol, config::Solver solver, config::ModelName name) {
    World world = restless(solver);
    world.name = name;
    Play play(world);
    configure(play, 24);
    play.config.run.protocol = protocol;
    play.config.bus.commit_steps = 10;
    if (name == config::ModelName::linear) return play;
    use_network(play.config.model, name);
    play.config.model.epochs = 24;
    play.config.model.learning_rate = 0.3;
    play.config.model.combine = config::Combine::sum;
    if (protocol == config::Protocol::encrypted) play.config.model.bottom = "5";
    return play;
}

}  // namespace

TEST_CASE("trainings under masks and encryption go back to their best step") {
    const auto protocol = GENERATE(config::Protocol::masked, config::Protocol::encrypted);
    const auto [solver, name] =
        GENERATE(std::pair(config::Solver::sgd, config::ModelName::linear),
                 std::pair(config::Solver::lbfgs, config::ModelName::linear),
                 std::pair(config::Solver::adamw, config::ModelName::mlp));
    CAPTURE(config::name_of(protocol), config::name_of(solver), config::name_of(name));
    const auto early = [&, which = solver, of = name] {
        Play play = hidden(protocol, which, of);
        play.config.model.early_stopping = which == config::Solver::lbfgs ? "auc" : "loss";
        play.config.model.patience = which == config::Solver::lbfgs ? 100 : 3;
        if (which == config::Solver::lbfgs) play.config.model.l2 = 0.001;
        return play;
    };
    Play play = early();
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    const observe::RunReport& report = play.master->report();
    REQUIRE(report.early_stopping);
    const observe::EarlyStopping& stop = *report.early_stopping;
    CHECK(stop.step < stop.last_step);
    CHECK(stop.value == play.metric(report.test, play.config.model.early_stopping));
    for (const observe::HistoryEntry& entry : report.history)
        if (entry.split == "test" && stop.metric == "loss") CHECK(entry.loss >= stop.value);
    // the same after a death, with other keys
    for (const std::size_t at : {60, 120}) {
        Play disturbed = early();
        disturbed.set().before_event = [&](std::size_t n) {
            if (n == at) disturbed.restart_member(at == 60 ? 0 : 1);
        };
        const Ending end = disturbed.play();
        INFO(end.sentence);
        REQUIRE(end.code == Errc::ok);
        CHECK(disturbed.files() == play.files());
    }
    if (solver == config::Solver::lbfgs) return;
    // and it is the model of a training that ends there
    Play plain = hidden(protocol, solver, name);
    const std::uint64_t batches = report.steps_planned / 24;
    plain.config.model.epochs = stop.step / batches;
    REQUIRE(stop.step % batches == 0);
    if (name == config::ModelName::mlp) return;  // whose schedule of rates follows the epochs
    REQUIRE(plain.play().code == Errc::ok);
    CHECK(weights_by_party(plain) == weights_by_party(play));
    CHECK(plain.master->report().test == report.test);
}

TEST_CASE("networks and mini-batches stop early at looks of their own") {
    World world = restless(config::Solver::sgd);
    world.name = config::ModelName::mlp;
    Play play(world);
    play.config.model.epochs = 60;
    play.config.model.early_stopping = "auc";
    play.config.model.patience = 2;
    play.config.model.report_test_metrics_iteration = 3;
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    const observe::RunReport& report = play.master->report();
    REQUIRE(report.early_stopping);
    CHECK(report.early_stopping->step % 3 == 0);
    CHECK(report.early_stopping->last_step == report.early_stopping->step + 6);
    CHECK(report.early_stopping->value == play.metric(report.test, "auc"));
}

TEST_CASE("early stopping says before the first step that it needs test rows, or another label") {
    const auto refused = [](Play& play) {
        bool begun = false;
        play.set().on_request = [&](std::size_t, Message& request) {
            begun |= request.metadata.message_type == message::begin;
            return true;
        };
        const std::string sentence = play.play().sentence;
        CHECK_FALSE(begun);
        return sentence;
    };
    Play untested(restless(config::Solver::sgd));
    configure(untested, 3);
    untested.config.model.early_stopping = "auc";
    untested.config.data.test_fraction = 0;
    CHECK(refused(untested).find("needs test rows") != std::string::npos);
    World several = restless(config::Solver::sgd);
    several.task = vflbus::Task::multilabel;
    Play mistaken(several);
    configure(mistaken, 3);
    mistaken.config.model.early_stopping = "auc[nobody]";
    const std::string sentence = refused(mistaken);
    CHECK(sentence.find("\"auc[nobody]\" is no metric of this task; it has loss, auc_macro") !=
          std::string::npos);
    CHECK(sentence.find(" and auc[") != std::string::npos);
}

TEST_CASE("a best state comes back from a commit as it went") {
    const BestState best{true, 12, std::string("weights\0and more", 16), 0.75, 2, 14};
    BestState back;
    const std::string bytes = with_best("now", best);
    const auto own = without_best(bytes, back);
    REQUIRE(own);
    CHECK(*own == "now");
    CHECK(back == best);
    const auto none = without_best(with_best("", {}), back);
    REQUIRE(none);
    CHECK(none->empty());
    CHECK(back == BestState{});
    CHECK_FALSE(without_best("short", back));
    std::string damaged = bytes;
    damaged.back() = '\x7f';
    CHECK_FALSE(without_best(damaged, back));
}
