#include "models/nn/records.hpp"

#include <algorithm>
#include <cmath>
#include <new>

namespace vflbus::models::nn {
namespace {

constexpr std::align_val_t float_alignment{64};

void take_row(const double* from, std::size_t width, std::size_t stride, float* to) {
    for (std::size_t j = 0; j < width; ++j) to[j] = static_cast<float>(from[j]);
    std::fill(to + width, to + stride, 0.0F);
}

}  // namespace

void FloatArray::Free::operator()(float* memory) const noexcept {
    ::operator delete(memory, float_alignment);
}

FloatArray& FloatArray::operator=(const FloatArray& other) {
    if (this == &other) return *this;
    resize_uninitialized(other.size_);
    std::ranges::copy(other.span(), data());
    return *this;
}

void FloatArray::resize(std::size_t size) {
    resize_uninitialized(size);
    std::ranges::fill(span(), 0.0F);
}

void FloatArray::resize_uninitialized(std::size_t size) {
    if (size > capacity_) {
        data_.reset(static_cast<float*>(::operator new(size * sizeof(float), float_alignment)));
        capacity_ = size;
    }
    size_ = size;
}

void Records::resize(std::size_t width, std::size_t count) {
    width_ = width;
    count_ = count;
    values_.resize(stride() * count);
}

void Records::resize_uninitialized(std::size_t width, std::size_t count) {
    width_ = width;
    count_ = count;
    values_.resize_uninitialized(stride() * count);
}

bool all_finite(std::span<const float> values) noexcept {
    return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

void add(const Records& term, Records& into) {
    const auto from = term.all();
    const auto to = into.all();
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

void gather(DesignView design, std::span<const RowIndex> rows, Records& out) {
    out.resize_uninitialized(design.cols, rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
        take_row(design.data + rows[i] * design.stride, design.cols, out.stride(), out.record(i));
}

void gather(DesignView design, std::size_t first, std::size_t count, Records& out) {
    out.resize_uninitialized(design.cols, count);
    for (std::size_t i = 0; i < count; ++i)
        take_row(design.data + (first + i) * design.stride, design.cols, out.stride(),
                 out.record(i));
}

void to_matrix(const Records& records, Matrix& out) {
    out.resize_uninitialized(records.width(), records.count());
    for (std::size_t i = 0; i < records.count(); ++i)
        std::copy_n(records.record(i), records.width(), out.data() + i * records.width());
}

void to_rows(const Records& records, Matrix& out) {
    out.resize_uninitialized(records.count(), records.width());
    for (std::size_t j = 0; j < records.width(); ++j)
        for (std::size_t i = 0; i < records.count(); ++i)
            out(i, j) = static_cast<double>(records.record(i)[j]);
}

void from_matrix(ConstMatrixView columns, Records& out) {
    out.resize_uninitialized(columns.rows, columns.cols);
    for (std::size_t i = 0; i < columns.cols; ++i)
        take_row(columns.data + i * columns.rows, columns.rows, out.stride(), out.record(i));
}

void from_rows(ConstMatrixView rows, Records& out) {
    out.resize(rows.cols, rows.rows);
    for (std::size_t j = 0; j < rows.cols; ++j)
        for (std::size_t i = 0; i < rows.rows; ++i)
            out.record(i)[j] = static_cast<float>(rows(i, j));
}

}  // namespace vflbus::models::nn
