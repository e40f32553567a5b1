#include "models/verdict.hpp"

#include <algorithm>
#include <cmath>

#include "base/assert.hpp"
#include "models/kernels.hpp"
#include "models/math.hpp"
#include "models/metrics.hpp"

namespace vflbus::models {

namespace {

constexpr double standard_errors = 3;
constexpr double rounding_share = 0x1p-40;
constexpr double diverged_factor = 10;

double mean_loss(std::span<const double> values) {
    return lane_sum(values) / static_cast<double>(values.size());
}

void add_two_class_losses(std::span<const double> y, std::span<const double> p,
                          std::span<double> out) {
    for (std::size_t i = 0; i < y.size(); ++i)
        out[i] -=
            models::log(y[i] == 1 ? clipped_probability(p[i]) : 1 - clipped_probability(p[i]));
}

}  // namespace

std::vector<double> row_losses(const Labels& labels, ConstMatrixView predictions) {
    VFLBUS_ASSERT(predictions.rows == labels.rows() && predictions.cols == labels.outputs(),
                  "one prediction for each row and output");
    std::vector<double> out(labels.rows(), 0.0);
    if (labels.task == Task::softmax) {
        for (std::size_t i = 0; i < out.size(); ++i) {
            double sum = 0;
            for (std::size_t c = 0; c < predictions.cols; ++c)
                sum += clipped_probability(predictions(i, c));
            const auto label = static_cast<std::size_t>(labels.values(i, 0));
            out[i] = -models::log(clipped_probability(predictions(i, label)) / sum);
        }
        return out;
    }
    for (std::size_t c = 0; c < predictions.cols; ++c) {
        const auto y = labels.values.col(c);
        const auto p = predictions.col(c);
        if (labels.task != Task::linear) {
            add_two_class_losses(y, p, out);
            continue;
        }
        for (std::size_t i = 0; i < out.size(); ++i) out[i] += 0.5 * (y[i] - p[i]) * (y[i] - p[i]);
    }
    for (double& loss : out) loss /= static_cast<double>(predictions.cols);
    return out;
}

Matrix constant_prediction(const Labels& train, std::size_t rows) {
    const double n = static_cast<double>(train.rows());
    std::vector<double> share(train.outputs(), 0.0);
    if (train.task == Task::softmax)
        for (std::size_t i = 0; i < train.rows(); ++i)
            share[static_cast<std::size_t>(train.values(i, 0))] += 1;
    else
        column_sums(train.values, share);
    Matrix out(rows, share.size());
    for (std::size_t c = 0; c < share.size(); ++c) std::ranges::fill(out.col(c), share[c] / n);
    return out;
}

bool clearly_larger(std::span<const double> a, std::span<const double> b) {
    VFLBUS_ASSERT(a.size() == b.size(), "one value per row each");
    if (a.size() < 2) return false;
    const double n = static_cast<double>(a.size());
    std::vector<double> difference(a.size());
    for (std::size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
    const double by = mean_loss(difference);
    for (double& value : difference) value = (value - by) * (value - by);
    const double error = std::sqrt(lane_sum(difference) / (n - 1) / n);
    return by > standard_errors * error && by > rounding_share * std::abs(mean_loss(b));
}

bool has_diverged(const Labels& train, double loss) {
    if (!std::isfinite(loss)) return true;
    double least = 0;  // labels that are all the same leave the constant no loss at all
    if (train.task == Task::linear)
        for (const double y : train.values.span()) least = std::max(least, rounding_share * y * y);
    const double constant = mean_loss(row_losses(train, constant_prediction(train, train.rows())));
    return loss > diverged_factor * constant && loss > least;
}

}  // namespace vflbus::models
