#pragma once
// What a split network draws by chance: a function of the run's seed, of whose network it is and of
// the step, so that it is the same whenever a step is done again.

#include <cstdint>

#include "models/matrix.hpp"
#include "models/nn/network.hpp"

namespace vflbus::actors::split {

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
