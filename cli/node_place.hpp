#pragma once
// The directories of nodes of this machine, for commands that work on what lies in them.

#include <cstdint>
#include <filesystem>

#include "arguments.hpp"
#include "base/errc.hpp"

namespace vflbus::cli {

/// Where a node with this state directory keeps its audit log.
std::filesystem::path audit_directory(const std::filesystem::path& state_dir);

/// What comes of a node that is named and has no directory yet.
enum class Missing : std::uint8_t { is_an_error, is_made };

/// The state directory that --state-dir or --node says, or of the only node under output.runs_dir
/// that has an audit log. Errors: usage, naming the nodes that there are; bad_config.
Result<std::filesystem::path> find_node(const NodePlace& place,
                                        Missing missing = Missing::is_an_error);

}  // namespace vflbus::cli
