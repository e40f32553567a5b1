#pragma once
// Runs of apps on this machine.

#include "arguments.hpp"

namespace vflbus::cli {

/// `launch --client FILE --server FILE ...`: the exit code is 0 when all runs are completed.
int launch_apps(const LaunchArguments& arguments);

}  // namespace vflbus::cli
