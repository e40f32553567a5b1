#pragma once
// The runs that lie under a runs directory of this machine: what `vflbus runs --local` lists, and
// `run show`, `logs`, `compare`, `plot` and `remove` find without a broker.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "base/ids.hpp"
#include "bus/wire/questions.hpp"
#include "observe/report.hpp"

namespace vflbus::cli {

struct LocalRun {
    RunId run;
    std::filesystem::path directory;
    std::string purpose;  ///< "train", "predict", "check"; empty: nothing tells
    /// "running", "completed", "failed", "stopped", "interrupted" (killed before it could report),
    /// or "not begun".
    std::string status;
    bool resumable = false;
    observe::RunReport report;        ///< empty where there is none
    std::vector<std::string> labels;  ///< of a training: the columns that it predicts
    std::string configuration;        ///< the agreed half for people; empty where nothing tells it
    std::uint64_t changed_ms = 0;     ///< when its files were last written
    std::uint64_t bytes = 0;          ///< of all its files; local_run() only

    /// The metric that tells most: that of the test rows, if there are any; empty: none.
    [[nodiscard]] std::string headline() const;
};

/// All of them, the youngest first. Runs whose files cannot be read are told of as far as they can.
std::vector<LocalRun> local_runs(const std::filesystem::path& runs_dir);

/// The one whose id begins with `digits`. Errors: usage for no hexadecimal digits and for those
/// that several have; unknown_run for none.
Result<LocalRun> local_run(const std::filesystem::path& runs_dir, std::string_view digits);

/// Its status in a broker's words; unknown when a broker has none for it.
bus::RunState state_of(const LocalRun& run);

/// Its metrics over time, and those at the end.
std::vector<bus::MetricEntry> entries_of_run(const LocalRun& run);

struct LocalLogLine {
    std::string party;
    std::string text;
};
/// The lines of all parties whose logs lie there, ordered by time.
std::vector<LocalLogLine> local_log(const LocalRun& run);

std::string to_json(const LocalRun& run);

/// What may be in the way of removing it: usage for a run that goes on; and, unless `force`, for
/// one that could still be resumed. Errors: also io, naming the file.
Result<> remove_local_run(const LocalRun& run, bool force);

}  // namespace vflbus::cli
