// vflbus launch

#include <filesystem>
#include <string>

#include "actors/master.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "commands.hpp"
#include "config/document.hpp"
#include "local_run.hpp"
#include "output.hpp"
#include "own_files.hpp"
#include "parties.hpp"
#include "party.hpp"
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

LocalOutcome launch_processes(const LaunchArguments& arguments, const config::Config& config,
                              const RunId& run, const fs::path& run_dir) {
    LocalPlan plan = plan_of(arguments, arguments.transport, config, run_dir);
    plan.master.arguments = {"actor",       "--role",
                             "master",      "--json",
                             "--run-id",    run.hex(),
                             "--config",    (run_dir / "vflbus.toml").string(),
                             "--state-dir", (run_dir / "master" / "state").string()};
    append_common(plan.master.arguments, arguments, config);
    if (!arguments.out.empty())
        for (ChildOptions* child : all_of(plan))
            child->arguments.insert(child->arguments.end(), {"--out", arguments.out});
    return run_locally(plan);
}

}  // namespace

int run(const LaunchArguments& arguments) {
    RunId run_id = random_run_id();
    if (!arguments.run_id.empty()) {
        const auto parsed = parse_run_id(arguments.run_id);
        if (!parsed) return report_failure(arguments, parsed.error());
        run_id = *parsed;
    }
    const auto stop_here = [&](const Failure& failure) {
        return report_run(arguments, {}, run_id, failure);
    };
    const auto made = configure(arguments, run_id);
    if (!made) return stop_here(made.error());
    const config::Config& config = made->config;
    if (const auto good = check_local(config, arguments); !good) return stop_here(good.error());

    const fs::path run_dir = fs::path(config.output.runs_dir) / run_id.hex();
    const fs::path saved = run_dir / "vflbus.toml";
    std::error_code ignored;
    if (fs::exists(saved, ignored) || fs::exists(run_dir / "report.json", ignored))
        return stop_here({Errc::usage, run_dir.string() +
                                           " holds an earlier run, which is never overwritten; "
                                           "choose another --run-id"});
    if (const auto written = write_file_atomically(saved, config::to_toml(config, run_dir));
        !written)
        return stop_here(written.error());
    if (made->own) note(arguments, "the configuration is " + saved.string());

    Failure failure{Errc::ok, {}};
    observe::RunReport report;
    int exit_status = 0;
    if (arguments.threads) {
        ThreadPlan plan;
        plan.config = &config;
        plan.run_dir = run_dir;
        plan.verbose = arguments.verbose;
        plan.quiet = arguments.quiet;
        plan.master = [&](const PartyOptions& options, const bus::StopSignal& stop) -> Failure {
            const auto env = actors::make_file_env();
            auto master = actors::make_train_master(master_options(config, run_id, options, *env));
            if (!master) return master.error();
            Failure outcome = drive(**master, config, options, stop);
            report = (*master)->report();
            return outcome;
        };
        plan.out_dir = arguments.out;
        failure = run_in_threads(plan);
        exit_status = static_cast<int>(exit_code(failure.code));
    } else {
        LocalOutcome outcome = launch_processes(arguments, config, run_id, run_dir);
        failure = outcome.failure;
        exit_status = outcome.exit_code;
        if (auto parsed = observe::from_json(outcome.output)) report = std::move(*parsed);
    }
    report_run(arguments, std::move(report), run_id, failure);
    if (failure.code == Errc::ok && !arguments.json)
        print("\nPredict with it: vflbus predict --local --model " + run_dir.string() + "\n");
    return exit_status;
}

}  // namespace vflbus::cli
