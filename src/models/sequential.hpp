#pragma once
// The seed's sequential ("consequently") linear regression: in each batch one party after another
// solves its own regularised least squares for what the others leave of y.
//
//   t_p = y - intercept - sum of the other parties' scores          (master, b x k)
//   w_p = argmin |X_p w - t_p|^2 + reg_lambda |w|^2                 (party p)
//       = V diag(s / (s^2 + reg_lambda)) U' t_p   with X_p = U diag(s) V' (ridge.hpp)

#include <span>
#include <vector>

#include "base/errc.hpp"
#include "models/head.hpp"
#include "models/matrix.hpp"

namespace vflbus::models {

/// The master's side, for linear tasks. Per batch: `begin`, then for each party p in rank order
/// `target(p)` -> the party's fit_ridge -> `accept(p, z_p)`, then `finish`.
///
/// The intercept is the master's: at `begin` it becomes the mean of y - sum of all scores over the
/// batch (per output), if the head has one.
class SequentialMaster {
  public:
    /// `parties`: how many hold features, the master's own (if any) first, then by rank. The head
    /// must be of a linear task and outlive this.
    SequentialMaster(Head& head, std::size_t parties);

    /// scores[p]: b x k of party p with its present weights on the rows `rows`.
    Result<> begin(std::span<const Matrix> scores, std::span<const RowIndex> rows);
    /// What the others leave of y for party p: b x k.
    Result<Matrix> target(std::size_t party) const;
    /// Party p's new scores of this batch.
    Result<> accept(std::size_t party, ConstMatrixView scores);
    /// Loss of the batch after all have taken their turn: sum 1/2 (z - y)^2 / b.
    /// Errc::diverged when it is not finite.
    Result<double> finish();

  private:
    Head* head_;
    std::vector<Matrix> scores_;
    std::vector<RowIndex> rows_;
    Matrix y_;
};

}  // namespace vflbus::models
