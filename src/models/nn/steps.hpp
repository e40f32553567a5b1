#pragma once
// How a network's numbers are moved: SGD, Adam and AdamW as torch.optim has them, in floats; and
// how long the steps are over the course of a training.

#include <cstdint>
#include <span>
#include <vector>

#include "base/errc.hpp"
#include "models/nn/network.hpp"

namespace vflbus::models::nn {

enum class StepKind : std::uint8_t {
    sgd,    ///< weight decay is in the gradient
    adam,   ///< weight decay is in the gradient
    adamw,  ///< weight decay shortens the weights by themselves (Loshchilov and Hutter 2019)
};

struct StepConfig {
    StepKind kind = StepKind::adamw;
    double momentum = 0;  ///< sgd
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0;  ///< of matrices alone: no bias, no norm
    double clip = 0;          ///< largest norm of the gradient of the whole network; 0: any
};

enum class RateShape : std::uint8_t { constant, cosine, step };

struct RateConfig {
    RateShape shape = RateShape::constant;
    double rate = 1e-3;
    std::uint64_t steps = 0;       ///< of the whole training
    std::uint64_t warm_up = 0;     ///< steps in which the rate grows from 0
    std::uint64_t drop_every = 0;  ///< step: steps from one drop to the next
    double drop = 0.1;             ///< step: what the rate is multiplied by
};

/// The rate of step `step`, counted from 0. Cosine falls from `rate` after the warm-up to 0 at the
/// end: rate (1 + cos(pi x)) / 2 (Loshchilov and Hutter 2017). The same bits on every machine.
double rate_at(const RateConfig& config, std::uint64_t step);

/// What a commit stores beside the network's values. A vector that the kind does not use is empty.
struct StepState {
    std::uint64_t steps = 0;
    std::vector<float> first;
    std::vector<float> second;
    friend bool operator==(const StepState&, const StepState&) = default;
};

/// Moves the parameters of one network, which outlives it.
class Steps {
  public:
    Steps(const StepConfig& config, const Network& network);

    /// After `backward`.
    void step(double rate);

    [[nodiscard]] StepState state() const;
    /// bad_data when the sizes are others, or a number is not finite.
    Result<> set_state(const StepState& state);

  private:
    struct Moments {
        Parameter* parameter;
        FloatArray first;
        FloatArray second;
    };
    [[nodiscard]] double clip_factor() const;

    StepConfig config_;
    std::uint64_t steps_ = 0;
    std::vector<Moments> moments_;
};

}  // namespace vflbus::models::nn
