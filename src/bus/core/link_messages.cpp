// Requests and their replies: docs/protocol.md, section 6.

#include "bus/core/link_state.hpp"

namespace vflbus::bus {
namespace {

constexpr std::uint64_t reserve_bytes_max = 64u << 20;

}  // namespace

// -- out -----------------------------------------------------------------------

Result<std::uint64_t> LinkCore::request(const RunId& run_id, NodeId dst, std::uint16_t type,
                                        Bytes body, TimePoint now) {
    Run* run = find(run_id);
    if (run == nullptr || run->closing)
        return fail(Errc::run_ended, "run " + run_id.short_hex() + " is over here");
    if (body.size() > message_bytes_max)
        return fail(Errc::too_large, "a message of " + std::to_string(body.size()) +
                                         " bytes exceeds the limit of " +
                                         std::to_string(message_bytes_max));
    Peer& peer = run->peers[dst];
    // counted from the oldest: the receiver remembers no more numbers than that
    if (peer.next_request - peer.answered_below() >= outstanding_requests_max)
        return fail(Errc::too_many, std::to_string(outstanding_requests_max) +
                                        " requests to one node are unanswered");
    const std::uint64_t number = peer.next_request++;
    peer.pending[number] = Pending{type, std::make_shared<const Bytes>(std::move(body)), {}};
    if (state_ == State::up) send_pending(*run, dst, number, now);
    return number;
}

void LinkCore::send_pending(Run& run, NodeId dst, std::uint64_t number, TimePoint now) {
    Peer& peer = run.peers[dst];
    Pending& pending = peer.pending.at(number);
    pending.again_at = {};
    Header header;
    header.kind = Kind::request;
    header.run = run.id;
    header.term = run.term;
    header.dst = dst;
    header.request = number;
    header.answered_below = peer.answered_below();
    header.type = pending.type;
    send_body(run, header, pending.body, now);
}

void LinkCore::reply(const RunId& run, NodeId dst, std::uint64_t number, Bytes body,
                     TimePoint now) {
    if (body.size() > message_bytes_max)  // no frame of it would pass: the asker would wait forever
        return reply_error(run, dst, number,
                           {Errc::too_large, "an answer of " + std::to_string(body.size()) +
                                                 " bytes exceeds the limit of " +
                                                 std::to_string(message_bytes_max)},
                           now);
    finish_reply(run, dst, number, Answer{0, 0, std::make_shared<const Bytes>(std::move(body))},
                 now);
}

void LinkCore::reply_error(const RunId& run, NodeId dst, std::uint64_t number,
                           const Failure& failure, TimePoint now) {
    finish_reply(
        run, dst, number,
        Answer{0, flag::error,
               std::make_shared<const Bytes>(encode(Ending{failure.code, failure.sentence}))},
        now);
}

void LinkCore::finish_reply(const RunId& run_id, NodeId dst, std::uint64_t number, Answer answer,
                            TimePoint now) {
    Run* run = find(run_id);
    if (run == nullptr) return;
    const auto peer = run->peers.find(dst);
    if (peer == run->peers.end()) return;
    const auto slot = peer->second.answers.find(number);
    if (slot == peer->second.answers.end() || slot->second.body != nullptr) return;
    answer.type = slot->second.type;
    slot->second = std::move(answer);
    if (state_ == State::up) send_answer(*run, dst, number, now);
}

void LinkCore::send_answer(Run& run, NodeId dst, std::uint64_t number, TimePoint now) {
    const Answer& answer = run.peers[dst].answers.at(number);
    Header header;
    header.kind = Kind::reply;
    header.flags = answer.flags;
    header.run = run.id;
    header.term = run.term;
    header.dst = dst;
    header.request = number;
    header.type = answer.type;
    send_body(run, header, answer.body, now);
}

void LinkCore::send_body(Run& run, Header header, const std::shared_ptr<const Bytes>& body,
                         TimePoint now) {
    header.src = id_;
    header.body_bytes = body->size();
    std::uint64_t offset = 0;
    do {
        const std::size_t part =
            static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes, body->size() - offset));
        header.body_offset = offset;
        Frame frame;
        frame.header = encoded(header);
        if (part > 0) frame.body = Payload::hold(SharedSlice(body, offset, part));
        run.bytes.sent += frame.size();
        out_.data(run.id, std::move(frame), Origin{}, transport_, now);
        offset += part;
    } while (offset < body->size());
    last_sent_ = now;
}

// -- in ------------------------------------------------------------------------

/// Adds one part. True when the body is whole. A part that does not fit what is there discards it:
/// its sender begins again.
bool LinkCore::assemble(Partial& partial, const Header& header,
                        std::span<const std::uint8_t> part) {
    if (header.body_offset == 0) {
        partial = Partial{};
        partial.type = header.type;
        partial.flags = header.flags;
        partial.total = header.body_bytes;
        // an announced length is only a claim: what is large grows as it comes
        if (header.body_bytes > chunk_bytes)
            partial.bytes.reserve(std::min<std::uint64_t>(header.body_bytes, reserve_bytes_max));
    } else if (partial.complete || partial.bytes.size() != header.body_offset ||
               partial.total != header.body_bytes) {
        return partial.complete;
    }
    partial.bytes.insert(partial.bytes.end(), part.begin(), part.end());
    return partial.complete = partial.bytes.size() == partial.total;
}

void LinkCore::on_request(const Header& header, const Payload& body, TimePoint now) {
    Run* run = find(header.run);
    if (run == nullptr || run->term != header.term || run->closing) return;
    run->bytes.received += header_bytes + body.size();
    Peer& peer = run->peers[header.src];
    // what the sender counts as answered needs no memory, and leaves no gap
    peer.answers.erase(peer.answers.begin(), peer.answers.lower_bound(header.answered_below));
    peer.requests.erase(peer.requests.begin(), peer.requests.lower_bound(header.answered_below));
    peer.next_expected = std::max(peer.next_expected, header.answered_below);

    const std::uint64_t number = header.request;
    if (number < peer.next_expected) {
        const auto known = peer.answers.find(number);
        const bool last = header.body_offset + body.size() == header.body_bytes;
        if (last && known != peer.answers.end() && known->second.body != nullptr)
            send_answer(*run, header.src, number, now);
        return;
    }
    if (number - header.answered_below >= outstanding_requests_max)
        return;  // beyond what a sender may have open
    Partial& partial = peer.requests[number];
    if (partial.complete && header.body_offset == 0) return;  // it waits for its turn already
    if (assemble(partial, header, body.bytes())) deliver_in_order(*run, header.src, peer);
}

void LinkCore::deliver_in_order(Run& run, NodeId from, Peer& peer) {
    for (auto it = peer.requests.find(peer.next_expected);
         it != peer.requests.end() && it->second.complete;
         it = peer.requests.find(peer.next_expected)) {
        const std::uint64_t number = peer.next_expected++;
        Partial partial = std::move(it->second);
        peer.requests.erase(it);
        peer.answers[number] = Answer{partial.type, 0, nullptr};
        events_.push_back(
            RequestArrived{run.id, run.term, from, number, partial.type, std::move(partial.bytes)});
    }
}

void LinkCore::on_reply(const Header& header, const Payload& body, TimePoint) {
    Run* run = find(header.run);
    if (run == nullptr || run->term != header.term) return;
    run->bytes.received += header_bytes + body.size();
    const auto at = run->peers.find(header.src);
    if (at == run->peers.end()) return;
    Peer& peer = at->second;
    const auto pending = peer.pending.find(header.request);
    if (pending == peer.pending.end()) return;
    Partial& partial = peer.replies[header.request];
    if (!assemble(partial, header, body.bytes())) return;
    ReplyArrived event{run->id,
                       run->term,
                       header.src,
                       header.request,
                       pending->second.type,
                       std::move(partial.bytes),
                       {Errc::ok, {}}};
    if ((partial.flags & flag::error) != 0) {
        auto ending = decode_ending(event.body);
        event.error = ending
                          ? Failure{ending->code, std::move(ending->sentence)}
                          : Failure{Errc::malformed_message, "an error reply that does not decode"};
        if (event.error.code == Errc::ok) event.error.code = Errc::handler_failed;
        event.body.clear();
    }
    peer.replies.erase(header.request);
    peer.pending.erase(pending);
    events_.push_back(std::move(event));
}

}  // namespace vflbus::bus
