#pragma once
// What is looked at whenever an actor starts, as it costs nothing: the quick half of `vflbus
// preflight`. A line each, and only when there is something to say. That its key is allowed and
// when it ends, the link finds out; how far the broker's clock is apart, the node.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"

namespace vflbus::cli {

inline constexpr std::uint64_t disk_wanted = 1ULL << 30;
/// With less a run that has to commit fails.
inline constexpr std::uint64_t disk_needed = 100ULL << 20;

/// Bytes that are free where the runs directory is, or will be; nothing where nobody can say.
std::optional<std::uint64_t> free_for_runs(const config::Config& config);

/// What there is to say, a sentence each. `party`: whose section counts; empty: nobody's. `free`:
/// how much is free, or nothing.
std::vector<std::string> quick_warnings(
    const config::Config& config, const std::string& party,
    const std::function<std::optional<std::uint64_t>(const config::Config&)>& free = free_for_runs);

/// The same as warnings in the log.
void look_quickly(const config::Config& config, const std::string& party);

}  // namespace vflbus::cli
