#pragma once
// A deterministic world: the real BrokerCore, LinkCore and NodeCore in one thread on a seeded clock
// and network.
//
// The network is TCP as ZeroMQ shows it: frames of a connection arrive in order or not at all; what
// is lost is the tail of a connection that breaks; a break is told to one side, both or none; the
// node's side connects again by itself.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "actors/node_core.hpp"
#include "base/rng.hpp"
#include "bus/core/broker_core.hpp"
#include "bus/core/link_core.hpp"

namespace vflbus::sim {

/// Rates are per simulated second and node (or per second for the broker).
struct Faults {
    Duration delay_min = std::chrono::microseconds(50);
    Duration delay_max = std::chrono::milliseconds(2);
    double cuts = 0;             ///< connections that break
    double broker_restarts = 0;  ///< the broker loses everything and comes back
    double partitions = 0;       ///< a node's frames wait for a while
    double pauses = 0;           ///< SIGSTOP and SIGCONT
    double garbage = 0;  ///< malformed frames from strangers and from a node's own connection
    double kills = 0;    ///< SIGKILL; the node comes back with a new incarnation
    Duration handler_max = std::chrono::milliseconds(1);
    Duration pause_max = std::chrono::seconds(4);
    Duration partition_max = std::chrono::seconds(4);
};

/// What happened how often: a test demands that what it planned did happen.
struct Coverage {
    std::map<std::string, std::uint64_t> counts;
    std::uint64_t& operator[](const std::string& name) { return counts[name]; }
};

class World {
  public:
    World(std::uint64_t seed, Faults faults, bus::Timings timings = {});
    ~World();

    using Setup = std::function<void(actors::NodeCore& core)>;
    /// `setup` is called for every process of that name: at the start and after each kill.
    std::size_t add_node(std::string name, std::string role, std::int64_t rank, Setup setup);

    /// Runs until `done` or until the simulated time is over; false: time was over.
    bool run_until(const std::function<bool()>& done, Duration limit);
    /// From now on no new faults; what is under way heals.
    void heal() { faults_on_ = false; }

    // -- by hand -----------------------------------------------------------------
    enum class Told : std::uint8_t { both, node, broker, none };
    void cut(std::size_t node, Told told);
    void restart_broker(Duration down);
    void pause(std::size_t node, Duration length);
    void partition(std::size_t node, Duration length);
    void kill(std::size_t node, std::optional<Duration> down);
    void send_garbage(std::size_t node);
    /// For a disk: the node's process dies in what it is doing now; nothing that it sends from
    /// here on leaves, and it starts again after `down`.
    void die_now(std::size_t node, Duration down);

    // -- properties ----------------------------------------------------------------
    [[nodiscard]] TimePoint now() const noexcept { return now_; }
    [[nodiscard]] Duration elapsed() const noexcept { return now_ - begin_; }
    [[nodiscard]] actors::NodeCore* core(std::size_t node);
    /// It is dying or down, and somebody will start it again.
    [[nodiscard]] bool will_return(std::size_t node) const;
    [[nodiscard]] const bus::BrokerCore* broker() const { return broker_.get(); }
    /// The same for the same seed; differs when anything anywhere differs.
    [[nodiscard]] std::uint64_t trace() const noexcept { return trace_; }
    [[nodiscard]] Coverage& coverage() noexcept { return coverage_; }
    [[nodiscard]] const std::deque<std::string>& story() const noexcept { return story_; }
    void tell(const std::string& line);
    /// What a node is waiting for, for stories.
    [[nodiscard]] std::string describe(std::size_t node) const;
    /// The first invariant that did not hold; empty when all did.
    [[nodiscard]] const std::string& violation() const noexcept { return violation_; }
    void violate(const std::string& what);
    [[nodiscard]] std::uint64_t events() const noexcept { return events_done_; }

  private:
    struct Node;
    struct Connection;
    struct Event {
        TimePoint at;
        std::uint64_t sequence;
        std::function<void()> action;
    };
    struct Later {
        bool operator()(const Event& a, const Event& b) const {
            return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
        }
    };

    void at(TimePoint when, std::function<void()> action);
    void after(Duration d, std::function<void()> action) { at(now_ + d, std::move(action)); }
    Duration between(Duration low, Duration high);
    void start_broker();
    void arm_broker();
    void start_node(Node& node);
    void arm_node(Node& node);
    void wake_node(Node& node);
    void pump(Node& node);
    void connect(Node& node, Duration delay);
    void drop_connection(std::uint64_t id);
    void arrive_at_broker(std::uint64_t connection, std::shared_ptr<bus::Frame> frame);
    void arrive_at_node(std::uint64_t connection, std::shared_ptr<bus::Frame> frame);
    void draw_faults();
    void check();
    void mix(std::uint64_t value);
    [[nodiscard]] bool chance(double per_second);

    class BrokerSide;
    class NodeSide;

    Rng rng_;
    Faults faults_;
    bus::Timings timings_;
    bool faults_on_ = true;
    TimePoint begin_;
    TimePoint now_;
    std::uint64_t sequence_ = 0;
    std::uint64_t events_done_ = 0;
    std::uint64_t at_this_time_ = 0;
    std::priority_queue<Event, std::vector<Event>, Later> queue_;
    std::unique_ptr<BrokerSide> broker_side_;
    std::unique_ptr<bus::BrokerCore> broker_;
    std::uint64_t broker_life_ = 0;
    TimePoint broker_armed_{};
    std::vector<std::unique_ptr<Node>> nodes_;
    std::map<std::uint64_t, Connection> connections_;
    std::uint64_t next_connection_ = 1;
    std::uint64_t trace_ = 0x9e3779b97f4a7c15ULL;
    Coverage coverage_;
    std::deque<std::string> story_;
    std::string violation_;
    actors::NodeLock no_lock_;
};

}  // namespace vflbus::sim
