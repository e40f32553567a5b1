#pragma once
// A ZeroMQ context behind a name, so that nobody above this room sees ZeroMQ; and a stop signal
// that a poll can wait for.

#include <atomic>
#include <memory>
#include <string>

namespace vflbus::bus {

/// One per process. Nodes and a broker that talk over inproc:// share it. Create it after every
/// fork or spawn.
class Context;
/// A node's connections have an I/O thread each: one for the rest of large bodies, one for all
/// else.
inline constexpr int node_io_threads = 2;
std::shared_ptr<Context> make_context(int io_threads = node_io_threads);

/// Of the library that is linked, e.g. "4.3.4".
std::string zmq_version();

/// Set from any thread or from a signal handler.
class StopSignal {
  public:
    StopSignal();
    ~StopSignal();
    StopSignal(const StopSignal&) = delete;
    StopSignal& operator=(const StopSignal&) = delete;

    /// Async-signal-safe. The first call asks for an orderly end, the second for one at once.
    void stop() noexcept;
    /// For an orderly end, however often it is asked for.
    void ask() noexcept {
        if (!stopped()) stop();
    }
    [[nodiscard]] bool urgent() const noexcept {
        return calls_.load(std::memory_order_acquire) > 1;
    }
    [[nodiscard]] bool stopped() const noexcept {
        return calls_.load(std::memory_order_acquire) > 0;
    }
    [[nodiscard]] int fd() const noexcept { return fd_; }  ///< readable once stopped

  private:
    int fd_;
    std::atomic<int> calls_{0};
};

}  // namespace vflbus::bus
