#pragma once
// What a broker holds against keys, as a file beside its allow-list, for `vflbus members`. One line
// for each name: `member-0 breaches=65 cut=2 until=2026-12-01T10:00:04Z`. Nobody decides by it: the
// broker forgets all of it when it ends.

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
    Seconds until = 0;           ///< held off until then; 0: never
};

/// Beside the list of the keys in `directory`.
std::filesystem::path conduct_path(const std::filesystem::path& directory);
std::string conduct_text(std::span<const ConductRow> rows, Seconds now);
/// Lines that make no sense are left out.
std::vector<NotedConduct> parse_conduct(std::string_view text);

}  // namespace vflbus::bus
