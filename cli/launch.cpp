// vflbus launch

#include <filesystem>
#include <string>

#include "actors/master.hpp"
#include "actors/run/run_record.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "commands.hpp"
#include "config/document.hpp"
#include "container_run.hpp"
#include "launch_apps.hpp"
#include "local_run.hpp"
#include "output.hpp"
#include "own_files.hpp"
#include "parties.hpp"
#include "party.hpp"
#include "resume.hpp"
#include "settings.hpp"
#include "thread_run.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// The configuration, and how it came about.
struct Made {
    config::Config config;
    bool own = false;  ///< made here, not read from a file
};

Result<Made> configure(const LaunchArguments& arguments, const RunId& run) {
    if (!arguments.data.empty()) {
        auto made = configure_files(arguments);
        if (!made) return tl::unexpected(made.error());
        return Made{std::move(*made), true};
    }
    for (const auto& [given, flag] :
         {std::pair{!arguments.label.empty(), "--label"}, std::pair{!arguments.id.empty(), "--id"}})
        if (given)
            return fail(Errc::usage, std::string(flag) +
                                         " goes with --data FILE; in a configuration it is "
                                         "party.<name>." +
                                         (flag + 2));
    LoadMore more;
    more.defaults = {"bus.rendezvous_timeout=60"};
    auto loaded = load_config(arguments, {}, more);
    if (!loaded) return tl::unexpected(loaded.error());
    if (loaded->file.empty() && loaded->parties.empty()) {
        auto made =
            configure_example(arguments, fs::path(loaded->output.runs_dir) / run.hex() / "data");
        if (!made) return tl::unexpected(made.error());
        return Made{std::move(*made), true};
    }
    if (!arguments.task.empty())
        return fail(Errc::usage,
                    "--task goes with --data FILE; use --set model.task=" + arguments.task);
    return Made{std::move(*loaded), false};
}

/// One training: new, or gone on with.
struct Job {
    RunId run;
    fs::path run_dir;
    config::Config config;
    fs::path file;  ///< the configuration, as the children read it
    bool resume = false;
    std::string go_on;  ///< the command that continues it
};

Result<Job> new_job(const LaunchArguments& arguments, const RunId& run) {
    auto made = configure(arguments, run);
    if (!made) return tl::unexpected(made.error());
    Job job{
        run, fs::path(made->config.output.runs_dir) / run.hex(), std::move(made->config), {}, false,
        {}};
    if (const auto good = check_local(job.config, arguments); !good)
        return tl::unexpected(good.error());
    job.file = job.run_dir / "vflbus.toml";
    std::error_code ignored;
    for (const char* const file : {"vflbus.toml", "report.json", "run.json"})
        if (fs::exists(job.run_dir / file, ignored))
            return fail(Errc::usage, job.run_dir.string() +
                                         " holds an earlier run, which is never overwritten; "
                                         "choose another --run-id");
    if (const auto written =
            write_file_atomically(job.file, config::to_toml(job.config, job.run_dir));
        !written)
        return tl::unexpected(written.error());
    if (made->own) note(arguments, "the configuration is " + job.file.string());
    return job;
}

Result<Job> old_job(const LaunchArguments& arguments, Resumed resumed) {
    Job job{resumed.run, resumed.run_dir, std::move(resumed.config), {}, true, {}};
    if (const auto good = check_local(job.config, arguments); !good)
        return tl::unexpected(good.error());
    // what --config and --set say now is beside what the run was begun with
    job.file = job.run_dir / "resumed.toml";
    if (const auto written =
            write_file_atomically(job.file, config::to_toml(job.config, job.run_dir));
        !written)
        return tl::unexpected(written.error());
    return job;
}

/// The command that continues the run when it is pasted: what the flags of a resumed run said is
/// not in the file that is found by itself.
std::string own_resume_command(const LaunchArguments& arguments, const Job& job) {
    std::string command = resume_command(arguments.threads  ? "vflbus launch --threads"
                                         : arguments.podman ? "vflbus launch --podman"
                                                            : "vflbus launch --local",
                                         job.config, job.run, arguments.out);
    if (arguments.local && arguments.transport == Transport::tcp) command += " --transport tcp";
    if (job.resume) command += settings_again(arguments, job.run_dir);
    return command;
}

LocalOutcome launch_processes(const LaunchArguments& arguments, const Job& job) {
    LocalPlan plan =
        plan_of(arguments, arguments.transport, job.config, job.run_dir, job.file.filename());
    const fs::path runs_dir = job.config.output.runs_dir;
    const auto of_master = [&, runs_dir](bool resume) {
        std::vector<std::string> words{"actor",
                                       "--role",
                                       "master",
                                       "--json",
                                       "--config",
                                       job.file.string(),
                                       "--state-dir",
                                       (job.run_dir / "master" / "node").string(),
                                       resume ? "--resume" : "--run-id",
                                       job.run.hex()};
        append_common(words, arguments, job.config);
        if (!arguments.out.empty()) words.insert(words.end(), {"--out", arguments.out});
        return words;
    };
    plan.master.arguments = of_master(job.resume);
    if (!arguments.out.empty())
        for (ChildOptions& member : plan.members)
            member.arguments.insert(member.arguments.end(), {"--out", arguments.out});
    plan.run_dir = job.run_dir;
    plan.restarts_max = job.config.bus.restarts_max;
    plan.can_resume = [&] { return can_resume(runs_dir, job.run); };
    plan.progress = [&] { return last_commit(runs_dir, job.run); };
    plan.master_again = [&] { return of_master(can_resume(runs_dir, job.run)); };
    plan.at_once_sentence = "ended at once; `" + job.go_on + "` continues it";
    plan.at_once_needs = actors::run_record_path(runs_dir, job.run);
    return run_locally(plan);
}

LocalOutcome launch_containers(const LaunchArguments& arguments, const Job& job) {
    return run_in_containers(arguments, {job.run, job.run_dir, job.config, job.resume, job.go_on});
}

Failure launch_threads(const LaunchArguments& arguments, const Job& job,
                       observe::RunReport& report) {
    ThreadPlan plan;
    plan.config = &job.config;
    plan.run_dir = job.run_dir;
    plan.verbose = arguments.verbose;
    plan.quiet = arguments.quiet;
    plan.master = [&](const PartyOptions& options, const bus::StopSignal& stop) -> Failure {
        const auto env = actors::make_file_env();
        actors::MasterOptions for_master = master_options(job.config, job.run, options, *env);
        for_master.resume = job.resume;
        auto master = actors::make_train_master(std::move(for_master));
        if (!master) return master.error();
        Failure outcome = drive(**master, job.config, options, stop);
        report = (*master)->report();
        return outcome;
    };
    plan.out_dir = arguments.out;
    return run_in_threads(plan);
}

}  // namespace

int run(const LaunchArguments& arguments) {
    if (!arguments.client.empty()) return launch_apps(arguments);
    RunId run_id = random_run_id();
    if (!arguments.run_id.empty()) {
        const auto parsed = parse_run_id(arguments.run_id);
        if (!parsed) return report_failure(arguments, parsed.error());
        run_id = *parsed;
    }
    if (arguments.podman)
        if (const auto ready = containers_ready(arguments); !ready)
            return report_failure(arguments, ready.error());
    Result<Job> job;
    if (arguments.resume.empty()) {
        job = new_job(arguments, run_id);
    } else {
        LoadMore more;
        more.defaults = {"bus.rendezvous_timeout=60"};
        auto resumed = find_resumed(arguments, arguments.resume, {}, more);
        if (!resumed) return report_failure(arguments, resumed.error());
        run_id = resumed->run;
        if (resumed->completed)
            return report_run(arguments, std::move(*resumed->completed), run_id, {Errc::ok, {}});
        job = old_job(arguments, std::move(*resumed));
    }
    if (!job) return report_run(arguments, {}, run_id, job.error());
    job->go_on = own_resume_command(arguments, *job);

    Failure failure{Errc::ok, {}};
    observe::RunReport report;
    int exit_status = 0;
    if (arguments.threads) {
        failure = launch_threads(arguments, *job, report);
        exit_status = static_cast<int>(exit_code(failure.code));
    } else {
        LocalOutcome outcome = arguments.podman ? launch_containers(arguments, *job)
                                                : launch_processes(arguments, *job);
        failure = std::move(outcome.failure);
        exit_status = outcome.exit_code;
        if (auto parsed = observe::from_json(outcome.output)) report = std::move(*parsed);
    }
    report_run(arguments, std::move(report), run_id, failure, job->go_on);
    if (failure.code == Errc::ok && !arguments.json)
        print("\nPredict with it: vflbus predict --local --model " + job->run_dir.string() + "\n");
    return exit_status;
}

}  // namespace vflbus::cli
