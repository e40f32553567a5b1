#pragma once
// Broker, master and members as processes of this machine, from start to end.

#include <filesystem>
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
};

struct LocalOutcome {
    int exit_code = 0;
    Failure failure{Errc::ok, {}};  ///< why not, in one sentence
    std::string output;             ///< of the master on standard output
};

/// Returns when all processes have ended; none is left and nothing but logs and results lies
/// around. SIGINT and SIGTERM end the run in order: master, members, broker. The second one ends
/// this process and the others at once.
LocalOutcome run_locally(const LocalPlan& plan);

/// Hands on what the master printed, or says why not. Returns the exit code.
int report_local(const Common& common, const LocalOutcome& outcome);

}  // namespace vflbus::cli
