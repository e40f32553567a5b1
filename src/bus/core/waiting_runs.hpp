#pragma once
// The runs that wait at serving masters, as the masters have told the broker with NOTE:
// docs/protocol.md, section 12.
//
// The problem: a run that waits for its turn is open nowhere, and those who ask the broker for runs
// want to see it. Its master may end before the run is opened; then nobody else would ever say that
// nothing comes of it. So the broker keeps a note of each waiting run, and after a grace gives up
// those whose master has not come back.
//
// BrokerCore is the only caller. It checks who may note what and writes to the registry.
//
// What may not happen: one master fills all places. They are divided as share.hpp says among
// payers: a payer is the key behind a master, or the master itself where there are no keys. A key
// speaks for many names, and with a share for each name it could take all places.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/ids.hpp"

namespace vflbus::bus {

struct WaitingRun {
    NodeId by;     ///< the master at which it waits
    NodeId payer;  ///< whose share of the places it takes
    std::string by_name;
    std::string by_role;
    bool here = true;  ///< the master has noted it in its present session
    TimePoint since{};
    TimePoint seen{};  ///< when that master was last known to be there
};

class WaitingRuns {
  public:
    explicit WaitingRuns(std::size_t places) noexcept : places_(places) {}

    /// Null: it does not wait at any master.
    [[nodiscard]] const WaitingRun* find(const RunId& run) const noexcept;
    /// Whether the master may note one run more at the cost of `payer`, or this one again.
    [[nodiscard]] bool has_room_for(const RunId& run, NodeId by, NodeId payer) const noexcept;
    /// It waits at this master, from now on or again. Precondition: `has_room_for`.
    const WaitingRun& note(const RunId& run, NodeId by, NodeId payer, const std::string& by_name,
                           const std::string& by_role, TimePoint now);
    /// It was opened, or will not be.
    void erase(const RunId& run);
    /// The master has begun another session, in which it has noted nothing yet.
    void begin_session(NodeId by);
    /// Takes out the runs whose master was not there for longer than `grace`. `is_there(by)` says
    /// whether a master is connected and heard of.
    template <class IsThere>
    std::vector<std::pair<RunId, WaitingRun>> give_up(TimePoint now, Duration grace,
                                                      IsThere&& is_there) {
        std::vector<std::pair<RunId, WaitingRun>> over;
        for (auto& [id, run] : runs_) {
            if (run.here && is_there(run.by)) run.seen = now;
            if (now - run.seen > grace) over.emplace_back(id, run);
        }
        for (const auto& [id, run] : over) erase(id);
        return over;
    }
    [[nodiscard]] std::size_t size() const noexcept { return runs_.size(); }

  private:
    [[nodiscard]] std::size_t places_of(NodeId payer) const noexcept;

    std::size_t places_;
    std::map<RunId, WaitingRun> runs_;
    std::map<NodeId, std::size_t> places_taken_;  ///< by payer; never 0
    std::map<NodeId, std::size_t> noted_by_;      ///< by master; never 0
};

}  // namespace vflbus::bus
