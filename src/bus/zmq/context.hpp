#pragma once
// A ZeroMQ context behind a name, so that nobody above this room sees ZeroMQ; and a stop signal
// that a poll can wait for.

#include <atomic>
#include <memory>

namespace vflbus::bus {

/// One per process. Nodes and a broker that talk over inproc:// share it. Create it after every
/// fork or spawn.
class Context;
std::shared_ptr<Context> make_context(int io_threads = 1);

/// Set once, from any thread or from a signal handler.
class StopSignal {
  public:
    StopSignal();
    ~StopSignal();
    StopSignal(const StopSignal&) = delete;
    StopSignal& operator=(const StopSignal&) = delete;

    void stop() noexcept;  ///< async-signal-safe
    [[nodiscard]] bool stopped() const noexcept { return stopped_.load(std::memory_order_acquire); }
    [[nodiscard]] int fd() const noexcept { return fd_; }  ///< readable once stopped

  private:
    int fd_;
    std::atomic<bool> stopped_{false};
};

}  // namespace vflbus::bus
