#pragma once
// The networks that a configuration means, in the words of the models room.

#include <cstdint>

#include "config/config.hpp"
#include "models/nn/network.hpp"
#include "models/nn/steps.hpp"

namespace vflbus::actors::split {

models::nn::NetworkShape bottom_shape(const config::ModelConfig& model, std::size_t features);
/// `inputs`: the numbers of a record that reach it.
models::nn::NetworkShape top_shape(const config::ModelConfig& model, std::size_t inputs,
                                   std::size_t outputs);
/// Numbers of a record that leave a bottom network.
std::size_t embedding_width(const config::ModelConfig& model);

models::nn::StepConfig step_config(const config::ModelConfig& model);
/// For a training of so many steps.
models::nn::RateConfig rate_config(const config::ModelConfig& model, std::uint64_t steps,
                                   std::uint64_t steps_per_epoch);

/// Whose network it is; what is drawn by chance differs between them.
enum class Place : std::uint64_t { top = 0, master = 1, member_0 = 2 };
constexpr Place member_place(std::uint64_t rank) noexcept {
    return static_cast<Place>(static_cast<std::uint64_t>(Place::member_0) + rank);
}
/// The seed of a network's first weights.
std::uint64_t weight_seed(std::uint64_t run_seed, Place place);
/// The chance of one training step.
models::nn::Pass pass_of(std::uint64_t run_seed, Place place, std::uint64_t step);
/// Adds normal noise of this deviation to what leaves a member for batch `step`: the same noise
/// whenever that batch is gone through.
void add_noise(std::uint64_t run_seed, Place place, std::uint64_t step, double deviation,
               models::MatrixView numbers);

}  // namespace vflbus::actors::split
