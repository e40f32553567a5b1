#pragma once
// The master's end of a linear model: labels, intercept, residual and loss. It turns the sum of all
// parties' partial scores into the residual that every party's step needs.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "base/task.hpp"
#include "models/deviance.hpp"
#include "models/matrix.hpp"
#include "models/optimizer.hpp"

namespace vflbus::models {

using vflbus::name_of;
using vflbus::Task;

/// Labels of all aligned records and how many outputs a model of them has.
///
///   linear      values n x k (usually k = 1), real            outputs = k
///   logistic    values n x 1, each 0 or 1                     outputs = 1
///   multilabel  values n x k, each 0 or 1                     outputs = k
///   softmax     values n x 1, class index 0 .. classes - 1    outputs = classes
///   poisson     values n x 1, 0 or more                       outputs = 1
///   gamma       values n x 1, above 0                         outputs = 1
///   tweedie     values n x 1, 0 or more                       outputs = 1
///
/// Labels with an exposure are those of one unit of it: the count divided by the exposure
/// (deviance.hpp). Predictions of the models room are such as well; `in_label_units` makes them
/// those of the rows.
struct Labels {
    Task task = Task::linear;
    Matrix values;
    std::size_t classes = 0;  ///< softmax only
    std::vector<std::string>
        names;  ///< of the outputs (labels or classes), for messages; may be empty
    /// None, or one per row, 0 or more and finite: what its loss is multiplied by.
    std::vector<double> weights = {};
    /// None, or one per row, above 0 and finite. Tasks with a log link only.
    std::vector<double> exposure = {};
    double tweedie_power = 1.5;  ///< of task tweedie, between 1 and 2

    std::size_t rows() const noexcept { return values.rows(); }
    std::size_t outputs() const noexcept { return task == Task::softmax ? classes : values.cols(); }
    /// "label 'y'" or "label 3".
    std::string describe(std::size_t output) const;
    /// Of tasks with a log link.
    HalfDeviance deviance() const noexcept {
        return HalfDeviance(deviance_power(task, tweedie_power));
    }
    /// What the deviance of a row by one unit of exposure is multiplied by; 1 without exposures.
    double exposure_weight(std::size_t row) const noexcept {
        return exposure.empty() ? 1 : deviance().scale(exposure[row]);
    }
};

/// Numbers by one unit of exposure (labels or predictions, n x outputs) as those of the rows, which
/// have these exposures; without exposures they are that already.
Matrix in_label_units(std::span<const double> exposure, ConstMatrixView of_one_unit);

/// Refuses training labels of a log link whose mean is not above 0 and finite (bad_data).
tl::unexpected<Failure> refuse_mean(const Labels& labels, double mean);

/// Refuses a label that is not finite, not 0 or 1, or not a class index (bad_data, naming the row).
Result<> validate(const Labels& labels);

struct ClassWeights {
    enum class Kind : std::uint8_t { none, balanced, listed };
    Kind kind = Kind::none;
    /// listed: for softmax one weight per class; for logistic and multilabel two, for 0 and for 1
    /// (multilabel: the same two for every label). Positive.
    std::vector<double> listed;
};

/// One weight per class, as a loss multiplies rows with it: softmax [class], otherwise
/// [2 * output + y]; empty without class weights. Counts are taken on `train_rows` (empty: all
/// rows). Refuses, with bad_data, a label that has one class only among them, and with bad_config
/// class weights that do not fit the task or its classes.
Result<std::vector<double>> weights_of_classes(const Labels& labels, const ClassWeights& wanted,
                                               std::span<const RowIndex> train_rows = {});

struct HeadConfig {
    bool intercept = true;
    ClassWeights class_weights;
    OptimizerConfig optimizer;  ///< of the intercept; its weight_decay is ignored
    /// The intercept starts at 0, as nothing may follow from the labels but by noisy steps.
    bool starts_at_zero = false;
};

/// Everything of a Head that a commit stores.
struct HeadState {
    std::vector<double> intercept;  ///< k; empty without an intercept
    OptimizerState optimizer;

    bool operator==(const HeadState&) const = default;
};

struct HeadStep {
    Matrix residual;  ///< b x k
    double loss = 0;
};

/// With z = sum of partial scores + intercept, for a batch of b rows with weights c (1 without
/// class weights), sums over outputs where there are several:
///
///   linear                r = (z - y) / b                 loss = sum 1/2 (z - y)^2 / b
///   logistic, multilabel  r = c (sigmoid(z) - y) / b      loss = sum c (softplus(z) - y z) / b
///   softmax               r = c (softmax(z) - onehot) / b loss = sum c (logsumexp(z) - z_y) / b
///   poisson, gamma, tweedie   half the deviance (deviance.hpp); r = gradient of it / s
///
/// so r is exactly the gradient of the loss by z, and a party's gradient is X' r. With a log link
/// it is divided by s, the mean label to the power 2 - p, so that the length of a step does not
/// depend on the label's unit. The loss of the penalty (weight_decay) is not in it. "balanced"
/// weights are n / (K * count), counted on the training rows, as in scikit-learn (multilabel: each
/// label by itself, K = 2).
///
/// The intercept starts where the training labels alone put it, which saves many steps and is
/// deterministic: linear the mean; logistic and multilabel the log-odds; softmax the logs of the
/// shares, less their mean (a class without training rows counts as half a record); with a log
/// link the log of the mean. Counts are taken with the class weights. It then follows its own
/// optimizer (gradient: column sums of r), without weight decay.
class Head {
  public:
    /// `train_rows`: the rows that training may see (empty: all). Refuses, with bad_data, a label
    /// that has one class only among them, and with bad_config class weights that do not fit.
    static Result<Head> create(Labels labels, const HeadConfig& config,
                               std::span<const RowIndex> train_rows = {});

    // -- training ---------------------------------------------------------------
    /// z: b x k, sum of partial scores WITHOUT intercept, of the rows `rows`. Computes residual and
    /// loss, then steps the intercept. Errc::diverged when the loss is not finite.
    Result<HeadStep> forward_backward(ConstMatrixView z, std::span<const RowIndex> rows);
    /// The same into a HeadStep that is used again.
    Result<> forward_backward(ConstMatrixView z, std::span<const RowIndex> rows, HeadStep& out);

    /// Residual and loss alone; nothing is stepped. Errors as there.
    Result<> residuals(ConstMatrixView z, std::span<const RowIndex> rows, HeadStep& out) const;
    /// Steps the intercept alone, with a gradient that was reached otherwise (one number for each
    /// output; ignored without an intercept). Errors: diverged.
    Result<> step_intercept(std::span<const double> gradient);

    /// Loss alone, nothing is stepped (not finite when z is not).
    double loss(ConstMatrixView z, std::span<const RowIndex> rows) const;

    // -- prediction ---------------------------------------------------------------
    /// z: n x k WITHOUT intercept -> n x k values (linear) or probabilities.
    Matrix predict(ConstMatrixView z) const;

    // -- properties -------------------------------------------------------------
    Task task() const noexcept { return labels_.task; }
    std::size_t outputs() const noexcept { return labels_.outputs(); }
    const Labels& labels() const noexcept { return labels_; }
    std::span<const double> intercept() const noexcept { return intercept_; }  ///< k, or empty
    /// Whether rows count differently, by a weight of their own or of their class.
    bool weighs_rows() const noexcept { return !weights_.empty() || !row_weights_.empty(); }
    /// c of `row` for `output`; 1 without weights.
    double weight(RowIndex row, std::size_t output) const noexcept;
    std::uint64_t steps() const noexcept { return optimizer_.state().steps; }

    // -- commits ----------------------------------------------------------------
    HeadState state() const;
    Result<> set_state(HeadState state);
    /// Replaces the intercept (sequential mode, model files). k values, or none without intercept.
    Result<> set_intercept(std::span<const double> intercept);

  private:
    Head(Labels labels, const HeadConfig& config);
    double forward(ConstMatrixView z, std::span<const RowIndex> rows, Matrix* residual) const;
    Result<> start_intercept(std::span<const RowIndex> train_rows);
    Result<> start_log_link(std::span<const RowIndex> train_rows);
    void log_link_loss(std::span<const double> score, std::span<const RowIndex> rows,
                       std::span<double> row_loss, Matrix* residual) const;
    void take_row_weights(std::span<const RowIndex> train_rows);
    /// values[i] *= the weight of rows[i], where rows have weights.
    void weigh(std::span<const RowIndex> rows, std::span<double> values) const;

    Labels labels_;
    HeadConfig config_;
    std::vector<double>
        weights_;  ///< class weights: softmax [class], otherwise [2 * output + y]; or empty
    /// Of mean 1 over the training rows, times what an exposure weighs; or empty.
    std::vector<double> row_weights_;
    double label_scale_ = 1;  ///< s of a log link
    std::vector<double> intercept_;
    Optimizer optimizer_;
};

/// The same without labels: z (n x k, without intercept) -> values or probabilities. `intercept`
/// has k values or none. What `vflbus predict` needs.
Matrix predict(Task task, ConstMatrixView z, std::span<const double> intercept);

/// The rows `rows` of `labels`, in that order (metrics on a part of the records).
Labels select(const Labels& labels, std::span<const RowIndex> rows);

}  // namespace vflbus::models
