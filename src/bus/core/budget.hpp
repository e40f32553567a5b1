#pragma once
// A receiver's memory for bodies under way: docs/protocol.md, section 7.

#include <cstdint>
#include <memory>
#include <utility>

namespace vflbus::bus {

/// Room that one body has taken of a BodyBudget; given back when the last copy goes. Not
/// thread-safe: copies and goes where the budget's link is used.
using BodyRoom = std::shared_ptr<const void>;

/// Bodies that fit take their room of `bytes`; of those that are larger than all of it, one at a
/// time is let through besides.
class BodyBudget {
  public:
    explicit BodyBudget(std::uint64_t bytes) : state_(std::make_shared<State>()) {
        state_->bytes = bytes;
    }

    /// Null: no room now. Never null when nothing is held.
    [[nodiscard]] BodyRoom take(std::uint64_t bytes) {
        State& state = *state_;
        const bool large = bytes > state.bytes;
        if (large ? state.large : bytes > state.bytes - state.used) return nullptr;
        return std::make_shared<const Room>(state_, bytes, large);
    }
    /// Whether room was given back since the last call.
    [[nodiscard]] bool freed() noexcept { return std::exchange(state_->freed, false); }

    // -- properties ------------------------------------------------------------
    [[nodiscard]] std::uint64_t used_bytes() const noexcept { return state_->total; }
    [[nodiscard]] std::size_t bodies() const noexcept { return state_->bodies; }

  private:
    struct State {
        std::uint64_t bytes = 0;
        std::uint64_t used = 0;   ///< of `bytes`
        std::uint64_t total = 0;  ///< with the large one
        std::size_t bodies = 0;
        bool large = false;
        bool freed = false;
    };
    struct Room {
        Room(std::shared_ptr<State> s, std::uint64_t n, bool l)
            : state(std::move(s)), bytes(n), large(l) {
            if (large)
                state->large = true;
            else
                state->used += bytes;
            state->total += bytes;
            ++state->bodies;
        }
        Room(const Room&) = delete;
        Room& operator=(const Room&) = delete;
        ~Room() {
            if (large)
                state->large = false;
            else
                state->used -= bytes;
            state->total -= bytes;
            --state->bodies;
            state->freed = true;
        }
        std::shared_ptr<State> state;
        std::uint64_t bytes;
        bool large;
    };
    std::shared_ptr<State> state_;
};

}  // namespace vflbus::bus
