#pragma once
// Stochastic gradient descent and Adam with the semantics of torch.optim (version 2), one state per
// block of weights. Plain arithmetic in a fixed order.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::models {

enum class OptimizerKind : std::uint8_t { sgd, adam };

/// "sgd" and "adam", or bad_config.
Result<OptimizerKind> parse_optimizer(std::string_view name);
std::string_view name_of(OptimizerKind kind) noexcept;

struct OptimizerConfig {
    OptimizerKind kind = OptimizerKind::sgd;
    double learning_rate = 0.1;
    double momentum = 0;    ///< sgd only; no dampening, no Nesterov
    double beta1 = 0.9;     ///< adam only
    double beta2 = 0.999;   ///< adam only
    double epsilon = 1e-8;  ///< adam only
    double weight_decay =
        0;  ///< lambda: lambda * w is added to the gradient (never to an intercept's)
};

/// Refuses what makes no sense (a rate that is not positive, a beta outside [0, 1), ...), naming
/// the key as in the configuration: model.learning_rate, model.adam_beta1, ...
Result<> validate(const OptimizerConfig& config);

/// What a commit stores besides the weights. A vector that the kind does not use is empty.
struct OptimizerState {
    std::uint64_t steps = 0;
    std::vector<double> first;   ///< sgd with momentum: the velocity; adam: mean of gradients
    std::vector<double> second;  ///< adam: mean of squared gradients

    bool operator==(const OptimizerState&) const = default;
};

/// Steps one block of `size` weights.
///
///   g <- G + weight_decay * w
///   sgd:   v <- momentum * v + g;   w <- w - learning_rate * v          (v = g without momentum)
///   adam:  m <- beta1 m + (1 - beta1) g;   s <- beta2 s + (1 - beta2) g^2;   t = steps, from 1
///          w <- w - (learning_rate / (1 - beta1^t)) * m / (sqrt(s) / sqrt(1 - beta2^t) + epsilon)
class Optimizer {
  public:
    /// `config` must be valid.
    Optimizer(const OptimizerConfig& config, std::size_t size);

    /// Both spans have `size` elements.
    void step(std::span<double> weights, std::span<const double> gradient) noexcept;

    // -- properties -----------------------------------------------------------
    const OptimizerConfig& config() const noexcept { return config_; }
    const OptimizerState& state() const noexcept { return state_; }
    std::size_t size() const noexcept { return size_; }

    /// Refuses a state of another size or kind (bad_data).
    Result<> set_state(OptimizerState state);

  private:
    OptimizerConfig config_;
    OptimizerState state_;
    std::size_t size_;
};

}  // namespace vflbus::models
