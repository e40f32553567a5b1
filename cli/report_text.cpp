#include "report_text.hpp"

#include <cmath>
#include <cstdlib>

#include "base/text.hpp"
#include "data/csv_cell.hpp"
#include "output.hpp"

namespace vflbus::cli {
namespace {

// -- JSON -------------------------------------------------------------------------------

std::string number(double value) {
    return std::isfinite(value) ? shortest(value) : "null";
}

std::string points_json(const models::CurvePoints& points) {
    std::vector<std::string> out;
    for (const models::CurvePoint& point : points)
        out.push_back(json_array({number(point.x), number(point.y), number(point.threshold)}));
    return json_array(out);
}

std::string class_json(const ClassReport& one) {
    std::vector<std::string> bins;
    for (const models::CalibrationBin& bin : one.calibration)
        bins.push_back(
            json_array({number(bin.predicted), number(bin.observed), std::to_string(bin.rows)}));
    return JsonObject()
        .add("class", one.name)
        .add("rows", one.rows)
        .add("positives", one.positives)
        .add("auc", one.auc)
        .add("average_precision", one.average_precision)
        .add("ks", one.ks.x)
        .add("ks_threshold", one.ks.threshold)
        .add_json("confusion", JsonObject()
                                   .add("threshold", one.threshold)
                                   .add("true_positives", one.confusion.true_positives)
                                   .add("false_positives", one.confusion.false_positives)
                                   .add("false_negatives", one.confusion.false_negatives)
                                   .add("true_negatives", one.confusion.true_negatives)
                                   .text())
        .add_json("roc", points_json(one.roc))
        .add_json("precision_recall", points_json(one.precision_recall))
        .add_json("gains", points_json(one.gains))
        .add_json("calibration", json_array(bins))
        .text();
}

std::string part_json(const ShownPart& part) {
    std::vector<std::string> features;
    for (const Feature& feature : part.features) {
        std::vector<std::string> weights;
        for (const double weight : feature.weights) weights.push_back(number(weight));
        features.push_back(
            JsonObject().add("name", feature.name).add_json("weights", json_array(weights)).text());
    }
    return JsonObject().add("party", part.party).add_json("features", json_array(features)).text();
}

// -- CSV --------------------------------------------------------------------------------

class Csv {
  public:
    void row(std::string_view section, std::string_view series, std::string_view x,
             std::string_view y) {
        bool first = true;
        for (const std::string_view given : {section, series, x, y}) {
            if (!std::exchange(first, false)) text_ += ',';
            data::append_csv_cell(text_, without_formula(given));
        }
        text_ += '\n';
    }
    void metrics(std::string_view section, const observe::Metrics& metrics) {
        for (const auto& [name, value] : metrics) metric(section, name, "", value);
    }
    /// Empty when it is not finite.
    void metric(std::string_view section, std::string_view series, std::string_view x,
                double value) {
        row(section, series, x, std::isfinite(value) ? shortest(value) : "");
    }
    void curve(std::string_view section, std::string_view series,
               const models::CurvePoints& points) {
        for (const models::CurvePoint& point : points)
            row(section, series, shortest(point.x), shortest(point.y));
    }
    [[nodiscard]] std::string text() && { return std::move(text_); }

  private:
    /// Spreadsheets take what begins so for a formula, unless it is a number; an apostrophe before
    /// it makes it text to them.
    static std::string without_formula(std::string_view cell) {
        if (cell.empty() || std::string_view("=+-@\t\r").find(cell.front()) == cell.npos)
            return std::string(cell);
        const std::string text(cell);
        char* end = nullptr;
        (void)std::strtod(text.c_str(), &end);
        const bool number = text.front() != '+' && *end == '\0';
        return number ? text : "'" + text;
    }

    std::string text_;
};

void add_run(const observe::RunReport& report, Csv& csv) {
    csv.metrics("metrics train", report.train);
    csv.metrics("metrics test", report.test);
    csv.metrics("metrics label holder alone train", report.label_holder_alone_train);
    csv.metrics("metrics label holder alone test", report.label_holder_alone_test);
    for (const observe::PartyReport& party : report.parties) {
        csv.row("party", party.name, "rows", std::to_string(party.rows));
        csv.row("party", party.name, "rows_matched", std::to_string(party.rows_matched));
        csv.row("party", party.name, "features", std::to_string(party.features));
        csv.row("party", party.name, "bytes_sent", std::to_string(party.bytes_sent));
        csv.row("party", party.name, "bytes_received", std::to_string(party.bytes_received));
        for (const auto& [name, value] : party.metrics_without)
            csv.metric("metrics without", party.name, name, value);
    }
    for (const auto& [phase, seconds] : report.phase_seconds)
        csv.row("seconds", phase, "", shortest(seconds));
    for (const observe::HistoryEntry& entry : report.history)
        if (std::isfinite(entry.loss))
            csv.row("loss", entry.split, std::to_string(entry.step), shortest(entry.loss));
    for (const auto& [key, value] : report.configuration) csv.row("configuration", key, "", value);
}

}  // namespace

std::string report_json(const ReportData& data) {
    std::vector<std::string> classes, residuals, confusion;
    for (const ClassReport& one : data.classes) classes.push_back(class_json(one));
    for (const ResidualGroup& group : data.residuals)
        residuals.push_back(json_array({number(group.predicted), number(group.observed),
                                        number(group.deviation), std::to_string(group.rows)}));
    for (const auto& row : data.confusion) {
        std::vector<std::string> counts;
        for (const std::uint64_t count : row) counts.push_back(std::to_string(count));
        confusion.push_back(json_array(counts));
    }
    JsonObject object = versioned("vflbus-run-report", report_text_version);
    object.add_json("report", observe::to_json(data.run.report, -1));
    object.add("evaluated_rows", data.evaluated_rows);
    if (!data.missing.empty()) object.add("missing", data.missing);
    object.add_json("classes", json_array(classes));
    if (!data.confusion.empty())
        object.add("class_names", data.class_names).add_json("confusion", json_array(confusion));
    object.add_json("residuals", json_array(residuals));
    if (data.part) object.add_json("part", part_json(*data.part));
    return object.text() + "\n";
}

std::string report_csv(const ReportData& data) {
    Csv csv;
    csv.row("section", "series", "x", "y");
    add_run(data.run.report, csv);
    for (const ClassReport& one : data.classes) {
        csv.row("auc", one.name, "", shortest(one.auc));
        csv.row("average_precision", one.name, "", shortest(one.average_precision));
        csv.row("ks", one.name, shortest(one.ks.threshold), shortest(one.ks.x));
        csv.row("confusion", one.name, "true_positives",
                std::to_string(one.confusion.true_positives));
        csv.row("confusion", one.name, "false_positives",
                std::to_string(one.confusion.false_positives));
        csv.row("confusion", one.name, "false_negatives",
                std::to_string(one.confusion.false_negatives));
        csv.row("confusion", one.name, "true_negatives",
                std::to_string(one.confusion.true_negatives));
        csv.curve("roc", one.name, one.roc);
        csv.curve("precision_recall", one.name, one.precision_recall);
        csv.curve("gains", one.name, one.gains);
        for (const models::CalibrationBin& bin : one.calibration)
            csv.row("calibration", one.name, shortest(bin.predicted), shortest(bin.observed));
    }
    for (const ResidualGroup& group : data.residuals)
        csv.row("labels by predictions", "", shortest(group.predicted), shortest(group.observed));
    if (data.part)
        for (const Feature& feature : data.part->features)
            for (std::size_t c = 0; c < feature.weights.size(); ++c)
                csv.row("weight", feature.name,
                        c < data.part->outputs.size() ? data.part->outputs[c] : "",
                        shortest(feature.weights[c]));
    return std::move(csv).text();
}

}  // namespace vflbus::cli
