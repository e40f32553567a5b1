// vflbus train-joined: the model that one process trains which has all tables

#include <string>
#include <utility>
#include <vector>

#include "actors/joined.hpp"
#include "base/hash.hpp"
#include "commands.hpp"
#include "launch_job.hpp"
#include "output.hpp"
#include "party.hpp"
#include "signals.hpp"
#include "thread_run.hpp"

namespace vflbus::cli {
namespace {

/// The joined table is that of the master; the one member that a run needs has the ids alone.
Result<config::Config> joined_config(const config::Config& config) {
    config::Config joined = config;
    joined.run = {};  // nothing is hidden from anybody
    joined.run.seed = config.run.seed;
    joined.run.world_size = 1;
    joined.data.alignment = config::Alignment::hashed;
    joined.model.label_holder_alone = false;  // who has all columns is that one model
    std::erase_if(joined.parties, [](const auto& party) {
        return party.first != "master" && party.first != config::member_name(0);
    });
    if (auto good = config::check(joined); !good) return tl::unexpected(good.error());
    return joined;
}

std::vector<actors::JoinedParty> joined_parties(const config::Config& config) {
    std::vector<actors::JoinedParty> parties{{"master", actors::csv_tables(config, "master")}};
    for (std::uint64_t rank = 0; rank < config.run.world_size; ++rank) {
        const std::string name = config::member_name(rank);
        parties.push_back({name, actors::csv_tables(config, name)});
    }
    return parties;
}

Failure train(const TrainJoinedArguments& arguments, const TrainingJob& job,
              observe::RunReport& report) {
    auto config = joined_config(job.config);
    if (!config) return config.error();
    auto tables = actors::joined_tables(*config, joined_parties(job.config));
    if (!tables) return tables.error();
    ThreadPlan plan;
    plan.config = &*config;
    plan.run_dir = job.run_dir;
    plan.verbose = arguments.verbose;
    plan.quiet = arguments.quiet;
    plan.tables = [&](const std::string&) { return actors::ids_alone(*tables); };
    plan.master = [&](PartyOptions options, const bus::StopSignal& stop) {
        options.tables = *tables;
        return drive_training(*config, job.run, std::move(options), stop, false, report);
    };
    return run_in_threads(plan);
}

}  // namespace

int run(const TrainJoinedArguments& arguments) {
    const EarlySignals early("vflbus: ended before the run began\n");
    const RunId run = random_run_id();
    const auto job = new_job(arguments, run);
    if (!job) return report_run(arguments, {}, run, job.error());
    observe::RunReport report;
    const Failure outcome = train(arguments, *job, report);
    return report_run(arguments, std::move(report), run, outcome);
}

}  // namespace vflbus::cli
