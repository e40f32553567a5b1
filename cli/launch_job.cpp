#include "launch_job.hpp"

#include <optional>
#include <utility>
#include <vector>

#include "config/document.hpp"
#include "output.hpp"
#include "own_files.hpp"
#include "parties.hpp"
#include "settings.hpp"
#include "standard_input.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

/// The configuration, how it came about, and the directory of the run.
struct Made {
    config::Config config;
    RunDirectory directory;
    std::vector<std::string> notes;  ///< what was guessed, a line each
};

fs::path directory_of(const config::Config& config, const RunId& run) {
    return fs::path(config.output.runs_dir) / run.hex();
}

/// Takes the directory, before anything is written into it, of a configuration that is complete.
Result<Made> with_directory(config::Config config, const RunId& run, const Local& local,
                            std::vector<std::string> notes) {
    if (const auto good = check_local(config, local); !good) return tl::unexpected(good.error());
    auto directory = RunDirectory::begin(directory_of(config, run), actors::Purpose::train);
    if (!directory) return tl::unexpected(directory.error());
    return Made{std::move(config), std::move(*directory), std::move(notes)};
}

/// Parts of a model are not written over: the parties of the two runs may differ, and what is left
/// would be parts of both.
Result<> check_out_directory(const std::string& out) {
    std::error_code ec;
    for (fs::directory_iterator at(out, ec), end; !ec && at != end; at.increment(ec))
        if (std::error_code none; fs::exists(at->path() / "model.json", none))
            return fail(Errc::usage, "--out " + out + ": " + (at->path() / "model.json").string() +
                                         " is part of an earlier model; name another directory, "
                                         "or remove that one");
    return {};
}

Result<Made> configure(const LaunchArguments& arguments, const RunId& run) {
    if (!arguments.data.empty()) {
        std::vector<std::string> notes;
        auto made = configure_files(arguments, notes);
        if (!made) {
            // what was guessed so far may be why
            for (const std::string& line : notes) note(arguments, line);
            return tl::unexpected(made.error());
        }
        return with_directory(std::move(*made), run, arguments, std::move(notes));
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
    auto loaded = load_config(arguments, folds_flag(arguments), more);
    if (!loaded) return tl::unexpected(loaded.error());
    if (loaded->file.empty() && loaded->parties.empty()) {
        const fs::path directory = directory_of(*loaded, run);
        auto taken = RunDirectory::begin(directory, actors::Purpose::train);
        if (!taken) return tl::unexpected(taken.error());
        std::vector<std::string> notes;
        auto made = configure_example(arguments, notes);
        if (!made) {
            taken->abandon();
            return tl::unexpected(made.error());
        }
        return Made{std::move(*made), std::move(*taken), std::move(notes)};
    }
    if (!arguments.task.empty())
        return fail(Errc::usage,
                    "--task goes with --data FILE; use --set model.task=" + arguments.task);
    return with_directory(std::move(*loaded), run, arguments, {});
}

/// Stores the configuration where the children read it.
Result<TrainingJob> with_file(TrainingJob job, const char* name) {
    job.file = job.run_dir / name;
    if (const auto written = write_configuration(job.file, job.config, job.run_dir); !written)
        return tl::unexpected(written.error());
    return job;
}

}  // namespace

Result<TrainingJob> new_job(const LaunchArguments& arguments, const RunId& run) {
    if (!arguments.out.empty())
        if (const auto free = check_out_directory(arguments.out); !free)
            return tl::unexpected(free.error());
    auto made = configure(arguments, run);
    if (!made) return tl::unexpected(made.error());
    const fs::path run_dir = directory_of(made->config, run);
    note(arguments, "run " + run.short_hex() + " writes to " + run_dir.string() +
                        "; its configuration is vflbus.toml there");
    for (const std::string& line : made->notes) note(arguments, line);
    if (const auto kept = keep_standard_input(arguments, made->config, run_dir); !kept)
        return tl::unexpected(kept.error());
    return with_file(
        {run, run_dir, std::move(made->config), std::move(made->directory), {}, false, {}},
        "vflbus.toml");
}

Result<TrainingJob> master_job(const LaunchArguments& arguments, const std::string& broker,
                               const RunId& run) {
    std::vector<config::Override> flags = folds_flag(arguments);
    for (config::Override& flag : broker_flag(broker)) flags.push_back(std::move(flag));
    LoadMore more;
    more.self = "master";
    auto config = load_config(arguments, flags, more);
    if (!config) return tl::unexpected(config.error());
    if (config->run.world_size == 0)
        return fail(Errc::bad_config, "run.world_size is not set: say how many members take part");
    for (const Result<>& good : {config::check_party(*config, "master"),
                                 config::check_files(*config, "master"), check_words(*config)})
        if (!good) return tl::unexpected(good.error());
    const fs::path run_dir = directory_of(*config, run);
    auto directory = RunDirectory::begin(run_dir, actors::Purpose::train);
    if (!directory) return tl::unexpected(directory.error());
    return with_file({run, run_dir, std::move(*config), std::move(*directory), {}, false, {}},
                     "vflbus.toml");
}

Result<TrainingJob> old_job(const LaunchArguments& arguments, Resumed resumed) {
    if (const auto good = check_local(resumed.config, arguments); !good)
        return tl::unexpected(good.error());
    auto directory = RunDirectory::resume(resumed.run_dir,
                                          [&](const std::string& line) { note(arguments, line); });
    if (!directory) return tl::unexpected(directory.error());
    // what --config and --set say now is beside what the run was begun with
    return with_file({resumed.run,
                      resumed.run_dir,
                      std::move(resumed.config),
                      std::move(*directory),
                      {},
                      true,
                      {}},
                     "resumed.toml");
}

}  // namespace vflbus::cli
