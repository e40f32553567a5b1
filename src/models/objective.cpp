#include "models/objective.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/assert.hpp"
#include "models/kernels.hpp"
#include "models/math.hpp"

namespace vflbus::models {

double curvature_bound(Task task) noexcept {
    return predicts_numbers(task) ? 1.0 : 0.25;
}

// -- creation -----------------------------------------------------------------------

Result<Objective> Objective::create(Labels labels, bool intercept,
                                    const ClassWeights& class_weights,
                                    std::span<const double> row_weights) {
    if (Result<> ok = validate(labels); !ok) return tl::unexpected<Failure>(std::move(ok.error()));
    Objective out(std::move(labels));
    Result<std::vector<double>> weights = weights_of_classes(out.labels_, class_weights);
    if (!weights) return tl::unexpected<Failure>(std::move(weights.error()));
    out.class_weights_ = std::move(*weights);
    if (Result<> ok = out.take_row_weights(row_weights.empty() ? out.labels_.weights : row_weights);
        !ok)
        return tl::unexpected<Failure>(std::move(ok.error()));
    out.unit_.assign(out.outputs(), 1);
    out.shift_.assign(out.outputs(), 0);
    out.start_.assign(out.outputs(), 0);
    if (out.task() == Task::linear) {
        if (Result<> ok = out.scale_labels(intercept); !ok)
            return tl::unexpected<Failure>(std::move(ok.error()));
    } else if (has_log_link(out.task())) {
        if (Result<> ok = out.start_log_link(intercept); !ok)
            return tl::unexpected<Failure>(std::move(ok.error()));
    } else if (intercept) {
        out.find_start();
    }
    return out;
}

Result<> Objective::take_row_weights(std::span<const double> row_weights) {
    total_ = static_cast<double>(rows());
    if (row_weights.empty()) return {};
    if (row_weights.size() != rows())
        return fail(Errc::bad_data, "there are " + std::to_string(row_weights.size()) +
                                        " row weights for " + std::to_string(rows()) + " rows.");
    for (std::size_t i = 0; i < rows(); ++i)
        if (!(row_weights[i] >= 0 && std::isfinite(row_weights[i])))
            return fail(Errc::bad_data, "the weight of record " + std::to_string(i) + " is " +
                                            std::to_string(row_weights[i]) +
                                            "; weights are 0 or more and finite.");
    row_weights_.assign(row_weights.begin(), row_weights.end());
    total_ = lane_sum(row_weights_);
    if (!(total_ > 0 && std::isfinite(total_)))
        return fail(Errc::bad_data, "the row weights add up to " + std::to_string(total_) +
                                        "; at least one must be positive.");
    return {};
}

double Objective::weight(std::size_t output, std::size_t row) const noexcept {
    const double of_row = row_weights_.empty() ? 1 : row_weights_[row];
    if (class_weights_.empty()) return of_row;
    const std::size_t at = task() == Task::softmax ? 0 : output;
    const auto y = static_cast<std::size_t>(labels_.values(row, at));
    return of_row * class_weights_[task() == Task::softmax ? y : 2 * output + y];
}

/// Mean and deviation are those of the weighted rows. A constant label keeps its unit.
Result<> Objective::scale_labels(bool intercept) {
    std::vector<double> terms(rows());
    for (std::size_t c = 0; c < outputs(); ++c) {
        const auto y = labels_.values.col(c);
        double most = 0;
        for (const double value : y) most = std::max(most, std::abs(value));
        if (most == 0) continue;
        double mean = 0;  // in units of `most`: sums of squares stay in range
        if (intercept) {
            for (std::size_t i = 0; i < y.size(); ++i) terms[i] = weight(c, i) * (y[i] / most);
            mean = lane_sum(terms) / total_;
        }
        for (std::size_t i = 0; i < y.size(); ++i) {
            const double miss = y[i] / most - mean;
            terms[i] = weight(c, i) * (miss * miss);
        }
        const double deviation = std::sqrt(lane_sum(terms) / total_);
        const bool constant = deviation <= 0x1p-50;
        unit_[c] = constant ? most : deviation * most;
        shift_[c] = mean * most;
        if (!std::isfinite(shift_[c]) || !(unit_[c] > 0) || !std::isfinite(unit_[c]))
            return fail(Errc::bad_data, labels_.describe(c) +
                                            " holds numbers that are too large or too small to be "
                                            "scaled; give it in another unit.");
        for (double& value : y)
            value = constant && intercept ? 0 : (value / most - mean) / (unit_[c] / most);
    }
    return {};
}

/// Row weights get what exposures weigh, W the size of the labels.
Result<> Objective::start_log_link(bool intercept) {
    weight_ = total_;
    const auto y = labels_.values.col(0);
    if (!labels_.exposure.empty()) {
        if (row_weights_.empty()) row_weights_.assign(rows(), 1);
        for (std::size_t i = 0; i < rows(); ++i) row_weights_[i] *= labels_.exposure_weight(i);
        total_ = lane_sum(row_weights_);
    }
    std::vector<double> terms(y.begin(), y.end());
    for (std::size_t i = 0; i < rows() && !row_weights_.empty(); ++i) terms[i] *= row_weights_[i];
    const double mean = lane_sum(terms) / total_;
    const HalfDeviance deviance = labels_.deviance();
    total_ *= deviance.scale(mean);
    if (!(mean > 0) || !std::isfinite(mean) || !(total_ > 0) || !std::isfinite(total_))
        return refuse_mean(labels_, mean);
    constants_.resize(rows());
    for (std::size_t i = 0; i < rows(); ++i) constants_[i] = deviance.constant(y[i]);
    if (intercept) start_[0] = models::log(mean);
    return {};
}

/// The log-odds, or the logs of the classes' shares less their mean, of the weighted rows.
void Objective::find_start() {
    const bool softmax = task() == Task::softmax;
    std::vector<double> share(softmax ? labels_.classes : 2 * outputs(), 0.0);
    for (std::size_t c = 0; c < labels_.values.cols(); ++c)
        for (std::size_t i = 0; i < rows(); ++i)
            share[(softmax ? 0 : 2 * c) + static_cast<std::size_t>(labels_.values(i, c))] +=
                weight(c, i);
    for (double& value : share) value = models::log(value > 0 ? value : 0.5);
    if (softmax) {
        const double mean = lane_sum(share) / static_cast<double>(share.size());
        for (std::size_t c = 0; c < share.size(); ++c) start_[c] = share[c] - mean;
    } else {
        for (std::size_t c = 0; c < outputs(); ++c) start_[c] = share[2 * c + 1] - share[2 * c];
    }
}

// -- one panel ------------------------------------------------------------------------

double Objective::linear_panel(std::size_t output, std::size_t first, std::span<const double> z,
                               std::span<double> residual, ObjectiveScratch& scratch) const {
    const auto y = labels_.values.col(output).subspan(first, z.size());
    const bool weighted = !row_weights_.empty();
    for (std::size_t i = 0; i < z.size(); ++i) {
        const double c = weighted ? row_weights_[first + i] : 1;
        const double miss = z[i] - y[i];
        scratch.loss[i] = c * (0.5 * (miss * miss));
        residual[i] = c * miss / total_;
    }
    return lane_sum(std::span(scratch.loss).first(z.size()));
}

double Objective::logistic_panel(std::size_t output, std::size_t first, std::span<const double> z,
                                 std::span<double> residual, ObjectiveScratch& scratch) const {
    const auto y = labels_.values.col(output).subspan(first, z.size());
    const std::span<double> loss = std::span(scratch.loss).first(z.size());
    models::softplus(z, loss);
    models::sigmoid(z, residual);
    if (row_weights_.empty() && class_weights_.empty()) {
        for (std::size_t i = 0; i < z.size(); ++i) {
            loss[i] -= y[i] * z[i];
            residual[i] = (residual[i] - y[i]) / total_;
        }
    } else {
        for (std::size_t i = 0; i < z.size(); ++i) {
            const double c = weight(output, first + i);
            loss[i] = c * (loss[i] - y[i] * z[i]);
            residual[i] = c * (residual[i] - y[i]) / total_;
        }
    }
    return lane_sum(loss);
}

namespace {

/// probability = softmax(z) row by row; log_sum = log(sum(exp(z))) of each row.
void softmax_of(ConstMatrixView z, Matrix& probability, std::span<double> log_sum,
                std::span<double> most) {
    probability.resize_uninitialized(z.rows, z.cols);
    std::ranges::copy(z.col(0), most.begin());
    for (std::size_t c = 1; c < z.cols; ++c)
        for (std::size_t i = 0; i < z.rows; ++i) most[i] = std::max(most[i], z.col(c)[i]);
    for (std::size_t c = 0; c < z.cols; ++c)
        for (std::size_t i = 0; i < z.rows; ++i) probability.col(c)[i] = z.col(c)[i] - most[i];
    models::exp(probability.span(), probability.span());
    std::ranges::fill(log_sum, 0.0);
    for (std::size_t c = 0; c < z.cols; ++c)
        for (std::size_t i = 0; i < z.rows; ++i) log_sum[i] += probability.col(c)[i];
    for (std::size_t c = 0; c < z.cols; ++c)
        for (std::size_t i = 0; i < z.rows; ++i) probability.col(c)[i] /= log_sum[i];
    models::log(log_sum, log_sum);
    for (std::size_t i = 0; i < z.rows; ++i) log_sum[i] += most[i];
}

}  // namespace

double Objective::log_link_panel(std::size_t first, std::span<const double> z,
                                 std::span<double> residual, ObjectiveScratch& scratch) const {
    const auto y = labels_.values.col(0).subspan(first, z.size());
    const std::span<double> loss = std::span(scratch.loss).first(z.size());
    labels_.deviance().at(z, y, loss, residual);
    for (std::size_t i = 0; i < z.size(); ++i) {
        const double c = row_weights_.empty() ? 1 : row_weights_[first + i];
        loss[i] = c * (loss[i] + constants_[first + i]);
        residual[i] = c * residual[i] / total_;
    }
    return lane_sum(loss);
}

double Objective::softmax_panel(std::size_t first, ConstMatrixView z, MatrixView residual,
                                ObjectiveScratch& scratch) const {
    const std::span<double> loss = std::span(scratch.loss).first(z.rows);
    const std::span<double> most = std::span(scratch.terms).first(z.rows);
    softmax_of(z, scratch.probability, loss, most);
    const auto y = labels_.values.col(0).subspan(first, z.rows);
    for (std::size_t i = 0; i < z.rows; ++i) {
        const auto label = static_cast<std::size_t>(y[i]);
        loss[i] = weight(0, first + i) * (loss[i] - z(i, label));
        scratch.probability(i, label) -= 1;
    }
    for (std::size_t c = 0; c < z.cols; ++c)
        for (std::size_t i = 0; i < z.rows; ++i)
            residual(i, c) = weight(0, first + i) * scratch.probability(i, c) / total_;
    return lane_sum(loss);
}

double Objective::loss_and_residual(std::size_t group, std::size_t first, ConstMatrixView z,
                                    MatrixView residual, ObjectiveScratch& scratch) const {
    VFLBUS_ASSERT(z.cols == group_outputs() && residual.rows == z.rows && residual.cols == z.cols &&
                      first + z.rows <= rows(),
                  "a panel has the rows and outputs of its group");
    scratch.loss.resize(std::max(scratch.loss.size(), z.rows));
    scratch.terms.resize(std::max(scratch.terms.size(), z.rows));
    switch (task()) {
        case Task::linear:
            return linear_panel(group, first, z.span(), residual.span(), scratch);
        case Task::softmax:
            return softmax_panel(first, z, residual, scratch);
        case Task::poisson:
        case Task::gamma:
        case Task::tweedie:
            return log_link_panel(first, z.span(), residual.span(), scratch);
        default:
            return logistic_panel(group, first, z.span(), residual.span(), scratch);
    }
}

void Objective::curvature(std::size_t group, std::size_t first, ConstMatrixView z,
                          MatrixView weights, std::span<double> row_share,
                          ObjectiveScratch& scratch) const {
    VFLBUS_ASSERT(weights.rows == z.rows && weights.cols == z.cols && z.cols == group_outputs(),
                  "one weight for each score");
    if (task() == Task::linear) {
        for (std::size_t i = 0; i < z.rows; ++i)
            weights.data[i] = (row_weights_.empty() ? 1 : row_weights_[first + i]) / total_;
        return;
    }
    if (has_log_link(task())) {
        const auto y = labels_.values.col(0).subspan(first, z.rows);
        labels_.deviance().curvature(z.span(), y, weights.span());
        for (std::size_t i = 0; i < z.rows; ++i)
            weights.data[i] *= (row_weights_.empty() ? 1 : row_weights_[first + i]) / total_;
        return;
    }
    if (task() != Task::softmax) {
        models::sigmoid(z.span(), weights.span());
        for (std::size_t i = 0; i < z.rows; ++i) {
            const double p = weights.data[i];
            weights.data[i] = weight(group, first + i) * (p * (1 - p)) / total_;
        }
        return;
    }
    VFLBUS_ASSERT(row_share.size() == z.rows, "one share per row");
    scratch.loss.resize(std::max(scratch.loss.size(), z.rows));
    scratch.terms.resize(std::max(scratch.terms.size(), z.rows));
    softmax_of(z, scratch.probability, std::span(scratch.loss).first(z.rows),
               std::span(scratch.terms).first(z.rows));
    for (std::size_t i = 0; i < z.rows; ++i) row_share[i] = weight(0, first + i) / total_;
    std::ranges::copy(scratch.probability.span(), weights.data);
}

}  // namespace vflbus::models
