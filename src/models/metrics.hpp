#pragma once
// How good predictions are, each figure as scikit-learn computes it (to 1e-9 on the stored cases in
// tests/unit/models). What is undefined is NaN and never a made-up number: an AUC or KS of labels
// with one class, an R2 of fewer than two rows, anything of predictions that are not finite or of
// no rows.

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/head.hpp"
#include "models/matrix.hpp"

namespace vflbus::models {

/// Values by name in the order in which a report prints them.
class Metrics {
  public:
    void set(std::string name, double value);
    /// NaN when there is no such metric.
    double get(std::string_view name) const noexcept;
    bool contains(std::string_view name) const noexcept;
    const std::vector<std::pair<std::string, double>>& entries() const& noexcept {
        return entries_;
    }
    void entries() const&& = delete;  // would dangle: keep the Metrics
    /// The one figure that names the model's quality: linear r2, logistic auc, multilabel
    /// auc_macro, softmax accuracy, with a log link d2.
    const std::string& headline() const noexcept { return headline_; }
    double headline_value() const noexcept { return get(headline_); }

  private:
    friend Metrics metrics_for(const Labels&, ConstMatrixView);
    std::vector<std::pair<std::string, double>> entries_;
    std::string headline_;
};

/// The name of a task's headline metric.
std::string_view headline_metric(Task task) noexcept;

/// All metrics of a task. predictions: n x k as Head::predict gives them, of the n rows of `labels`
/// in the same order (see select() for a part of the rows).
///
///   linear      loss r2 rmse mae                                  (several outputs: their mean)
///   logistic    loss auc ks accuracy f1
///   multilabel  loss auc_macro auc_micro ks accuracy label_accuracy f1_macro f1_micro,
///               then auc[<name>] for each label that has a name
///   softmax     loss accuracy auc_macro auc_micro ks f1_macro f1_micro
///   poisson, gamma, tweedie   loss deviance d2 rmse mae
///
/// deviance is that of the labels as they stand (scikit-learn's mean_tweedie_deviance), where there
/// is an exposure that of the counts and not of the rates; d2 its share that the model explains of
/// what the best rate for all rows leaves. rmse and mae are of the labels as they stand.
///
/// loss: with a log link half the deviance; linear 1/2 mean square; logistic log loss; multilabel
/// the labels' mean log loss; softmax log loss. Class weights play no part. Classes are called by p
/// > 0.5 (softmax: the first largest). accuracy of multilabel counts rows with every label right,
/// label_accuracy single labels. ks of several labels or classes is the mean over one-versus-rest.
Metrics metrics_for(const Labels& labels, ConstMatrixView predictions);

/// A probability as log losses take it, within [2^-52, 1 - 2^-52]: scikit-learn's rule.
double clipped_probability(double p) noexcept;

// -- single figures; y holds 0 and 1, both spans have n elements ----------------
double auc(std::span<const double> y, std::span<const double> score);
/// max |true positive rate - false positive rate| over all thresholds.
double ks(std::span<const double> y, std::span<const double> score);
double log_loss(std::span<const double> y, std::span<const double> probability);
double accuracy(std::span<const double> y, std::span<const double> probability);
/// 0 when there is neither a positive nor a predicted positive, as scikit-learn's default.
double f1(std::span<const double> y, std::span<const double> probability);

// -- regression ---------------------------------------------------------------
double rmse(std::span<const double> y, std::span<const double> prediction);
double mae(std::span<const double> y, std::span<const double> prediction);
/// Of a constant y: 1 when met exactly, otherwise 0, as scikit-learn.
double r2(std::span<const double> y, std::span<const double> prediction);

}  // namespace vflbus::models
