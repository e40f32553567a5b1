#include "settings.hpp"

#include <unistd.h>

#include <utility>

#include "bus/keys/known_parties.hpp"
#include "observe/log.hpp"
#include "watch.hpp"

namespace vflbus::cli {
namespace {

bus::Timings timings_of(const config::BusConfig& bus) {
    bus::Timings timings;
    timings.heartbeat = seconds(bus.heartbeat_interval);
    timings.suspect = seconds(bus.suspect_after);
    timings.lost = seconds(bus.disconnect_idle_client_time);
    timings.check = seconds(bus.time_between_idle_connections_checks);
    timings.rejoin_grace = seconds(bus.rejoin_grace);
    timings.without_hello = seconds(bus.hello_timeout);
    timings.hello_retry_min = seconds(bus.hello_retry_min);
    timings.hello_retry_max = seconds(bus.hello_retry_max);
    timings.hello_retry_jitter = bus.hello_retry_jitter;
    timings.progress_stall = seconds(bus.progress_stall_after);
    timings.slow_peer = seconds(bus.slow_peer_after);
    timings.resolve = seconds(bus.resolve_timeout);
    return timings;
}

bus::Limits limits_of(const config::BusConfig& bus) {
    bus::Limits limits;
    limits.chunk = bus.chunk_bytes;
    limits.frame = bus.frame_bytes_max;
    limits.message = bus.message_bytes_max;
    limits.hop_window = bus.hop_window_bytes;
    limits.body_budget = bus.body_budget_bytes;
    limits.reply_budget = bus.body_budget_bytes;
    limits.outstanding = bus.outstanding_max;
    limits.nodes = bus.nodes_max;
    limits.runs = bus.runs_max;
    return limits;
}

/// How lines look, which there are, and which files they go to.
Result<> set_up_log(const config::OutputConfig& output) {
    namespace log = observe::log;
    log::set_format(output.log_format == "json" ? log::Format::json : log::Format::text);
    log::set_own_file({output.log_dir, output.log_file_bytes, output.log_files});
    return log::set_part_levels(output.log_levels);
}

}  // namespace

Result<config::Config> load_config(const Common& common, const std::vector<config::Override>& flags,
                                   const LoadMore& more) {
    config::LoadOptions options;
    options.path = common.config;
    options.search = more.search;
    options.environment = config::environment_of(environ);
    options.environment.erase("VFLBUS_RUN_ID");  // --run-id; no key of [run]
    options.self = more.self;
    options.defaults = more.defaults;
    for (const std::string& set : common.sets) options.sets.push_back({set});
    if (!common.certificates.empty())
        options.sets.push_back({"bus.certificates=" + common.certificates, "--certificates"});
    if (!common.trace.empty()) options.sets.push_back({"observe.trace=" + common.trace, "--trace"});
    if (!common.log_format.empty())
        options.sets.push_back({"output.log_format=" + common.log_format, "--log-format"});
    if (!common.metrics.empty())
        options.sets.push_back({"observe.metrics=" + common.metrics, "--metrics"});
    options.sets.insert(options.sets.end(), flags.begin(), flags.end());
    auto config = config::load(options);
    if (!config) return config;
    if (!common.quiet && !common.verbose)
        if (const auto level = observe::log::parse_level(config->output.log_level))
            observe::log::set_level(*level);
    if (auto logs = set_up_log(config->output); !logs) return tl::unexpected(logs.error());
    if (auto good = check_addresses(config->observe); !good) return tl::unexpected(good.error());
    return config;
}

Result<RunId> run_id_or_random(const std::string& text) {
    if (text.empty()) return random_run_id();
    return parse_run_id(text);
}

std::vector<config::Override> broker_flag(const std::string& broker) {
    if (broker.empty()) return {};
    return {{"bus.broker=" + broker, "--broker"}};
}

Duration seconds(double value) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(value));
}

bus::KeySource key_source(const config::Config& config) {
    const auto seal = static_cast<bus::SealMode>(config.bus.seal);  // the same three
    if (!config.bus.broker.starts_with("tcp://") && seal != bus::SealMode::on) return {};
    bus::KeySource keys{config.bus.certificates, config.bus.identity, seal,
                        config.bus.known_parties,
                        static_cast<bus::FirstUse>(config.bus.first_use)};  // the same two
    // keys that are mounted read-only, as systemd and Kubernetes hand them out: what is seen first
    // is noted where the party writes anyway. A file that is there and cannot be looked at stays:
    // the link refuses with it
    std::error_code ec;
    if (keys.given() && keys.known_parties.empty() &&
        ::access(config.bus.certificates.c_str(), W_OK) != 0 &&
        std::filesystem::symlink_status(keys.directory / bus::known_parties_name, ec).type() ==
            std::filesystem::file_type::not_found)
        keys.known_parties =
            std::filesystem::path(config.output.runs_dir) / bus::known_parties_name;
    return keys;
}

bus::LinkConfig link_config(const config::Config& config, bus::Hello hello) {
    bus::LinkConfig link;
    link.seed = hello.instance;
    link.hello = std::move(hello);
    link.timings = timings_of(config.bus);
    link.limits = limits_of(config.bus);
    return link;
}

std::filesystem::path nodes_directory(const config::Config& config) {
    return std::filesystem::path(config.output.runs_dir) / "nodes";
}

std::filesystem::path node_directory(const config::Config& config, const std::string& name) {
    return nodes_directory(config) / name;
}

actors::NodeOptions node_options(const config::Config& config, const std::string& name) {
    actors::NodeOptions node;
    node.name = name;
    node.broker = config.bus.broker;
    node.keys = key_source(config);
    node.state_dir = node_directory(config, name);
    node.timings = timings_of(config.bus);
    node.limits = limits_of(config.bus);
    node.connect_timeout = seconds(config.bus.rendezvous_timeout);
    node.link_timeout = seconds(config.bus.recv_timeout);
    node.workers = config.bus.workers;
    return node;
}

bus::BrokerOptions broker_options(const config::Config& config) {
    bus::BrokerOptions broker;
    broker.bind = config.bus.bind;
    if (broker.bind.empty()) broker.bind = {config.bus.broker};
    broker.insecure = config.bus.insecure;
    broker.certificates = config.bus.certificates;
    broker.timings = timings_of(config.bus);
    broker.limits = limits_of(config.bus);
    return broker;
}

}  // namespace vflbus::cli
