#include "actors/alignment/shared_alignment.hpp"

#include <chrono>
#include <utility>

namespace vflbus::actors {

bool SharedAlignment::begin(const std::function<bool()>& stopped) {
    constexpr std::chrono::milliseconds look(50);
    std::unique_lock lock(mutex_);
    while (making_ && made_ == nullptr && !stopped()) changed_.wait_for(lock, look);
    if (making_ || made_ != nullptr) return false;
    making_ = true;
    return true;
}

void SharedAlignment::ended(const RunId& run, bool makes) {
    const std::lock_guard lock(mutex_);
    runs_left_.erase(run);
    if (!makes) return;
    making_ = false;
    changed_.notify_all();
}

bool SharedAlignment::is_last(const RunId& run) {
    const std::lock_guard lock(mutex_);
    return runs_left_.erase(run) != 0 && runs_left_.empty();
}

std::shared_ptr<const MadeAlignment> SharedAlignment::made() const {
    const std::lock_guard lock(mutex_);
    return made_;
}

void SharedAlignment::keep(MadeAlignment alignment) {
    auto made = std::make_shared<const MadeAlignment>(std::move(alignment));
    const std::lock_guard lock(mutex_);
    made_ = std::move(made);
    changed_.notify_all();
}

}  // namespace vflbus::actors
