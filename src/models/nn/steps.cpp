#include "models/nn/steps.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "models/kernel_table.hpp"
#include "models/math.hpp"

namespace vflbus::models::nn {
namespace {

/// cos(pi x) for x in [0, 1], by its series about the nearer of 0 and 1/2: libraries' cosines
/// differ in the last bit.
double cos_pi(double x) {
    constexpr double pi = 3.141592653589793;
    const bool middle = x > 0.25 && x < 0.75;
    const double angle = middle ? (0.5 - x) * pi : (x <= 0.25 ? x : 1 - x) * pi;
    const double square = angle * angle;
    double term = middle ? angle : 1;
    double sum = term;
    for (int k = middle ? 2 : 1; k < 24; k += 2) {
        term *= -square / (k * (k + 1));
        sum += term;
    }
    return middle || x <= 0.25 ? sum : -sum;
}

void sgd(const StepConfig& config, Parameter& p, FloatArray& velocity, float factor, float rate) {
    const auto decay = static_cast<float>(p.decays ? config.weight_decay : 0);
    const auto momentum = static_cast<float>(config.momentum);
    for (std::size_t i = 0; i < p.value.size(); ++i) {
        float g = p.gradient[i] * factor + decay * p.value[i];
        if (momentum != 0) {
            velocity[i] = momentum * velocity[i] + g;
            g = velocity[i];
        }
        p.value[i] -= rate * g;
    }
}

}  // namespace

double rate_at(const RateConfig& config, std::uint64_t step) {
    if (step < config.warm_up)
        return config.rate * static_cast<double>(step + 1) / static_cast<double>(config.warm_up);
    if (config.shape == RateShape::step && config.drop_every != 0)
        return config.rate * power(config.drop, step / config.drop_every);
    if (config.shape != RateShape::cosine || config.steps <= config.warm_up) return config.rate;
    const double x = static_cast<double>(step - config.warm_up) /
                     static_cast<double>(config.steps - config.warm_up);
    return config.rate * (1 + cos_pi(std::min(x, 1.0))) / 2;
}

Steps::Steps(const StepConfig& config, const Network& network) : config_(config) {
    for (Parameter* const parameter : network.parameters()) {
        Moments moments{parameter, {}, {}};
        const std::size_t size = parameter->value.size();
        if (config.kind != StepKind::sgd || config.momentum != 0) moments.first.resize(size);
        if (config.kind != StepKind::sgd) moments.second.resize(size);
        moments_.push_back(std::move(moments));
    }
}

double Steps::clip_factor() const {
    if (config_.clip == 0) return 1;
    std::array<double, 16> lane{};
    for (const Moments& moments : moments_) {
        const FloatArray& gradient = moments.parameter->gradient;
        for (std::size_t i = 0; i < gradient.size(); ++i)
            lane[i % 16] += double{gradient[i]} * double{gradient[i]};
    }
    double sum = 0;
    for (const double value : lane) sum += value;
    const double norm = std::sqrt(sum);
    return norm > config_.clip ? config_.clip / norm : 1;
}

void Steps::step(double rate) {
    const auto factor = static_cast<float>(clip_factor());
    ++steps_;
    FloatAdam adam;
    adam.gradient_factor = factor;
    adam.beta1 = static_cast<float>(config_.beta1);
    adam.beta2 = static_cast<float>(config_.beta2);
    adam.rate = static_cast<float>(rate / (1 - power(config_.beta1, steps_)));
    adam.second_factor = static_cast<float>(1 / std::sqrt(1 - power(config_.beta2, steps_)));
    adam.epsilon = static_cast<float>(config_.epsilon);
    for (Moments& moments : moments_) {
        Parameter& p = *moments.parameter;
        if (config_.kind == StepKind::sgd) {
            sgd(config_, p, moments.first, factor, static_cast<float>(rate));
            continue;
        }
        const double decay = p.decays ? config_.weight_decay : 0;
        adam.size = p.value.size();
        adam.weights = p.value.data();
        adam.first = moments.first.data();
        adam.second = moments.second.data();
        adam.gradient = p.gradient.data();
        adam.penalty = static_cast<float>(config_.kind == StepKind::adam ? decay : 0);
        adam.keep = static_cast<float>(config_.kind == StepKind::adamw ? 1 - rate * decay : 1);
        kernels().float_adam(adam);
    }
}

StepState Steps::state() const {
    StepState out;
    out.steps = steps_;
    for (const Moments& moments : moments_) {
        append_unpadded(*moments.parameter, moments.first, out.first);
        append_unpadded(*moments.parameter, moments.second, out.second);
    }
    return out;
}

Result<> Steps::set_state(const StepState& state) {
    const StepState mine = this->state();
    if (state.first.size() != mine.first.size() || state.second.size() != mine.second.size() ||
        !all_finite(state.first) || !all_finite(state.second))
        return fail(Errc::bad_data,
                    "the state of an optimizer does not fit the network; it belongs to another "
                    "configuration");
    steps_ = state.steps;
    const float* first = state.first.data();
    const float* second = state.second.data();
    for (Moments& moments : moments_) {
        first = take_unpadded(first, *moments.parameter, moments.first);
        second = take_unpadded(second, *moments.parameter, moments.second);
    }
    return {};
}

}  // namespace vflbus::models::nn
