#include "models/ridge.hpp"

#include <cmath>
#include <string>
#include <utility>

#include "base/assert.hpp"
#include "models/kernels.hpp"

namespace vflbus::models {

namespace {

/// Inner product in the gradient kernel's order.
double dot(std::span<const double> a, std::span<const double> b) {
    double out = 0;
    gradient({a.data(), a.size(), 1}, {b.data(), b.size(), 1}, {&out, 1, 1});
    return out;
}

/// One-sided Jacobi: rotates the columns of `l` (n x n) until they are orthogonal, so that
/// L V = U diag(s) with s the lengths of the columns. V is returned.
Matrix orthogonalize(Matrix& l) {
    constexpr int sweeps_max = 60;  // 6 to 10 in practice
    constexpr double tolerance = 0x1p-51;
    const std::size_t n = l.cols();
    Matrix v(n, n);
    for (std::size_t j = 0; j < n; ++j) v(j, j) = 1;
    const auto rotate = [](std::span<double> p, std::span<double> q, double c, double s) {
        for (std::size_t i = 0; i < p.size(); ++i) {
            const double left = p[i];
            p[i] = c * left - s * q[i];
            q[i] = s * left + c * q[i];
        }
    };
    for (int sweep = 0; sweep < sweeps_max; ++sweep) {
        bool rotated = false;
        for (std::size_t p = 0; p + 1 < n; ++p) {
            for (std::size_t q = p + 1; q < n; ++q) {
                const double alpha = dot(l.col(p), l.col(p));
                const double beta = dot(l.col(q), l.col(q));
                const double gamma = dot(l.col(p), l.col(q));
                if (std::abs(gamma) <= tolerance * (std::sqrt(alpha) * std::sqrt(beta))) continue;
                rotated = true;
                const double zeta = (beta - alpha) / (2 * gamma);
                const double root = std::abs(zeta) + std::sqrt(1 + zeta * zeta);
                const double t = zeta < 0 ? -1 / root : 1 / root;
                const double c = 1 / std::sqrt(1 + t * t);
                rotate(l.col(p), l.col(q), c, c * t);
                rotate(v.col(p), v.col(q), c, c * t);
            }
        }
        if (!rotated) break;
    }
    return v;
}

Matrix transpose(ConstMatrixView a) {
    Matrix out;
    out.resize_uninitialized(a.cols, a.rows);
    for (std::size_t j = 0; j < a.cols; ++j)
        for (std::size_t i = 0; i < a.rows; ++i) out(j, i) = a(i, j);
    return out;
}

}  // namespace

// -- Householder's QR -------------------------------------------------------------------

RidgeFactors::Qr::Qr(Matrix a) : vectors(std::move(a)) {
    const std::size_t m = vectors.rows();
    const std::size_t n = vectors.cols();
    VFLBUS_ASSERT(m >= n, "only tall matrices are factored");
    tau.assign(n, 0);
    diagonal.assign(n, 0);
    for (std::size_t j = 0; j < n; ++j) {
        const auto v = vectors.col(j).subspan(j);
        double scale = 0;
        for (const double x : v) scale = scale < std::abs(x) ? std::abs(x) : scale;
        if (scale == 0) continue;
        for (double& x : v) x /= scale;
        const double norm = std::sqrt(dot(v, v));
        const double alpha = v[0] > 0 ? -norm : norm;
        diagonal[j] = alpha * scale;
        v[0] -= alpha;
        tau[j] = 2 / dot(v, v);
        for (std::size_t c = j + 1; c < n; ++c) reflect(j, vectors.col(c));
    }
}

void RidgeFactors::Qr::reflect(std::size_t j, std::span<double> x) const {
    if (tau[j] == 0) return;
    const auto v = vectors.col(j).subspan(j);
    const auto part = x.subspan(j);
    const double by = tau[j] * dot(v, part);
    for (std::size_t i = 0; i < v.size(); ++i) part[i] -= by * v[i];
}

void RidgeFactors::Qr::apply_transposed(std::span<double> x) const {
    for (std::size_t j = 0; j < tau.size(); ++j) reflect(j, x);
}

void RidgeFactors::Qr::apply(std::span<double> x) const {
    for (std::size_t j = tau.size(); j-- > 0;) reflect(j, x);
}

// -- ridge ------------------------------------------------------------------------------

// The tall one of X and X' is Q R. With L = R' and L V = U diag(s):
//   X = Q R:   X = Q V diag(s) U'   so  w = (L V) diag(1 / (s^2 + lambda)) V' Q' t
//   X' = Q R:  X = U diag(s) V' Q'  so  w = Q V diag(1 / (s^2 + lambda)) (L V)' t
RidgeFactors::RidgeFactors(ConstMatrixView X)
    : rows_(X.rows), cols_(X.cols), qr_(X.rows >= X.cols ? Matrix(X) : transpose(X)) {
    const std::size_t n = qr_.tau.size();
    lv_.resize(n, n);  // L = R'
    for (std::size_t i = 0; i < n; ++i) {
        lv_(i, i) = qr_.diagonal[i];
        for (std::size_t j = i + 1; j < n; ++j) lv_(j, i) = qr_.vectors(i, j);
    }
    v_ = orthogonalize(lv_);
    square_.resize(n);
    for (std::size_t j = 0; j < n; ++j) square_[j] = dot(lv_.col(j), lv_.col(j));
}

Result<RidgeFactors> RidgeFactors::create(ConstMatrixView X) {
    if (!all_finite(X.span()))
        return fail(Errc::diverged,
                    "the columns of a least squares step hold numbers that are not finite; "
                    "standardize them (data.standardize).");
    return RidgeFactors(X);
}

Result<Matrix> RidgeFactors::solve(ConstMatrixView target, double reg_lambda) const {
    VFLBUS_ASSERT(target.rows == rows_, "a target has one row per row of X");
    if (!(reg_lambda >= 0 && std::isfinite(reg_lambda)))
        return fail(Errc::bad_config, "model.reg_lambda = " + std::to_string(reg_lambda) +
                                          " must be 0 or more and finite.");
    if (!all_finite(target.span()))
        return fail(Errc::diverged,
                    "the batch of a least squares step holds numbers that are not finite; raise "
                    "model.reg_lambda (now " +
                        std::to_string(reg_lambda) + ") or standardize the columns.");
    const std::size_t k = target.cols;
    Matrix w(cols_, k);
    if (rows_ == 0 || cols_ == 0) return w;
    const bool tall = rows_ >= cols_;
    const Matrix factor = scaled_target(target, reg_lambda);
    if (tall) {
        partial_scores(lv_, factor, w.view());
        return w;
    }
    const std::size_t n = qr_.tau.size();
    Matrix product(n, k);
    partial_scores(v_, factor, product.view());
    for (std::size_t c = 0; c < k; ++c) {
        const auto to = w.col(c);
        for (std::size_t j = 0; j < n; ++j) to[j] = product(j, c);
        qr_.apply(to);
    }
    return w;
}

/// diag(1 / (s^2 + lambda)) times what is right of it.
Matrix RidgeFactors::scaled_target(ConstMatrixView target, double reg_lambda) const {
    const std::size_t n = qr_.tau.size();
    const std::size_t k = target.cols;
    Matrix factor(n, k);
    if (rows_ >= cols_) {
        Matrix turned(target);
        for (std::size_t c = 0; c < k; ++c) qr_.apply_transposed(turned.col(c));
        for (std::size_t c = 0; c < k; ++c)
            for (std::size_t j = 0; j < n; ++j)
                factor(j, c) = dot(v_.col(j), turned.col(c).subspan(0, n));
    } else {
        for (std::size_t c = 0; c < k; ++c)
            for (std::size_t j = 0; j < n; ++j) factor(j, c) = dot(lv_.col(j), target.col(c));
    }
    double most = 0;
    for (const double square : square_) most = most < square ? square : most;
    const double negligible = static_cast<double>(rows_ > cols_ ? rows_ : cols_) * 0x1p-52;
    for (std::size_t j = 0; j < n; ++j) {
        const bool zero = reg_lambda == 0 && square_[j] <= most * (negligible * negligible);
        for (std::size_t c = 0; c < k; ++c)
            factor(j, c) = zero || square_[j] == 0 ? 0 : factor(j, c) / (square_[j] + reg_lambda);
    }
    return factor;
}

Result<Matrix> ridge_solve(ConstMatrixView X, ConstMatrixView target, double reg_lambda) {
    const Result<RidgeFactors> factors = RidgeFactors::create(X);
    if (!factors) return tl::unexpected<Failure>(factors.error());
    return factors->solve(target, reg_lambda);
}

}  // namespace vflbus::models
