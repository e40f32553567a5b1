#pragma once
// Configurations that `launch` makes itself: for one's own files, and for an example of its own.

#include <string>
#include <vector>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"

namespace vflbus::cli {

/// For --data FILE...: whose is which, which task, and a fifth of the ids for the test unless the
/// configuration keys say otherwise. `notes` gets what was guessed, a line each.
/// Errors: usage and bad_data, naming the file, the column and the nearest one.
Result<config::Config> configure_files(const LaunchArguments& arguments,
                                       std::vector<std::string>& notes);

/// What --folds says, as a setting.
std::vector<config::Override> folds_flag(const LaunchArguments& arguments);

/// Makes a credit example under `output.runs_dir`/examples, where examples of the same task,
/// members and seed share their tables, and a configuration for it.
Result<config::Config> configure_example(const LaunchArguments& arguments,
                                         std::vector<std::string>& notes);

}  // namespace vflbus::cli
