#include "bus/core/conduct.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace vflbus::bus {

void Conduct::restore(std::span<const ConductRow> rows, TimePoint now) {
    VFLBUS_ASSERT(entries_.empty(), "what was held against keys is restored before anything else");
    if (!rows.empty()) ++changes_;  // what is left out, or bounded, is to be noted so
    for (const ConductRow& row : rows) {
        if (entries_.size() >= conduct_entries_max) return;
        const Duration quiet = std::max(row.quiet, Duration{});
        if (row.held_off <= Duration{} && quiet > forgiven_after) continue;
        Entry entry{Allowance(breaches_borne, now)};
        entry.breaches = row.breaches;
        entry.cuts = row.cuts;
        if (row.held_off > Duration{}) entry.until = now + std::min(row.held_off, longest_hold_off);
        entry.last = now - std::min<Duration>(quiet, forgiven_after);
        entries_.emplace(row.who, entry);
    }
}

bool Conduct::breach(const std::string& who, TimePoint now) {
    auto found = entries_.find(who);
    if (found == entries_.end()) {
        if (entries_.size() >= conduct_entries_max) forget(now);
        if (entries_.size() >= conduct_entries_max)
            entries_.erase(std::ranges::min_element(
                entries_, {}, [](const auto& entry) { return entry.second.last; }));
        found = entries_.emplace(who, Entry{Allowance(breaches_borne, now)}).first;
    }
    Entry& entry = found->second;
    ++entry.breaches;
    ++changes_;
    entry.last = now;
    if (now < entry.until) return true;  // of a connection that was not closed yet
    if (entry.left.take(1, now)) return false;
    const int doublings = static_cast<int>(std::min<std::uint64_t>(entry.cuts, 16));
    entry.until = now + std::min<Duration>(longest_hold_off, first_hold_off * (1 << doublings));
    ++entry.cuts;
    entry.left = Allowance(breaches_borne, now);
    return true;
}

Duration Conduct::held_off(const std::string& who, TimePoint now) const {
    const auto found = entries_.find(who);
    return found == entries_.end() ? Duration{} : std::max(Duration{}, found->second.until - now);
}

std::uint64_t Conduct::cuts(const std::string& who) const {
    const auto found = entries_.find(who);
    return found == entries_.end() ? 0 : found->second.cuts;
}

void Conduct::forget(TimePoint now) {
    const auto gone = std::erase_if(entries_, [&](const auto& entry) {
        return now - std::max(entry.second.until, entry.second.last) > forgiven_after;
    });
    if (gone != 0) ++changes_;
}

std::vector<ConductRow> Conduct::rows(TimePoint now) const {
    std::vector<ConductRow> rows;
    rows.reserve(entries_.size());
    for (const auto& [who, entry] : entries_)
        rows.push_back({who, entry.breaches, entry.cuts, std::max(Duration{}, entry.until - now),
                        std::max(Duration{}, now - entry.last)});
    return rows;
}

}  // namespace vflbus::bus
