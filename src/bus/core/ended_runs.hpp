#pragma once
// How the last runs ended: docs/protocol.md, section 5, "Who comes late".
//
// The problem: one participant refuses, and its owner closes the run, while another participant
// still reads its table or has no connection. When that one joins at last the run is not open any
// more, and "unknown run" would tell it, and whoever reads its log, nothing of the cause. So the
// broker remembers for a while how runs ended and who was named in them.
//
// BrokerCore is the only caller. It decides who is told, and sends it.
//
// What may not happen: what is remembered grows without end, or somebody who opens and closes many
// runs makes the broker forget how those of others ended. Places and bytes are bounded, and when
// one of them is full the payer that has most of it loses its oldest run. A payer is the key behind
// an owner, or the owner itself where there are no keys.

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "base/clock.hpp"
#include "base/ids.hpp"
#include "bus/wire/control.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::bus {

struct EndedRun {
    std::uint32_t term = 0;  ///< the last one
    NodeId payer;
    std::vector<NodeId> named;  ///< its participants, ascending
    Ending ending;
    std::map<NodeId, Bytes> sealed;  ///< what its owner has to say to each beside that
    TimePoint at{};
    bool open_to_all = false;  ///< any node may have been in it, also at an earlier broker
    NodeId owner{};            ///< only who joins this one is told

    [[nodiscard]] bool names(NodeId node) const noexcept {
        return open_to_all || std::ranges::binary_search(named, node);
    }
    [[nodiscard]] std::uint64_t kept_bytes() const noexcept;
};

class EndedRuns {
  public:
    explicit EndedRuns(std::size_t places = ended_runs_max, std::uint64_t bytes = ended_bytes_max,
                       Duration kept_for = std::chrono::seconds(ended_memory_s)) noexcept
        : places_(places), bytes_max_(bytes), kept_for_(kept_for) {}

    /// Null: it has not ended, or that is too long ago, or had to make room.
    [[nodiscard]] const EndedRun* find(const RunId& run, TimePoint now) const noexcept;
    /// It has ended. What is too old by then is forgotten.
    void note(const RunId& run, EndedRun ended);
    /// It is open again.
    void erase(const RunId& run);
    [[nodiscard]] std::size_t size() const noexcept { return runs_.size(); }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

  private:
    using Place = std::tuple<NodeId, TimePoint, RunId>;  ///< by payer, the oldest first
    void forget(std::map<RunId, EndedRun>::iterator run);
    void make_room();

    std::size_t places_;
    std::uint64_t bytes_max_;
    Duration kept_for_;
    std::map<RunId, EndedRun> runs_;
    std::set<Place> of_payers_;
    std::map<NodeId, std::uint64_t> bytes_of_;  ///< by payer; never 0
    std::uint64_t bytes_ = 0;
};

}  // namespace vflbus::bus
