#pragma once
// The table of keys as pages for people: the reference and a commented configuration.

#include <filesystem>
#include <string>

#include "config/config.hpp"

namespace vflbus::config {

/// docs/configuration.md, whole.
std::string reference_markdown();

/// A commented configuration that load() reads back to the same values: the whole agreed half (none
/// when world_size is 0: a party that takes over its owner's), the parties, and of [bus] and
/// [output] what differs from the defaults. Paths below `relative_to` are written relative to it
/// (for a file that is stored there); all others as they are.
std::string to_toml(const Config& config, const std::filesystem::path& relative_to = {});

}  // namespace vflbus::config
