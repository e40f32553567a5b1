#pragma once
// What a broker knows of connections, nodes and runs. Private to the broker_*.cpp files.

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/text.hpp"
#include "bus/core/allowance.hpp"
#include "bus/core/broker_core.hpp"
#include "bus/core/under_way.hpp"
#include "bus/wire/frame.hpp"

namespace vflbus::bus {

inline std::uint64_t to_ms(Duration d) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(
        0, std::chrono::duration_cast<std::chrono::milliseconds>(d).count()));
}

/// What may wait for one node, so that no other one costs it its session.
inline constexpr ControlLimits waiting_control_limits{.frames = control_queue_frames_max,
                                                      .bytes = control_queue_bytes_max,
                                                      .passed_on_frames = passed_on_frames_max,
                                                      .passed_on_bytes = passed_on_bytes_max,
                                                      .of_one_frames = passed_on_of_one_frames_max,
                                                      .of_one_bytes = passed_on_of_one_bytes_max};

/// "member of rank 0", "arbiter"
inline std::string as_text(const Participant& participant) {
    return printable(participant.role) +
           (participant.rank < 0 ? std::string() : " of rank " + std::to_string(participant.rank));
}

struct BrokerCore::Asked {
    std::uint64_t instance = 0;  ///< which process asks
    NodeId of;
    RunId run;
    std::uint16_t type = 0;
    TimePoint until{};
    // -- when it was passed on last
    std::uint64_t asker_session = 0;
    std::uint64_t session = 0;  ///< of who was asked
    TimePoint at{};
};

inline constexpr AllowanceLimits announcements{.most = announcements_at_once,
                                               .per_second = announcements_per_second};

inline constexpr AllowanceLimits questions_of_key{.most = questions_of_key_at_once,
                                                  .per_second = questions_of_key_per_second};
inline constexpr AllowanceLimits notes_of_key{.most = notes_of_key_at_once,
                                              .per_second = notes_of_key_per_second};

/// Several times what two connections take. All at once comes what was sent while this machine was
/// paused, until its nodes took it for lost.
inline AllowanceLimits pings_of_node(const Timings& timings) noexcept {
    const double beat_s = std::chrono::duration<double>(timings.heartbeat).count();
    const double lost_s = std::chrono::duration<double>(timings.lost).count();
    return {.most = std::max(pings_at_once, 8 * lost_s / beat_s),
            .per_second = std::max(pings_per_second, 4 / beat_s)};
}

/// Another process that claims a name, while the one that has it is asked for a sign of life.
struct BrokerProbe {
    ConnId conn = 0;
    Hello hello;
    std::uint64_t hello_number = 0;
    std::uint64_t number = 0;  ///< of the PING
    TimePoint asked{};         ///< first
    TimePoint deadline{};
    // -- of the connection, as of its HELLO: the connection itself may be forgotten meanwhile
    std::shared_ptr<const Identity> key{};
    std::string whose{};  ///< under what name its conduct is remembered
};

struct BrokerNode {
    enum class State : std::uint8_t { up, suspect, lost };
    enum class Stall : std::uint8_t { none, told, down };

    /// Its second connection (docs/protocol.md, section 7).
    struct Bulk {
        explicit Bulk(HopSender sender) : out(std::move(sender)) {}
        ConnId conn = 0;  ///< 0: it has none
        TimePoint heard{};
        HopSender out;
        HopReceiver in;
        SmallTraffic small_traffic;
    };

    BrokerNode(NodeId node_id, const Limits& limits, MarkTokens& tokens,
               const AllowanceLimits& pings_allowed, TimePoint now)
        : id(node_id),
          pings(pings_allowed, now),
          out(tokens, {broker_node, id}, limits, limits.mark_every, waiting_control_limits),
          bulk(HopSender(tokens, {broker_node, id}, limits,
                         std::min<std::uint64_t>(limits.mark_every, bulk_chunk_bytes),
                         waiting_control_limits)) {}

    NodeId id;
    Allowance pings;  ///< that it may send
    Hello hello;
    std::shared_ptr<const Identity> key;  ///< of its connection; null: nothing is known of it
    ConnId conn = 0;                      ///< 0: not connected
    std::uint64_t session = 0;
    std::uint64_t sessions = 0;  ///< that it has had
    State state = State::up;
    bool left = false;  ///< it has said BYE
    TimePoint last_heard{};
    TimePoint gone_at{};  ///< its connection was closed then; zero: it was not
    TimePoint first_seen{};
    std::uint64_t messages = 0;  ///< sent by it, and routed
    std::uint64_t bytes = 0;
    std::uint64_t noted_bytes = 0;
    /// Of its frames that wait at destinations which are far behind, in all its sessions: it was
    /// not told that they are consumed, so a node that keeps to its window has no more there than
    /// that.
    std::uint64_t deferred_bytes = 0;
    std::size_t noted_runs = 0;
    std::uint64_t progress = 0;  ///< of its last beat
    bool busy = false;           ///< it said so in its last beat
    TimePoint progress_since{};
    TimePoint beat_at{};  ///< its last beat
    Stall stall = Stall::none;
    bool slow = false;          ///< nothing of its queue has left for a while, and that was said
    std::uint64_t drained = 0;  ///< what it had consumed then
    TimePoint drained_since{};
    HopSender out;
    HopReceiver in;
    Bulk bulk;

    /// Runs of which an OPEN or a JOIN to it found no room in its queue. They are said again when
    /// the queue is empty; a new session forgets them, since everything is said in it anyway.
    std::set<RunId> unsaid;

    std::optional<BrokerProbe> probe;

    /// Where its last frame went.
    struct Route {
        RunId run;
        std::uint32_t term = 0;
        NodeId dst;
        std::uint64_t generation = 0;
        BrokerNode* target = nullptr;
        BrokerRun* through = nullptr;
    } route;

    [[nodiscard]] std::uint64_t queued_bytes() const noexcept {
        return out.queued_bytes() + bulk.out.queued_bytes();
    }
    /// The same with what waiting frames cost besides.
    [[nodiscard]] std::uint64_t queued_cost() const noexcept {
        return out.queued_cost() + bulk.out.queued_cost();
    }
    [[nodiscard]] HopReceiver& in_of(Lane lane) noexcept {
        return lane == Lane::bulk ? bulk.in : in;
    }
    [[nodiscard]] HopSender& out_of(Lane lane) noexcept {
        return lane == Lane::bulk ? bulk.out : out;
    }
    [[nodiscard]] ConnId& conn_of(Lane lane) noexcept {
        return lane == Lane::bulk ? bulk.conn : conn;
    }
    [[nodiscard]] std::uint64_t consumed_bytes() const noexcept {
        return out.consumed_bytes() + bulk.out.consumed_bytes();
    }
};

struct BrokerCore::NodeSink final : FrameSink {
    NodeSink(BrokerTransport& transport, ConnId conn) : transport_(transport), conn_(conn) {}
    SendResult send(Frame& frame) override { return transport_.send(conn_, frame); }
    BrokerTransport& transport_;
    ConnId conn_;
};

/// Those who hear of `node` in this run: all others, in an open run only the owner, or of it.
template <class Visit>
void BrokerCore::for_each_peer(Run& run, const Node& node, Visit&& visit) {
    if (run.open_to_all && node.id != run.owner) {
        const auto owner = nodes_.find(run.owner);
        if (run.owner_here && owner != nodes_.end() && owner->second->conn != 0)
            visit(*owner->second);
        return;
    }
    for_each_joined(run, [&](Node& peer) {
        if (peer.id != node.id) visit(peer);
    });
}

template <class Visit>
void BrokerCore::for_each_joined(Run& run, Visit&& visit) {
    const auto with = [&](NodeId id) {
        const auto found = nodes_.find(id);
        if (found != nodes_.end() && found->second->conn != 0) visit(*found->second);
    };
    if (run.owner_here) with(run.owner);
    for (const Member& member : run.members())
        if (member.joined) with(member.id);
}

}  // namespace vflbus::bus
