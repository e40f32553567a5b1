#pragma once
// Broker, master and members as threads of this process, over inproc.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/errc.hpp"
#include "config/config.hpp"
#include "party.hpp"

namespace vflbus::cli {

struct ThreadPlan {
    const config::Config* config = nullptr;
    std::filesystem::path run_dir;    ///< state of the nodes goes to <run_dir>/<party>/node
    std::filesystem::path model_dir;  ///< PartyOptions::model_dir of the members
    std::filesystem::path out_dir;    ///< PartyOptions::out_dir of all
    actors::CommonSink on_common;     ///< PartyOptions::on_common of the members
    bool trains = false;              ///< it is a training, which may have an arbiter
    /// PartyOptions::tables of a member; may be empty.
    std::function<actors::TableSource(const std::string& member)> tables;
    /// The master drives several runs, with agreed halves of their own: members serve all of them.
    bool several_runs = false;
    bool verbose = false;
    bool quiet = false;
    /// Called in this thread.
    std::function<Failure(const PartyOptions&, const bus::StopSignal&)> master;
};

/// Returns when all threads have ended. SIGINT and SIGTERM stop the master, which ends the run for
/// all; the second one ends it without waiting for anybody.
Failure run_in_threads(const ThreadPlan& plan);

}  // namespace vflbus::cli
