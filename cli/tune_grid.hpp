#pragma once
// The grid of `vflbus tune`: keys, their values, and one training for each combination.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/alignment/shared_alignment.hpp"
#include "base/errc.hpp"
#include "base/ids.hpp"
#include "launch_job.hpp"
#include "observe/report.hpp"

namespace vflbus::cli {

/// One key of the grid and its values, as --set takes them.
struct Axis {
    std::string key;
    std::vector<std::string> values;
};

/// "model.l2=0.1,1", one text for each key. Errors: usage.
Result<std::vector<Axis>> parse_grid(const std::vector<std::string>& texts);

/// One combination, and what has come of it.
struct Point {
    std::vector<std::string> values;  ///< by axis
    RunId run;
    std::optional<TrainingJob> job;
    std::shared_ptr<actors::SharedAlignment> alignment;  ///< with others that may share it
    bool ran = false;
    Failure outcome{Errc::ok, {}};
    observe::RunReport report;
};

/// All combinations, the last axis first to change; each with a run of its own.
std::vector<Point> points_of(const std::vector<Axis>& grid);
/// Gives points whose configurations want the same rows one alignment. All have a job.
void share_alignments(std::vector<Point>& points);

/// "model.l2 = 0.1 and data.one_hot_max = 8".
std::string settings_text(const std::vector<Axis>& grid, const Point& point);
/// "completed", "failed" or "not begun".
std::string status_of(const Point& point);

/// The metrics that runs are compared by: of the test rows, or their means over the folds.
observe::Metrics judged_by(const observe::RunReport& report);
/// The first of them that is no loss, or the first; empty where there are none.
std::string default_metric(const observe::RunReport& report);
/// The value of `metric` in a run; nothing where there is no such metric.
std::optional<double> value_of(const observe::RunReport& report, const std::string& metric);

}  // namespace vflbus::cli
