#include "short_run.hpp"

#include "base/files.hpp"
#include "bus/zmq/context.hpp"
#include "config/document.hpp"
#include "local_run.hpp"
#include "output.hpp"
#include "parties.hpp"
#include "run_directory.hpp"
#include "settings.hpp"
#include "signals.hpp"
#include "standard_input.hpp"
#include "thread_run.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

int by_hand(const ShortRunArguments& arguments, const ShortRun& run) {
    if (const auto good = config::check_party(run.config, "master"); !good)
        return report_failure(arguments, good.error());
    if (const auto good = config::check_files(run.config, "master"); !good)
        return report_failure(arguments, good.error());
    bus::StopSignal stop;
    const SignalScope signals(stop);
    PartyOptions options;
    options.context = bus::make_context();
    options.quiet = arguments.quiet;
    options.launched = arguments.parent.has_value();
    options.state_dir = arguments.state_dir;
    options.node_name = arguments.name;
    options.stop_asked = [&stop] { stop.ask(); };
    return report_end(arguments, run.as_master(options, stop));
}

int in_threads(const ShortRunArguments& arguments, const ShortRun& run,
               const RunDirectory& directory) {
    ThreadPlan plan;
    plan.config = &run.config;
    plan.run_dir = run.run_dir;
    plan.model_dir = run.model_dir;
    plan.verbose = arguments.verbose;
    plan.quiet = arguments.quiet;
    plan.master = run.as_master;
    const Failure ended = run_in_threads(plan);
    directory.note_end(ended);
    return report_end(arguments, ended);
}

int in_processes(const ShortRunArguments& arguments, const ShortRun& run,
                 const RunDirectory& directory) {
    const fs::path file = run.run_dir / "vflbus.toml";
    if (const auto written = write_file_atomically(file, config::to_toml(run.config, run.run_dir));
        !written)
        return report_failure(arguments, written.error());
    LocalPlan plan = plan_of(arguments, arguments.transport, run.config, run.run_dir);
    plan.master.arguments = run.command;
    plan.master.arguments.insert(
        plan.master.arguments.end(),
        {"--config", file.string(), "--state-dir", (run.run_dir / "master" / "node").string()});
    if (arguments.json) plan.master.arguments.emplace_back("--json");
    if (output_terminal())
        plan.master.arguments.insert(plan.master.arguments.end(),
                                     {"--parent-columns", std::to_string(output_columns())});
    append_common(plan.master.arguments, arguments, run.config);
    append_metrics(plan.master.arguments, run.config, 1);
    append_trace(plan.master.arguments, run.config, run.run_dir, "master");
    if (!run.model_dir.empty())
        for (ChildOptions& member : plan.members)
            member.arguments.insert(member.arguments.end(),
                                    {"--model-dir", run.model_dir.string()});
    LocalOutcome outcome = run_locally(plan);
    collect_trace(run.config, run.run_dir);
    directory.note_end(outcome.failure);
    return report_local(arguments, std::move(outcome));
}

}  // namespace

Result<config::Config> load_short(const ShortRunArguments& arguments,
                                  const std::vector<std::string>& defaults) {
    LoadMore more;
    more.self = "master";
    more.defaults = {"bus.rendezvous_timeout=60"};
    more.defaults.insert(more.defaults.end(), defaults.begin(), defaults.end());
    return load_config(arguments, broker_flag(arguments.broker), more);
}

int run_short(const ShortRunArguments& arguments, const ShortRun& run) {
    if (!arguments.local && !arguments.threads) return by_hand(arguments, run);
    if (const auto good = check_local(run.config, arguments); !good)
        return report_failure(arguments, good.error());
    const auto directory = RunDirectory::begin(run.run_dir, run.purpose);
    if (!directory) return report_failure(arguments, directory.error());
    if (const auto kept = keep_standard_input(arguments, run.config, run.run_dir); !kept)
        return report_failure(arguments, kept.error());
    return arguments.threads ? in_threads(arguments, run, *directory)
                             : in_processes(arguments, run, *directory);
}

}  // namespace vflbus::cli
