#pragma once
// The networks that a configuration means, in the words of the models room.

#include <cstdint>
#include <optional>

#include "base/errc.hpp"
#include "config/config.hpp"
#include "data/image.hpp"
#include "models/nn/network.hpp"
#include "models/nn/steps.hpp"

namespace vflbus::actors::split {

/// `image`: what the features are pixels of; without it a network for pictures is one of dense
/// layers.
/// Under protocol encrypted a single dense layer, without what stands behind it.
models::nn::NetworkShape bottom_shape(const config::AgreedHalf& agreed, std::size_t features,
                                      const std::optional<data::ImageShape>& image);
/// `inputs`: the numbers of a record that reach it.
models::nn::NetworkShape top_shape(const config::AgreedHalf& agreed, std::size_t inputs,
                                   std::size_t outputs);
/// Numbers of a record that leave a bottom network.
std::size_t embedding_width(const config::ModelConfig& model);

/// Bytes that a network of this shape takes at least while it is trained: its weights, each with a
/// gradient and the two averages of an optimizer, and what its layers hold of `records` records on
/// their way forward and back. Of networks for pictures an estimate.
double bytes_trained(const models::nn::NetworkShape& shape, std::uint64_t records);
/// Bytes that `records` records take on their way through a network that is there.
double bytes_inferred(const models::nn::NetworkShape& shape, std::uint64_t records);
/// The owner of a run chooses the widths of layers and how many rows go through them at once: what
/// this machine has no room for is refused before it is allocated, instead of ending the process
/// with all the other runs that it serves. `bytes`: of one of the two above; `available`: of
/// `available_memory`. Error: too_large.
Result<> check_room(double bytes, std::uint64_t records, std::optional<std::uint64_t> available);

models::nn::StepConfig step_config(const config::ModelConfig& model);
/// For a training of so many steps.
models::nn::RateConfig rate_config(const config::ModelConfig& model, std::uint64_t steps,
                                   std::uint64_t steps_per_epoch);

}  // namespace vflbus::actors::split
