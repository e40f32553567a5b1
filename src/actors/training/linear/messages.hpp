#pragma once
// The number of the message that linear algorithms have beside those of all: docs/training.md,
// section 2; encrypted.hpp and arbitered.hpp have its content.

#include "actors/messages.hpp"

namespace vflbus::actors::linear {

/// An encrypted residual; its reply is a member's hidden gradient.
inline constexpr MessageType product_message = 40;

}  // namespace vflbus::actors::linear
