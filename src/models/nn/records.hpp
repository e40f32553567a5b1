#pragma once
// Records of a batch as they go through a network: floats, each record contiguous.
//
// The problem: a step must cost little and give the same bits on every machine. So records are
// padded with zeros to whole blocks of 16 floats, which is what the widest vector unit takes at
// once; no kernel has a remainder, and layers of one number per element run over the padding too
// (whatever they do, 0 stays 0).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "models/matrix.hpp"

namespace vflbus::models::nn {

/// The next multiple of 16.
constexpr std::size_t padded(std::size_t width) noexcept {
    return (width + 15) / 16 * 16;
}

/// Floats at a 64-byte boundary.
class FloatArray {
  public:
    FloatArray() = default;
    explicit FloatArray(std::size_t size) { resize(size); }
    FloatArray(const FloatArray& other) { *this = other; }
    FloatArray& operator=(const FloatArray& other);
    FloatArray(FloatArray&&) noexcept = default;
    FloatArray& operator=(FloatArray&&) noexcept = default;
    ~FloatArray() = default;

    /// Zeros; what was there is gone.
    void resize(std::size_t size);
    /// The memory is kept when it suffices; the contents are unspecified.
    void resize_uninitialized(std::size_t size);

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] float* data() noexcept { return data_.get(); }
    [[nodiscard]] const float* data() const noexcept { return data_.get(); }
    [[nodiscard]] std::span<float> span() noexcept { return {data_.get(), size_}; }
    [[nodiscard]] std::span<const float> span() const noexcept { return {data_.get(), size_}; }
    float& operator[](std::size_t i) noexcept { return data_.get()[i]; }
    float operator[](std::size_t i) const noexcept { return data_.get()[i]; }

  private:
    struct Free {
        void operator()(float* memory) const noexcept;
    };
    std::unique_ptr<float, Free> data_;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

/// `count` records of `width` floats, each `stride` floats after the one before it.
class Records {
  public:
    Records() = default;
    Records(std::size_t width, std::size_t count) { resize(width, count); }

    /// All zeros.
    void resize(std::size_t width, std::size_t count);
    /// For a caller that writes every record with its padding.
    void resize_uninitialized(std::size_t width, std::size_t count);

    [[nodiscard]] std::size_t width() const noexcept { return width_; }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] std::size_t stride() const noexcept { return padded(width_); }
    [[nodiscard]] float* record(std::size_t i) noexcept { return values_.data() + i * stride(); }
    [[nodiscard]] const float* record(std::size_t i) const noexcept {
        return values_.data() + i * stride();
    }
    /// All floats with the padding.
    [[nodiscard]] std::span<float> all() noexcept { return values_.span(); }
    [[nodiscard]] std::span<const float> all() const noexcept { return values_.span(); }

  private:
    FloatArray values_;
    std::size_t width_ = 0;
    std::size_t count_ = 0;
};

[[nodiscard]] bool all_finite(std::span<const float> values) noexcept;
/// into = into + term, number by number. Both have the same shape.
void add(const Records& term, Records& into);

/// The rows `rows` of a design as records.
void gather(DesignView design, std::span<const RowIndex> rows, Records& out);
/// Rows [first, first + count) of a design as records.
void gather(DesignView design, std::size_t first, std::size_t count, Records& out);

/// width x count: a record is a column. As records travel.
void to_matrix(const Records& records, Matrix& out);
/// count x width: a record is a row. As scores are.
void to_rows(const Records& records, Matrix& out);
/// The opposite of to_matrix: each column becomes a record.
void from_matrix(ConstMatrixView columns, Records& out);
/// The opposite of to_rows.
void from_rows(ConstMatrixView rows, Records& out);

}  // namespace vflbus::models::nn
