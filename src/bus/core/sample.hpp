#pragma once
// What broker and link are doing at one moment, copied out for those who watch (src/observers). A
// sample is a value: who has it needs no lock, and nothing of it is on the path of a frame.

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "base/ids.hpp"
#include "bus/wire/questions.hpp"

namespace vflbus::bus {

/// Runs that are shown one by one; of all others only how many there are in each state.
inline constexpr std::size_t sampled_runs_max = 100;

struct BrokerSample {
    struct Node {
        std::string name;
        std::string role;
        NodeState state = NodeState::up;
        bool connected = false;
        Duration silent{};               ///< since the last frame that came of it
        std::uint64_t queued_bytes = 0;  ///< that wait here for it
        std::uint64_t credit_bytes = 0;  ///< that may be sent to it now
        std::uint64_t messages = 0;      ///< sent by it, and routed
        std::uint64_t bytes = 0;
        std::uint64_t sessions = 0;
    };
    struct Run {
        RunId run;
        RunState state = RunState::starting;
        TimePoint created{};
        std::uint64_t participants = 0;
        std::uint64_t messages = 0;
        std::uint64_t bytes = 0;
    };
    std::vector<Node> nodes;
    std::vector<Run> runs;  ///< the youngest `sampled_runs_max`, in order of their ids
    std::map<RunState, std::uint64_t> runs_by_state;
    std::map<Errc, std::uint64_t> refused;  ///< frames answered with ERROR, by reason
    std::uint64_t frames_in = 0;
    std::uint64_t frames_routed = 0;
    std::uint64_t bytes_routed = 0;
    std::uint64_t strangers = 0;
    std::uint64_t not_allowed = 0;
    std::uint64_t breaches = 0;  ///< frames that break the protocol
    std::uint64_t cuts = 0;      ///< how often somebody was cut for them
    std::uint64_t held_off = 0;  ///< keys and addresses that are kept out at the moment
    std::uint64_t connections = 0;
    std::uint64_t queued_controls = 0;
};

/// What a link has counted since it began.
struct LinkCounters {
    std::uint64_t sessions = 0;  ///< WELCOMEs: all but the first are reconnects
    std::uint64_t repeated = 0;  ///< bodies that were begun again
    std::uint64_t requests = 0;
    std::uint64_t sent_bytes = 0;
    std::uint64_t received_bytes = 0;
    std::uint64_t sent_bodies = 0;
    Duration sending{};    ///< of all of these, from being asked for to their last byte
    Duration heartbeat{};  ///< from the last PING to its PONG; 0: none has come
};

struct LinkSample {
    struct Peer {
        NodeId node;
        std::uint64_t open_requests = 0;  ///< that it has not answered
        std::uint64_t queued_bytes = 0;   ///< of bodies that are not sent
        std::uint64_t credit_bytes = 0;   ///< of these, what may be sent without asking
    };
    bool up = false;
    LinkCounters counters;
    std::vector<Peer> peers;  ///< of all runs together, in order of their ids
    std::uint64_t runs = 0;
    std::uint64_t queued_bytes = 0;
    std::uint64_t in_flight_bytes = 0;  ///< sent to the broker, not yet read by it
    std::uint64_t window_bytes = 0;
    std::uint64_t reserved_bytes = 0;  ///< of bodies that arrive
    std::uint64_t waiting_bodies = 0;
};

}  // namespace vflbus::bus
