#include "world.hpp"

#include <algorithm>

namespace vflbus::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration fault_period = milliseconds(100);
constexpr std::size_t story_lines = 400;

std::uint64_t hash_of(std::span<const std::uint8_t> bytes) {
    std::uint64_t h = 1469598103934665603ULL;
    for (const std::uint8_t byte : bytes) h = (h ^ byte) * 1099511628211ULL;
    return h;
}

}  // namespace

struct World::Connection {
    std::uint64_t id = 0;
    std::size_t node = 0;
    bool alive = true;         ///< frames still travel
    bool broker_knows = true;  ///< the broker's side still takes frames for it
    TimePoint to_broker{};     ///< nothing overtakes: the last arrival so far, each way
    TimePoint to_node{};
};

struct World::Node {
    std::size_t index = 0;
    std::string name;
    std::string role;
    std::int64_t rank = -1;
    Setup setup;
    std::uint64_t incarnation = 0;
    std::uint64_t life = 0;        ///< events of an earlier life do nothing
    std::uint64_t connection = 0;  ///< 0: none
    bool connecting = false;
    bool returning = false;
    bool dying = false;  ///< what it does now leaves no trace outside
    TimePoint paused_until{};
    TimePoint cut_off_until{};
    TimePoint busy_until{};
    TimePoint armed{};
    std::unique_ptr<NodeSide> side;
    std::unique_ptr<bus::LinkCore> link;
    std::unique_ptr<actors::NodeCore> core;
};

class World::BrokerSide final : public bus::BrokerTransport {
  public:
    explicit BrokerSide(World& world) : world_(world) {}

    bus::SendResult send(bus::ConnId to, bus::Frame& frame) override {
        const auto found = world_.connections_.find(to);
        if (found == world_.connections_.end() || !found->second.broker_knows)
            return bus::SendResult::gone;
        Connection& connection = found->second;
        if (!connection.alive) return bus::SendResult::ok;  // nobody knows yet: it vanishes
        auto copy = std::make_shared<bus::Frame>();
        copy->header = bus::Payload::copy_of(frame.header.bytes());
        copy->body = bus::Payload::copy_of(frame.body.bytes());
        frame = bus::Frame{};
        const Node& node = *world_.nodes_[connection.node];
        connection.to_node = std::max(
            {connection.to_node,
             world_.now_ + world_.between(world_.faults_.delay_min, world_.faults_.delay_max),
             node.cut_off_until});
        world_.at(connection.to_node,
                  [&world = world_, to, copy] { world.arrive_at_node(to, copy); });
        return bus::SendResult::ok;
    }

  private:
    World& world_;
};

class World::NodeSide final : public bus::LinkTransport {
  public:
    NodeSide(World& world, Node& node) : world_(world), node_(node) {}

    bus::SendResult send(bus::Frame& frame) override {
        if (node_.dying) {
            frame = bus::Frame{};
            return bus::SendResult::ok;
        }
        const auto found = world_.connections_.find(node_.connection);
        if (node_.connection == 0 || found == world_.connections_.end())
            return bus::SendResult::full;
        Connection& connection = found->second;
        auto copy = std::make_shared<bus::Frame>();
        copy->header = bus::Payload::copy_of(frame.header.bytes());
        copy->body = bus::Payload::copy_of(frame.body.bytes());
        frame = bus::Frame{};
        if (!connection.alive) return bus::SendResult::ok;
        connection.to_broker = std::max(
            {connection.to_broker,
             world_.now_ + world_.between(world_.faults_.delay_min, world_.faults_.delay_max),
             node_.cut_off_until});
        world_.at(connection.to_broker, [&world = world_, id = connection.id, copy] {
            world.arrive_at_broker(id, copy);
        });
        return bus::SendResult::ok;
    }

    void reconnect() override {
        if (node_.connection != 0) {
            ++world_.coverage_["link reconnected by itself"];
            world_.drop_connection(node_.connection);
        }
        node_.connection = 0;
        world_.connect(node_, world_.between(milliseconds(1), milliseconds(20)));
    }

  private:
    World& world_;
    Node& node_;
};

World::World(std::uint64_t seed, Faults faults, bus::Timings timings)
    : rng_(seed),
      faults_(faults),
      timings_(timings),
      begin_(TimePoint{} + std::chrono::hours(1)),
      now_(begin_),
      broker_side_(std::make_unique<BrokerSide>(*this)) {
    start_broker();
    after(fault_period, [this] { draw_faults(); });
}

World::~World() = default;

// -- events ----------------------------------------------------------------------

void World::at(TimePoint when, std::function<void()> action) {
    queue_.push({std::max(when, now_), sequence_++, std::move(action)});
}

bool World::run_until(const std::function<bool()>& done, Duration limit) {
    const TimePoint end = now_ + limit;
    while (!done()) {
        if (!violation_.empty() || queue_.empty() || queue_.top().at > end) return false;
        // a deadline in the past that nobody serves would spin a real process
        if (queue_.top().at > now_) at_this_time_ = 0;
        if (++at_this_time_ > 100'000) {
            violate("time stands still");
            return false;
        }
        // the queue gives const access only; the action is moved out just before the pop
        auto action = std::move(const_cast<Event&>(queue_.top()).action);
        now_ = queue_.top().at;
        queue_.pop();
        ++events_done_;
        action();
        check();
    }
    return true;
}

Duration World::between(Duration low, Duration high) {
    if (high <= low) return low;
    return low + Duration(static_cast<std::int64_t>(
                     rng_.below(static_cast<std::uint64_t>((high - low).count()))));
}

void World::mix(std::uint64_t value) {
    trace_ = mix_seed(trace_, value);
}

std::string World::describe(std::size_t index) const {
    const Node& node = *nodes_[index];
    const auto ms = [&](TimePoint t) {
        return std::to_string((t - now_) / milliseconds(1)) + " ms";
    };
    return node.name + (node.link ? node.link->up() ? " up" : " not up" : " dead") +
           " connection=" + std::to_string(node.connection) +
           (node.connecting ? " connecting" : "") + " armed in " + ms(node.armed) + " paused for " +
           ms(node.paused_until) + " cut off for " + ms(node.cut_off_until) + " busy for " +
           ms(node.busy_until) + (node.link ? " link wants " + ms(node.link->next_deadline()) : "");
}

void World::tell(const std::string& line) {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(elapsed()).count();
    story_.push_back(std::to_string(us) + " us  " + line);
    if (story_.size() > story_lines) story_.pop_front();
}

void World::violate(const std::string& what) {
    if (violation_.empty()) violation_ = what;
    tell("VIOLATION " + what);
}

void World::check() {
    if (!broker_) return;
    if (broker_->queued_bytes() >
        nodes_.size() * (bus::broker_queue_bytes_max + bus::hop_window_bytes_max))
        violate("the broker queues more than its limits allow");
    if (broker_->nodes() > nodes_.size()) violate("the broker knows more nodes than there are");
}

// -- broker ----------------------------------------------------------------------

void World::start_broker() {
    ++broker_life_;
    bus::BrokerConfig config;
    config.timings = timings_;
    config.version = "sim";
    config.log = [this](const std::string& line) { tell("broker: " + line); };
    broker_ = std::make_unique<bus::BrokerCore>(std::move(config), *broker_side_, now_);
    broker_armed_ = {};
    arm_broker();
}

void World::arm_broker() {
    const TimePoint next = std::max(broker_->next_deadline(), now_);
    if (broker_armed_ != TimePoint{} && broker_armed_ <= next && broker_armed_ > now_) return;
    broker_armed_ = next;
    at(next, [this, life = broker_life_] {
        if (life != broker_life_ || !broker_ || now_ < broker_armed_) return;
        broker_armed_ = {};
        if (now_ >= broker_->next_deadline()) broker_->on_tick(now_);
        arm_broker();
    });
}

void World::restart_broker(Duration down) {
    if (!broker_) return;
    ++coverage_["broker restarted"];
    tell("fault: the broker dies");
    ++broker_life_;
    broker_.reset();
    std::vector<std::uint64_t> ids;
    for (const auto& [id, connection] : connections_) ids.push_back(id);
    for (const std::uint64_t id : ids) {
        Node& node = *nodes_[connections_.at(id).node];
        drop_connection(id);
        if (node.connection == id) {
            node.connection = 0;
            connect(node, between(milliseconds(50), milliseconds(500)));
        }
    }
    after(down, [this] {
        tell("the broker is back, empty");
        start_broker();
    });
}

void World::arrive_at_broker(std::uint64_t id, std::shared_ptr<bus::Frame> frame) {
    const auto found = connections_.find(id);
    if (found == connections_.end() || !found->second.alive || !broker_) return;
    mix(id);
    mix(hash_of(frame->header.bytes()));
    mix(hash_of(frame->body.bytes()));
    broker_->on_frame(id, std::move(frame->header), std::move(frame->body), 2, now_);
    arm_broker();
}

// -- nodes -----------------------------------------------------------------------

std::size_t World::add_node(std::string name, std::string role, std::int64_t rank, Setup setup) {
    auto node = std::make_unique<Node>();
    node->index = nodes_.size();
    node->name = std::move(name);
    node->role = std::move(role);
    node->rank = rank;
    node->setup = std::move(setup);
    nodes_.push_back(std::move(node));
    start_node(*nodes_.back());
    return nodes_.size() - 1;
}

actors::NodeCore* World::core(std::size_t node) {
    return nodes_[node]->core.get();
}

bool World::will_return(std::size_t node) const {
    return nodes_[node]->returning || nodes_[node]->dying;
}

void World::start_node(Node& node) {
    ++node.life;
    ++node.incarnation;
    node.busy_until = now_;
    node.paused_until = now_;
    node.armed = {};
    node.connection = 0;
    node.connecting = false;
    node.dying = false;
    node.returning = false;
    node.side = std::make_unique<NodeSide>(*this, node);
    bus::LinkConfig config;
    config.hello = {node.name, node.role, node.rank, node.incarnation, rng_.next(), "sim", {}};
    config.timings = timings_;
    config.seed = rng_.next();
    node.link = std::make_unique<bus::LinkCore>(std::move(config), *node.side);
    node.core = std::make_unique<actors::NodeCore>(
        actors::NodeCoreConfig{node.name, node.role, node.rank, node.incarnation, "sim",
                               [this] { return now_; }},
        *node.link, no_lock_);
    connect(node, between(milliseconds(1), milliseconds(50)));
    node.setup(*node.core);
    node.link->start(now_);
    arm_node(node);
}

void World::connect(Node& node, Duration delay) {
    if (node.connecting) return;
    node.connecting = true;
    after(delay, [this, &node, life = node.life] {
        if (life != node.life) return;
        node.connecting = false;
        if (node.connection != 0) return;
        if (!broker_ || now_ < node.cut_off_until || now_ < node.paused_until)
            return connect(node, between(milliseconds(50), milliseconds(500)));
        Connection connection;
        connection.id = next_connection_++;
        connection.node = node.index;
        node.connection = connection.id;
        connections_.emplace(connection.id, connection);
        arm_node(node);
    });
}

void World::drop_connection(std::uint64_t id) {
    connections_.erase(id);
}

void World::arm_node(Node& node) {
    if (!node.link) return;
    TimePoint next =
        std::min(node.link->next_deadline(), std::max(node.core->next_deadline(), node.busy_until));
    next = std::max({next, now_, node.paused_until});
    if (next == TimePoint::max()) return;
    if (node.armed != TimePoint{} && node.armed <= next && node.armed > now_) return;
    node.armed = next;
    at(next, [this, &node, life = node.life, next] {
        if (life != node.life || node.armed != next) return;
        node.armed = {};
        if (now_ < node.paused_until) return arm_node(node);
        wake_node(node);
    });
}

void World::wake_node(Node& node) {
    if (now_ >= node.link->next_deadline()) node.link->on_tick(now_);
    pump(node);
    arm_node(node);
}

/// Handlers take simulated time: while one runs the link goes on, the next handler waits.
void World::pump(Node& node) {
    if (now_ < node.busy_until) {
        at(node.busy_until, [this, &node, life = node.life] {
            if (life != node.life || now_ < node.paused_until) return;
            wake_node(node);
        });
        return;
    }
    const std::uint64_t handled = node.core->handled();
    node.core->pump();
    if (node.core->fatal()) violate(node.name + " gave up: " + node.core->fatal()->sentence);
    if (node.core->handled() != handled)
        node.busy_until = now_ + between(Duration{1000}, faults_.handler_max);
}

void World::arrive_at_node(std::uint64_t id, std::shared_ptr<bus::Frame> frame) {
    const auto found = connections_.find(id);
    if (found == connections_.end() || !found->second.alive) return;
    Node& node = *nodes_[found->second.node];
    if (node.connection != id || !node.link) return;
    if (now_ <
        node.paused_until) {  // it lies in the socket's buffer; what follows arrives after it
        return at(node.paused_until, [this, id, frame] { arrive_at_node(id, frame); });
    }
    mix(node.index);
    mix(hash_of(frame->header.bytes()));
    mix(hash_of(frame->body.bytes()));
    bus::Header header;
    if (bus::decode(frame->header.bytes(), header) != bus::HeaderFault::none ||
        !bus::valid(header, frame->body.size()))
        violate("the broker sent an invalid frame to " + node.name);
    if (is_data(header.kind) && header.dst != node.link->id())
        violate("a frame for another node reached " + node.name);
    node.link->on_frame(std::move(frame->header), std::move(frame->body), 2, now_);
    wake_node(node);
}

// -- faults ----------------------------------------------------------------------

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

void World::cut(std::size_t index, Told told) {
    Node& node = *nodes_[index];
    const auto found = connections_.find(node.connection);
    if (node.connection == 0 || found == connections_.end() || !found->second.alive) return;
    static constexpr const char* names[] = {"both sides", "the node", "the broker", "nobody"};
    ++coverage_[std::string("cut told to ") + names[static_cast<std::size_t>(told)]];
    tell("fault: the connection of " + node.name + " breaks, told to " +
         names[static_cast<std::size_t>(told)]);
    Connection& connection = found->second;
    const std::uint64_t id = connection.id;
    connection.alive = false;
    const bool node_told = told == Told::both || told == Told::node;
    const bool broker_told = told == Told::both || told == Told::broker;
    if (broker_told) connection.broker_knows = false;
    if (node_told) {
        node.connection = 0;
        connect(node, between(milliseconds(50), milliseconds(200)));
    }
    // ZeroMQ's own heartbeats find a half-open connection in the end
    after(seconds(20), [this, id, index, life = node.life] {
        drop_connection(id);
        Node& cut_node = *nodes_[index];
        if (life != cut_node.life || cut_node.connection != id) return;
        cut_node.connection = 0;
        connect(cut_node, between(milliseconds(50), milliseconds(200)));
    });
}

void World::partition(std::size_t index, Duration length) {
    ++coverage_["partition"];
    tell("fault: " + nodes_[index]->name + " is cut off for a while");
    nodes_[index]->cut_off_until = std::max(nodes_[index]->cut_off_until, now_ + length);
}

void World::pause(std::size_t index, Duration length) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    ++coverage_["pause"];
    tell("fault: " + node.name + " is stopped for a while");
    node.paused_until = std::max(node.paused_until, now_ + length);
    node.armed = {};
    arm_node(node);
}

void World::kill(std::size_t index, std::optional<Duration> down) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    ++coverage_["kill"];
    tell("fault: " + node.name + " is killed");
    ++node.life;
    node.core.reset();
    node.link.reset();
    if (node.connection != 0) drop_connection(node.connection);
    node.connection = 0;
    node.returning = down.has_value();
    if (!down) return;
    after(*down, [this, &node, life = node.life] {
        if (life != node.life) return;
        tell(node.name + " starts again");
        start_node(node);
    });
}

void World::die_now(std::size_t index, Duration down) {
    Node& node = *nodes_[index];
    if (!node.link || node.dying) return;
    node.dying = true;
    at(now_, [this, index, down, life = node.life] {
        if (life == nodes_[index]->life) kill(index, down);
    });
}

void World::send_garbage(std::size_t index) {
    Node& node = *nodes_[index];
    if (!broker_) return;
    ++coverage_["garbage"];
    // half of it from strangers, half on the node's own connection; some of it nearly right
    const bool stranger =
        rng_.below(2) == 0 || node.connection == 0 || !node.link || !node.link->up();
    const std::uint64_t id = stranger ? 1'000'000'000 + rng_.below(1000) : node.connection;
    std::vector<std::uint8_t> head(rng_.below(2) == 0 ? bus::header_bytes : rng_.below(200));
    bus::Header header;
    header.kind = static_cast<bus::Kind>(rng_.below(20));
    header.flags = static_cast<std::uint8_t>(rng_.below(16));
    header.term = static_cast<std::uint32_t>(rng_.below(3));
    header.src = stranger ? node_id_of(node.name) : NodeId{rng_.next()};
    header.dst = node_id_of(nodes_[rng_.below(nodes_.size())]->name);
    header.request = rng_.below(100);
    for (std::uint8_t& byte : header.run.bytes) byte = static_cast<std::uint8_t>(rng_.next());
    const bus::HeaderBytes right = bus::encode(header);
    for (std::size_t i = 0; i < head.size(); ++i)
        head[i] = i < right.size() && rng_.below(50) != 0 ? right[i]
                                                          : static_cast<std::uint8_t>(rng_.next());
    std::vector<std::uint8_t> body(rng_.below(64));
    for (std::uint8_t& byte : body) byte = static_cast<std::uint8_t>(rng_.next());
    if (!stranger && head.size() > 3) head[3] = bus::wire_version;  // no node speaks two versions
    auto frame = std::make_shared<bus::Frame>();
    frame->header = bus::Payload::copy_of(head);
    frame->body = bus::Payload::copy_of(body);
    if (stranger) {
        broker_->on_frame(id, std::move(frame->header), std::move(frame->body), 1 + rng_.below(4),
                          now_);
        arm_broker();
    } else {
        arrive_at_broker(id, frame);
    }
}

}  // namespace vflbus::sim
