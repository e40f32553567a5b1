#pragma once
// The loss of all training rows as a function of the scores, with its first and second derivative:
// what the master of a full-batch solver minimises. Holds labels and weights, no scores.
//
// With c_i the weight of row i (times that of its class), W the sum of the row weights without
// class weights (so W = n when no row has a weight), z the scores with intercept:
//
//   linear                1/W sum c 1/2 (z - y')^2       y' = (y - shift) / unit
//   logistic, multilabel  1/W sum c (softplus(z) - y z)
//   softmax               1/W sum c (logsumexp(z) - z_y)
//   poisson, gamma, tweedie   1/W sum c D(y, exp(z))    half the deviance, deviance.hpp
//
// With a log link c has the weight of the exposure in it, and W is sum c times the mean label to
// the power 2 - p: then the second derivatives have the mean 1, and tolerances mean the same in
// every unit of the label.
//
// Linear labels are scaled to mean 0 and variance 1, so that tolerances mean the same for prices in
// cents and for shares; predictions are unit z + shift.
//
// Outputs that share no weight are solved one beside the other: linear and multilabel models have
// one group per output, softmax one group of all its classes.

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "base/errc.hpp"
#include "models/head.hpp"
#include "models/matrix.hpp"

namespace vflbus::models {

/// The largest second derivative of a row's loss by one score: 1 for squares, p (1 - p) <= 1/4 for
/// probabilities. With a log link there is no bound; 1 is the mean at the start. A function of the
/// task alone, so every party knows it without the labels.
double curvature_bound(Task task) noexcept;

/// Scratch of one panel, used again for each.
struct ObjectiveScratch {
    Matrix probability;
    std::vector<double> loss;
    std::vector<double> terms;
};

class Objective {
  public:
    /// `labels`: of the training rows. row_weights: none, or one per row, not negative and with a
    /// positive sum (bad_data otherwise). Class weights and labels are refused as by Head::create.
    /// Without an intercept linear labels are scaled, but not shifted.
    static Result<Objective> create(Labels labels, bool intercept,
                                    const ClassWeights& class_weights,
                                    std::span<const double> row_weights = {});

    // -- properties -------------------------------------------------------------
    Task task() const noexcept { return labels_.task; }
    std::size_t rows() const noexcept { return labels_.rows(); }
    std::size_t outputs() const noexcept { return labels_.outputs(); }
    std::size_t groups() const noexcept {
        return labels_.task == Task::softmax ? 1 : labels_.outputs();
    }
    std::size_t group_outputs() const noexcept { return outputs() / groups(); }
    /// W. A penalty of l2 in scikit-learn's sense (its 1 / C, or Ridge's alpha) is l2 / W here.
    double total_weight() const noexcept { return total_; }
    /// Where the labels alone put the intercept, in the units of z: k values.
    std::span<const double> start() const noexcept { return start_; }
    std::span<const double> unit() const noexcept { return unit_; }    ///< k; 1 unless linear
    std::span<const double> shift() const noexcept { return shift_; }  ///< k; 0 unless linear
    /// What the mean loss of `output` is multiplied by, to be that of the label in its own unit.
    double loss_unit(std::size_t output) const noexcept {
        return has_log_link(task()) ? total_ / weight_ : unit_[output] * unit_[output];
    }

    // -- one panel of one group ----------------------------------------------------
    // `first`: the first row of the panel. z: b x group_outputs, scores with intercept.

    /// Sum of the rows' losses (not yet divided by W); writes the residual, the gradient of the
    /// mean loss by z, b x group_outputs.
    double loss_and_residual(std::size_t group, std::size_t first, ConstMatrixView z,
                             MatrixView residual, ObjectiveScratch& scratch) const;
    /// The second derivative of the mean loss at z, in parts:
    ///   linear, logistic, multilabel   row i: weights_i            (`row_share` is not written)
    ///   softmax                        row i: row_share_i (diag(weights_i) - weights_i weights_i')
    /// `weights`: b x group_outputs (probabilities for softmax), row_share: b, c_i / W.
    void curvature(std::size_t group, std::size_t first, ConstMatrixView z, MatrixView weights,
                   std::span<double> row_share, ObjectiveScratch& scratch) const;

  private:
    explicit Objective(Labels labels) : labels_(std::move(labels)) {}
    double linear_panel(std::size_t output, std::size_t first, std::span<const double> z,
                        std::span<double> residual, ObjectiveScratch& scratch) const;
    double logistic_panel(std::size_t output, std::size_t first, std::span<const double> z,
                          std::span<double> residual, ObjectiveScratch& scratch) const;
    double log_link_panel(std::size_t first, std::span<const double> z, std::span<double> residual,
                          ObjectiveScratch& scratch) const;
    double softmax_panel(std::size_t first, ConstMatrixView z, MatrixView residual,
                         ObjectiveScratch& scratch) const;
    Result<> take_row_weights(std::span<const double> row_weights);
    Result<> scale_labels(bool intercept);
    Result<> start_log_link(bool intercept);
    void find_start();
    /// c_i of `output` for row i.
    double weight(std::size_t output, std::size_t row) const noexcept;

    Labels labels_;
    std::vector<double> class_weights_;  ///< softmax [class], otherwise [2 * output + y]; or empty
    std::vector<double> row_weights_;    ///< or empty
    double total_ = 0;
    double weight_ = 0;              ///< sum of the row weights, without exposures
    std::vector<double> constants_;  ///< log link: what no score changes of each row's loss
    std::vector<double> start_;
    std::vector<double> unit_;
    std::vector<double> shift_;
};

}  // namespace vflbus::models
