// vflbus launch

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/run/run_record.hpp"
#include "base/hash.hpp"
#include "commands.hpp"
#include "container_run.hpp"
#include "launch_apps.hpp"
#include "launch_job.hpp"
#include "local_run.hpp"
#include "output.hpp"
#include "own_files.hpp"
#include "parties.hpp"
#include "party.hpp"
#include "resume.hpp"
#include "settings.hpp"
#include "signals.hpp"
#include "thread_run.hpp"
#include "trained_model.hpp"
#include "watch.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// The command that continues the run when it is pasted: what the flags of a resumed run said is
/// not in the file that is found by itself.
std::string own_resume_command(const LaunchArguments& arguments, const TrainingJob& job) {
    const char* const how = arguments.threads  ? " launch --threads"
                            : arguments.podman ? " launch --podman"
                                               : " launch --local";
    std::string command = resume_command(program() + how, job.config, job.run, arguments.out);
    if (arguments.local && arguments.transport == Transport::tcp) command += " --transport tcp";
    if (job.resume) command += settings_again(arguments, job.run_dir);
    return command;
}

LocalOutcome launch_processes(const LaunchArguments& arguments, const TrainingJob& job) {
    LocalPlan plan =
        plan_of(arguments, arguments.transport, job.config, job.run_dir, job.file.filename(), true);
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
        append_metrics(words, job.config, 1);
        append_trace(words, job.config, job.run_dir, "master");
        if (!arguments.out.empty()) words.insert(words.end(), {"--out", arguments.out});
        return words;
    };
    plan.master.arguments = of_master(job.resume);
    if (!arguments.out.empty())
        for (ChildOptions& member : plan.members)
            member.arguments.insert(member.arguments.end(), {"--out", arguments.out});
    plan.run_dir = job.run_dir;
    plan.own_dirs = [&](const std::string& name) {
        return has_policy(job.config, name)
                   ? std::vector<fs::path>{node_directory(job.config, name)}
                   : std::vector<fs::path>{};
    };
    plan.restarts_max = job.config.bus.restarts_max;
    plan.can_resume = [&] { return can_resume(runs_dir, job.run); };
    plan.progress = [&] { return last_commit(runs_dir, job.run); };
    plan.master_again = [&] { return of_master(can_resume(runs_dir, job.run)); };
    plan.at_once_sentence = "ended at once; `" + job.go_on + "` continues it";
    plan.at_once_needs = actors::run_record_path(runs_dir, job.run);
    return run_locally(plan);
}

LocalOutcome launch_containers(const LaunchArguments& arguments, const TrainingJob& job) {
    LocalOutcome outcome =
        run_in_containers(arguments, {job.run, job.run_dir, job.config, job.resume, job.go_on});
    send_what_mlflow_lacks(job.config, job.run);  // which the master's container does not reach
    return outcome;
}

Failure launch_threads(const LaunchArguments& arguments, const TrainingJob& job,
                       observe::RunReport& report) {
    ThreadPlan plan;
    plan.trains = true;
    plan.config = &job.config;
    plan.run_dir = job.run_dir;
    plan.verbose = arguments.verbose;
    plan.quiet = arguments.quiet;
    plan.master = [&](PartyOptions options, const bus::StopSignal& stop) {
        return drive_training(job.config, job.run, std::move(options), stop, job.resume, report);
    };
    plan.out_dir = arguments.out;
    return run_in_threads(plan);
}

/// The run that is begun or gone on with.
struct Chosen {
    RunId run;
    std::optional<Resumed> resumed;
};

Result<Chosen> choose_run(const LaunchArguments& arguments) {
    if (arguments.resume.empty()) {
        const auto run = run_id_or_random(arguments.run_id);
        if (!run) return tl::unexpected(run.error());
        return Chosen{*run, {}};
    }
    LoadMore more;
    more.defaults = {"bus.rendezvous_timeout=60"};
    auto resumed = find_resumed(arguments, arguments.resume, folds_flag(arguments), more);
    if (!resumed) return tl::unexpected(resumed.error());
    const RunId run = resumed->run;
    return Chosen{run, std::move(*resumed)};
}

int launch(const LaunchArguments& arguments, const TrainingJob& job) {
    Failure failure{Errc::ok, {}};
    observe::RunReport report;
    int exit_status = 0;
    if (arguments.threads) {
        failure = launch_threads(arguments, job, report);
        exit_status = static_cast<int>(exit_code(failure.code));
    } else {
        LocalOutcome outcome =
            arguments.podman ? launch_containers(arguments, job) : launch_processes(arguments, job);
        failure = std::move(outcome.failure);
        exit_status = outcome.exit_code;
        if (auto parsed = observe::from_json(outcome.output)) report = std::move(*parsed);
    }
    if (report.run_id.empty()) job.directory.note_end(failure);
    if (!arguments.threads) collect_trace(job.config, job.run_dir);
    report_run(arguments, std::move(report), job.run, failure, job.go_on);
    if (failure.code == Errc::ok && !arguments.json)
        print("\nPredict with it: " + predict_command(job.config, job.run_dir) + "\n");
    return exit_status;
}

}  // namespace

int run(const LaunchArguments& arguments) {
    const EarlySignals early("vflbus: ended before the run began\n");
    if (!arguments.client.empty()) return launch_apps(arguments);
    if (arguments.podman)
        if (const auto ready = containers_ready(arguments); !ready)
            return report_failure(arguments, ready.error());
    auto chosen = choose_run(arguments);
    if (!chosen) return report_failure(arguments, chosen.error());
    const RunId run = chosen->run;
    if (chosen->resumed && chosen->resumed->completed) {
        send_what_mlflow_lacks(chosen->resumed->config, run);
        return report_run(arguments, std::move(*chosen->resumed->completed), run, {Errc::ok, {}});
    }
    auto job =
        chosen->resumed ? old_job(arguments, std::move(*chosen->resumed)) : new_job(arguments, run);
    if (!job) return report_run(arguments, {}, run, job.error());
    job->go_on = own_resume_command(arguments, *job);
    return launch(arguments, *job);
}

}  // namespace vflbus::cli
