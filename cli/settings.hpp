#pragma once
// From arguments and the environment to a configuration, and from that to what the bus wants.
// Section [bus] is read here and nowhere else: every command that connects, binds or starts a node
// takes its options from one of these functions, so that no command can forget a key.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "actors/node/node.hpp"
#include "arguments.hpp"
#include "base/errc.hpp"
#include "base/ids.hpp"
#include "bus/core/link_core.hpp"
#include "bus/zmq/broker_loop.hpp"
#include "config/config.hpp"

namespace vflbus::cli {

struct LoadMore {
    std::string self;                   ///< LoadOptions::self
    bool search = true;                 ///< LoadOptions::search
    std::vector<std::string> defaults;  ///< LoadOptions::defaults
};

/// Flags over --set over environment over file. Sets the log level when the configuration does.
Result<config::Config> load_config(const Common& common,
                                   const std::vector<config::Override>& flags = {},
                                   const LoadMore& more = {});

/// The run that --run-id names, or a new one where it names none. Errors: usage.
Result<RunId> run_id_or_random(const std::string& text);

/// --broker as an override, when it was given.
std::vector<config::Override> broker_flag(const std::string& broker);

/// A link of its own, of a process that is no node: `ask`, a serving master.
bus::LinkConfig link_config(const config::Config& config, bus::Hello hello);
/// Where nodes keep what is to outlive their runs, and one of them: runs_dir/nodes/NAME.
std::filesystem::path nodes_directory(const config::Config& config);
std::filesystem::path node_directory(const config::Config& config, const std::string& name);
/// Without context, features and `on_waiting`; its state is in its node_directory.
actors::NodeOptions node_options(const config::Config& config, const std::string& name);
/// Without context and ledger; binds to bus.bind, otherwise to bus.broker.
bus::BrokerOptions broker_options(const config::Config& config);

/// The keys of nodes of this configuration; of none where its broker is not reached over tcp.
bus::KeySource key_source(const config::Config& config);

Duration seconds(double value);

}  // namespace vflbus::cli
