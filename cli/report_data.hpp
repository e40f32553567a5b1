#pragma once
// What `vflbus report` tells of a training, computed once for its three forms: a page for people
// (report_page.hpp), JSON and CSV for programs (report_text.hpp).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "local_runs.hpp"
#include "model_parts.hpp"
#include "models/curves.hpp"

namespace vflbus::cli {

/// One class against the rest: the two of a logistic label, each label of a multilabel model, each
/// class of softmax.
struct ClassReport {
    std::string name;
    std::uint64_t rows = 0;
    std::uint64_t positives = 0;
    double auc = 0;
    double average_precision = 0;
    models::CurvePoint ks;
    double threshold = 0;
    models::Confusion confusion;  ///< at `threshold`
    // thinned, as a plot needs no more; empty when all rows are of one class
    models::CurvePoints roc, precision_recall, gains;
    std::vector<models::CalibrationBin> calibration;
};

/// Of task linear: rows in twenty groups of rising predictions.
struct ResidualGroup {
    double predicted = 0;  ///< the mean prediction
    double observed = 0;   ///< the mean label
    double deviation = 0;  ///< the standard deviation of label - prediction
    std::uint64_t rows = 0;
};

struct ReportData {
    LocalRun run;
    std::optional<ShownPart> part;     ///< of the party whose report it is
    std::vector<ClassReport> classes;  ///< empty for linear, and without evaluated rows
    std::vector<ResidualGroup> residuals;
    /// Softmax: rows of class i that were taken for class j.
    std::vector<std::vector<std::uint64_t>> confusion;
    std::vector<std::string> class_names;
    std::uint64_t evaluated_rows = 0;
    bool network = false;  ///< the model is a split network
    std::string missing;   ///< why there are no curves; empty when there are
};

/// `party`: whose features are shown, where its part lies here. Errors: usage for a run that has no
/// report, or is no training; bad_data for files that contradict each other.
Result<ReportData> report_data(LocalRun run, const std::string& party, double threshold);

/// Points of a curve in a report.
inline constexpr std::size_t report_points_max = 101;

}  // namespace vflbus::cli
