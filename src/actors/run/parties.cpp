#include "actors/run/parties.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "actors/run/text.hpp"
#include "base/assert.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::actors {
namespace {

/// Bytes of a body on the wire, with a header per chunk.
std::uint64_t wire_bytes(std::size_t body) {
    const std::size_t frames =
        std::max<std::size_t>(1, (body + bus::chunk_bytes - 1) / bus::chunk_bytes);
    return body + frames * bus::header_bytes;
}

}  // namespace

std::vector<Bytes> Replies::await_resume() {
    std::vector<Bytes> bodies;
    bodies.reserve(exchange_->replies.size());
    for (Result<Bytes>& reply : exchange_->replies) bodies.push_back(std::move(*reply));
    return bodies;
}

std::string Parties::Peer::gone_words() const {
    switch (gone_by) {
        case Errc::ok:
            return name + " was ended by its operator";
        case Errc::peer_lost:
        case Errc::unreachable:
        case Errc::superseded:
        case Errc::refused:
        case Errc::stalled:
        case Errc::timed_out:
            return name + " is gone";
        default:
            return name + " has ended with an error of its own (" +
                   std::string(vflbus::name_of(gone_by)) + "), which its log tells";
    }
}

Parties::Parties(const std::vector<bus::Participant>& participants, WaitingPlace& place)
    : place_(&place) {
    for (const auto& participant : participants) {
        Peer peer;
        peer.node = node_id_of(participant.name);
        peer.name = participant.name;
        by_node_.emplace(peer.node, parties_.size());
        if (participant.role == "member") ++members_;
        parties_.push_back(std::move(peer));
    }
}

// -- asking -------------------------------------------------------------------------

std::shared_ptr<Exchange> Parties::open_exchange(std::size_t requests) const {
    auto exchange = std::make_shared<Exchange>();
    exchange->replies.resize(requests);
    exchange->arrived.resize(requests);
    exchange->missing = requests;
    return exchange;
}

Replies Parties::ask_all(MessageType type, const Bytes& body) {
    auto exchange = open_exchange(members_);
    for (std::size_t i = 0; i < members_; ++i)
        send(i, body, {0, type, exchange, i, nullptr, {}, 0});
    return {*place_, std::move(exchange)};
}

Replies Parties::ask_each(MessageType type, std::vector<Bytes> bodies) {
    VFLBUS_ASSERT(bodies.size() == members_, "there is one body for every member");
    auto exchange = open_exchange(members_);
    for (std::size_t i = 0; i < members_; ++i)
        send(i, std::move(bodies[i]), {0, type, exchange, i, nullptr, {}, 0});
    return {*place_, std::move(exchange)};
}

Replies Parties::ask_some(std::span<const std::size_t> parties, MessageType type,
                          const Bytes& body) {
    auto exchange = open_exchange(parties.size());
    for (std::size_t i = 0; i < parties.size(); ++i)
        send(parties[i], body, {0, type, exchange, i, nullptr, {}, 0});
    return {*place_, std::move(exchange)};
}

Replies Parties::ask(std::size_t party, MessageType type, Bytes body) {
    auto exchange = open_exchange(1);
    send(party, std::move(body), {0, type, exchange, 0, nullptr, {}, 0});
    return {*place_, std::move(exchange)};
}

Answers Parties::try_each(MessageType type, std::vector<Bytes> bodies) {
    VFLBUS_ASSERT(bodies.size() == members_, "there is one body for every member");
    auto exchange = open_exchange(members_);
    exchange->keeps_refusals = true;
    for (std::size_t i = 0; i < members_; ++i)
        send(i, std::move(bodies[i]), {0, type, exchange, i, nullptr, {}, 0});
    return {*place_, std::move(exchange)};
}

void Parties::ask_aside(std::size_t party, MessageType type, Bytes body, AsideTaker& taker) {
    send(party, std::move(body), {0, type, nullptr, 0, &taker, {}, 0});
}

void Parties::send(std::size_t party, Bytes body, Request request) {
    VFLBUS_ASSERT(party < parties_.size(), "a request goes to a party of the run");
    if (driver_ == nullptr || failure_) return;
    Peer& peer = parties_[party];
    request.bytes = wire_bytes(body.size());
    request.asked = driver_->now();
    peer.bytes_to += request.bytes;
    const auto id = driver_->push_message(peer.node, request.type, std::move(body));
    if (!id) {
        failure_ = of_party(peer.name, id.error());
        return;
    }
    request.id = *id;
    const bool aside = request.exchange == nullptr;
    peer.pending.push_back(std::move(request));
    ++(aside ? aside_ : outstanding_);
    (aside ? aside_since_ : waiting_since_) = peer.pending.back().asked;
}

// -- replies ------------------------------------------------------------------------

std::optional<std::size_t> Parties::find(NodeId node) const {
    const auto found = by_node_.find(node);
    return found == by_node_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<Parties::Answered> Parties::match(const Message& reply) {
    const auto party = find(reply.metadata.src_node_id);
    if (!party) return {};
    Peer& peer = parties_[*party];
    // at most outstanding_max (16) at a time
    const auto found = std::ranges::find(peer.pending, reply.metadata.message_id, &Request::id);
    if (found == peer.pending.end()) return {};
    Answered answered{*party, std::move(*found), wire_bytes(reply.content.size())};
    peer.pending.erase(found);
    forget(answered.request);
    peer.bytes_from += answered.bytes;
    return answered;
}

void Parties::forget(const Request& request) noexcept {
    std::size_t& count = request.exchange == nullptr ? aside_ : outstanding_;
    VFLBUS_ASSERT(count > 0, "a request that is forgotten was counted");
    --count;
}

void Parties::deliver(const Answered& answered, Result<Bytes> reply) {
    Exchange& exchange = *answered.request.exchange;
    VFLBUS_ASSERT(exchange.missing > 0, "a reply is delivered once");
    exchange.replies[answered.request.place] = std::move(reply);
    exchange.arrived[answered.request.place] = driver_ == nullptr ? TimePoint{} : driver_->now();
    --exchange.missing;
}

void Parties::drop_requests(std::size_t party) {
    for (const Request& request : parties_[party].pending) forget(request);
    parties_[party].pending.clear();
}

void Parties::begin_term() {
    for (Peer& peer : parties_) {
        peer.joined = peer.was_joined = false;
        peer.pending.clear();
    }
    outstanding_ = aside_ = 0;
    failure_.reset();
}

// -- who is waited for --------------------------------------------------------------

bool Parties::all_joined_or_declined() const {
    return std::ranges::all_of(parties_,
                               [](const Peer& peer) { return peer.joined || peer.declined; });
}

std::vector<std::string> Parties::not_joined() const {
    std::vector<std::string> names;
    for (const Peer& peer : parties_)
        if (!peer.joined) names.push_back(peer.name);
    return names;
}

std::vector<std::string> Parties::not_answered() const {
    std::vector<std::string> names;
    for (const Peer& peer : parties_)
        if (!peer.pending.empty()) names.push_back(peer.name);
    return names;
}

const Parties::Peer* Parties::first_down() const {
    const auto found = std::ranges::find(parties_, true, &Peer::down);
    return found == parties_.end() ? nullptr : &*found;
}

const Parties::Request* Parties::oldest(const Peer& peer, bool aside) {
    for (const Request& request : peer.pending)
        if ((request.exchange == nullptr) == aside) return &request;
    return nullptr;
}

const Parties::Peer* Parties::first_late(bool aside) const {
    if ((aside ? aside_ : outstanding_) == 0) return nullptr;
    for (const Peer& peer : parties_)
        if (!peer.down && oldest(peer, aside) != nullptr) return &peer;
    return nullptr;
}

}  // namespace vflbus::actors
