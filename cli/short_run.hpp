#pragma once
// What `check` and `predict` have in common: a run that nobody goes on with, driven from this
// process with members that are there, with threads of its own, or with processes of its own.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "actors/purpose.hpp"
#include "arguments.hpp"
#include "base/errc.hpp"
#include "base/ids.hpp"
#include "config/config.hpp"
#include "party.hpp"

namespace vflbus::cli {

/// The configuration of such a run, as its master has it. `defaults`: of this command, in the form
/// of --set; they count less than everything that is stated.
Result<config::Config> load_short(const ShortRunArguments& arguments,
                                  const std::vector<std::string>& defaults = {});

struct ShortRun {
    config::Config& config;
    std::filesystem::path run_dir;
    actors::Purpose purpose;
    /// Drives the run and prints what came of it.
    std::function<Failure(const PartyOptions&, const bus::StopSignal&)> as_master;
    /// The command that does this in a process of its own, but for what is the same for all.
    std::vector<std::string> command;
    std::filesystem::path model_dir;  ///< where members have their parts; may be empty
};

/// Returns the exit code.
int run_short(const ShortRunArguments& arguments, const ShortRun& run);

}  // namespace vflbus::cli
