#include "report_data.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <utility>

#include "actors/evaluation.hpp"
#include "base/files.hpp"
#include "models/metrics.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t calibration_bins = 10;
constexpr std::size_t residual_groups = 20;
constexpr std::size_t confusion_classes_max = 30;

ClassReport class_report(const std::string& name, std::span<const double> y,
                         std::span<const double> probability, double threshold) {
    ClassReport out;
    const models::RankedScores ranked(y, probability);
    out.name = name;
    out.rows = ranked.rows();
    out.positives = ranked.positives();
    out.auc = models::auc(y, probability);
    out.average_precision = ranked.average_precision();
    out.ks = ranked.ks();
    out.threshold = threshold;
    out.confusion = ranked.confusion(threshold);
    out.roc = thinned(ranked.roc(), report_points_max);
    out.precision_recall = thinned(ranked.precision_recall(), report_points_max);
    out.gains = thinned(ranked.gains(), report_points_max);
    out.calibration = models::calibration(y, probability, calibration_bins);
    return out;
}

std::vector<ResidualGroup> residuals_of(std::span<const double> y,
                                        std::span<const double> prediction) {
    std::vector<std::size_t> order(y.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t i) { return prediction[i]; });
    std::vector<ResidualGroup> out;
    for (std::size_t g = 0; g < residual_groups; ++g) {
        const std::size_t begin = g * y.size() / residual_groups;
        const std::size_t end = (g + 1) * y.size() / residual_groups;
        if (begin == end) continue;
        ResidualGroup group;
        group.rows = end - begin;
        const auto count = static_cast<double>(group.rows);
        for (std::size_t i = begin; i < end; ++i) {
            group.predicted += prediction[order[i]] / count;
            group.observed += y[order[i]] / count;
        }
        const double mean = group.observed - group.predicted;
        double squares = 0;
        for (std::size_t i = begin; i < end; ++i) {
            const double off = y[order[i]] - prediction[order[i]] - mean;
            squares += off * off / count;
        }
        group.deviation = std::sqrt(squares);
        out.push_back(group);
    }
    return out;
}

std::vector<std::vector<std::uint64_t>> confusion_of(const models::Matrix& rows,
                                                     std::size_t classes) {
    std::vector<std::vector<std::uint64_t>> counts(classes, std::vector<std::uint64_t>(classes));
    for (std::size_t i = 0; i < rows.rows(); ++i) {
        std::size_t best = 0;
        for (std::size_t c = 1; c < classes; ++c)
            if (rows(i, 1 + c) > rows(i, 1 + best)) best = c;
        ++counts[static_cast<std::size_t>(rows(i, 0))][best];
    }
    return counts;
}

/// Names of the outputs, and how many label columns the file of evaluated rows has.
struct Layout {
    std::vector<std::string> names;
    std::size_t labels = 1;
};

Layout layout_of(const observe::RunReport& report, std::vector<std::string> outputs) {
    Layout layout{std::move(outputs), 1};
    if (report.task == "logistic") layout.names = {report.positive_class};
    if (report.task == "multilabel") layout.labels = layout.names.size();
    if (layout.names.empty()) layout.names.emplace_back();
    return layout;
}

/// What the labels must be for the figures to mean something.
bool labels_fit(const models::Matrix& rows, const Layout& layout, const std::string& task) {
    if (predicts_numbers(task_named(task).value_or(Task::linear))) return true;
    const double most = task == "softmax" ? static_cast<double>(layout.names.size()) - 1 : 1;
    for (std::size_t c = 0; c < layout.labels; ++c)
        for (const double label : rows.col(c))
            if (!(label >= 0 && label <= most) || label != std::floor(label)) return false;
    return true;
}

void add_classes(const models::Matrix& rows, const Layout& layout, double threshold,
                 ReportData& out) {
    const bool softmax = out.run.report.task == "softmax";
    std::vector<double> is_class(rows.rows());
    for (std::size_t k = 0; k < layout.names.size(); ++k) {
        if (softmax)
            for (std::size_t i = 0; i < rows.rows(); ++i)
                is_class[i] = rows(i, 0) == static_cast<double>(k);
        const std::span<const double> y = softmax ? std::span<const double>(is_class) : rows.col(k);
        out.classes.push_back(
            class_report(layout.names[k], y, rows.col(layout.labels + k), threshold));
    }
    if (!softmax || layout.names.size() > confusion_classes_max) return;
    out.class_names = layout.names;
    out.confusion = confusion_of(rows, layout.names.size());
}

Result<> add_curves(double threshold, std::vector<std::string> outputs, ReportData& out) {
    const observe::RunReport& report = out.run.report;
    const fs::path file = out.run.directory / "master" / actors::evaluation_name;
    std::error_code ec;
    if (!fs::exists(file, ec)) {
        out.missing = "the evaluated rows are not here: " + file.string() +
                      " lies at the master, of trainings of this version";
        return {};
    }
    const auto text = read_file(file);
    if (!text) return tl::unexpected(text.error());
    const Layout layout = layout_of(report, std::move(outputs));
    auto rows = actors::parse_evaluation(*text, layout.labels + layout.names.size());
    if (!rows) return fail(Errc::bad_data, file.string() + ": " + rows.error().sentence);
    if (!labels_fit(*rows, layout, report.task) || !models::all_finite(rows->span()))
        return fail(Errc::bad_data, file.string() + ": labels or predictions are none of a " +
                                        report.task + " model");
    out.evaluated_rows = rows->rows();
    if (out.evaluated_rows == 0)
        out.missing = "there are no evaluated rows";
    else if (predicts_numbers(task_named(report.task).value_or(Task::logistic)))
        out.residuals = residuals_of(std::as_const(*rows).col(0), std::as_const(*rows).col(1));
    else
        add_classes(*rows, layout, threshold, out);
    return {};
}

}  // namespace

Result<ReportData> report_data(LocalRun run, const std::string& party, double threshold) {
    const std::string name = "run " + run.run.short_hex();
    if (run.purpose != "train" && !run.purpose.empty())
        return fail(Errc::usage, name + " is no training but a " + run.purpose +
                                     "; a report is made of a training");
    if (std::error_code ec;
        run.report.run_id.empty() && fs::exists(run.directory / "report.json", ec)) {
        const auto text = read_file(run.directory / "report.json");
        if (!text) return tl::unexpected(text.error());
        auto parsed = observe::from_json(*text);
        return fail(Errc::bad_data, (run.directory / "report.json").string() + " cannot be read" +
                                        (parsed ? "" : ": " + parsed.error().sentence));
    }
    if (run.report.run_id.empty())
        return fail(Errc::usage, name + " has no report here" +
                                     (run.status == "running" ? ": it is still running"
                                                              : "; report.json lies where its "
                                                                "master ran"));
    ReportData out;
    out.run = std::move(run);
    if (out.run.report.status != "completed") {
        out.missing = "the run was not completed";
        return out;
    }
    // a report that was copied has the parts beside it, whatever its model_dir says
    std::error_code ec;
    const fs::path beside = out.run.directory;
    const fs::path parts = fs::exists(beside / "master" / "model.json", ec)
                               ? beside
                               : fs::path(out.run.report.model_dir);
    auto outputs = read_outputs(parts / "master" / "model.json");
    if (!outputs) {
        out.missing = "there are no curves: " + outputs.error().sentence;
        return out;
    }
    out.network = outputs->network;
    if (auto done = add_curves(threshold, std::move(outputs->names), out); !done)
        return tl::unexpected(done.error());
    auto own = read_parts(parts, party);
    // the parts of other algorithms have no weights of features
    if (!own && own.error().code != Errc::bad_data) return tl::unexpected(own.error());
    if (own) out.part = std::move(own->front());
    return out;
}

}  // namespace vflbus::cli
