#pragma once
// Aligned matrices of doubles and the views that kernels take.
//
// Two layouts: column-major without padding for batches, weights, scores and residuals (so that a
// matrix is one run of rows * cols doubles, as it travels), row-major for a party's whole design.

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace vflbus::models {

/// Position of a record among the aligned records (and so in a design and in the labels).
using RowIndex = std::uint32_t;

/// Read-only column-major view, no padding: element (i, j) is data[j * rows + i]. The owner of
/// the memory must outlive it.
struct ConstMatrixView {
    const double* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;

    double operator()(std::size_t i, std::size_t j) const noexcept { return data[j * rows + i]; }
    std::size_t size() const noexcept { return rows * cols; }
    std::span<const double> span() const noexcept { return {data, size()}; }
    std::span<const double> col(std::size_t j) const noexcept { return {data + j * rows, rows}; }
};

/// Writable column-major view, no padding.
struct MatrixView {
    double* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;

    double& operator()(std::size_t i, std::size_t j) const noexcept { return data[j * rows + i]; }
    std::size_t size() const noexcept { return rows * cols; }
    std::span<double> span() const noexcept { return {data, size()}; }
    std::span<double> col(std::size_t j) const noexcept { return {data + j * rows, rows}; }
    operator ConstMatrixView() const noexcept {
        return {data, rows, cols};
    }  // NOLINT: a view of a view
};

/// Read-only row-major view of a design matrix: element (i, j) is data[i * stride + j].
/// What the data room hands over: rows x features, 64-byte-aligned, stride >= cols.
struct DesignView {
    const double* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::size_t stride = 0;  ///< doubles from one row to the next

    DesignView() = default;
    DesignView(const double* values, std::size_t row_count, std::size_t col_count) noexcept
        : DesignView(values, row_count, col_count, col_count) {}
    DesignView(const double* values, std::size_t row_count, std::size_t col_count,
               std::size_t row_stride) noexcept
        : data(values), rows(row_count), cols(col_count), stride(row_stride) {}

    double operator()(std::size_t i, std::size_t j) const noexcept { return data[i * stride + j]; }
};

/// A column-major matrix that owns 64-byte-aligned memory. `resize` keeps the memory when it
/// suffices, so that a matrix reused for every batch allocates once.
class Matrix {
  public:
    Matrix() = default;
    Matrix(std::size_t rows, std::size_t cols) { resize(rows, cols); }  ///< zeros
    explicit Matrix(ConstMatrixView other);
    Matrix(const Matrix& other);
    Matrix& operator=(const Matrix& other);
    Matrix(Matrix&& other) noexcept;
    Matrix& operator=(Matrix&& other) noexcept;
    ~Matrix() = default;

    /// rows x cols zeros; what was there is gone.
    void resize(std::size_t rows, std::size_t cols);
    /// rows x cols with unspecified contents, for a caller that writes every element.
    void resize_uninitialized(std::size_t rows, std::size_t cols);
    void fill(double value) noexcept;

    // -- properties -----------------------------------------------------------
    std::size_t rows() const noexcept { return rows_; }
    std::size_t cols() const noexcept { return cols_; }
    std::size_t size() const noexcept { return rows_ * cols_; }
    bool empty() const noexcept { return size() == 0; }

    // -- elements -------------------------------------------------------------
    double& operator()(std::size_t i, std::size_t j) noexcept {
        assert(i < rows_ && j < cols_);
        return data_.get()[j * rows_ + i];
    }
    double operator()(std::size_t i, std::size_t j) const noexcept {
        assert(i < rows_ && j < cols_);
        return data_.get()[j * rows_ + i];
    }
    double* data() noexcept { return data_.get(); }
    const double* data() const noexcept { return data_.get(); }
    std::span<double> span() noexcept { return {data_.get(), size()}; }
    std::span<const double> span() const noexcept { return {data_.get(), size()}; }
    std::span<double> col(std::size_t j) noexcept { return {data_.get() + j * rows_, rows_}; }
    std::span<const double> col(std::size_t j) const noexcept {
        return {data_.get() + j * rows_, rows_};
    }

    // -- views ----------------------------------------------------------------
    ConstMatrixView view() const noexcept { return {data_.get(), rows_, cols_}; }
    MatrixView view() noexcept { return {data_.get(), rows_, cols_}; }
    operator ConstMatrixView() const noexcept { return view(); }  // NOLINT: pass a matrix as a view

  private:
    struct Free {
        void operator()(double* memory) const noexcept;
    };
    std::unique_ptr<double, Free> data_;
    std::size_t capacity_ = 0;
    std::size_t rows_ = 0;
    std::size_t cols_ = 0;
};

/// batch(i, j) = design(rows[i], j): the rows of one batch as b x d columns. Resizes `batch`.
/// Every index must be below design.rows.
void gather_batch(DesignView design, std::span<const RowIndex> rows, Matrix& batch);

/// out(i, j) = source(rows[i], j), column-major to column-major; for labels and scores.
void gather_rows(ConstMatrixView source, std::span<const RowIndex> rows, Matrix& out);

/// into += term, element by element; equal shapes. The master adds partial scores with it, its own
/// first and then members by rank.
void add(MatrixView into, ConstMatrixView term) noexcept;

/// True when every element is finite.
bool all_finite(std::span<const double> values) noexcept;

}  // namespace vflbus::models
