#include "actors/training/split/shape.hpp"

#include <cmath>
#include <optional>
#include <utility>

#include "base/assert.hpp"
#include "base/rng.hpp"
#include "models/math.hpp"

namespace vflbus::actors::split {
namespace {

using models::nn::NetworkShape;

constexpr std::uint64_t weights_stream = 0x6e6e2d7765696768ULL;
constexpr std::uint64_t passes_stream = 0x6e6e2d7061737365ULL;
constexpr std::uint64_t noise_stream = 0x6e6e2d6e6f697365ULL;

std::vector<std::size_t> widths(const std::string& text) {
    const auto found = config::widths_of(text);
    VFLBUS_ASSERT(found, "the widths of layers are checked with the configuration");
    return *found;
}

NetworkShape common_shape(const config::ModelConfig& model) {
    NetworkShape shape;
    shape.activation = static_cast<models::nn::Activation>(model.activation);
    shape.norm = static_cast<models::nn::Norm>(model.norm);
    shape.dropout = model.dropout;
    return shape;
}

std::uint64_t seed_of(std::uint64_t run_seed, std::uint64_t stream, Place place) {
    return mix_seed(mix_seed(run_seed, stream), static_cast<std::uint64_t>(place));
}

}  // namespace

NetworkShape bottom_shape(const config::ModelConfig& model, std::size_t features) {
    NetworkShape shape = common_shape(model);
    shape.inputs = features;
    shape.hidden = widths(model.bottom);
    if (model.name != config::ModelName::resnet) return shape;
    shape.body = models::nn::Body::resnet;
    shape.outputs = shape.hidden.back();
    shape.hidden.pop_back();
    shape.blocks = model.blocks;
    shape.hidden_factor = model.hid_factor;
    shape.residual_dropout = model.residual_dropout;
    return shape;
}

NetworkShape top_shape(const config::ModelConfig& model, std::size_t inputs, std::size_t outputs) {
    NetworkShape shape = common_shape(model);
    shape.inputs = inputs;
    shape.hidden = widths(model.top);
    shape.outputs = outputs;
    return shape;
}

std::size_t embedding_width(const config::ModelConfig& model) {
    return widths(model.bottom).back();
}

models::nn::StepConfig step_config(const config::ModelConfig& model) {
    models::nn::StepConfig out;
    out.kind = model.solver == config::Solver::adamw  ? models::nn::StepKind::adamw
               : model.solver == config::Solver::adam ? models::nn::StepKind::adam
                                                      : models::nn::StepKind::sgd;
    out.momentum = model.momentum;
    out.beta1 = model.adam_beta1;
    out.beta2 = model.adam_beta2;
    out.epsilon = model.adam_epsilon;
    out.weight_decay = model.weight_decay;
    out.clip = model.clip_norm;
    return out;
}

models::nn::RateConfig rate_config(const config::ModelConfig& model, std::uint64_t steps,
                                   std::uint64_t steps_per_epoch) {
    const auto steps_of = [&](double epochs) {
        return static_cast<std::uint64_t>(
            std::llround(epochs * static_cast<double>(steps_per_epoch)));
    };
    models::nn::RateConfig out;
    out.shape = static_cast<models::nn::RateShape>(model.schedule);
    out.rate = model.learning_rate;
    out.steps = steps;
    out.warm_up = steps_of(model.warmup_epochs);
    out.drop_every = std::max<std::uint64_t>(1, steps_of(model.drop_epochs));
    out.drop = model.drop_factor;
    return out;
}

std::uint64_t weight_seed(std::uint64_t run_seed, Place place) {
    return seed_of(run_seed, weights_stream, place);
}

namespace {

/// Two normal numbers at a time by Marsaglia's polar method, with the logarithm that is the same on
/// every machine.
class Normal {
  public:
    explicit Normal(std::uint64_t seed) : rng_(seed) {}

    double next() {
        if (kept_) return std::exchange(kept_, std::nullopt).value();
        double x = 0;
        double y = 0;
        double square = 0;
        while (square >= 1 || square == 0) {
            x = 2 * rng_.uniform() - 1;
            y = 2 * rng_.uniform() - 1;
            square = x * x + y * y;
        }
        const double length = std::sqrt(-2 * models::log(square) / square);
        kept_ = y * length;
        return x * length;
    }

  private:
    Rng rng_;
    std::optional<double> kept_;
};

}  // namespace

void add_noise(std::uint64_t run_seed, Place place, std::uint64_t step, double deviation,
               models::MatrixView numbers) {
    Normal normal(mix_seed(seed_of(run_seed, noise_stream, place), step));
    for (double& number : numbers.span()) number += deviation * normal.next();
}

models::nn::Pass pass_of(std::uint64_t run_seed, Place place, std::uint64_t step) {
    return {mix_seed(seed_of(run_seed, passes_stream, place), step)};
}

}  // namespace vflbus::actors::split
