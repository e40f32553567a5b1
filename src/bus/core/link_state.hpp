#pragma once
// What a link knows of runs and of the other ends of its messages. Private to the link_*.cpp files.

#include <algorithm>

#include "bus/core/link_core.hpp"
#include "bus/wire/frame.hpp"

namespace vflbus::bus {

/// To the next try, where a connection takes nothing more or is not there yet.
inline constexpr Duration full_retry = std::chrono::milliseconds(20);

struct LinkCore::Pending {
    std::uint16_t type = 0;
    OutgoingBody out;
    TimePoint again_at{};  ///< send it again then, see LinkCore::again_at; zero: not scheduled
    Duration again_wait{};
    std::uint64_t said_below = 0;  ///< `answered_below` of its last frame
};

struct LinkCore::Answer {
    std::uint16_t type = 0;
    std::uint8_t flags = 0;
    std::uint64_t arrival = 0;  ///< of its request, among all that the user had to do
    OutgoingBody out;           ///< no body: still being handled
};

struct LinkCore::Peer {
    std::uint64_t incarnation = 0;  ///< 0: not known yet
    bool down = false;
    // -- what we ask of it
    std::uint64_t next_request = 1;
    std::map<std::uint64_t, Pending> pending;
    std::map<std::uint64_t, IncomingBody> replies;
    /// Below it, numbers that were answered or given up may be unknown to the receiver.
    std::uint64_t gaps_below = 0;
    // -- what it asks of us
    std::uint64_t next_expected = 1;
    std::map<std::uint64_t, IncomingBody>
        requests;                             ///< arriving, or whole and waiting for their turn
    std::map<std::uint64_t, Answer> answers;  ///< handed over, and what we said
    /// Handed over, and not answered. A peer that calls its requests answered before they are
    /// cannot make the user hold more of them than it may have open.
    std::set<std::uint64_t> at_user;
    // -- bodies on their way from it
    std::uint64_t arrived_bytes = 0;   ///< of bodies, so far
    std::uint64_t arrived_before = 0;  ///< the same at the last heartbeat
    unsigned idle_beats = 0;           ///< so long it has held room, and sent next to nothing
    // -- bodies on their way to it
    std::optional<BodyName> asking;  ///< large, begun, and without credit so far: one at a time
    std::deque<BodyName> queue;      ///< not begun; requests in order of their numbers
    /// No request of `pending` is due before that: where the peer stands among the deadlines.
    TimePoint look_at = TimePoint::max();

    [[nodiscard]] std::uint64_t answered_below() const {
        return pending.empty() ? next_request : pending.begin()->first;
    }
    void forget_inbound() {
        next_expected = 1;
        requests.clear();
        answers.clear();
        at_user.clear();
        std::erase_if(queue, [](const BodyName& name) { return name.reply; });
        if (asking && asking->reply) asking.reset();
    }
    /// Whether a body that is not handed over yet has room.
    [[nodiscard]] bool holds_room() const {
        const auto has = [](const auto& entry) { return entry.second.holds_room(); };
        return std::any_of(requests.begin(), requests.end(), has) ||
               std::any_of(replies.begin(), replies.end(), has);
    }
    /// Bodies of which a part is missing will be sent from their beginning.
    void forget_partials() {
        replies.clear();
        std::erase_if(requests, [](const auto& entry) { return !entry.second.whole(); });
    }
    /// It is gone. Its room is for others, that of whole bodies which wait for their turn included:
    /// it begins all again when it is back.
    void forget_arriving() {
        replies.clear();
        requests.clear();
    }
};

struct LinkCore::Run {
    RunId id;
    std::uint32_t term = 0;
    NodeId owner;
    bool ours = false;
    Bytes announcement;  ///< the body of our OPEN or JOIN
    std::map<NodeId, Peer> peers;
    LinkBytes bytes;
    bool opened = false;
    std::optional<Ending> closing;
    TimePoint close_until{};
    bool given_up = false;    ///< the user was told that nobody confirmed
    TimePoint announce_at{};  ///< say it again then; zero: not scheduled
    /// Neither of these two times is earlier.
    TimePoint look_at = TimePoint::max();
};

}  // namespace vflbus::bus
