// Requests and replies that go out: docs/protocol.md, sections 6 and 7. Which body begins when,
// what is sent again, and the frames of each; how far one body may go stands in outgoing_body.hpp.

#include "base/planted.hpp"
#include "bus/core/link_state.hpp"

namespace vflbus::bus {
namespace {

std::string exceeds(const char* what, std::size_t bytes, std::uint64_t limit) {
    return std::string(what) + " of " + std::to_string(bytes) + " bytes exceeds the limit of " +
           std::to_string(limit);
}

}  // namespace

// -- from the user -----------------------------------------------------------------

Result<std::uint64_t> LinkCore::request(const RunId& run_id, NodeId dst, std::uint16_t type,
                                        Bytes body, TimePoint now) {
    Run* run = find(run_id);
    if (run == nullptr || run->closing)
        return fail(Errc::run_ended, "run " + run_id.short_hex() + " is over here");
    const std::uint64_t bytes = body.size() + (run->sealed ? seal_overhead_bytes : 0);
    if (bytes > message_max_)
        return fail(Errc::too_large, exceeds("a message", bytes, message_max_));
    if (run->sealed && !run->ours && dst != run->owner)
        return fail(Errc::not_owner, "in a sealed run a participant talks to the owner alone");
    time_ = now;
    Peer& peer = peer_of(*run, dst);
    if (peer.pending.size() >= outstanding_requests_max)
        return fail(Errc::too_many, std::to_string(outstanding_requests_max) +
                                        " requests to one node are unanswered");
    const std::uint64_t number = peer.next_request++;
    ++counters_.requests;
    Pending& pending = peer.pending[number];
    pending.type = type;
    pending.out.carry(std::move(body), now);
    begin(*run, dst, peer, {number, false}, now);
    return number;
}

void LinkCore::reply(const RunId& run, NodeId dst, std::uint64_t number, Bytes body,
                     TimePoint now) {
    // the broker would pass no frame of it, and the asker wait
    if (body.size() + seal_overhead_bytes > message_max_)
        return reply_error(run, dst, number,
                           {Errc::too_large, exceeds("an answer", body.size(), message_max_)}, now);
    finish_reply(run, dst, number, 0, std::move(body), now);
}

void LinkCore::reply_error(const RunId& run, NodeId dst, std::uint64_t number,
                           const Failure& failure, TimePoint now) {
    finish_reply(run, dst, number, flag::error, encode(Ending{failure.code, failure.sentence}),
                 now);
}

std::string LinkCore::no_room_for_answer(std::size_t bytes) const {
    return "an answer of " + std::to_string(bytes) + " bytes has no room at " + config_.hello.name +
           ", which keeps " + std::to_string(kept_replies_.used_bytes()) +
           " bytes of answers until those who asked have them, of " +
           std::to_string(config_.limits.reply_budget) +
           " (bus.body_budget_bytes there); ask for fewer large answers at once";
}

void LinkCore::finish_reply(const RunId& run_id, NodeId dst, std::uint64_t number,
                            std::uint8_t flags, Bytes body, TimePoint now) {
    Run* run = find(run_id);
    if (run == nullptr) return;
    const auto peer = run->peers.find(dst);
    if (peer == run->peers.end()) return;
    time_ = now;
    const bool was_at_user = peer->second.at_user.erase(number);
    const auto slot = peer->second.answers.find(number);
    if (slot != peer->second.answers.end() && !slot->second.out.exists()) {
        Answer& answer = slot->second;
        // It is kept until the asker says that it has it, which an asker may never say. So the
        // answers of a node have a budget; an error takes the place of one that does not fit.
        if ((flags & flag::error) == 0)
            answer.room = kept_replies_.take(peer->second.payer(), body.size());
        if ((flags & flag::error) == 0 && answer.room == nullptr) {
            flags = flag::error;
            body = encode(Ending{Errc::too_many, no_room_for_answer(body.size())});
        }
        answer.flags = flags;
        answer.out.carry(std::move(body), now);
        begin(*run, dst, peer->second, {number, true}, now);
    }
    if (!was_at_user) return;
    if (!run->closing) deliver_in_order(*run, dst, peer->second);
    // what others of its key have here whole may have waited for this one
    const Account* const account = peer->second.at_user.account();
    if (account->at_user + 1 < outstanding_of_key_max) return;
    for (auto& [id, other] : runs_)
        for (auto& [node, waiting] : other.peers)
            if (waiting.at_user.account() == account && !other.closing)
                deliver_in_order(other, node, waiting);
}

// -- whose turn it is --------------------------------------------------------------

OutgoingBody* LinkCore::find_outgoing(Peer& peer, BodyName name) {
    if (name.reply) {
        const auto found = peer.answers.find(name.number);
        return found == peer.answers.end() || !found->second.out.exists() ? nullptr
                                                                          : &found->second.out;
    }
    const auto found = peer.pending.find(name.number);
    return found == peer.pending.end() ? nullptr : &found->second.out;
}

/// After a reconnect at either end: sends every request again, from offset 0. A reply is sent again
/// when its request comes again.
void LinkCore::begin_all(Run& run, NodeId dst, Peer& peer, TimePoint now) {
    peer.asking.clear();
    peer.queue.clear();
    for (auto& [number, answer] : peer.answers) answer.out.rest();
    std::vector<std::uint64_t> numbers;
    for (auto& [number, pending] : peer.pending) {
        pending.out.rest();
        numbers.push_back(number);
    }
    if (!numbers.empty()) peer.gaps_below = std::max(peer.gaps_below, numbers.back() + 1);
    for (const std::uint64_t number : numbers) begin(run, dst, peer, {number, false}, now);
}

/// Sends a body from offset 0, or queues it. What large bodies may send to a peer without CREDIT is
/// bounded (see Asking), and requests begin in the order of their numbers. Without a session
/// nothing is sent: `on_welcome` begins everything, and what left between HELLO and WELCOME would
/// be counted for the window by the broker only.
void LinkCore::begin(Run& run, NodeId dst, Peer& peer, BodyName name, TimePoint now) {
    OutgoingBody* out = find_outgoing(peer, name);
    if (out == nullptr || state_ != State::up || run.closing) return;
    // before the other end has said JOIN there is no key; all that waits begins with it
    if (run.sealed && !peer.seal) return;
    if (run.sealed && !out->sealed()) seal_body(run, dst, peer, name, *out);
    if (out->size() > message_max_) {  // a broker with a lower limit has come
        const Failure failure{Errc::too_large, exceeds("a message", out->size(), message_max_)};
        if (!name.reply) return fail_pending(run, dst, peer, name.number, failure, now);
        Answer& answer = peer.answers.at(name.number);
        // an error is said once: another one in its place would be sealed with the same nonce
        if ((answer.flags & flag::error) != 0) return;
        answer.flags = flag::error;
        answer.out.carry(encode(Ending{failure.code, failure.sentence}), now);
        answer.room.reset();
        if (run.sealed) seal_body(run, dst, peer, name, *out);
    }
    peer.asking.end(name);
    const auto before = [&](const BodyName& other) {
        return !other.reply && other.number < name.number;
    };
    // A body that has room at its receiver does not wait. Example of what goes wrong otherwise: the
    // receiver has room for one body and has given it to A; B asks first after a reconnect and gets
    // no room, and A waits for B.
    if (!out->has_room() &&
        (!may_begin(peer, name, *out) ||
         (!name.reply && std::any_of(peer.queue.begin(), peer.queue.end(), before)))) {
        if (out->state() == OutgoingBody::State::queued) return;
        out->wait();
        const auto at =
            name.reply
                ? peer.queue.end()
                : std::find_if(peer.queue.begin(), peer.queue.end(), [&](const BodyName& other) {
                      return !other.reply && other.number > name.number;
                  });
        peer.queue.insert(at, name);
        return;
    }
    if (out->state() == OutgoingBody::State::queued) std::erase(peer.queue, name);
    if (out->attempts() > 0) {
        ++counters_.repeated;
        const Header earlier = header_of(run, dst, peer, name);
        out_.drop_body(earlier, left_);
        bulk_.out.drop_body(earlier, left_);
        left_.clear();
    }
    if (!out->large()) {
        out->begin(out->size(), 0);
    } else {
        const std::uint64_t lead = lead_bytes();
        const bool longer = out->size() > lead;
        if (!out->has_room()) peer.asking.begin(name, out->size(), !longer);
        if (longer) want_bulk(now);
        const bool bulk = longer && bulk_.state != Bulk::State::unavailable;
        out->begin(bulk ? lead : config_.limits.credit_first, next_tag(bulk));
    }
    advance(run, dst, peer, name, now);
}

/// Of a large body, in its first frame.
std::uint64_t LinkCore::lead_bytes() const noexcept {
    return std::min<std::uint64_t>(config_.limits.bulk_lead, chunk_);
}

bool LinkCore::may_begin(const Peer& peer, BodyName name, const OutgoingBody& out) const {
    if (out.large() &&
        !peer.asking.may_begin(out.size(), out.size() <= lead_bytes(), config_.limits.credit_first))
        return false;
    // counted from the oldest unanswered one: the receiver keeps no more numbers than that
    if (!name.reply && name.number - peer.answered_below() >= outstanding_requests_max)
        return false;
    if (name.reply || config_.limits.outstanding >= outstanding_requests_max) return true;
    std::size_t under_way = 0;
    for (const auto& [number, pending] : peer.pending)
        if (number != name.number && pending.out.state() == OutgoingBody::State::begun) ++under_way;
    return under_way < config_.limits.outstanding;
}

void LinkCore::begin_next(Run& run, NodeId dst, Peer& peer, TimePoint now) {
    if (state_ != State::up || run.closing) return;
    bool request_waits = false;
    for (std::size_t i = 0; i < peer.queue.size();) {
        const BodyName name = peer.queue[i];
        const OutgoingBody* out = find_outgoing(peer, name);
        const bool begins =
            out != nullptr && (name.reply || !request_waits) && may_begin(peer, name, *out);
        if (out == nullptr) {
            peer.queue.erase(peer.queue.begin() + static_cast<std::ptrdiff_t>(i));
        } else if (begins) {
            begin(run, dst, peer, name, now);  // takes it off the queue
        } else {
            request_waits = request_waits || !name.reply;
            ++i;
        }
    }
}

/// A body needs its turn no longer: it was answered, given up, or has got CREDIT. The next one
/// begins.
void LinkCore::done_with(Run& run, NodeId dst, Peer& peer, BodyName name, TimePoint now) {
    peer.asking.end(name);
    if (!peer.queue.empty()) begin_next(run, dst, peer, now);
}

void LinkCore::fail_pending(Run& run, NodeId dst, Peer& peer, std::uint64_t number, Failure failure,
                            TimePoint now) {
    const auto found = peer.pending.find(number);
    if (found == peer.pending.end()) return;
    ReplyArrived event;
    event.run = run.id;
    event.term = run.term;
    event.from = dst;
    event.number = number;
    event.type = found->second.type;
    event.error = std::move(failure);
    events_.push_back(std::move(event));
    // the receiver may wait for this number; `answered_below` of a later request tells it
    peer.gaps_below = std::max(peer.gaps_below, peer.pending.rbegin()->first + 1);
    const bool oldest = found == peer.pending.begin();
    peer.pending.erase(found);
    peer.replies.erase(number);
    std::erase(peer.queue, BodyName{number, false});
    done_with(run, dst, peer, {number, false}, now);
    if (oldest) oldest_moved(run, dst, peer, number, now);
}

/// The oldest unanswered request is another one now. Example of what goes wrong without this:
///   1. Requests 1 and 2 are under way. The receiver loses its memory of the run and comes back.
///   2. Both are sent again. Request 1 is given up here before it arrives there.
///   3. The receiver has 2 and waits for 1, which will not come.
/// `answered_below` of any later frame tells it. Where none is due, the oldest request is sent
/// again. `known`: the number that the receiver knows to be next.
void LinkCore::oldest_moved(Run& run, NodeId dst, Peer& peer, std::uint64_t known, TimePoint now) {
    if (state_ != State::up || run.closing || peer.down || peer.pending.empty()) return;
    const auto& [number, oldest] = *peer.pending.begin();
    if (number <= known || number >= peer.gaps_below || oldest.said_below == number) return;
    if (VFLBUS_PLANTED(gap_not_told)) return;
    // when it has room there, or its reply comes in, the receiver does not wait
    if (oldest.out.state() == OutgoingBody::State::begun && !oldest.out.has_room() &&
        !peer.replies.contains(number))
        begin(run, dst, peer, {number, false}, now);
}

// -- frames ------------------------------------------------------------------------

/// What all frames of a body have in common.
Header LinkCore::header_of(const Run& run, NodeId dst, const Peer& peer, BodyName name) const {
    Header header;
    header.run = run.id;
    header.term = run.term;
    header.src = id_;
    header.dst = dst;
    header.request = name.number;
    if (name.reply) {
        const Answer& answer = peer.answers.at(name.number);
        header.kind = Kind::reply;
        header.flags = answer.flags;
        header.type = answer.type;
    } else {
        header.kind = Kind::request;
        header.type = peer.pending.at(name.number).type;
    }
    if (run.sealed) header.flags |= flag::sealed;
    return header;
}

/// Sends as much of a body as its credit allows: all of it on the first connection, or what follows
/// the first chunk on the bulk connection.
void LinkCore::advance(Run& run, NodeId dst, Peer& peer, BodyName name, TimePoint now) {
    Header header = header_of(run, dst, peer, name);
    if (!name.reply) {
        Pending& pending = peer.pending.at(name.number);
        header.answered_below = pending.said_below = peer.answered_below();
        if (pending.again_wait == Duration{}) pending.again_wait = config_.timings.resend_unheard;
        send_again_at(run, dst, peer, pending, now + pending.again_wait);
    }
    OutgoingBody& out = *find_outgoing(peer, name);
    header.body_bytes = out.size();
    header.aux = out.tag();
    const bool rest = on_bulk(out.tag()) && out.sent() > 0;
    if (rest && bulk_.state == Bulk::State::asking) return;  // goes on when that is settled
    const bool bulk = rest && bulk_.state == Bulk::State::up;
    do {
        const auto part = out.next(bulk ? std::min(chunk_, bulk_chunk_bytes) : chunk_);
        if (!part) break;
        header.body_offset = part->offset;
        Frame frame;
        frame.header = encoded(header);
        frame.body = out.payload(*part);
        run.bytes.sent += frame.size();
        counters_.sent_bytes += frame.size();
        if (bulk) {
            bulk_.small_traffic.bulk_moves(run.id);
            bulk_.out.narrow(bulk_.small_traffic.present(now));
            bulk_.out.data(run.id, std::move(frame), Origin{}, *bulk_.sink, now);
        } else {
            bulk_.small_traffic.seen(run.id, out.size(), now);
            out_.data(run.id, std::move(frame), Origin{}, transport_, now);
        }
    } while (out.may_go_on());
    if (const auto took = out.first_sent(now)) {
        ++counters_.sent_bodies;
        counters_.sending += *took;
    }
    (bulk ? bulk_.sent : last_sent_) = now;
}

void LinkCore::on_credit(const Header& header, TimePoint now) {
    Run* run = find(header.run);
    if (run == nullptr || run->term != header.term || run->closing) return;
    const auto at = run->peers.find(header.src);
    if (at == run->peers.end()) return;
    Peer& peer = at->second;
    const BodyName name{header.request, (header.flags & flag::answer) != 0};
    OutgoingBody* out = find_outgoing(peer, name);
    if (out == nullptr) return;
    out->note_room();
    // its receiver holds the room that an earlier attempt has asked for: see `begin`
    if (out->state() == OutgoingBody::State::queued)
        return begin(*run, header.src, peer, name, now);
    if (out->state() == OutgoingBody::State::idle) return;  // begins when it is asked for
    // This CREDIT is for an earlier attempt. The receiver would drop parts of the present one that
    // it has not granted, and parts that come on the bulk connection before the first chunk does.
    // But it has room for this body, so others need not wait for that. Example of what goes wrong
    // without it:
    //   1. A reply has come whole, and waits for room there. Its request is sent again after a
    //      reconnect, and so the reply is, as another attempt.
    //   2. The room comes, and CREDIT for the attempt that came whole. The asker goes on, and waits
    //      for its last request, whose reply waits here for the place of the first one.
    if (header.answered_below != out->tag() && header.aux != credit_all &&
        !VFLBUS_PLANTED(credit_of_earlier_attempt)) {
        if (peer.asking.end(name)) begin_next(*run, header.src, peer, now);
        return;
    }
    if (!name.reply) heard_of(*run, header.src, peer, peer.pending.at(name.number), now);
    if (header.aux == credit_all) {
        out->stop();
    } else if (out->grant(header.aux)) {
        advance(*run, header.src, peer, name, now);
    }
    if (peer.asking.end(name)) begin_next(*run, header.src, peer, now);
}

}  // namespace vflbus::bus
