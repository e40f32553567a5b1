#pragma once
// Scheme "file": a table in a file of this machine.

#include <memory>

#include "base/errc.hpp"
#include "data/source.hpp"

namespace vflbus::data {

/// Errors: io (no such file, not a regular file), bad_data (its header is no header).
Result<std::unique_ptr<Source>> open_file(const SourceOptions& options);

}  // namespace vflbus::data
