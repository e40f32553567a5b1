#include "actors/training/schedule.hpp"

#include "base/planted.hpp"

namespace vflbus::actors {

BatchSchedule::BatchSchedule(const config::AgreedHalf& agreed, std::uint32_t train_rows)
    : seed_(agreed.run.seed),
      epochs_(agreed.model.epochs),
      batches_(data::batches_per_epoch(train_rows, agreed.model.batch_size)),
      batch_size_(agreed.model.batch_size),
      n_(train_rows),
      // a short batch has no variance to speak of, and encrypted gradients of a few rows tell them
      even_(agreed.model.norm == config::NormName::batch ||
            (agreed.run.protocol == config::Protocol::encrypted &&
             agreed.model.name != config::ModelName::linear)),
      // the order within the only batch changes nothing but the rounding, and its factors could
      // not be used again
      shuffle_(agreed.model.shuffle && !(batches_ == 1 && agreed.model.sequential)) {}

data::BatchBounds BatchSchedule::bounds(std::uint64_t step) const noexcept {
    const std::uint64_t batch = step % batches_;
    return even_ ? data::even_batch_bounds(n_, batch_size_, batch)
                 : data::batch_bounds(n_, batch_size_, batch);
}

std::size_t BatchSchedule::batch_rows(std::uint64_t step) const noexcept {
    if (step >= steps()) return 0;
    return bounds(step).size();
}

std::span<const models::RowIndex> BatchSchedule::rows(std::uint64_t step) {
    const std::uint64_t epoch = epoch_of(step);
    if (epoch != epoch_) {
        order_ = data::epoch_order(seed_, VFLBUS_PLANTED(batch_of_the_process) ? epoch_ + 1 : epoch,
                                   n_, shuffle_);
        epoch_ = epoch;
    }
    const auto taken = bounds(step);
    return std::span(order_).subspan(taken.begin, taken.size());
}

}  // namespace vflbus::actors
