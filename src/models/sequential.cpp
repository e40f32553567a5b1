#include "models/sequential.hpp"

#include <cassert>
#include <cmath>
#include <string>
#include <utility>

#include "models/kernels.hpp"

namespace vflbus::models {

namespace {

/// Inner product in the gradient kernel's order.
double dot(std::span<const double> a, std::span<const double> b) {
    double out = 0;
    gradient({a.data(), a.size(), 1}, {b.data(), b.size(), 1}, {&out, 1, 1});
    return out;
}

/// Householder's A = Q R for m x n with m >= n. Column j of `vectors` below row j, and `tau`, hold
/// the reflections H_j = I - tau_j v v', Q = H_0 H_1 ... (Golub and Van Loan, algorithm 5.2.1).
struct Qr {
    Matrix vectors;
    std::vector<double> tau;
    std::vector<double> diagonal;  // of R; the rest of R lies above the diagonal of `vectors`

    explicit Qr(Matrix a) : vectors(std::move(a)) {
        const std::size_t m = vectors.rows();
        const std::size_t n = vectors.cols();
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
        assert(m >= n);
        static_cast<void>(m);
    }

    void reflect(std::size_t j, std::span<double> x) const {
        if (tau[j] == 0) return;
        const auto v = vectors.col(j).subspan(j);
        const auto part = x.subspan(j);
        const double by = tau[j] * dot(v, part);
        for (std::size_t i = 0; i < v.size(); ++i) part[i] -= by * v[i];
    }
    void apply_transposed(std::span<double> x) const {  // x <- Q' x
        for (std::size_t j = 0; j < tau.size(); ++j) reflect(j, x);
    }
    void apply(std::span<double> x) const {  // x <- Q x
        for (std::size_t j = tau.size(); j-- > 0;) reflect(j, x);
    }
};

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

// The tall one of X and X' is Q R. With L = R' and L V = U diag(s):
//   X = Q R:   X = Q V diag(s) U'   so  w = (L V) diag(1 / (s^2 + lambda)) V' Q' t
//   X' = Q R:  X = U diag(s) V' Q'  so  w = Q V diag(1 / (s^2 + lambda)) (L V)' t
Result<Matrix> ridge_solve(ConstMatrixView X, ConstMatrixView target, double reg_lambda) {
    assert(X.rows == target.rows);
    if (!(reg_lambda >= 0 && std::isfinite(reg_lambda)))
        return fail(Errc::bad_config, "model.reg_lambda = " + std::to_string(reg_lambda) +
                                          " must be 0 or more and finite.");
    if (!all_finite(X.span()) || !all_finite(target.span()))
        return fail(Errc::diverged,
                    "the batch of a least squares step holds numbers that are not finite; raise "
                    "model.reg_lambda (now " +
                        std::to_string(reg_lambda) + ") or standardize the columns.");
    const std::size_t d = X.cols;
    const std::size_t k = target.cols;
    Matrix w(d, k);
    if (X.size() == 0) return w;

    const bool tall = X.rows >= d;
    const Qr qr(tall ? Matrix(X) : transpose(X));
    const std::size_t n = qr.tau.size();
    Matrix lv(n, n);  // L = R'
    for (std::size_t i = 0; i < n; ++i) {
        lv(i, i) = qr.diagonal[i];
        for (std::size_t j = i + 1; j < n; ++j) lv(j, i) = qr.vectors(i, j);
    }
    const Matrix v = orthogonalize(lv);

    std::vector<double> square(n);
    double most = 0;
    for (std::size_t j = 0; j < n; ++j) {
        square[j] = dot(lv.col(j), lv.col(j));
        most = most < square[j] ? square[j] : most;
    }
    const double negligible = static_cast<double>(X.rows > d ? X.rows : d) * 0x1p-52;
    Matrix factor(n, k);  // diag(1 / (s^2 + lambda)) times what is right of it
    if (tall) {
        Matrix turned(target);
        for (std::size_t c = 0; c < k; ++c) qr.apply_transposed(turned.col(c));
        for (std::size_t c = 0; c < k; ++c)
            for (std::size_t j = 0; j < n; ++j)
                factor(j, c) = dot(v.col(j), turned.col(c).subspan(0, n));
    } else {
        for (std::size_t c = 0; c < k; ++c)
            for (std::size_t j = 0; j < n; ++j) factor(j, c) = dot(lv.col(j), target.col(c));
    }
    for (std::size_t j = 0; j < n; ++j) {
        const bool zero = reg_lambda == 0 && square[j] <= most * (negligible * negligible);
        for (std::size_t c = 0; c < k; ++c)
            factor(j, c) = zero || square[j] == 0 ? 0 : factor(j, c) / (square[j] + reg_lambda);
    }
    if (tall) {
        partial_scores(lv, factor, w.view());
    } else {
        Matrix product(n, k);
        partial_scores(v, factor, product.view());
        for (std::size_t c = 0; c < k; ++c) {
            const auto to = w.col(c);
            for (std::size_t j = 0; j < n; ++j) to[j] = product(j, c);
            qr.apply(to);
        }
    }
    return w;
}

// -- the master's side ----------------------------------------------------------------

SequentialMaster::SequentialMaster(Head& head, std::size_t parties)
    : head_(&head), scores_(parties) {
    assert(head.task() == Task::linear);
}

Result<> SequentialMaster::begin(std::span<const Matrix> scores, std::span<const RowIndex> rows) {
    assert(scores.size() == scores_.size() && !rows.empty());
    rows_.assign(rows.begin(), rows.end());
    gather_rows(head_->labels().values, rows, y_);
    Matrix left = y_;
    for (std::size_t p = 0; p < scores.size(); ++p) {
        assert(scores[p].rows() == rows.size() && scores[p].cols() == y_.cols());
        scores_[p] = scores[p];
        for (std::size_t i = 0; i < left.size(); ++i) left.data()[i] -= scores[p].data()[i];
    }
    if (head_->intercept().empty()) return {};
    std::vector<double> mean(y_.cols());
    column_sums(left, mean);
    for (double& value : mean) value /= static_cast<double>(rows.size());
    if (!all_finite(mean))
        return fail(Errc::diverged,
                    "the scores of the sequential mode are no longer finite; raise "
                    "model.reg_lambda or standardize the columns.");
    return head_->set_intercept(mean);
}

Result<Matrix> SequentialMaster::target(std::size_t party) const {
    assert(party < scores_.size());
    Matrix out = y_;
    for (std::size_t c = 0; c < head_->intercept().size(); ++c)
        for (double& value : out.col(c)) value -= head_->intercept()[c];
    for (std::size_t p = 0; p < scores_.size(); ++p) {
        if (p == party) continue;
        for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] -= scores_[p].data()[i];
    }
    if (!all_finite(out.span()))
        return fail(Errc::diverged,
                    "what is left of the labels is no longer finite; raise model.reg_lambda or "
                    "standardize the columns.");
    return out;
}

Result<> SequentialMaster::accept(std::size_t party, ConstMatrixView scores) {
    assert(party < scores_.size());
    if (scores.rows != y_.rows() || scores.cols != y_.cols())
        return fail(Errc::malformed_message,
                    "the scores of a least squares step are " + std::to_string(scores.rows) +
                        " x " + std::to_string(scores.cols) + " where the batch is " +
                        std::to_string(y_.rows()) + " x " + std::to_string(y_.cols()) + ".");
    scores_[party] = Matrix(scores);
    return {};
}

Result<double> SequentialMaster::finish() {
    Matrix z(y_.rows(), y_.cols());
    for (const Matrix& scores : scores_) add(z.view(), scores);
    const double loss = head_->loss(z, rows_);
    if (!std::isfinite(loss))
        return fail(Errc::diverged,
                    "the loss of the sequential mode is no longer finite; raise model.reg_lambda "
                    "or standardize the columns.");
    return loss;
}

}  // namespace vflbus::models
