#include "report_page.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/text.hpp"
#include "observe/svg.hpp"
#include "observe/table.hpp"

namespace vflbus::cli {
namespace {

using observe::escaped_html;
using observe::grouped;
using observe::metric_text;
using Rows = std::vector<std::vector<std::string>>;

/// Classes that get plots of their own; of more there is the table alone.
constexpr std::size_t plotted_classes_max = 12;
constexpr std::size_t features_max = 30;

constexpr std::string_view style = R"(
:root{color-scheme:light dark;--fg:#1b1f24;--bg:#fff;--soft:#59636e;--line:#d5dae0;
--c0:#0969da;--c1:#bc4c00;--c2:#1a7f37;--c3:#8250df;--c4:#bf3989;--c5:#57606a}
@media(prefers-color-scheme:dark){:root{--fg:#e6edf3;--bg:#0d1117;--soft:#9198a1;--line:#3d444d;
--c0:#4493f8;--c1:#f0883e;--c2:#3fb950;--c3:#ab7df8;--c4:#f778ba;--c5:#9198a1}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:64rem;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1rem 0 .3rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
th,td{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}
td.n,th.n{text-align:right}thead th{border-bottom:1px solid var(--line)}
tbody th{font-weight:normal}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:1rem 2rem}
figure{margin:0}svg{width:100%;height:auto}summary{cursor:pointer;color:var(--soft)}
.note{border-left:3px solid var(--c1);padding-left:.8rem}.soft{color:var(--soft)}
.tick{font:11px system-ui,sans-serif;fill:var(--soft)}.grid{stroke:var(--line);stroke-width:.5}
.axis{fill:none;stroke:var(--soft)}.curve{fill:none;stroke-width:1.8}.dashed{stroke-dasharray:5 4}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}
.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}
rect.s0,circle.s0{fill:var(--c0)}circle.s1{fill:var(--c1)}
@media print{details{display:block}}
)";

// -- pieces -----------------------------------------------------------------------------

/// The first column names the row; the others are numbers.
std::string table(const std::vector<std::string>& head, const Rows& rows) {
    std::string out = "<div class=\"scroll\"><table><thead><tr>";
    for (std::size_t c = 0; c < head.size(); ++c)
        out += fmt::format("<th scope=\"col\"{}>{}</th>", c == 0 ? "" : " class=\"n\"",
                           escaped_html(head[c]));
    out += "</tr></thead><tbody>";
    for (const auto& row : rows) {
        out += "<tr>";
        for (std::size_t c = 0; c < row.size(); ++c)
            out += c == 0 ? fmt::format("<th scope=\"row\">{}</th>", escaped_html(row[c]))
                          : fmt::format("<td class=\"n\">{}</td>", escaped_html(row[c]));
        out += "</tr>";
    }
    return out + "</tbody></table></div>";
}

std::string facts(const Rows& rows) {
    std::string out = "<div class=\"scroll\"><table><tbody>";
    for (const auto& row : rows)
        if (!row[1].empty())
            out += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
                               escaped_html(row[0]), escaped_html(row[1]));
    return out + "</tbody></table></div>";
}

/// A plot, with its numbers below; nothing without a plot.
std::string figure(const std::string& title, const std::string& svg,
                   const std::vector<std::string>& head, const Rows& rows) {
    if (svg.empty()) return {};
    return fmt::format(
        "<figure><figcaption><h3>{}</h3></figcaption>{}"
        "<details><summary>Numbers</summary>{}</details></figure>",
        escaped_html(title), svg, table(head, rows));
}

std::string section(const std::string& title, const std::string& body) {
    if (body.empty()) return {};
    return fmt::format("<section><h2>{}</h2>{}</section>\n", escaped_html(title), body);
}

std::string seconds_text(double seconds) {
    return fmt::format("{:.3g} s", seconds);
}

const double* find(const observe::Metrics& metrics, std::string_view name) {
    for (const auto& [key, value] : metrics)
        if (key == name) return &value;
    return nullptr;
}

std::string cell(const observe::Metrics& metrics, const std::string& name) {
    const double* value = find(metrics, name);
    return value == nullptr ? "" : metric_text(*value);
}

/// The metrics of the rows that the model is judged by.
const observe::Metrics& judged(const observe::RunReport& report) {
    return report.test.empty() ? report.train : report.test;
}

// -- sections ---------------------------------------------------------------------------

std::string summary(const ReportData& data) {
    const observe::RunReport& report = data.run.report;
    std::string out;
    if (!report.reason.empty())
        out += fmt::format("<p class=\"note\">{}</p>", escaped_html(report.reason));
    for (const std::string& note : report.notes)
        out += fmt::format("<p class=\"note\">{}</p>", escaped_html(note));
    std::string steps = grouped(report.steps);
    if (report.epochs > 0) steps += " in " + grouped(report.epochs) + " epochs";
    if (!report.solver.empty()) steps += " of " + report.solver;
    if (report.converged)
        steps += std::string(*report.converged ? ", converged" : ", not converged") + " after " +
                 grouped(report.iterations) + " iterations";
    out += facts({{"run", report.run_id},
                  {"label", report.experiment_label},
                  {"status", report.status},
                  {"task", observe::task_and_network(report)},
                  {"protocol", report.protocol},
                  {"positive class", report.positive_class},
                  {"rows", observe::rows_text(report)},
                  {"steps", steps},
                  {"seed", std::to_string(report.seed)},
                  {"started", report.started},
                  {"finished", report.finished},
                  {"time", seconds_text(report.train_seconds) + " training, " +
                               seconds_text(report.total_seconds) + " in all"}});
    return out;
}

std::string metrics(const observe::RunReport& report) {
    std::vector<std::string> names;
    for (const observe::Metrics* of : {&report.train, &report.test})
        for (const auto& [name, value] : *of)
            if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    if (names.empty()) return {};
    Rows rows;
    for (const std::string& name : names)
        rows.push_back({name, cell(report.train, name), cell(report.test, name),
                        cell(report.label_holder_alone_train, name),
                        cell(report.label_holder_alone_test, name)});
    std::string out = table(
        {"metric", "train", "test", "label holder alone, train", "label holder alone, test"}, rows);
    if (report.folds.empty()) return out;
    const observe::Metrics mean = mean_of_folds(report.folds);
    const observe::Metrics deviation = deviation_of_folds(report.folds);
    Rows folds;
    for (const auto& [name, value] : mean) {
        std::vector<std::string> row{name, metric_text(value), cell(deviation, name)};
        for (const observe::FoldReport& fold : report.folds) row.push_back(cell(fold.test, name));
        folds.push_back(std::move(row));
    }
    std::vector<std::string> head{"test rows of the folds", "mean", "deviation"};
    for (std::size_t i = 0; i < report.folds.size(); ++i)
        head.push_back("fold " + std::to_string(i + 1));
    return out + "<h3>Cross-validation</h3>" + table(head, folds);
}

std::string parties(const observe::RunReport& report) {
    Rows rows;
    for (const observe::PartyReport& party : report.parties)
        rows.push_back(
            {party.name, grouped(party.rows), grouped(party.rows_matched),
             party.rows == 0
                 ? "-"
                 : fmt::format("{:.1f} %", 100.0 * static_cast<double>(party.rows_matched) /
                                               static_cast<double>(party.rows)),
             grouped(party.features), grouped(party.missing_cells), human_bytes(party.bytes_sent),
             human_bytes(party.bytes_received), party.version, party.host});
    std::string out = table({"party", "rows", "matched", "share", "features", "missing cells",
                             "sent", "received", "version", "host"},
                            rows);
    Rows left;
    for (const observe::PartyReport& party : report.parties)
        for (const observe::LeftOutColumn& column : party.left_out)
            left.push_back(
                {party.name,
                 column.column.empty() ? grouped(column.columns) + " columns" : column.column,
                 column.reason});
    if (!left.empty())
        out += "<h3>Columns that are not used</h3>" + table({"party", "column", "reason"}, left);
    return out;
}

/// One curve per split of one metric over the steps.
std::string history_of(const observe::RunReport& report, const std::string& metric) {
    std::vector<observe::SvgSeries> series;
    Rows rows;
    for (const char* const split : {"train", "test"}) {
        observe::SvgSeries one{split, {}};
        for (const observe::HistoryEntry& entry : report.history) {
            if (entry.split != split) continue;
            const double* found = find(entry.metrics, metric);
            const double value = metric == "loss" ? entry.loss : found ? *found : std::nan("");
            if (!std::isfinite(value)) continue;
            one.points.emplace_back(static_cast<double>(entry.step), value);
            rows.push_back({std::to_string(entry.step), split, metric_text(value)});
        }
        one.marks = one.points.size() == 1;
        if (!one.points.empty()) series.push_back(std::move(one));
    }
    if (rows.size() < 2) return {};
    return figure(metric + " over the steps",
                  observe::svg_curves({metric + " over the steps", "step", metric}, series),
                  {"step", "rows", metric}, rows);
}

std::string history(const observe::RunReport& report) {
    std::string out;
    std::set<std::string> names;
    for (const observe::HistoryEntry& entry : report.history)
        for (const auto& [name, value] : entry.metrics)
            if (name.find('[') == std::string::npos) names.insert(name);
    out += history_of(report, "loss");
    for (const std::string& name : names) {
        const auto has = [&](const observe::HistoryEntry& e) { return find(e.metrics, name); };
        if (name != "loss" && std::ranges::count_if(report.history, has) > 2)
            out += history_of(report, name);
    }
    return out.empty() ? out : "<div class=\"plots\">" + out + "</div>";
}

std::vector<std::pair<double, double>> xy(const models::CurvePoints& points) {
    std::vector<std::pair<double, double>> out;
    for (const models::CurvePoint& point : points) out.emplace_back(point.x, point.y);
    return out;
}

Rows numbers(const models::CurvePoints& points) {
    Rows out;
    for (const models::CurvePoint& point : points)
        out.push_back({metric_text(point.threshold), metric_text(point.x), metric_text(point.y)});
    return out;
}

std::string unit_plot(const std::string& title, const std::string& x, const std::string& y,
                      const models::CurvePoints& points, const observe::SvgSeries& compared) {
    std::vector<observe::SvgSeries> series{{title, xy(points)}};
    if (!compared.points.empty()) series.push_back(compared);
    return figure(title, observe::svg_curves({title, x, y, true, true}, series),
                  {"threshold", x, y}, numbers(points));
}

std::string calibration(const ClassReport& one) {
    observe::SvgSeries series{"the model", {}, false, true};
    Rows rows;
    for (const models::CalibrationBin& bin : one.calibration) {
        series.points.emplace_back(bin.predicted, bin.observed);
        rows.push_back({metric_text(bin.predicted), metric_text(bin.observed), grouped(bin.rows)});
    }
    return figure("Calibration",
                  observe::svg_curves(
                      {"Calibration", "mean probability", "share of positive rows", true, true},
                      {series, {"as it should be", {{0, 0}, {1, 1}}, true}}),
                  {"mean probability", "share of positive rows", "rows"}, rows);
}

/// The rates that the KS statistic compares, over the share of rows that are called positive.
std::string ks_plot(const ClassReport& one) {
    observe::SvgSeries positives{"positive rows found", {}};
    observe::SvgSeries negatives{"negative rows called positive", {}};
    Rows rows;
    const auto share = static_cast<double>(one.positives) / static_cast<double>(one.rows);
    for (const models::CurvePoint& point : one.roc) {
        const double called = point.y * share + point.x * (1 - share);
        positives.points.emplace_back(called, point.y);
        negatives.points.emplace_back(called, point.x);
        rows.push_back({metric_text(point.threshold), metric_text(point.y), metric_text(point.x),
                        metric_text(std::fabs(point.y - point.x))});
    }
    return figure(fmt::format("KS {} at {}", metric_text(one.ks.x), metric_text(one.ks.threshold)),
                  observe::svg_curves({"KS", "share of rows called positive", "rate", true, true},
                                      {positives, negatives}),
                  {"threshold", "true positive rate", "false positive rate", "distance"}, rows);
}

std::string lift(const ClassReport& one) {
    observe::SvgSeries series{"lift", {}};
    Rows rows;
    for (const models::CurvePoint& point : one.gains) {
        if (point.x <= 0) continue;
        series.points.emplace_back(point.x, point.y / point.x);
        rows.push_back(
            {metric_text(point.threshold), metric_text(point.x), metric_text(point.y / point.x)});
    }
    return figure("Lift",
                  observe::svg_curves({"Lift", "share of rows, best first", "lift", true},
                                      {series, {"at random", {{0, 1}, {1, 1}}, true}}),
                  {"threshold", "share of rows, best first", "lift"}, rows);
}

std::string confusion(const ClassReport& one) {
    const models::Confusion& c = one.confusion;
    const auto ratio = [](std::uint64_t part, std::uint64_t other) {
        return part + other == 0
                   ? std::string("-")
                   : metric_text(static_cast<double>(part) / static_cast<double>(part + other));
    };
    return fmt::format("<h3>At threshold {}</h3>", metric_text(one.threshold)) +
           table({"", "called positive", "called negative"},
                 {{"positive", grouped(c.true_positives), grouped(c.false_negatives)},
                  {"negative", grouped(c.false_positives), grouped(c.true_negatives)}}) +
           facts({{"precision", ratio(c.true_positives, c.false_positives)},
                  {"recall", ratio(c.true_positives, c.false_negatives)},
                  {"specificity", ratio(c.true_negatives, c.false_positives)}});
}

std::string class_section(const ClassReport& one) {
    std::string out = confusion(one);
    if (one.roc.empty()) return out + "<p class=\"soft\">All rows are of one class.</p>";
    out += "<div class=\"plots\">";
    out += unit_plot("ROC, area " + metric_text(one.auc), "false positive rate",
                     "true positive rate", one.roc, {"at random", {{0, 0}, {1, 1}}, true});
    const double share = static_cast<double>(one.positives) / static_cast<double>(one.rows);
    out += unit_plot(
        "Precision and recall, average precision " + metric_text(one.average_precision), "recall",
        "precision", one.precision_recall, {"at random", {{0, share}, {1, share}}, true});
    out += ks_plot(one) + lift(one) + calibration(one);
    return out + "</div>";
}

std::string classes(const ReportData& data) {
    std::string out;
    if (!data.missing.empty())
        return fmt::format("<p class=\"note\">{}</p>", escaped_html(data.missing));
    if (data.classes.size() > 1) {
        Rows rows;
        for (const ClassReport& one : data.classes)
            rows.push_back({one.name, grouped(one.positives), metric_text(one.auc),
                            metric_text(one.average_precision), metric_text(one.ks.x)});
        out += table({"class", "rows", "auc", "average precision", "ks"}, rows);
    }
    if (!data.confusion.empty()) {
        std::vector<std::string> head{"is, and was taken for"};
        head.insert(head.end(), data.class_names.begin(), data.class_names.end());
        Rows rows;
        for (std::size_t i = 0; i < data.confusion.size(); ++i) {
            std::vector<std::string> row{data.class_names[i]};
            for (const std::uint64_t count : data.confusion[i]) row.push_back(grouped(count));
            rows.push_back(std::move(row));
        }
        out += "<h3>Confusion matrix</h3>" + table(head, rows);
    }
    for (std::size_t k = 0; k < std::min(data.classes.size(), plotted_classes_max); ++k) {
        const std::string body = class_section(data.classes[k]);
        out += data.classes.size() == 1 ? body
                                        : fmt::format("<details><summary>{}</summary>{}</details>",
                                                      escaped_html(data.classes[k].name), body);
    }
    return out;
}

std::string residuals(const ReportData& data) {
    if (data.residuals.empty()) return {};
    observe::SvgSeries series{"groups of rows with rising predictions", {}, false, true};
    Rows rows;
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (const ResidualGroup& group : data.residuals) {
        series.points.emplace_back(group.predicted, group.observed);
        low = std::min(low, group.predicted);
        high = std::max(high, group.predicted);
        rows.push_back({metric_text(group.predicted), metric_text(group.observed),
                        metric_text(group.deviation), grouped(group.rows)});
    }
    const std::string svg =
        observe::svg_curves({"Labels by predictions", "mean prediction", "mean label"},
                            {series, {"as it should be", {{low, low}, {high, high}}, true}});
    return "<div class=\"plots\">" +
           figure("Labels by predictions", svg,
                  {"mean prediction", "mean label", "deviation of label - prediction", "rows"},
                  rows) +
           "</div>";
}

/// "auc", "r2", "accuracy": larger is better; loss where there is no such metric.
std::string worth_metric(const observe::RunReport& report) {
    for (const char* const name : {"auc", "auc_macro", "accuracy", "r2", "d2"})
        if (find(judged(report), name) != nullptr) return name;
    return "loss";
}

/// Why the worth of the parties is not known.
std::string no_worth(const ReportData& data) {
    const observe::RunReport& report = data.run.report;
    if (report.status != "completed") return "the run was not completed";
    if (report.test.empty() && report.train.empty()) return "there are no metrics";
    if (report.protocol == "honest") return "the report has no metrics without a party";
    return "the report has no metrics without a party: protocol " + report.protocol +
           " may hide the parties' numbers from the master";
}

std::string worth(const ReportData& data) {
    const observe::RunReport& report = data.run.report;
    const std::string name = worth_metric(report);
    const double* whole = find(judged(report), name);
    std::vector<observe::SvgBar> bars;
    Rows rows;
    for (const observe::PartyReport& party : report.parties) {
        const double* without = find(party.metrics_without, name);
        if (without == nullptr || whole == nullptr) continue;
        bars.push_back({party.name, *whole - *without, metric_text(*whole - *without)});
        std::vector<std::string> row{party.name};
        for (const auto& [metric, value] : judged(report))
            row.push_back(cell(party.metrics_without, metric));
        rows.push_back(std::move(row));
    }
    if (bars.empty())
        return "<p class=\"soft\">Not known: " + escaped_html(no_worth(data)) + ".</p>";
    std::vector<std::string> head{"without"};
    for (const auto& [metric, value] : judged(report)) head.push_back(metric);
    return "<p class=\"soft\">What " + escaped_html(name) + " of the " +
           (report.test.empty() ? "training" : "test") +
           " rows loses when a party gives its mean for every row.</p><div class=\"plots\">" +
           figure("Worth of each party, by " + name, observe::svg_bars("Worth of each party", bars),
                  head, rows) +
           "</div>";
}

std::string features(const ReportData& data) {
    if (!data.part) return {};
    std::vector<observe::SvgBar> bars;
    Rows rows;
    const std::size_t outputs =
        data.part->features.empty() ? 0 : data.part->features.front().weights.size();
    for (std::size_t j = 0; j < std::min(features_max, data.part->features.size()); ++j) {
        const Feature& feature = data.part->features[j];
        const double shown = outputs == 1 ? feature.weights[0] : feature.largest();
        bars.push_back({feature.name, shown, metric_text(shown)});
        std::vector<std::string> row{feature.name};
        for (const double weight : feature.weights) row.push_back(metric_text(weight));
        rows.push_back(std::move(row));
    }
    std::vector<std::string> head{"feature"};
    for (std::size_t c = 0; c < outputs; ++c)
        head.push_back(data.network                    ? "norm"
                       : outputs == 1                  ? "weight"
                       : c < data.part->outputs.size() ? data.part->outputs[c]
                                                       : "output " + std::to_string(c + 1));
    if (bars.empty()) return {};
    if (outputs == 0)
        return "<p class=\"soft\">Not known: a pixel has no weights of its own in a "
               "convolution.</p>";
    return fmt::format(
               "<p class=\"soft\">Of {} features of {}, the {} with the largest weights. {} Other "
               "parties' features are at home with them.</p>"
               "<div class=\"plots\">",
               grouped(data.part->features.size()), escaped_html(data.part->party), bars.size(),
               data.network ? "What is shown is the norm of the weights by which a feature goes "
                              "into the first layer of its party's network."
                            : "A weight is what one standard deviation of a number adds to the "
                              "score, or the presence of a category.") +
           figure("Features of " + data.part->party, observe::svg_bars("Features by weight", bars),
                  head, rows) +
           "</div>";
}

std::string times(const observe::RunReport& report) {
    std::vector<observe::SvgBar> bars, bytes;
    Rows time_rows, byte_rows;
    for (const auto& [phase, seconds] : report.phase_seconds) {
        bars.push_back({phase, seconds, seconds_text(seconds)});
        time_rows.push_back({phase, seconds_text(seconds)});
    }
    for (const observe::PartyReport& party : report.parties) {
        bytes.push_back(
            {party.name, static_cast<double>(party.bytes_sent), human_bytes(party.bytes_sent)});
        byte_rows.push_back({party.name, grouped(party.bytes_sent), grouped(party.bytes_received)});
    }
    return "<div class=\"plots\">" +
           figure("Time in each phase", observe::svg_bars("Time in each phase", bars),
                  {"phase", "time"}, time_rows) +
           figure("Bytes that each party sent", observe::svg_bars("Bytes sent", bytes),
                  {"party", "sent", "received"}, byte_rows) +
           "</div>";
}

std::string configuration(const observe::RunReport& report) {
    Rows rows;
    for (const auto& [key, value] : report.configuration) rows.push_back({key, value});
    rows.push_back({"hash", report.config_hash});
    return facts(rows);
}

}  // namespace

std::string report_page(const ReportData& data) {
    const observe::RunReport& report = data.run.report;
    const std::string title = "vflbus: run " + data.run.run.short_hex() +
                              (report.experiment_label.empty() ? "" : ", ") +
                              report.experiment_label;
    std::string out = fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
        "<title>{0}</title><style>{1}</style></head><body><main><h1>{0}</h1>\n",
        escaped_html(title), style);
    out += section("Summary", summary(data));
    out += section("Metrics", metrics(report));
    out += section("Parties", parties(report));
    out += section("In the course of the training", history(report));
    const std::string rows_text =
        report.evaluated.empty()
            ? "Curves"
            : "Curves of the " + report.evaluated + " rows, " + grouped(data.evaluated_rows);
    const bool numbers = predicts_numbers(task_named(report.task).value_or(Task::logistic));
    out += section(rows_text, numbers && data.missing.empty() ? residuals(data) : classes(data));
    out += section("What each party is worth", worth(data));
    out += section("Features", features(data));
    out += section("Time and bytes", times(report));
    out += section("Configuration", configuration(report));
    return out + "</main></body></html>\n";
}

}  // namespace vflbus::cli
