// vflbus launch --client: broker, nodes and server apps as processes of this machine, until the
// last server app has ended. A node or broker that a signal ends is started again; a server app is
// its run, which fails with it.

#include "launch_apps.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/helper.hpp"
#include "apps/wire.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "bus/zmq/context.hpp"
#include "config/document.hpp"
#include "ended_child.hpp"
#include "observe/table.hpp"
#include "output.hpp"
#include "process.hpp"
#include "settings.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto broker_start = std::chrono::seconds(20);
constexpr auto after_signal = std::chrono::seconds(5);  // beyond the grace of the apps
/// Apps commit nothing that would show that a node gets on: restarts are counted in this time.
constexpr auto restarts_within = std::chrono::minutes(10);

void at_once() noexcept {
    kill_children();
    remove_private_directory();
}

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
        end_all();
        return report(result);
    }

  private:
    /// One process, and those that took its place.
    struct Place {
        ChildOptions options;
        std::unique_ptr<Child> child;
        Restarts restarts;
        bool seen = false;  ///< its end was dealt with
        [[nodiscard]] bool running() const { return child->running(); }
    };
    struct Server {
        std::size_t place;
        std::string run_id;
    };

    // -- start ------------------------------------------------------------------------
    Result<> start() {
        std::string bind = "tcp://127.0.0.1:0";
        if (arguments_.transport == Transport::ipc) {
            auto directory = PrivateDirectory::create();
            if (!directory) return tl::unexpected(directory.error());
            directory_.emplace(std::move(*directory));
            bind = "ipc://" + (directory_->path() / "bus").string();
        }
        const std::string file = (run_dir_ / "vflbus.toml").string();
        const auto broker_at = [&](const std::string& address) {
            return std::vector<std::string>{"broker",   "--bind", address,    "--json",
                                            "--config", file,     "--verbose"};
        };
        if (auto done = spawn("broker", broker_at(bind), run_dir_ / "broker" / "log"); !done)
            return done;
        const auto endpoint = await_endpoint();
        if (!endpoint) return tl::unexpected(endpoint.error());
        broker().options.arguments = broker_at(*endpoint);  // where the others look for it
        const std::uint64_t nodes = arguments_.members.value_or(2);
        for (std::uint64_t i = 0; i < nodes; ++i) {
            const std::string name = "node-" + std::to_string(i);
            if (auto done =
                    spawn(name,
                          {"actor", "--role", "member", "--app", arguments_.client, "--name", name,
                           "--json", "--config", file, "--broker", *endpoint, "--state-dir",
                           (run_dir_ / name / "node").string(), "--verbose"},
                          run_dir_ / name / "log");
                !done)
                return done;
        }
        for (std::size_t i = 0; i < arguments_.servers.size(); ++i) {
            const std::string name = "server-" + std::to_string(i);
            const std::string id = random_run_id().hex();
            std::vector<std::string> words{"actor",
                                           "--role",
                                           "serverapp",
                                           "--app",
                                           arguments_.servers[i],
                                           "--name",
                                           name,
                                           "--run-id",
                                           id,
                                           "--json",
                                           "--parent-tells",
                                           "--config",
                                           file,
                                           "--broker",
                                           *endpoint,
                                           "--state-dir",
                                           (run_dir_ / name / "node").string()};
            for (const std::string& word : arguments_.run_config)
                words.insert(words.end(), {"--run-config", word});
            if (arguments_.quiet) words.emplace_back("--quiet");
            if (arguments_.verbose) words.emplace_back("--verbose");
            servers_.push_back({places_.size(), id});
            if (auto done = spawn(name, std::move(words), {}); !done) return done;
        }
        return {};
    }

    Result<> spawn(const std::string& name, std::vector<std::string> words, const fs::path& log) {
        ChildOptions options;
        options.name = name;
        options.arguments = std::move(words);
        options.log = log;
        auto child = Child::spawn(options);
        if (!child) return tl::unexpected(child.error());
        places_.push_back({std::move(options), std::make_unique<Child>(std::move(*child)), {}});
        return {};
    }

    Result<std::string> await_endpoint() {
        const auto until = Clock::now() + broker_start;
        const auto& child = broker().child;
        while (child->output().find('\n') == std::string::npos) {
            wait(until);
            if (stop_.stopped()) return fail(Errc::cancelled, "stopped before the runs began");
            if (!child->running() || Clock::now() >= until)
                return fail(Errc::internal, "the broker " +
                                                (child->running() ? std::string("did not start")
                                                                  : child->ending()) +
                                                "; its log is " + child->log().string());
        }
        const auto said = nlohmann::json::parse(child->output(), nullptr, false);
        if (!said.is_object() || !said.contains("endpoints") || said["endpoints"].empty())
            return fail(Errc::internal, "the broker did not say where it listens; its log is " +
                                            child->log().string());
        return said["endpoints"][0].get<std::string>();
    }

    // -- while they run -----------------------------------------------------------------
    void wait(Clock::time_point until) {
        std::vector<pollfd> fds;
        if (!stop_seen_) fds.push_back({stop_.fd(), POLLIN, 0});
        bool blind = false;
        for (const Place& place : places_) {
            const Child& child = *place.child;
            if (child.output_fd() >= 0) fds.push_back({child.output_fd(), POLLIN, 0});
            if (child.running() && child.end_fd() >= 0) fds.push_back({child.end_fd(), POLLIN, 0});
            blind = blind || (child.running() && child.end_fd() < 0);
        }
        auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
        left = std::clamp(left, std::chrono::milliseconds(0), std::chrono::milliseconds(1000));
        if (blind) left = std::min(left, std::chrono::milliseconds(20));
        ::poll(fds.data(), static_cast<nfds_t>(fds.size()), static_cast<int>(left.count()));
        for (const Place& place : places_) {
            place.child->read_output();
            place.child->reap();
        }
    }

    [[nodiscard]] bool servers_running() const {
        return std::ranges::any_of(servers_,
                                   [this](const Server& s) { return places_[s.place].running(); });
    }
    [[nodiscard]] bool nodes_running() const {
        const auto end = places_.begin() + static_cast<std::ptrdiff_t>(servers_.front().place);
        return std::any_of(places_.begin() + 1, end, [](const Place& p) { return p.running(); });
    }
    void signal_servers(int number) {
        for (const Server& server : servers_) places_[server.place].child->signal(number);
    }

    /// Whether a broker or node that has ended is running again.
    bool start_again(Place& place) {
        // a restarted broker may find its port taken by one of the attempts to reach it
        const bool no_address = &place == &broker() && place.restarts.ever() > 0 &&
                                place.child->exit_status() == static_cast<int>(ExitCode::network);
        if (stop_seen_ || (place.child->by_signal() == 0 && !no_address)) return false;
        remove_half_written(run_dir_, place.child->pid());
        const auto period = (Clock::now() - begin_) / restarts_within;
        if (!place.restarts.again(restarts_max_, static_cast<std::uint64_t>(period))) return false;
        if (no_address) wait(Clock::now() + std::chrono::milliseconds(200));
        return spawn_again(place.options, place.restarts, restarts_max_, "in ten minutes",
                           place.child);
    }

    /// Until the last server app has ended.
    Result<> watch() {
        auto until = Clock::time_point::max();
        while (servers_running()) {
            wait(std::min(until, Clock::now() + std::chrono::seconds(1)));
            if (stop_.stopped() && !stop_seen_) {
                stop_seen_ = true;
                signal_servers(SIGTERM);
                until = Clock::now() + patience_;
            }
            if (Clock::now() >= until) {
                signal_servers(SIGKILL);
                until = Clock::time_point::max();
            }
            for (std::size_t i = 0; i < servers_.front().place; ++i) {
                Place& place = places_[i];
                if (place.running() || place.seen || start_again(place)) continue;
                place.seen = true;
                if (stop_seen_) continue;
                const std::string what = place.options.name + " " + place.child->ending() +
                                         "; its log is " + place.child->log().string();
                if (i == 0) return fail(Errc::internal, "the " + what);
                error_line(what);  // the runs see for themselves what it means to them
                if (!nodes_running()) return fail(Errc::peer_lost, "all nodes have ended; " + what);
            }
        }
        return {};
    }

    // -- end ------------------------------------------------------------------------------
    void end_all() {
        const auto end = [this](std::size_t from, std::size_t to) {
            const auto gone = [&] {
                for (std::size_t i = from; i < to; ++i)
                    if (places_[i].running()) return false;
                return true;
            };
            for (std::size_t i = from; i < to; ++i) places_[i].child->signal(SIGTERM);
            const auto until = Clock::now() + patience_;
            while (!gone() && Clock::now() < until) wait(until);
            for (std::size_t i = from; i < to; ++i) places_[i].child->signal(SIGKILL);
            while (!gone()) wait(Clock::now() + std::chrono::seconds(1));
        };
        if (places_.empty()) return;
        const std::size_t first_server = servers_.empty() ? places_.size() : servers_.front().place;
        end(first_server, places_.size());
        end(1, first_server);
        end(0, 1);
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
            if (server.place >= places_.size()) break;
            const Child& child = *places_[server.place].child;
            auto said = nlohmann::json::parse(child.output(), nullptr, false);
            if (!said.is_object()) {
                said = {{"status", "failed"},    {"reason", child.name() + " " + child.ending()},
                        {"error", "internal"},   {"run_id", server.run_id},
                        {"party", child.name()}, {"messages", 0},
                        {"replies", 0},          {"errors", 0},
                        {"seconds", 0.0}};
            }
            const std::string status = said.value("status", "failed");
            table.add({said.value("run_id", "").substr(0, 8),
                       fs::path(arguments_.servers[server.place - servers_.front().place])
                           .filename()
                           .string(),
                       status, std::to_string(said.value("messages", 0)),
                       std::to_string(said.value("replies", 0)),
                       std::to_string(said.value("errors", 0)),
                       human_seconds(said.value("seconds", 0.0))});
            runs.push_back(said.dump());
            if (status == "completed" || code != 0) continue;
            failure.sentence = child.name() + ": " + said.value("reason", "it failed");
            code = child.by_signal() != 0 || child.exit_status() == 0
                       ? static_cast<int>(ExitCode::run_failed)
                       : child.exit_status();
        }
        if (!result) {
            failure = result.error();
            code = static_cast<int>(exit_code(failure.code));
        }
        if (stop_seen_) code = static_cast<int>(ExitCode::interrupted);
        if (code != 0) error_line(failure.sentence);
        if (arguments_.json)
            print(JsonObject()
                      .add("status", code == 0    ? "completed"
                                     : stop_seen_ ? "stopped"
                                                  : "failed")
                      .add("reason", failure.sentence)
                      .add_json("runs", json_array(runs))
                      .text() +
                  "\n");
        else if (!servers_.empty())
            print(table.text());
        if (code != 0 || !arguments_.quiet)
            note(arguments_, "the nodes' logs are in " + run_dir_.string());
        return code;
    }

    [[nodiscard]] Place& broker() { return places_.front(); }

    const LaunchArguments& arguments_;
    fs::path run_dir_;
    std::uint64_t restarts_max_;
    Clock::time_point begin_ = Clock::now();
    Clock::duration patience_;
    bus::StopSignal stop_;
    SignalScope signals_;
    bool stop_seen_ = false;
    std::optional<PrivateDirectory> directory_;
    std::vector<Place> places_;  ///< broker, nodes, servers
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
        if (const auto helper = apps::Helper::start({file, kind, true}); !helper)
            return report_failure(arguments, helper.error());

    LoadMore more;
    more.defaults = {"bus.rendezvous_timeout=60"};
    auto config = load_config(arguments, {}, more);
    if (!config) return report_failure(arguments, config.error());
    const fs::path run_dir =
        fs::path(config->output.runs_dir) / ("apps-" + random_run_id().short_hex());
    if (const auto written =
            write_file_atomically(run_dir / "vflbus.toml", config::to_toml(*config, run_dir));
        !written)
        return report_failure(arguments, written.error());
    return AppsRun(arguments, *config, run_dir).run();
}

}  // namespace vflbus::cli
