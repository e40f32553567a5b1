#pragma once
// What goes on (live.hpp) as JSON, for `vflbus top --json` and for the page of `vflbus ui`.

#include <cstdint>
#include <string>
#include <utility>

#include "live.hpp"

namespace vflbus::cli {

/// Broker, nodes, and runs with their progress. One line.
std::string overview_json(const Live& live);
/// What is told of one run beside its row: configuration, where its time goes, missing log lines.
std::string facts_json(const LiveRun& run);
/// [step, loss]
std::string point_json(const std::pair<std::uint64_t, double>& point);

}  // namespace vflbus::cli
