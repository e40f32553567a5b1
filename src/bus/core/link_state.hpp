#pragma once
// What a link knows of runs and of the other ends of its messages. Private to the link_*.cpp files.

#include <algorithm>

#include "bus/core/link_core.hpp"

namespace vflbus::bus {

struct EncodedHeader {
    std::vector<std::uint8_t> bytes;
    [[nodiscard]] const std::uint8_t* data() const noexcept { return bytes.data(); }
    [[nodiscard]] std::size_t size() const noexcept { return bytes.size(); }
};

inline Payload encoded(const Header& header) {
    const HeaderBytes bytes = encode(header);
    return Payload::hold(EncodedHeader{{bytes.begin(), bytes.end()}});
}

/// A question of ours that has no answer yet.
struct LinkCore::Asked {
    NodeId dst;
    RunId run;
    Question question{};
    Bytes body;
    TimePoint deadline{};
};

struct LinkCore::Pending {
    std::uint16_t type = 0;
    std::shared_ptr<const Bytes> body;
    TimePoint again_at{};  ///< send it again then; zero: not scheduled
};

struct LinkCore::Answer {
    std::uint16_t type = 0;
    std::uint8_t flags = 0;
    std::shared_ptr<const Bytes> body;  ///< null: still being handled
};

struct LinkCore::Partial {
    std::uint16_t type = 0;
    std::uint8_t flags = 0;
    std::uint64_t total = 0;
    Bytes bytes;
    bool complete = false;
};

struct LinkCore::Peer {
    std::uint64_t incarnation = 0;  ///< 0: not known yet
    // -- what we ask of it
    std::uint64_t next_request = 1;
    std::map<std::uint64_t, Pending> pending;
    std::map<std::uint64_t, Partial> replies;
    // -- what it asks of us
    std::uint64_t next_expected = 1;
    std::map<std::uint64_t, Partial> requests;  ///< arriving, or whole and waiting for their turn
    std::map<std::uint64_t, Answer> answers;    ///< handed over, and what we said

    [[nodiscard]] std::uint64_t answered_below() const {
        return pending.empty() ? next_request : pending.begin()->first;
    }
    void forget_inbound() {
        next_expected = 1;
        requests.clear();
        answers.clear();
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
};

}  // namespace vflbus::bus
