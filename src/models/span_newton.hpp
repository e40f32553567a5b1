#pragma once
// Newton's step within a small span of remembered vectors.
//
// The vectors of L-BFGS become nearly dependent on each other as it converges, and are many orders
// of magnitude apart in size. Solving for coefficients must neither divide by a difference that is
// all rounding, nor drop the vectors that matter. So vectors are scaled to unit curvature and taken
// one after another, the most important first; one that adds less than `tolerance` of its own
// curvature to those taken before is left out, with coefficient 0.

#include <cstddef>
#include <span>
#include <vector>

#include "models/matrix.hpp"

namespace vflbus::models {

/// Minimises g' c + 1/2 c' H c over the vectors in `order`, as far as they are independent.
/// H: r x r, symmetric and positive semidefinite; g: r; order: positions below r, each at most
/// once. Returns c: r, 0 for vectors that are left out. A vector without curvature is left out.
std::vector<double> span_newton(ConstMatrixView H, std::span<const double> g,
                                std::span<const std::size_t> order, double tolerance);

}  // namespace vflbus::models
