#pragma once
// Which training rows each step takes: a function of (seed, epoch), the same at every party.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "config/config.hpp"
#include "data/batches.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors {

/// Rows that the label holder's own training takes in between two looks at the bus.
inline constexpr std::size_t baseline_slice_rows = 16384;

class BatchSchedule {
  public:
    BatchSchedule() = default;
    BatchSchedule(const config::AgreedHalf& agreed, std::uint32_t train_rows);

    [[nodiscard]] std::uint64_t steps() const noexcept { return epochs_ * batches_; }
    [[nodiscard]] std::uint64_t epochs() const noexcept { return epochs_; }
    [[nodiscard]] std::uint64_t batches() const noexcept { return batches_; }
    [[nodiscard]] std::uint64_t epoch_of(std::uint64_t step) const noexcept {
        return batches_ == 0 ? 0 : step / batches_;
    }
    [[nodiscard]] std::size_t batch_rows(std::uint64_t step) const noexcept;
    /// All steps take the same rows in the same order.
    [[nodiscard]] bool same_rows() const noexcept { return batches_ == 1 && !shuffle_; }
    /// Positions among the training rows. Valid until the next call. `step` < steps().
    std::span<const models::RowIndex> rows(std::uint64_t step);

  private:
    /// `step` < steps().
    [[nodiscard]] data::BatchBounds bounds(std::uint64_t step) const noexcept;

    std::uint64_t seed_ = 0;
    std::uint64_t epochs_ = 0;
    std::uint64_t batches_ = 0;
    std::size_t batch_size_ = 0;
    std::uint32_t n_ = 0;
    /// Batch norms learn nothing true from a few rows that are left over: they are dealt evenly.
    bool even_ = false;
    bool shuffle_ = true;
    std::uint64_t epoch_ = UINT64_MAX;
    std::vector<models::RowIndex> order_;
};

}  // namespace vflbus::actors
