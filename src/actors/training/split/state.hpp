#pragma once
// States of networks in commits.

#include <vector>

#include "actors/training/state.hpp"
#include "models/nn/steps.hpp"

namespace vflbus::actors::split {

/// A network and how far its training is.
struct NetworkState {
    std::vector<float> values;
    models::nn::StepState steps;
};

inline void write_state(StateWriter& writer, const NetworkState& state) {
    writer.u64(state.steps.steps)
        .floats(state.values)
        .floats(state.steps.first)
        .floats(state.steps.second);
}

inline NetworkState read_state(StateReader& reader) {
    NetworkState state;
    state.steps.steps = reader.u64();
    state.values = reader.floats();
    state.steps.first = reader.floats();
    state.steps.second = reader.floats();
    return state;
}

}  // namespace vflbus::actors::split
