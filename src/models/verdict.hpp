#pragma once
// Whether a trained model is worth anything: against the best constant, and against another model
// of the same rows. What a run says at its end, whatever trained it.
//
// The problem: a training can end in good order with a model that is worse than none, because its
// steps were too long, or because columns of other parties only added noise. A user who sees
// "completed" and a number may not notice.

#include <cstddef>
#include <span>
#include <vector>

#include "models/head.hpp"
#include "models/matrix.hpp"

namespace vflbus::models {

/// The loss of each row, whose mean is `loss` of metrics_for. predictions: as metrics_for takes
/// them. class_weights (weights_of_classes): none, or what each class's losses are multiplied by.
std::vector<double> row_losses(const Labels& labels, ConstMatrixView predictions,
                               std::span<const double> class_weights = {});

/// The best prediction that is the same for every row, of `train`: means, or (weighted) shares of
/// the classes. rows x outputs.
Matrix constant_prediction(const Labels& train, std::size_t rows,
                           std::span<const double> class_weights = {});

/// Whether the mean of `a` is larger than that of `b` by more than noise: by more than three
/// standard errors of the rows' differences, and by more than rounding. One value per row each.
bool clearly_larger(std::span<const double> a, std::span<const double> b);

/// Whether a model with this mean loss on its own training rows has diverged: it is not finite, or
/// a hundred times that of the best constant. A descent that works never gets there.
bool has_diverged(const Labels& train, double loss);

}  // namespace vflbus::models
