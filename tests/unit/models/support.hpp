#pragma once
// What the tests of this room share: seeded matrices, row lists and a failing-by-name unwrap.

#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include "base/rng.hpp"
#include "catch.hpp"
#include "models/head.hpp"
#include "models/matrix.hpp"

namespace support {

using vflbus::Rng;
using vflbus::models::ConstMatrixView;
using vflbus::models::DesignView;
using vflbus::models::Matrix;
using vflbus::models::RowIndex;
using vflbus::Task;

inline const std::vector<Task> all_tasks = {Task::linear, Task::logistic, Task::multilabel,
                                            Task::softmax};

/// Roughly normal: twelve uniforms less six.
inline double normal(Rng& rng) {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += rng.uniform();
    return sum;
}

inline Matrix random_matrix(std::size_t rows, std::size_t cols, Rng& rng) {
    Matrix out(rows, cols);
    for (double& x : out.span()) x = normal(rng);
    return out;
}

inline std::vector<RowIndex> first_rows(std::size_t n, std::size_t from = 0) {
    std::vector<RowIndex> rows(n);
    std::iota(rows.begin(), rows.end(), static_cast<RowIndex>(from));
    return rows;
}

/// A shuffled order cut into batches, from (seed, epoch).
inline std::vector<std::vector<RowIndex>> batches(std::size_t n, std::size_t size,
                                                  std::uint64_t seed, std::uint64_t epoch) {
    std::vector<RowIndex> order = first_rows(n);
    Rng rng(vflbus::mix_seed(seed, epoch));
    for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
    std::vector<std::vector<RowIndex>> out;
    for (std::size_t i = 0; i < n; i += size)
        out.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(i),
                         order.begin() + static_cast<std::ptrdiff_t>(std::min(n, i + size)));
    return out;
}

/// A row-major table and its view.
struct Design {
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::vector<double> values;
    DesignView view() const { return {values.data(), rows, cols}; }
};

inline Design row_major(ConstMatrixView m) {
    Design out{m.rows, m.cols, std::vector<double>(m.size())};
    for (std::size_t i = 0; i < m.rows; ++i)
        for (std::size_t j = 0; j < m.cols; ++j) out.values[i * m.cols + j] = m(i, j);
    return out;
}

/// The columns [from, to) as a design of their own: one party's part.
inline Design columns(const Design& all, std::size_t from, std::size_t to) {
    Design out{all.rows, to - from, {}};
    for (std::size_t i = 0; i < all.rows; ++i)
        for (std::size_t j = from; j < to; ++j) out.values.push_back(all.values[i * all.cols + j]);
    return out;
}

/// Fails the test with the sentence of a failure.
template <class R>
decltype(auto) value_of(R&& result) {
    if (!result) FAIL(result.error().sentence);
    return *std::forward<R>(result);
}
template <class R>
void require_ok(const R& result) {
    if (!result) FAIL(result.error().sentence);
}

}  // namespace support
