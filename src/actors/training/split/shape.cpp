#include "actors/training/split/shape.hpp"

#include <algorithm>
#include <cmath>

#include "base/assert.hpp"

namespace vflbus::actors::split {
namespace {

using models::nn::NetworkShape;

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

}  // namespace

NetworkShape bottom_shape(const config::ModelConfig& model, std::size_t features,
                          const std::optional<data::ImageShape>& image) {
    NetworkShape shape = common_shape(model);
    shape.inputs = features;
    shape.hidden = widths(model.bottom);
    const bool pictures = model.name == config::ModelName::efficientnet && image;
    if (model.name != config::ModelName::resnet && !pictures) return shape;
    shape.outputs = shape.hidden.back();
    shape.hidden.pop_back();
    if (pictures) {
        shape.body = models::nn::Body::efficientnet;
        shape.image = {image->height, image->width, image->channels};
        shape.width_factor = model.width_factor;
        shape.depth_factor = model.depth_factor;
        shape.shift = model.shift;
        shape.stochastic_depth = model.stochastic_depth;
        return shape;
    }
    shape.body = models::nn::Body::resnet;
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

}  // namespace vflbus::actors::split
