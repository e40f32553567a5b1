#pragma once
// One party within this process: a member that serves, or a master that drives one run.

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "actors/env.hpp"
#include "actors/member.hpp"
#include "actors/node/node.hpp"
#include "actors/run/run.hpp"
#include "apps/helper.hpp"
#include "apps/server_host.hpp"
#include "arguments.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "observe/progress.hpp"
#include "run_desk.hpp"
#include "watch.hpp"

namespace vflbus::actors {
class SharedAlignment;
}

namespace vflbus::cli {

/// Where log lines of runs go besides standard error.
enum class RunLogs : std::uint8_t {
    to_files,      ///< runs/<run_id>/<party>/log as well
    nowhere_else,  ///< standard error is that file already (children of `launch`)
};

struct PartyOptions {
    std::shared_ptr<bus::Context> context;
    std::string broker;
    std::string node_name;            ///< empty: the party's name
    std::filesystem::path state_dir;  ///< empty: runs_dir/nodes/<name>
    std::filesystem::path out_dir;
    std::filesystem::path model_dir;
    RunLogs logs = RunLogs::to_files;
    /// Asks this process to end its run in order, for those who ask over the bus; may be empty.
    std::function<void()> stop_asked;
    /// What this process answers about its runs; made on first use.
    std::shared_ptr<RunDesk> desk;
    bool quiet = false;
    bool launched = false;             ///< by the command that started all parties
    std::filesystem::path policy;      ///< of a member; empty: what its section says
    std::filesystem::path policy_dir;  ///< of its decisions and audit log; empty: state_dir
    /// Takes part in set intersections alone, with a table of ids, and hands on what is common.
    actors::CommonSink on_common;
    /// In place of what the configuration says of this party's tables; may be empty.
    actors::TableSource tables;
    bool audits = false;        ///< a member keeps an audit log also without a policy
    std::filesystem::path app;  ///< the shared object of its app; empty: has none
    /// Who watches this party. A master's is made by its command, as its observers belong to the
    /// run; that of others on first use.
    std::shared_ptr<Watch> watch;
    /// Of a master: what its training shares with others of this process; may be null.
    std::shared_ptr<actors::SharedAlignment> alignment;
    bool shares_process = false;  ///< with all other parties (`launch --threads`)
};

/// Who watches a party of that name.
Result<std::shared_ptr<Watch>> watch_of(const config::Config& config, const PartyOptions& options,
                                        const std::string& party, const std::string& role);

/// Where this party finds its broker.
const std::string& broker_of(const config::Config& config, const PartyOptions& options);

/// The ClientApp of a node.
struct NodeApp {
    apps::Helper helper;
    apps::app::Values config;
};

/// Serves until `stop`; with `once` until the end of the first run. What that ended with, or why it
/// could not be served. With `app` runs of apps as well.
Failure serve_member(const config::Config& config, std::uint64_t rank, const PartyOptions& options,
                     const bus::StopSignal& stop, bool once, std::optional<NodeApp> app = {});
/// The arbiter of trainings that have one: the same.
Failure serve_arbiter(const config::Config& config, const PartyOptions& options,
                      const bus::StopSignal& stop, bool once);
/// Serves runs of apps alone, under the node name of `options`.
Failure serve_apps(const config::Config& config, const PartyOptions& options,
                   const bus::StopSignal& stop, bool once, NodeApp app);

/// The run of a ServerApp, and what came of it.
struct AppOutcome {
    Failure failure{Errc::ok, {}};
    apps::ServerHost::Counts counts;
    double seconds = 0;  ///< from connecting to the end of the run
};
AppOutcome drive_app(const config::Config& config, const PartyOptions& options,
                     const bus::StopSignal& stop, const RunId& run, apps::Helper helper,
                     apps::app::Values run_config);

/// What the master of a new run needs to be made. `env` must outlive it.
actors::MasterOptions master_options(const config::Config& config, const RunId& run,
                                     const PartyOptions& options, actors::Env& env);
/// The same of a run that is no training, which the metrics and the trace of this process are told
/// of as well. `options` gets its watch. Errors: those of Watch::start.
Result<actors::MasterOptions> watched_options(const config::Config& config, const RunId& run,
                                              PartyOptions& options, actors::Env& env);
/// The master of a training: whoever watches it is told as well. `options` has a watch. Errors:
/// those of Watch::observers and of make_train_master.
Result<std::unique_ptr<actors::Run>> watched_train_master(const config::Config& config,
                                                          const RunId& run,
                                                          const PartyOptions& options,
                                                          actors::Env& env, bool resume);

/// Drives `master` to its end, with progress on standard error. ok, or why the run failed.
Failure drive(actors::Run& master, const config::Config& config, const PartyOptions& options,
              const bus::StopSignal& stop);
/// Makes the master of a training with its observers, and drives it as above. `report`: that of the
/// run, also when it failed; untouched when the master could not be made.
Failure drive_training(const config::Config& config, const RunId& run, PartyOptions options,
                       const bus::StopSignal& stop, bool resume, observe::RunReport& report);

}  // namespace vflbus::cli
