#pragma once
// The runs that are open at a broker, and who is named in each: docs/protocol.md, section 5.
//
// The problem: who may open runs decides how much the broker keeps. There are only so many places
// for runs, the text of an OPEN stays in memory until its run is closed, and a JOIN until its
// participant has left. One node must not take what the others need. And when a node falls silent,
// the broker has to find all runs that it is named in without looking at every run.
//
// So all runs stand in one table. It says before anything is kept whether there is room for it, and
// it knows at any time which runs a node owns or is named in.
//
// BrokerCore is its only caller. BrokerCore decides who may open, join and close a run, and sends
// whatever is to be said of it; the table sends nothing, checks no right and knows no connection.
//
// What may not happen:
// - Members of a run change without the index of `runs_of`, or a JOIN without what its payer has.
//   Only the table changes them.
// - A BrokerRun is used after `close` of it.

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/ids.hpp"
#include "bus/core/limits.hpp"
#include "bus/wire/control.hpp"
#include "bus/wire/payload.hpp"
#include "bus/wire/questions.hpp"

namespace vflbus::bus {

/// A participant that the OPEN of a run names.
struct BrokerMember {
    Participant participant;
    NodeId id;
    bool joined = false;
    std::shared_ptr<const Bytes> join;  ///< the body of its JOIN, for an owner that comes back
    NodeId payer{};                     ///< at whose cost that is kept

    [[nodiscard]] std::uint64_t kept_bytes() const noexcept {
        return join == nullptr ? 0 : join->size() + waiting_frame_bytes;
    }
};

/// Bytes that a broker keeps of an OPEN: its body, and an entry for each participant.
inline std::uint64_t kept_of_open(std::size_t body_bytes, std::size_t participants) noexcept {
    return body_bytes + participants * waiting_frame_bytes;
}

struct BrokerRun {
    RunId id;
    std::uint32_t term = 0;
    NodeId owner;
    NodeId payer;  ///< whose share of the places it takes: see RunTable::room_for_open
    std::string owner_name;
    bool owner_here = false;  ///< the owner has sent OPEN in its present session
    TimePoint owner_lost_at{};
    std::shared_ptr<const Bytes> open;  ///< the body of OPEN, the same one for all participants
    bool open_to_all = false;           ///< members come and go; each hears of the owner alone
    bool needs_owner = false;           ///< ends with the process that drives it
    // -- for the rows of answers and of the registry
    std::string owner_role;
    RunState state = RunState::starting;
    Ending ending;
    TimePoint created{};
    TimePoint running_since{};
    TimePoint finished{};
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    std::uint64_t noted_bytes = 0;  ///< `bytes` when the registry was told last

    /// Ascending by node id.
    [[nodiscard]] const std::vector<BrokerMember>& members() const noexcept { return members_; }
    /// Null: `node` is not named in it.
    [[nodiscard]] BrokerMember* find(NodeId node) noexcept;
    [[nodiscard]] const BrokerMember* find(NodeId node) const noexcept {
        return const_cast<BrokerRun*>(this)->find(node);
    }
    /// Of what its owner has said.
    [[nodiscard]] std::uint64_t kept_bytes() const noexcept {
        return open == nullptr ? 0 : kept_of_open(open->size(), open_to_all ? 0 : members_.size());
    }
    /// The owner has announced it in its present session, a member has joined in its own.
    [[nodiscard]] bool takes_part(NodeId node) const noexcept;
    [[nodiscard]] bool all_joined() const noexcept {
        return std::ranges::all_of(members_, &BrokerMember::joined);
    }

  private:
    friend class RunTable;
    std::vector<BrokerMember> members_;
};

class RunTable {
  public:
    using Runs = std::map<RunId, std::unique_ptr<BrokerRun>>;

    /// Of `limits` only the places and bytes of runs count here.
    explicit RunTable(const Limits& limits) noexcept
        : places_(limits.runs), kept_of_one_(limits.kept_of_one), kept_opens_(limits.kept_opens) {}

    /// Null: there is no such run.
    [[nodiscard]] BrokerRun* find(const RunId& id) noexcept;
    [[nodiscard]] const BrokerRun* find(const RunId& id) const noexcept;
    /// Precondition: there is such a run.
    [[nodiscard]] BrokerRun& at(const RunId& id);
    [[nodiscard]] const BrokerRun& at(const RunId& id) const;
    [[nodiscard]] const Runs& all() const noexcept { return runs_; }
    [[nodiscard]] std::size_t size() const noexcept { return runs_.size(); }
    /// All runs that `node` owns or is named in, whether the broker knows the node or not. The
    /// reference holds until the members of any run change.
    [[nodiscard]] const std::set<RunId>& runs_of(NodeId node) const noexcept;

    // -- room ------------------------------------------------------------------
    enum class Room : std::uint8_t {
        free,
        no_place,       ///< the broker takes no more runs
        share_taken,    ///< the payer has so many that what is left is kept for others
        too_many_bytes  ///< of this payer, or of all OPEN
    };
    /// Whether an OPEN of which `kept` bytes would stay may open the run, or replace the OPEN that
    /// the run has. Places are divided as share.hpp says among payers: a payer is the key behind an
    /// owner, or the owner itself where there are no keys. A key speaks for many names, and with a
    /// share for each name it could take all places.
    [[nodiscard]] Room room_for_open(const RunId& id, NodeId payer, std::uint64_t kept) const;
    /// Whether a JOIN with a body of so many bytes may be kept for `node` in `run`.
    [[nodiscard]] bool room_for_join(const BrokerRun& run, NodeId node, NodeId payer,
                                     std::uint64_t bytes) const;
    [[nodiscard]] std::size_t places_of(NodeId payer) const noexcept;
    /// Bytes that are kept of OPEN and JOIN at the cost of `payer`, without the OPEN of one run.
    [[nodiscard]] std::uint64_t kept_bytes_of(NodeId payer, const BrokerRun* but_for) const;
    // -- of the payer that has most
    [[nodiscard]] std::size_t most_places() const noexcept;
    [[nodiscard]] std::uint64_t most_kept_bytes() const;

    // -- changes -----------------------------------------------------------------
    /// A new run, without members. Precondition: there is none with this id.
    BrokerRun& open(const RunId& id, NodeId owner, NodeId payer);
    /// Members from now on, ascending by node id and each once. Returns those before.
    std::vector<BrokerMember> set_members(BrokerRun& run, std::vector<BrokerMember> members);
    /// One member more, or another role and rank of one that is there.
    void add_member(BrokerRun& run, NodeId node, Participant participant);
    void remove_member(BrokerRun& run, NodeId node);
    /// What a member has said, in place of what it has said before. Precondition: `room_for_join`.
    void keep_join(BrokerMember& member, NodeId payer, std::shared_ptr<const Bytes> join);
    void close(const RunId& id);

  private:
    void index(NodeId node, const RunId& id);
    void unindex(NodeId node, const BrokerRun& run);
    void forget_join(const BrokerMember& member);

    std::size_t places_;
    std::uint64_t kept_of_one_;
    std::uint64_t kept_opens_;
    Runs runs_;
    std::map<NodeId, std::set<RunId>> runs_of_;   ///< never an empty set
    std::map<NodeId, std::size_t> places_taken_;  ///< by payer; never 0
    std::map<NodeId, std::uint64_t> joins_kept_;  ///< bytes by payer; never 0
};

}  // namespace vflbus::bus
