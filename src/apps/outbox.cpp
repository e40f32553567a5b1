#include "apps/outbox.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace vflbus::apps {

void Outbox::add(NodeId node, std::uint64_t message, TimePoint expires, Bytes content) {
    const std::uint64_t cost = cost_of(content.size());
    const bool fresh = open_.emplace(message, Open{node, cost, expires}).second;
    VFLBUS_ASSERT(fresh, "every message has a number of its own");
    cost_ += cost;
    expiries_.insert({expires, message});
    peers_[node].waiting.emplace(message, std::move(content));
}

/// Nobody waits for its answer any more.
void Outbox::close(std::uint64_t message) {
    const auto found = open_.find(message);
    VFLBUS_ASSERT(found != open_.end(), "a message is closed once");
    expiries_.erase({found->second.expires, message});
    VFLBUS_ASSERT(cost_ >= found->second.cost, "what is closed was counted");
    cost_ -= found->second.cost;
    open_.erase(found);
}

/// The node has it from now on, and says itself that its time is over.
void Outbox::wait_for_node(std::uint64_t message) {
    Open& open = open_.at(message);
    expiries_.erase({open.expires, message});
    open.expires += patience_;
    expiries_.insert({open.expires, message});
}

std::vector<Outbox::Failed> Outbox::send(NodeId node, const Send& send) {
    std::vector<Failed> failed;
    const auto found = peers_.find(node);
    if (found == peers_.end()) return failed;
    Peer& peer = found->second;
    while (!peer.waiting.empty() && peer.unanswered.size() < unanswered_max_) {
        const auto next = peer.waiting.begin();
        const std::uint64_t message = next->first;
        Bytes content = std::move(next->second);
        peer.waiting.erase(next);
        const auto number = send(std::move(content));
        if (number) {
            peer.unanswered[*number] = message;
            wait_for_node(message);
        } else {
            close(message);
            failed.push_back({message, node, number.error()});
        }
    }
    return failed;
}

std::uint64_t Outbox::answered(NodeId node, std::uint64_t number) {
    const auto peer = peers_.find(node);
    if (peer == peers_.end()) return 0;
    const auto found = peer->second.unanswered.find(number);
    if (found == peer->second.unanswered.end()) return 0;
    const std::uint64_t message = found->second;
    peer->second.unanswered.erase(found);
    if (open_.count(message) == 0) return 0;
    close(message);
    return message;
}

std::vector<std::uint64_t> Outbox::give_up(NodeId node) {
    std::vector<std::uint64_t> given_up;
    const auto found = peers_.find(node);
    if (found == peers_.end()) return given_up;
    Peer& peer = found->second;
    // the link still holds them, so their numbers go on counting as unanswered
    for (const auto& [number, message] : peer.unanswered)
        if (open_.count(message) != 0) given_up.push_back(message);
    std::sort(given_up.begin(), given_up.end());
    for (const auto& [message, content] : peer.waiting) given_up.push_back(message);
    peer.waiting.clear();
    for (const std::uint64_t message : given_up) close(message);
    return given_up;
}

std::vector<std::pair<std::uint64_t, NodeId>> Outbox::expire(TimePoint now) {
    std::vector<std::pair<std::uint64_t, NodeId>> expired;
    while (!expiries_.empty() && expiries_.begin()->first <= now) {
        const std::uint64_t message = expiries_.begin()->second;
        const NodeId node = open_.at(message).node;
        peers_.at(node).waiting.erase(message);
        close(message);
        expired.emplace_back(message, node);
    }
    return expired;
}

}  // namespace vflbus::apps
