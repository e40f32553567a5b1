#include "models/solver_columns.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/assert.hpp"
#include "models/kernels.hpp"

namespace vflbus::models {

namespace {

/// Columns whose spread is below this share of their largest number are constant.
constexpr double negligible_spread = 0x1p-40;

/// A power of two that brings `most` to about 1, where squares of it could leave the range of
/// doubles; otherwise 1.
double safe_unit(double most) {
    if (most > 0x1p-400 && most < 0x1p400) return 1;
    int exponent = 0;
    std::frexp(most, &exponent);
    return std::ldexp(1.0, std::clamp(-exponent, -1000, 1000));
}

}  // namespace

SolverColumns::SolverColumns(PanelMatrix panels, const ColumnOptions& options)
    : panels_(std::move(panels)),
      options_(options),
      scale_(panels_.cols(), 0.0),
      center_(panels_.cols(), 0.0) {
    std::vector<double> scratch(panel_rows);
    for (std::size_t j = 0; j < cols(); ++j) scale_column(j, scratch);
}

SolverColumns SolverColumns::copy_of(DesignView design, const ColumnOptions& options) {
    return {PanelMatrix::copy_of(design), options};
}

SolverColumns SolverColumns::in_place(std::span<double> row_major, std::size_t rows,
                                      std::size_t cols, const ColumnOptions& options) {
    return {PanelMatrix::from_rows(row_major, rows, cols), options};
}

std::vector<double> SolverColumns::largest() const {
    std::vector<double> out(cols(), 0.0);
    for (std::size_t p = 0; p < panels_.panels(); ++p)
        for (std::size_t j = 0; j < cols(); ++j)
            for (const double x : panels_.panel(p).col(j)) out[j] = std::max(out[j], std::abs(x));
    return out;
}

void SolverColumns::round_columns(std::span<const int> exponents, double most) {
    VFLBUS_ASSERT(exponents.size() == cols(), "one exponent for each column");
    for (std::size_t p = 0; p < panels_.panels(); ++p)
        for (std::size_t j = 0; j < cols(); ++j)
            for (double& x : panels_.panel(p).col(j))
                x = std::ldexp(std::clamp(std::nearbyint(std::ldexp(x, exponents[j])), -most, most),
                               -exponents[j]);
}

/// Centres and scales column j in its panels. Sums are taken panel by panel in the order of
/// kernels.hpp.
void SolverColumns::scale_column(std::size_t j, std::span<double> scratch) {
    const double n = static_cast<double>(rows());
    double most = 0;
    for (std::size_t p = 0; p < panels_.panels(); ++p)
        for (const double x : std::as_const(panels_).panel(p).col(j))
            most = std::max(most, std::abs(x));
    const double unit = safe_unit(most);

    double mean = 0;  // in units, like `square`
    if (options_.center) {
        for (std::size_t p = 0; p < panels_.panels(); ++p) {
            const auto column = std::as_const(panels_).panel(p).col(j);
            for (std::size_t i = 0; i < column.size(); ++i) scratch[i] = column[i] * unit;
            mean += lane_sum(scratch.first(column.size()));
        }
        mean /= n;
    }
    double square = 0;
    for (std::size_t p = 0; p < panels_.panels(); ++p) {
        const auto column = panels_.panel(p).col(j);
        for (std::size_t i = 0; i < column.size(); ++i) {
            const double x = column[i] * unit - mean;
            column[i] = x;
            scratch[i] = x * x;
        }
        square += lane_sum(scratch.first(column.size()));
    }
    square /= n;

    // in the units of the column; the penalty counts where its size can be compared at all
    double scale = 0;
    if (std::sqrt(square) > negligible_spread * (most * unit)) {
        if (unit == 1)
            scale = 1 / std::sqrt(options_.curvature * square + options_.penalty);
        else if (unit > 1 && options_.penalty > 0)
            scale = 1 / (std::sqrt(options_.penalty) * unit);
        else
            scale = 1 / std::sqrt(options_.curvature * square);
    }
    center_[j] = mean / unit;
    scale_[j] = scale * unit;
    if (scale == 0 || !std::isfinite(scale_[j]) || !std::isfinite(center_[j])) {
        scale_[j] = center_[j] = 0;
        for (std::size_t p = 0; p < panels_.panels(); ++p)
            std::ranges::fill(panels_.panel(p).col(j), 0.0);
        return;
    }
    for (std::size_t p = 0; p < panels_.panels(); ++p)
        for (double& x : panels_.panel(p).col(j)) x *= scale;
}

Matrix SolverColumns::weights(ConstMatrixView v) const {
    VFLBUS_ASSERT(v.rows == cols(), "one weight per column");
    Matrix w(v);
    for (std::size_t c = 0; c < w.cols(); ++c) {
        const auto to = w.col(c);
        for (std::size_t j = 0; j < to.size(); ++j) to[j] *= scale_[j];
    }
    return w;
}

void SolverColumns::offsets(ConstMatrixView v, std::span<double> out) const {
    VFLBUS_ASSERT(v.rows == cols() && out.size() == v.cols, "one offset per output");
    const Matrix w = weights(v);
    std::ranges::fill(out, 0.0);
    if (cols() == 0) return;
    gradient({center_.data(), cols(), 1}, w, {out.data(), 1, out.size()});
}

}  // namespace vflbus::models
