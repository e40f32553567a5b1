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

void SharedAlignment::ended() {
    const std::lock_guard lock(mutex_);
    making_ = false;
    changed_.notify_all();
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
