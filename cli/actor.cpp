// vflbus actor

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include "actors/master.hpp"
#include "apps/helper.hpp"
#include "apps/run_config.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "observe/log.hpp"
#include "output.hpp"
#include "page_process.hpp"
#include "parties.hpp"
#include "party.hpp"
#include "quick_look.hpp"
#include "resume.hpp"
#include "settings.hpp"
#include "signals.hpp"
#include "trained_model.hpp"

namespace vflbus::cli {
namespace {

struct Self {
    std::string party;
    std::optional<std::uint64_t> rank;  ///< of a member
};

/// Flags that a container has as variables. (CLI11 would read them for every command, and end
/// `vflbus version` for a word that is none.)
Result<> set_by_variables(ActorArguments& arguments) {
    for (const auto& [name, flag] :
         {std::pair{"VFLBUS_ONCE", &arguments.once}, std::pair{"VFLBUS_SERVE", &arguments.serve},
          std::pair{"VFLBUS_OR_RESUME", &arguments.or_resume}}) {
        const char* const value = std::getenv(name);
        const std::string_view word = value == nullptr ? "" : value;
        if (word.empty() || word == "false" || word == "0") continue;
        if (word != "true" && word != "1")
            return fail(Errc::usage, std::string(name) + " = \"" + printable(word.substr(0, 20)) +
                                         "\" is neither true nor false");
        *flag = true;
    }
    if (arguments.or_resume && arguments.run_id.empty())
        return fail(Errc::usage, "VFLBUS_OR_RESUME needs --run-id or VFLBUS_RUN_ID");
    return {};
}

/// Who this is, by flags, then by VFLBUS_ROLE and VFLBUS_RANK.
Result<Self> find_self(const ActorArguments& arguments) {
    const auto variable = [](const char* name) {
        const char* const value = std::getenv(name);
        return std::string(value == nullptr ? "" : value);
    };
    std::string role = arguments.role;
    if (role.empty()) role = variable("VFLBUS_ROLE");
    const std::string rank_text = variable("VFLBUS_RANK");
    if (role.empty() && (arguments.rank || !rank_text.empty())) role = "member";
    if (role.empty())
        return fail(
            Errc::usage,
            "who is this: say --role master, --role arbiter, or --role member --rank R, or set "
            "VFLBUS_ROLE and VFLBUS_RANK");
    if (role == config::arbiter_name) {
        if (arguments.rank) return fail(Errc::usage, "an arbiter has no --rank; leave it out");
        return Self{config::arbiter_name, {}};
    }
    if (role == "serverapp") {
        if (arguments.rank) return fail(Errc::usage, "a serverapp has no --rank; leave it out");
        if (arguments.app.empty())
            return fail(Errc::usage, "a serverapp needs --app FILE, its shared object");
        return Self{"serverapp", {}};
    }
    if (role == "master") {
        if (arguments.rank) return fail(Errc::usage, "a master has no --rank; leave it out");
        return Self{"master", {}};
    }
    if (role != "member")
        return fail(
            Errc::usage,
            "--role " + role + " is unknown; it must be master, member, arbiter or serverapp");
    std::optional<std::uint64_t> rank = arguments.rank;
    if (!rank && !rank_text.empty()) {
        std::uint64_t number = 0;
        const char* const end = rank_text.data() + rank_text.size();
        const auto [at, code] = std::from_chars(rank_text.data(), end, number);
        if (code != std::errc{} || at != end)
            return fail(Errc::usage, "VFLBUS_RANK: \"" + rank_text +
                                         "\" is no rank; it must be an integer from 0, such as 0");
        rank = number;
    }
    if (!rank && !arguments.app.empty()) return Self{"node", {}};
    if (!rank)
        return fail(Errc::usage,
                    "a member needs its rank, --rank R or VFLBUS_RANK, or a ClientApp, --app FILE");
    return Self{config::member_name(*rank), rank};
}

/// What the flags say beside those of trainings; checked before anything is started.
Result<> check_app_flags(const ActorArguments& arguments, const Self& self) {
    const bool server = self.party == "serverapp";
    const bool arbiter = self.party == config::arbiter_name;
    for (const auto& [given, flag, fits] :
         {std::tuple{!arguments.app.empty(), "--app", self.party != "master" && !arbiter},
          std::tuple{!arguments.run_config.empty(), "--run-config", server},
          std::tuple{!arguments.node_config.empty(), "--node-config",
                     !server && !arguments.app.empty()},
          std::tuple{!arguments.policy.empty(), "--policy", self.rank || self.party == "node"},
          std::tuple{!arguments.resume.empty(), "--resume", !server && !arbiter},
          std::tuple{!arguments.run_id.empty(), "--run-id", !arbiter},
          std::tuple{!arguments.model_dir.empty(), "--model-dir", !arbiter},
          std::tuple{!arguments.out.empty(), "--out", !server && !arbiter}})
        if (given && !fits)
            return fail(Errc::usage, std::string(flag) + " does not go with this actor, a " +
                                         (server ? "serverapp" : self.party) +
                                         "; see vflbus actor --help");
    return {};
}

/// Loads the app, in a helper that is forked before any thread or ZeroMQ context is there.
Result<apps::Helper> start_helper(const ActorArguments& arguments, apps::AppKind kind) {
    apps::HelperOptions options;
    options.app = arguments.app;
    options.kind = kind;
    options.output_to_error = arguments.json;
    return apps::Helper::start(options);
}

std::string random_name(const char* role) {
    char text[32];
    std::snprintf(text, sizeof text, "%s-%08llx", role,
                  static_cast<unsigned long long>(random_u64() & 0xffffffffU));
    return text;
}

int run_serverapp(const ActorArguments& arguments, const config::Config& config,
                  const RunId& run_id, apps::Helper helper, apps::app::Values run_config) {
    PartyOptions options;
    options.node_name = arguments.name.empty() ? "serverapp-" + run_id.short_hex() : arguments.name;
    options.state_dir = arguments.state_dir.empty()
                            ? std::filesystem::path(config.output.runs_dir) / run_id.hex() /
                                  options.node_name / "node"
                            : std::filesystem::path(arguments.state_dir);
    observe::log::set_identity(options.node_name);
    bus::StopSignal stop;
    const SignalScope signals(stop, nullptr, Second::closes);
    options.context = bus::make_context();
    options.stop_asked = [&stop] { stop.ask(); };
    options.desk = std::make_shared<RunDesk>(options.node_name, config.output.runs_dir,
                                             config.output.share_log);
    const AppOutcome outcome =
        drive_app(config, options, stop, run_id, std::move(helper), std::move(run_config));
    const Failure& failure = outcome.failure;
    const bool good = failure.code == Errc::ok;
    if (!good && !arguments.parent_tells) error_line(explained(failure));
    if (arguments.json)
        print(JsonObject()
                  .add("status", status_of(failure))
                  .add(failure)
                  .add("run_id", run_id.hex())
                  .add("party", options.node_name)
                  .add("messages", outcome.counts.pushed)
                  .add("replies", outcome.counts.replies)
                  .add("errors", outcome.counts.errors)
                  .add("seconds", outcome.seconds)
                  .text() +
              "\n");
    else if (good && !arguments.quiet)
        note(arguments, "run " + run_id.short_hex() +
                            " completed: " + std::to_string(outcome.counts.pushed) + " messages, " +
                            std::to_string(outcome.counts.replies) + " replies, " +
                            std::to_string(outcome.counts.errors) + " errors, " +
                            human_seconds(outcome.seconds));
    return static_cast<int>(exit_code(failure.code));
}

/// The command that goes on with the run of this master when it is pasted. The broker knows the
/// owner of a run by its name; and what the flags said is in no file.
std::string own_resume_command(const ActorArguments& arguments, const config::Config& config,
                               const RunId& run) {
    namespace fs = std::filesystem;
    std::string command = "vflbus actor --role master";
    if (!arguments.name.empty() && arguments.name != "master")
        command += " --name " + arguments.name;
    command = resume_command(command, config, run, arguments.out);
    if (!arguments.broker.empty()) command += " --broker " + shell_word(arguments.broker);
    command += settings_again(arguments, fs::path(config.output.runs_dir) / run.hex());
    if (!arguments.state_dir.empty() && !arguments.parent_goes_on)
        command += " --state-dir " + shell_word(fs::absolute(arguments.state_dir).string());
    return command;
}

/// What predicts with the model of this master when it is pasted; its own rows are those that it
/// was trained on, which new ones may take the place of.
std::string own_predict_command(const ActorArguments& arguments, const config::Config& config,
                                const RunId& run) {
    namespace fs = std::filesystem;
    const fs::path run_dir = fs::path(config.output.runs_dir) / run.hex();
    std::error_code ec;
    const bool here = arguments.out.empty() && fs::equivalent(config.output.runs_dir, "runs", ec);
    std::string command =
        program() + " predict --model " +
        (here ? run.short_hex()
              : shell_word(fs::absolute(arguments.out.empty() ? run_dir : fs::path(arguments.out))
                               .string()));
    if (!arguments.broker.empty()) command += " --broker " + shell_word(arguments.broker);
    command += settings_again(arguments, run_dir);
    const auto section = config.parties.find("master");
    if (section != config.parties.end() && section->second.predict_data.empty())
        command += " --data " + typed_location(section->second.data);
    return command;
}

int finish_member(const ActorArguments& arguments, const std::string& party,
                  const Failure& ending) {
    const bool good = ending.code == Errc::ok;
    if (!good) error_line(explained(ending));
    if (arguments.json)
        print(JsonObject().add("status", status_of(ending)).add(ending).add("party", party).text() +
              "\n");
    return static_cast<int>(exit_code(ending.code));
}

/// What the flags may not say together; checked before anything is started.
Result<> check_flags(const ActorArguments& arguments, const Self& self) {
    if (arguments.serve) {
        if (self.party == "master" && arguments.run_id.empty() && arguments.resume.empty())
            return {};
        return fail(Errc::usage,
                    "--serve is for a master, and goes with neither --run-id nor --resume: runs "
                    "are submitted to it");
    }
    if (self.rank && !arguments.run_id.empty())
        return fail(Errc::usage, "--run-id is for the master; a member is invited to runs");
    if (self.rank && !arguments.name.empty() && arguments.name != self.party)
        return fail(Errc::usage, "--name " + arguments.name +
                                     ": the member of this rank is called " + self.party +
                                     "; leave --name out");
    if (self.party == config::arbiter_name && !arguments.name.empty() &&
        arguments.name != self.party)
        return fail(Errc::usage, "--name " + arguments.name +
                                     ": trainings invite the arbiter by the name arbiter; leave "
                                     "--name out");
    if (!arguments.name.empty() && !is_valid_node_name(arguments.name))
        return fail(Errc::usage, "--name " + arguments.name +
                                     ": a node name has 1 to 64 of A-Z a-z 0-9 . _ - and does not "
                                     "begin with . or -");
    if (self.rank && !arguments.resume.empty())
        return fail(Errc::usage, "--resume is for the master; a member is invited to runs");
    if (self.party == "node" && !arguments.run_id.empty())
        return fail(Errc::usage, "--run-id is for the owner of a run; a node is invited");
    return check_app_flags(arguments, self);
}

/// The app of this process, started; none when it has none.
Result<std::optional<NodeApp>> start_app(const ActorArguments& arguments, const Self& self) {
    const bool server = self.party == "serverapp";
    auto values = apps::parse_values(server ? arguments.run_config : arguments.node_config,
                                     server ? "--run-config" : "--node-config");
    if (!values) return tl::unexpected(values.error());
    if (arguments.app.empty()) return std::nullopt;
    auto helper = start_helper(arguments, server ? apps::AppKind::server : apps::AppKind::client);
    if (!helper) return tl::unexpected(helper.error());
    return NodeApp{std::move(*helper), std::move(*values)};
}

/// To be stopped is how a member that stays is meant to end.
Failure end_of_service(Failure ending, const ActorArguments& arguments,
                       const bus::StopSignal& stop) {
    if (arguments.once || !stop.stopped() || ending.code != Errc::cancelled) return ending;
    if (!arguments.parent) observe::log::info("{}", ended_by_signal);
    return {Errc::ok, {}};
}

/// A node that serves apps and takes no part in trainings.
int run_app_node(const ActorArguments& arguments, const config::Config& config, NodeApp app) {
    PartyOptions options;
    options.node_name = arguments.name.empty() ? random_name("node") : arguments.name;
    options.state_dir = arguments.state_dir;
    options.policy = arguments.policy;
    options.policy_dir = arguments.policy_dir;
    options.audits = !arguments.parent && !arguments.name.empty();
    options.app = arguments.app;
    if (arguments.parent) {
        options.logs = RunLogs::nowhere_else;
        observe::log::bound_standard_error();
    }
    observe::log::set_identity(options.node_name);
    bus::StopSignal stop;
    const SignalScope signals(stop, nullptr, Second::ends);
    options.context = bus::make_context();
    Failure ending = serve_apps(config, options, stop, arguments.once, std::move(app));
    return finish_member(arguments, options.node_name,
                         end_of_service(std::move(ending), arguments, stop));
}

/// The configuration of a party, and the run that a master begins or goes on with.
struct MasterTask {
    config::Config config;
    RunId run;
    bool resume = false;
    std::optional<observe::RunReport> completed;  ///< nothing is left to do
};

/// Flags that stand for a key.
std::vector<config::Override> flags_of(const ActorArguments& arguments, const Self& self) {
    std::vector<config::Override> flags = broker_flag(arguments.broker);
    if (!arguments.policy.empty() && self.rank)
        flags.push_back({"party." + self.party + ".policy=" + arguments.policy, "--policy"});
    return flags;
}

Result<MasterTask> find_task(const ActorArguments& arguments, const Self& self) {
    MasterTask task;
    const auto run = run_id_or_random(arguments.run_id);
    if (!run) return tl::unexpected(run.error());
    task.run = *run;
    LoadMore more;
    more.self = self.party;
    std::string resume = arguments.resume;
    if (resume.empty()) {
        auto config = load_config(arguments, flags_of(arguments, self), more);
        if (!config) return tl::unexpected(config.error());
        task.config = std::move(*config);
        const bool begun = !self.rank && can_resume(task.config.output.runs_dir, task.run);
        if (begun && !arguments.or_resume)
            return fail(Errc::usage, "there is a run " + task.run.hex() + " in " +
                                         task.config.output.runs_dir +
                                         " already, which is never overwritten; go on with it by "
                                         "--resume, or choose another --run-id");
        if (begun) resume = task.run.hex();
    }
    if (!resume.empty()) {
        auto resumed = find_resumed(arguments, resume, flags_of(arguments, self), more);
        if (!resumed) return tl::unexpected(resumed.error());
        task.run = resumed->run;
        task.resume = true;
        task.completed = std::move(resumed->completed);
        task.config = std::move(resumed->config);
    }
    return task;
}

/// What a killed process of this party has left half-written. A child of `launch` leaves that to
/// it.
void sweep_files(const ActorArguments& arguments, const config::Config& config,
                 const std::string& party) {
    namespace fs = std::filesystem;
    if (arguments.parent) return;
    const std::string& node = arguments.name.empty() ? party : arguments.name;
    sweep_unfinished(
        arguments.state_dir.empty() ? node_directory(config, node) : fs::path(arguments.state_dir),
        0);
    for (const fs::path& run : entries_of(config.output.runs_dir)) {
        if (!parse_run_id(run.filename().string())) continue;
        sweep_unfinished(run / party, 2);
        if (party == "master") sweep_unfinished(run, 0);
    }
}

int run_member(const ActorArguments& arguments, const config::Config& config, const Self& self,
               PartyOptions options, std::optional<NodeApp> app) {
    bus::StopSignal stop;
    const SignalScope signals(stop, nullptr, Second::ends);
    options.context = bus::make_context();
    if (arguments.parent) {
        options.logs = RunLogs::nowhere_else;
        observe::log::bound_standard_error();
    }
    Failure ending =
        serve_member(config, *self.rank, options, stop, arguments.once, std::move(app));
    return finish_member(arguments, self.party, end_of_service(std::move(ending), arguments, stop));
}

int run_master(const ActorArguments& arguments, const MasterTask& task, PartyOptions options) {
    bus::StopSignal stop;
    const SignalScope signals(stop, nullptr, Second::closes);
    options.context = bus::make_context();
    options.stop_asked = [&stop] { stop.ask(); };
    options.desk = std::make_shared<RunDesk>("master", task.config.output.runs_dir,
                                             task.config.output.share_log);
    auto watch = watch_of(task.config, options, "master", "master");
    if (!watch) return report_failure(arguments, watch.error());
    options.watch = std::move(*watch);
    const auto env = options.watch->measured(actors::make_file_env());
    auto master = watched_train_master(task.config, task.run, options, *env, task.resume);
    const std::string resume_by = own_resume_command(arguments, task.config, task.run);
    if (!master) return report_failure(arguments, master.error(), resume_by);
    const Failure outcome = drive(**master, task.config, options, stop);
    const int status = report_run(arguments, (*master)->report(), task.run, outcome, resume_by);
    if (outcome.code == Errc::ok && !arguments.json && !arguments.parent)
        print("\nPredict with it: " + own_predict_command(arguments, task.config, task.run) +
              "\n(the rows of each member are those of predict_data in its own section)\n");
    return status;
}

/// A master or a member of trainings.
int run_party(const ActorArguments& arguments, const Self& self, std::optional<NodeApp> app) {
    auto task = find_task(arguments, self);
    if (!task) return report_failure(arguments, task.error());
    if (task->completed) {
        send_what_mlflow_lacks(task->config, task->run);
        return report_run(arguments, std::move(*task->completed), task->run, {Errc::ok, {}});
    }
    if (const auto good = config::check_party(task->config, self.party); !good)
        return report_failure(arguments, good.error());
    if (const auto good = config::check_files(task->config, self.party); !good)
        return report_failure(arguments, good.error());
    if (const auto good = check_words(task->config); !good)
        return report_failure(arguments, good.error());
    observe::log::set_identity(self.party);
    sweep_files(arguments, task->config, self.party);
    if (!arguments.parent) look_quickly(task->config, self.party);
    PartyOptions options;
    options.launched = arguments.parent.has_value();
    options.node_name = arguments.name;
    options.state_dir = arguments.state_dir;
    options.out_dir = arguments.out;
    options.model_dir = arguments.model_dir;
    options.policy_dir = arguments.policy_dir;
    options.audits = !arguments.parent;  // what `launch` starts is gone with its run
    options.app = arguments.app;
    options.quiet = arguments.quiet;
    if (!self.rank) return run_master(arguments, *task, std::move(options));
    return run_member(arguments, task->config, self, std::move(options), std::move(app));
}

/// The party without data, of trainings with run.protocol = "arbitered".
int run_arbiter(const ActorArguments& arguments) {
    const auto config = load_config(arguments, broker_flag(arguments.broker), {});
    if (!config) return report_failure(arguments, config.error());
    observe::log::set_identity(config::arbiter_name);
    sweep_files(arguments, *config, config::arbiter_name);
    if (!arguments.parent) look_quickly(*config, {});
    PartyOptions options;
    options.launched = arguments.parent.has_value();
    options.state_dir = arguments.state_dir;
    if (arguments.parent) {
        options.logs = RunLogs::nowhere_else;
        observe::log::bound_standard_error();
    }
    bus::StopSignal stop;
    const SignalScope signals(stop, nullptr, Second::ends);
    options.context = bus::make_context();
    Failure ending = serve_arbiter(*config, options, stop, arguments.once);
    return finish_member(arguments, config::arbiter_name,
                         end_of_service(std::move(ending), arguments, stop));
}

/// Runs of apps alone: the owner of one, or a node.
int run_apps_alone(const ActorArguments& arguments, const Self& self, NodeApp app) {
    const auto config = load_config(arguments, broker_flag(arguments.broker), {});
    if (!config) return report_failure(arguments, config.error());
    if (!arguments.parent) look_quickly(*config, {});
    if (self.party == "node") return run_app_node(arguments, *config, std::move(app));
    const auto run = run_id_or_random(arguments.run_id);
    if (!run) return report_failure(arguments, run.error());
    return run_serverapp(arguments, *config, *run, std::move(app.helper), std::move(app.config));
}

Result<std::unique_ptr<Page>> page_beside(const ActorArguments& arguments) {
    if (arguments.http.empty()) return std::unique_ptr<Page>();
    const auto config = load_config(arguments, broker_flag(arguments.broker), {});
    if (!config) return tl::unexpected(config.error());
    return start_page(arguments.http, *config);
}

}  // namespace

int run(const ActorArguments& given) {
    ActorArguments arguments = given;
    if (const auto good = set_by_variables(arguments); !good)
        return report_failure(arguments, good.error());
    const auto self = find_self(arguments);
    if (!self) return report_failure(arguments, self.error());
    if (const auto good = check_flags(arguments, *self); !good)
        return report_failure(arguments, good.error());
    const auto page = page_beside(arguments);  // ends with us
    if (!page) return report_failure(arguments, page.error());
    const auto watch_page = [&] {
        if (*page) (*page)->watch();
    };
    if (arguments.serve || self->party == config::arbiter_name) {
        watch_page();
        return arguments.serve ? serve(arguments) : run_arbiter(arguments);
    }
    // its helper is forked here, before any thread or ZeroMQ context is there
    auto app = start_app(arguments, *self);
    if (!app) return report_failure(arguments, app.error());
    watch_page();
    const bool apps_alone = self->party == "serverapp" || self->party == "node";
    return apps_alone ? run_apps_alone(arguments, *self, std::move(**app))
                      : run_party(arguments, *self, std::move(*app));
}

}  // namespace vflbus::cli
