#pragma once
// Regularised least squares by singular values of our own: Householder QR and one-sided Jacobi
// rotations, because a library's would differ between builds.
//
//   w = argmin |X w - t|^2 + reg_lambda |w|^2 = V diag(s / (s^2 + reg_lambda)) U' t,  X = U diag(s)
//   V'
//
// so w solves (X' X + reg_lambda I) w = X' t. The sum of squares is not divided by the rows. With
// reg_lambda = 0, singular values up to max(b, d) * 2^-52 * s_max count as zero and the shortest
// solution is taken.

#include <span>
#include <vector>

#include "base/errc.hpp"
#include "models/matrix.hpp"

namespace vflbus::models {

/// What of a least squares step depends on X alone: its QR and singular values. They cost some
/// b d^2 + 20 d^3 operations where a solution costs 4 b d, so a party that meets the same rows in
/// every step computes them once.
class RidgeFactors {
  public:
    /// X: b x d. Errc::diverged when X holds numbers that are not finite.
    static Result<RidgeFactors> create(ConstMatrixView X);

    /// target: b x k, reg_lambda >= 0 -> W: d x k. Errc::diverged when the target holds numbers
    /// that are not finite.
    Result<Matrix> solve(ConstMatrixView target, double reg_lambda) const;

  private:
    /// Householder's A = Q R for m x n with m >= n. Column j of `vectors` below row j, and `tau`,
    /// hold the reflections H_j = I - tau_j v v', Q = H_0 H_1 ... (Golub and Van Loan, algorithm
    /// 5.2.1).
    struct Qr {
        Matrix vectors;
        std::vector<double> tau;
        std::vector<double> diagonal;  ///< of R; the rest of R lies above that of `vectors`

        explicit Qr(Matrix a);
        void reflect(std::size_t j, std::span<double> x) const;
        void apply(std::span<double> x) const;             ///< x <- Q x
        void apply_transposed(std::span<double> x) const;  ///< x <- Q' x
    };

    explicit RidgeFactors(ConstMatrixView X);
    Matrix scaled_target(ConstMatrixView target, double reg_lambda) const;

    std::size_t rows_;
    std::size_t cols_;
    Qr qr_;  ///< of the tall one of X and X'
    Matrix lv_;
    Matrix v_;
    std::vector<double> square_;  ///< singular values, squared
};

/// Factors and solution at once, for an X that is met only once.
Result<Matrix> ridge_solve(ConstMatrixView X, ConstMatrixView target, double reg_lambda);

}  // namespace vflbus::models
