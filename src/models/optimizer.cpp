#include "models/optimizer.hpp"

#include <cassert>
#include <cmath>
#include <string>
#include <utility>

#include "models/math.hpp"
#include "models/matrix.hpp"

namespace vflbus::models {

namespace {

tl::unexpected<Failure> bad_key(std::string_view key, double value, std::string_view rule) {
    return fail(Errc::bad_config, std::string(key) + " = " + std::to_string(value) + " must be " +
                                      std::string(rule) + ".");
}

}  // namespace

Result<OptimizerKind> parse_optimizer(std::string_view name) {
    if (name == "sgd") return OptimizerKind::sgd;
    if (name == "adam") return OptimizerKind::adam;
    return fail(Errc::bad_config,
                "model.optimizer = \"" + std::string(name) + "\" must be \"sgd\" or \"adam\".");
}

std::string_view name_of(OptimizerKind kind) noexcept {
    return kind == OptimizerKind::adam ? "adam" : "sgd";
}

Result<> validate(const OptimizerConfig& config) {
    const auto positive = [](double x) { return x > 0 && std::isfinite(x); };
    const auto share = [](double x) { return x >= 0 && x < 1; };
    if (!positive(config.learning_rate))
        return bad_key("model.learning_rate", config.learning_rate, "positive and finite");
    if (!share(config.momentum)) return bad_key("model.momentum", config.momentum, "in [0, 1)");
    if (!share(config.beta1)) return bad_key("model.adam_beta1", config.beta1, "in [0, 1)");
    if (!share(config.beta2)) return bad_key("model.adam_beta2", config.beta2, "in [0, 1)");
    if (!positive(config.epsilon))
        return bad_key("model.adam_epsilon", config.epsilon, "positive and finite");
    if (!(config.weight_decay >= 0 && std::isfinite(config.weight_decay)))
        return bad_key("model.weight_decay", config.weight_decay, "0 or more and finite");
    return {};
}

Optimizer::Optimizer(const OptimizerConfig& config, std::size_t size)
    : config_(config), size_(size) {
    assert(validate(config));
    if (config_.kind == OptimizerKind::adam) {
        state_.first.assign(size, 0);
        state_.second.assign(size, 0);
    } else if (config_.momentum != 0) {
        state_.first.assign(size, 0);
    }
}

void Optimizer::step(std::span<double> weights, std::span<const double> gradient) noexcept {
    assert(weights.size() == size_ && gradient.size() == size_);
    ++state_.steps;
    double* w = weights.data();
    const double* g = gradient.data();
    double* first = state_.first.data();
    const double rate = config_.learning_rate;
    const double decay = config_.weight_decay;
    if (config_.kind == OptimizerKind::adam) {
        double* second = state_.second.data();
        const double beta1 = config_.beta1;
        const double beta2 = config_.beta2;
        const double step_size = rate / (1 - power(beta1, state_.steps));
        const double root = std::sqrt(1 - power(beta2, state_.steps));
        for (std::size_t i = 0; i < size_; ++i) {
            const double slope = g[i] + decay * w[i];
            first[i] = beta1 * first[i] + (1 - beta1) * slope;
            second[i] = beta2 * second[i] + (1 - beta2) * (slope * slope);
            w[i] -= step_size * (first[i] / (std::sqrt(second[i]) / root + config_.epsilon));
        }
    } else if (config_.momentum != 0) {
        for (std::size_t i = 0; i < size_; ++i) {
            first[i] = config_.momentum * first[i] + (g[i] + decay * w[i]);
            w[i] -= rate * first[i];
        }
    } else {
        for (std::size_t i = 0; i < size_; ++i) w[i] -= rate * (g[i] + decay * w[i]);
    }
}

Result<> Optimizer::set_state(OptimizerState state) {
    if (state.first.size() != state_.first.size() || state.second.size() != state_.second.size())
        return fail(Errc::bad_data,
                    "the stored optimizer state has " + std::to_string(state.first.size()) + " + " +
                        std::to_string(state.second.size()) + " numbers where this model needs " +
                        std::to_string(state_.first.size()) + " + " +
                        std::to_string(state_.second.size()) +
                        "; it belongs to another configuration.");
    if (!all_finite(state.first) || !all_finite(state.second))
        return fail(Errc::bad_data,
                    "the stored optimizer state holds numbers that are not finite; resume from an "
                    "earlier commit.");
    state_ = std::move(state);
    return {};
}

}  // namespace vflbus::models
