// Frames on their way: docs/protocol.md, sections 5 to 7.

#include "base/planted.hpp"
#include "bus/core/broker_state.hpp"

namespace vflbus::bus {

/// Looks up where a frame goes, unless it goes where the last one of its node went. False: it goes
/// nowhere, and its sender was told.
bool BrokerCore::find_route(Node& node, const Header& header,
                            const std::function<void(Errc, const std::string&)>& refuse,
                            TimePoint now) {
    const auto no = [&](Errc code, const std::string& sentence) {
        refuse(code, sentence);
        return false;
    };
    Run* const run = runs_.find(header.run);
    if (run == nullptr || !may_know_of(node, *run)) {
        const bool may_come = now - started_ < config_.timings.rejoin_grace;
        return no(may_come ? Errc::retry : Errc::unknown_run,
                  "run " + header.run.short_hex() + " is not known here");
    }
    if (header.term != run->term && !VFLBUS_PLANTED(term_not_checked))
        return no(Errc::stale_term,
                  "run " + run->id.short_hex() + " is in term " + std::to_string(run->term));
    if (!run->takes_part(node.id) && !VFLBUS_PLANTED(routed_without_join))
        return no(Errc::not_a_participant,
                  node.hello.name + " has not joined run " + run->id.short_hex());
    if (run->open_to_all && node.id != run->owner && header.dst != run->owner &&
        !VFLBUS_PLANTED(open_run_talks))
        return no(Errc::not_a_participant, "those who take part in run " + run->id.short_hex() +
                                               " talk with its owner alone");
    const auto target = nodes_.find(header.dst);
    if (!run->takes_part(header.dst) || target == nodes_.end())
        return no(Errc::not_a_participant,
                  "the destination takes no part in run " + run->id.short_hex());
    if (target->second->conn == 0 || target->second->state == Node::State::lost)
        return no(Errc::unreachable, target->second->hello.name + " is not connected");
    node.route = {header.run, header.term, header.dst, generation_, target->second.get(), run};
    return true;
}

void BrokerCore::route(Node& node, Lane lane, const Header& header, Frame& frame, std::size_t bytes,
                       TimePoint now) {
    Node::Route& route = node.route;
    if (route.generation != generation_ || route.dst != header.dst || route.term != header.term ||
        route.run != header.run) {
        const auto refuse = [&](Errc code, const std::string& sentence) {
            if (VFLBUS_PLANTED(window_leaked)) node.in_of(lane).hold(bytes);
            send_error(node, header, code, sentence, now);
        };
        if (!find_route(node, header, refuse, now)) return;
    }
    if (header.body_bytes > config_.limits.message) {
        return send_error(node, header, Errc::too_large,
                          "a message of " + std::to_string(header.body_bytes) +
                              " bytes exceeds the limit of " +
                              std::to_string(config_.limits.message) + " at the broker",
                          now);
    }
    Node& target = *route.target;
    // a destination that is far behind holds back those who send to it, not the broker's memory
    const bool defer = is_far_behind(target);
    if (defer && node.deferred_bytes >= deferred_max() && !VFLBUS_PLANTED(window_not_enforced)) {
        note_breach();
        return send_error(node, header, Errc::too_many,
                          node.hello.name + " sends more than its window while " +
                              target.hello.name + " is behind",
                          now);
    }
    ++counters_.frames_routed;
    counters_.bytes_routed += bytes;
    const std::uint64_t begins = header.body_offset == 0 ? 1 : 0;
    node.messages += begins;
    node.bytes += bytes;
    route.through->messages += begins;
    route.through->bytes += bytes;
    // what came on a first connection must not pass what is on its way on one
    const bool bulk = lane == Lane::bulk && target.bulk.conn != 0;
    HopSender& out = bulk ? target.bulk.out : target.out;
    if (bulk) {
        target.bulk.small_traffic.bulk_moves(header.run);
        out.narrow(bulk_is_beside(target, now));
    } else if (lane == Lane::main) {
        small_traffic_.seen(header.run, header.body_bytes, now);
        target.bulk.small_traffic.seen(header.run, header.body_bytes, now);
    }
    NodeSink sink(transport_, bulk ? target.bulk.conn : target.conn);
    const Origin origin = defer ? Origin{node.id, node.session, lane} : Origin{};
    const SendResult result = out.data(header.run, std::move(frame), bytes, origin, sink, now);
    if (result == SendResult::gone) {
        if (bulk)  // it comes back, and the body begins again
            return lose_bulk(target, Ended::connection, now);
        const std::string name = target.hello.name;
        disconnect(target, Ended::connection, now);
        return send_error(node, header, Errc::unreachable, name + " is not connected", now);
    }
    if (out.blocked()) blocked_.insert(target.id);
    if (!defer || result == SendResult::ok) return;
    node.in_of(lane).hold(bytes);
    node.deferred_bytes += bytes;
}

/// Whether what is sent to a node has to wait for its queue. All nodes of one key have twice the
/// queue of one: it could have a queue at each of a thousand names otherwise.
bool BrokerCore::is_far_behind(const Node& target) const {
    const std::uint64_t queued = target.queued_cost();
    const std::uint64_t most = config_.limits.broker_queue;
    if (queued > most) return true;
    return queued > most / 16 && queued_for_account(target) > 2 * most;
}

/// Whether small messages of another run need this machine while it sends bulk to the node.
bool BrokerCore::bulk_is_beside(const Node& node, TimePoint now) const noexcept {
    const SmallTraffic& own = node.bulk.small_traffic;
    return own.present(now) || small_traffic_.beside(own.bulk_run(), now);
}

/// The windows of both connections of a node, and the frames that cross their lines.
std::uint64_t BrokerCore::deferred_max() const noexcept {
    const Limits& l = config_.limits;
    return 2 * (std::max(l.hop_window, l.hop_window_max) + l.chunk + header_bytes);
}

/// CREDIT, QUERY, ANSWER: from one node to another, counted against the one that sends.
Posted BrokerCore::pass_on(Node& to, const Header& header, const Payload& body, TimePoint now) {
    const auto bytes = body.bytes();
    return post(to, {make_frame(header, Bytes(bytes.begin(), bytes.end())), header.src}, now);
}

void BrokerCore::route_credit(Node& node, const Header& header, TimePoint now) {
    Run* run = runs_.find(header.run);
    Node* target = nullptr;
    if (run != nullptr && run->term == header.term && run->takes_part(node.id) &&
        run->takes_part(header.dst) &&
        (!run->open_to_all || node.id == run->owner || header.dst == run->owner)) {
        const auto found = nodes_.find(header.dst);
        if (found != nodes_.end() && found->second->conn != 0) target = found->second.get();
    }
    // restated by its sender when the peer is up again; what is too much is lost, as the body that
    // it is for is sent again
    if (target != nullptr) (void)pass_on(*target, header, {}, now);
}

// -- sending -------------------------------------------------------------------

/// To a connection that is perhaps no node's. It counts where something is known to be under way.
void BrokerCore::send_raw(ConnId to, const Header& header, Bytes body) {
    Frame frame = make_frame(header, std::move(body));
    const std::size_t bytes = frame.size();
    const Connection* const connection = connections_.find(to);
    if (connection != nullptr && connection->node != nullptr) {
        Node& node = *connection->node;
        if (connection->lane == Lane::main) return (void)post(node, {std::move(frame)}, now_);
        return (void)post_bulk(node, std::move(frame), now_);
    }
    UnderWay* const under_way = connection == nullptr ? nullptr : connection->under_way.get();
    // one that was a node's, and reads nothing, gets no more than it would as a node
    if (under_way != nullptr &&
        under_way->bytes() >= under_way->window() + config_.limits.control_allowance)
        return;
    // frames to a stranger are not queued
    if (transport_.send(to, frame) != SendResult::ok || under_way == nullptr) return;
    under_way->sent(bytes, now_);
}

/// A control frame overtakes data that waits for the window. A node for which too many wait has no
/// session any more, as if it were gone: it says HELLO again, and everything is repeated.
Posted BrokerCore::post(Node& node, ControlFrame&& frame, TimePoint now) {
    if (node.conn == 0) return Posted::gone;
    NodeSink sink(transport_, node.conn);
    const Posted posted = node.out.control(std::move(frame), sink, now);
    if (node.out.blocked()) blocked_.insert(node.id);
    if (posted != Posted::gone && posted != Posted::over) return posted;
    if (posted == Posted::over) log("node takes nothing and is given up name=" + node.hello.name);
    // only noted: the caller may be walking over nodes; liveness, which drops what waits, and the
    // next frame to it do the rest
    connections_.forget(node.conn);
    if (posted == Posted::over) transport_.close(node.conn);
    node.conn = 0;
    blocked_.insert(node.id);
    node.gone_at = now;
    ++generation_;
    return posted;
}

void BrokerCore::send_control(Node& node, Kind kind, const Header& header, Bytes body,
                              TimePoint now) {
    Header complete = header;
    complete.kind = kind;
    complete.dst = node.id;
    (void)post(node, {make_frame(complete, std::move(body))}, now);
}

/// PEER_UP, PEER_SUSPECT or PEER_DOWN. It replaces what still waits to be said about that peer.
void BrokerCore::send_about_peer(Node& to, Kind kind, const Run& run, NodeId about, Bytes body,
                                 TimePoint now) {
    Header header;
    header.kind = kind;
    header.run = run.id;
    header.term = run.term;
    header.dst = to.id;
    header.aux = about.value;
    (void)post(
        to,
        {make_frame(header, std::move(body)), broker_node, Subject{Kind::peer_up, run.id, about}},
        now);
}

/// OPEN to a node that is invited.
Posted BrokerCore::send_open(Node& node, const Run& run, TimePoint now) {
    Header header;
    header.kind = Kind::open;
    header.run = run.id;
    header.term = run.term;
    header.src = run.owner;
    header.dst = node.id;
    const Posted posted = post(
        node,
        {make_frame(header, run.open), run.owner, Subject{Kind::open, run.id, run.owner}, true},
        now);
    if (posted == Posted::crowded) node.unsaid.insert(run.id);
    return posted;
}

/// What a participant has said of the run, to its owner.
Posted BrokerCore::send_join(Node& owner, const Run& run, const Member& member, TimePoint now) {
    Header header;
    header.kind = Kind::join;
    header.run = run.id;
    header.term = run.term;
    header.src = member.id;
    header.dst = owner.id;
    return post(
        owner,
        {make_frame(header, member.join), member.id, Subject{Kind::join, run.id, member.id}, true},
        now);
}

void BrokerCore::send_error(Node& node, const Header& about, Errc code, const std::string& sentence,
                            TimePoint now) {
    count_refused(code);
    if (code == Errc::malformed_frame || code == Errc::wrong_source) note_breach();
    Header header;
    header.kind = Kind::error;
    header.run = about.run;
    header.term = about.term;
    header.dst = about.dst;
    header.request = about.request;
    header.type = about.type;
    header.aux = static_cast<std::uint64_t>(code);
    (void)post(node, {make_frame(header, encode_sentence(sentence))}, now);
}

void BrokerCore::report_consumed(Node& node, Lane lane, TimePoint now) {
    const std::uint64_t token = node.in_of(lane).due();
    const ConnId conn = lane == Lane::bulk ? node.bulk.conn : node.conn;
    if (token == 0 || conn == 0) return;
    NodeSink sink(transport_, conn);
    HopSender& out = lane == Lane::bulk ? node.bulk.out : node.out;
    // (one that is gone is found out by whatever is sent next)
    (void)out.report(token, sink, now);
    if (out.blocked()) blocked_.insert(node.id);
}

void BrokerCore::credit_back(std::vector<HopSender::Left>& left, TimePoint now) {
    std::vector<HopSender::Left> taken;
    taken.swap(left);
    for (const HopSender::Left& entry : taken) {
        const auto found = nodes_.find(entry.origin.node);
        if (found == nodes_.end()) continue;
        Node& node = *found->second;
        node.deferred_bytes -= std::min<std::uint64_t>(node.deferred_bytes, entry.bytes);
        if (node.session != entry.origin.session) continue;
        node.in_of(entry.origin.lane).release(entry.bytes);
        report_consumed(node, entry.origin.lane, now);
    }
}

void BrokerCore::flush(Node& node, TimePoint now) {
    NodeSink sink(transport_, node.conn);
    const SendResult result = node.out.flush(sink, now, left_);
    if (result == SendResult::gone) disconnect(node, Ended::connection, now);
    if (node.bulk.conn != 0) {
        NodeSink bulk(transport_, node.bulk.conn);
        node.bulk.out.narrow(bulk_is_beside(node, now));
        if (node.bulk.out.flush(bulk, now, left_) == SendResult::gone)
            lose_bulk(node, Ended::connection, now);
    }
    if (node.out.blocked() || node.bulk.out.blocked()) blocked_.insert(node.id);
    if (!left_.empty()) credit_back(left_, now);
}

}  // namespace vflbus::bus
