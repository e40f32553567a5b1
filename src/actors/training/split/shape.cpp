#include "actors/training/split/shape.hpp"

#include <algorithm>
#include <cmath>

#include "base/assert.hpp"
#include "base/text.hpp"

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

NetworkShape bottom_shape(const config::AgreedHalf& agreed, std::size_t features,
                          const std::optional<data::ImageShape>& image) {
    const config::ModelConfig& model = agreed.model;
    NetworkShape shape = common_shape(model);
    shape.inputs = features;
    shape.hidden = widths(model.bottom);
    if (agreed.run.protocol == config::Protocol::encrypted) {
        shape.outputs = shape.hidden.back();
        shape.hidden.clear();
        shape.norm = models::nn::Norm::none;
        shape.dropout = 0;
        return shape;
    }
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

NetworkShape top_shape(const config::AgreedHalf& agreed, std::size_t inputs, std::size_t outputs) {
    const config::ModelConfig& model = agreed.model;
    NetworkShape shape = common_shape(model);
    shape.goes_on = agreed.run.protocol == config::Protocol::encrypted;
    shape.inputs = inputs;
    shape.hidden = widths(model.top);
    shape.outputs = outputs;
    return shape;
}

std::size_t embedding_width(const config::ModelConfig& model) {
    return widths(model.bottom).back();
}

double bytes_trained(const NetworkShape& shape, std::uint64_t records) {
    const bool pictures = shape.body == models::nn::Body::efficientnet;
    double weights = 0;
    double of_a_record = static_cast<double>(shape.inputs);
    const auto layer = [&](double from, double to) {
        weights += from * to;
        of_a_record += to;
    };
    double width = static_cast<double>(shape.inputs);
    if (pictures) {
        // 42,000 weights before the last convolution, to which 40 channels come, and 100 numbers of
        // a record from each of its pixels
        const double pixels = static_cast<double>(shape.image.rows * shape.image.columns);
        weights += 4.2e4 * shape.width_factor * shape.width_factor * shape.depth_factor;
        of_a_record += 100 * pixels * shape.width_factor * shape.depth_factor;
        width = 40 * shape.width_factor;
    }
    for (const std::size_t next : shape.hidden) {
        layer(width, static_cast<double>(next));
        width = static_cast<double>(next);
    }
    if (shape.body == models::nn::Body::resnet)
        for (std::size_t i = 0; i < shape.blocks; ++i) {
            layer(width, width * shape.hidden_factor);
            layer(width * shape.hidden_factor, width);
        }
    if (shape.outputs != 0) layer(width, static_cast<double>(shape.outputs));
    constexpr double of_each_weight = 4;  // itself, its gradient, two averages
    return sizeof(float) * (of_each_weight * weights + of_a_record * static_cast<double>(records));
}

double bytes_inferred(const NetworkShape& shape, std::uint64_t records) {
    // pictures go through in small portions
    if (shape.body == models::nn::Body::efficientnet) return 0;
    double widest = static_cast<double>(std::max(shape.inputs, shape.outputs));
    for (const std::size_t width : shape.hidden)
        widest = std::max(widest, static_cast<double>(width));
    if (shape.body == models::nn::Body::resnet) widest *= std::max(1.0, shape.hidden_factor);
    return 2 * sizeof(float) * widest * static_cast<double>(records);
}

Result<> check_room(double bytes, std::uint64_t records, std::optional<std::uint64_t> available) {
    if (!available || bytes <= static_cast<double>(*available)) return {};
    constexpr double most = 1e18;
    return fail(Errc::too_large,
                "a network of these layers, with " + std::to_string(records) +
                    " rows at once, takes some " +
                    human_bytes(static_cast<std::uint64_t>(std::min(bytes, most))) +
                    " of memory, and " + human_bytes(*available) +
                    " are free: narrower layers (model.bottom) take less, or fewer rows "
                    "(model.batch_size, model.eval_batch_size)");
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
