// Faults, drawn or by hand.

#include <algorithm>

#include "world_state.hpp"

namespace vflbus::sim {

using bus::Kind;
using std::chrono::milliseconds;
using std::chrono::seconds;

bool World::chance(double per_second) {
    const double per_period = per_second * std::chrono::duration<double>(fault_period).count();
    return per_second > 0 && rng_.uniform() < per_period;
}

void World::draw_faults() {
    if (faults_on_) {
        for (const auto& node : nodes_) {
            if (chance(faults_.cuts)) cut(node->index, static_cast<Told>(rng_.below(4)));
            if (chance(faults_.partitions))
                partition(node->index, between(milliseconds(10), faults_.partition_max));
            if (chance(faults_.pauses))
                pause(node->index, between(milliseconds(10), faults_.pause_max));
            if (chance(faults_.garbage)) send_garbage(node->index);
            if (chance(faults_.kills)) kill(node->index, between(milliseconds(10), seconds(2)));
        }
        if (chance(faults_.broker_restarts)) restart_broker(between(milliseconds(5), seconds(3)));
    }
    after(fault_period, [this] { draw_faults(); });
}

bool World::cut(std::size_t index, Told told, bus::Lane lane) {
    Node& node = *nodes_[index];
    const std::uint64_t id = lane == bus::Lane::main ? node.connection : node.bulk;
    const auto found = connections_.find(id);
    if (id == 0 || found == connections_.end() || !found->second.alive) return false;
    static constexpr const char* names[] = {"both sides", "the node", "the broker", "nobody"};
    const char* const which = lane == bus::Lane::main ? "" : "bulk ";
    ++coverage_[std::string(which) + "cut told to " + names[static_cast<std::size_t>(told)]];
    tell(std::string("fault: the ") + which + "connection of " + node.name + " breaks, told to " +
         names[static_cast<std::size_t>(told)]);
    disturbed_until(now_ + seconds(20));
    Connection& connection = found->second;
    connection.alive = false;
    // what lies unread in the socket of a broker that is stopped is lost with it
    const auto known = registered_.find(node.name);
    if (known != registered_.end() && known->second.connection == id && now_ < broker_paused_until_)
        known->second.spoke_at = std::min(known->second.spoke_at, broker_paused_from_);
    const bool node_told = told == Told::both || told == Told::node;
    const bool broker_told = told == Told::both || told == Told::broker;
    if (broker_told) {
        connection.broker_knows = false;
        tell_broker(id);
    }
    if (node_told) reconnect(node, id);
    // ZeroMQ's own heartbeats find a half-open connection in the end
    after(seconds(20), [this, id, index, life = node.life] {
        drop_connection(id);
        Node& cut_node = *nodes_[index];
        if (life == cut_node.life) reconnect(cut_node, id);
    });
    return true;
}

/// From `when` on nothing is broken any more, as far as is known now.
void World::disturbed_until(TimePoint when) {
    calm_from_ = std::max(calm_from_, when);
}

/// What a node says may come late, or at once, until then.
void World::delay(Node& node, TimePoint until) {
    node.delayed_until = std::max(node.delayed_until, until);
}

void World::partition(std::size_t index, Duration length) {
    ++coverage_["partition"];
    disturbed_until(now_ + length);
    tell("fault: " + nodes_[index]->name + " is cut off for a while");
    nodes_[index]->cut_off_until = std::max(nodes_[index]->cut_off_until, now_ + length);
    delay(*nodes_[index], now_ + length);
}

void World::pause(std::size_t index, Duration length) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    ++coverage_["pause"];
    disturbed_until(now_ + length);
    tell("fault: " + node.name + " is stopped for a while");
    node.paused_until = std::max(node.paused_until, now_ + length);
    delay(node, now_ + length);
    node.armed = {};
    arm_node(node);
}

void World::leap(std::size_t index, Duration by) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    ++coverage_["clock leaps"];
    disturbed_until(now_);
    tell("fault: the clock of " + node.name + " leaps");
    node.leapt += by;
    delay(node, now_);
    node.armed = {};
    arm_node(node);
}

void World::choke(std::size_t index, Duration length) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    ++coverage_["full pipes"];
    disturbed_until(now_ + length);
    tell("fault: the pipes of " + node.name + " are full for a while");
    node.choked_until = std::max(node.choked_until, now_ + length);
    delay(node, now_ + length);
}

void World::slow(std::size_t index, Duration most, Duration length) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    ++coverage_["slow worker"];
    disturbed_until(now_ + length + most);
    tell("fault: " + node.name + " works slowly for a while");
    node.slow_max = most;
    node.slow_until = now_ + length;
}

void World::hang(std::size_t index, Duration length) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    ++coverage_["hung worker"];
    disturbed_until(now_ + length);
    tell("fault: the worker of " + node.name + " hangs for a while");
    occupy(node, now_ + length);
    expect_stalled(node, now_ + length);
    arm_node(node);
}

void World::kill(std::size_t index, std::optional<Duration> down) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    ++coverage_["kill"];
    disturbed_until(now_ + down.value_or(Duration{}));
    tell("fault: " + node.name + " is killed");
    watch_orphans(node);
    ++node.life;
    node.core.reset();
    node.link.reset();
    node.dying = false;
    close_bulk(node);
    // what it had sent still arrives, or does not
    const std::uint64_t connection = std::exchange(node.connection, 0);
    if (connection != 0 && rng_.below(2) == 0)
        drop_connection(connection);
    else if (connection != 0)
        drop_when_read(connection, milliseconds(100));
    if (connection != 0) tell_broker(connection);
    node.returning = down.has_value();
    if (!down) return;
    after(*down, [this, &node, life = node.life] {
        if (life != node.life) return;
        tell(node.name + " starts again");
        start(node.index);
    });
}

void World::die_now(std::size_t index, Duration down) {
    if (index >= nodes_.size()) return;
    Node& node = *nodes_[index];
    if (!node.link || node.dying) return;
    node.dying = true;
    at(now_, [this, index, down, life = node.life] {
        if (life == nodes_[index]->life) kill(index, down);
    });
}

void World::leave(std::size_t index) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    if (node.link->up()) node.link->bye("done");
    watch_orphans(node);
    ++node.life;
    node.core.reset();
    node.link.reset();
    node.returning = false;
    close_bulk(node);
    const std::uint64_t connection = std::exchange(node.connection, 0);
    if (connection != 0) drop_when_read(connection, seconds(1));
}

void World::act(std::size_t index, const std::function<void(actors::NodeCore&)>& call) {
    Node& node = *nodes_[index];
    if (!node.core || node.dying) return;
    call(*node.core);
    wake_node(node);
}

void World::send_garbage(std::size_t index) {
    Node& node = *nodes_[index];
    if (!broker_ || now_ < broker_paused_until_) return;
    ++coverage_["garbage"];
    // half of it from strangers, half on the node's own connection; some of it nearly right
    const bool stranger =
        rng_.below(2) == 0 || node.connection == 0 || !node.link || !node.link->up();
    const std::uint64_t id = stranger ? 1'000'000'000 + rng_.below(1000) : node.connection;
    std::vector<std::uint8_t> head(rng_.below(2) == 0 ? bus::header_bytes : rng_.below(200));
    bus::Header header;
    header.kind = static_cast<bus::Kind>(rng_.below(21));
    header.flags = static_cast<std::uint8_t>(rng_.below(16));
    header.term = static_cast<std::uint32_t>(rng_.below(3));
    header.src = stranger ? node.id : NodeId{rng_.next()};
    header.dst = nodes_[rng_.below(nodes_.size())]->id;
    header.request = rng_.below(100);
    for (std::uint8_t& byte : header.run.bytes) byte = static_cast<std::uint8_t>(rng_.next());
    const bus::HeaderBytes right = bus::encode(header);
    for (std::size_t i = 0; i < head.size(); ++i)
        head[i] = i < right.size() && rng_.below(50) != 0 ? right[i]
                                                          : static_cast<std::uint8_t>(rng_.next());
    std::vector<std::uint8_t> body(rng_.below(64));
    for (std::uint8_t& byte : body) byte = static_cast<std::uint8_t>(rng_.next());
    if (!stranger && head.size() > 3) head[3] = bus::wire_version;  // no node speaks two versions
    // nor counts the broker frames that the node's link has not counted
    if (!stranger && bus::decode(head, header) == bus::HeaderFault::none &&
        bus::is_data(header.kind))
        head[5] = static_cast<std::uint8_t>(Kind::ping);
    bus::Frame frame{bus::Payload::copy_of(head), bus::Payload::copy_of(body)};
    if (stranger) {
        broker_->on_frame(id, std::move(frame.header), std::move(frame.body), 1 + rng_.below(4),
                          broker_clock());
        arm_broker();
    } else {
        arrive_at_broker(id, std::move(frame), false);
    }
}

bool World::lie_of_windows(std::size_t index) {
    const Node& node = *nodes_[index];
    if (!node.link || !node.link->up()) return false;
    ++coverage_["a node lies about what it has read"];
    tell("fault: " + node.name + " says to have read what it has not");
    for (int i = 0; i < 40; ++i)
        after(milliseconds(5 * i), [this, index] {
            const Node& liar = *nodes_[index];
            for (const std::uint64_t connection : {liar.connection, liar.bulk}) {
                const auto known = registered_.find(liar.name);
                if (!broker_ || known == registered_.end() ||
                    !known->second.speaks_on(connection) || now_ < broker_paused_until_)
                    continue;
                bus::Header header;
                header.kind = Kind::window;
                header.aux = rng_.next() | 1;
                say(connection, index, header, {});
            }
        });
    return true;
}

// -- frames by hand ----------------------------------------------------------------

std::uint64_t World::connect_stranger(std::size_t index, bus::Extensions extensions) {
    Node& node = *nodes_[index];
    Connection connection;
    connection.id = next_connection_++;
    connection.node = index;
    connection.life = ++node.life;
    node.incarnation = ++incarnations_.try_emplace(node.name, 1000).first->second;
    connection.incarnation = node.incarnation;
    connection.not_understood = std::ranges::any_of(
        extensions, [](const auto& entry) { return bus::must_be_understood(entry.first); });
    connection.since = now_;
    connections_.emplace(connection.id, connection);
    after(seconds(1), [this, id = connection.id] { drop_connection(id); });
    bus::Header header;
    header.kind = Kind::hello;
    header.request = 1;
    say(connection.id, index, header,
        bus::encode(bus::Hello{node.name,
                               "node",
                               -1,
                               node.incarnation,
                               rng_.next(),
                               "sim",
                               {},
                               std::move(extensions)}));
    return connection.id;
}

void World::say(std::uint64_t connection, std::size_t index, bus::Header header, bus::Bytes body) {
    header.src = nodes_[index]->id;
    header.body_bytes = body.size();
    arrive_at_broker(
        connection,
        {bus::Payload::copy_of(bus::encode(header)), bus::Payload::hold(std::move(body))}, false);
}

void World::say_unknown_extension(std::size_t index) {
    const Node& node = *nodes_[index];
    ++coverage_["an extension that is not understood"];
    if (rng_.below(2) == 0) {
        tell("fault: " + node.name + " says HELLO with an extension that nobody understands");
        connect_stranger(index, {{2, {1, 2}}});
        return;
    }
    const Node& invited = *nodes_[rng_.below(nodes_.size())];
    tell("fault: " + node.name + " invites " + invited.name +
         " with an extension that nobody understands");
    const std::uint64_t connection = connect_stranger(index);
    bus::Header header;
    header.kind = Kind::open;
    for (std::uint8_t& byte : header.run.bytes) byte = static_cast<std::uint8_t>(rng_.next());
    header.term = 1;
    bus::Open open{node.name, {{invited.name, "member", 0}}, "not understood", {{400, {}}}};
    if (invited.name == node.name) open.participants.clear();
    say(connection, index, header, bus::encode(open));
    header.kind = Kind::close;
    say(connection, index, header, bus::encode(bus::Ending{Errc::ok, "that was all"}));
}

bool World::intrude(std::size_t index) {
    Node& node = *nodes_[index];
    if (!broker_ || now_ < broker_paused_until_ || node.link) return false;
    if (rng_.below(3) == 0) {
        say_unknown_extension(index);
        return true;
    }
    const auto found =
        std::ranges::find_if(open_runs_, [&](const auto&) { return rng_.below(2) == 0; });
    if (found == open_runs_.end()) return false;
    const auto [id, run] = *found;  // it may end over this
    const auto open = bus::decode_open(run.body);
    if (!open || open->participants.empty() || run.to_all) return false;
    const std::uint64_t connection = connect_stranger(index);
    bus::Header header;
    header.run = id;
    if (rng_.below(2) == 0) {
        ++coverage_["a run is claimed by another owner"];
        tell("fault: " + node.name + " claims the run of " + run.owner);
        header.kind = Kind::open;
        header.term = run.term + 1;
        say(connection, index, header,
            bus::encode(bus::Open{node.name, open->participants, open->agreed, {}}));
    } else {
        ++coverage_["a request from outside of the run"];
        tell("fault: " + node.name + " sends a request in the run of " + run.owner);
        header.kind = Kind::request;
        header.term = run.term;
        header.dst = node_id_of(open->participants[rng_.below(open->participants.size())].name);
        header.request = 1 + rng_.below(3);
        header.answered_below = 1;
        header.type = 16;
        say(connection, index, header, bus::Bytes(20, 7));
    }
    return true;
}

bool World::trespass() {
    if (!broker_ || now_ < broker_paused_until_) return false;
    const auto run =
        std::ranges::find_if(open_runs_, [](const auto& entry) { return entry.second.to_all; });
    if (run == open_runs_.end()) return false;
    std::vector<Node*> others;
    for (const auto& node : nodes_)
        if (node->link && node->link->up() && !node->dying && node->name != run->second.owner &&
            std::ranges::find(node->features, bus::feature_apps) != node->features.end())
            others.push_back(node.get());
    if (others.size() < 2) return false;
    const std::size_t first = rng_.below(others.size());
    Node& from = *others[first];
    const Node& to = *others[(first + 1 + rng_.below(others.size() - 1)) % others.size()];
    if (!from.link->request(run->first, to.id, 300, bus::Bytes(20, 7), clock_of(from)))
        return false;  // it takes no part
    ++coverage_["a request past the owner of an open run"];
    tell("fault: " + from.name + " sends " + to.name + " a request in the open run of " +
         run->second.owner);
    arm_node(from);
    return true;
}

/// Somebody who was not asked.
void World::answer_falsely(const bus::Header& query) {
    if (!forger_ || query.dst.value == 0 || nodes_[*forger_]->link) return;
    const std::size_t index = *std::exchange(forger_, std::nullopt);
    ++coverage_["an answer is forged"];
    tell("fault: " + nodes_[index]->name + " answers a question to somebody else");
    bus::Header header;
    header.kind = Kind::answer;
    header.run = query.run;
    header.dst = query.src;
    header.request = query.request;
    header.type = query.type;
    say(connect_stranger(index), index, header, bus::Bytes(20, 7));
}

}  // namespace vflbus::sim
