#include "party.hpp"

#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "actors/arbiter.hpp"
#include "actors/master.hpp"
#include "actors/tables.hpp"
#include "app_metrics.hpp"
#include "apps/client_host.hpp"
#include "base/clock.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "bus/zmq/link_loop.hpp"
#include "member_gate.hpp"
#include "observe/console.hpp"
#include "observe/job_progress.hpp"
#include "observe/log.hpp"
#include "settings.hpp"
#include "version.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;
namespace log = observe::log;

/// Shows on standard error how the reading of a table comes along, when it takes long.
actors::ReadWatch shown_reading(const std::string& party, bool quiet) {
    if (quiet) return {};
    return [party](const std::string& location) -> data::ReadProgress {
        const std::string what = party + ": reads " + fs::path(location).filename().string();
        // the line goes with the last copy of what is told, when the table is read
        auto line = std::make_shared<observe::JobProgress>(observe::Console::standard_error());
        return [line, what](std::uint64_t done, std::uint64_t total) {
            line->update({what, done, total, observe::JobState::Unit::bytes}, clock_now());
        };
    };
}

/// The progress line of a training on standard error, and of what comes before it.
class ProgressLine final : public actors::RunObserver {
  public:
    explicit ProgressLine(bool quiet)
        : line_(observe::Console::standard_error(), observe::ProgressOptions{.quiet = quiet}),
          job_(observe::Console::standard_error(), {.quiet = quiet}) {}
    void on_job(const observe::JobState& state, TimePoint now) override { job_.update(state, now); }
    void on_end(const observe::RunReport&, const Failure&) override { job_.end(); }
    void on_step(const observe::ProgressState& state, TimePoint now) override {
        line_.update(state, now);
    }
    void on_metrics(const observe::ProgressState& state, const observe::HistoryEntry&,
                    TimePoint now) override {
        line_.update(state, now);
        if (state.steps != 0 && state.step >= state.steps) line_.finish(now);
    }

  private:
    observe::Progress line_;
    observe::JobProgress job_;
};

/// Keeps the desk informed, which answers those who ask about the run.
class DeskObserver final : public actors::RunObserver {
  public:
    explicit DeskObserver(std::shared_ptr<RunDesk> desk) : desk_(std::move(desk)) {}
    void on_step(const observe::ProgressState& state, TimePoint) override { desk_->update(state); }
    void on_metrics(const observe::ProgressState& state, const observe::HistoryEntry&,
                    TimePoint) override {
        desk_->update(state);
    }
    void on_answer(const actors::AnsweredRequest& answer) override { desk_->add_answer(answer); }
    void on_work(TimePoint begun, TimePoint ended) override { desk_->add_work(begun, ended); }

  private:
    std::shared_ptr<RunDesk> desk_;
};

/// Log lines of the runs of one party, each run with a file of its own.
class RunLog {
  public:
    RunLog(std::string party, fs::path runs_dir, RunLogs where)
        : party_(std::move(party)), runs_dir_(std::move(runs_dir)), where_(where) {}

    ~RunLog() {
        for (const RunId& run : attached_) log::detach_run(run, party_);
    }
    RunLog(const RunLog&) = delete;
    RunLog& operator=(const RunLog&) = delete;

    void write(log::Level level, const RunId& run, const std::string& text) {
        attach(run);
        if (log::enabled(level))
            log::write(level, {run, {}, party_}, "{}", fmt::make_format_args(text));
    }

    void attach(const RunId& run) {
        const std::lock_guard lock(mutex_);
        if (where_ == RunLogs::nowhere_else || run.none() || !attached_.insert(run).second) return;
        const auto file = runs_dir_ / run.hex() / party_ / "log";
        if (const auto opened = log::attach_run(run, party_, file); !opened)
            log::warn("no log file: {}", opened.error().sentence);
    }

    void detach(const RunId& run) {
        const std::lock_guard lock(mutex_);
        if (attached_.erase(run) != 0) log::detach_run(run, party_);
    }

  private:
    std::string party_;
    fs::path runs_dir_;
    RunLogs where_;
    std::mutex mutex_;
    std::set<RunId> attached_;
};

constexpr const char* apps_feature = "apps";
/// How long the end of a run waits until its last line is shown.
constexpr auto line_patience = std::chrono::milliseconds(2000);

log::Level level_of(apps::app::Level level) {
    switch (level) {
        case apps::app::Level::debug:
            return log::Level::debug;
        case apps::app::Level::warning:
            return log::Level::warn;
        case apps::app::Level::error:
            return log::Level::error;
        default:
            return log::Level::info;
    }
}

Result<std::unique_ptr<actors::Node>> make_node(const config::Config& config,
                                                const PartyOptions& options,
                                                const std::string& party, const std::string& role,
                                                std::int64_t rank, Watch& watch,
                                                std::vector<std::string> features = {}) {
    actors::NodeOptions node =
        node_options(config, options.node_name.empty() ? party : options.node_name);
    node.context = options.context;
    node.broker = broker_of(config, options);
    node.role = role;
    node.features = std::move(features);
    node.rank = rank;
    if (!options.state_dir.empty()) node.state_dir = options.state_dir;
    const auto desk = options.desk ? options.desk
                                   : std::make_shared<RunDesk>(party, config.output.runs_dir,
                                                               config.output.share_log);
    node.on_handled = [desk, watched = watch.on_handled()](const actors::HandledRequest& handled) {
        desk->add_handled(handled);
        if (watched) watched(handled);
    };
    node.on_waiting = [party](const std::string& line) { log::info({{}, {}, party}, "{}", line); };
    auto created = actors::Node::create(std::move(node));
    if (created) {
        (*created)->on_query([desk](const bus::QueryArrived& query, actors::QueryReplier reply) {
            desk->answer(query, std::move(reply));
        });
    }
    return created;
}

}  // namespace

Result<std::shared_ptr<Watch>> watch_of(const config::Config& config, const PartyOptions& options,
                                        const std::string& party, const std::string& role) {
    if (options.watch != nullptr) return options.watch;
    auto watch = Watch::start(config, {party, options.node_name.empty() ? party : options.node_name,
                                       role, options.shares_process});
    if (!watch) return tl::unexpected(watch.error());
    return std::shared_ptr<Watch>(std::move(*watch));
}

const std::string& broker_of(const config::Config& config, const PartyOptions& options) {
    return options.broker.empty() ? config.bus.broker : options.broker;
}

namespace {

/// SHA-256 of the shared object with which a node serves apps. One that cannot be read was not
/// loaded.
std::string app_digest_of(const fs::path& app) {
    if (app.empty()) return {};
    const auto content = read_file(app);
    return content ? to_hex(sha256(*content)) : std::string();
}

Result<std::unique_ptr<apps::ClientHost>> make_host(const config::Config& config, NodeApp app,
                                                    const std::string& name, RunLog& run_log) {
    apps::ClientHostOptions options;
    options.node_name = name;
    options.node_config = std::move(app.config);
    options.workers = config.bus.workers;
    options.grace = seconds(config.bus.cancel_grace);
    options.log = [&run_log](apps::app::Level level, const RunId& run, const std::string& text) {
        run_log.write(level_of(level), run, text);
    };
    options.run_over = [&run_log](const RunId& run) { run_log.detach(run); };
    return apps::ClientHost::make(std::move(app.helper), std::move(options));
}

/// How serving has ended. What a node says of its end names that node already.
Failure ended(const Result<bus::Ending>& ending, const std::string& name) {
    Failure failure = ending ? Failure{ending->code, ending->sentence} : ending.error();
    failure.party = name;
    return failure;
}

/// While it lives, the node ends when its host of apps can serve no more.
class EndsWithHost {
  public:
    EndsWithHost(apps::ClientHost* host, actors::Node& node) : host_(host) {
        if (host_ != nullptr)
            host_->on_failure([&node](const Failure& failure) { node.end_with(failure); });
    }
    ~EndsWithHost() {
        if (host_ != nullptr) host_->on_failure({});
    }
    EndsWithHost(const EndsWithHost&) = delete;
    EndsWithHost& operator=(const EndsWithHost&) = delete;

  private:
    apps::ClientHost* host_;
};

std::vector<std::string> features_with(const apps::ClientHost* host) {
    return host == nullptr ? std::vector<std::string>{} : std::vector<std::string>{apps_feature};
}

}  // namespace

Failure serve_apps(const config::Config& config, const PartyOptions& options,
                   const bus::StopSignal& stop, bool once, NodeApp app) {
    const std::string name = options.node_name;
    log::set_thread_identity(name);
    RunLog run_log(name, config.output.runs_dir, options.logs);
    const auto host = make_host(config, std::move(app), name, run_log);
    if (!host) return host.error();
    const auto watch = watch_of(config, options, name, "node");
    if (!watch) return watch.error();
    actors::ClientApp none;
    none.on_join([&](actors::Context&) -> Result<> {
        return fail(Errc::refused, name + " serves apps only; a member of trainings has a rank");
    });
    std::unique_ptr<policy::Gate> gate;  // outlives the node, and is opened under its lock
    auto node = make_node(config, options, name, "member", -1, **watch, {apps_feature});
    if (!node) return node.error();
    if (auto opened = open_gate(config, options, name))
        gate = std::move(*opened);
    else
        return opened.error();
    log::info({{}, {}, name}, "serves apps broker={}", log::value(broker_of(config, options)));
    const EndsWithHost ends(host->get(), **node);
    const HeldWatch held(gate.get(), **node);
    const Watch::Looks looks(**watch, **node);
    actors::ClientApp app_of_all = (*host)->with(std::move(none));
    if (gate)
        app_of_all = with_judged_apps(std::move(app_of_all), *gate, app_digest_of(options.app));
    return ended((*node)->serve(std::move(app_of_all), stop, once), name);
}

AppOutcome drive_app(const config::Config& config, const PartyOptions& options,
                     const bus::StopSignal& stop, const RunId& run, apps::Helper helper,
                     apps::app::Values run_config) {
    const std::string name = options.node_name;
    log::set_thread_identity(name);
    RunLog run_log(name, config.output.runs_dir, options.logs);
    run_log.attach(run);
    apps::ServerHostOptions for_host;
    for_host.node_name = name;
    for_host.run = run;
    for_host.run_config = std::move(run_config);
    for_host.grace = seconds(config.bus.cancel_grace);
    for_host.log = [&run_log](apps::app::Level level, const RunId& of, const std::string& text) {
        run_log.write(level_of(level), of, text);
    };
    AppMetrics file(fs::path(config.output.runs_dir) / run.hex() / name / app_metrics_file);
    for_host.metrics = [&](const apps::Metrics& metrics) {
        if (options.desk) options.desk->add_metrics(metrics.step, metrics.values);
        if (const auto kept = file.add(metrics.step, metrics.values); !kept)
            run_log.write(log::Level::warn, run, kept.error().sentence);
        std::string line = "metrics step=" + std::to_string(metrics.step);
        for (const auto& [metric, value] : metrics.values)
            line += fmt::format(" {}={}", metric, value);
        run_log.write(log::Level::info, run, line);
    };
    const auto begin = clock_now();
    AppOutcome outcome;
    const auto made = apps::ServerHost::make(std::move(helper), std::move(for_host));
    if (!made) {
        outcome.failure = made.error();
        return outcome;
    }
    const std::unique_ptr<apps::ServerHost>& host = *made;
    const auto watch = watch_of(config, options, name, "serverapp");
    if (!watch) {
        outcome.failure = watch.error();
        return outcome;
    }
    auto node = make_node(config, options, name, "serverapp", -1, **watch);
    if (!node) {
        outcome.failure = node.error();
        return outcome;
    }
    if (options.desk) options.desk->drives(run, host->spec().agreed, options.stop_asked, {});
    const Watch::Looks looks(**watch, **node);
    const auto ending = (*node)->drive(*host, stop);
    if (options.desk) options.desk->done();
    outcome.failure = host->finish();
    if (!ending) outcome.failure = ending.error();
    outcome.counts = host->counts();
    outcome.seconds = std::chrono::duration<double>(clock_now() - begin).count();
    return outcome;
}

Failure serve_member(const config::Config& config, std::uint64_t rank, const PartyOptions& options,
                     const bus::StopSignal& stop, bool once, std::optional<NodeApp> with_app) {
    const std::string name = config::member_name(rank);
    log::set_thread_identity(name);
    const auto watch = watch_of(config, options, name, "member");
    if (!watch) return watch.error();
    const auto env = (*watch)->measured(actors::make_file_env());
    RunLog run_log(name, config.output.runs_dir, options.logs);

    // what the node's handlers use outlives the node; the gate is opened under its lock
    std::string unconfirmed;
    std::unique_ptr<policy::Gate> gate;
    std::unique_ptr<apps::ClientHost> host;
    if (with_app) {
        auto made = make_host(config, std::move(*with_app), name, run_log);
        if (!made) return made.error();
        host = std::move(*made);
    }
    auto node = make_node(config, options, name, "member", static_cast<std::int64_t>(rank), **watch,
                          features_with(host.get()));
    if (!node) return node.error();
    if (auto opened = open_gate(config, options, name))
        gate = std::move(*opened);
    else
        return opened.error();
    actors::MemberOptions member;
    member.judge = gate.get();
    member.name = name;
    member.config = config;
    member.tables = options.tables
                        ? options.tables
                        : actors::csv_tables(config, name, shown_reading(name, options.quiet));
    member.on_common = options.on_common;
    if (member.on_common) member.tables = actors::ids_only(std::move(member.tables));
    member.env = env.get();
    member.runs_dir = config.output.runs_dir;
    member.out_dir = options.out_dir;
    member.model_dir = options.model_dir;
    member.log = [&run_log](log::Level level, const RunId& run, const std::string& text) {
        run_log.write(level, run, text);
    };
    actors::ClientApp app = actors::make_member_app(std::move(member));
    app.on_end([&, inner = app](const bus::Ending& ending, actors::Context& context) {
        inner.end(ending, context);
        const RunId run = context.invitation().run;
        run_log.detach(run);
        const fs::path root = options.out_dir.empty() ? fs::path(config.output.runs_dir) / run.hex()
                                                      : options.out_dir;
        std::error_code ec;
        const fs::path part = root / name / "model.json";
        if (ending.code != Errc::ok && fs::exists(part, ec))
            unconfirmed = "; " + part.string() +
                          " is written, but the master has not confirmed that all others are";
    });

    if (host) app = host->with(std::move(app));
    if (host && gate) app = with_judged_apps(std::move(app), *gate, app_digest_of(options.app));
    log::info({{}, {}, name}, "serves runs rank={} broker={}", rank,
              log::value(broker_of(config, options)));
    const EndsWithHost ends(host.get(), **node);
    const HeldWatch held(gate.get(), **node);
    const Watch::Looks looks(**watch, **node);
    Failure ending = ended((*node)->serve(std::move(app), stop, once), name);
    if (once) ending.sentence += unconfirmed;
    return ending;
}

Failure serve_arbiter(const config::Config& config, const PartyOptions& options,
                      const bus::StopSignal& stop, bool once) {
    const std::string name = config::arbiter_name;
    log::set_thread_identity(name);
    RunLog run_log(name, config.output.runs_dir, options.logs);
    const auto watch = watch_of(config, options, name, name);
    if (!watch) return watch.error();
    auto node = make_node(config, options, name, name, -1, **watch);
    if (!node) return node.error();
    actors::ArbiterOptions arbiter;
    arbiter.config = config;
    arbiter.log = [&run_log](log::Level level, const RunId& run, const std::string& text) {
        run_log.write(level, run, text);
    };
    actors::ClientApp app = actors::make_arbiter_app(std::move(arbiter));
    app.on_end([&, inner = app](const bus::Ending& ending, actors::Context& context) {
        inner.end(ending, context);
        run_log.detach(context.invitation().run);
    });
    log::info({{}, {}, name}, "serves runs as arbiter broker={}",
              log::value(broker_of(config, options)));
    const Watch::Looks looks(**watch, **node);
    return ended((*node)->serve(std::move(app), stop, once), name);
}

actors::MasterOptions master_options(const config::Config& config, const RunId& run,
                                     const PartyOptions& options, actors::Env& env) {
    actors::MasterOptions master;
    master.run = run;
    master.config = config;
    master.tables = options.tables ? options.tables
                                   : actors::csv_tables(config, master.name,
                                                        shown_reading(master.name, options.quiet));
    master.on_common = options.on_common;
    if (master.on_common) master.tables = actors::ids_only(std::move(master.tables));
    master.env = &env;
    master.runs_dir = config.output.runs_dir;
    master.out_dir = options.out_dir;
    master.model_dir = options.model_dir;
    master.version = version_text;
    if (std::string clear = bus::clear_link_warning(broker_of(config, options), key_source(config));
        !clear.empty())
        master.notes.push_back(std::move(clear));
    if (options.launched) master.routine_level = log::Level::debug;
    auto run_log = std::make_shared<RunLog>(master.name, config.output.runs_dir, options.logs);
    run_log->attach(run);
    master.log = [run_log](log::Level level, const RunId& of, const std::string& text) {
        // the sentence that ends a run is the last line of the command; once is enough
        if (level == log::Level::error) level = log::Level::debug;
        run_log->write(level, of, text);
    };
    // a terminal that was stopped must not stop the training
    master.observers.push_back(
        queued("the progress line", std::make_shared<ProgressLine>(options.quiet), line_patience));
    if (options.desk) master.observers.push_back(std::make_shared<DeskObserver>(options.desk));
    return master;
}

Result<actors::MasterOptions> watched_options(const config::Config& config, const RunId& run,
                                              PartyOptions& options, actors::Env& env) {
    auto watch = watch_of(config, options, "master", "master");
    if (!watch) return tl::unexpected(watch.error());
    options.watch = std::move(*watch);
    actors::MasterOptions master = master_options(config, run, options, env);
    for (const auto& observer : options.watch->of_process()) master.observers.push_back(observer);
    return master;
}

Result<std::unique_ptr<actors::Run>> watched_train_master(const config::Config& config,
                                                          const RunId& run,
                                                          const PartyOptions& options,
                                                          actors::Env& env, bool resume) {
    actors::MasterOptions master = master_options(config, run, options, env);
    master.resume = resume;
    master.alignment = options.alignment;
    auto observers = options.watch->observers(config, run);
    if (!observers) return tl::unexpected(observers.error());
    for (auto& observer : *observers) master.observers.push_back(std::move(observer));
    return actors::make_train_master(std::move(master));
}

Failure drive(actors::Run& master, const config::Config& config, const PartyOptions& options,
              const bus::StopSignal& stop) {
    log::set_thread_identity("master");
    const auto watch = watch_of(config, options, "master", "master");
    if (!watch) return watch.error();
    auto node = make_node(config, options, "master", "master", -1, **watch);
    if (!node) return node.error();
    const Watch::Looks looks(**watch, **node);
    const std::string broker = log::value(broker_of(config, options));
    const log::Where where{master.spec().run, {}, "master"};
    if (options.launched)
        log::debug(where, "drives the run broker={}", broker);
    else
        log::info(where, "drives the run broker={}", broker);
    if (options.desk)
        options.desk->drives(master.spec().run, master.spec().agreed, options.stop_asked,
                             [&master]() -> const auto& { return master.report().history; });
    const auto ending = (*node)->drive(master, stop);
    if (options.desk) options.desk->done();
    if (!ending) return ending.error();
    if (master.outcome().code != Errc::ok) return master.outcome();
    if (ending->code != Errc::ok) return {ending->code, ending->sentence};
    return {Errc::ok, {}};
}

Failure drive_training(const config::Config& config, const RunId& run, PartyOptions options,
                       const bus::StopSignal& stop, bool resume, observe::RunReport& report) {
    auto watch = watch_of(config, options, "master", "master");
    if (!watch) return watch.error();
    options.watch = std::move(*watch);
    const auto env = options.watch->measured(actors::make_file_env());
    auto master = watched_train_master(config, run, options, *env, resume);
    if (!master) return master.error();
    Failure outcome = drive(**master, config, options, stop);
    report = (*master)->report();
    return outcome;
}

}  // namespace vflbus::cli
