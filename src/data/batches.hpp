#pragma once
// The order of rows in an epoch and its batches, a function of (seed, epoch): a party that resumes
// in the middle needs no iterator's state.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vflbus::data {

/// A permutation of 0 .. n-1 (Fisher-Yates); the identity without `shuffle`.
std::vector<std::uint32_t> epoch_order(std::uint64_t seed, std::uint64_t epoch, std::uint32_t n,
                                       bool shuffle);

/// Half-open range of positions in the epoch's order.
struct BatchBounds {
    std::size_t begin = 0;
    std::size_t end = 0;
    [[nodiscard]] constexpr std::size_t size() const noexcept { return end - begin; }
};

/// batch_size 0 (or beyond n) = all rows in one batch. No rows, no batches.
constexpr std::size_t batches_per_epoch(std::size_t n, std::size_t batch_size) noexcept {
    if (n == 0) return 0;
    return batch_size == 0 ? 1 : (n - 1) / batch_size + 1;
}

/// The last batch may be short. `batch` < batches_per_epoch(n, batch_size).
constexpr BatchBounds batch_bounds(std::size_t n, std::size_t batch_size,
                                   std::size_t batch) noexcept {
    if (batch_size == 0 || batch_size > n) return {0, n};
    const std::size_t begin = batch * batch_size;
    return {begin, n - begin < batch_size ? n : begin + batch_size};
}

/// The same, with as many batches, none of which is short: the first ones have a row more where
/// the rows do not come out even.
constexpr BatchBounds even_batch_bounds(std::size_t n, std::size_t batch_size,
                                        std::size_t batch) noexcept {
    const std::size_t batches = batches_per_epoch(n, batch_size);
    const std::size_t rows = n / batches;
    const std::size_t longer = n % batches;
    const std::size_t begin = batch * rows + (batch < longer ? batch : longer);
    return {begin, begin + rows + (batch < longer ? 1 : 0)};
}

}  // namespace vflbus::data
