#include "bus/core/ended_runs.hpp"

#include <utility>

namespace vflbus::bus {

std::uint64_t EndedRun::kept_bytes() const noexcept {
    std::uint64_t bytes =
        waiting_frame_bytes + named.size() * sizeof(NodeId) + ending.sentence.size();
    for (const auto& [node, own] : sealed) bytes += own.size() + sizeof(NodeId);
    return bytes;
}

const EndedRun* EndedRuns::find(const RunId& run, TimePoint now) const noexcept {
    const auto found = runs_.find(run);
    return found == runs_.end() || now - found->second.at > kept_for_ ? nullptr : &found->second;
}

void EndedRuns::note(const RunId& run, EndedRun ended) {
    const TimePoint now = ended.at;
    erase(run);
    for (auto entry = runs_.begin(); entry != runs_.end();) {
        const auto next = std::next(entry);
        if (now - entry->second.at > kept_for_) forget(entry);
        entry = next;
    }
    const std::uint64_t bytes = ended.kept_bytes();
    bytes_of_[ended.payer] += bytes;
    bytes_ += bytes;
    of_payers_.emplace(ended.payer, now, run);
    runs_.emplace(run, std::move(ended));
    make_room();
}

void EndedRuns::erase(const RunId& run) {
    if (const auto found = runs_.find(run); found != runs_.end()) forget(found);
}

void EndedRuns::forget(std::map<RunId, EndedRun>::iterator run) {
    const EndedRun& ended = run->second;
    const std::uint64_t bytes = ended.kept_bytes();
    of_payers_.erase({ended.payer, ended.at, run->first});
    const auto paid = bytes_of_.find(ended.payer);
    paid->second -= bytes;
    if (paid->second == 0) bytes_of_.erase(paid);
    bytes_ -= bytes;
    runs_.erase(run);
}

void EndedRuns::make_room() {
    while (runs_.size() > places_ || bytes_ > bytes_max_) {
        // of what there is too much of: few long endings make no room for many short ones
        std::map<NodeId, std::uint64_t> taken;
        if (runs_.size() <= places_)
            taken = bytes_of_;
        else
            for (const Place& place : of_payers_) ++taken[std::get<NodeId>(place)];
        const auto most =
            std::ranges::max_element(taken, {}, [](const auto& payer) { return payer.second; });
        const auto oldest = of_payers_.lower_bound({most->first, TimePoint::min(), RunId{}});
        forget(runs_.find(std::get<RunId>(*oldest)));
    }
}

}  // namespace vflbus::bus
