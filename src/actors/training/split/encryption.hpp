#pragma once
// Split networks under protocol `encrypted`: what both sides say of the product that a member
// computes on encrypted gradients (../linear/encrypted.hpp).
//
// A member's network is one dense layer, so the gradient of its weights is X' G: its columns times
// the gradient of the loss by the sum of all parties' numbers, as in a linear model with as many
// outputs as numbers of a record leave a party.

#include <cstddef>

#include "actors/training/linear/encrypted.hpp"
#include "actors/training/schedule.hpp"
#include "actors/training/split/shape.hpp"
#include "config/config.hpp"
#include "privacy/rlwe/plan.hpp"

namespace vflbus::actors::split {

/// Of a training with these batches, for a member with so many features.
inline privacy::rlwe::Shape encrypted_shape(const config::AgreedHalf& agreed,
                                            const BatchSchedule& schedule, std::size_t features) {
    privacy::rlwe::Shape shape;
    shape.rows = schedule.batch_rows(0);
    shape.features = features;
    shape.outputs = embedding_width(agreed.model);
    shape.products = linear::products_of(agreed, schedule.steps());
    return shape;
}

}  // namespace vflbus::actors::split
