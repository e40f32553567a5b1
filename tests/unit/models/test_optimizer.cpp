// Trajectories against the formulae of torch.optim, worked out by hand or step by step.

#include "models/optimizer.hpp"
#include "support.hpp"

using namespace vflbus;
using namespace vflbus::models;

namespace {

std::vector<double> run(const OptimizerConfig& config, double start,
                        const std::vector<double>& gradients) {
    Optimizer optimizer(config, 1);
    std::vector<double> out;
    double w = start;
    for (const double g : gradients) {
        optimizer.step({&w, 1}, {&g, 1});
        out.push_back(w);
    }
    return out;
}

}  // namespace

TEST_CASE("plain gradient descent") {
    OptimizerConfig config;
    config.learning_rate = 0.5;
    CHECK(run(config, 1, {2, -1, 0}) == std::vector<double>{0, 0.5, 0.5});
}

TEST_CASE("momentum without dampening: the first velocity is the whole gradient") {
    OptimizerConfig config;
    config.learning_rate = 0.5;
    config.momentum = 0.5;
    // v: 4, 2 + 4, 3 + 0; w: 8 - 2, - 3, - 1.5
    CHECK(run(config, 8, {4, 4, 0}) == std::vector<double>{6, 3, 1.5});
}

TEST_CASE("weight decay is added to the gradient, before the momentum") {
    OptimizerConfig config;
    config.learning_rate = 0.25;
    config.momentum = 0.5;
    config.weight_decay = 0.5;
    // g: 0 + 4, v 4, w 8 - 1 = 7; g: 3.5, v 5.5, w 7 - 1.375
    CHECK(run(config, 8, {0, 0}) == std::vector<double>{7, 5.625});
}

TEST_CASE("Adam's first step has the length of the learning rate") {
    OptimizerConfig config;
    config.kind = OptimizerKind::adam;
    config.learning_rate = 0.01;
    CHECK(run(config, 1, {1e-3})[0] == Approx(1 - 0.01 * 1e-3 / (1e-3 + 1e-8)).epsilon(1e-15));
    CHECK(run(config, 1, {-50})[0] == Approx(1.01).epsilon(1e-9));
    CHECK(run(config, 1, {0})[0] == 1);
}

TEST_CASE("Adam follows its formulae with bias correction and decay") {
    OptimizerConfig config;
    config.kind = OptimizerKind::adam;
    config.learning_rate = 0.1;
    config.beta1 = 0.8;
    config.beta2 = 0.95;
    config.epsilon = 1e-3;
    config.weight_decay = 0.2;
    const std::vector<double> gradients = {0.5, -1.5, 2, 0.25, 0, -3};
    const std::vector<double> got = run(config, 0.7, gradients);
    double w = 0.7, m = 0, s = 0;
    for (std::size_t t = 1; t <= gradients.size(); ++t) {
        const double g = gradients[t - 1] + 0.2 * w;
        m = 0.8 * m + 0.2 * g;
        s = 0.95 * s + 0.05 * g * g;
        const double m_hat = m / (1 - std::pow(0.8, static_cast<double>(t)));
        const double s_hat = s / (1 - std::pow(0.95, static_cast<double>(t)));
        w -= 0.1 * m_hat / (std::sqrt(s_hat) + 1e-3);
        CHECK(got[t - 1] == Approx(w).epsilon(1e-13));
    }
}

TEST_CASE("a restored optimizer continues bit for bit") {
    for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam}) {
        OptimizerConfig config;
        config.kind = kind;
        config.momentum = 0.9;
        support::Rng rng(1);
        Optimizer whole(config, 5);
        std::vector<double> w(5, 1.0);
        OptimizerState stored;
        std::vector<double> stored_w;
        std::vector<std::vector<double>> later;
        for (int t = 0; t < 20; ++t) {
            std::vector<double> g(5);
            for (double& x : g) x = support::normal(rng);
            if (t == 10) {
                stored = whole.state();
                stored_w = w;
            }
            if (t >= 10) later.push_back(g);
            whole.step(w, g);
        }
        Optimizer resumed(config, 5);
        support::require_ok(resumed.set_state(stored));
        for (const auto& g : later) resumed.step(stored_w, g);
        CHECK(stored_w == w);
        CHECK(resumed.state() == whole.state());
        CHECK(whole.state().steps == 20);
    }
}

TEST_CASE("states that do not fit are refused and change nothing") {
    OptimizerConfig config;
    config.kind = OptimizerKind::adam;
    Optimizer optimizer(config, 2);
    const OptimizerState before = optimizer.state();
    CHECK(optimizer.set_state({3, {1, 2, 3}, {1, 2, 3}}).error().code == Errc::bad_data);
    CHECK(optimizer.set_state({3, {}, {}}).error().code == Errc::bad_data);
    CHECK(optimizer.set_state({3, {1, 2}, {1, HUGE_VAL}}).error().code == Errc::bad_data);
    CHECK(optimizer.state() == before);
}

TEST_CASE("impossible hyperparameters are refused by key") {
    const auto refused = [](auto change, const std::string& key) {
        OptimizerConfig config;
        change(config);
        const auto result = validate(config);
        return !result && result.error().code == Errc::bad_config &&
               result.error().sentence.find(key) != std::string::npos;
    };
    CHECK(validate(OptimizerConfig{}));
    CHECK(refused([](auto& c) { c.learning_rate = 0; }, "model.learning_rate"));
    CHECK(refused([](auto& c) { c.learning_rate = std::nan(""); }, "model.learning_rate"));
    CHECK(refused([](auto& c) { c.learning_rate = HUGE_VAL; }, "model.learning_rate"));
    CHECK(refused([](auto& c) { c.momentum = 1; }, "model.momentum"));
    CHECK(refused([](auto& c) { c.momentum = -0.1; }, "model.momentum"));
    CHECK(refused([](auto& c) { c.beta1 = 1; }, "model.adam_beta1"));
    CHECK(refused([](auto& c) { c.beta2 = 1.5; }, "model.adam_beta2"));
    CHECK(refused([](auto& c) { c.epsilon = 0; }, "model.adam_epsilon"));
    CHECK(refused([](auto& c) { c.weight_decay = -1; }, "model.weight_decay"));
    CHECK(parse_optimizer("adam").value() == OptimizerKind::adam);
    CHECK(parse_optimizer("sgd").value() == OptimizerKind::sgd);
    CHECK(parse_optimizer("Adam").error().code == Errc::bad_config);
}
