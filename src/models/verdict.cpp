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
constexpr double diverged_factor = 100;

double mean_loss(std::span<const double> values) {
    return lane_sum(values) / static_cast<double>(values.size());
}

/// What the loss of label y of `output` is multiplied by.
double class_weight(const Labels& labels, std::span<const double> weights, std::size_t output,
                    double y) {
    if (weights.empty()) return 1;
    const auto label = static_cast<std::size_t>(y);
    return weights[labels.task == Task::softmax ? label : 2 * output + label];
}

double loss_of(const Labels& labels, ConstMatrixView predictions, std::size_t row,
               std::size_t output, std::span<const double> weights) {
    const double y = labels.values(row, output);
    const double p = predictions(row, output);
    if (labels.task == Task::linear) return 0.5 * (y - p) * (y - p);
    if (has_log_link(labels.task)) return labels.exposure_weight(row) * labels.deviance().of(y, p);
    const double right = y == 1 ? clipped_probability(p) : 1 - clipped_probability(p);
    return -class_weight(labels, weights, output, y) * models::log(right);
}

double softmax_loss_of(const Labels& labels, ConstMatrixView predictions, std::size_t row,
                       std::span<const double> weights) {
    double sum = 0;
    for (std::size_t c = 0; c < predictions.cols; ++c)
        sum += clipped_probability(predictions(row, c));
    const double y = labels.values(row, 0);
    const double right = clipped_probability(predictions(row, static_cast<std::size_t>(y)));
    return -class_weight(labels, weights, 0, y) * models::log(right / sum);
}

}  // namespace

std::vector<double> row_losses(const Labels& labels, ConstMatrixView predictions,
                               std::span<const double> class_weights) {
    VFLBUS_ASSERT(predictions.rows == labels.rows() && predictions.cols == labels.outputs(),
                  "one prediction for each row and output");
    std::vector<double> out(labels.rows(), 0.0);
    for (std::size_t i = 0; i < out.size(); ++i) {
        if (labels.task == Task::softmax) {
            out[i] = softmax_loss_of(labels, predictions, i, class_weights);
            continue;
        }
        for (std::size_t c = 0; c < predictions.cols; ++c)
            out[i] += loss_of(labels, predictions, i, c, class_weights);
        out[i] /= static_cast<double>(predictions.cols);
    }
    return out;
}

Matrix constant_prediction(const Labels& train, std::size_t rows,
                           std::span<const double> class_weights) {
    const std::size_t k = train.outputs();
    std::vector<double> sum(k, 0.0);
    std::vector<double> total(k, 0.0);
    for (std::size_t i = 0; i < train.rows(); ++i)
        for (std::size_t c = 0; c < k; ++c) {
            const bool softmax = train.task == Task::softmax;
            const double y = train.values(i, softmax ? 0 : c);
            const double weight = has_log_link(train.task)
                                      ? train.exposure_weight(i)
                                      : class_weight(train, class_weights, c, y);
            sum[c] += weight * (softmax ? (y == static_cast<double>(c) ? 1 : 0) : y);
            total[c] += weight;
        }
    Matrix out(rows, k);
    for (std::size_t c = 0; c < k; ++c) std::ranges::fill(out.col(c), sum[c] / total[c]);
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
