// What must hold after every event, and what is counted.

#include <algorithm>
#include <utility>

#include "world_state.hpp"

namespace vflbus::sim {

using bus::Kind;
using std::chrono::milliseconds;

void World::check() {
    const bus::Limits& limits = options_.limits;
    // (nothing changes at the broker but by what it is called for)
    if (broker_ && std::exchange(broker_served_, false)) {
        // beyond the limit of a queue there is what others have under way on their connections
        const std::uint64_t frame = limits.chunk + bus::header_bytes;
        const std::uint64_t window = std::max(limits.hop_window, limits.hop_window_max);
        if (broker_->queued_bytes() >
            nodes_.size() * (limits.broker_queue + frame + 2 * (window + frame)))
            violate("the broker queues more than its limits allow");
        if (broker_->kept_of_one_bytes() > limits.kept_of_one)
            violate("the broker keeps more of what one node has said than its limits allow");
        if (broker_->most_runs_of_one() > std::max<std::size_t>(1, limits.runs / 2))
            violate("one owner has more than its share of the runs that the broker takes");
        if (broker_->nodes() > incarnations_.size())
            violate("the broker knows more nodes than there are names");
    }
    for (const auto& node : nodes_) {
        if (!node->link || node->hostile) continue;
        // 16 requests and 16 answers at once
        if (node->link->queued_bytes() > 32 * options_.body_bytes_max)
            violate(node->name + " queues " + std::to_string(node->link->queued_bytes()) +
                    " B, more than its limits allow");
        if (node->link->queued_bytes() > 0) ++coverage_["frames wait for the window"];
        if (node->link->waiting_bodies() > 0) ++coverage_["a body waits for room"];
        // besides, one body that is larger than all of it is let through at a time
        if (node->link->reserved_bytes() > limits.body_budget + limits.message)
            violate(node->name + " has given more room than it has");
        if (node->link->kept_reply_bytes() > limits.reply_budget + limits.message)
            violate(node->name + " keeps more of its answers than it has room for");
    }
}

bool World::OpenRun::may_talk(NodeId src, NodeId dst) const {
    if (to_all) return src == drives || dst == drives;
    const auto in = [&](NodeId id) { return id == drives || named.contains(id); };
    return in(src) && in(dst);
}

void World::watch_broker(Connection& connection, const bus::Frame& frame) {
    const Node& node = *nodes_[connection.node];
    bus::Header header;
    if (bus::decode(frame.header.bytes(), header) != bus::HeaderFault::none) return;
    const auto known = registered_.find(node.name);
    switch (header.kind) {
        case Kind::welcome:
            if (const auto until = held_until_.find(node.name);
                until != held_until_.end() && broker_clock() < until->second)
                violate(node.name + " is welcomed although it is held off");
            return watch_welcome(connection);
        case Kind::pong:
            if (options_.keys && allowed_.entry(node.name) == nullptr)
                violate("the broker answers " + node.name + ", whose key was revoked");
            return;
        case Kind::query:
            return watch_query(header);
        case Kind::request:
        case Kind::reply:
            return watch_data(connection, header, frame.size());
        case Kind::mark:
            return watch_mark(connection, false, header.aux);
        case Kind::error:
            watch_unknown_run(node, header);
            if (connection.not_understood &&
                header.aux == static_cast<std::uint64_t>(Errc::unsupported_version))
                ++coverage_["HELLO refused for an extension"];
            // (one that says so of a bulk connection knows the session)
            if (known != registered_.end() && serving_ == connection.id &&
                header.aux == static_cast<std::uint64_t>(Errc::not_registered) &&
                known->second.connection == connection.id)
                registered_.erase(known);  // for a process that could not be told
            return;
        case Kind::bulk:
            if (known != registered_.end() && known->second.life == connection.life)
                known->second.bulk = connection.id;
            return;
        case Kind::close:
            open_runs_.erase(header.run);
            return;
        case Kind::open: {
            if ((header.flags & bus::flag::answer) == 0) return;
            const auto run = open_runs_.find(header.run);
            if (run != open_runs_.end() && run->second.owner != node.name)
                violate("run " + header.run.short_hex() + " of " + run->second.owner +
                        " was opened by " + node.name + " as well");
            return;
        }
        case Kind::peer_up:
        case Kind::peer_suspect:
        case Kind::peer_down:
            return watch_peer(node, header, frame);
        case Kind::answer:
            return watch_answer(connection, header);
        default:
            return;
    }
}

/// Only who has the right to it stops runs of others, or hands some in.
void World::watch_query(const bus::Header& header) {
    const auto asked = static_cast<bus::Question>(header.type);
    if (!options_.keys || (asked != bus::Question::stop && asked != bus::Question::submit)) return;
    for (const auto& node : nodes_) {
        if (node->id != header.src || node->id == header.dst) continue;
        const auto entry = allowed_.entry(node->name);
        if (entry == nullptr || entry->rights == 0)
            violate("the broker passes on a question of " + node->name +
                    " without the right to it");
        return;
    }
}

/// Of a frame that the broker was given.
void World::watch_conduct(std::uint64_t id, const bus::BrokerCounters& before) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;
    Connection& connection = found->second;
    const Node& node = *nodes_[connection.node];
    const bus::BrokerCounters& now = broker_->counters();
    if (options_.keys && allowed_.entry(node.name) == nullptr &&
        now.frames_routed != before.frames_routed)
        violate("the broker passes on what " + node.name + " says, whose key was revoked");
    if (now.cuts != before.cuts) {
        ++coverage_["cut for breaking the protocol"];
        if (!node.hostile) violate(node.name + " was cut, which keeps to the protocol");
        if (options_.keys)
            held_until_[node.name] =
                broker_clock() + broker_->conduct().held_off(node.name, broker_clock());
    }
    connection.breaches += now.breaches - before.breaches;
    if (static_cast<double>(connection.breaches) >
        2 * bus::breaches_borne.most +
            bus::breaches_borne.per_second *
                std::chrono::duration<double>(now_ - connection.since).count())
        violate(node.name + " breaks the protocol without end and is not cut");
}

void World::watch_window(Connection& connection, bool by_node, std::size_t bytes) {
    Connection::Hop& hop = by_node ? connection.by_node : connection.by_broker;
    const bus::Limits& limits = options_.limits;
    if (hop.sent - hop.reported >= std::max(limits.hop_window, limits.hop_window_max))
        violate((by_node ? nodes_[connection.node]->name + " sends the broker"
                         : "the broker sends " + nodes_[connection.node]->name) +
                " more than the window allows");
    hop.sent += bytes;
}

void World::watch_mark(Connection& connection, bool by_node, std::uint64_t token) {
    Connection::Hop& hop = by_node ? connection.by_node : connection.by_broker;
    hop.marks.emplace_back(token, hop.sent);
}

void World::watch_report(Connection& connection, bool by_node, std::uint64_t token) {
    Connection::Hop& hop = by_node ? connection.by_node : connection.by_broker;
    const auto mark =
        std::ranges::find(hop.marks, token, &std::pair<std::uint64_t, std::uint64_t>::first);
    if (mark != hop.marks.end()) {
        hop.reported = std::max(hop.reported, mark->second);
        hop.marks.erase(hop.marks.begin(), mark + 1);
        return;
    }
    if (hop.void_marks.contains(token)) return;
    if (nodes_[connection.node]->hostile) return;  // it says, and answers, what it likes
    const std::string& name = nodes_[connection.node]->name;
    const auto known = registered_.find(name);
    // (a report that had to wait may be the first thing on another connection)
    if (known == registered_.end() || !known->second.speaks_on(connection.id)) return;
    violate((by_node ? "the broker reports to " + name : name + " reports") +
            " what was not sent on this connection");
}

/// What the receiver has granted to an earlier attempt says nothing about the present one.
void World::watch_credit(const Node& node, const bus::Header& header, std::size_t bytes) {
    if (header.aux == 0) return;  // so small that it needs no credit
    const auto known = granted_.find({node.index, node.life, header.dst, header.aux});
    const std::uint64_t granted = known == granted_.end() ? 0 : known->second;
    if (header.body_offset + bytes > std::max(granted, options_.limits.credit_first))
        violate(node.name + " sends more of a body than its receiver has granted for this attempt");
}

/// While the broker knows a process of a name it takes no earlier one.
void World::watch_welcome(Connection& connection) {
    // what it has sent on this connection is on its way still, and MARKs are to be answered
    if (connection.not_understood)
        violate("the broker welcomed a HELLO with an extension that it does not understand");
    const Node& node = *nodes_[connection.node];
    const auto known = registered_.find(node.name);
    // one that has left, or has been silent for as long as it takes to be lost, may be forgotten
    const bool younger =
        known != registered_.end() && !known->second.left &&
        known->second.incarnation > connection.incarnation &&
        now_ - known->second.spoke_at + broker_disturbed_ * 2 * options_.timings.check <
            options_.timings.lost;
    if (younger && !node.hostile)
        violate("the broker took incarnation " + std::to_string(connection.incarnation) + " of " +
                node.name + " although it knew " + std::to_string(known->second.incarnation));
    const bool same = known != registered_.end() && known->second.node == node.index &&
                      known->second.life == connection.life;
    ++coverage_[same                         ? "welcome to the same process again"
                : known != registered_.end() ? "welcome to another process of the name"
                                             : "welcome"];
    registered_[node.name] = {.node = node.index,
                              .life = connection.life,
                              .connection = connection.id,
                              .incarnation = connection.incarnation,
                              .spoke_at = now_,
                              .since = now_};
}

void World::watch_data(Connection& connection, const bus::Header& header, std::size_t bytes) {
    watch_window(connection, false, bytes);
    const Node& node = *nodes_[connection.node];
    const auto known = registered_.find(node.name);
    if (known == registered_.end() || !known->second.speaks_on(connection.id))
        violate("the broker sent a frame to a process that it had not welcomed last as " +
                node.name);
    const auto from = connections_.find(serving_);
    if (from != connections_.end() && from->second.alive) {
        const auto sender = registered_.find(nodes_[from->second.node]->name);
        if (header.src == nodes_[from->second.node]->id && !sender->second.speaks_on(serving_))
            violate("the broker passed on a frame of a process that it no longer knows as " +
                    sender->first);
    }
    const auto run = open_runs_.find(header.run);
    if (run != open_runs_.end() && !run->second.may_talk(header.src, header.dst))
        violate("the broker passed a frame to " + node.name + " that does not belong into run " +
                header.run.short_hex() + " of " + run->second.owner);
}

void World::watch_peer(const Node& node, const bus::Header& header, const bus::Frame& frame) {
    const auto run = open_runs_.find(header.run);
    if (run != open_runs_.end() && run->second.to_all && node.name != run->second.owner &&
        NodeId{header.aux} != run->second.drives)
        violate(node.name + " was told of another participant of the open run of " +
                run->second.owner);
    if (header.kind != Kind::peer_down) return;
    const auto down = bus::decode_peer_down(frame.body.bytes());
    if (!down || down->silent_ms == 0 || down->code != Errc::peer_lost) return;
    const auto peer = registered_.find(down->name);
    if (peer == registered_.end() || nodes_[peer->second.node]->hostile) return;
    const Duration silent = now_ - peer->second.spoke_at;
    // what is shorter than two checks the loop cannot tell from its own pace
    if (silent + broker_disturbed_ * 2 * options_.timings.check < options_.timings.lost)
        violate(down->name + " was declared lost although it spoke " +
                std::to_string(silent / milliseconds(1)) + " ms ago");
    ++coverage_["peer lost by silence"];
}

/// To who asked, from who was asked or the broker, and no more often than it was asked.
void World::watch_answer(const Connection& connection, const bus::Header& header) {
    const Node& node = *nodes_[connection.node];
    const auto found = queries_.find({connection.node, connection.life, header.request});
    if (found == queries_.end())
        return violate(node.name + " was sent an answer to nothing that it asked");
    AskedQuery& query = found->second;
    const auto answers = [&](const auto& asked) {
        const auto& [dst, run, type] = asked;
        return (header.src == broker_node || header.src == dst) && header.run == run &&
               header.type == type;
    };
    if (std::ranges::none_of(query.asked, answers))
        violate(node.name +
                " was sent an answer that is not of the node, the run or to the "
                "question that it asked about");
    if (++query.answered > query.asked.size()) violate(node.name + " was sent an answer twice");
}

void World::watch_open(const Node& node, const bus::Header& header,
                       std::span<const std::uint8_t> body) {
    honest_ids_.insert(header.run);
    OpenRun& run = open_runs_[header.run];
    if (run.term > header.term || (!run.owner.empty() && run.owner != node.name)) return;
    run.owner = node.name;
    run.drives = node.id;
    run.term = header.term;
    run.node = node.index;
    run.life = node.life;
    run.body.assign(body.begin(), body.end());
    run.named.clear();
    const auto open = bus::decode_open(body);
    if (!open) return;
    run.to_all = open->to_everybody();
    for (const bus::Participant& participant : open->participants)
        run.named.insert(node_id_of(participant.name));
}

/// An answer to JOIN. Who is told that a run is unknown has not heard why it ended.
void World::watch_unknown_run(const Node& node, const bus::Header& error) {
    // (a hostile owner opens its run anew, and names others)
    if (node.hostile || error.request != 0 || !honest_ids_.contains(error.run) ||
        error.aux != static_cast<std::uint64_t>(Errc::unknown_run))
        return;
    const auto seen = seen_here_.find(error.run.short_hex());
    if (seen == seen_here_.end() || !seen->second.ended_at) return;
    const SeenHere& ended = seen->second;
    // (who opens and closes a run of somebody else again has not invited those who join that one; a
    // broker that an owner came to whose disk was set back does not know the later terms)
    if (error.dst != ended.owner || error.term > ended.term ||
        broker_clock() - *ended.ended_at >= std::chrono::seconds(bus::ended_memory_s))
        return;
    violate("the broker has seen run " + error.run.short_hex() + " end, and tells " + node.name +
            ", which joins late, only that it does not know it");
}

void World::watch_log(const std::string& line) {
    tell("broker: " + line);
    const auto word_at = [&](std::size_t at) { return line.substr(at, line.find(' ', at) - at); };
    const auto word_after = [&](std::string_view begin) {
        return line.starts_with(begin) ? word_at(begin.size()) : std::string();
    };
    const auto value_of = [&](std::string_view name) {
        return word_at(line.find(name) + name.size());
    };
    if (const std::string name = word_after("node stalled for too long name="); !name.empty())
        watch_stall(name);
    if (const std::string opened = word_after("run opened run="); !opened.empty())
        seen_here_[opened] = {node_id_of(value_of(" owner=")), 0, {}};
    const std::string run = word_after("run closed run=");
    if (run.empty()) return;
    SeenHere& ended = seen_here_[run];
    ended.term = static_cast<std::uint32_t>(std::stoul(value_of(" term=")));
    ended.ended_at = broker_clock();
    std::erase_if(open_runs_, [&](const auto& entry) { return entry.first.short_hex() == run; });
}

/// Only one that hangs is told to hang.
void World::watch_stall(const std::string& name) {
    ++coverage_["given up as stalled"];
    const auto known = registered_.find(name);
    if (known == registered_.end()) return;
    Node& node = *nodes_[known->second.node];
    if (node.life != known->second.life) return;  // it has died since
    if (node.hostile) return;                     // it says what it likes of its work
    node.given_up = node.work;
    const Duration stall = 2 * options_.timings.progress_stall;
    if (now_ - node.delayed_until < stall || broker_disturbed_ > 0) return;
    Duration worked{};
    if (node.work != 0) worked = now_ - node.working_since;
    if (now_ - node.worked_until <= news_age()) worked = std::max(worked, node.worked);
    if (worked < stall - milliseconds(100))
        violate(node.name + " was given up as stalled although it got on");
}

void World::expect_stalled(Node& node, TimePoint until) {
    const bus::Timings& t = options_.timings;
    // an older request that waits behind the work counts until it is answered, or void
    if (node.link->progress().number != node.work) return;
    const TimePoint by = now_ + 2 * t.progress_stall + 2 * news_age() + 2 * t.check;
    const auto known = registered_.find(node.name);
    if (by >= until || now_ < broker_paused_until_ || known == registered_.end() ||
        known->second.life != node.life)
        return;
    at(by, [this, &node, from = now_, life = node.life, work = node.work, broker = broker_life_,
            since = known->second.since, disturbed = broker_disturbed_] {
        const bool undisturbed = life == node.life && work == node.work && broker == broker_life_ &&
                                 disturbed == broker_disturbed_ && node.delayed_until <= from;
        const auto now_known = registered_.find(node.name);
        if (!undisturbed || now_known == registered_.end() || now_known->second.since != since)
            return;
        // a connection that is cut, and nobody knows it, is silent
        const auto connection = connections_.find(now_known->second.connection);
        if (connection == connections_.end() || !connection->second.alive) return;
        ++coverage_["a hung worker was noticed in time"];
        // (once, however much longer it hangs)
        if (node.given_up != work) violate(node.name + " hangs, and the broker has not noticed");
    });
}

/// (Other owners have the rejoin grace, anew with each of their processes.)
void World::watch_orphans(const Node& node) {
    if (node.role != "serverapp") return;
    for (const auto& [id, run] : open_runs_)
        if (run.node == node.index && run.life == node.life) expect_closed(id, node.life);
}

void World::expect_closed(const RunId& id, std::uint64_t life) {
    const bus::Timings& t = options_.timings;
    const TimePoint by =
        std::max(now_, broker_paused_until_) + t.lost + t.reconnect_grace + 4 * t.check;
    at(by, [this, id, life, broker = broker_life_, disturbed = broker_disturbed_] {
        const auto run = open_runs_.find(id);
        if (broker != broker_life_ || run == open_runs_.end() || run->second.life != life) {
            ++coverage_["run of a dead app closed"];
            return;
        }
        // time that the broker has slept counts for nothing
        if (disturbed != broker_disturbed_) return expect_closed(id, life);
        violate("run " + id.short_hex() + " is still there although " + run->second.owner +
                ", which drove it, is gone");
    });
}

void World::watch_arrival_at_broker(Connection& connection, const bus::Header& header,
                                    std::span<const std::uint8_t> body, bool from_link) {
    if (header.kind == Kind::window && (from_link || nodes_[connection.node]->hostile))
        watch_report(connection, false, header.aux);
    if (header.kind == Kind::join)
        if (const auto join = bus::decode_join(body);
            join && join->code == Errc::unsupported_version)
            ++coverage_["run declined for an extension"];
    if (header.kind == Kind::query)
        queries_[{connection.node, connection.life, header.request}].asked.emplace_back(
            header.dst, header.run, header.type);
    if (!is_data(header.kind) || header.body_offset != 0) return;
    std::uint64_t& highest =
        highest_[{header.kind, header.run, header.term, header.src.value, header.dst.value}];
    if (header.request <= highest)
        ++coverage_[header.kind == Kind::request ? "request sent again" : "answer sent again"];
    highest = std::max(highest, header.request);
}

void World::watch_arrival_at_node(Node& node, Connection& connection, const bus::Header& header,
                                  std::span<const std::uint8_t> body) {
    if (header.kind == Kind::error)
        ++coverage_["error " + std::string(name_of(static_cast<Errc>(header.aux)))];
    if (header.kind == Kind::credit) {
        ++coverage_["credit"];
        std::uint64_t& granted =
            granted_[{node.index, node.life, header.src, header.answered_below}];
        granted = std::max(granted, header.aux);
    }
    if (header.kind == Kind::welcome && header.request == connection.hello) {
        // what it has sent before counts no longer: nobody may be there who answers (section 7)
        Connection::Hop& hop = connection.by_node;
        for (const auto& [token, sent] : hop.marks) hop.void_marks.insert(token);
        hop.marks.clear();
        hop.sent = hop.reported = 0;
    }
    if (header.kind == Kind::window) watch_report(connection, true, header.aux);
    if (header.kind == Kind::peer_up)
        if (const auto up = bus::decode_peer_up(body))
            known_incarnations_[{node.index, header.run, NodeId{header.aux}}] = up->incarnation;
    if (header.kind == Kind::join)
        if (const auto join = bus::decode_join(body); join && join->code == Errc::ok)
            known_incarnations_[{node.index, header.run, header.src}] = join->incarnation;
    if (!is_data(header.kind)) return;
    if (header.dst != node.link->id()) violate("a frame for another node reached " + node.name);
    if (header.kind != Kind::request || header.body_offset != 0) return;
    // of this process alone: its life makes the key another one
    std::uint64_t& highest = highest_[{Kind::hello, header.run, header.term, header.src.value,
                                       (node.index << 32) + node.life}];
    if (header.request <= highest) ++coverage_["duplicate of a request arrived"];
    highest = std::max(highest, header.request);
}

}  // namespace vflbus::sim
