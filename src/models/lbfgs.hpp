#pragma once
// The limited-memory solver over columns that several parties hold, in one round trip per
// iteration.
//
// The problem: a step of an ordinary solver needs products of whole weight vectors, which no party
// has. Chen, Wang and Zhou (2014, "Large-scale L-BFGS using MapReduce") do all of L-BFGS with the
// products of a few remembered vectors, which are sums over the parties. In a vertical split one
// thing more is cheap: the master can add up X times each remembered vector, n numbers per output.
// It then knows the loss anywhere in their span, and nobody need be asked to search there.
//
// Remembered are the last m gradients g and the last step s: a span of m + 1 vectors. An iteration:
//
//   master  -> coefficients of the next step in the span, residual r at its end
//   party k    s_k = sum of coefficient x vector;  v_k += s_k;  g_k = X~_k' r + lambda D^2 v_k
//              (weights v, columns X~ and scale D: solver_columns.hpp)
//   party k -> X~_k g_k (n x outputs); products of g_k, s_k and v_k with all its vectors
//   master     adds both over the parties, itself first and then by rank; X s is the combination
//              that it chose itself
//
// The step: L-BFGS's two-loop recursion picks one direction out of such a span. The master, who can
// compute the exact Hessian in the span, takes Newton's step there instead (span_newton.hpp; after
// Narkiss and Zibulevsky 2005, "Sequential subspace optimization"), which costs no communication
// and halves the round trips: 24 instead of 75 on default_credit, 49 instead of 103 on handwritten
// digits. Along the step it looks for the strong Wolfe conditions (line_search.hpp), also without
// communication; for squared errors the length is exact.
//
// Why gradients, and not L-BFGS's pairs (s, y): all X g come fresh from the parties, while X s is
// made of other X s. With ten steps in the memory the rounding errors of X s grew two hundredfold
// per iteration, until the master minimised another loss than that of the parties' weights.
//
// The intercept is the master's and is not penalised. Its directions belong to every span.
//
// Outputs that share no weight (objective.hpp: groups) are solved side by side, each with its own
// coefficients; a group that has converged gets the coefficients 0 and stands still.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/errc.hpp"
#include "models/matrix.hpp"

namespace vflbus::models {

struct LbfgsConfig {
    /// scikit-learn's 1 / C of LogisticRegression and alpha of Ridge: the penalty is
    /// 1/2 l2 |w|^2 beside the sum of the rows' losses.
    double l2 = 1;
    /// A group has converged when the norm of its gradient, by columns of unit mean square, is at
    /// most `tolerance` times what it was at the start, and at most tolerance / 100 (or 2^-44,
    /// where it is rounding alone). The norm is that of all parties and the intercept together, so
    /// no single entry is larger.
    double tolerance = 1e-4;
    std::uint64_t max_iterations = 200;
};

/// Refuses what makes no sense (bad_config, naming model.l2, model.tolerance, ...).
Result<> validate(const LbfgsConfig& config);

/// How many gradients are remembered: 30, or fewer where the master's n x outputs numbers of
/// m + 1 vectors would pass 128 MiB, but at least 6. A function of the shape alone, the same
/// everywhere.
std::size_t lbfgs_memory(std::size_t rows, std::size_t outputs) noexcept;

/// Positions of vectors in coefficients, products and memories.
struct LbfgsSlots {
    std::size_t memory = 30;  ///< m

    /// Of the gradient of round i, which takes the place of that of round i - m.
    std::size_t gradient(std::uint64_t round) const noexcept { return round % memory; }
    std::size_t step() const noexcept { return memory; }
    std::size_t vectors() const noexcept { return memory + 1; }  ///< of the span
    std::size_t weights() const noexcept { return memory + 1; }  ///< v, in products only
    std::size_t products() const noexcept { return memory + 2; }

    /// Numbers of one answer beside the scores: for each group the rows of g, s and v in the matrix
    /// of products weighted by lambda D^2, and g . g; then one offset per output.
    std::size_t scalars(std::size_t groups, std::size_t outputs) const noexcept {
        return groups * (3 * products() + 1) + outputs;
    }
};

/// What the master asks of all parties in one round.
struct LbfgsRequest {
    Matrix coefficients;  ///< (m + 1) x groups; all 0 in round 0
    Matrix residual;      ///< n x outputs
};

/// What a party answers.
struct LbfgsAnswer {
    Matrix scores;                ///< X~ g: n x outputs
    std::vector<double> scalars;  ///< see LbfgsSlots::scalars
};

}  // namespace vflbus::models
