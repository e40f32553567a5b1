#pragma once
// Scheme "file": a table in a file of this machine.

#include <memory>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "data/source.hpp"

namespace vflbus::data {

/// Errors: io (no such file, not a regular file), bad_data (its header is no header).
Result<std::unique_ptr<Source>> open_file(const SourceOptions& options);

/// The files that a location fits, sorted by name: itself when it is no pattern or a file of that
/// name is there; none when it is a pattern that fits nothing.
std::vector<std::string> files_of(const std::string& location);

}  // namespace vflbus::data
