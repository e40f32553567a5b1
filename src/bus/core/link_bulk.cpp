// The second connection of a link, for what follows the first chunks of large bodies:
// docs/protocol.md, section 7.

#include "bus/core/link_state.hpp"

namespace vflbus::bus {
namespace {

constexpr Duration ask_again = std::chrono::seconds(1);

}  // namespace

/// Opens the bulk connection when it is first needed: most nodes send nothing but small messages.
void LinkCore::want_bulk(TimePoint now) {
    if (bulk_.state != Bulk::State::none || state_ != State::up) return;
    bulk_.sink = transport_.open_bulk();
    if (bulk_.sink == nullptr) {
        bulk_.state = Bulk::State::unavailable;
        return;
    }
    bulk_.state = Bulk::State::asking;
    bulk_.ask_until = now + config_.timings.bulk_patience;
    ask_bulk(now);
}

void LinkCore::ask_bulk(TimePoint now) {
    Header header;
    header.kind = Kind::bulk;
    header.src = id_;
    header.request = config_.hello.instance;
    header.aux = session_;
    Frame frame;
    frame.header = encoded(header);
    const bool sent = bulk_.sink->send(frame) == SendResult::ok;
    bulk_.ask_at = now + (sent ? ask_again : full_retry);
}

/// The bulk connection is up, or there is none: bodies and CREDIT that waited for it go on.
void LinkCore::settle_bulk(Bulk::State state, TimePoint now) {
    bulk_.state = state;
    for (auto& [id, run] : runs_) {
        if (run.closing) continue;
        for (auto& [node, peer] : run.peers) {
            const auto go_on = [&](BodyName name, const OutgoingBody& out) {
                if (on_bulk(out.tag()) && out.state() == OutgoingBody::State::begun &&
                    out.sent() > 0 && out.may_go_on())
                    advance(run, node, peer, name, now);
            };
            for (const auto& [number, pending] : peer.pending) go_on({number, false}, pending.out);
            for (const auto& [number, answer] : peer.answers)
                if (answer.out.exists()) go_on({number, true}, answer.out);
            for (auto& [number, body] : peer.requests)
                if (body.held) grant_share(run, node, {number, false}, body);
            for (auto& [number, body] : peer.replies)
                if (body.held) grant_share(run, node, {number, true}, body);
        }
    }
}

void LinkCore::end_bulk() {
    if (bulk_.sink != nullptr) transport_.close_bulk();
    bulk_ = Bulk(hop_sender(Lane::bulk));
}

void LinkCore::on_bulk_frame(const Header& header, const Payload& body, TimePoint now) {
    if (state_ != State::up || bulk_.sink == nullptr) return;
    bulk_.heard = now;
    if (bulk_.state == Bulk::State::asking) {
        const bool answer = header.kind == Kind::bulk && (header.flags & flag::answer) != 0;
        if (answer && header.aux == session_) settle_bulk(Bulk::State::up, now);
        return;  // BULK is said again
    }
    if (is_data(header.kind)) {
        bulk_.small_traffic.bulk_moves(header.run);
        return header.kind == Kind::request ? on_request(header, body, now)
                                            : on_reply(header, body, now);
    }
    if (header.kind == Kind::mark) {
        bulk_.out.report(header.aux, *bulk_.sink, now);
        bulk_.sent = now;
    } else if (header.kind == Kind::window) {
        bulk_.out.consumed(header.aux, now);
        flush_bulk(now);
    } else if (header.kind == Kind::error &&
               static_cast<Errc>(header.aux) == Errc::not_registered) {
        greet_again(now);  // the broker lost this connection, and what was in it
    }
}

void LinkCore::flush_bulk(TimePoint now) {
    if (!bulk_.out.waiting()) return;
    bulk_.out.narrow(bulk_.small_traffic.present(now));
    bulk_.out.flush(*bulk_.sink, now, left_);
    left_.clear();
    bulk_.sent = now;
}

bool LinkCore::bulk_silent(TimePoint now, Duration stale) const noexcept {
    return bulk_.state == Bulk::State::up && now - bulk_.heard >= stale;
}

void LinkCore::tick_bulk(TimePoint now) {
    if (bulk_.state == Bulk::State::asking) {
        if (now >= bulk_.ask_until) {
            transport_.close_bulk();
            bulk_.sink = nullptr;
            return settle_bulk(Bulk::State::unavailable, now);
        }
        if (now >= bulk_.ask_at) ask_bulk(now);
        return;
    }
    if (bulk_.state != Bulk::State::up) return;
    flush_bulk(now);
    if (now - bulk_.sent < config_.timings.heartbeat) return;
    Header ping;
    ping.kind = Kind::ping;
    ping.src = id_;
    ping.request = ++pings_;
    bulk_.out.control({make_frame(ping, Bytes{})}, *bulk_.sink, now);
    bulk_.sent = now;
}

TimePoint LinkCore::bulk_deadline() const noexcept {
    if (bulk_.state == Bulk::State::asking) return std::min(bulk_.ask_at, bulk_.ask_until);
    if (bulk_.state != Bulk::State::up) return TimePoint::max();
    const Duration wait = bulk_.out.blocked() ? full_retry : config_.timings.heartbeat;
    return std::min(bulk_.sent + wait,
                    bulk_.heard + (config_.timings.suspect + config_.timings.lost) / 2);
}

/// A tag that no other body between two nodes has, from whatever process (but by a chance of
/// 2^-63).
std::uint64_t LinkCore::next_tag(bool bulk) noexcept {
    const std::uint64_t tag = mix_seed(config_.hello.instance, ++tags_) & ~std::uint64_t{1};
    return bulk ? tag | 1 : std::max<std::uint64_t>(tag, 2);
}

}  // namespace vflbus::bus
