#include "bus/core/waiting_runs.hpp"

#include "base/assert.hpp"
#include "bus/core/share.hpp"

namespace vflbus::bus {
namespace {

void take_one(std::map<NodeId, std::size_t>& counts, NodeId of) {
    const auto found = counts.find(of);
    VFLBUS_ASSERT(found != counts.end(), "a run that waits is counted for its master and payer");
    if (--found->second == 0) counts.erase(found);
}

}  // namespace

const WaitingRun* WaitingRuns::find(const RunId& run) const noexcept {
    const auto found = runs_.find(run);
    return found == runs_.end() ? nullptr : &found->second;
}

std::size_t WaitingRuns::places_of(NodeId payer) const noexcept {
    const auto found = places_taken_.find(payer);
    return found == places_taken_.end() ? 0 : found->second;
}

bool WaitingRuns::has_room_for(const RunId& run, NodeId by, NodeId payer) const noexcept {
    const WaitingRun* const known = find(run);
    if (known != nullptr && known->by == by) return true;
    const std::size_t taken = runs_.size() + (known == nullptr ? 1 : 0);
    if (taken > places_) return false;
    return may_take_one_more(places_of(payer), places_ - taken);
}

const WaitingRun& WaitingRuns::note(const RunId& run, NodeId by, NodeId payer,
                                    const std::string& by_name, const std::string& by_role,
                                    TimePoint now) {
    VFLBUS_ASSERT(has_room_for(run, by, payer), "a run is noted where there is room for it");
    const WaitingRun* const known = find(run);
    const TimePoint since = known == nullptr ? now : known->since;
    erase(run);
    ++places_taken_[payer];
    ++noted_by_[by];
    return runs_.emplace(run, WaitingRun{by, payer, by_name, by_role, true, since, now})
        .first->second;
}

void WaitingRuns::erase(const RunId& run) {
    const auto found = runs_.find(run);
    if (found == runs_.end()) return;
    take_one(places_taken_, found->second.payer);
    take_one(noted_by_, found->second.by);
    runs_.erase(found);
}

void WaitingRuns::begin_session(NodeId by) {
    if (noted_by_.count(by) == 0) return;
    for (auto& [id, run] : runs_)
        if (run.by == by) run.here = false;
}

}  // namespace vflbus::bus
