#include "actors/alignment/kept_alignment.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

namespace vflbus::actors {

config::AgreedHalf aligned_by(const config::AgreedHalf& agreed) {
    const config::DataConfig defaults;
    config::AgreedHalf out;
    out.run.world_size = agreed.run.world_size;
    out.data = agreed.data;
    // what is done with the rows once they are known
    out.data.stratify = defaults.stratify;
    out.data.test_fraction = defaults.test_fraction;
    out.data.folds = defaults.folds;
    out.data.standardize = defaults.standardize;
    out.data.one_hot_max = defaults.one_hot_max;
    // how labels are read, and whether all columns of a table are pixels
    out.model.task = agreed.model.task;
    if (agreed.model.name == config::ModelName::efficientnet) out.model.name = agreed.model.name;
    return out;
}

void KeptAlignments::keep(std::shared_ptr<const KeptAlignment> alignment) {
    const std::lock_guard lock(mutex_);
    std::erase_if(kept_, [&](const auto& other) { return other->key == alignment->key; });
    const auto of_owner = [&key = alignment->key](const auto& other) {
        return other->key.owner == key.owner &&
               other->key.owner_fingerprint == key.owner_fingerprint;
    };
    if (std::ranges::count_if(kept_, of_owner) >= std::ptrdiff_t{kept_of_owner_max})
        kept_.erase(std::prev(std::find_if(kept_.rbegin(), kept_.rend(), of_owner).base()));
    kept_.push_front(std::move(alignment));
    if (kept_.size() > kept_max) kept_.pop_back();
}

void KeptAlignments::drop(const AlignmentKey& key) {
    const std::lock_guard lock(mutex_);
    std::erase_if(kept_, [&](const auto& one) { return one->key == key; });
}

std::shared_ptr<const KeptAlignment> KeptAlignments::find(const AlignmentKey& key) {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::ranges::find_if(kept_, [&](const auto& one) { return one->key == key; });
    if (found == kept_.end()) return nullptr;
    std::rotate(kept_.begin(), found, found + 1);
    return kept_.front();
}

}  // namespace vflbus::actors
