// vflbus run remove: the files of runs that lie here

#include "base/text.hpp"
#include "commands.hpp"
#include "local_runs.hpp"
#include "output.hpp"
#include "settings.hpp"

namespace vflbus::cli {

int run(const RunRemoveArguments& arguments) {
    const auto config = load_config(arguments);
    if (!config) return report_failure(arguments, config.error());
    // all or none: a word that means no run removes nothing
    std::vector<LocalRun> runs;
    for (const std::string& digits : arguments.runs) {
        auto found = local_run(config->output.runs_dir, digits);
        if (!found) return report_failure(arguments, found.error());
        runs.push_back(std::move(*found));
    }
    std::vector<std::string> removed;
    for (const LocalRun& run : runs) {
        if (const auto done = remove_local_run(run, arguments.force); !done)
            return report_failure(arguments, done.error());
        removed.push_back(run.run.hex());
        note(arguments, "removed run " + run.run.short_hex() + ", " + human_bytes(run.bytes));
    }
    if (arguments.json) print(versioned("vflbus-removed").add("removed", removed).text() + "\n");
    return 0;
}

}  // namespace vflbus::cli
