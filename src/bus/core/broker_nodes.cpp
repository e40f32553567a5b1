// Who is connected, under which name, and who has fallen silent: docs/protocol.md, section 4.

#include "base/assert.hpp"
#include "base/planted.hpp"
#include "base/quotes.hpp"
#include "base/text.hpp"
#include "bus/core/broker_state.hpp"

namespace vflbus::bus {
namespace {

std::string taken(const std::string& name) {
    return name +
           " is already connected as another process; stop that one, or give this one another "
           "--rank or --name";
}

}  // namespace

void BrokerCore::on_hello(ConnId from, const Node* known, const Header& header, const Payload& body,
                          TimePoint now) {
    auto decoded = decode_hello(body.bytes());
    if (!decoded) {
        return refuse_hello(from, Errc::malformed_frame, decoded.error().sentence);
    }
    Hello hello = std::move(*decoded);
    const NodeId id = node_id_of(hello.name);
    const auto key = transport_.identity_of(from);
    std::string whose = who(key.get(), from);
    if (held_off(from, whose, now) || !admit(from, hello, key.get(), now)) return;
    if (const auto unknown = first_not_understood(hello.extensions, config_.understood))
        return refuse_hello(from, Errc::unsupported_version,
                            not_understood("HELLO of " + hello.name, *unknown, "this broker"));
    if (known != nullptr && known->id != id)
        return refuse_hello(
            from, Errc::wrong_source,
            "this connection is " + known->hello.name + " and cannot become " + hello.name);
    const auto found = nodes_.find(id);
    if (found == nodes_.end()) {
        if (nodes_.size() >= config_.limits.nodes)
            return refuse_hello(
                from, Errc::too_many,
                "this broker serves " + std::to_string(config_.limits.nodes) + " nodes already");
        if (!may_have_node(key.get()))
            return refuse_hello(from, Errc::too_many,
                                "the key of " + key->name +
                                    " has many nodes here, and what is free is kept for others");
        return accept(from, std::move(hello), header.request, key, now);
    }
    Node& node = *found->second;
    if (node.hello.name != hello.name)
        return refuse_hello(from, Errc::name_taken,
                            "the name " + hello.name + " has the same node id as " +
                                node.hello.name + "; choose another");
    if (node.hello.instance == hello.instance)
        return accept(from, std::move(hello), header.request, key, now);

    if (hello.incarnation < node.hello.incarnation && !VFLBUS_PLANTED(stale_incarnation))
        return refuse_hello(from, Errc::stale_incarnation,
                            "a younger process is known as " + hello.name);
    // taken for the process that was there, it would be asked for what that one knew
    if (hello.incarnation == node.hello.incarnation)
        return refuse_hello(from, Errc::name_taken, taken(hello.name));
    const bool gone = node.conn == 0 || now - node.last_heard > config_.timings.suspect;
    if (gone && node.probe && node.probe->hello.instance != hello.instance) {
        // whoever waits for the name has it, and is asked for it in turn where it is the older one
        settle_probe(node, false, now);
        return on_hello(from, known, header, body, now);
    }
    if (gone) return accept(from, std::move(hello), header.request, key, now);
    if (Connection* const connection = connections_.find(from)) connection->waits_for = id;
    await_name(node,
               Probe{from, std::move(hello), header.request, 0, now, {}, key, std::move(whose)},
               now);
}

/// A newcomer waits for a name until the process that has it has shown whether it lives.
void BrokerCore::await_name(Node& node, Probe probe, TimePoint now) {
    if (!node.probe) return ask_for_life(node, std::move(probe), now);
    // the same newcomer repeats itself; a third one has to wait for its turn
    Probe& waiting = *node.probe;
    if (waiting.hello.instance != probe.hello.instance) {
        if (probe.hello.incarnation <= waiting.hello.incarnation)
            return refuse_hello(probe.conn, Errc::name_taken, taken(probe.hello.name));
        // a process that was restarted twice within a second: the younger one waits instead
        refuse_hello(waiting.conn, Errc::superseded,
                     "a younger process asks for the name " + probe.hello.name);
        waiting.hello = std::move(probe.hello);
    }
    waiting.conn = probe.conn;  // its connection may have broken meanwhile
    waiting.hello_number = probe.hello_number;
    waiting.key = std::move(probe.key);
    waiting.whose = std::move(probe.whose);
}

/// A connection that is dead already answers by being gone. The PING counts like any other frame:
/// else two processes that ask for one name again and again would fill the pipe of a third.
void BrokerCore::ask_for_life(Node& node, Probe probe, TimePoint now) {
    Header ping;
    ping.kind = Kind::ping;
    ping.request = probe.number = ++probes_;
    probe.deadline = now + config_.timings.name_probe;
    const Posted posted = post(node, {make_frame(ping, Bytes{})}, now);
    if (posted == Posted::gone || posted == Posted::over) {
        disconnect(node, Ended::connection, now);
        return accept_waiting(std::move(probe), now);
    }
    node.probe = std::move(probe);
}

/// Whether a connection is that of a newcomer which waits for its name.
bool BrokerCore::waits_for_name(const Connection& connection, ConnId conn) const {
    const auto node = nodes_.find(connection.waits_for);
    return node != nodes_.end() && node->second->probe && node->second->probe->conn == conn;
}

void BrokerCore::refuse_hello(ConnId from, Errc code, const std::string& sentence) {
    count_refused(code);
    if (code == Errc::malformed_frame || code == Errc::wrong_source) note_breach();
    Connection* const connection = connections_.find(from);
    if (connection != nullptr && !connection->answers.take(1, now_)) return;
    Header answer;
    answer.kind = Kind::error;
    answer.aux = static_cast<std::uint64_t>(code);
    send_raw(from, answer, encode_sentence(sentence));
}

void BrokerCore::settle_probe(Node& node, bool old_one_lives, TimePoint now) {
    Probe probe = std::move(*node.probe);
    node.probe.reset();
    if (old_one_lives) return refuse_hello(probe.conn, Errc::name_taken, taken(probe.hello.name));
    accept_waiting(std::move(probe), now);
}

/// A newcomer that has waited has the name now, unless its key was revoked, has expired or was cut
/// meanwhile.
void BrokerCore::accept_waiting(Probe probe, TimePoint now) {
    if (held_off(probe.conn, probe.whose, now) ||
        !admit(probe.conn, probe.hello, probe.key.get(), now))
        return;
    accept(probe.conn, std::move(probe.hello), probe.hello_number, std::move(probe.key), now);
}

void BrokerCore::accept(ConnId from, Hello hello, std::uint64_t hello_number,
                        std::shared_ptr<const Identity> key, TimePoint now) {
    const NodeId id = node_id_of(hello.name);
    // a newcomer that waited for this name may have said HELLO under another one meanwhile, or was
    // cut
    const Connection* const connection = connections_.find(from);
    if (connection != nullptr && connection->cut) return;
    if (connection != nullptr && connection->node != nullptr &&
        (connection->node->id != id || connection->lane != Lane::main))
        return;
    auto& slot = nodes_[id];
    // what a HELLO makes the broker tell others is paid for; who says it too often says it again
    if (!pays(id, slot == nullptr ? 1 : 1 + runs_.runs_of(id).size(), now)) {
        if (slot == nullptr) nodes_.erase(id);
        return;
    }
    const bool known = slot != nullptr;
    if (!known) {
        slot = std::make_unique<Node>(id, config_.limits, tokens_, pings_of_node(config_.timings),
                                      now);
        slot->first_seen = now;
    }
    Node& node = *slot;
    const bool same_process = known && node.hello.instance == hello.instance;
    if (known && !same_process) take_over(node, now);
    auto probe = std::exchange(node.probe, std::nullopt);
    if (probe && probe->hello.instance == hello.instance) probe.reset();  // it waits no longer
    // (the HELLO of the one that was asked may have been on its way when it ended)
    if (probe && (!same_process || now - probe->asked > config_.timings.suspect)) {
        refuse_hello(probe->conn, Errc::name_taken, taken(hello.name));
        probe.reset();
    }
    const ConnId before = node.conn;
    connect(node, from, std::move(key), now);
    if (known && !same_process && before != 0 && before != from) {
        Header bye;
        bye.kind = Kind::bye;
        bye.aux = static_cast<std::uint64_t>(Errc::superseded);
        send_raw(before, bye,
                 encode_sentence("a younger process has taken over the name " + hello.name));
    }
    begin_session(node, std::move(hello), from, now);
    log("node up name=" + node.hello.name + " role=" + pair_value(node.hello.role) +
        " version=" + pair_value(node.hello.version) + key_text(node.key.get()) +
        (same_process ? " again=true" : ""));
    welcome(node, hello_number, now);
    if (!probe) return;
    if (node.conn != 0) return ask_for_life(node, std::move(*probe), now);
    accept_waiting(std::move(*probe), now);
}

/// Another process has the name now: the peers of the old process hear at once that it is gone.
void BrokerCore::take_over(Node& node, TimePoint now) {
    const bool was_lost = node.state == Node::State::lost;
    node.state = Node::State::up;   // not to be forgotten with them
    end_runs_of(node, false, now);  // those that cannot go on without the process that drove them
    for (const RunId& run_id : runs_.runs_of(node.id))
        if (Run& run = runs_.at(run_id); !was_lost && run.takes_part(node.id))
            announce_down(run, node, Errc::superseded, Duration{}, now);
    asked_.erase(asked_.lower_bound({node.id, 0}), asked_.upper_bound({node.id, UINT64_MAX}));
}

/// The connection belongs to the node from now on; frames that waited on its last one are dropped.
void BrokerCore::connect(Node& node, ConnId from, std::shared_ptr<const Identity> key,
                         TimePoint now) {
    // what an earlier session has sent on this very connection may still be on its way
    if (node.conn == from) {
        node.out.begin_session(left_);
    } else {
        release(node, Lane::main, Ended::session, now);
        claim(node, Lane::main, from, now);
    }
    set_key(node, std::move(key));
    ++generation_;
    credit_back(left_, now);
    node.in.reset();
    detach_bulk(node, Ended::session, now);
}

/// The connection is this node's from now on, with what is under way on it.
void BrokerCore::claim(Node& node, Lane lane, ConnId from, TimePoint now) {
    std::unique_ptr<UnderWay> under_way = connections_.claim(from, node, lane, now);
    HopSender& out = node.out_of(lane);
    if (under_way != nullptr)
        out.take_connection(std::move(*under_way), left_);
    else
        out.reset(left_);
    node.conn_of(lane) = from;
}

/// The connection does not belong to the node any more. Waiting frames are dropped. When only the
/// session has ended, bytes under way stay counted for the connection: a node that reads nothing
/// would otherwise get another window with each BYE.
void BrokerCore::release(Node& node, Lane lane, Ended what, TimePoint now) {
    const ConnId conn = std::exchange(node.conn_of(lane), 0);
    HopSender& out = node.out_of(lane);
    if (what == Ended::connection) connections_.forget(conn);
    if (connections_.find(conn) == nullptr) return out.reset(left_);
    if (!connections_.release(conn, out.leave_connection(left_), now)) transport_.close(conn);
}

void BrokerCore::begin_session(Node& node, Hello hello, ConnId from, TimePoint now) {
    node.hello = std::move(hello);
    node.conn = from;
    node.session = next_session_++;
    ++node.sessions;
    node.unsaid.clear();
    node.state = Node::State::up;
    node.left = false;
    node.gone_at = {};
    node.last_heard = now;
    node.progress = 0;
    node.busy = false;
    node.progress_since = now;
    node.beat_at = now;
    node.drained_since = now;
    node.stall = Node::Stall::none;
    node.slow = false;
    // it takes part again once it has said so in this session
    for (const RunId& run_id : runs_.runs_of(node.id)) {
        Run& run = runs_.at(run_id);
        if (run.owner == node.id) {
            run.owner_here = false;
            run.owner_lost_at = now;
        } else if (Member* member = run.find(node.id)) {
            member->joined = false;
        }
    }
    waiting_.begin_session(node.id);
}

/// WELCOME, and OPEN of every run that the node is named in.
void BrokerCore::welcome(Node& node, std::uint64_t hello_number, TimePoint now) {
    Header header;
    header.request = hello_number;
    header.aux = node.session;
    const Timings& t = config_.timings;
    Extensions extensions = config_.welcome_extensions;
    if (config_.tells_clock) extensions[extension_clock] = encode_clock(wall_ms(now));
    send_control(
        node, Kind::welcome, header,
        encode(Welcome{config_.version, to_ms(t.heartbeat), to_ms(t.suspect), to_ms(t.lost),
                       config_.limits.frame, config_.limits.message, std::move(extensions)}),
        now);
    invite(node);
    note(node);
    for (const RunId& run_id : runs_.runs_of(node.id)) {
        const Run& run = runs_.at(run_id);
        if (run.owner != node.id && may_invite(node, run, now)) (void)send_open(node, run, now);
    }
}

/// A node that serves apps takes part in every run that is open to all.
void BrokerCore::invite(Node& node) {
    if (!lists(node.hello, feature_apps)) return;
    for (const auto& [id, run] : runs_.all())
        if (run->open_to_all && run->owner != node.id)
            runs_.add_member(*run, node.id, {node.hello.name, node.hello.role, node.hello.rank});
}

/// The node is gone: it leaves the open runs, whose members are the nodes that are connected.
bool BrokerCore::leave_open_runs(Node& node) {
    std::vector<RunId> left;
    for (const RunId& id : runs_.runs_of(node.id))
        if (const Run& run = runs_.at(id); run.open_to_all && run.owner != node.id)
            left.push_back(id);
    for (const RunId& id : left) runs_.remove_member(runs_.at(id), node.id);
    if (!left.empty()) ++generation_;
    return !left.empty();
}

void BrokerCore::on_disconnected(ConnId conn, TimePoint clock) {
    const Connection* const connection = connections_.find(conn);
    if (connection == nullptr) return;
    Node* const node = connection->node;
    if (node == nullptr) return connections_.forget(conn);
    if (connection->lane == Lane::bulk) return lose_bulk(*node, Ended::connection, awake(clock));
    disconnect(*node, Ended::connection, awake(clock));
}

void BrokerCore::disconnect(Node& node, Ended what, TimePoint now) {
    if (node.gone_at == TimePoint{}) node.gone_at = now;
    release(node, Lane::main, what, now);
    ++generation_;
    credit_back(left_, now);
    detach_bulk(node, Ended::session, now);
    if (node.probe) settle_probe(node, false, now);
}

void BrokerCore::heard(Node& node, TimePoint now) {
    node.last_heard = now;
    if (node.probe) {
        // what a process had sent before it ended may be read after the HELLO of the next one; so
        // only the answer to the PING is a sign of life, and everything else a reason to wait
        if (now - node.probe->asked > config_.timings.suspect || VFLBUS_PLANTED(late_word_believed))
            settle_probe(node, true, now);
        else
            node.probe->deadline = now + config_.timings.name_probe;
    }
    if (node.state == Node::State::up) return;
    const bool was_lost = node.state == Node::State::lost;
    node.state = Node::State::up;
    ++generation_;
    log("node back name=" + node.hello.name);
    note(node);
    if (was_lost) invite(node);  // to runs that were opened to all meanwhile
    for (const RunId& id : runs_.runs_of(node.id)) {
        Run& run = runs_.at(id);
        if (run.takes_part(node.id))
            announce_up(run, node, now);
        else if (was_lost && run.open_to_all && run.owner != node.id)
            (void)send_open(node, run, now);
    }
}

void BrokerCore::set_liveness(Node& node, TimePoint now) {
    const Duration silent = now - node.last_heard;
    const Timings& t = config_.timings;
    Node::State state = Node::State::up;
    if (silent > t.lost)
        state = Node::State::lost;
    else if (silent > t.suspect)
        state = Node::State::suspect;
    if (state <= node.state) return;
    node.state = state;
    const bool lost = state == Node::State::lost;
    if (lost) {
        // what waits for it would hold back its senders in all their runs; they send again when it
        // is up
        ++generation_;
        node.out.drop_data(left_);
        node.bulk.out.drop_data(left_);
        credit_back(left_, now);
    }
    log(std::string(lost ? "node lost name=" : "node suspect name=") + node.hello.name +
        " silent_ms=" + std::to_string(to_ms(silent)));
    note(node);
    for (const RunId& id : runs_.runs_of(node.id)) {
        Run& run = runs_.at(id);
        if (lost && run.owner == node.id) run.owner_lost_at = now;
        if (lost) {
            announce_down(run, node, node.conn == 0 ? Errc::unreachable : Errc::peer_lost, silent,
                          now);
        }
    }
    if (!lost)
        announce_suspect(node, node.conn == 0 ? Errc::unreachable : Errc::peer_lost, silent, now);
}

/// PING and PONG say whether a handler of the node is at work, and a number that changes when it
/// makes progress.
void BrokerCore::note_progress(Node& node, const Header& beat, TimePoint now) {
    const bool busy = (beat.flags & flag::busy) != 0;
    node.beat_at = now;
    if (busy && node.busy && (beat.aux == node.progress || VFLBUS_PLANTED(progress_ignored)))
        return;
    node.busy = busy;
    node.progress = beat.aux;
    node.progress_since = now;
    const auto stall = std::exchange(node.stall, Node::Stall::none);
    if (stall == Node::Stall::none) return;
    log("node gets on name=" + node.hello.name);
    if (stall != Node::Stall::down || node.state != Node::State::up) return;
    for (const RunId& id : runs_.runs_of(node.id)) {
        Run& run = runs_.at(id);
        if (run.takes_part(node.id)) announce_up(run, node, now);
    }
}

/// A node that is alive and busy and makes no progress is suspected once; after the same time again
/// its runs are told that it is down. Runs that it owns are closed: nobody else would end them.
void BrokerCore::set_stall(Node& node, TimePoint now) {
    if (!node.busy || node.conn == 0 || node.state != Node::State::up) return;
    // measured between beats: whether a silent node makes progress is not known
    const Duration stuck = node.beat_at - node.progress_since;
    const Duration patience = config_.timings.progress_stall;
    if (VFLBUS_PLANTED(stall_not_noticed)) return;
    if (node.stall == Node::Stall::none && stuck > patience) {
        node.stall = Node::Stall::told;
        log("node stalled name=" + node.hello.name + " busy_ms=" + std::to_string(to_ms(stuck)));
        return announce_suspect(node, Errc::stalled, stuck, now);
    }
    if (node.stall != Node::Stall::told || stuck <= 2 * patience) return;
    node.stall = Node::Stall::down;
    log("node stalled for too long name=" + node.hello.name +
        " busy_ms=" + std::to_string(to_ms(stuck)));
    const std::set<RunId> ids = runs_.runs_of(node.id);
    for (const RunId& id : ids) {
        Run* const run = runs_.find(id);
        if (run == nullptr) continue;  // ended with one of the others
        if (run->owner != node.id) {
            announce_down(*run, node, Errc::stalled, stuck, now);
            continue;
        }
        end_run(*run,
                {Errc::stalled,
                 run->owner_name + ", which drives run " + id.short_hex() +
                     ", is alive but has not got on for " +
                     human_seconds(std::chrono::duration<double>(stuck).count()) +
                     (run->needs_owner ? "; start it again for a new run"
                                       : "; whoever owns the run can go on with --resume")},
                broker_node, now);
    }
}

/// A node is slow when bytes wait for it and it has read none for a while.
void BrokerCore::set_slow(Node& node, TimePoint now) {
    const std::uint64_t drained = node.consumed_bytes();
    if (node.queued_bytes() == 0 || drained != node.drained || node.conn == 0) {
        if (std::exchange(node.slow, false)) log("node takes data again name=" + node.hello.name);
        node.drained = drained;
        node.drained_since = now;
        return;
    }
    const Duration since = now - node.drained_since;
    if (node.slow || since <= config_.timings.slow_peer) return;
    node.slow = true;
    log("node slow name=" + node.hello.name +
        " queued_bytes=" + std::to_string(node.queued_bytes()));
    announce_suspect(node, Errc::timed_out, since, now);
}

/// A node that is lost and named in no run is forgotten.
void BrokerCore::forget_if_idle(NodeId id) {
    const auto found = nodes_.find(id);
    if (found == nodes_.end() || found->second->state != Node::State::lost) return;
    // it has missed what happened in them: if it comes back, it says HELLO again and is told
    if (leave_open_runs(*found->second) && found->second->conn != 0) {
        disconnect(*found->second, Ended::session, found->second->last_heard);
        if (found->second->conn != 0) return;  // a probe was settled in its favor
    }
    if (!runs_.runs_of(id).empty()) return;
    if (found->second->conn != 0)
        disconnect(*found->second, Ended::session, found->second->last_heard);
    if (nodes_.count(id) == 0 || nodes_.at(id)->conn != 0)
        return;  // a probe was settled in its favor
    detach_bulk(*nodes_.at(id), Ended::session, nodes_.at(id)->last_heard);
    ++generation_;
    set_key(*nodes_.at(id), nullptr);
    nodes_.erase(id);
}

}  // namespace vflbus::bus
