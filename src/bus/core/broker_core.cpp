#include "bus/core/broker_core.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "base/text.hpp"

namespace vflbus::bus {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

std::uint64_t to_ms(Duration d) {
    return static_cast<std::uint64_t>(
        std::max<std::int64_t>(0, duration_cast<milliseconds>(d).count()));
}

Frame make_frame(const Header& header, Bytes body) {
    struct HeaderHolder {
        std::vector<std::uint8_t> bytes;
        [[nodiscard]] const std::uint8_t* data() const noexcept { return bytes.data(); }
        [[nodiscard]] std::size_t size() const noexcept { return bytes.size(); }
    };
    const HeaderBytes encoded = encode(header);
    Frame frame;
    frame.header = Payload::hold(HeaderHolder{{encoded.begin(), encoded.end()}});
    if (!body.empty()) frame.body = Payload::hold(std::move(body));
    return frame;
}

}  // namespace

struct BrokerCore::Connection {
    Node* node = nullptr;  ///< null: anonymous
    TimePoint since{};
};

struct BrokerCore::Node {
    enum class State : std::uint8_t { up, suspect, lost };

    NodeId id;
    Hello hello;
    ConnId conn = 0;  ///< 0: not connected
    std::uint64_t session = 0;
    State state = State::up;
    TimePoint last_heard{};
    HopSender out;
    HopReceiver in;
    std::set<RunId> runs;  ///< that it owns or is named in

    /// Another process that claims this name, while the one that has it is asked for a sign of
    /// life.
    struct Probe {
        ConnId conn = 0;
        Hello hello;
        std::uint64_t hello_number = 0;
        TimePoint deadline{};
    };
    std::optional<Probe> probe;

    /// Where its last frame went.
    struct Route {
        RunId run;
        std::uint32_t term = 0;
        NodeId dst;
        std::uint64_t generation = 0;
        Node* target = nullptr;
    } route;
};

struct BrokerCore::Member {
    Participant participant;
    NodeId id;
    bool joined = false;
    Bytes join;  ///< the JOIN body, for an owner that comes back
};

struct BrokerCore::Run {
    RunId id;
    std::uint32_t term = 0;
    NodeId owner;
    std::string owner_name;
    bool owner_here = false;  ///< it has sent OPEN in its present session
    TimePoint owner_lost_at{};
    Bytes open;
    std::vector<Member> members;  ///< ascending by node id

    Member* find(NodeId node) {
        const auto at =
            std::lower_bound(members.begin(), members.end(), node,
                             [](const Member& m, NodeId value) { return m.id < value; });
        return at != members.end() && at->id == node ? &*at : nullptr;
    }
    bool takes_part(NodeId node) {
        if (node == owner) return owner_here;
        const Member* member = find(node);
        return member != nullptr && member->joined;
    }
};

struct BrokerCore::NodeSink final : FrameSink {
    NodeSink(BrokerTransport& transport, ConnId conn) : transport_(transport), conn_(conn) {}
    SendResult send(Frame& frame) override { return transport_.send(conn_, frame); }
    BrokerTransport& transport_;
    ConnId conn_;
};

BrokerCore::BrokerCore(BrokerConfig config, BrokerTransport& transport, TimePoint now)
    : config_(std::move(config)), transport_(transport), started_(now), last_tick_(now) {}

BrokerCore::~BrokerCore() = default;

void BrokerCore::log(const std::string& line) const {
    if (config_.log) config_.log(line);
}

// -- arrival -------------------------------------------------------------------

void BrokerCore::on_frame(ConnId from, Frame& frame, std::size_t frames, TimePoint now) {
    ++counters_.frames_in;
    Header header;
    const std::span<const std::uint8_t> head = frame.header.bytes();
    Payload& body = frame.body;
    const std::size_t body_bytes = body.size();
    const HeaderFault fault = frames > frames_max ? HeaderFault::stranger : decode(head, header);
    if (fault == HeaderFault::stranger) {
        ++counters_.strangers;
        return;
    }

    Node* node = nullptr;
    bool crowded = false;
    if (from == last_conn_ && last_node_ != nullptr) {
        node = last_node_;
    } else {
        auto found = connections_.find(from);
        if (found == connections_.end()) {
            // those who never say HELLO must not keep out those who do
            const bool full = anonymous_ >= anonymous_connections_max;
            if (full && (fault != HeaderFault::none || header.kind != Kind::hello)) {
                ++counters_.strangers;
                return;
            }
            ++anonymous_;
            crowded = full;
            found = connections_.emplace(from, Connection{nullptr, now}).first;
        }
        node = found->second.node;
        if (node != nullptr) {
            last_conn_ = from;
            last_node_ = node;
        }
    }
    if (fault == HeaderFault::other_version)
        return refuse_hello(from, Errc::unsupported_version,
                            "this broker speaks protocol version " + std::to_string(wire_version) +
                                "; use the same vflbus version on all parties");
    if (header.kind == Kind::hello) {
        if (valid(header, body_bytes))
            on_hello(from, node, header, body, now);
        else
            ++counters_.strangers;
        if (crowded) {
            const auto still = connections_.find(from);
            if (still != connections_.end() && still->second.node == nullptr) {
                connections_.erase(still);
                --anonymous_;
            }
        }
        return;
    }
    if (node == nullptr) {
        ++counters_.refused;
        if (header.kind == Kind::bye || header.kind == Kind::error) return;
        Header answer;
        answer.kind = Kind::error;
        answer.aux = static_cast<std::uint64_t>(Errc::not_registered);
        return send_raw(from, answer, encode_sentence("say HELLO first"));
    }
    // the last word of a process is no sign that it lives: a newcomer that waits for its name gets
    // it
    const bool leaves = header.kind == Kind::bye && header.src == node->id;
    if (!leaves || !node->probe) heard(*node, now);
    if (!valid(header, body_bytes))
        return send_error(*node, header, Errc::malformed_frame,
                          "the frame does not obey the rules of its kind", now);
    if (header.src != node->id)
        return send_error(
            *node, header, Errc::wrong_source,
            "this connection is " + node->hello.name + " and cannot send for another node", now);
    if (is_data(header.kind)) return route(*node, header, frame, head.size() + body_bytes, now);
    on_control(*node, header, body, now);
}

void BrokerCore::on_control(Node& node, const Header& header, Payload& body, TimePoint now) {
    switch (header.kind) {
        case Kind::ping: {
            Header pong;
            pong.request = header.request;
            return send_control(node, Kind::pong, pong, {}, now);
        }
        case Kind::pong:
            return;
        case Kind::window:
            if (!node.out.consumed(header.aux, now))
                return send_error(node, header, Errc::malformed_frame,
                                  "WINDOW reports bytes that were not sent", now);
            if (node.out.waiting()) flush(node, now);
            return;
        case Kind::bye: {
            log("node left name=" + node.hello.name);
            disconnect(node, now);
            // unless a newcomer that waited for the name has it now
            if (node.conn == 0) node.state = Node::State::lost;
            for (const RunId& id : node.runs) {
                Run& run = *runs_.at(id);
                announce_down(run, node, Errc::peer_lost, Duration{}, now);
                if (run.owner == node.id) run.owner_lost_at = now;
            }
            return forget_if_idle(node.id);
        }
        case Kind::open:
            return on_open(node, header, body, now);
        case Kind::join:
            return on_join(node, header, body, now);
        case Kind::close:
            return on_close(node, header, body, now);
        case Kind::credit: {
            Run* run = find_run(header.run);
            Node* target = nullptr;
            if (run != nullptr && run->term == header.term && run->takes_part(node.id) &&
                run->takes_part(header.dst)) {
                const auto found = nodes_.find(header.dst);
                if (found != nodes_.end() && found->second->conn != 0) target = found->second.get();
            }
            if (target == nullptr) return;  // restated by its sender when the peer is up again
            NodeSink sink(transport_, target->conn);
            if (target->out.control(make_frame(header, {}), sink) == SendResult::full)
                retry_flush_ = true;
            return;
        }
        case Kind::error:
            return;  // an ERROR is never answered with an ERROR
        default:
            return send_error(node, header, Errc::malformed_frame,
                              std::string(name_of(header.kind)) + " is not for the broker", now);
    }
}

void BrokerCore::route(Node& node, const Header& header, Frame& frame, std::size_t bytes,
                       TimePoint now) {
    Node::Route& route = node.route;
    if (route.generation != generation_ || route.dst != header.dst || route.term != header.term ||
        route.run != header.run) {
        const auto refuse = [&](Errc code, const std::string& sentence) {
            consume(node, bytes, now);
            send_error(node, header, code, sentence, now);
        };
        Run* run = find_run(header.run);
        if (run == nullptr) {
            const bool may_come = now - started_ < config_.timings.rejoin_grace;
            return refuse(may_come ? Errc::retry : Errc::unknown_run,
                          "run " + header.run.short_hex() + " is not known here");
        }
        if (header.term != run->term)
            return refuse(Errc::stale_term, "run " + run->id.short_hex() + " is in term " +
                                                std::to_string(run->term));
        if (!run->takes_part(node.id))
            return refuse(Errc::not_a_participant,
                          node.hello.name + " has not joined run " + run->id.short_hex());
        const auto target = nodes_.find(header.dst);
        if (!run->takes_part(header.dst) || target == nodes_.end())
            return refuse(Errc::not_a_participant,
                          "the destination takes no part in run " + run->id.short_hex());
        if (target->second->conn == 0 || target->second->state == Node::State::lost)
            return refuse(Errc::unreachable, target->second->hello.name + " is not connected");
        route = {header.run, header.term, header.dst, generation_, target->second.get()};
    }
    Node& target = *route.target;
    ++counters_.frames_routed;
    counters_.bytes_routed += bytes;
    // a destination that is far behind holds back those who send to it, not the broker's memory
    const bool defer = target.out.queued_bytes() > broker_queue_bytes_max;
    NodeSink sink(transport_, target.conn);
    const Origin origin = defer ? Origin{node.id, node.session} : Origin{};
    const SendResult result =
        target.out.data(header.run, std::move(frame), bytes, origin, sink, now);
    if (result == SendResult::gone) {
        consume(node, bytes, now);
        const std::string name = target.hello.name;
        disconnect(target, now);
        return send_error(node, header, Errc::unreachable, name + " is not connected", now);
    }
    if (result == SendResult::full && target.out.blocked()) retry_flush_ = true;
    if (!defer || result == SendResult::ok) consume(node, bytes, now);
}

// -- nodes ---------------------------------------------------------------------

void BrokerCore::on_hello(ConnId from, const Node* known, const Header& header, const Payload& body,
                          TimePoint now) {
    auto decoded = decode_hello(body.bytes());
    if (!decoded) {
        ++counters_.refused;
        return refuse_hello(from, Errc::malformed_frame, decoded.error().sentence);
    }
    Hello hello = std::move(*decoded);
    const NodeId id = node_id_of(hello.name);
    if (known != nullptr && known->id != id)
        return refuse_hello(
            from, Errc::wrong_source,
            "this connection is " + known->hello.name + " and cannot become " + hello.name);
    const auto found = nodes_.find(id);
    if (found == nodes_.end()) {
        if (nodes_.size() >= nodes_max)
            return refuse_hello(
                from, Errc::too_many,
                "this broker serves " + std::to_string(nodes_max) + " nodes already");
        return accept(from, std::move(hello), header.request, now);
    }
    Node& node = *found->second;
    if (node.hello.name != hello.name)
        return refuse_hello(from, Errc::name_taken,
                            "the name " + hello.name + " has the same node id as " +
                                node.hello.name + "; choose another");
    if (node.hello.instance == hello.instance)
        return accept(from, std::move(hello), header.request, now);

    const std::string taken = hello.name +
                              " is already connected as another process; stop that one, or give "
                              "this one another --rank or --name";
    if (hello.incarnation < node.hello.incarnation)
        return refuse_hello(from, Errc::stale_incarnation,
                            "a younger process is known as " + hello.name);
    // the loop may have slept and not ticked since: what the old process said meanwhile is still to
    // be read
    const Duration late = now - last_tick_ - config_.timings.check;
    const Duration patience = config_.timings.suspect + std::max({lag_, late, Duration{}});
    const bool gone = node.conn == 0 || now - node.last_heard > patience;
    if (gone) return accept(from, std::move(hello), header.request, now);
    if (hello.incarnation == node.hello.incarnation)
        return refuse_hello(from, Errc::name_taken, taken);
    if (node.probe) {
        // the same newcomer repeats itself; a third one has to wait for its turn
        Node::Probe& waiting = *node.probe;
        if (waiting.hello.instance != hello.instance) {
            if (hello.incarnation <= waiting.hello.incarnation)
                return refuse_hello(from, Errc::name_taken, taken);
            // a process that was restarted twice within a second: the younger one waits instead
            refuse_hello(waiting.conn, Errc::superseded,
                         "a younger process asks for the name " + hello.name);
            waiting.hello = std::move(hello);
        }
        waiting.conn = from;  // its connection may have broken meanwhile
        waiting.hello_number = header.request;
        return;
    }
    // asked directly: a connection that is dead already answers by being gone
    Header ping;
    ping.kind = Kind::ping;
    Frame frame = make_frame(ping, {});
    if (transport_.send(node.conn, frame) == SendResult::gone) {
        disconnect(node, now);
        return accept(from, std::move(hello), header.request, now);
    }
    node.probe =
        Node::Probe{from, std::move(hello), header.request, now + config_.timings.name_probe};
}

void BrokerCore::refuse_hello(ConnId from, Errc code, const std::string& sentence) {
    ++counters_.refused;
    Header answer;
    answer.kind = Kind::error;
    answer.aux = static_cast<std::uint64_t>(code);
    send_raw(from, answer, encode_sentence(sentence));
}

void BrokerCore::settle_probe(Node& node, bool old_one_lives, TimePoint now) {
    Node::Probe probe = std::move(*node.probe);
    node.probe.reset();
    if (old_one_lives)
        return refuse_hello(
            probe.conn, Errc::name_taken,
            probe.hello.name +
                " is already connected as another process; stop that one, or give this one "
                "another --rank or --name");
    accept(probe.conn, std::move(probe.hello), probe.hello_number, now);
}

void BrokerCore::accept(ConnId from, Hello hello, std::uint64_t hello_number, TimePoint now) {
    const NodeId id = node_id_of(hello.name);
    auto& slot = nodes_[id];
    const bool known = slot != nullptr;
    if (!known) {
        slot = std::make_unique<Node>();
        slot->id = id;
        for (const auto& [run_id, run] : runs_)
            if (run->owner == id || run->find(id) != nullptr) slot->runs.insert(run_id);
    }
    Node& node = *slot;
    const bool same_process = known && node.hello.instance == hello.instance;
    // the question is settled; what waits for it is this process itself, or has lost
    if (const auto probe = std::exchange(node.probe, std::nullopt);
        probe && probe->hello.instance != hello.instance)
        refuse_hello(probe->conn, Errc::name_taken,
                     hello.name +
                         " is already connected as another process; stop that one, or "
                         "give this one another --rank or --name");
    if (known && node.conn != 0 && node.conn != from) {
        if (!same_process) {
            Header bye;
            bye.kind = Kind::bye;
            bye.aux = static_cast<std::uint64_t>(Errc::superseded);
            send_raw(node.conn, bye,
                     encode_sentence("a younger process has taken over the name " + hello.name));
        }
        connections_.erase(node.conn);
    }
    if (node.conn != from) {
        const auto connection = connections_.find(from);
        if (connection != connections_.end() && connection->second.node == nullptr &&
            anonymous_ > 0)
            --anonymous_;
        connections_[from] = Connection{&node, now};
    }
    last_conn_ = 0;
    last_node_ = nullptr;
    ++generation_;
    node.out.reset(left_);
    credit_back(left_, now);
    node.in.reset();
    node.hello = std::move(hello);
    node.conn = from;
    node.session = next_session_++;
    node.state = Node::State::up;
    node.last_heard = now;
    // it takes part again once it has said so in this session
    for (const RunId& run_id : node.runs) {
        Run& run = *runs_.at(run_id);
        if (run.owner == id) {
            run.owner_here = false;
        } else if (Member* member = run.find(id)) {
            member->joined = false;
        }
    }
    log("node up name=" + node.hello.name + " role=" + node.hello.role +
        " version=" + node.hello.version + (same_process ? " again=true" : ""));

    Header header;
    header.request = hello_number;
    header.aux = node.session;
    const Timings& t = config_.timings;
    send_control(node, Kind::welcome, header,
                 encode(Welcome{config_.version, to_ms(t.heartbeat), to_ms(t.suspect),
                                to_ms(t.lost), frame_bytes_max, message_bytes_max}),
                 now);
    for (const RunId& run_id : node.runs) {
        Run& run = *runs_.at(run_id);
        if (run.owner == id) continue;
        Header open;
        open.run = run_id;
        open.term = run.term;
        open.src = run.owner;
        send_control(node, Kind::open, open, run.open, now);
    }
}

void BrokerCore::disconnect(Node& node, TimePoint now) {
    if (node.conn != 0) connections_.erase(node.conn);
    node.conn = 0;
    last_conn_ = 0;
    last_node_ = nullptr;
    ++generation_;
    node.out.reset(left_);
    credit_back(left_, now);
    if (node.probe) settle_probe(node, false, now);
}

void BrokerCore::heard(Node& node, TimePoint now) {
    node.last_heard = now;
    if (node.probe) settle_probe(node, true, now);
    if (node.state == Node::State::up) return;
    node.state = Node::State::up;
    ++generation_;
    log("node back name=" + node.hello.name);
    for (const RunId& id : node.runs) {
        Run& run = *runs_.at(id);
        if (run.takes_part(node.id)) announce_up(run, node, now);
    }
}

/// Tells the others of the run that `node` takes part, and `node` of those that do.
void BrokerCore::announce_up(Run& run, Node& node, TimePoint now) {
    const auto up = [&](Node& to, const Node& about) {
        Header h;
        h.run = run.id;
        h.term = run.term;
        h.aux = about.id.value;
        send_control(to, Kind::peer_up, h,
                     encode(PeerUp{about.hello.name, about.hello.role, about.hello.rank,
                                   about.hello.incarnation}),
                     now);
    };
    for_each_joined(run, [&](Node& peer) {
        if (peer.id == node.id) return;
        up(peer, node);
        if (peer.conn != 0) up(node, peer);  // else it was found to be gone just now
    });
}

/// Tells the others of the run that `node` takes no part in it any more.
void BrokerCore::announce_down(Run& run, Node& node, Errc code, Duration silent, TimePoint now) {
    for_each_joined(run, [&](Node& peer) {
        if (peer.id == node.id) return;
        Header h;
        h.run = run.id;
        h.term = run.term;
        h.aux = node.id.value;
        send_control(peer, Kind::peer_down, h,
                     encode(PeerDown{node.hello.name, code, to_ms(silent)}), now);
    });
}

void BrokerCore::set_liveness(Node& node, TimePoint now) {
    const Duration silent = now - node.last_heard;
    const Timings& t = config_.timings;
    Node::State state = Node::State::up;
    if (silent > t.lost + lag_)
        state = Node::State::lost;
    else if (silent > t.suspect + lag_)
        state = Node::State::suspect;
    if (state <= node.state) return;
    node.state = state;
    const bool lost = state == Node::State::lost;
    if (lost) {
        // what waits for it would hold back its senders in all their runs; they send again when it
        // is up
        ++generation_;
        node.out.drop_all(left_);
        credit_back(left_, now);
    }
    log(std::string(lost ? "node lost name=" : "node suspect name=") + node.hello.name +
        " silent_ms=" + std::to_string(to_ms(silent)));
    for (const RunId& id : node.runs) {
        Run& run = *runs_.at(id);
        if (lost && run.owner == node.id) run.owner_lost_at = now;
        if (lost) {
            announce_down(run, node, Errc::peer_lost, silent, now);
            continue;
        }
        for_each_joined(run, [&](Node& peer) {
            if (peer.id == node.id) return;
            Header h;
            h.run = id;
            h.term = run.term;
            h.aux = node.id.value;
            send_control(peer, Kind::peer_suspect, h,
                         encode(PeerSuspect{node.hello.name, to_ms(silent)}), now);
        });
    }
}

/// A node that is gone and named in no run takes no room.
void BrokerCore::forget_if_idle(NodeId id) {
    const auto found = nodes_.find(id);
    if (found == nodes_.end() || found->second->state != Node::State::lost ||
        !found->second->runs.empty())
        return;
    if (found->second->conn != 0) disconnect(*found->second, found->second->last_heard);
    if (nodes_.count(id) == 0 || nodes_.at(id)->conn != 0)
        return;  // a probe was settled in its favor
    last_conn_ = 0;
    last_node_ = nullptr;
    ++generation_;
    nodes_.erase(id);
}

// -- runs ----------------------------------------------------------------------

BrokerCore::Run* BrokerCore::find_run(const RunId& id) {
    const auto found = runs_.find(id);
    return found == runs_.end() ? nullptr : found->second.get();
}

template <class Visit>
void BrokerCore::for_each_joined(Run& run, Visit&& visit) {
    const auto with = [&](NodeId id) {
        const auto found = nodes_.find(id);
        if (found != nodes_.end() && found->second->conn != 0) visit(*found->second);
    };
    if (run.owner_here) with(run.owner);
    for (const Member& member : run.members)
        if (member.joined) with(member.id);
}

void BrokerCore::on_open(Node& node, const Header& header, const Payload& body, TimePoint now) {
    auto open = decode_open(body.bytes());
    if (!open) return send_error(node, header, Errc::malformed_frame, open.error().sentence, now);
    if (open->owner != node.hello.name)
        return send_error(node, header, Errc::wrong_source,
                          "only " + node.hello.name + " itself opens runs in its name", now);
    std::vector<Member> members;
    for (Participant& participant : open->participants) {
        const NodeId id = node_id_of(participant.name);
        members.push_back({std::move(participant), id, false, {}});
    }
    std::sort(members.begin(), members.end(),
              [](const Member& a, const Member& b) { return a.id < b.id; });
    for (std::size_t i = 1; i < members.size(); ++i)
        if (members[i].id == members[i - 1].id)
            return send_error(
                node, header, Errc::malformed_frame,
                members[i].participant.name + " is named twice in run " + header.run.short_hex(),
                now);

    Run* run = find_run(header.run);
    if (run == nullptr) {
        if (runs_.size() >= runs_max)
            return send_error(node, header, Errc::too_many,
                              "this broker has " + std::to_string(runs_max) + " runs already", now);
        auto fresh = std::make_unique<Run>();
        fresh->id = header.run;
        fresh->owner = node.id;
        fresh->owner_name = node.hello.name;
        run = fresh.get();
        runs_.emplace(header.run, std::move(fresh));
        log("run opened run=" + header.run.short_hex() + " owner=" + node.hello.name +
            " term=" + std::to_string(header.term));
    } else if (run->owner != node.id) {
        return send_error(node, header, Errc::not_owner,
                          "run " + run->id.short_hex() + " belongs to " + run->owner_name, now);
    } else if (header.term < run->term) {
        return send_error(node, header, Errc::stale_term,
                          "run " + run->id.short_hex() + " is in term " + std::to_string(run->term),
                          now);
    }
    const bool same =
        header.term == run->term && run->members.size() == members.size() &&
        std::equal(members.begin(), members.end(), run->members.begin(),
                   [](const Member& a, const Member& b) { return a.participant == b.participant; });
    if (!same) {
        for (const Member& member : run->members) {
            const auto found = nodes_.find(member.id);
            if (found != nodes_.end()) found->second->runs.erase(run->id);
        }
        run->members = std::move(members);
    }
    run->term = header.term;
    run->open.assign(body.bytes().begin(), body.bytes().end());
    run->owner_here = true;
    node.runs.insert(run->id);
    ++generation_;

    Header answer;
    answer.run = run->id;
    answer.term = run->term;
    answer.flags = flag::answer;
    send_control(node, Kind::open, answer, {}, now);
    for (Member& member : run->members) {
        const auto found = nodes_.find(member.id);
        if (found == nodes_.end()) continue;
        Node& participant = *found->second;
        participant.runs.insert(run->id);
        if (member.joined) {  // the owner came back: it hears again who is in
            Header join;
            join.run = run->id;
            join.term = run->term;
            join.src = member.id;
            send_control(node, Kind::join, join, member.join, now);
        } else if (participant.conn != 0) {
            Header invite;
            invite.run = run->id;
            invite.term = run->term;
            invite.src = run->owner;
            send_control(participant, Kind::open, invite, run->open, now);
        }
    }
    announce_up(*run, node, now);
}

void BrokerCore::on_join(Node& node, const Header& header, const Payload& body, TimePoint now) {
    auto join = decode_join(body.bytes());
    if (!join) return send_error(node, header, Errc::malformed_frame, join.error().sentence, now);
    if (join->name != node.hello.name)
        return send_error(node, header, Errc::wrong_source,
                          "only " + node.hello.name + " itself joins in its name", now);
    Run* run = find_run(header.run);
    if (run == nullptr) {
        const bool may_come = now - started_ < config_.timings.rejoin_grace;
        return send_error(node, header, may_come ? Errc::retry : Errc::unknown_run,
                          "run " + header.run.short_hex() + " is not known here", now);
    }
    Member* member = run->find(node.id);
    if (member == nullptr)
        return send_error(node, header, Errc::not_a_participant,
                          node.hello.name + " is not named in run " + run->id.short_hex(), now);
    if (header.term != run->term)
        return send_error(node, header, Errc::stale_term,
                          "run " + run->id.short_hex() + " is in term " + std::to_string(run->term),
                          now);
    const bool was_joined = member->joined;
    member->joined = join->code == Errc::ok;
    member->join.assign(body.bytes().begin(), body.bytes().end());
    ++generation_;
    if (!was_joined)
        log("joined run=" + run->id.short_hex() + " node=" + node.hello.name +
            " code=" + std::string(name_of(join->code)));
    // first who it is, then that it joined: a request pushed at once must not meet the news of a
    // restart
    if (member->joined && !was_joined) announce_up(*run, node, now);
    if (!member->joined && was_joined) announce_down(*run, node, Errc::refused, Duration{}, now);
    const auto owner = nodes_.find(run->owner);
    if (run->owner_here && owner != nodes_.end() && owner->second->conn != 0) {
        Header forward;
        forward.run = run->id;
        forward.term = run->term;
        forward.src = node.id;
        send_control(*owner->second, Kind::join, forward, member->join, now);
    }
}

void BrokerCore::on_close(Node& node, const Header& header, const Payload& body, TimePoint now) {
    Run* run = find_run(header.run);
    if (run != nullptr && run->owner != node.id)
        return send_error(node, header, Errc::not_owner,
                          "run " + run->id.short_hex() + " belongs to " + run->owner_name, now);
    if (run != nullptr && header.term < run->term)
        return send_error(node, header, Errc::stale_term,
                          "run " + run->id.short_hex() + " is in term " + std::to_string(run->term),
                          now);
    if (run != nullptr) {
        auto ending = decode_ending(body.bytes());
        if (!ending)
            return send_error(node, header, Errc::malformed_frame, ending.error().sentence, now);
        end_run(*run, *ending, node.id, now);
    }
    // a run that is not known is closed already
    Header answer;
    answer.run = header.run;
    answer.term = header.term;
    answer.flags = flag::answer;
    send_control(node, Kind::close, answer, {}, now);
}

void BrokerCore::end_run(Run& run, const Ending& ending, NodeId except, TimePoint now) {
    const RunId id = run.id;
    const Bytes body = encode(ending);
    log("run closed run=" + id.short_hex() + " code=" + std::string(name_of(ending.code)));
    std::vector<NodeId> everybody{run.owner};
    for (const Member& member : run.members) everybody.push_back(member.id);
    Header header;
    header.run = id;
    header.term = run.term;
    for (const NodeId node_id : everybody) {
        const auto found = nodes_.find(node_id);
        if (found == nodes_.end()) continue;
        Node& node = *found->second;
        node.runs.erase(id);
        node.out.drop_run(id, left_);
        if (node_id != except && node.conn != 0) send_control(node, Kind::close, header, body, now);
    }
    credit_back(left_, now);
    ++generation_;
    runs_.erase(id);
    for (const NodeId node_id : everybody) forget_if_idle(node_id);
}

// -- time ----------------------------------------------------------------------

void BrokerCore::on_tick(TimePoint now) {
    const Timings& t = config_.timings;
    // whoever paused the whole machine paused us as well: that time is nobody's silence
    const Duration late = now - last_tick_ - t.check;
    lag_ = std::max<Duration>(
        {late > t.check ? late : Duration{}, lag_ - (now - last_tick_) / 4, Duration{}});
    last_tick_ = now;
    retry_flush_ = false;

    std::vector<NodeId> ids;
    ids.reserve(nodes_.size());
    for (const auto& [id, node] : nodes_) ids.push_back(id);
    for (const NodeId id : ids) {
        const auto found = nodes_.find(id);
        if (found == nodes_.end()) continue;
        Node& node = *found->second;
        if (node.conn == 0 && (node.out.waiting() || node.probe)) disconnect(node, now);
        if (node.probe && now >= node.probe->deadline) settle_probe(node, false, now);
        set_liveness(node, now);
        if (node.out.waiting() && node.conn != 0) flush(node, now);
        forget_if_idle(id);
    }
    std::vector<RunId> orphans;
    for (const auto& [id, run] : runs_) {
        const auto owner = nodes_.find(run->owner);
        const bool lost = owner == nodes_.end() || owner->second->state == Node::State::lost;
        if (lost && now - run->owner_lost_at > t.rejoin_grace) orphans.push_back(id);
    }
    for (const RunId& id : orphans) {
        Run& run = *runs_.at(id);
        end_run(run,
                {Errc::owner_lost, run.owner_name + ", which drove run " + id.short_hex() +
                                       ", is gone; whoever owns the run can go on with --resume"},
                broker_node, now);
    }
    if (anonymous_ > 0) {
        std::erase_if(connections_, [&](const auto& entry) {
            const bool stale =
                entry.second.node == nullptr && now - entry.second.since > t.without_hello;
            if (stale) --anonymous_;
            return stale;
        });
    }
}

TimePoint BrokerCore::next_deadline() const {
    return last_tick_ + (retry_flush_ ? std::min<Duration>(milliseconds(2), config_.timings.check)
                                      : config_.timings.check);
}

void BrokerCore::shutdown(std::string_view sentence) {
    for (const auto& [id, node] : nodes_) {
        if (node->conn == 0) continue;
        Header bye;
        bye.kind = Kind::bye;
        send_raw(node->conn, bye, encode_sentence(sentence));
    }
}

std::uint64_t BrokerCore::queued_bytes() const noexcept {
    std::uint64_t total = 0;
    for (const auto& [id, node] : nodes_) total += node->out.queued_bytes();
    return total;
}

// -- sending -------------------------------------------------------------------

void BrokerCore::send_raw(ConnId to, const Header& header, Bytes body) {
    Header complete = header;
    complete.body_bytes = body.size();
    Frame frame = make_frame(complete, std::move(body));
    (void)transport_.send(to, frame);  // a stranger that is gone or full is not worth a queue
}

void BrokerCore::send_control(Node& node, Kind kind, const Header& header, Bytes body,
                              TimePoint now) {
    if (node.conn == 0) return;
    Header complete = header;
    complete.kind = kind;
    complete.dst = node.id;
    complete.body_bytes = body.size();
    NodeSink sink(transport_, node.conn);
    const SendResult result = node.out.control(make_frame(complete, std::move(body)), sink);
    if (result == SendResult::full) retry_flush_ = true;
    if (result == SendResult::gone) {
        // only noted: the caller may be walking over nodes; liveness and the next frame to it do
        // the rest
        connections_.erase(node.conn);
        node.conn = 0;
        last_conn_ = 0;
        last_node_ = nullptr;
        ++generation_;
        (void)now;
    }
}

void BrokerCore::send_error(Node& node, const Header& about, Errc code, const std::string& sentence,
                            TimePoint now) {
    ++counters_.refused;
    Header header;
    header.run = about.run;
    header.term = about.term;
    header.request = about.request;
    header.type = about.type;
    header.aux = static_cast<std::uint64_t>(code);
    header.kind = Kind::error;
    header.dst = about.dst;
    Bytes body = encode_sentence(sentence);
    header.body_bytes = body.size();
    if (node.conn == 0) return;
    NodeSink sink(transport_, node.conn);
    if (node.out.control(make_frame(header, std::move(body)), sink) == SendResult::full)
        retry_flush_ = true;
    (void)now;
}

void BrokerCore::consume(Node& node, std::size_t bytes, TimePoint now) {
    if (!node.in.consume(bytes)) return;
    Header header;
    header.aux = node.in.report();
    send_control(node, Kind::window, header, {}, now);
}

void BrokerCore::credit_back(std::vector<HopSender::Left>& left, TimePoint now) {
    std::vector<HopSender::Left> taken;
    taken.swap(left);
    for (const HopSender::Left& entry : taken) {
        const auto found = nodes_.find(entry.origin.node);
        if (found != nodes_.end() && found->second->session == entry.origin.session)
            consume(*found->second, entry.bytes, now);
    }
}

void BrokerCore::flush(Node& node, TimePoint now) {
    NodeSink sink(transport_, node.conn);
    const SendResult result = node.out.flush(sink, now, left_);
    if (result == SendResult::gone) disconnect(node, now);
    if (node.out.blocked()) retry_flush_ = true;
    if (!left_.empty()) credit_back(left_, now);
}

}  // namespace vflbus::bus
