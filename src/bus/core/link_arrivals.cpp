// Requests and replies that come in: docs/protocol.md, sections 6 and 7. Which body gets room when,
// and in which order they are handed over; what belongs to one body stands in incoming_body.hpp.

#include <limits>

#include "base/planted.hpp"
#include "bus/core/link_state.hpp"

namespace vflbus::bus {
namespace {

/// So often a body that waits for room is overtaken by smaller ones that fit.
constexpr unsigned passed_max = 64;
/// A peer loses the room of its bodies, if others wait for room, when it has sent less than a
/// smallest chunk in each of so many heartbeats.
constexpr unsigned idle_beats_max = 10;

}  // namespace

void LinkCore::on_request(const Header& header, const Payload& body, TimePoint now) {
    Run* run = find(header.run);
    if (run == nullptr || run->closing) return;
    if (run->term != header.term && !VFLBUS_PLANTED(term_not_checked)) return;
    // no sender gets so far, and the number after it would be 0: what was answered would come again
    if (header.request == std::numeric_limits<std::uint64_t>::max()) return;
    run->bytes.received += header_bytes + body.size();
    counters_.received_bytes += header_bytes + body.size();
    Peer& peer = peer_of(*run, header.src);
    const NodeId from = header.src;
    // what the sender counts as answered is forgotten, and not waited for
    const std::uint64_t below = header.answered_below;
    peer.answers.erase(
        peer.answers.begin(),
        peer.answers.lower_bound(VFLBUS_PLANTED(answers_freed_early) ? below + 1 : below));
    peer.requests.erase(peer.requests.begin(), peer.requests.lower_bound(below));
    std::erase_if(peer.queue,
                  [&](BodyName waiting) { return waiting.reply && waiting.number < below; });
    if (below > peer.next_expected) {
        peer.next_expected = below;
        // later requests waited for numbers that will not come
        deliver_in_order(*run, from, peer);
        if (!waiting_.empty()) serve_waiting();
    }
    if (peer.asking.end_replies(below)) begin_next(*run, from, peer, now);

    const std::uint64_t number = header.request;
    const bool first = header.body_offset == 0;
    const BodyName name{number, false};
    if (number < peer.next_expected) {
        const auto known = peer.answers.find(number);
        if (VFLBUS_PLANTED(no_deduplication) && first && body.size() == header.body_bytes)
            events_.push_back(RequestArrived{run->id,
                                             run->term,
                                             from,
                                             number,
                                             header.type,
                                             Bytes(body.bytes().begin(), body.bytes().end()),
                                             {}});
        if (!first || known == peer.answers.end()) return;
        if (VFLBUS_PLANTED(duplicate_not_answered)) return;
        if (header.body_bytes > credit_free_bytes) grant(*run, from, name, credit_all);
        if (known->second.out.exists()) begin(*run, from, peer, {number, true}, now);
        return;
    }
    if (number - below >= outstanding_requests_max) return;  // beyond what a sender may have open
    IncomingBody& arriving = peer.requests[number];
    if (first && arriving.total() == header.body_bytes && arriving.whole()) {
        // It is here whole. When it has its room its sender may stop; when not, the sender waits
        // for CREDIT, and its other large bodies with it.
        if (arriving.large() && arriving.has_room()) grant(*run, from, name, credit_all);
        return;
    }
    if (assemble(*run, from, arriving, name, header, body.bytes()))
        deliver_in_order(*run, from, peer);
    if (first && !waiting_.empty()) serve_waiting();
}

void LinkCore::on_reply(const Header& header, const Payload& body, TimePoint now) {
    Run* run = find(header.run);
    if (run == nullptr || run->closing) return;
    if (run->term != header.term && !VFLBUS_PLANTED(term_not_checked)) return;
    run->bytes.received += header_bytes + body.size();
    counters_.received_bytes += header_bytes + body.size();
    const auto at = run->peers.find(header.src);
    if (at == run->peers.end()) return;
    Peer& peer = at->second;
    const std::uint64_t number = header.request;
    const auto pending = peer.pending.find(number);
    const bool awaited = pending != peer.pending.end();
    // a reply that is not awaited any more, or is too large here: its sender is told to stop, since
    // its other large bodies wait until this one has got CREDIT
    if ((!awaited || header.body_bytes > config_.limits.message) && header.body_offset == 0 &&
        header.body_bytes > credit_free_bytes)
        grant(*run, header.src, {number, true}, credit_all);
    if (!awaited) return;
    heard_of(*run, header.src, peer, pending->second, now);
    if (header.body_bytes > config_.limits.message)
        return fail_pending(
            *run, header.src, peer, number,
            {Errc::too_large,
             "an answer of " + std::to_string(header.body_bytes) + " bytes exceeds the limit of " +
                 std::to_string(config_.limits.message) + " here (bus.message_bytes_max)"},
            now);
    const bool first = header.body_offset == 0;
    IncomingBody& arriving = peer.replies[number];
    if (first && arriving.large() && arriving.total() == header.body_bytes && arriving.whole())
        return;  // it waits for room
    if (assemble(*run, header.src, arriving, {number, true}, header, body.bytes()))
        deliver_reply(*run, header.src, peer, number);
    else if (first && !waiting_.empty())
        serve_waiting();
}

/// The first part of a body. False: there is no memory for it, so it is dropped; its sender says it
/// again as after any other loss.
bool LinkCore::begin_body(Run& run, NodeId from, IncomingBody& body, BodyName name,
                          const Header& header, std::size_t part_bytes) {
    body.begin(header);
    if (on_bulk(header.aux)) want_bulk(time_);
    if (header.body_bytes > config_.limits.message) {
        body.refuse();
        if (body.large()) grant(run, from, name, credit_all);
        return true;
    }
    const Peer& peer = run.peers.at(from);
    const NodeId payer = peer.payer();
    begin_opening(run, peer, body, header);
    if (!body.has_room() && waiting_.empty() && !body.waits && in_turn(peer, name))
        if (BodyRoom room = budget_.take(payer, body.total())) body.take_room(std::move(room));
    if (!body.holds_room() && !body.keep_unasked(payer, unasked_, config_.limits.credit_first))
        return false;
    if (!body.has_room() && !body.waits) {
        body.waits = true;
        waiting_.push_back({run.id, run.term, from, payer, name, 0});
    }
    if (body.holds_room()) {
        body.grant_first(part_bytes, share_bytes());
        if (!needs_no_credit(peer, name, body, part_bytes)) grant_share(run, from, name, body);
    }
    return true;
}

/// A body that came whole, and with which nothing else is under way, has its sender wait for
/// nothing: what it learns from CREDIT it learns from the reply, or from the next request. That is
/// the case of an encrypted training, where the thread that a CREDIT wakes has work to do.
///
/// Example of what goes wrong when answers that wait here are not asked for: both ends ask each
/// other for 1 MiB at once, in four bodies. Each is alone when it comes and is answered at once,
/// but the answers wait for the place of our own four requests, which are answered in the same way.
bool LinkCore::needs_no_credit(const Peer& peer, BodyName name, const IncomingBody& body,
                               std::size_t part_bytes) const {
    if (part_bytes != body.total() || body.total() > config_.limits.bulk_lead) return false;
    if (VFLBUS_PLANTED(credit_left_out)) return true;
    return name.reply ? peer.pending.size() == 1
                      : peer.requests.size() == 1 && peer.at_user.empty() && peer.queue.empty();
}

/// A part that does not fit what is there is dropped: its sender begins again. So is one that goes
/// beyond its credit.
bool LinkCore::assemble(Run& run, NodeId from, IncomingBody& body, BodyName name,
                        const Header& header, std::span<const std::uint8_t> part) {
    if (header.body_offset == 0) {
        if (!begin_body(run, from, body, name, header, part.size())) return false;
        if (body.refused()) return true;
    } else if (!body.continues(header)) {
        return false;
    }
    if (!body.may_grow(part.size(), config_.limits.credit_first)) return false;
    body.add(part);
    // a sender that keeps room and fills none of it is idle, whatever else it sends
    if (body.holds_room()) run.peers.at(from).arrived_bytes += part.size();
    if (body.grant_more(share_bytes())) grant_share(run, from, name, body);
    return body.complete();
}

void LinkCore::deliver_in_order(Run& run, NodeId from, Peer& peer) {
    for (auto it = peer.requests.find(peer.next_expected);
         it != peer.requests.end() && it->second.complete() && peer.at_user.may_have_one_more();
         it = peer.requests.find(peer.next_expected)) {
        const std::uint64_t number = peer.next_expected++;
        IncomingBody body = std::move(it->second);
        peer.requests.erase(it);
        Answer& answer = peer.answers[number];
        answer = Answer{};
        answer.type = body.type();
        answer.arrival = ++works_begun_;
        if (body.refused()) {
            reply_error(run.id, from, number,
                        {Errc::too_large, "a message of " + std::to_string(body.total()) +
                                              " bytes exceeds the limit of " +
                                              std::to_string(config_.limits.message) + " at " +
                                              config_.hello.name + " (bus.message_bytes_max)"},
                        time_);
            continue;
        }
        if (!body.open()) {
            reply_error(run.id, from, number, broken(run, "request", number), time_);
            continue;
        }
        peer.at_user.insert(number);
        events_.push_back(RequestArrived{run.id, run.term, from, number, body.type(),
                                         body.take_bytes(), body.take_memory()});
    }
}

void LinkCore::deliver_reply(Run& run, NodeId from, Peer& peer, std::uint64_t number) {
    const auto pending = peer.pending.find(number);
    const auto found = peer.replies.find(number);
    if (pending == peer.pending.end() || found == peer.replies.end()) return;
    IncomingBody body = std::move(found->second);
    peer.replies.erase(found);
    ReplyArrived event;
    event.run = run.id;
    event.term = run.term;
    event.from = from;
    event.number = number;
    event.type = pending->second.type;
    const bool good = body.open();
    event.body = body.take_bytes();
    event.room = body.take_memory();
    if (!good) {
        event.error = broken(run, "the answer to request", number);
    } else if ((body.flags() & flag::error) != 0) {
        auto ending = decode_ending(event.body);
        event.error = ending
                          ? Failure{ending->code, std::move(ending->sentence)}
                          : Failure{Errc::malformed_message, "an error reply that does not decode"};
        if (event.error.code == Errc::ok) event.error.code = Errc::handler_failed;
    }
    if (event.error.code != Errc::ok) {
        event.body.clear();
        event.room.reset();
    }
    const bool oldest = pending == peer.pending.begin();
    peer.pending.erase(pending);
    events_.push_back(std::move(event));
    done_with(run, from, peer, {number, false}, time_);
    if (oldest) oldest_moved(run, from, peer, number + 1, time_);
}

// -- credit ------------------------------------------------------------------------

/// How many bytes a sender may go ahead of what has arrived. The sum over all senders is bounded,
/// because the broker may have to hold that much for this node.
std::uint64_t LinkCore::share_bytes() const noexcept {
    const std::uint64_t bodies = std::max<std::size_t>(1, budget_.bodies());
    const Limits& l = config_.limits;
    return std::clamp(l.credit_total / bodies, l.credit_share_min, l.credit_share_max);
}

void LinkCore::grant(Run& run, NodeId from, BodyName name, std::uint64_t up_to, std::uint64_t tag) {
    if (state_ != State::up) return;  // the first chunk comes again, and asks again
    Header header;
    header.run = run.id;
    header.term = run.term;
    header.dst = from;
    header.request = name.number;
    header.flags = name.reply ? flag::answer : std::uint8_t{0};
    header.answered_below = tag;
    header.aux = up_to;
    send_control(Kind::credit, header, {});
}

/// Tells the sender how far it may go. When the rest will come on the bulk connection, and that is
/// not up yet, CREDIT waits for `settle_bulk`.
void LinkCore::grant_share(Run& run, NodeId from, BodyName name, IncomingBody& body) {
    body.held = on_bulk(body.tag()) && bulk_.state == Bulk::State::asking;
    if (!body.held) grant(run, from, name, body.granted(), body.tag());
}

/// Whether all earlier requests of the peer have their room. Requests are handed over in the order
/// of their numbers; a later one with room would hold it while it waits for an earlier one without.
bool LinkCore::in_turn(const Peer& peer, BodyName name) const {
    if (name.reply) return true;
    for (std::uint64_t number = peer.next_expected; number < name.number; ++number) {
        const auto found = peer.requests.find(number);
        if (found == peer.requests.end() || !found->second.has_room()) return false;
    }
    return true;
}

void LinkCore::serve_waiting() {
    if (VFLBUS_PLANTED(room_not_passed_on)) return;
    bool again = true;
    while (again) {
        again = false;
        for (std::size_t i = 0; i < waiting_.size();) {
            const Waiting& waiting = waiting_[i];
            Run* run = find(waiting.run);
            const auto at =
                run == nullptr ? decltype(run->peers.end()){} : run->peers.find(waiting.from);
            IncomingBody* body = nullptr;
            if (run != nullptr && run->term == waiting.term && at != run->peers.end()) {
                auto& bodies = waiting.name.reply ? at->second.replies : at->second.requests;
                const auto found = bodies.find(waiting.name.number);
                if (found != bodies.end() && found->second.waits) body = &found->second;
            }
            if (body == nullptr || body->has_room()) {
                if (body != nullptr) body->waits = false;
                waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
                continue;
            }
            if (!in_turn(at->second, waiting.name)) {
                ++i;
                continue;
            }
            if (budget_.over_share(waiting.payer, body->total())) {
                ++i;  // its sender holds its share already, and nobody else has to wait for that
                continue;
            }
            BodyRoom room = budget_.take(waiting.payer, body->total());
            if (room == nullptr) {
                if (waiting.passed >= passed_max) return;
                ++i;
                continue;
            }
            const Waiting served = waiting;
            waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
            for (std::size_t k = 0; k < i; ++k) ++waiting_[k].passed;
            again = true;  // others may have waited for this one: see in_turn
            body->waits = false;
            body->take_room(std::move(room));
            body->grant_first(body->here(), share_bytes());
            grant_share(*run, served.from, served.name, *body);
            if (!body->complete()) continue;
            if (served.name.reply)
                deliver_reply(*run, served.from, at->second, served.name.number);
            else
                deliver_in_order(*run, served.from, at->second);
        }
    }
}

/// Takes room back from peers that do not use it. Room is given when the first chunk of a body has
/// come, before the rest. A sender that never sends the rest would keep that room for ever: a first
/// chunk of 4 KiB can announce as much as there is room. Called once per heartbeat in which the
/// broker was heard of.
///
/// Only for a body of the same sender, or of one that has no room at all. A body that waits for its
/// own sender's share gets room when that sender's bodies are done; if it counted here, the flood
/// of one sender would have the slow bodies of all others dropped again and again.
void LinkCore::take_back_room() {
    if (budget_.bodies() == 0) return;
    const auto wanted_from = [&](NodeId holder) {
        return std::any_of(waiting_.begin(), waiting_.end(), [&](const Waiting& waiting) {
            return waiting.payer == holder || !budget_.holds(waiting.payer);
        });
    };
    bool freed = false;
    for (auto& [id, run] : runs_)
        for (auto& [node, peer] : run.peers) {
            const std::uint64_t came = peer.arrived_bytes - peer.arrived_before;
            peer.arrived_before = peer.arrived_bytes;
            const bool idle = came < chunk_bytes_min && peer.holds_room();
            peer.idle_beats = idle ? peer.idle_beats + 1 : 0;
            if (peer.idle_beats < idle_beats_max || !wanted_from(peer.payer())) continue;
            peer.forget_arriving();
            freed = true;
        }
    if (freed) reclaim();
}

void LinkCore::note_progress(const RunId& run, std::uint32_t term, NodeId from,
                             std::uint64_t number) {
    Run* const found = find(run);
    if (found == nullptr || found->term != term) return;
    const auto peer = found->peers.find(from);
    if (peer == found->peers.end()) return;
    const auto answer = peer->second.answers.find(number);
    if (answer != peer->second.answers.end()) answer->second.arrival = ++works_begun_;
}

// -- properties --------------------------------------------------------------------

std::uint64_t LinkCore::arriving_bytes() const noexcept {
    std::uint64_t total = 0;
    for (const auto& [id, run] : runs_)
        for (const auto& [node, peer] : run.peers) {
            for (const auto& [number, body] : peer.requests) total += body.here();
            for (const auto& [number, body] : peer.replies) total += body.here();
        }
    return total;
}

LinkCore::Progress LinkCore::progress() const noexcept {
    std::uint64_t oldest = works_.empty() ? 0 : *works_.begin();
    for (const auto& [id, run] : runs_)
        for (const auto& [node, peer] : run.peers)
            for (const auto& [number, answer] : peer.answers)
                if (!answer.out.exists() && (oldest == 0 || answer.arrival < oldest))
                    oldest = answer.arrival;
    return {oldest != 0 ? oldest : works_begun_ + 1, oldest != 0};
}

}  // namespace vflbus::bus
