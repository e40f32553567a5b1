#pragma once
// What the tests of a node's threads share.

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "actors/node/node.hpp"

namespace vflbus::actors {

inline constexpr MessageType block_type = 300;
inline constexpr MessageType note_type = 301;

/// Opens once. `wait` gives up after 200 s and returns false, so that a test that fails does not
/// hang.
class Gate {
  public:
    void open() {
        const std::lock_guard lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }
    bool wait() {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(200), [this] { return open_; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool open_ = false;
};

}  // namespace vflbus::actors
