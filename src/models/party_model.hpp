#pragma once
// One party's part of a linear model: its own weight block and the optimizer that steps it. It
// sees its own columns and the residual, never labels or another party's numbers.

#include <span>
#include <vector>

#include "base/errc.hpp"
#include "models/kernels.hpp"
#include "models/matrix.hpp"
#include "models/optimizer.hpp"
#include "models/ridge.hpp"

namespace vflbus::models {

/// Everything of a PartyModel that a commit stores.
struct PartyState {
    std::vector<double> weights;  ///< d x k, column-major
    OptimizerState optimizer;

    bool operator==(const PartyState&) const = default;
};

class PartyModel {
  public:
    /// d features, k outputs; all weights zero. `config` must be valid. d may be 0.
    PartyModel(std::size_t d, std::size_t k, const OptimizerConfig& config);

    // -- training ---------------------------------------------------------------
    /// Partial scores of a batch: z (b x k) = X W. Resizes `z`. X: b x d.
    void scores(ConstMatrixView X, Matrix& z) const;
    Matrix scores(ConstMatrixView X) const;

    /// One step: G = X' r (+ weight_decay * W), then the optimizer. X: b x d, r: b x k, where r
    /// already holds the 1 / b (see Head). Errc::diverged when a weight is no longer finite.
    Result<> update(ConstMatrixView X, ConstMatrixView residual);

    /// Steps with a gradient (d x k) that was reached otherwise (encrypted protocols).
    Result<> apply_gradient(ConstMatrixView G);

    /// The sequential mode: replaces W by the ridge solution for `target` (b x k), what the other
    /// parties leave of y, and writes the new scores X W to `z`. See sequential.hpp.
    Result<> fit_ridge(ConstMatrixView X, ConstMatrixView target, double reg_lambda, Matrix& z);
    /// The same, bit for bit, with the factors of X that were computed before.
    Result<> fit_ridge(const RidgeFactors& factors, ConstMatrixView X, ConstMatrixView target,
                       double reg_lambda, Matrix& z);

    // -- whole designs ------------------------------------------------------------
    /// n x k scores of every row; bit for bit the batch scores of those rows.
    Matrix design_scores(DesignView design) const;
    Matrix design_scores(DesignView design, std::span<const RowIndex> rows) const;

    // -- properties -------------------------------------------------------------
    std::size_t features() const noexcept { return weights_.rows(); }
    std::size_t outputs() const noexcept { return weights_.cols(); }
    ConstMatrixView weights() const noexcept { return weights_; }  ///< d x k
    std::uint64_t steps() const noexcept { return steps_.state().steps; }

    // -- commits ----------------------------------------------------------------
    PartyState state() const;
    /// Refuses other sizes and numbers that are not finite (bad_data).
    Result<> set_state(PartyState state);
    /// Weights alone, d x k column-major (prediction from a model file).
    Result<> set_weights(std::span<const double> weights);

  private:
    Result<> check_finite() const;

    Matrix weights_;
    Matrix gradient_;
    Optimizer steps_;
};

}  // namespace vflbus::models
