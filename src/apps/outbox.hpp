#pragma once
// What main of a ServerApp has pushed and nobody has answered yet. The link takes a few unanswered
// messages per node; the others wait here, each with a time to live. A run may have a thousand
// nodes and a hundred thousand messages, so every step costs no more than a search in a tree: what
// arrives, expires or leaves is found by its number, its time or its node, and never by looking at
// all.

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/errc.hpp"
#include "base/ids.hpp"
#include "bus/wire/codec.hpp"

namespace vflbus::apps {

class Outbox {
  public:
    using Bytes = bus::Bytes;
    /// Hands a message to the link; the number that its reply will have, or why it was not taken.
    using Send = std::function<Result<std::uint64_t>(Bytes content)>;
    /// A message that will get no answer.
    struct Failed {
        std::uint64_t message = 0;
        NodeId node;
        Failure failure;
    };

    /// `unanswered_max`: of one node at a time. `patience`: a node counts the time to live of a
    /// message from its arrival, so its own time is over a little after that of the owner; and it
    /// knows what the message was waiting for. So the owner waits that much longer for the word of
    /// a node that has the message.
    explicit Outbox(std::size_t unanswered_max, Duration patience = {})
        : unanswered_max_(unanswered_max), patience_(patience) {}

    /// A message that waits to be sent. `message` was not used before.
    void add(NodeId node, std::uint64_t message, TimePoint expires, Bytes content);
    /// Hands over what waits for this node, in the order of `add`, as far as the link takes it.
    /// Returns those that it refused.
    [[nodiscard]] std::vector<Failed> send(NodeId node, const Send& send);
    /// The reply to a number that `Send` has returned. 0: the message has expired or was given up.
    [[nodiscard]] std::uint64_t answered(NodeId node, std::uint64_t number);
    /// All messages to a node that are not answered, which are now given up, in the order of `add`.
    [[nodiscard]] std::vector<std::uint64_t> give_up(NodeId node);
    /// All messages whose time to live is over, which are now given up, the oldest first.
    /// Of those that were handed to the link: when the patience is over as well.
    [[nodiscard]] std::vector<std::pair<std::uint64_t, NodeId>> expire(TimePoint now);

    // -- properties ------------------------------------------------------------
    [[nodiscard]] TimePoint next_expiry() const noexcept {
        return expiries_.empty() ? TimePoint::max() : expiries_.begin()->first;
    }
    [[nodiscard]] std::size_t size() const noexcept { return open_.size(); }
    /// What all messages that are not answered cost, see `cost_of`.
    [[nodiscard]] std::uint64_t cost() const noexcept { return cost_; }
    /// Of a message of so many bytes: small ones cost memory for their places in the maps.
    [[nodiscard]] static std::uint64_t cost_of(std::size_t content_bytes) noexcept {
        return content_bytes + 1024;
    }

  private:
    struct Open {
        NodeId node;
        std::uint64_t cost = 0;
        TimePoint expires;  ///< as in expiries_
    };
    struct Peer {
        std::map<std::uint64_t, Bytes> waiting;             ///< by message, so in order
        std::map<std::uint64_t, std::uint64_t> unanswered;  ///< number at the link -> message
    };
    void close(std::uint64_t message);
    void wait_for_node(std::uint64_t message);

    std::size_t unanswered_max_;
    Duration patience_;
    std::unordered_map<std::uint64_t, Open> open_;  ///< by message
    std::map<NodeId, Peer> peers_;
    std::set<std::pair<TimePoint, std::uint64_t>> expiries_;
    std::uint64_t cost_ = 0;
};

}  // namespace vflbus::apps
