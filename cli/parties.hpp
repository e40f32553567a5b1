#pragma once
// The processes that `launch`, `check` and `predict` start with --local.

#include <filesystem>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "local_run.hpp"

namespace vflbus::cli {

/// That all parties are described, their files are there, and N, where it was said, is the number
/// of members.
Result<> check_local(const config::Config& config, const Local& local);

/// That each section's words about its texts and columns (encoding, separator, decimal, thousands,
/// columns, prepare) can be read. Errors: bad_config, saying where they are stated.
Result<> check_words(const config::Config& config);

bool has_policy(const config::Config& config, const std::string& party);

/// Broker and members, with logs under `run_dir`, reading <run_dir>/`file`. The master is the
/// caller's. `trains`: it is a training, which may have an arbiter.
LocalPlan plan_of(const Common& common, Transport transport, const config::Config& config,
                  const std::filesystem::path& run_dir,
                  const std::filesystem::path& file = "vflbus.toml", bool trains = false);

/// What a child is told beyond its configuration: --quiet and --verbose, and what the configuration
/// says that the written one may not.
void append_common(std::vector<std::string>& arguments, const Common& common,
                   const config::Config& config);

/// Where the `place`-th process that one command starts answers Prometheus, where that is asked
/// for: the broker is 0, the master 1, then come the members.
void append_metrics(std::vector<std::string>& arguments, const config::Config& config,
                    std::uint64_t place);

/// The same for the parts of a trace, which `collect_trace` puts into the file that the user wants.
void append_trace(std::vector<std::string>& arguments, const config::Config& config,
                  const std::filesystem::path& run_dir, const std::string& party);
/// Whether the file of observe.trace can be written, before a run is worth anything. Errors: io.
Result<> check_trace(const config::Config& config);
/// A part that is missing is left out; a file that cannot be written is a warning.
void collect_trace(const config::Config& config, const std::filesystem::path& run_dir);

/// Master and members, not the broker.
std::vector<ChildOptions*> all_of(LocalPlan& plan);

/// Writes what the processes of a run read. A password in observe.mlflow.uri is needed by them:
/// then nobody but the user can read the file at any moment. Errors: io.
Result<> write_configuration(const std::filesystem::path& file, const config::Config& config,
                             const std::filesystem::path& run_dir);

}  // namespace vflbus::cli
