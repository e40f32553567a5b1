#pragma once
// What `launch`, `tune` and `train-joined` make before a training begins: its configuration, from
// files, from a configuration or as an example, and the directory that it has to itself.

#include <filesystem>
#include <string>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "base/ids.hpp"
#include "config/config.hpp"
#include "resume.hpp"
#include "run_directory.hpp"

namespace vflbus::cli {

/// One training: new, or gone on with.
struct TrainingJob {
    RunId run;
    std::filesystem::path run_dir;
    config::Config config;
    RunDirectory directory;
    std::filesystem::path file;  ///< the configuration, as the children read it
    bool resume = false;
    std::string go_on;  ///< the command that continues it
};

/// A training of this id. Says what was guessed, a line each. The configuration is vflbus.toml in
/// its directory then.
Result<TrainingJob> new_job(const LaunchArguments& arguments, const RunId& run);
/// A training with this process as its master, and members that serve at `broker`. Errors: also
/// when the configuration lacks a key that the master needs.
Result<TrainingJob> master_job(const LaunchArguments& arguments, const std::string& broker,
                               const RunId& run);
/// The same training again.
Result<TrainingJob> old_job(const LaunchArguments& arguments, Resumed resumed);

}  // namespace vflbus::cli
