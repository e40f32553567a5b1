#pragma once
// Configurations that `launch` makes itself: for one's own files, and for an example of its own.

#include <filesystem>
#include <string>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"

namespace vflbus::cli {

/// For --data FILE...: whose is which, which task, and a fifth of the ids for the test unless the
/// configuration keys say otherwise. Remarks go to standard error.
/// Errors: usage and bad_data, naming the file, the column and the nearest one.
Result<config::Config> configure_files(const LaunchArguments& arguments);

/// Makes a credit example in `directory` and a configuration for it.
Result<config::Config> configure_example(const LaunchArguments& arguments,
                                         const std::filesystem::path& directory);

}  // namespace vflbus::cli
