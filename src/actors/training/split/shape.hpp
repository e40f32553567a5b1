#pragma once
// The networks that a configuration means, in the words of the models room.

#include <cstdint>
#include <optional>

#include "config/config.hpp"
#include "data/image.hpp"
#include "models/nn/network.hpp"
#include "models/nn/steps.hpp"

namespace vflbus::actors::split {

/// `image`: what the features are pixels of; without it a network for pictures is one of dense
/// layers.
models::nn::NetworkShape bottom_shape(const config::ModelConfig& model, std::size_t features,
                                      const std::optional<data::ImageShape>& image);
/// `inputs`: the numbers of a record that reach it.
models::nn::NetworkShape top_shape(const config::ModelConfig& model, std::size_t inputs,
                                   std::size_t outputs);
/// Numbers of a record that leave a bottom network.
std::size_t embedding_width(const config::ModelConfig& model);

models::nn::StepConfig step_config(const config::ModelConfig& model);
/// For a training of so many steps.
models::nn::RateConfig rate_config(const config::ModelConfig& model, std::uint64_t steps,
                                   std::uint64_t steps_per_epoch);

}  // namespace vflbus::actors::split
