#pragma once
// The connections of a broker: which node speaks on each of them, if any.
//
// The problem: anybody can connect and say nothing. A connection is a stranger's until its HELLO or
// BULK was taken, and again after the session on it has ended. Strangers must not keep out those
// who say HELLO, nor get more memory of the transport with each session: so their number is
// bounded, those that say nothing are forgotten after a minute, and what was sent on a connection
// and was not read stays counted when its node changes (see under_way.hpp).
//
// BrokerCore is the only caller. It decides whose HELLO is taken; it closes the connections that
// this table gives up, and keeps the two connections of each node in its BrokerNode.
//
// What may not happen:
// - A connection belongs to two nodes, or a node that is deleted has one: release before the next
//   claim and before a node is deleted.
// - Anything that the broker does follows from the order of this table, which is that of a hash.

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/clock.hpp"
#include "base/ids.hpp"
#include "bus/core/allowance.hpp"
#include "bus/core/conduct.hpp"
#include "bus/core/hop.hpp"
#include "bus/core/under_way.hpp"

namespace vflbus::bus {

struct BrokerNode;

/// A connection, named by the transport; never reused while the broker lives.
using ConnId = std::uint64_t;

inline constexpr AllowanceLimits stranger_answers{.most = stranger_answers_at_once,
                                                  .per_second = stranger_answers_per_second};

struct Connection {
    BrokerNode* node = nullptr;  ///< null: a stranger's
    TimePoint since{};           ///< it is known, or a stranger's again
    Lane lane = Lane::main;
    Allowance answers{stranger_answers, since};  ///< to frames of a stranger
    Allowance breaches{breaches_borne, since};   ///< where nobody can say whose connection it is
    std::uint64_t unheard_bytes = 0;             ///< of a stranger's: that were sent without HELLO
    bool cut = false;  ///< it is being closed: what still comes is not looked at, nobody claims it
    /// Of a stranger's that was a node's before: what was sent on it and is not proved to be read,
    /// for the node that claims it next.
    std::unique_ptr<UnderWay> under_way{};
    NodeId waits_for{};  ///< the name that its HELLO has asked for while another process had it
};

class SessionTable {
  public:
    /// Whose connection a frame came on.
    struct Sender {
        BrokerNode* node = nullptr;  ///< null: a stranger
        Lane lane = Lane::main;
        bool crowded = false;  ///< there are too many strangers: forgotten unless it is claimed now
    };

    /// Called for every frame; a connection that is new is a stranger's. Nothing: there are too
    /// many strangers to look at one more that does not say HELLO, or it was cut.
    [[nodiscard]] std::optional<Sender> sender_of(ConnId from, bool says_hello, TimePoint now);
    /// Null: it is not known.
    [[nodiscard]] Connection* find(ConnId conn) noexcept;

    /// The connection is this node's from now on. Returns what is under way on it from an earlier
    /// session; null: nothing that is known. Precondition: it is no node's.
    std::unique_ptr<UnderWay> claim(ConnId conn, BrokerNode& node, Lane lane, TimePoint now);
    /// The session of its node has ended, and the connection is there still: a stranger's, with
    /// what is under way on it. False: there are too many strangers, it is forgotten, and the
    /// caller closes it. Precondition: it is known, and a node's.
    [[nodiscard]] bool release(ConnId conn, UnderWay under_way, TimePoint now);
    /// It is gone, or given up.
    void forget(ConnId conn);
    /// Forgets strangers that have been such for longer than `patience`; the caller closes them.
    [[nodiscard]] std::vector<ConnId> forget_strangers(TimePoint now, Duration patience);

    // -- properties ------------------------------------------------------------
    [[nodiscard]] std::size_t size() const noexcept { return connections_.size(); }
    [[nodiscard]] std::size_t of_nodes() const noexcept { return connections_.size() - strangers_; }

  private:
    std::unordered_map<ConnId, Connection> connections_;
    std::size_t strangers_ = 0;
    // The sender of the last frame, since most frames come in rows on one connection.
    ConnId last_conn_ = 0;
    Sender last_;
};

}  // namespace vflbus::bus
