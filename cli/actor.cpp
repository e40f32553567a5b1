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
#include "apps/wire.hpp"
#include "base/hash.hpp"
#include "base/text.hpp"
#include "commands.hpp"
#include "observe/log.hpp"
#include "output.hpp"
#include "party.hpp"
#include "resume.hpp"
#include "settings.hpp"
#include "signals.hpp"

namespace vflbus::cli {
namespace {

struct Self {
    std::string party;
    std::optional<std::uint64_t> rank;  ///< of a member
};

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
        return fail(Errc::usage,
                    "who is this: say --role master, or --role member --rank R, or set VFLBUS_ROLE "
                    "and VFLBUS_RANK");
    if (role == "arbiter")
        return fail(Errc::usage,
                    "--role arbiter is not built yet; this version has master, member "
                    "and serverapp");
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
        return fail(Errc::usage,
                    "--role " + role + " is unknown; it must be master, member or serverapp");
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
    for (const auto& [given, flag, fits] :
         {std::tuple{!arguments.app.empty(), "--app", self.party != "master"},
          std::tuple{!arguments.run_config.empty(), "--run-config", server},
          std::tuple{!arguments.node_config.empty(), "--node-config",
                     !server && !arguments.app.empty()},
          std::tuple{!arguments.resume.empty(), "--resume", !server},
          std::tuple{!arguments.out.empty(), "--out", !server}})
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

int finish_member(const ActorArguments& arguments, const std::string& party,
                  const Failure& ending) {
    const bool good = ending.code == Errc::ok;
    if (!good) error_line(explained(ending));
    if (arguments.json)
        print(JsonObject().add("status", status_of(ending)).add(ending).add("party", party).text() +
              "\n");
    return static_cast<int>(exit_code(ending.code));
}

}  // namespace

int run(const ActorArguments& arguments) {
    const auto self = find_self(arguments);
    if (!self) return report_failure(arguments, self.error());
    if (arguments.serve) {
        if (self->party != "master" || !arguments.run_id.empty() || !arguments.resume.empty())
            return report_failure(arguments, {Errc::usage,
                                              "--serve is for a master, and goes with neither "
                                              "--run-id nor --resume: runs are submitted to it"});
        return serve(arguments);
    }
    if (self->rank && !arguments.run_id.empty())
        return report_failure(
            arguments, {Errc::usage, "--run-id is for the master; a member is invited to runs"});
    if (self->rank && !arguments.name.empty() && arguments.name != self->party)
        return report_failure(arguments, {Errc::usage, "--name " + arguments.name +
                                                           ": the member of this rank is called " +
                                                           self->party + "; leave --name out"});
    if (!arguments.name.empty() && !is_valid_node_name(arguments.name))
        return report_failure(arguments,
                              {Errc::usage, "--name " + arguments.name +
                                                ": a node name has 1 to 64 of A-Z a-z 0-9 . _ - "
                                                "and does not begin with . or -"});
    if (self->rank && !arguments.resume.empty())
        return report_failure(
            arguments, {Errc::usage, "--resume is for the master; a member is invited to runs"});
    if (const auto good = check_app_flags(arguments, *self); !good)
        return report_failure(arguments, good.error());
    const bool server = self->party == "serverapp";
    const bool apps_only = self->party == "node";
    if (apps_only && !arguments.run_id.empty())
        return report_failure(
            arguments, {Errc::usage, "--run-id is for the owner of a run; a node is invited"});
    auto values = apps::parse_values(server ? arguments.run_config : arguments.node_config,
                                     server ? "--run-config" : "--node-config");
    if (!values) return report_failure(arguments, values.error());
    std::optional<apps::Helper> helper;
    if (!arguments.app.empty()) {
        auto started =
            start_helper(arguments, server ? apps::AppKind::server : apps::AppKind::client);
        if (!started) return report_failure(arguments, started.error());
        helper.emplace(std::move(*started));
    }
    RunId run_id = random_run_id();
    if (!arguments.run_id.empty()) {
        const auto parsed = parse_run_id(arguments.run_id);
        if (!parsed) return report_failure(arguments, parsed.error());
        run_id = *parsed;
    }
    if (server || apps_only) {
        const auto config = load_config(arguments, broker_flag(arguments.broker), {});
        if (!config) return report_failure(arguments, config.error());
        if (server)
            return run_serverapp(arguments, *config, run_id, std::move(*helper),
                                 std::move(*values));
        PartyOptions options;
        options.node_name = arguments.name.empty() ? random_name("node") : arguments.name;
        options.state_dir = arguments.state_dir;
        if (arguments.parent) options.logs = RunLogs::nowhere_else;
        observe::log::set_identity(options.node_name);
        bus::StopSignal stop;
        const SignalScope signals(stop, nullptr, Second::ends);
        options.context = bus::make_context();
        Failure ending = serve_apps(*config, options, stop, arguments.once,
                                    {std::move(*helper), std::move(*values)});
        if (!arguments.once && stop.stopped() && ending.code == Errc::cancelled)
            ending = {Errc::ok, {}};
        return finish_member(arguments, options.node_name, ending);
    }
    LoadMore more;
    more.self = self->party;
    Result<config::Config> config;
    std::string resume = arguments.resume;
    if (resume.empty()) {
        config = load_config(arguments, broker_flag(arguments.broker), more);
        if (config && arguments.or_resume && can_resume(config->output.runs_dir, run_id))
            resume = run_id.hex();
    }
    if (!resume.empty()) {
        auto resumed = find_resumed(arguments, resume, broker_flag(arguments.broker), more);
        if (!resumed) return report_failure(arguments, resumed.error());
        run_id = resumed->run;
        if (resumed->completed)
            return report_run(arguments, std::move(*resumed->completed), run_id, {Errc::ok, {}});
        config = std::move(resumed->config);
    }
    if (!config) return report_failure(arguments, config.error());
    if (!self->rank && resume.empty() && can_resume(config->output.runs_dir, run_id))
        return report_failure(
            arguments,
            {Errc::usage, "there is a run " + run_id.hex() + " in " + config->output.runs_dir +
                              " already, which is never overwritten; go on with "
                              "it by --resume, or choose another --run-id"});
    if (const auto good = config::check_party(*config, self->party); !good)
        return report_failure(arguments, good.error());
    if (const auto good = config::check_files(*config, self->party); !good)
        return report_failure(arguments, good.error());

    observe::log::set_identity(self->party);
    bus::StopSignal stop;
    const SignalScope signals(stop, nullptr, self->rank ? Second::ends : Second::closes);
    PartyOptions options;
    options.context = bus::make_context();
    options.node_name = arguments.name;
    options.state_dir = arguments.state_dir;
    options.out_dir = arguments.out;
    options.model_dir = arguments.model_dir;
    options.quiet = arguments.quiet;
    if (self->rank) {
        if (arguments.parent) options.logs = RunLogs::nowhere_else;
        std::optional<NodeApp> app;
        if (helper) app.emplace(NodeApp{std::move(*helper), std::move(*values)});
        Failure ending =
            serve_member(*config, *self->rank, options, stop, arguments.once, std::move(app));
        // to be stopped is how a member that stays is meant to end
        if (!arguments.once && stop.stopped() && ending.code == Errc::cancelled)
            ending = {Errc::ok, {}};
        return finish_member(arguments, self->party, ending);
    }

    options.stop_asked = [&stop] { stop.ask(); };
    options.desk =
        std::make_shared<RunDesk>(self->party, config->output.runs_dir, config->output.share_log);
    const auto env = actors::make_file_env();
    actors::MasterOptions for_master = master_options(*config, run_id, options, *env);
    for_master.resume = !resume.empty();
    auto master = actors::make_train_master(std::move(for_master));
    const std::string resume_by = own_resume_command(arguments, *config, run_id);
    if (!master) return report_failure(arguments, master.error(), resume_by);
    const Failure outcome = drive(**master, *config, options, stop);
    return report_run(arguments, (*master)->report(), run_id, outcome, resume_by);
}

}  // namespace vflbus::cli
