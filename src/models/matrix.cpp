#include "models/matrix.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace vflbus::models {

namespace {
constexpr std::align_val_t alignment{64};
}

void Matrix::Free::operator()(double* memory) const noexcept {
    ::operator delete(memory, alignment);
}

Matrix::Matrix(ConstMatrixView other) {
    resize_uninitialized(other.rows, other.cols);
    std::copy_n(other.data, other.size(), data_.get());
}

Matrix::Matrix(const Matrix& other) : Matrix(other.view()) {}

Matrix& Matrix::operator=(const Matrix& other) {
    if (this != &other) {
        resize_uninitialized(other.rows_, other.cols_);
        std::copy_n(other.data(), other.size(), data_.get());
    }
    return *this;
}

Matrix::Matrix(Matrix&& other) noexcept
    : data_(std::move(other.data_)),
      capacity_(std::exchange(other.capacity_, 0)),
      rows_(std::exchange(other.rows_, 0)),
      cols_(std::exchange(other.cols_, 0)) {}

Matrix& Matrix::operator=(Matrix&& other) noexcept {
    if (this != &other) {
        data_ = std::move(other.data_);
        capacity_ = std::exchange(other.capacity_, 0);
        rows_ = std::exchange(other.rows_, 0);
        cols_ = std::exchange(other.cols_, 0);
    }
    return *this;
}

void Matrix::resize_uninitialized(std::size_t rows, std::size_t cols) {
    const std::size_t wanted = rows * cols;
    if (wanted > capacity_) {
        data_.reset();
        capacity_ = rows_ = cols_ = 0;
        data_.reset(static_cast<double*>(::operator new(wanted * sizeof(double), alignment)));
        capacity_ = wanted;
    }
    rows_ = rows;
    cols_ = cols;
}

void Matrix::resize(std::size_t rows, std::size_t cols) {
    resize_uninitialized(rows, cols);
    fill(0);
}

void Matrix::fill(double value) noexcept {
    std::fill_n(data_.get(), size(), value);
}

void gather_rows(ConstMatrixView source, std::span<const RowIndex> rows, Matrix& out) {
    out.resize_uninitialized(rows.size(), source.cols);
    for (std::size_t j = 0; j < source.cols; ++j) {
        const auto from = source.col(j);
        const auto to = out.col(j);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            assert(rows[i] < source.rows);
            to[i] = from[rows[i]];
        }
    }
}

void add(MatrixView into, ConstMatrixView term) noexcept {
    assert(into.rows == term.rows && into.cols == term.cols);
    const std::size_t n = into.size();
    for (std::size_t i = 0; i < n; ++i) into.data[i] += term.data[i];
}

bool all_finite(std::span<const double> values) noexcept {
    // x - x is 0 for finite numbers and NaN for the others; a sum of zeros stays zero
    double sum = 0;
    for (const double value : values) sum += value - value;
    return sum == 0;
}

}  // namespace vflbus::models
