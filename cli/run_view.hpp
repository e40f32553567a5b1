#pragma once
// One run, wherever it can be seen: what a broker keeps of it, what its owner adds, and what lies
// in files here. `run show`, `compare` and `plot` look at runs through this.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "ask.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "local_runs.hpp"

namespace vflbus::cli {

/// What neither the broker nor a list of files keeps.
struct Told {
    Result<bus::RunStatus> status;
    Result<std::string> configuration;
    Result<std::vector<bus::MetricEntry>> metrics;
};

struct RunView {
    RunId run;
    std::optional<bus::RunRow> row;  ///< as a broker knows it
    std::optional<LocalRun> local;   ///< as its files here tell it
    Told told;
    std::string reason;  ///< of a run that has failed or was stopped: the owner's, or the broker's
    bool owner_answers = false;
    std::string sentence;  ///< whose word it is, or where to look; empty when the owner answers
};

/// Looks runs up: with --local in files alone, otherwise at the broker, and in files where no
/// broker answers or the broker does not know the run.
class RunFinder {
  public:
    /// Errors: those of the configuration; unreachable when there is no broker and no run here.
    static Result<RunFinder> make(const RunQuestion& question, const bus::StopSignal& stop);

    /// Errors: unknown_run; usage for digits that several runs have.
    Result<RunView> find(const std::string& digits);
    /// Only its row. Errors: also unreachable, as with --local there is nobody to ask.
    [[nodiscard]] Asker* asker() noexcept { return asker_ ? &*asker_ : nullptr; }
    [[nodiscard]] const config::Config& config() const noexcept { return config_; }
    /// Why files are looked at in place of a broker; empty when they are not.
    [[nodiscard]] const std::string& remark() const noexcept { return remark_; }

  private:
    RunFinder() = default;
    Result<RunView> find_local(const std::string& digits) const;
    Result<RunView> find_at_broker(bus::RunRow row);

    config::Config config_;
    std::optional<Asker> asker_;
    std::string remark_;
};

/// The process that drives the run or, when that is gone, the master to which it was submitted.
Result<bus::Bytes> ask_owner(Asker& asker, const bus::RunRow& row, bus::Question what,
                             const bus::Bytes& body);

/// Why a run that is over is not completed. The owner knows the sentence; a broker of a sealed run
/// has its code alone, and says what that means.
std::string reason_of(Asker& asker, const bus::RunRow& row);

/// Status, configuration and all metrics, as ask_owner() gets them.
Told told_by_owner(Asker& asker, const bus::RunRow& row);

/// The same as its files here tell it. Errors: unknown_run, where there are none.
Told told_by_files(const config::Config& config, const bus::RunRow& row);
/// Of a run that lies here.
Told told_by_files(const LocalRun& run);

std::string to_json(const bus::RunStatus& status);
std::string to_json(const bus::MetricEntry& entry);
std::string metrics_table(const std::vector<bus::MetricEntry>& entries);

}  // namespace vflbus::cli
