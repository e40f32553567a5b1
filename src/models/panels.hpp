#pragma once
// Whole tables in a layout that full-batch solvers stream fast.
//
// A full-batch iteration reads every number of a table twice: once for X v and once for X' r.
// Row-major tables make the kernels slow, and column-major ones jump by a whole column at each
// step. Panels are between the two: runs of 256 rows, each column-major without padding, one after
// another. Both products then run at the speed of memory.
//
// A panel covers the same memory as the same rows in row-major order, so a table is converted in
// place (from_rows).

#include <cstddef>
#include <span>

#include "models/matrix.hpp"

namespace vflbus::models {

inline constexpr std::size_t panel_rows = 256;

/// rows x cols numbers in panels. Owns its memory, or borrows that of a table that was converted
/// in place and must outlive it.
class PanelMatrix {
  public:
    PanelMatrix() = default;
    PanelMatrix(std::size_t rows, std::size_t cols);  ///< zeros
    PanelMatrix(PanelMatrix&&) noexcept = default;
    PanelMatrix& operator=(PanelMatrix&&) noexcept = default;

    /// A copy of a row-major table.
    static PanelMatrix copy_of(DesignView design);
    /// Converts a row-major table without padding in place and borrows its memory:
    /// `row_major` has rows * cols numbers. Needs scratch for one panel.
    static PanelMatrix from_rows(std::span<double> row_major, std::size_t rows, std::size_t cols);

    // -- properties -------------------------------------------------------------
    std::size_t rows() const noexcept { return rows_; }
    std::size_t cols() const noexcept { return cols_; }
    std::size_t size() const noexcept { return rows_ * cols_; }
    std::size_t panels() const noexcept { return (rows_ + panel_rows - 1) / panel_rows; }
    /// The first row of panel p.
    static std::size_t first_row(std::size_t p) noexcept { return p * panel_rows; }
    /// Rows of panel p: 256, or what is left in the last one.
    std::size_t rows_of(std::size_t p) const noexcept {
        const std::size_t left = rows_ - first_row(p);
        return left < panel_rows ? left : panel_rows;
    }

    // -- elements ---------------------------------------------------------------
    MatrixView panel(std::size_t p) noexcept {
        return {data() + first_row(p) * cols_, rows_of(p), cols_};
    }
    ConstMatrixView panel(std::size_t p) const noexcept {
        return {data() + first_row(p) * cols_, rows_of(p), cols_};
    }
    /// All numbers, panel after panel; what a commit stores.
    std::span<double> span() noexcept { return {data(), size()}; }
    std::span<const double> span() const noexcept { return {data(), size()}; }

  private:
    double* data() noexcept { return borrowed_ != nullptr ? borrowed_ : owned_.data(); }
    const double* data() const noexcept { return borrowed_ != nullptr ? borrowed_ : owned_.data(); }

    Matrix owned_;
    double* borrowed_ = nullptr;
    std::size_t rows_ = 0;
    std::size_t cols_ = 0;
};

// -- products ---------------------------------------------------------------------
// The summation order is that of kernels.hpp within a panel. The panels' gradients are added in
// ascending order, starting from +0. So both depend on the values alone.

/// Z = X W. X: n x d, W: d x k, Z: n x k (written). Bit for bit partial_scores of the same rows.
void panel_scores(const PanelMatrix& X, ConstMatrixView W, MatrixView Z);

/// The same for Z.rows rows from `first` on.
void panel_scores(const PanelMatrix& X, std::size_t first, ConstMatrixView W, MatrixView Z);

/// G = X' R. X: n x d, R: n x k, G: d x k (written).
void panel_gradient(const PanelMatrix& X, ConstMatrixView R, MatrixView G);

/// Inner product of a and b, panel by panel in the order of panel_gradient.
double panel_dot(std::span<const double> a, std::span<const double> b) noexcept;

/// Rows [first, first + view.rows) of column c of an n x k matrix; what belongs to one panel.
std::span<const double> rows_of_column(ConstMatrixView m, std::size_t c, std::size_t first,
                                       std::size_t rows) noexcept;

}  // namespace vflbus::models
