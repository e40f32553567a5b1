#pragma once
// A table on standard input, for runs whose parties are processes or threads of their own: a party
// that starts again, or goes on with --resume, could not read it a second time.

#include <filesystem>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"

namespace vflbus::cli {

/// Where a party's table is "-": keeps standard input in `run_dir`/data and has the party read it
/// there. Errors: usage when two tables are to come from it; io.
Result<> keep_standard_input(const Common& common, config::Config& config,
                             const std::filesystem::path& run_dir);

}  // namespace vflbus::cli
