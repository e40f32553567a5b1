#include "world.hpp"

#include <algorithm>
#include <cstring>

#include "fingerprint.hpp"
#include "world_state.hpp"

namespace vflbus::sim {
namespace {

using bus::Kind;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// Of all frames, to tell two traces apart.
std::uint64_t hash_of(std::span<const std::uint8_t> bytes) {
    const auto [first, second, third, fourth] = fingerprint(bytes);
    const auto mixed = [](std::uint64_t h, std::uint64_t word) {
        h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
        return h ^ (h >> 29);
    };
    return mixed(mixed(mixed(first, second), third), fourth);
}

}  // namespace

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
        connection.unread += taken.size();
        connection.to_node = std::max(
            {connection.to_node,
             world_.now_ + world_.between(world_.faults_.delay_min, world_.faults_.delay_max),
             node.cut_off_until});
        world_.frame_at(connection.to_node, Event::What::frame_to_node, to, std::move(taken));
        return bus::SendResult::ok;
    }
    void close(bus::ConnId conn) override { world_.close_for_broker(conn); }
    std::shared_ptr<const bus::Identity> identity_of(bus::ConnId conn) override {
        const auto found = world_.connections_.find(conn);
        if (found == world_.connections_.end()) return nullptr;
        const std::string& name = world_.nodes_[found->second.node]->name;
        return std::make_shared<const bus::Identity>(bus::Identity{name, name});
    }

  private:
    World& world_;
};

class World::NodeSide final : public bus::LinkTransport {
  public:
    NodeSide(World& world, Node& node) : world_(world), node_(node) {}

    bus::SendResult send(bus::Frame& frame) override {
        return world_.send(node_, node_.connection, frame);
    }

    void reconnect() override {
        if (node_.connection != 0) {
            ++world_.coverage_["link reconnected by itself"];
            world_.drop_connection(node_.connection);
        }
        node_.connection = 0;
        world_.close_bulk(node_);
        world_.connect(node_, world_.between(milliseconds(1), milliseconds(20)));
    }

    bus::FrameSink* open_bulk() override {
        if (!world_.options_.bulk) return nullptr;
        ++world_.coverage_["bulk connection opened"];
        node_.bulk_wanted = true;
        world_.connect_bulk(node_);
        return &bulk_;
    }
    void close_bulk() override { world_.close_bulk(node_); }

  private:
    struct BulkSide final : bus::FrameSink {
        explicit BulkSide(NodeSide& of) : side(of) {}
        bus::SendResult send(bus::Frame& frame) override {
            return side.world_.send(side.node_, side.node_.bulk, frame);
        }
        NodeSide& side;
    };

    World& world_;
    Node& node_;
    BulkSide bulk_{*this};
};

bus::SendResult World::send(Node& node, std::uint64_t id, bus::Frame& frame) {
    if (node.dying) {
        frame = bus::Frame{};
        return bus::SendResult::ok;
    }
    const auto found = connections_.find(id);
    if (id == 0 || found == connections_.end() || now_ < node.choked_until)
        return bus::SendResult::full;
    Connection& connection = found->second;
    bus::Frame taken = std::move(frame);
    frame = bus::Frame{};
    if (node.hostile) {
        node.hostile->on_send(taken, connection.lane);
        if (taken.header.size() == 0) return bus::SendResult::ok;
    }
    if (!connection.alive) return bus::SendResult::ok;
    bus::Header header;
    (void)bus::decode(taken.header.bytes(), header);
    if (header.kind == Kind::hello) connection.hello = header.request;
    if (!node.hostile) {
        if (on_send) {
            std::span<const std::uint8_t> said = taken.body.bytes();
            std::optional<bus::Bytes> inside;
            if ((header.flags & bus::flag::sealed) != 0 && bus::is_data(header.kind)) {
                inside = seals_.opened(header, said);
                if (!inside && said.size() == header.body_bytes)
                    violate(node.name + " seals a body without what its header says");
            }
            if (inside) said = *inside;
            on_send(node.index, header, said);
        }
        if (seals_.take_repeated()) violate(node.name + " seals twice with one nonce and one key");
        if (bus::is_data(header.kind)) {
            if (!node.link->up()) violate(node.name + " sends a body before it is welcomed");
            watch_window(connection, true, taken.size());
            watch_credit(node, header, taken.body.size());
        }
    }
    if (header.kind == Kind::mark) watch_mark(connection, true, header.aux);
    const bool part = cut_in_body_ && bus::is_data(header.kind) &&
                      header.body_offset + taken.body.size() < header.body_bytes;
    to_broker(node, connection, std::move(taken), 2);
    if (part) cut_behind(node, connection);
    return bus::SendResult::ok;
}

void World::to_broker(Node& node, Connection& connection, bus::Frame&& frame, std::size_t frames) {
    connection.to_broker =
        std::max({connection.to_broker, now_ + between(faults_.delay_min, faults_.delay_max),
                  node.cut_off_until});
    frame_at(connection.to_broker, Event::What::frame_to_broker, connection.id, std::move(frame),
             frames);
}

/// What was sent so far still arrives, what follows does not.
void World::cut_behind(Node& node, Connection& connection) {
    std::exchange(cut_in_body_, nullptr)();
    ++coverage_["cut inside a body"];
    tell("fault: the connection of " + node.name + " breaks inside a body");
    at(connection.to_broker,
       [this, index = node.index, id = connection.id, lane = connection.lane] {
           const Node& at_it = *nodes_[index];
           if ((lane == bus::Lane::main ? at_it.connection : at_it.bulk) == id)
               cut(index, Told::both, lane);
       });
    connection.to_broker += milliseconds(1);
}

World::World(std::uint64_t seed, WorldOptions options)
    : rng_(seed),
      bulk_rng_(mix_seed(seed, 2)),
      options_(options),
      faults_(options_.faults),
      begin_(TimePoint{} + std::chrono::hours(1)),
      now_(begin_),
      broker_side_(std::make_unique<BrokerSide>(*this)) {
    const bus::Limits& l = options_.limits;
    tell("limits: chunk=" + std::to_string(l.chunk) + " window=" + std::to_string(l.hop_window) +
         " mark=" + std::to_string(l.mark_every) + " credit_first=" +
         std::to_string(l.credit_first) + " share=" + std::to_string(l.credit_share_min) + ".." +
         std::to_string(l.credit_share_max) + " total=" + std::to_string(l.credit_total) +
         " room=" + std::to_string(l.body_budget) + " queue=" + std::to_string(l.broker_queue) +
         " outstanding=" + std::to_string(l.outstanding));
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
    return schedule(when, sequence_++);
}

World::Event& World::schedule(TimePoint when, std::uint64_t sequence) {
    std::uint32_t slot = 0;
    if (free_slots_.empty()) {
        slot = static_cast<std::uint32_t>(slots_.size());
        slots_.emplace_back();
    } else {
        slot = free_slots_.back();
        free_slots_.pop_back();
    }
    queue_.push({std::max(when, now_), sequence, slot});
    slots_[slot].order = sequence;
    return slots_[slot];
}

void World::at(TimePoint when, std::function<void()> action) {
    Event& event = schedule(when);
    event.what = Event::What::action;
    event.action = std::move(action);
}

void World::put_off(TimePoint when, Event::What what, std::uint64_t connection, bus::Frame&& frame,
                    std::size_t frames) {
    constexpr std::uint64_t in_order = (std::uint64_t{1} << 40) - 1;
    const std::uint64_t place = mix_seed(connection, 0x9e3779b9) >> 48;  // of the connection
    const std::uint64_t order = served_;
    Event& event = schedule(when, (place << 40) | (order & in_order));
    event.order = order;
    event.what = what;
    event.connection = connection;
    event.frames = frames;
    event.frame = std::move(frame);
}

void World::frame_at(TimePoint when, Event::What what, std::uint64_t connection, bus::Frame&& frame,
                     std::size_t frames) {
    Event& event = schedule(when);
    event.what = what;
    event.connection = connection;
    event.frames = frames;
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
        served_ = slots_[due.slot].order;
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
                arrive_at_broker(event.connection, std::move(event.frame), true, event.frames);
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
           (node.link ? " link wants " + ms(node.link->next_deadline() - node.leapt) + " queues " +
                            std::to_string(node.link->queued_bytes()) + " B, gives room to " +
                            std::to_string(node.link->reserved_bytes()) + " B, " +
                            std::to_string(node.link->waiting_bodies()) + " wait for it, " +
                            std::to_string(node.link->arriving_bytes()) + " B arrive"
                      : "");
}

void World::tell(const std::string& line) {
    if (options_.story_lines == 0) return;
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(elapsed()).count();
    story_.push_back(std::to_string(us) + " us  " + line);
    if (story_.size() > options_.story_lines) story_.pop_front();
}

void World::tell_frame(const std::string& from, const std::string& to, const bus::Frame& frame) {
    bus::Header h;
    if (!options_.frames_told || bus::decode(frame.header.bytes(), h) != bus::HeaderFault::none)
        return;
    std::string who = std::to_string(h.dst.value);
    for (const auto& node : nodes_) {
        if (node->id == h.dst) who = node->name;
    }
    tell(from + " -> " + to + "  " + std::string(name_of(h.kind)) + " " + h.run.short_hex() +
         " term " + std::to_string(h.term) + " for " + who + " #" + std::to_string(h.request) +
         " below " + std::to_string(h.answered_below) + " flags " + std::to_string(h.flags) +
         " type " + std::to_string(h.type) + " aux " + std::to_string(h.aux) + " body " +
         std::to_string(h.body_offset) + "+" + std::to_string(frame.body.size()) + "/" +
         std::to_string(h.body_bytes));
}

void World::violate(const std::string& what) {
    if (violation_.empty()) violation_ = what;
    tell("VIOLATION " + what);
}

// -- broker ----------------------------------------------------------------------

void World::start_broker() {
    ++broker_life_;
    broker_paused_until_ = now_;
    bus::BrokerConfig config;
    config.timings = options_.timings;
    config.version = "sim";
    config.limits = options_.limits;
    if (options_.frames_vary && rng_.below(2) == 0) config.limits.frame = 2 * bus::chunk_bytes_min;
    frame_bytes_max_ = config.limits.frame;
    if (options_.extensions) config.welcome_extensions = {{7, {1, 2, 3}}};
    config.log = [this](const std::string& line) { watch_log(line); };
    if (options_.keys) config.access = &allowed_;
    for (bus::ConductRow row : conduct_noted_) {
        row.held_off -= broker_clock() - conduct_noted_at_;
        row.quiet += broker_clock() - conduct_noted_at_;
        config.conduct.push_back(std::move(row));
    }
    broker_ = std::make_unique<bus::BrokerCore>(std::move(config), *broker_side_, broker_clock());
    broker_armed_ = {};
    arm_broker();
}

void World::arm_broker() {
    broker_served_ = true;
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
    disturbed_until(now_ + down);
    tell("fault: the broker dies");
    ++broker_life_;
    conduct_noted_ = options_.keys ? broker_->held_against() : std::vector<bus::ConductRow>{};
    conduct_noted_at_ = broker_clock();
    broker_.reset();
    registered_.clear();
    open_runs_.clear();
    seen_here_.clear();
    std::vector<std::uint64_t> ids;
    for (const auto& [id, connection] : connections_) ids.push_back(id);
    for (const std::uint64_t id : ids) {
        Node& node = *nodes_[connections_.at(id).node];
        drop_connection(id);
        reconnect(node, id);
    }
    after(down, [this] {
        tell("the broker is back, empty");
        start_broker();
    });
}

void World::pause_broker(Duration length) {
    if (!broker_) return;
    ++coverage_["broker stopped for a while"];
    disturbed_until(now_ + length);
    tell("fault: the broker is stopped for a while");
    if (now_ >= broker_paused_until_) broker_paused_from_ = now_;
    broker_paused_until_ = std::max(broker_paused_until_, now_ + length);
    ++broker_disturbed_;
    broker_armed_ = {};
    arm_broker();
}

void World::leap_broker(Duration by) {
    if (!broker_) return;
    ++coverage_["broker's clock leaps"];
    disturbed_until(now_);
    tell("fault: the broker's clock leaps");
    broker_leapt_ += by;
    ++broker_disturbed_;
    broker_armed_ = {};
    arm_broker();
}

void World::arrive_at_broker(std::uint64_t id, bus::Frame&& frame, bool from_link,
                             std::size_t frames) {
    const auto found = connections_.find(id);
    if (found == connections_.end() || !found->second.alive || !broker_) return;
    Node& node = *nodes_[found->second.node];
    bus::Header header;
    const bool right = bus::decode(frame.header.bytes(), header) == bus::HeaderFault::none &&
                       bus::valid(header, frame.body.size());
    const auto speaker = registered_.find(node.name);
    // read late, it was in the socket in time
    if (right && from_link && speaker != registered_.end() && speaker->second.connection == id)
        speaker->second.spoke_at = now_;
    if (now_ < broker_paused_until_)
        return put_off(broker_paused_until_, Event::What::frame_to_broker, id, std::move(frame),
                       frames);
    tell_frame(node.name, "broker", frame);
    mix(id);
    mix(hash_of(frame.header.bytes()));
    mix(hash_of(frame.body.bytes()));
    const bool known = speaker != registered_.end() && speaker->second.connection == id;
    if (right) watch_arrival_at_broker(found->second, header, frame.body.bytes(), from_link);
    if (right && known && header.kind == Kind::bye) speaker->second.left = true;
    const bool honest = known && from_link && !node.hostile;
    // without authentication the first who says so owns a run (docs/protocol.md, section 11):
    // whoever opens a run of somebody else that is closed for the moment has got it
    if (right && node.hostile && header.kind == Kind::open && honest_ids_.contains(header.run) &&
        !open_runs_.contains(header.run))
        return;
    if (honest && frame.body.size() > frame_bytes_max_)
        violate(node.name + " sent a frame larger than the broker takes");
    if (right && honest && header.kind == Kind::open) watch_open(node, header, frame.body.bytes());
    const bool repeat =
        right && known && header.kind == Kind::answer && std::exchange(repeat_answer_, false);
    hand_to_broker(id, std::move(frame), frames, repeat);
    if (right && honest && header.kind == Kind::query) answer_falsely(header);
}

void World::hand_to_broker(std::uint64_t id, bus::Frame&& frame, std::size_t frames, bool repeat) {
    std::optional<bus::Frame> again;
    if (repeat) {
        ++coverage_["an answer is repeated"];
        again = {bus::Payload::copy_of(frame.header.bytes()),
                 bus::Payload::copy_of(frame.body.bytes())};
    }
    serving_ = id;
    const bus::BrokerCounters before = broker_->counters();
    broker_->on_frame(id, std::move(frame.header), std::move(frame.body), frames, broker_clock());
    if (again)
        broker_->on_frame(id, std::move(again->header), std::move(again->body), 2, broker_clock());
    serving_ = 0;
    watch_conduct(id, before);
    arm_broker();
}

void World::give_rights(const std::string& name, std::uint8_t rights) {
    allowed_.give_rights(name, rights);
}

void World::revoke(const std::string& name) {
    // (one that stands still looks at its list when it goes on)
    if (now_ < broker_paused_until_)
        return at(broker_paused_until_ + milliseconds(1), [this, name] { revoke(name); });
    tell("the key of " + name + " is revoked");
    allowed_.revoke(name);
    if (!broker_) return;
    broker_->on_access_changed(broker_clock());
    arm_broker();
}

// -- nodes -----------------------------------------------------------------------

std::size_t World::add_node(std::string name, std::string role, std::int64_t rank, Setup setup,
                            bool running, std::vector<std::string> features) {
    auto node = std::make_unique<Node>();
    node->index = nodes_.size();
    node->name = std::move(name);
    node->id = node_id_of(node->name);
    node->role = std::move(role);
    node->rank = rank;
    node->features = std::move(features);
    node->setup = std::move(setup);
    allowed_.allow(node->name, node->role, node->rank);
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

std::uint64_t World::incarnation_known(std::size_t node, const RunId& run, NodeId peer) const {
    const auto found = known_incarnations_.find({node, run, peer});
    return found == known_incarnations_.end() ? 0 : found->second;
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
    // (there were processes of this name before, so that an earlier one may come back)
    std::uint64_t& last = incarnations_.try_emplace(node.name, 1000).first->second;
    if (behind == 0)
        node.incarnation = ++last;
    else
        node.incarnation = last + 1 > behind ? last + 1 - behind : 1;
    ++node.life;
    node.busy_until = now_;
    node.paused_until = now_;
    node.choked_until = now_;
    node.deaf_until = now_;
    node.slow_until = now_;
    node.work = node.given_up = 0;
    node.worked = {};
    node.armed = {};
    node.connection = 0;
    node.connecting = false;
    node.bulk = 0;
    node.bulk_wanted = false;
    node.dying = false;
    node.returning = false;
    node.told_fatal = false;
    node.side = std::make_unique<NodeSide>(*this, node);
    bus::LinkConfig config;
    config.hello = {node.name,   node.role, node.rank,    node.incarnation,
                    rng_.next(), "sim",     node.features};
    if (options_.extensions) config.hello.extensions = {{1, {1}}, {301, {}}};
    config.timings = options_.timings;
    config.limits = options_.limits;
    config.seed = rng_.next();
    config.names_of_keys = options_.keys;
    if (options_.seal)
        config.seal = seal_config(node.name, node.name + " at " + std::to_string(node.index) +
                                                 " in life " + std::to_string(node.life));
    node.link = std::make_unique<bus::LinkCore>(std::move(config), *node.side);
    node.core = std::make_unique<actors::NodeCore>(
        actors::NodeCoreConfig{node.name, node.rank, [this, &node] { return clock_of(node); },
                               options_.link_timeout},
        *node.link, no_lock_);
    connect(node, between(milliseconds(1), milliseconds(50)));
    node.setup(*node.core);
    node.link->start(clock_of(node));
    arm_node(node);
}

std::uint64_t World::ask(std::size_t index, NodeId dst, const RunId& run, bus::Question kind,
                         bus::Bytes body, Duration patience) {
    Node& node = *nodes_[index];
    const TimePoint now = clock_of(node);
    const std::uint64_t number =
        node.link->query(dst, run, kind, std::move(body), now + patience, now);
    arm_node(node);
    return number;
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
        connection.incarnation = node.incarnation;
        node.connection = connection.id;
        connection.since = now_;
        connections_.emplace(connection.id, connection);
        arm_node(node);
    });
}

void World::reconnect(Node& node, std::uint64_t connection) {
    if (node.connection == connection) {
        node.connection = 0;
        connect(node, between(milliseconds(50), milliseconds(500)));
    } else if (node.bulk == connection) {
        node.bulk = 0;
        connect_bulk(node);
    }
}

void World::connect_bulk(Node& node) {
    const auto delay = milliseconds(1 + bulk_rng_.below(20));
    after(delay, [this, &node, life = node.life] {
        if (life != node.life || !node.bulk_wanted || node.bulk != 0) return;
        if (!broker_ || now_ < node.cut_off_until || now_ < node.paused_until)
            return connect_bulk(node);
        Connection connection;
        connection.id = next_connection_++;
        connection.node = node.index;
        connection.life = node.life;
        connection.incarnation = node.incarnation;
        connection.lane = bus::Lane::bulk;
        node.bulk = connection.id;
        connection.since = now_;
        connections_.emplace(connection.id, connection);
        arm_node(node);
    });
}

/// The node closes it: what is on its way arrives, or does not.
void World::close_bulk(Node& node) {
    node.bulk_wanted = false;
    const std::uint64_t id = std::exchange(node.bulk, 0);
    if (id == 0) return;
    tell_broker(id);
    if (bulk_rng_.below(2) == 0) return drop_connection(id);
    drop_when_read(id, milliseconds(100));
}

bool World::has_bulk(std::size_t node) const {
    return nodes_[node]->bulk != 0;
}

void World::drop_connection(std::uint64_t id) {
    connections_.erase(id);
}

/// Closed by the node: a broker that is stopped still reads what has arrived.
void World::drop_when_read(std::uint64_t id, Duration later) {
    at(std::max(now_ + later, broker_paused_until_ + Duration{1}),
       [this, id] { drop_connection(id); });
}

/// The broker cuts it: what is on its way is lost, and its node comes back on another one.
void World::close_for_broker(std::uint64_t id) {
    after(Duration{1}, [this, id] {
        const auto found = connections_.find(id);
        if (found == connections_.end()) return;
        ++coverage_["the broker closed a connection"];
        Node& node = *nodes_[found->second.node];
        drop_connection(id);
        reconnect(node, id);
    });
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
    bus::AnswerArrived answer;
    while (!node.dying && node.link->next_answer(answer))
        if (on_answer) on_answer(node.index, answer);
    if (node.core->handled() == handled) return;
    if (now_ < node.slow_until)
        occupy(node, now_ + between(Duration{1000}, node.slow_max));
    else
        node.busy_until = now_ + between(Duration{1000}, faults_.handler_max);
}

void World::occupy(Node& node, TimePoint until) {
    node.busy_until = std::max(node.busy_until, until);
    if (node.work != 0) return;  // it goes on for longer
    node.work = node.link->begin_work();
    node.working_since = now_;
    released_at(node, node.busy_until);
}

void World::released_at(Node& node, TimePoint when) {
    at(when, [this, &node, life = node.life] {
        if (life != node.life) return;
        const TimePoint then = std::max(node.busy_until, node.paused_until);
        if (now_ < then) return released_at(node, then);
        node.link->end_work(std::exchange(node.work, 0));
        const Duration took = now_ - node.working_since;
        if (took >= node.worked || now_ - node.worked_until > news_age()) {
            node.worked = took;
            node.worked_until = now_;
        }
        wake_node(node);
    });
}

void World::arrive_at_node(std::uint64_t id, bus::Frame&& frame) {
    const auto found = connections_.find(id);
    if (found == connections_.end() || !found->second.alive) return;
    Node& node = *nodes_[found->second.node];
    if ((node.connection != id && node.bulk != id) || !node.link) return;
    if (now_ < node.paused_until)  // it lies in the socket's buffer; what follows arrives after it
        return put_off(node.paused_until, Event::What::frame_to_node, id, std::move(frame));
    if (now_ < node.deaf_until)
        return put_off(node.deaf_until, Event::What::frame_to_node, id, std::move(frame));
    tell_frame("broker", node.name, frame);
    bus::Header header;
    const bool decoded = bus::decode(frame.header.bytes(), header) == bus::HeaderFault::none;
    mix(node.index);
    mix(hash_of(frame.header.bytes()));
    // what the broker only passes on is in the trace since it has arrived there
    mix(decoded && bus::is_data(header.kind) ? frame.body.size() : hash_of(frame.body.bytes()));
    if (!decoded || !bus::valid(header, frame.body.size()))
        violate("the broker sent an invalid frame to " + node.name);
    watch_arrival_at_node(node, found->second, header, frame.body.bytes());
    found->second.unread -= std::min<std::uint64_t>(found->second.unread, frame.size());
    if (node.hostile) node.hostile->on_arrival(header, frame.body.bytes());
    const bus::Lane lane = found->second.lane;
    if (lane == bus::Lane::bulk) {
        ++coverage_["frame on a bulk connection"];
        if (is_data(header.kind) && header.body_offset == 0)
            violate("the first chunk of a body came on the bulk connection of " + node.name);
    }
    node.link->on_frame(std::move(frame.header), std::move(frame.body), 2, clock_of(node), lane);
    wake_node(node);
}

}  // namespace vflbus::sim
