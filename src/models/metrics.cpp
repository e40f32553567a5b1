#include "models/metrics.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

#include "models/kernels.hpp"
#include "models/math.hpp"
#include "models/verdict.hpp"

namespace vflbus::models {

namespace {

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

bool usable(std::span<const double> y, std::span<const double> prediction) {
    assert(y.size() == prediction.size());
    return !y.empty() && all_finite(prediction);
}

double mean(std::span<const double> values) {
    return values.empty() ? undefined : lane_sum(values) / static_cast<double>(values.size());
}

/// A row as the curve of all thresholds takes it.
struct Ranked {
    std::uint64_t key = 0;  ///< less for a higher score, equal for an equal one
    bool positive = false;
};

std::uint64_t key_of(double score) noexcept {
    const auto bits = std::bit_cast<std::uint64_t>(score + 0.0);  // -0 is 0
    const std::uint64_t sign = std::uint64_t{1} << 63;
    return (bits & sign) != 0 ? bits : ~(bits | sign);
}

/// From the highest score down. A million scores are sorted digit by digit, as comparing them one
/// by one costs more than all that is done with them afterwards.
std::vector<Ranked> ranked(std::span<const double> y, std::span<const double> score) {
    constexpr unsigned digit_bits = 11;
    constexpr unsigned digits = 6;
    constexpr std::size_t values = std::size_t{1} << digit_bits;
    constexpr std::size_t few = 4096;
    std::vector<Ranked> rows(y.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = {key_of(score[i]), y[i] == 1};
    if (rows.size() < few) {
        std::ranges::sort(rows, {}, &Ranked::key);
        return rows;
    }
    const auto digit = [](const Ranked& row, unsigned d) {
        return static_cast<std::size_t>(row.key >> (d * digit_bits)) & (values - 1);
    };
    std::vector<std::size_t> begins(digits * values, 0);
    for (const Ranked& row : rows)
        for (unsigned d = 0; d < digits; ++d) ++begins[d * values + digit(row, d)];
    std::vector<Ranked> sorted(rows.size());
    for (unsigned d = 0; d < digits; ++d) {
        const auto of_digit = std::span(begins).subspan(d * values, values);
        if (of_digit[digit(rows[0], d)] == rows.size()) continue;  // the same in all
        std::exclusive_scan(of_digit.begin(), of_digit.end(), of_digit.begin(), std::size_t{0});
        for (const Ranked& row : rows) sorted[of_digit[digit(row, d)]++] = row;
        rows.swap(sorted);
    }
    return rows;
}

/// Calls step(true positives, false positives) once per distinct score, from the highest down, with
/// the running counts; false when y has one class or the scores cannot be ordered.
template <class Step>
bool walk_roc(std::span<const double> y, std::span<const double> score, double& positives,
              double& negatives, Step step) {
    positives = negatives = 0;
    if (!usable(y, score)) return false;
    for (const double truth : y) (truth == 1 ? positives : negatives) += 1;
    if (positives == 0 || negatives == 0) return false;
    const std::vector<Ranked> order = ranked(y, score);
    double tp = 0;
    double fp = 0;
    for (std::size_t i = 0; i < order.size();) {
        const std::uint64_t threshold = order[i].key;
        for (; i < order.size() && order[i].key == threshold; ++i)
            (order[i].positive ? tp : fp) += 1;
        step(tp, fp);
    }
    return true;
}

struct BinaryCounts {
    double tp = 0, fp = 0, fn = 0;
    double f1() const { return 2 * tp + fp + fn == 0 ? 0 : 2 * tp / (2 * tp + fp + fn); }
};

BinaryCounts confusion(std::span<const double> y, std::span<const double> probability) {
    BinaryCounts out;
    for (std::size_t i = 0; i < y.size(); ++i) {
        const bool called = probability[i] > 0.5;
        const bool truth = y[i] == 1;
        out.tp += called && truth ? 1 : 0;
        out.fp += called && !truth ? 1 : 0;
        out.fn += !called && truth ? 1 : 0;
    }
    return out;
}

}  // namespace

double clipped_probability(double p) noexcept {
    constexpr double least = 0x1p-52;
    return std::min(std::max(p, least), 1 - least);
}

// -- single figures ---------------------------------------------------------------------

double auc(std::span<const double> y, std::span<const double> score) {
    double positives = 0;
    double negatives = 0;
    double area = 0;  // in units of one positive times one negative, twice
    double last_tp = 0;
    double last_fp = 0;
    const bool defined = walk_roc(y, score, positives, negatives, [&](double tp, double fp) {
        area += (fp - last_fp) * (tp + last_tp);
        last_tp = tp;
        last_fp = fp;
    });
    return defined ? area / 2 / (positives * negatives) : undefined;
}

double ks(std::span<const double> y, std::span<const double> score) {
    double positives = 0;
    double negatives = 0;
    double most = 0;
    const bool defined = walk_roc(y, score, positives, negatives, [&](double tp, double fp) {
        most = std::max(most, std::abs(tp / positives - fp / negatives));
    });
    return defined ? most : undefined;
}

double log_loss(std::span<const double> y, std::span<const double> probability) {
    if (!usable(y, probability)) return undefined;
    std::vector<double> share(y.size());
    for (std::size_t i = 0; i < y.size(); ++i)
        share[i] = y[i] == 1 ? clipped_probability(probability[i])
                             : 1 - clipped_probability(probability[i]);
    models::log(share, share);
    return -mean(share);
}

double accuracy(std::span<const double> y, std::span<const double> probability) {
    if (!usable(y, probability)) return undefined;
    double right = 0;
    for (std::size_t i = 0; i < y.size(); ++i)
        right += (probability[i] > 0.5) == (y[i] == 1) ? 1 : 0;
    return right / static_cast<double>(y.size());
}

double f1(std::span<const double> y, std::span<const double> probability) {
    return usable(y, probability) ? confusion(y, probability).f1() : undefined;
}

// -- regression ---------------------------------------------------------------------------

namespace {

double mean_square(std::span<const double> y, std::span<const double> prediction) {
    std::vector<double> term(y.size());
    for (std::size_t i = 0; i < y.size(); ++i)
        term[i] = (y[i] - prediction[i]) * (y[i] - prediction[i]);
    return mean(term);
}

}  // namespace

double rmse(std::span<const double> y, std::span<const double> prediction) {
    return usable(y, prediction) ? std::sqrt(mean_square(y, prediction)) : undefined;
}

double mae(std::span<const double> y, std::span<const double> prediction) {
    if (!usable(y, prediction)) return undefined;
    std::vector<double> term(y.size());
    for (std::size_t i = 0; i < y.size(); ++i) term[i] = std::abs(y[i] - prediction[i]);
    return mean(term);
}

double r2(std::span<const double> y, std::span<const double> prediction) {
    if (!usable(y, prediction) || y.size() < 2) return undefined;
    const std::vector<double> centre(y.size(), mean(y));
    const double left = mean_square(y, prediction);
    const double total = mean_square(y, centre);
    if (total == 0) return left == 0 ? 1 : 0;
    return 1 - left / total;
}

// -- all of a task ------------------------------------------------------------------------

void Metrics::set(std::string name, double value) {
    for (auto& [known, old] : entries_) {
        if (known == name) {
            old = value;
            return;
        }
    }
    entries_.emplace_back(std::move(name), value);
}

double Metrics::get(std::string_view name) const noexcept {
    for (const auto& [known, value] : entries_)
        if (known == name) return value;
    return undefined;
}

bool Metrics::contains(std::string_view name) const noexcept {
    return std::any_of(entries_.begin(), entries_.end(),
                       [&](const auto& entry) { return entry.first == name; });
}

std::string_view headline_metric(Task task) noexcept {
    switch (task) {
        case Task::linear:
            return "r2";
        case Task::logistic:
            return "auc";
        case Task::multilabel:
            return "auc_macro";
        case Task::softmax:
            return "accuracy";
        case Task::poisson:
        case Task::gamma:
        case Task::tweedie:
            return "d2";
    }
    return "loss";
}

namespace {

/// Mean over outputs of figure(y, p); NaN as soon as one is.
template <class Figure>
double mean_over(ConstMatrixView y, ConstMatrixView p, Figure figure) {
    double sum = 0;
    for (std::size_t c = 0; c < y.cols; ++c) sum += figure(y.col(c), p.col(c));
    return sum / static_cast<double>(y.cols);
}

void linear_metrics(ConstMatrixView y, ConstMatrixView p, Metrics& out) {
    const auto half_square = [](auto truth, auto predicted) {
        const double root = rmse(truth, predicted);
        return 0.5 * root * root;
    };
    out.set("loss", mean_over(y, p, half_square));
    out.set("r2", mean_over(y, p, r2));
    out.set("rmse", mean_over(y, p, rmse));
    out.set("mae", mean_over(y, p, mae));
}

void logistic_metrics(ConstMatrixView y, ConstMatrixView p, Metrics& out) {
    out.set("loss", log_loss(y.col(0), p.col(0)));
    out.set("auc", auc(y.col(0), p.col(0)));
    out.set("ks", ks(y.col(0), p.col(0)));
    out.set("accuracy", accuracy(y.col(0), p.col(0)));
    out.set("f1", f1(y.col(0), p.col(0)));
}

void multilabel_metrics(const Labels& labels, ConstMatrixView p, Metrics& out) {
    const ConstMatrixView y = labels.values;
    out.set("loss", mean_over(y, p, log_loss));
    out.set("auc_macro", mean_over(y, p, auc));
    out.set("auc_micro", auc(y.span(), p.span()));
    out.set("ks", mean_over(y, p, ks));
    double right = 0;
    for (std::size_t i = 0; i < y.rows; ++i) {
        bool all = true;
        for (std::size_t c = 0; c < y.cols; ++c) all = all && (p(i, c) > 0.5) == (y(i, c) == 1);
        right += all ? 1 : 0;
    }
    out.set("accuracy",
            usable(y.span(), p.span()) ? right / static_cast<double>(y.rows) : undefined);
    out.set("label_accuracy", accuracy(y.span(), p.span()));
    out.set("f1_macro", mean_over(y, p, f1));
    out.set("f1_micro", f1(y.span(), p.span()));
    for (std::size_t c = 0; c < y.cols && c < labels.names.size(); ++c)
        out.set("auc[" + labels.names[c] + "]", auc(y.col(c), p.col(c)));
}

double softmax_log_loss(ConstMatrixView p, std::span<const std::size_t> label) {
    std::vector<double> share(p.rows);
    for (std::size_t i = 0; i < p.rows; ++i) {
        double sum = 0;
        for (std::size_t c = 0; c < p.cols; ++c) sum += clipped_probability(p(i, c));
        share[i] = clipped_probability(p(i, label[i])) / sum;
    }
    models::log(share, share);
    return -mean(share);
}

void softmax_metrics(const Labels& labels, ConstMatrixView p, Metrics& out) {
    const std::size_t n = p.rows;
    Matrix y(n, p.cols);
    std::vector<std::size_t> label(n);
    for (std::size_t i = 0; i < n; ++i) {
        label[i] = static_cast<std::size_t>(labels.values(i, 0));
        y(i, label[i]) = 1;
    }
    std::vector<BinaryCounts> of_class(p.cols);
    double right = 0;
    for (std::size_t i = 0; i < n; ++i) {
        std::size_t called = 0;
        for (std::size_t c = 1; c < p.cols; ++c) called = p(i, c) > p(i, called) ? c : called;
        if (called == label[i]) {
            of_class[called].tp += 1;
            right += 1;
        } else {
            of_class[called].fp += 1;
            of_class[label[i]].fn += 1;
        }
    }
    double f1_sum = 0;
    double f1_count = 0;  // classes that neither occur nor are called do not count
    for (const BinaryCounts& one : of_class) {
        if (one.tp + one.fp + one.fn == 0) continue;
        f1_sum += one.f1();
        f1_count += 1;
    }
    const bool defined = n > 0 && all_finite(p.span());
    const double share = defined ? right / static_cast<double>(n) : undefined;
    out.set("loss", defined ? softmax_log_loss(p, label) : undefined);
    out.set("accuracy", share);
    out.set("auc_macro", mean_over(y, p, auc));
    out.set("auc_micro", auc(y.span(), p.span()));
    out.set("ks", mean_over(y, p, ks));
    out.set("f1_macro", defined ? f1_sum / f1_count : undefined);
    out.set("f1_micro", share);  // of one call per row both are the share of right ones
}

double mean_deviance(const Labels& labels, ConstMatrixView p) {
    const std::vector<double> half = row_losses(labels, p);
    const double all = 2 * mean(half);
    return std::isfinite(all) ? all : undefined;
}

void log_link_metrics(const Labels& labels, ConstMatrixView p, Metrics& out) {
    const Matrix y = in_label_units(labels.exposure, labels.values);
    const Matrix predicted = in_label_units(labels.exposure, p);
    const bool defined = usable(y.span(), predicted.span());
    const double left = defined ? mean_deviance(labels, p) : undefined;
    const double total = defined && labels.rows() > 1
                             ? mean_deviance(labels, constant_prediction(labels, labels.rows()))
                             : undefined;
    out.set("loss", left / 2);
    out.set("deviance", left);
    out.set("d2", total == 0 ? (left == 0 ? 1 : 0) : 1 - left / total);
    out.set("rmse", rmse(y.span(), predicted.span()));
    out.set("mae", mae(y.span(), predicted.span()));
}

}  // namespace

Metrics metrics_for(const Labels& labels, ConstMatrixView predictions) {
    assert(predictions.rows == labels.rows() && predictions.cols == labels.outputs());
    Metrics out;
    out.headline_ = headline_metric(labels.task);
    switch (labels.task) {
        case Task::linear:
            linear_metrics(labels.values, predictions, out);
            break;
        case Task::logistic:
            logistic_metrics(labels.values, predictions, out);
            break;
        case Task::multilabel:
            multilabel_metrics(labels, predictions, out);
            break;
        case Task::softmax:
            softmax_metrics(labels, predictions, out);
            break;
        case Task::poisson:
        case Task::gamma:
        case Task::tweedie:
            log_link_metrics(labels, predictions, out);
            break;
    }
    return out;
}

}  // namespace vflbus::models
