#pragma once
// Probabilities from scores that are no log-odds.

#include <span>
#include <vector>

#include "models/matrix.hpp"

namespace vflbus::models {

/// Of each output: sigmoid(slope z + offset) is the probability of 1; of classes, softmax of these.
struct Recalibration {
    std::vector<double> slope;
    std::vector<double> offset;
};

/// The slopes and offsets with the least log loss over the rows (Platt 1999, without his prior), by
/// Newton's method: scores n x k, labels n x k of 0 and 1, weights of the rows or none. Where there
/// is no such minimum, as with scores that separate the labels, it stops after 50 steps; where
/// scores are all the same, the slope is 1. The same numbers give the same bits.
Recalibration fit_recalibration(ConstMatrixView scores, ConstMatrixView labels,
                                std::span<const double> weights = {});

/// The same for one label of k classes: scores n x k, labels n x 1 of class numbers. One slope
/// serves all classes (a temperature, Guo and others 2017), so that the order of classes that are
/// equally frequent stays the same; each has an offset of its own, whose mean is 0.
Recalibration fit_class_recalibration(ConstMatrixView scores, ConstMatrixView labels,
                                      std::span<const double> weights = {});

/// Columns of `scores` times the slope of each.
Matrix scaled(ConstMatrixView scores, const std::vector<double>& slope);

}  // namespace vflbus::models
