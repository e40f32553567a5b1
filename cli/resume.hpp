#pragma once
// --resume RUN: which run that is, with what configuration it goes on, and whether it has to.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "base/ids.hpp"
#include "config/config.hpp"
#include "observe/report.hpp"
#include "settings.hpp"

namespace vflbus::cli {

struct Resumed {
    RunId run;
    std::filesystem::path run_dir;
    config::Config config;
    /// Nothing is left to do: this is what came of it.
    std::optional<observe::RunReport> completed;
};

/// Looks `text`, an id or its first digits, up under output.runs_dir. The configuration is the one
/// that --config or VFLBUS_CONFIG names, otherwise the one saved with the run, otherwise what is
/// found as always; --set and variables are stronger than each.
/// Errors: usage for no such run and for digits that several have; state_lost for one without a
/// record; those of load_config.
Result<Resumed> find_resumed(const Common& common, const std::string& text,
                             const std::vector<config::Override>& flags, const LoadMore& more);

/// Whether that run has a record from which it can go on.
bool can_resume(const std::filesystem::path& runs_dir, const RunId& run);
/// The step of the last commit in that record; 0 when there is none.
std::uint64_t last_commit(const std::filesystem::path& runs_dir, const RunId& run);

/// A word as a shell takes it.
std::string shell_word(const std::string& word);

/// "vflbus launch --local --resume 0123..., and where that run is if not under ./runs.
std::string resume_command(std::string_view command, const config::Config& config, const RunId& run,
                           const std::string& out);

/// ` --config FILE --set KEY=VALUE`, as they were given, for a command that says them again.
/// Without what is found by itself: the file that is saved with the run, and where that is.
std::string settings_again(const Common& common, const std::filesystem::path& run_dir);

}  // namespace vflbus::cli
