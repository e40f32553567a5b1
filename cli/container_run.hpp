#pragma once
// Broker, master and members as containers of this machine, from start to end.

#include <filesystem>
#include <string>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "base/ids.hpp"
#include "config/config.hpp"
#include "local_run.hpp"

namespace vflbus::cli {

struct ContainerJob {
    RunId run;
    std::filesystem::path run_dir;
    const config::Config& config;
    bool resume = false;
    std::string go_on;  ///< the command that continues it
};

/// That podman works here and the image is there: before anything is made.
/// Errors: usage.
Result<> containers_ready(const LaunchArguments& arguments);

/// As run_locally(): a network of its own without a way out, and in it one container per process,
/// each with its own data, its own part of the configuration and its own state and nothing else.
/// Supervised, started again and ended by the same rules. What the parties have written is in
/// job.run_dir afterwards, as after a local run; of containers and network nothing is left.
LocalOutcome run_in_containers(const LaunchArguments& arguments, const ContainerJob& job);

}  // namespace vflbus::cli
