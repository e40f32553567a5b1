#include "bus/core/broker_core.hpp"

#include <algorithm>
#include <utility>

#include "base/planted.hpp"
#include "bus/core/broker_state.hpp"

namespace vflbus::bus {

BrokerCore::BrokerCore(BrokerConfig config, BrokerTransport& transport, TimePoint now)
    : config_(std::move(config)),
      transport_(transport),
      tokens_(config_.secret),
      rights_(config_.access),
      runs_(config_.limits),
      refusals_told_(refusal_lines, now),
      waiting_(noted_runs_max),
      started_(now),
      last_tick_(now),
      now_(now),
      looked_around_(now) {
    conduct_.restore(config_.conduct, now);
}

BrokerCore::~BrokerCore() = default;

void BrokerCore::log(const std::string& line) const {
    if (config_.log) config_.log(line);
}

// -- arrival -------------------------------------------------------------------

void BrokerCore::on_frame(ConnId from, Frame& frame, std::size_t frames, TimePoint clock) {
    const TimePoint now = awake(clock);
    ++counters_.frames_in;
    Header header;
    const HeaderFault fault =
        frames > frames_max ? HeaderFault::stranger : decode(frame.header.bytes(), header);
    if (fault == HeaderFault::stranger) {
        ++counters_.strangers;
        if (connections_.sender_of(from, false, now)) settle_breach(from, now);
        return;
    }
    const auto sender =
        connections_.sender_of(from, fault == HeaderFault::none && header.kind == Kind::hello, now);
    if (!sender) {
        ++counters_.strangers;
        return;
    }
    on_known_frame(from, *sender, fault, header, frame, now);
    if (breached_) settle_breach(from, now);
}

/// A frame with our magic, from a connection that is known.
void BrokerCore::on_known_frame(ConnId from, const SessionTable::Sender& sender, HeaderFault fault,
                                const Header& header, Frame& frame, TimePoint now) {
    const std::size_t body_bytes = frame.body.size();
    Node* const node = sender.node;
    if (fault == HeaderFault::other_version)
        return refuse_hello(from, Errc::unsupported_version,
                            "this broker speaks protocol version " + std::to_string(wire_version) +
                                "; use the same vflbus version on all parties");
    const bool may_be_bulk =
        node == nullptr || (sender.lane == Lane::bulk && node->id == header.src);
    if (header.kind == Kind::bulk && may_be_bulk && valid(header, body_bytes))
        return on_bulk(from, header, now);
    if (header.kind == Kind::hello && sender.lane == Lane::main) {
        if (valid(header, body_bytes)) {
            on_hello(from, node, header, frame.body, now);
        } else {
            ++counters_.strangers;
            note_breach();
        }
        if (!sender.crowded) return;
        const Connection* const still = connections_.find(from);
        if (still != nullptr && still->node == nullptr && !waits_for_name(*still, from))
            connections_.forget(from);
        return;
    }
    if (node == nullptr) return on_frame_of_stranger(from, header, header_bytes + body_bytes, now);
    on_frame_of_node(*node, sender.lane, header, frame, now);
}

void BrokerCore::count_refused(Errc code) {
    ++counters_.refused;
    ++refused_[code];
}

void BrokerCore::on_frame_of_stranger(ConnId from, const Header& header, std::size_t bytes,
                                      TimePoint now) {
    Connection& connection = *connections_.find(from);
    if (!may_say_nothing(from, bytes, now)) return note_breach();
    if (header.kind == Kind::window && connection.under_way != nullptr) {
        // it was a node's, and will be one's again: what it has read meanwhile counts
        if (!connection.under_way->consumed(header.aux, now)) count_refused(Errc::malformed_frame);
        return;
    }
    count_refused(Errc::not_registered);
    if (header.kind == Kind::bye || header.kind == Kind::error) return;
    // one that sends and never reads must not fill the memory of the transport with answers
    if (!connection.answers.take(1, now)) return;
    Header answer;
    answer.kind = Kind::error;
    answer.aux = static_cast<std::uint64_t>(Errc::not_registered);
    send_raw(from, answer, encode_sentence("say HELLO first"));
}

void BrokerCore::on_frame_of_node(Node& node, Lane lane, const Header& header, Frame& frame,
                                  TimePoint now) {
    const std::size_t bytes = frame.size();
    node.in_of(lane).received(bytes);
    // the last word of a process is no sign that it lives: a newcomer that waits for its name gets
    // it
    const bool leaves = header.kind == Kind::bye && header.src == node.id && lane == Lane::main;
    if (!leaves || !node.probe) heard(node, now);
    if (!valid(header, frame.body.size()))
        return send_error(node, header, Errc::malformed_frame,
                          "the frame does not obey the rules of its kind", now);
    if (header.src != node.id)
        return send_error(
            node, header, Errc::wrong_source,
            "this connection is " + node.hello.name + " and cannot send for another node", now);
    if (lane == Lane::bulk) return on_bulk_frame(node, header, frame, bytes, now);
    if (is_data(header.kind)) return route(node, Lane::main, header, frame, bytes, now);
    on_control(node, header, frame.body, now);
}

void BrokerCore::on_control(Node& node, const Header& header, Payload& body, TimePoint now) {
    switch (header.kind) {
        case Kind::ping:
            return on_ping(node, header, now);
        case Kind::pong:
            if (node.probe && header.request == node.probe->number) settle_probe(node, true, now);
            return note_progress(node, header, now);
        case Kind::mark:
            node.in.marked(header.aux);
            return report_consumed(node, Lane::main, now);
        case Kind::window:
            if (!node.out.consumed(header.aux, now)) count_refused(Errc::malformed_frame);
            if (node.out.waiting()) flush(node, now);
            return;
        case Kind::bye:
            return on_bye(node, header, now);
        case Kind::open:
            return on_open(node, header, body, now);
        case Kind::join:
            return on_join(node, header, body, now);
        case Kind::close:
            return on_close(node, header, body, now);
        case Kind::credit:
            return route_credit(node, header, now);
        case Kind::query:
            if (!asks_too_often(node, header, now)) on_query(node, header, body, now);
            return;
        case Kind::answer:
            return on_answer(node, header, body, now);
        case Kind::error:
            return;  // an ERROR is never answered with an ERROR
        default:
            return send_error(node, header, Errc::malformed_frame,
                              std::string(name_of(header.kind)) + " is not for the broker", now);
    }
}

void BrokerCore::on_ping(Node& node, const Header& header, TimePoint now) {
    if (!node.pings.take(1, now)) return note_breach();
    note_progress(node, header, now);
    Header pong;
    pong.request = header.request;
    send_control(node, Kind::pong, pong, {}, now);
}

void BrokerCore::on_bye(Node& node, const Header& header, TimePoint now) {
    log("node left name=" + node.hello.name);
    leave(node, header.aux <= 0xffff ? static_cast<Errc>(header.aux) : Errc::peer_lost, now);
}

/// Ends the session of a node for good, and tells its peers why.
void BrokerCore::leave(Node& node, Errc code, TimePoint now) {
    const NodeId id = node.id;
    node.left = true;
    disconnect(node, Ended::session, now);
    // unless a newcomer that waited for the name has it now
    if (node.conn == 0) node.state = Node::State::lost;
    for (const RunId& run_id : runs_.runs_of(id)) {
        Run& run = runs_.at(run_id);
        announce_down(run, node, code, Duration{}, now);
        if (run.owner == node.id) run.owner_lost_at = now;
    }
    if (node.conn == 0) note(node);
    end_runs_of(node, false, now);
    forget_if_idle(id);
}

// -- time ----------------------------------------------------------------------

/// The clock without the time that the loop has slept: when the whole machine was paused, so was
/// the broker, and no node was silent for that time. All times in this class are of this clock.
TimePoint BrokerCore::awake(TimePoint clock) {
    constexpr std::size_t pauses_max = 64;
    const Duration check = config_.timings.check;
    const Duration late = clock - slept_ - last_tick_ - check;
    if (late > check && !VFLBUS_PLANTED(lag_ignored)) {
        slept_ += late;
        pauses_.push_back({clock - slept_, slept_});
        if (pauses_.size() > pauses_max) {
            slept_before_pauses_ = pauses_.front().slept;
            pauses_.pop_front();
        }
    }
    return now_ = clock - slept_;
}

void BrokerCore::on_tick(TimePoint clock) {
    const TimePoint now = awake(clock);
    last_tick_ = now;
    // connections that took no more are tried again every few milliseconds; the other nodes, of
    // which there may be thousands, are none of that
    std::set<NodeId> blocked;
    blocked.swap(blocked_);
    for (const NodeId id : blocked) {
        const auto found = nodes_.find(id);
        if (found == nodes_.end()) continue;
        if (found->second->conn == 0)
            drop_what_waits(*found->second, now);
        else
            flush(*found->second, now);
    }
    if (now - looked_around_ < config_.timings.check) return;
    looked_around_ = now;
    look_around(now);
}

/// A connection that was found to be gone while frames were sent.
void BrokerCore::drop_what_waits(Node& node, TimePoint now) {
    if (node.conn == 0 && (node.out.waiting() || node.probe || node.bulk.conn != 0))
        disconnect(node, Ended::connection, now);
}

/// Looks at all nodes, runs and questions: which are overdue, and which wait in vain.
void BrokerCore::look_around(TimePoint now) {
    const Timings& t = config_.timings;
    end_revoked(now);
    std::vector<NodeId> ids;
    ids.reserve(nodes_.size());
    for (const auto& [id, node] : nodes_) ids.push_back(id);
    for (const NodeId id : ids) {
        const auto found = nodes_.find(id);
        if (found == nodes_.end()) continue;
        Node& node = *found->second;
        drop_what_waits(node, now);
        if (node.probe && now >= node.probe->deadline) settle_probe(node, false, now);
        // its node has given it up perhaps, and nobody has told: what goes there is lost
        if (node.bulk.conn != 0 && now - node.bulk.heard > t.lost)
            lose_bulk(node, Ended::session, now);
        set_liveness(node, now);
        set_stall(node, now);
        set_slow(node, now);
        if ((node.out.waiting() || node.bulk.out.waiting()) && node.conn != 0) flush(node, now);
        if (!node.unsaid.empty() && node.out.queued_controls() == 0) tell_unsaid(node, now);
        const bool owner_gone =
            node.state == Node::State::lost || (node.conn == 0 && node.gone_at != TimePoint{} &&
                                                now - node.gone_at >= t.reconnect_grace);
        if (owner_gone && !runs_.runs_of(id).empty()) end_runs_of(node, true, now);
        forget_if_idle(id);
    }
    close_orphans(now);
    give_up_waiting(now);
    std::erase_if(asked_, [&](const auto& entry) { return now >= entry.second.until; });
    if (now - sizes_noted_ >= std::chrono::seconds(10)) note_sizes(now);
    std::erase_if(spent_, [&](auto& entry) { return entry.second.full(now); });
    for (auto* const lately : {&asking_, &noting_})
        std::erase_if(*lately, [&](auto& entry) { return entry.second.full(now); });
    conduct_.forget(now);
    for (const ConnId conn : connections_.forget_strangers(now, t.without_hello))
        transport_.close(conn);
}

void BrokerCore::close_orphans(TimePoint now) {
    const Timings& t = config_.timings;
    std::vector<RunId> orphans;
    for (const auto& [id, run] : runs_.all()) {
        const auto owner = nodes_.find(run->owner);
        // one that is back, but with nothing to say of this run, does not keep it either
        const bool lost = owner == nodes_.end() || owner->second->state == Node::State::lost ||
                          (!run->owner_here && !VFLBUS_PLANTED(orphan_kept));
        if (lost && now - run->owner_lost_at > t.rejoin_grace) orphans.push_back(id);
    }
    for (const RunId& id : orphans) {
        Run* const run = runs_.find(id);
        if (run == nullptr) continue;  // ended with one of the others
        end_run(*run,
                {Errc::owner_lost, run->owner_name + ", which drove run " + id.short_hex() +
                                       ", is gone; whoever owns the run can go on with --resume"},
                broker_node, now);
    }
}

TimePoint BrokerCore::next_deadline() const {
    const TimePoint all = looked_around_ + config_.timings.check;
    const TimePoint blocked = last_tick_ + std::chrono::milliseconds(2);
    return slept_ + (blocked_.empty() ? all : std::min(all, blocked));
}

void BrokerCore::shutdown(std::string_view sentence) {
    for (const auto& [id, node] : nodes_) {
        if (node->conn == 0) continue;
        Header bye;
        bye.kind = Kind::bye;
        // (at once: what waits is of no use any more)
        Frame frame = make_frame(bye, encode_sentence(sentence));
        (void)transport_.send(node->conn, frame);
    }
}

std::uint64_t BrokerCore::queued_bytes() const noexcept {
    std::uint64_t total = 0;
    for (const auto& [id, node] : nodes_) total += node->queued_bytes();
    return total;
}

std::size_t BrokerCore::queued_controls() const noexcept {
    std::size_t total = 0;
    for (const auto& [id, node] : nodes_)
        total += node->out.queued_controls() + node->bulk.out.queued_controls();
    return total;
}

}  // namespace vflbus::bus
