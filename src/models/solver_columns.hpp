#pragma once
// One party's columns as a full-batch solver sees them.
//
// A gradient method is slow where columns have different scales or means far from zero: a rare
// category, an amount in cents, a year. Each party therefore solves for weights v of its centred
// and scaled columns, and nobody else has to know:
//
//   X~ = (X - 1 mean') D        D_j = 1 / sqrt(curvature * mean square of column j + penalty)
//   X w + b = X~ v + b~         w = D v,  b = b~ - mean' w
//
// D makes the diagonal of the Hessian about 1. Without an intercept nothing is centred, since the
// master could not make up for the shift.
//
// A column whose spread is below 2^-40 of its largest number counts as constant: its D is 0, and
// its weight stays 0. Numbers of any size are safe: sums are taken in units of the column's
// exponent.

#include <cstddef>
#include <span>
#include <vector>

#include "models/matrix.hpp"
#include "models/panels.hpp"

namespace vflbus::models {

struct ColumnOptions {
    bool center = true;    ///< the model has an intercept
    double curvature = 1;  ///< of the loss by a score, see curvature_bound
    double penalty = 0;    ///< lambda of 1/2 lambda |w|^2, for the mean loss
};

class SolverColumns {
  public:
    SolverColumns() = default;

    /// From a row-major table that stays as it is.
    static SolverColumns copy_of(DesignView design, const ColumnOptions& options);
    /// Converts the table's own memory, which must outlive this: row_major has rows * cols numbers,
    /// and holds the panels of X~ afterwards.
    static SolverColumns in_place(std::span<double> row_major, std::size_t rows, std::size_t cols,
                                  const ColumnOptions& options);

    // -- properties -------------------------------------------------------------
    std::size_t rows() const noexcept { return panels_.rows(); }
    std::size_t cols() const noexcept { return panels_.cols(); }
    /// X~: rows x cols.
    const PanelMatrix& panels() const noexcept { return panels_; }
    std::span<const double> scale() const noexcept { return scale_; }    ///< D
    std::span<const double> center() const noexcept { return center_; }  ///< mean
    double penalty() const noexcept { return options_.penalty; }

    /// The largest number of each column of X~.
    std::vector<double> largest() const;
    /// Rounds column j of X~ to multiples of 2^-exponents[j], none larger than `most` of them.
    void round_columns(std::span<const int> exponents, double most);

    // -- back to the table's columns ----------------------------------------------
    /// w = D v: d x k.
    Matrix weights(ConstMatrixView v) const;
    /// mean' w of each output: what the master subtracts from its intercept. v: d x k; out: k.
    void offsets(ConstMatrixView v, std::span<double> out) const;

  private:
    SolverColumns(PanelMatrix panels, const ColumnOptions& options);
    void scale_column(std::size_t j, std::span<double> scratch);

    PanelMatrix panels_;
    ColumnOptions options_;
    std::vector<double> scale_;
    std::vector<double> center_;
};

}  // namespace vflbus::models
