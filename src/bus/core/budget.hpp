#pragma once
// A receiver's memory for bodies: docs/protocol.md, section 7.
//
// Whoever may send to a node decides how much of its memory is in use, and a handler that hangs
// keeps what it was sent. So memory is counted in a budget, a body takes its room before its bytes
// are kept, and the room is an object that the body carries: whatever becomes of the body, the room
// comes back with it.
//
// One sender must not take what all others need. So each has a share: who holds room already gets
// more only while as much stays free as he then holds. Alone he gets half of the budget at most, a
// second sender half of the rest, and so on. Who holds nothing gets whatever fits.

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "base/assert.hpp"
#include "base/ids.hpp"

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
    [[nodiscard]] BodyRoom take(NodeId sender, std::uint64_t bytes) {
        State& state = *state_;
        const bool large = bytes > state.bytes;
        if (large ? state.large : bytes > state.free() || over_share(sender, bytes)) return nullptr;
        return std::make_shared<const Room>(state_, sender, bytes, large);
    }
    /// Whether it is the sender's share that leaves no room for so many bytes more: it gets room
    /// again when its own bodies are done, and nobody else has to wait for that.
    [[nodiscard]] bool over_share(NodeId sender, std::uint64_t bytes) const {
        const auto held = state_->held.find(sender);
        if (held == state_->held.end() || bytes > state_->bytes) return false;
        return bytes > state_->free() || held->second + bytes > state_->free() - bytes;
    }
    /// Whether the sender has room of `bytes`, of whatever size.
    [[nodiscard]] bool holds(NodeId sender) const { return state_->held.contains(sender); }
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
        std::map<NodeId, std::uint64_t> held;  ///< of `used`, by those who have sent it; never 0

        [[nodiscard]] std::uint64_t free() const noexcept { return bytes - used; }
    };
    struct Room {
        Room(std::shared_ptr<State> s, NodeId from, std::uint64_t n, bool l)
            : state(std::move(s)), sender(from), bytes(n), large(l) {
            if (large) {
                state->large = true;
            } else {
                state->used += bytes;
                if (bytes != 0) state->held[sender] += bytes;
            }
            VFLBUS_ASSERT(state->used <= state->bytes, "no more room is given than there is");
            state->total += bytes;
            ++state->bodies;
        }
        Room(const Room&) = delete;
        Room& operator=(const Room&) = delete;
        ~Room() {
            if (large) {
                state->large = false;
            } else {
                state->used -= bytes;
                if (const auto held = state->held.find(sender);
                    held != state->held.end() && (held->second -= bytes) == 0)
                    state->held.erase(held);
            }
            state->total -= bytes;
            --state->bodies;
            state->freed = true;
        }
        std::shared_ptr<State> state;
        NodeId sender;
        std::uint64_t bytes;
        bool large;
    };
    std::shared_ptr<State> state_;
};

}  // namespace vflbus::bus
