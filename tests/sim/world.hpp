#pragma once
// A deterministic world: the real BrokerCore, LinkCore and NodeCore in one thread on a seeded clock
// and network.
//
// The network is TCP as ZeroMQ shows it: frames of a connection arrive in order or not at all; what
// is lost is the tail of a connection that breaks; a break is told to one side, both or none; the
// node's side connects again by itself. Every process has a clock of its own, which may leap.
//
// What holds after every event is checked here (`violation`): bounds on queues, one live
// incarnation per name at the broker, frames only between those who are registered, nobody declared
// lost who spoke in time, one owner per run, nothing from one run to another, answers only to who
// asked, and no run that outlives the process that drives it.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "actors/node/node_core.hpp"
#include "base/rng.hpp"
#include "bus/core/broker_core.hpp"
#include "bus/core/link_core.hpp"
#include "sealing.hpp"

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
    std::map<std::string, std::uint64_t, std::less<>> counts;
    std::uint64_t& operator[](std::string_view name) {
        const auto found = counts.find(name);
        return found != counts.end() ? found->second : counts[std::string(name)];
    }
};

struct WorldOptions {
    Faults faults;
    bus::Timings timings;
    /// Contexts end when the broker was not heard of for so long.
    Duration link_timeout = std::chrono::seconds(360);
    bus::Limits limits{};
    std::size_t body_bytes_max = 2u << 20;  ///< of what is sent in this world
    bool bulk = true;                       ///< nodes can have second connections
    bool extensions = false;                ///< HELLO and WELCOME have some that may be ignored
    bool seal = false;                      ///< nodes seal what they say to each other
    bool keys = false;                      ///< each connection has the key of its node
    /// Each life of the broker takes frames of another size.
    bool frames_vary = false;
    std::size_t story_lines = 400;
    bool frames_told = false;  ///< the story has every frame that arrives
};

/// The allow-list of a world: the key of each node has its name, and is its own fingerprint.
class KeyList final : public bus::Access {
  public:
    [[nodiscard]] std::shared_ptr<const bus::Allowed> entry(
        const std::string& fingerprint) const override {
        const auto found = entries_.find(fingerprint);
        return found == entries_.end() ? nullptr : found->second;
    }
    void allow(const std::string& name, const std::string& role, std::int64_t rank) {
        bus::Allowed allowed;
        allowed.name = allowed.fingerprint = name;
        allowed.roles = {role};
        if (rank >= 0) allowed.ranks = {static_cast<std::uint64_t>(rank)};
        entries_[name] = std::make_shared<bus::Allowed>(std::move(allowed));
    }
    void give_rights(const std::string& name, std::uint8_t rights) {
        entries_.at(name)->rights = rights;
    }
    void revoke(const std::string& name) { entries_.erase(name); }

  private:
    std::map<std::string, std::shared_ptr<bus::Allowed>> entries_;
};

class World {
  public:
    World(std::uint64_t seed, WorldOptions options);
    World(std::uint64_t seed, Faults faults);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    using Setup = std::function<void(actors::NodeCore& core)>;
    /// A place where a process of that name runs; several places may have one name. `setup` is
    /// called for every process: at the start and after each kill.
    std::size_t add_node(std::string name, std::string role, std::int64_t rank, Setup setup,
                         bool running = true, std::vector<std::string> features = {});

    /// Runs until `done` or until the simulated time is over; false: time was over.
    bool run_until(const std::function<bool()>& done, Duration limit);
    void at(TimePoint when, std::function<void()> action);
    void after(Duration d, std::function<void()> action) { at(now_ + d, std::move(action)); }
    /// With keys: what the key of that name may do beside its role.
    void give_rights(const std::string& name, std::uint8_t rights);
    /// With keys: nobody of that name may come in from now on.
    void revoke(const std::string& name);
    /// From now on no new faults; what is under way heals.
    void heal() { faults_on_ = false; }

    // -- processes -----------------------------------------------------------------
    /// The next process of a place that is down. `behind`: its incarnation is so much below the
    /// next one of its name (a clock that was set back).
    void start(std::size_t node, std::uint64_t behind = 0);
    void kill(std::size_t node, std::optional<Duration> down);
    /// For a disk: the node's process dies in what it is doing now; nothing that it sends from
    /// here on leaves, and it starts again after `down`.
    void die_now(std::size_t node, Duration down);
    /// The process ends in order: BYE.
    void leave(std::size_t node);
    /// Calls into a running process, as a signal handler would.
    void act(std::size_t node, const std::function<void(actors::NodeCore&)>& call);
    /// A process whose link is over for good (superseded, name_taken, ...). Without a hook that is
    /// a violation.
    std::function<void(std::size_t node, const Failure& failure)> on_fatal;
    /// A frame leaves a process: what it says must be true by now.
    std::function<void(std::size_t node, const bus::Header& header,
                       std::span<const std::uint8_t> part)>
        on_send;

    // -- questions (docs/protocol.md, section 12) ------------------------------------
    /// A running process asks; the answer, or why there is none, comes to `on_answer`.
    std::uint64_t ask(std::size_t node, NodeId dst, const RunId& run, bus::Question question,
                      bus::Bytes body, Duration patience);
    std::function<void(std::size_t node, const bus::AnswerArrived& answer)> on_answer;

    // -- hostile nodes -----------------------------------------------------------------
    /// A place whose processes were let in like any other, and lie (hostile.hpp). What they say is
    /// held to no promise; what the broker and others do about it is.
    struct Hostile {
        /// What it makes of a frame of its own link. A frame without a header stays away.
        std::function<void(bus::Frame& frame, bus::Lane lane)> on_send;
        /// What its process gets.
        std::function<void(const bus::Header& header, std::span<const std::uint8_t> body)>
            on_arrival;
    };
    void make_hostile(std::size_t node, Hostile hostile);
    [[nodiscard]] bool hostile(std::size_t node) const;
    /// Past its link, on its connection: a message of `frames` ZeroMQ frames. False: there is no
    /// such connection now.
    bool inject(std::size_t node, const bus::Header& header, bus::Payload part,
                bus::Lane lane = bus::Lane::main, std::size_t frames = 2);
    /// It reads nothing of its connections for a while, and goes on to speak.
    void read_nothing(std::size_t node, Duration length);
    /// What the broker has sent on its first connection, of frames that the window counts.
    [[nodiscard]] std::uint64_t sent_to(std::size_t node) const;
    /// Runs that are open at the broker, of honest owners.
    struct KnownRun {
        RunId run;
        std::uint32_t term = 0;
        std::string owner;
    };
    [[nodiscard]] std::vector<KnownRun> honest_runs() const;

    // -- faults by hand --------------------------------------------------------------
    enum class Told : std::uint8_t { both, node, broker, none };
    /// False: there is nothing to cut.
    bool cut(std::size_t node, Told told, bus::Lane lane = bus::Lane::main);
    /// It has a second connection now.
    [[nodiscard]] bool has_bulk(std::size_t node) const;
    /// The next frame that is one of several chunks is the last of its connection.
    void cut_in_body(std::function<void()> when_cut = [] {}) { cut_in_body_ = std::move(when_cut); }
    void partition(std::size_t node, Duration length);
    void pause(std::size_t node, Duration length);
    void leap(std::size_t node, Duration by);
    /// The pipes between a node and the broker take nothing for a while.
    void choke(std::size_t node, Duration length);
    /// Its handlers take up to `most` for a while.
    void slow(std::size_t node, Duration most, Duration length);
    /// Its worker does not get on for a while, the link does.
    void hang(std::size_t node, Duration length);
    void restart_broker(Duration down);
    void pause_broker(Duration length);
    void leap_broker(Duration by);
    void send_garbage(std::size_t node);
    /// For a moment its connections have WINDOW frames that answer no MARK, beside what its link
    /// says. False: it is not there.
    bool lie_of_windows(std::size_t node);
    /// Somebody (a place without a process) joins the bus for a moment, with a well-formed REQUEST
    /// or OPEN of a run that is another's, or with an extension that has to be understood and is
    /// not. False: there is no run.
    bool intrude(std::size_t node);
    /// Some node sends another one a request in an open run that neither owns. False: there is no
    /// such run.
    bool trespass();
    /// The next question to a node is answered by this place without a process as well.
    void forge_answer(std::size_t node) { forger_ = node; }
    /// The next answer of a node reaches the broker twice.
    void repeat_answer() { repeat_answer_ = true; }

    // -- properties ----------------------------------------------------------------
    [[nodiscard]] TimePoint now() const noexcept { return now_; }
    /// When the last fault so far is, or was, over.
    [[nodiscard]] TimePoint calm_from() const noexcept { return calm_from_; }
    [[nodiscard]] Duration elapsed() const noexcept { return now_ - begin_; }
    [[nodiscard]] std::size_t nodes() const noexcept { return nodes_.size(); }
    [[nodiscard]] const std::string& name(std::size_t node) const;
    [[nodiscard]] std::uint64_t incarnation(std::size_t node) const;
    /// Which process of a peer the link of `node` takes for present in a run; 0: it was not told.
    [[nodiscard]] std::uint64_t incarnation_known(std::size_t node, const RunId& run,
                                                  NodeId peer) const;
    [[nodiscard]] bool running(std::size_t node) const;
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
    class BrokerSide;
    class NodeSide;

    /// What is due at a moment: an action, or a frame that arrives.
    struct Event {
        enum class What : std::uint8_t { action, frame_to_node, frame_to_broker };
        What what = What::action;
        std::uint64_t connection = 0;
        std::size_t frames = 2;   ///< of the ZeroMQ message
        std::uint64_t order = 0;  ///< when it was scheduled first, however often it was put off
        std::function<void()> action;
        bus::Frame frame;
    };
    struct Due {
        TimePoint at;
        std::uint64_t sequence;
        std::uint32_t slot;
    };
    struct Later {
        bool operator()(const Due& a, const Due& b) const {
            return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
        }
    };

    Event& schedule(TimePoint when);
    Event& schedule(TimePoint when, std::uint64_t sequence);
    void frame_at(TimePoint when, Event::What what, std::uint64_t connection, bus::Frame&& frame,
                  std::size_t frames = 2);
    /// The frame of the event that is served just now arrives later, and before all that was sent
    /// after it on its connection. What lies in the sockets of several connections is read in any
    /// order of the connections: a younger process may be heard before the last words of an older.
    void put_off(TimePoint when, Event::What what, std::uint64_t connection, bus::Frame&& frame,
                 std::size_t frames = 2);
    Duration between(Duration low, Duration high);
    [[nodiscard]] TimePoint clock_of(const Node& node) const;
    [[nodiscard]] TimePoint broker_clock() const { return now_ + broker_leapt_; }
    void start_broker();
    void arm_broker();
    void arm_node(Node& node);
    void wake_node(Node& node);
    /// Its worker is at work until then, and its link knows.
    void occupy(Node& node, TimePoint until);
    void released_at(Node& node, TimePoint when);
    void pump(Node& node);
    void connect(Node& node, Duration delay);
    void connect_bulk(Node& node);
    void close_bulk(Node& node);
    /// A connection of a node is gone at its side, which makes another one.
    void reconnect(Node& node, std::uint64_t connection);
    bus::SendResult send(Node& node, std::uint64_t connection, bus::Frame& frame);
    void to_broker(Node& node, Connection& connection, bus::Frame&& frame, std::size_t frames);
    void cut_behind(Node& node, Connection& connection);
    void drop_connection(std::uint64_t id);
    void drop_when_read(std::uint64_t id, Duration later);
    void tell_broker(std::uint64_t connection);
    void close_for_broker(std::uint64_t connection);
    void arrive_at_broker(std::uint64_t connection, bus::Frame&& frame, bool from_link = true,
                          std::size_t frames = 2);
    void hand_to_broker(std::uint64_t connection, bus::Frame&& frame, std::size_t frames,
                        bool repeat);
    void arrive_at_node(std::uint64_t connection, bus::Frame&& frame);
    /// Counts, and checks, what the broker sends.
    void watch_unknown_run(const Node& node, const bus::Header& error);
    void watch_broker(Connection& connection, const bus::Frame& frame);
    void watch_welcome(Connection& connection);
    void watch_data(Connection& connection, const bus::Header& header, std::size_t bytes);
    /// `hop` is that of who sends the frame: it may cross the line, not begin beyond it.
    void watch_window(Connection& connection, bool by_node, std::size_t bytes);
    /// MARK was sent by `by_node`, and WINDOW answers one of its MARKs.
    void watch_mark(Connection& connection, bool by_node, std::uint64_t token);
    void watch_report(Connection& connection, bool by_node, std::uint64_t token);
    /// A part of a body, of `bytes`, that a node's link sends.
    void watch_credit(const Node& node, const bus::Header& header, std::size_t bytes);
    void watch_peer(const Node& node, const bus::Header& header, const bus::Frame& frame);
    void watch_answer(const Connection& connection, const bus::Header& header);
    void watch_open(const Node& node, const bus::Header& header,
                    std::span<const std::uint8_t> body);
    void watch_arrival_at_broker(Connection& connection, const bus::Header& header,
                                 std::span<const std::uint8_t> body, bool from_link);
    void watch_arrival_at_node(Node& node, Connection& connection, const bus::Header& header,
                               std::span<const std::uint8_t> body);
    void watch_log(const std::string& line);
    void watch_query(const bus::Header& header);
    void watch_conduct(std::uint64_t id, const bus::BrokerCounters& before);
    void watch_stall(const std::string& name);
    /// As old can be what the broker knows of a worker when it judges, with nothing in between.
    [[nodiscard]] Duration news_age() const {
        return options_.timings.heartbeat + options_.timings.check + std::chrono::milliseconds(100);
    }
    /// Unless something comes between, the broker has given the node up by then.
    void expect_stalled(Node& node, TimePoint until);
    /// A process is gone: a run that cannot go on without it has to end.
    void watch_orphans(const Node& node);
    void expect_closed(const RunId& run, std::uint64_t life);
    void draw_faults();
    void disturbed_until(TimePoint when);
    static void delay(Node& node, TimePoint until);
    void check();
    /// Well-formed frames on a connection, by hand.
    void say(std::uint64_t connection, std::size_t node, bus::Header header, bus::Bytes body);
    std::uint64_t connect_stranger(std::size_t node, bus::Extensions extensions = {});
    /// HELLO, or OPEN of a run of its own, with an extension that must be understood.
    void say_unknown_extension(std::size_t node);
    void answer_falsely(const bus::Header& query);
    void mix(std::uint64_t value);
    void tell_frame(const std::string& from, const std::string& to, const bus::Frame& frame);
    [[nodiscard]] bool chance(double per_second);

    SealWatch seals_;
    KeyList allowed_;
    Rng rng_;
    Rng bulk_rng_;  ///< of its own, so that worlds without large bodies go on as they did
    WorldOptions options_;
    Faults& faults_;
    bool faults_on_ = true;
    std::function<void()> cut_in_body_;
    TimePoint calm_from_{};
    TimePoint begin_;
    TimePoint now_;
    /// Frames that were put off have smaller ones, and come first among those of the same time.
    std::uint64_t sequence_ = std::uint64_t{1} << 62;
    std::uint64_t served_ = 0;  ///< `order` of the event that is served just now
    std::uint64_t events_done_ = 0;
    std::uint64_t at_this_time_ = 0;
    std::vector<Event> slots_;
    std::vector<std::uint32_t> free_slots_;
    std::priority_queue<Due, std::vector<Due>, Later> queue_;
    std::unique_ptr<BrokerSide> broker_side_;
    std::unique_ptr<bus::BrokerCore> broker_;
    struct SeenHere {
        NodeId owner;
        std::uint32_t term = 0;  ///< the last one, once it has ended
        std::optional<TimePoint> ended_at{};
    };
    /// By the first digits of runs that this life of the broker has seen opened.
    std::map<std::string, SeenHere> seen_here_;
    std::uint64_t broker_life_ = 0;
    /// What the broker that died last held against keys, and when it died.
    std::vector<bus::ConductRow> conduct_noted_;
    TimePoint conduct_noted_at_{};
    /// Until when nodes are held off, by the clock of the brokers, whichever of them has cut them.
    std::map<std::string, TimePoint> held_until_;
    std::size_t frame_bytes_max_ = 0;  ///< of the broker's present life
    TimePoint broker_armed_{};
    bool broker_served_ = false;  ///< since the last check; who calls the broker arms it afterwards
    TimePoint broker_paused_from_{};
    TimePoint broker_paused_until_{};
    Duration broker_leapt_{};
    int broker_disturbed_ = 0;  ///< pauses and leaps so far
    std::vector<std::unique_ptr<Node>> nodes_;
    std::map<std::string, std::uint64_t> incarnations_;  ///< the last one of each name
    std::map<std::uint64_t, Connection> connections_;
    std::uint64_t next_connection_ = 1;

    /// Who the broker has welcomed last under a name, in its present life.
    struct Registered {
        std::size_t node = 0;
        std::uint64_t life = 0;
        std::uint64_t connection = 0;
        std::uint64_t incarnation = 0;
        std::uint64_t bulk = 0;  ///< whose BULK it has answered last
        TimePoint spoke_at{};    ///< its last frame that the broker's socket has got
        bool left = false;       ///< it has said BYE
        TimePoint since{};       ///< when it was welcomed

        [[nodiscard]] bool speaks_on(std::uint64_t id) const {
            return connection == id || bulk == id;
        }
    };
    std::map<std::string, Registered> registered_;
    /// Runs that the broker has opened in its present life.
    struct OpenRun {
        std::string owner;
        NodeId drives;  ///< the id of `owner`
        std::uint32_t term = 0;
        bus::Bytes body;       ///< of the OPEN
        std::size_t node = 0;  ///< whose process has said it last
        std::uint64_t life = 0;
        bool to_all = false;
        std::set<NodeId> named;

        [[nodiscard]] bool may_talk(NodeId src, NodeId dst) const;
    };
    std::map<RunId, OpenRun> open_runs_;
    std::set<RunId> honest_ids_;  ///< of all runs that honest nodes have opened so far
    /// What a process (its node and life) has asked under a number: whom, in which run, what.
    struct AskedQuery {
        std::vector<std::tuple<NodeId, RunId, std::uint16_t>> asked;
        std::size_t answered = 0;
    };
    std::map<std::tuple<std::size_t, std::uint64_t, std::uint64_t>, AskedQuery> queries_;
    std::optional<std::size_t> forger_;
    bool repeat_answer_ = false;
    /// By node, run and peer, as PEER_UP or JOIN said.
    std::map<std::tuple<std::size_t, RunId, NodeId>, std::uint64_t> known_incarnations_;
    std::uint64_t serving_ = 0;  ///< the connection whose frame the broker handles now
    /// The highest number so far, by kind, run, term, source and destination.
    std::map<std::tuple<bus::Kind, RunId, std::uint32_t, std::uint64_t, std::uint64_t>,
             std::uint64_t>
        highest_;
    /// How much of an attempt to send a body its receiver has granted, by the sender's node and
    /// life, the receiver, and the attempt's tag.
    std::map<std::tuple<std::size_t, std::uint64_t, NodeId, std::uint64_t>, std::uint64_t> granted_;

    std::uint64_t trace_ = 0x9e3779b97f4a7c15ULL;
    Coverage coverage_;
    std::deque<std::string> story_;
    std::string violation_;
    actors::NodeLock no_lock_;
};

}  // namespace vflbus::sim
