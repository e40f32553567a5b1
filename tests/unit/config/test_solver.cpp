// Which solver a configuration means: stated, or by the keys of earlier versions.

#include "config/agreed.hpp"
#include "support.hpp"

using namespace vflbus;
using namespace vflbus::config;
using namespace vflbus::config::testing;

namespace {

ModelConfig model_of(const std::string& body) {
    return value_of(load_text("[model]\ntask = \"linear\"\n" + body)).model;
}

std::string refusal_of(const std::string& body) {
    return sentence_of(load_text("[model]\ntask = \"linear\"\n" + body));
}

bool names_part(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("nothing stated is lbfgs with scikit-learn's penalty") {
    const ModelConfig model = model_of("");
    CHECK(model.solver == Solver::lbfgs);
    CHECK(model.l2 == 1);
    CHECK(model.tolerance == 1e-4);
    CHECK(model.max_iterations == 1000);
    CHECK_FALSE(model.sequential);
}

TEST_CASE("keys of earlier versions mean what they meant") {
    for (const char* key :
         {"epochs = 20", "batch_size = 256", "learning_rate = 0.1", "optimizer = \"sgd\"",
          "momentum = 0.5", "weight_decay = 0.1", "shuffle = true", "adam_beta1 = 0.9",
          "adam_beta2 = 0.99", "adam_epsilon = 1e-8"}) {
        INFO(key);
        CHECK(model_of(key + std::string("\n")).solver == Solver::sgd);
    }
    CHECK(model_of("optimizer = \"adam\"\n").solver == Solver::adam);
    const ModelConfig sequential = model_of("sequential = true\n");
    CHECK(sequential.solver == Solver::sequential);
    CHECK(sequential.batch_size == 0);
    CHECK(model_of("sequential = true\nbatch_size = 100\n").batch_size == 100);
    CHECK(model_of("sequential = true\nepochs = 5\n").solver == Solver::sequential);
    // those that belong to no solver choose none
    CHECK(model_of("intercept = false\nreport_train_metrics_iteration = 3\n").solver ==
          Solver::lbfgs);
}

TEST_CASE("a solver that is stated fills in the keys of earlier versions") {
    CHECK(model_of("solver = \"adam\"\n").optimizer == Optimizer::adam);
    CHECK(model_of("solver = \"adam\"\nepochs = 3\n").epochs == 3);
    CHECK(model_of("solver = \"sgd\"\n").optimizer == Optimizer::sgd);
    const ModelConfig sequential = model_of("solver = \"sequential\"\n");
    CHECK(sequential.sequential);
    CHECK(sequential.batch_size == 0);
    CHECK(model_of("solver = \"sgd\"\noptimizer = \"sgd\"\nsequential = false\n").solver ==
          Solver::sgd);
}

TEST_CASE("C is 1 / l2, and only one of them may be stated") {
    CHECK(model_of("C = 0.25\n").l2 == 4);
    CHECK(model_of("C = 10\n").l2 == 0.1);
    const std::string both = refusal_of("C = 2\nl2 = 0.5\n");
    CHECK(names_part(both, "model.C = 2"));
    CHECK(names_part(both, "model.l2"));
    CHECK(names_part(refusal_of("C = 0\n"), "model.C"));
    const Config config = value_of(load_text("[model]\nC = 4\n"));
    CHECK(config.has_agreed_half());
    CHECK(names_part(canonical_agreed(config), "model.l2 = 0.25\n"));
    CHECK_FALSE(names_part(canonical_agreed(config), "model.C"));
    CHECK_FALSE(names_part(to_toml(config), "\nC = "));
}

TEST_CASE("contradictions are refused with both keys") {
    const std::string adam = refusal_of("solver = \"sgd\"\noptimizer = \"adam\"\n");
    CHECK(names_part(adam, "conf/x.toml:4: model.optimizer = \"adam\" contradicts model.solver"));
    CHECK(names_part(refusal_of("solver = \"lbfgs\"\nsequential = true\n"),
                     "model.sequential = true contradicts model.solver = \"lbfgs\""));
    CHECK(names_part(refusal_of("solver = \"sequential\"\nsequential = false\n"), "contradicts"));
    CHECK(names_part(
        sentence_of(load_text("[model]\ntask = \"logistic\"\nsolver = \"sequential\"\n")),
        "model.task = \"linear\" only"));
}

TEST_CASE("keys of another solver are refused with the nearest one, unless they say nothing") {
    CHECK(
        names_part(refusal_of("solver = \"lbfgs\"\nweight_decay = 0.1\n"), "nearest is model.l2"));
    CHECK(names_part(refusal_of("solver = \"lbfgs\"\nepochs = 5\n"),
                     "nearest is model.max_iterations"));
    CHECK(
        names_part(refusal_of("solver = \"lbfgs\"\nlearning_rate = 0.5\n"), "learning_rate = 0.5"));
    CHECK(names_part(refusal_of("reg_lambda = 3\n"), "nearest is model.l2"));
    CHECK(names_part(refusal_of("solver = \"sgd\"\nl2 = 3\n"), "nearest is model.weight_decay"));
    CHECK(names_part(refusal_of("epochs = 3\nC = 3\n"), "model.l2"));
    CHECK(names_part(refusal_of("solver = \"adam\"\ntolerance = 1e-6\n"), "model.tolerance"));
    CHECK(model_of("solver = \"lbfgs\"\nepochs = 20\nlearning_rate = 0.1\n").solver ==
          Solver::lbfgs);
}

TEST_CASE("what is written states everything and reads back alike") {
    for (const char* body : {"", "C = 4\n", "epochs = 3\n", "optimizer = \"adam\"\n",
                             "sequential = true\n", "solver = \"lbfgs\"\ntolerance = 1e-6\n"}) {
        const Config config = value_of(
            load_text("[run]\nworld_size = 1\n[model]\ntask = \"linear\"\n" + std::string(body)));
        const Config again = value_of(load_text(to_toml(config)));
        INFO(body);
        CHECK(again.model == config.model);
        CHECK(agreed_hash(again) == agreed_hash(config));
    }
}
