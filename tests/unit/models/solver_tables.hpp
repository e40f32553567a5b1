#pragma once
// Tables that break solvers, made alike here and in make_solver_cases.py. Kinds:
//
//   plain      independent columns
//   chain      each column is .995 of the one before it, and a tenth of something new
//   twice      the second half of the columns is the first half again
//   sum        the last column is the sum of the others
//   constant   two columns have one value only
//   huge       a column of 1e9, one about 1e9, one of 1e120
//   tiny       a column of 1e-9, one within 1e-9 of 1, one of 1e-120
//   rare       three columns, and categories of which the last ones hardly occur
//   powers     x, x^2, ... x^d
//   separable  hardly any noise in the label
//   heavy      fifth powers

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "models/head.hpp"
#include "support.hpp"

namespace support {

using vflbus::models::Labels;
using vflbus::Task;

struct SolverCase {
    const char* name;
    Task task;
    std::size_t rows;
    std::size_t cols;
    std::string kind;
    double scikit_learn;  ///< RMSE, AUC (multilabel: mean) or accuracy
};

struct SolverTable {
    Matrix raw;
    Matrix scaled;  ///< mean 0, variance 1; constant columns are gone
    Labels labels;
};

inline Matrix make_columns(const SolverCase& which, Rng& rng) {
    const std::size_t n = which.rows;
    const std::size_t d = which.cols;
    Matrix x = random_matrix(n, d, rng);
    for (std::size_t i = 0; i < n; ++i) {
        const auto at = [&](std::size_t j) -> double& { return x(i, j); };
        if (which.kind == "chain")
            for (std::size_t j = 1; j < d; ++j) at(j) = 0.995 * at(j - 1) + 0.1 * at(j);
        if (which.kind == "twice")
            for (std::size_t j = 0; j < d / 2; ++j) at(d / 2 + j) = at(j);
        if (which.kind == "sum") {
            at(d - 1) = 0;
            for (std::size_t j = 0; j + 1 < d; ++j) at(d - 1) += at(j);
        }
        if (which.kind == "constant") {
            at(1) = 3.25;
            at(d - 1) = -1e6;
        }
        if (which.kind == "huge") {
            at(0) *= 1e9;
            at(1) += 1e9;
            at(d - 1) *= 1e120;
        }
        if (which.kind == "tiny") {
            at(0) *= 1e-9;
            at(1) = at(1) * 1e-9 + 1;
            at(d - 1) *= 1e-120;
        }
        if (which.kind == "powers")
            for (std::size_t j = 1; j < d; ++j) at(j) = at(j - 1) * at(0);
        if (which.kind == "heavy")
            for (std::size_t j = 0; j < d; ++j) at(j) = at(j) * at(j) * at(j) * at(j) * at(j);
    }
    if (which.kind != "rare") return x;
    for (std::size_t j = 3; j < d; ++j) std::fill(x.col(j).begin(), x.col(j).end(), 0.0);
    for (std::size_t i = 0; i < n; ++i) {
        const double u = rng.uniform();
        const auto category = static_cast<std::size_t>(u * u * u * static_cast<double>(d - 3));
        x(i, 3 + std::min(d - 4, category)) = 1;
    }
    return x;
}

inline Matrix scaled(const Matrix& x) {
    std::vector<double> kept;
    std::size_t cols = 0;
    const double n = static_cast<double>(x.rows());
    for (std::size_t j = 0; j < x.cols(); ++j) {
        std::vector<double> column(x.col(j).begin(), x.col(j).end());
        double most = 0;
        for (const double value : column) most = std::max(most, std::abs(value));
        double mean = 0;
        double square = 0;
        for (double& value : column) mean += (value /= most == 0 ? 1 : most) / n;
        for (double& value : column) {
            value -= mean;
            square += value * value / n;
        }
        if (std::sqrt(square) <= 1e-12) continue;
        for (const double value : column) kept.push_back(value / std::sqrt(square));
        ++cols;
    }
    return Matrix(ConstMatrixView{kept.data(), x.rows(), cols});
}

inline Labels make_labels(const SolverCase& which, const Matrix& x, Rng& rng) {
    const std::size_t n = x.rows();
    const std::size_t d = x.cols();
    const std::size_t k = which.task == Task::softmax ? 4 : which.task == Task::multilabel ? 3 : 1;
    std::vector<double> w(k * d);
    for (double& value : w) value = normal(rng);
    Matrix z(n, k);
    for (std::size_t c = 0; c < k; ++c)
        for (std::size_t j = 0; j < d; ++j)
            for (std::size_t i = 0; i < n; ++i) z(i, c) += w[c * d + j] * x(i, j);
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t c = 0; c < k; ++c)
            z(i, c) += (which.kind == "separable" ? 0.01 : 1.0) * normal(rng);
    Labels out;
    out.task = which.task;
    out.classes = which.task == Task::softmax ? 4 : 0;
    out.values.resize(n, which.task == Task::multilabel ? k : 1);
    for (std::size_t i = 0; i < n; ++i) {
        if (which.task == Task::linear) out.values(i, 0) = 100 * z(i, 0) + 5000;
        if (which.task == Task::logistic) out.values(i, 0) = z(i, 0) > 0.5 ? 1 : 0;
        if (which.task == Task::multilabel)
            for (std::size_t c = 0; c < k; ++c) out.values(i, c) = z(i, c) > 0.5 ? 1 : 0;
        if (which.task == Task::softmax) {
            std::size_t best = 0;
            for (std::size_t c = 1; c < k; ++c) best = z(i, c) > z(i, best) ? c : best;
            out.values(i, 0) = static_cast<double>(best);
        }
    }
    return out;
}

/// The table of case `index` of solver_cases.hpp.
inline SolverTable make_table(const SolverCase& which, std::size_t index) {
    Rng rng(1000 + index);
    SolverTable out;
    out.raw = make_columns(which, rng);
    out.scaled = scaled(out.raw);
    out.labels = make_labels(which, out.scaled, rng);
    return out;
}

}  // namespace support
