#include "world.hpp"

#include <algorithm>
#include <cstring>

namespace vflbus::sim {
namespace {

using bus::Kind;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration fault_period = milliseconds(100);

std::uint64_t hash_of(std::span<const std::uint8_t> bytes) {
    std::uint64_t h = 1469598103934665603ULL + bytes.size();
    std::size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + i, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
        h ^= h >> 29;
    }
    for (; i < bytes.size(); ++i) h = (h ^ bytes[i]) * 1099511628211ULL;
    return h;
}

}  // namespace

struct World::Connection {
    std::uint64_t id = 0;
    std::size_t node = 0;
    std::uint64_t life = 0;    ///< of the node when it was made
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
    bool told_fatal = false;
    Duration leapt{};  ///< its clock is so far ahead
    Duration slow_max{};
    TimePoint slow_until{};
    TimePoint choked_until{};
    TimePoint paused_until{};
    TimePoint cut_off_until{};
    TimePoint busy_until{};
    TimePoint armed{};
    TimePoint spoke_at{};  ///< its last frame that the broker's socket has got
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
        const Node& node = *world_.nodes_[connection.node];
        if (world_.now_ < node.choked_until) return bus::SendResult::full;
        world_.watch_broker(connection, frame);
        bus::Frame taken = std::move(frame);
        frame = bus::Frame{};
        if (!connection.alive) return bus::SendResult::ok;  // nobody knows yet: it vanishes
        connection.to_node = std::max(
            {connection.to_node,
             world_.now_ + world_.between(world_.faults_.delay_min, world_.faults_.delay_max),
             node.cut_off_until});
        world_.frame_at(connection.to_node, Event::What::frame_to_node, to, std::move(taken));
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
        if (node_.connection == 0 || found == world_.connections_.end() ||
            world_.now_ < node_.choked_until)
            return bus::SendResult::full;
        Connection& connection = found->second;
        bus::Frame taken = std::move(frame);
        frame = bus::Frame{};
        if (!connection.alive) return bus::SendResult::ok;
        connection.to_broker = std::max(
            {connection.to_broker,
             world_.now_ + world_.between(world_.faults_.delay_min, world_.faults_.delay_max),
             node_.cut_off_until});
        const bool part = world_.cut_in_body_ && taken.body.size() == bus::chunk_bytes;
        world_.frame_at(connection.to_broker, Event::What::frame_to_broker, connection.id,
                        std::move(taken));
        if (part) {
            world_.cut_in_body_ = false;
            ++world_.coverage_["cut inside a body"];
            // what was sent still arrives, what follows does not
            world_.tell("fault: the connection of " + node_.name + " breaks inside a body");
            world_.at(connection.to_broker,
                      [&world = world_, index = node_.index, id = connection.id] {
                          if (world.nodes_[index]->connection == id) world.cut(index, Told::both);
                      });
            connection.to_broker += milliseconds(1);
        }
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

World::World(std::uint64_t seed, WorldOptions options)
    : rng_(seed),
      options_(options),
      faults_(options_.faults),
      begin_(TimePoint{} + std::chrono::hours(1)),
      now_(begin_),
      broker_side_(std::make_unique<BrokerSide>(*this)) {
    start_broker();
    const Faults& f = faults_;
    if (f.cuts + f.broker_restarts + f.partitions + f.pauses + f.garbage + f.kills > 0)
        after(fault_period, [this] { draw_faults(); });
}

World::World(std::uint64_t seed, Faults faults)
    : World(seed, [&] {
          WorldOptions options;
          options.faults = faults;
          return options;
      }()) {}

World::~World() = default;

// -- events ----------------------------------------------------------------------

World::Event& World::schedule(TimePoint when) {
    std::uint32_t slot = 0;
    if (free_slots_.empty()) {
        slot = static_cast<std::uint32_t>(slots_.size());
        slots_.emplace_back();
    } else {
        slot = free_slots_.back();
        free_slots_.pop_back();
    }
    queue_.push({std::max(when, now_), sequence_++, slot});
    return slots_[slot];
}

void World::at(TimePoint when, std::function<void()> action) {
    Event& event = schedule(when);
    event.what = Event::What::action;
    event.action = std::move(action);
}

void World::frame_at(TimePoint when, Event::What what, std::uint64_t connection,
                     bus::Frame&& frame) {
    Event& event = schedule(when);
    event.what = what;
    event.connection = connection;
    event.frame = std::move(frame);
}

bool World::run_until(const std::function<bool()>& done, Duration limit) {
    const TimePoint end = now_ + limit;
    while (!done()) {
        if (!violation_.empty() || queue_.empty() || queue_.top().at > end) return false;
        // a deadline in the past that nobody serves would spin a real process
        if (queue_.top().at > now_) at_this_time_ = 0;
        if (++at_this_time_ > 100'000) {
            for (std::size_t node = 0; node < nodes_.size(); ++node) tell(describe(node));
            violate("time stands still");
            return false;
        }
        const Due due = queue_.top();
        queue_.pop();
        now_ = due.at;
        ++events_done_;
        Event event = std::move(slots_[due.slot]);
        slots_[due.slot] = Event{};
        free_slots_.push_back(due.slot);
        switch (event.what) {
            case Event::What::action:
                event.action();
                break;
            case Event::What::frame_to_node:
                arrive_at_node(event.connection, std::move(event.frame));
                break;
            case Event::What::frame_to_broker:
                arrive_at_broker(event.connection, std::move(event.frame));
                break;
        }
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

TimePoint World::clock_of(const Node& node) const {
    return now_ + node.leapt;
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
           ms(node.busy_until) +
           (node.link ? " link wants " + ms(node.link->next_deadline() - node.leapt) : "");
}

void World::tell(const std::string& line) {
    if (options_.story_lines == 0) return;
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(elapsed()).count();
    story_.push_back(std::to_string(us) + " us  " + line);
    if (story_.size() > options_.story_lines) story_.pop_front();
}

void World::violate(const std::string& what) {
    if (violation_.empty()) violation_ = what;
    tell("VIOLATION " + what);
}

void World::check() {
    if (broker_ && broker_->queued_bytes() >
                       nodes_.size() * (bus::broker_queue_bytes_max + bus::hop_window_bytes_max))
        violate("the broker queues more than its limits allow");
    if (events_done_ % 16 == 0) check_bounds();
}

void World::check_bounds() {
    if (broker_) {
        if (broker_->nodes() > incarnations_.size())
            violate("the broker knows more nodes than there are names");
    }
    for (const auto& node : nodes_) {
        if (!node->link) continue;
        // 16 requests and 16 answers to each of two peers of each run, of at most 2 MiB here
        if (node->link->queued_bytes() > 64u << 20)
            violate(node->name + " queues more than its limits allow");
    }
}

// -- broker ----------------------------------------------------------------------

void World::start_broker() {
    ++broker_life_;
    registered_.clear();
    open_runs_.clear();
    broker_paused_until_ = now_;
    bus::BrokerConfig config;
    config.timings = options_.timings;
    config.version = "sim";
    config.log = [this](const std::string& line) { tell("broker: " + line); };
    broker_ = std::make_unique<bus::BrokerCore>(std::move(config), *broker_side_, broker_clock());
    broker_armed_ = {};
    arm_broker();
}

void World::arm_broker() {
    const TimePoint next =
        std::max({broker_->next_deadline() - broker_leapt_, now_, broker_paused_until_});
    if (broker_armed_ != TimePoint{} && broker_armed_ <= next && broker_armed_ > now_) return;
    broker_armed_ = next;
    at(next, [this, life = broker_life_] {
        if (life != broker_life_ || !broker_ || now_ < broker_armed_) return;
        broker_armed_ = {};
        if (now_ >= broker_paused_until_ && broker_clock() >= broker_->next_deadline())
            broker_->on_tick(broker_clock());
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

void World::pause_broker(Duration length) {
    if (!broker_) return;
    ++coverage_["broker stopped for a while"];
    tell("fault: the broker is stopped for a while");
    broker_paused_until_ = std::max(broker_paused_until_, now_ + length);
    ++broker_disturbed_;
    broker_armed_ = {};
    arm_broker();
}

void World::leap_broker(Duration by) {
    if (!broker_) return;
    ++coverage_["broker's clock leaps"];
    tell("fault: the broker's clock leaps");
    broker_leapt_ += by;
    ++broker_disturbed_;
    broker_armed_ = {};
    arm_broker();
}

void World::arrive_at_broker(std::uint64_t id, bus::Frame&& frame, bool from_link) {
    const auto found = connections_.find(id);
    if (found == connections_.end() || !found->second.alive || !broker_) return;
    bus::Header header;
    const bool right = bus::decode(frame.header.bytes(), header) == bus::HeaderFault::none &&
                       bus::valid(header, frame.body.size());
    // read late, it was in the socket in time
    if (right && from_link) {
        Node& node = *nodes_[found->second.node];
        const auto known = registered_.find(node.name);
        if (known != registered_.end() && known->second.connection == id) node.spoke_at = now_;
    }
    if (now_ < broker_paused_until_)
        return frame_at(broker_paused_until_, Event::What::frame_to_broker, id, std::move(frame));
    mix(id);
    mix(hash_of(frame.header.bytes()));
    mix(hash_of(frame.body.bytes()));
    if (right) watch_arrival_at_broker(found->second, header);
    const auto speaker = registered_.find(nodes_[found->second.node]->name);
    if (right && from_link && header.kind == Kind::open && speaker != registered_.end() &&
        speaker->second.connection == id) {
        auto& run = open_runs_[header.run];
        if (run.term <= header.term) {
            const std::string& name = nodes_[found->second.node]->name;
            if (run.owner.empty()) run.owner = name;
            if (run.owner == name) {
                run.term = header.term;
                run.body.assign(frame.body.bytes().begin(), frame.body.bytes().end());
            }
        }
    }
    serving_ = id;
    broker_->on_frame(id, std::move(frame.header), std::move(frame.body), 2, broker_clock());
    serving_ = 0;
    arm_broker();
}

// -- nodes -----------------------------------------------------------------------

std::size_t World::add_node(std::string name, std::string role, std::int64_t rank, Setup setup,
                            bool running) {
    auto node = std::make_unique<Node>();
    node->index = nodes_.size();
    node->name = std::move(name);
    node->role = std::move(role);
    node->rank = rank;
    node->setup = std::move(setup);
    nodes_.push_back(std::move(node));
    if (running) start(nodes_.size() - 1);
    return nodes_.size() - 1;
}

const std::string& World::name(std::size_t node) const {
    return nodes_[node]->name;
}

std::uint64_t World::incarnation(std::size_t node) const {
    return nodes_[node]->incarnation;
}

bool World::running(std::size_t node) const {
    return node < nodes_.size() && nodes_[node]->link && !nodes_[node]->dying;
}

actors::NodeCore* World::core(std::size_t node) {
    return nodes_[node]->core.get();
}

bool World::will_return(std::size_t node) const {
    return node < nodes_.size() && (nodes_[node]->returning || nodes_[node]->dying);
}

void World::start(std::size_t index, std::uint64_t behind) {
    Node& node = *nodes_[index];
    std::uint64_t& last = incarnations_[node.name];
    if (behind == 0)
        node.incarnation = ++last;
    else
        node.incarnation = last + 1 > behind ? last + 1 - behind : 1;
    ++node.life;
    node.busy_until = now_;
    node.paused_until = now_;
    node.choked_until = now_;
    node.slow_until = now_;
    node.armed = {};
    node.connection = 0;
    node.connecting = false;
    node.dying = false;
    node.returning = false;
    node.told_fatal = false;
    node.side = std::make_unique<NodeSide>(*this, node);
    bus::LinkConfig config;
    config.hello = {node.name, node.role, node.rank, node.incarnation, rng_.next(), "sim", {}};
    config.timings = options_.timings;
    config.seed = rng_.next();
    node.link = std::make_unique<bus::LinkCore>(std::move(config), *node.side);
    node.core = std::make_unique<actors::NodeCore>(
        actors::NodeCoreConfig{node.name, node.role, node.rank, node.incarnation, "sim",
                               [this, &node] { return clock_of(node); }, options_.link_timeout},
        *node.link, no_lock_);
    connect(node, between(milliseconds(1), milliseconds(50)));
    node.setup(*node.core);
    node.link->start(clock_of(node));
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
        connection.life = node.life;
        node.connection = connection.id;
        connections_.emplace(connection.id, connection);
        arm_node(node);
    });
}

void World::drop_connection(std::uint64_t id) {
    connections_.erase(id);
}

/// ZeroMQ's monitor tells of some closed connections, a moment later.
void World::tell_broker(std::uint64_t connection) {
    if (rng_.below(2) == 0) return;
    after(between(milliseconds(1), milliseconds(120)), [this, connection, life = broker_life_] {
        if (life != broker_life_ || !broker_ || now_ < broker_paused_until_) return;
        ++coverage_["broker told of a closed connection"];
        broker_->on_disconnected(connection, broker_clock());
        arm_broker();
    });
}

void World::arm_node(Node& node) {
    if (!node.link) return;
    const auto here = [&](TimePoint t) { return t == TimePoint::max() ? t : t - node.leapt; };
    TimePoint next = std::min(here(node.link->next_deadline()),
                              std::max(here(node.core->next_deadline()), node.busy_until));
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
    if (clock_of(node) >= node.link->next_deadline()) node.link->on_tick(clock_of(node));
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
    if (node.core->fatal() && !node.told_fatal) {
        node.told_fatal = true;
        const Failure failure = *node.core->fatal();
        tell(node.name + " gave up: " + failure.sentence);
        if (on_fatal)
            on_fatal(node.index, failure);
        else
            violate(node.name + " gave up: " + failure.sentence);
    }
    if (node.core->handled() != handled)
        node.busy_until =
            now_ +
            between(Duration{1000}, now_ < node.slow_until ? node.slow_max : faults_.handler_max);
}

void World::arrive_at_node(std::uint64_t id, bus::Frame&& frame) {
    const auto found = connections_.find(id);
    if (found == connections_.end() || !found->second.alive) return;
    Node& node = *nodes_[found->second.node];
    if (node.connection != id || !node.link) return;
    if (now_ < node.paused_until)  // it lies in the socket's buffer; what follows arrives after it
        return frame_at(node.paused_until, Event::What::frame_to_node, id, std::move(frame));
    mix(node.index);
    mix(hash_of(frame.header.bytes()));
    mix(hash_of(frame.body.bytes()));
    bus::Header header;
    if (bus::decode(frame.header.bytes(), header) != bus::HeaderFault::none ||
        !bus::valid(header, frame.body.size()))
        violate("the broker sent an invalid frame to " + node.name);
    watch_arrival_at_node(node, header);
    node.link->on_frame(std::move(frame.header), std::move(frame.body), 2, clock_of(node));
    wake_node(node);
}

// -- what is watched --------------------------------------------------------------

void World::watch_broker(const Connection& connection, const bus::Frame& frame) {
    const Node& node = *nodes_[connection.node];
    bus::Header header;
    if (bus::decode(frame.header.bytes(), header) != bus::HeaderFault::none) return;
    const auto known = registered_.find(node.name);
    if (header.kind == Kind::welcome) {
        // (one that is gone for good may be forgotten)
        const bool younger = known != registered_.end() &&
                             known->second.incarnation > node.incarnation &&
                             nodes_[known->second.node]->life == known->second.life &&
                             now_ - nodes_[known->second.node]->spoke_at +
                                     broker_disturbed_ * 2 * options_.timings.check <
                                 options_.timings.lost;
        if (younger)
            violate("the broker took incarnation " + std::to_string(node.incarnation) + " of " +
                    node.name + " although it knew " + std::to_string(known->second.incarnation));
        const bool same = known != registered_.end() && known->second.node == node.index &&
                          known->second.life == connection.life;
        ++coverage_[same                         ? "welcome to the same process again"
                    : known != registered_.end() ? "welcome to another process of the name"
                                                 : "welcome"];
        registered_[node.name] = {node.index, connection.life, connection.id, node.incarnation};
        nodes_[connection.node]->spoke_at = now_;
        return;
    }
    if (header.kind == Kind::error && known != registered_.end() &&
        header.aux == static_cast<std::uint64_t>(Errc::not_registered) &&
        known->second.connection == connection.id)
        registered_.erase(known);  // for a process that could not be told
    if (header.kind == Kind::close) open_runs_.erase(header.run);
    if (is_data(header.kind)) {
        if (known == registered_.end() || known->second.connection != connection.id)
            violate("the broker sent a frame to a process that it had not welcomed last as " +
                    node.name);
        const auto from = connections_.find(serving_);
        if (from != connections_.end() && from->second.alive) {
            const auto sender = registered_.find(nodes_[from->second.node]->name);
            if (header.src == node_id_of(nodes_[from->second.node]->name) &&
                sender->second.connection != serving_)
                violate("the broker passed on a frame of a process that it no longer knows as " +
                        sender->first);
        }
    }
    if (header.kind == Kind::open && (header.flags & bus::flag::answer) != 0) {
        const auto run = open_runs_.find(header.run);
        if (run != open_runs_.end() && run->second.owner != node.name)
            violate("run " + header.run.short_hex() + " of " + run->second.owner +
                    " was opened by " + node.name + " as well");
    }
    if (header.kind == Kind::peer_down) {
        const auto down = bus::decode_peer_down(frame.body.bytes());
        if (!down || down->silent_ms == 0 || down->code != Errc::peer_lost) return;
        const auto peer = registered_.find(down->name);
        if (peer == registered_.end()) return;
        const Duration silent = now_ - nodes_[peer->second.node]->spoke_at;
        // what is shorter than two checks the loop cannot tell from its own pace
        if (silent + broker_disturbed_ * 2 * options_.timings.check < options_.timings.lost)
            violate(down->name + " was declared lost although it spoke " +
                    std::to_string(silent / milliseconds(1)) + " ms ago");
        ++coverage_["peer lost by silence"];
    }
}

void World::watch_arrival_at_broker(const Connection&, const bus::Header& header) {
    if (!is_data(header.kind) || header.body_offset != 0) return;
    std::uint64_t& highest =
        highest_[{header.kind, header.run, header.term, header.src.value, header.dst.value}];
    if (header.request <= highest)
        ++coverage_[header.kind == Kind::request ? "request sent again" : "answer sent again"];
    highest = std::max(highest, header.request);
}

void World::watch_arrival_at_node(Node& node, const bus::Header& header) {
    if (header.kind == Kind::error)
        ++coverage_["error " + std::string(name_of(static_cast<Errc>(header.aux)))];
    if (!is_data(header.kind)) return;
    if (header.dst != node.link->id()) violate("a frame for another node reached " + node.name);
    if (header.kind != Kind::request || header.body_offset != 0) return;
    // of this process alone: its life makes the key another one
    std::uint64_t& highest = highest_[{Kind::hello, header.run, header.term, header.src.value,
                                       (node.index << 32) + node.life}];
    if (header.request <= highest) ++coverage_["duplicate of a request arrived"];
    highest = std::max(highest, header.request);
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
    if (broker_told) {
        connection.broker_knows = false;
        tell_broker(id);
    }
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

void World::leap(std::size_t index, Duration by) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    ++coverage_["clock leaps"];
    tell("fault: the clock of " + node.name + " leaps");
    node.leapt += by;
    node.armed = {};
    arm_node(node);
}

void World::choke(std::size_t index, Duration length) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    ++coverage_["full pipes"];
    tell("fault: the pipes of " + node.name + " are full for a while");
    node.choked_until = std::max(node.choked_until, now_ + length);
}

void World::slow(std::size_t index, Duration most, Duration length) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    ++coverage_["slow worker"];
    tell("fault: " + node.name + " works slowly for a while");
    node.slow_max = most;
    node.slow_until = now_ + length;
}

void World::kill(std::size_t index, std::optional<Duration> down) {
    Node& node = *nodes_[index];
    if (!node.link) return;
    ++coverage_["kill"];
    tell("fault: " + node.name + " is killed");
    ++node.life;
    node.core.reset();
    node.link.reset();
    node.dying = false;
    // what it had sent still arrives, or does not
    const std::uint64_t connection = std::exchange(node.connection, 0);
    if (connection != 0 && rng_.below(2) == 0)
        drop_connection(connection);
    else if (connection != 0)
        after(milliseconds(100), [this, connection] { drop_connection(connection); });
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
    ++node.life;
    node.core.reset();
    node.link.reset();
    node.returning = false;
    const std::uint64_t connection = std::exchange(node.connection, 0);
    if (connection != 0) after(seconds(1), [this, connection] { drop_connection(connection); });
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
    bus::Frame frame{bus::Payload::copy_of(head), bus::Payload::copy_of(body)};
    if (stranger) {
        broker_->on_frame(id, std::move(frame.header), std::move(frame.body), 1 + rng_.below(4),
                          broker_clock());
        arm_broker();
    } else {
        arrive_at_broker(id, std::move(frame), false);
    }
}

bool World::intrude(std::size_t index) {
    Node& node = *nodes_[index];
    if (!broker_ || now_ < broker_paused_until_ || node.link) return false;
    const auto run =
        std::ranges::find_if(open_runs_, [&](const auto&) { return rng_.below(2) == 0; });
    if (run == open_runs_.end()) return false;
    const auto open = bus::decode_open(run->second.body);
    if (!open || open->participants.empty()) return false;
    Connection connection;
    connection.id = next_connection_++;
    connection.node = index;
    connection.life = ++node.life;
    node.incarnation = ++incarnations_[node.name];
    connections_.emplace(connection.id, connection);
    after(seconds(1), [this, id = connection.id] { drop_connection(id); });
    const auto say = [&](bus::Header header, bus::Bytes body) {
        header.src = node_id_of(node.name);
        header.body_bytes = body.size();
        arrive_at_broker(
            connection.id,
            {bus::Payload::copy_of(bus::encode(header)), bus::Payload::hold(std::move(body))},
            false);
    };
    bus::Header header;
    header.kind = Kind::hello;
    header.request = 1;
    say(header,
        bus::encode(bus::Hello{node.name, "node", -1, node.incarnation, rng_.next(), "sim", {}}));
    header.run = run->first;
    if (rng_.below(2) == 0) {
        ++coverage_["a run is claimed by another owner"];
        tell("fault: " + node.name + " claims the run of " + run->second.owner);
        header.kind = Kind::open;
        header.request = 0;
        header.term = run->second.term + 1;
        say(header, bus::encode(bus::Open{node.name, open->participants, open->agreed}));
    } else {
        ++coverage_["a request from outside of the run"];
        tell("fault: " + node.name + " sends a request in the run of " + run->second.owner);
        header.kind = Kind::request;
        header.term = run->second.term;
        header.dst = node_id_of(open->participants[rng_.below(open->participants.size())].name);
        header.request = 1 + rng_.below(3);
        header.answered_below = 1;
        header.type = 16;
        say(header, bus::Bytes(20, 7));
    }
    return true;
}

}  // namespace vflbus::sim
