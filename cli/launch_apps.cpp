// vflbus launch --client: broker, nodes and server apps as processes of this machine, until the
// last server app has ended. A node or broker that a signal ends is started again; a server app is
// its run, which fails with it.

#include "launch_apps.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>

#include "apps/client_host.hpp"
#include "apps/helper.hpp"
#include "apps/run_config.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/json.hpp"
#include "base/text.hpp"
#include "bus/zmq/context.hpp"
#include "config/document.hpp"
#include "ended_child.hpp"
#include "local_broker.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "parties.hpp"
#include "settings.hpp"
#include "signals.hpp"
#include "supervisor.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;
using Clock = Supervisor::Clock;

/// For nodes to hear that a server is gone: the broker notices within a second, or two on a machine
/// that is busy.
constexpr auto hears_within = std::chrono::seconds(10);
constexpr auto after_signal = std::chrono::seconds(5);  // beyond the grace of the apps
/// Apps commit nothing that would show progress: restarts are counted in this time.
constexpr auto restarts_within = std::chrono::minutes(10);

void at_once() noexcept {
    kill_children();
    remove_private_directory();
}

/// Broker, nodes and server apps, until the last server app has ended.
class AppsRun {
  public:
    AppsRun(const LaunchArguments& arguments, const config::Config& config, fs::path run_dir)
        : arguments_(arguments),
          run_dir_(std::move(run_dir)),
          restarts_max_(config.bus.restarts_max),
          patience_(after_signal + std::chrono::duration_cast<Clock::duration>(
                                       std::chrono::duration<double>(config.bus.cancel_grace))),
          signals_(stop_, at_once) {}

    int run() {
        Result<> result = start();
        if (result) result = watch();
        if (result && !stop_seen_) let_nodes_hear();
        end_all();
        return report(result);
    }

  private:
    struct Server {
        Supervised* process;
        std::string app;
        std::string run_id;
    };

    // -- start ------------------------------------------------------------------------
    Result<> start() {
        BrokerPlan plan;
        plan.transport = arguments_.transport;
        plan.log = run_dir_ / "broker" / "log";
        plan.arguments = {"--config", config_file(), "--verbose"};
        RestartRule rule = node_rule();
        rule.address_taken = {static_cast<int>(ExitCode::network)};
        auto broker = LocalBroker::start(supervisor_, plan, std::move(rule), stop_);
        if (!broker) return tl::unexpected(broker.error());
        broker_.emplace(std::move(*broker));
        for (std::uint64_t i = 0; i < arguments_.members.value_or(2); ++i)
            if (auto done = start_node("node-" + std::to_string(i)); !done) return done;
        for (std::size_t i = 0; i < arguments_.servers.size(); ++i)
            if (auto done = start_server(i); !done) return done;
        return {};
    }

    [[nodiscard]] std::string config_file() const { return (run_dir_ / "vflbus.toml").string(); }

    /// Apps commit nothing, so restarts are counted in time.
    [[nodiscard]] RestartRule node_rule() const {
        RestartRule rule;
        rule.at_most = restarts_max_;
        rule.progress = [begin = Clock::now()] {
            return static_cast<std::uint64_t>((Clock::now() - begin) / restarts_within);
        };
        rule.since = "in ten minutes";
        rule.files = {run_dir_};
        rule.say = [](const std::string& text) { error_line(text); };
        return rule;
    }

    Result<> start_node(const std::string& name) {
        ChildOptions options;
        options.name = name;
        options.arguments = {"actor",
                             "--role",
                             "member",
                             "--app",
                             arguments_.client,
                             "--name",
                             name,
                             "--json",
                             "--config",
                             config_file(),
                             "--broker",
                             broker_->address(),
                             "--state-dir",
                             (run_dir_ / name / "node").string(),
                             "--verbose"};
        options.log = run_dir_ / name / "log";
        RestartRule rule = node_rule();
        // a node whose helper has died can start no more processes of apps, and ends with this
        rule.also_after = {static_cast<int>(ExitCode::internal)};
        auto started = supervisor_.start(std::move(options), std::move(rule));
        if (!started) return tl::unexpected(started.error());
        nodes_.push_back(*started);
        return {};
    }

    /// A server app is its run, which ends with it: it is not started again.
    Result<> start_server(std::size_t index) {
        const std::string id = random_run_id().hex();
        ChildOptions options;
        options.name = "server-" + std::to_string(index);
        options.arguments = {"actor",
                             "--role",
                             "serverapp",
                             "--app",
                             arguments_.servers[index],
                             "--name",
                             options.name,
                             "--run-id",
                             id,
                             "--json",
                             "--parent-tells",
                             "--config",
                             config_file(),
                             "--broker",
                             broker_->address(),
                             "--state-dir",
                             (run_dir_ / options.name / "node").string()};
        for (const std::string& word : arguments_.run_config)
            options.arguments.insert(options.arguments.end(), {"--run-config", word});
        if (arguments_.quiet) options.arguments.emplace_back("--quiet");
        if (arguments_.verbose) options.arguments.emplace_back("--verbose");
        auto started = supervisor_.start(std::move(options));
        if (!started) return tl::unexpected(started.error());
        servers_.push_back({*started, arguments_.servers[index], id});
        return {};
    }

    // -- while they run -----------------------------------------------------------------
    [[nodiscard]] Supervisor::Group server_group() const {
        Supervisor::Group group;
        for (const Server& server : servers_) group.push_back(server.process);
        return group;
    }
    void signal_servers(int number) const {
        for (const Server& server : servers_) server.process->signal(number);
    }

    /// Until the last server app has ended.
    Result<> watch() {
        auto until = Clock::time_point::max();
        while (any_running(server_group())) {
            supervisor_.wait(std::min(until, Clock::now() + std::chrono::seconds(1)),
                             stop_seen_ ? -1 : stop_.fd());
            if (stop_.stopped() && !stop_seen_) {
                stop_seen_ = true;
                signal_servers(SIGTERM);
                until = Clock::now() + patience_;
            }
            if (Clock::now() >= until) {
                signal_servers(SIGKILL);
                until = Clock::time_point::max();
            }
            if (auto good = look_after_nodes(); !good) return good;
        }
        return {};
    }

    /// Starts again what a signal has ended. Without a broker, or without any node, nothing goes
    /// on.
    Result<> look_after_nodes() {
        Supervisor::Group group = nodes_;
        group.push_back(&broker_->process());
        for (Supervised* place : group) {
            if (place->running() || place->accounted) continue;
            if (!stop_seen_ && supervisor_.start_again(*place)) continue;
            place->accounted = true;
            if (stop_seen_) continue;
            const std::string what =
                place->name() + " " + place->child().ending() + log_of(place->child());
            if (place == &broker_->process()) return fail(Errc::internal, "the " + what);
            error_line(what);  // the runs see for themselves what it means to them
            if (!any_running(nodes_)) return fail(Errc::peer_lost, "all nodes have ended; " + what);
        }
        return {};
    }

    /// Why a run has failed stands in the log of each node that was in it; so the nodes are not
    /// ended before they have heard of it.
    void let_nodes_hear() {
        std::vector<std::string> failed;
        for (const Server& server : servers_)
            if (outcome_of(server).value("status", "failed") == "failed")
                failed.push_back(server.run_id.substr(0, 8));
        const auto until = Clock::now() + hears_within;
        while (!failed.empty() && !stop_.stopped() && Clock::now() < until && !all_heard(failed))
            supervisor_.wait(Clock::now() + std::chrono::milliseconds(100), stop_.fd());
    }

    /// Whether the log of each node that runs has a line about the end of each of these runs that
    /// it knows: a server that died before its run was open has told no node of it.
    [[nodiscard]] bool all_heard(const std::vector<std::string>& runs) const {
        for (const Supervised* node : nodes_) {
            if (!node->running()) continue;
            const auto log = read_file(run_dir_ / node->name() / "log");
            if (!log) return false;
            const auto says = [&](const std::string& run) {
                bool known = false;
                for (const std::string& line : split(*log, '\n')) {
                    if (line.find(run) == line.npos) continue;
                    known = true;
                    if (line.find(apps::run_has_ended) != line.npos) return true;
                }
                return !known;
            };
            if (!std::ranges::all_of(runs, says)) return false;
        }
        return true;
    }

    void end_all() {
        supervisor_.end(server_group(), patience_);
        supervisor_.end(nodes_, patience_);
        supervisor_.end(supervisor_.all(), patience_);  // the broker
    }

    // -- what came of it ------------------------------------------------------------------

    /// What a server app has printed, or the same of one that could not.
    [[nodiscard]] static Json outcome_of(const Server& server) {
        const Child& child = server.process->child();
        auto said = Json::parse(child.output());
        if (said.is_object()) return said;
        return {{"status", "failed"},    {"reason", child.name() + " " + child.ending()},
                {"error", "internal"},   {"run_id", server.run_id},
                {"party", child.name()}, {"messages", 0},
                {"replies", 0},          {"errors", 0},
                {"seconds", 0.0}};
    }

    int report(const Result<>& result) {
        Failure failure{Errc::ok, {}};
        int code = 0;
        std::vector<std::string> runs;
        using observe::Align;
        observe::Table table({{"run"},
                              {"app"},
                              {"status"},
                              {"messages", Align::right},
                              {"replies", Align::right},
                              {"errors", Align::right},
                              {"time", Align::right}});
        for (const Server& server : servers_) {
            const Child& child = server.process->child();
            const Json said = outcome_of(server);
            const std::string status = said.value("status", "failed");
            table.add(
                {said.value("run_id", "").substr(0, 8), fs::path(server.app).filename().string(),
                 status, std::to_string(said.value("messages", 0)),
                 std::to_string(said.value("replies", 0)), std::to_string(said.value("errors", 0)),
                 human_seconds(said.value("seconds", 0.0))});
            runs.push_back(said.dump());
            if (status == "completed" || code != 0) continue;
            failure = failure_of(child);
            code = child.by_signal() != 0 || child.exit_status() == 0
                       ? static_cast<int>(ExitCode::run_failed)
                       : child.exit_status();
        }
        if (!result) {
            failure = result.error();
            code = static_cast<int>(exit_code(failure.code));
        }
        if (stop_seen_) code = static_cast<int>(ExitCode::interrupted);
        if (code != 0) error_line(explained(failure));
        if (arguments_.json)
            print(JsonObject()
                      .add("status", code == 0    ? "completed"
                                     : stop_seen_ ? "stopped"
                                                  : "failed")
                      .add(failure)
                      .add_json("runs", json_array(runs))
                      .text() +
                  "\n");
        else if (!servers_.empty())
            print(shown(table));
        if (code != 0 || !arguments_.quiet)
            note(arguments_, "the nodes' logs are in " + run_dir_.string());
        return code;
    }

    const LaunchArguments& arguments_;
    fs::path run_dir_;
    std::uint64_t restarts_max_;
    Clock::duration patience_;
    bus::StopSignal stop_;
    SignalScope signals_;
    StopsWithChildren stops_;
    bool stop_seen_ = false;
    std::optional<LocalBroker> broker_;
    Supervisor supervisor_;
    Supervisor::Group nodes_;
    std::vector<Server> servers_;
};

}  // namespace

int launch_apps(const LaunchArguments& arguments) {
    if (arguments.threads)
        return report_failure(arguments,
                              {Errc::usage, "apps run in processes: use --local, not --threads"});
    if (arguments.servers.empty())
        return report_failure(arguments,
                              {Errc::usage, "--client needs at least one --server FILE"});
    for (const auto& [given, flag] :
         {std::pair{!arguments.label.empty(), "--label"}, std::pair{!arguments.id.empty(), "--id"},
          std::pair{!arguments.task.empty(), "--task"}, std::pair{!arguments.out.empty(), "--out"},
          std::pair{!arguments.run_id.empty(), "--run-id"},
          std::pair{!arguments.resume.empty(), "--resume"}})
        if (given)
            return report_failure(
                arguments, {Errc::usage, std::string(flag) + " is about a training and does not "
                                                             "go with --client"});
    if (const auto values = apps::parse_values(arguments.run_config, "--run-config"); !values)
        return report_failure(arguments, values.error());
    // said once here, and not by every process
    std::vector<std::pair<std::string, apps::AppKind>> files{
        {arguments.client, apps::AppKind::client}};
    for (const std::string& server : arguments.servers)
        if (std::ranges::none_of(files, [&](const auto& f) { return f.first == server; }))
            files.emplace_back(server, apps::AppKind::server);
    for (const auto& [file, kind] : files)
        if (const auto helper = apps::Helper::start({file, kind, true, true}); !helper)
            return report_failure(arguments, helper.error());

    LoadMore more;
    more.defaults = {"bus.rendezvous_timeout=60"};
    auto config = load_config(arguments, {}, more);
    if (!config) return report_failure(arguments, config.error());
    const fs::path run_dir =
        fs::path(config->output.runs_dir) / ("apps-" + random_run_id().short_hex());
    if (const auto written = write_configuration(run_dir / "vflbus.toml", *config, run_dir);
        !written)
        return report_failure(arguments, written.error());
    return AppsRun(arguments, *config, run_dir).run();
}

}  // namespace vflbus::cli
