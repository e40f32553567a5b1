#include "models/kernels.hpp"

#include <atomic>
#include <cassert>
#include <vector>

#include "models/kernel_table.hpp"

namespace vflbus::models {

namespace {

constexpr std::size_t scratch_rows = 64;

const KernelTable& table_of(Isa isa) noexcept {
#ifdef VFLBUS_WIDE_KERNELS
    if (isa == Isa::avx512) return kernels_avx512;
    if (isa == Isa::avx2) return kernels_avx2;
#else
    static_cast<void>(isa);
#endif
    return kernels_baseline;
}

std::atomic<const KernelTable*>& chosen() noexcept {
    static std::atomic<const KernelTable*> table{&table_of(best_isa())};
    return table;
}

}  // namespace

const KernelTable& kernels() noexcept {
    return *chosen().load(std::memory_order_relaxed);
}

Isa best_isa() noexcept {
#ifdef VFLBUS_WIDE_KERNELS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return Isa::avx512;
    if (__builtin_cpu_supports("avx2")) return Isa::avx2;
#endif
    return Isa::baseline;
}

const char* name_of(Isa isa) noexcept {
    switch (isa) {
        case Isa::avx512:
            return "avx512";
        case Isa::avx2:
            return "avx2";
        case Isa::baseline:
            break;
    }
    return "baseline";
}

void use_isa(Isa isa) noexcept {
    chosen().store(&table_of(isa < best_isa() ? isa : best_isa()), std::memory_order_relaxed);
}

void partial_scores(ConstMatrixView X, ConstMatrixView W, MatrixView Z) {
    assert(X.cols == W.rows && Z.rows == X.rows && Z.cols == W.cols);
    kernels().scores(X.data, X.rows, X.cols, W.data, W.cols, Z.data);
}

void gradient(ConstMatrixView X, ConstMatrixView R, MatrixView G) {
    assert(X.rows == R.rows && G.rows == X.cols && G.cols == R.cols);
    kernels().gradient(X.data, X.rows, X.cols, R.data, R.cols, G.data);
}

namespace {

/// row_at(i): where row i of the n rows begins.
template <class RowAt>
void score_rows(RowAt row_at, std::size_t n, std::size_t d, ConstMatrixView W, MatrixView Z) {
    assert(W.rows == d && Z.rows == n && Z.cols == W.cols);
    const KernelTable& table = kernels();
    const std::size_t most = n < scratch_rows ? n : scratch_rows;
    Matrix batch;
    batch.resize_uninitialized(most, d);
    Matrix scores;
    scores.resize_uninitialized(most, W.cols);
    const double* rows[scratch_rows];
    for (std::size_t begin = 0; begin < n; begin += most) {
        const std::size_t count = n - begin < most ? n - begin : most;
        for (std::size_t i = 0; i < count; ++i) rows[i] = row_at(begin + i);
        table.gather(rows, count, d, batch.data());
        table.scores(batch.data(), count, d, W.data, W.cols, scores.data());
        for (std::size_t c = 0; c < W.cols; ++c)
            for (std::size_t i = 0; i < count; ++i) Z(begin + i, c) = scores.data()[c * count + i];
    }
}

}  // namespace

void design_scores(DesignView design, ConstMatrixView W, MatrixView Z) {
    score_rows([&](std::size_t i) { return design.data + i * design.stride; }, design.rows,
               design.cols, W, Z);
}

void design_scores(DesignView design, std::span<const RowIndex> rows, ConstMatrixView W,
                   MatrixView Z) {
    score_rows(
        [&](std::size_t i) {
            assert(rows[i] < design.rows);
            return design.data + rows[i] * design.stride;
        },
        rows.size(), design.cols, W, Z);
}

void weigh_rows(std::span<const double> w, ConstMatrixView X, MatrixView out) noexcept {
    assert(w.size() == X.rows && out.rows == X.rows && out.cols == X.cols);
    kernels().weigh(X.data, X.rows, X.cols, w.data(), out.data);
}

void add_weighed_rows(std::span<const double> w, ConstMatrixView X, MatrixView out) noexcept {
    assert(w.size() == X.rows && out.rows == X.rows && out.cols == X.cols);
    kernels().add_weighed(X.data, X.rows, X.cols, w.data(), out.data);
}

double lane_sum(std::span<const double> values) noexcept {
    return kernels().lane_sum(values.data(), values.size());
}

void column_sums(ConstMatrixView R, std::span<double> out) noexcept {
    assert(out.size() == R.cols);
    for (std::size_t c = 0; c < R.cols; ++c) out[c] = lane_sum(R.col(c));
}

// -- matrix.hpp's, which need the kernels ----------------------------------------

void gather_batch(DesignView design, std::span<const RowIndex> rows, Matrix& batch) {
    batch.resize_uninitialized(rows.size(), design.cols);
    std::vector<const double*> from(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        assert(rows[i] < design.rows);
        from[i] = design.data + rows[i] * design.stride;
    }
    kernels().gather(from.data(), rows.size(), design.cols, batch.data());
}

}  // namespace vflbus::models
