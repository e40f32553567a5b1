#pragma once
// What a world knows of processes and connections. Private to the world*.cpp files.

#include <optional>
#include <set>

#include "world.hpp"

namespace vflbus::sim {

inline constexpr Duration fault_period = std::chrono::milliseconds(100);

struct World::Connection {
    std::uint64_t id = 0;
    std::size_t node = 0;
    std::uint64_t life = 0;         ///< of the node when it was made
    std::uint64_t incarnation = 0;  ///< of its process then
    bus::Lane lane = bus::Lane::main;
    bool alive = true;         ///< frames still travel
    bool broker_knows = true;  ///< the broker's side still takes frames for it
    /// REQUEST and REPLY bytes that one side has sent on this connection, and those of them
    /// that the other side has proved to have read, as the frames say it.
    struct Hop {
        std::uint64_t sent = 0;
        std::uint64_t reported = 0;
        /// Tokens of MARKs that were not answered, and what was sent before each.
        std::deque<std::pair<std::uint64_t, std::uint64_t>> marks;
        /// Tokens of MARKs that are void, as their node was welcomed after it had sent them. They
        /// may still be answered, which says nothing.
        std::set<std::uint64_t> void_marks;
    };
    TimePoint since{};           ///< when it was made
    std::uint64_t breaches = 0;  ///< frames on it that the broker took for a breach
    std::uint64_t unread = 0;    ///< bytes that the broker has sent, and the node has not read
    Hop by_node;
    Hop by_broker;
    std::uint64_t hello = 0;      ///< the number of the node's last HELLO on it
    bool not_understood = false;  ///< its HELLO has an extension that the broker has to refuse
    TimePoint to_broker{};        ///< nothing overtakes: the last arrival so far, each way
    TimePoint to_node{};
};

struct World::Node {
    std::size_t index = 0;
    std::string name;
    NodeId id;  ///< of its name
    std::string role;
    std::int64_t rank = -1;
    std::vector<std::string> features;
    Setup setup;
    std::uint64_t incarnation = 0;
    std::uint64_t life = 0;        ///< events of an earlier life do nothing
    std::uint64_t connection = 0;  ///< 0: none
    bool connecting = false;
    std::uint64_t bulk = 0;  ///< its second connection; 0: none
    bool bulk_wanted = false;
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
    /// What its worker does, as the link knows: a number, 0 for nothing.
    std::uint64_t work = 0;
    TimePoint working_since{};
    Duration worked{};           ///< on the longest thing that has ended lately
    TimePoint worked_until{};    ///< ... then
    TimePoint delayed_until{};   ///< what it says may come late until then
    std::uint64_t given_up = 0;  ///< the work that it did when it was last given up as stalled
    TimePoint armed{};
    std::optional<Hostile> hostile;
    TimePoint deaf_until{};  ///< it reads nothing until then
    std::unique_ptr<NodeSide> side;
    std::unique_ptr<bus::LinkCore> link;
    std::unique_ptr<actors::NodeCore> core;
};

}  // namespace vflbus::sim
