#pragma once
// What a broker holds against keys, as a file beside its allow-list, for `vflbus members` and for
// the broker that is started there next, which goes on from it. One line for each name:
// `member-0 breaches=65 cut=2 last=2026-12-01T10:00:00Z until=2026-12-01T10:00:04Z`.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bus/core/conduct.hpp"
#include "bus/keys/dates.hpp"

namespace vflbus::bus {

struct NotedConduct {
    std::string name;
    std::uint64_t breaches = 0;  ///< frames that broke the protocol
    std::uint64_t cuts = 0;      ///< how often the broker has cut it for them
    Seconds last = 0;            ///< when its last breach was; 0: not known
    Seconds until = 0;           ///< held off until then; 0: never
};

/// Beside the list of the keys in `directory`.
std::filesystem::path conduct_path(const std::filesystem::path& directory);
std::string conduct_text(std::span<const ConductRow> rows, Seconds now);
/// Lines that make no sense are left out.
std::vector<NotedConduct> parse_conduct(std::string_view text);
/// What was noted, as it stands at `now`: what a new broker begins with.
std::vector<ConductRow> rows_of(std::span<const NotedConduct> noted, Seconds now);

}  // namespace vflbus::bus
