#pragma once
// Broker, master and members as processes of this machine, from start to end.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "process.hpp"

namespace vflbus::cli {

struct LocalPlan {
    Transport transport = Transport::ipc;
    std::filesystem::path broker_log;
    std::vector<std::string> broker_arguments;  ///< beyond --bind
    ChildOptions master;                        ///< --broker is added to the arguments
    std::vector<ChildOptions> members;          ///< likewise

    // -- for runs that can go on; empty for others, which end with the first child that dies -----
    /// Restarts of one child that a signal ended, as long as `progress` does not change.
    std::uint64_t restarts_max = 0;
    std::function<std::uint64_t()> progress;  ///< the step of the last commit
    /// Whether something is stored that the run could go on with.
    std::function<bool()> can_resume;
    /// In place of master.arguments when it is started again.
    std::function<std::vector<std::string>()> master_again;
    /// What a killed process leaves half-written is removed from here; not for parties that run in
    /// containers, where every process is number 1.
    std::filesystem::path run_dir;
    /// The same, of one party alone; may be empty.
    std::function<std::vector<std::filesystem::path>(const std::string& name)> own_dirs;
    // -- for containers -----------------------------------------------------------------
    std::vector<std::string> broker_command;  ///< ChildOptions::command of the broker
    std::string broker_bind;                  ///< within its container
    std::string broker_address;               ///< where the others find it: known beforehand
    /// The second signal leaves this to be run; a path and its arguments.
    std::vector<std::string> at_once_command;
    bool keep = false;  ///< broker and members go on after a run that was completed

    /// Said when it was ended by a signal before the master could say where.
    std::string stopped_sentence = "stopped by a signal";
    /// Said when the second signal has ended everything; at most 1,000 characters.
    std::string at_once_sentence;
    /// Without this file there is nothing yet that could go on, and `never_began` is said.
    std::filesystem::path at_once_needs;
    static constexpr const char* never_began = "ended at once, before the run began";
};

struct LocalOutcome {
    int exit_code = 0;
    Failure failure{Errc::ok, {}};  ///< why not
    std::string output;             ///< of the master on standard output
};

/// Returns when all processes have ended; none is left and nothing but logs and results lies
/// around. A child that a signal ends is started again, within the plan's limits. SIGINT and
/// SIGTERM end the run in order: master, members, broker. The second one ends this process and the
/// others at once.
LocalOutcome run_locally(const LocalPlan& plan);

/// Hands on what the master printed, or says why not. Returns the exit code.
int report_local(const Common& common, const LocalOutcome& outcome);

}  // namespace vflbus::cli
