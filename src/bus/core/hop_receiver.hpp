#pragma once
// The receiving end of a hop at the broker: docs/protocol.md, section 7, "On a hop".
//
// A sender may go on when what it has sent is consumed here, and most frames are consumed when they
// arrive. But a frame for a destination that is far behind waits in a queue, and its sender has to
// wait as well. So its bytes are counted as held until the frame leaves, and a MARK is answered
// with WINDOW only when no more is held than came after it.

#include <algorithm>
#include <cstdint>

#include "base/fifo.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::bus {

class HopReceiver {
  public:
    /// A frame has arrived, of whatever kind.
    void received(std::size_t bytes) noexcept { received_ += bytes; }
    /// A frame that has arrived waits in a queue, and later is released from it.
    void hold(std::size_t bytes) noexcept { held_ += bytes; }
    void release(std::size_t bytes) noexcept { held_ -= std::min<std::uint64_t>(bytes, held_); }
    /// MARK has arrived, and was counted as received.
    void marked(std::uint64_t token);
    /// The token to answer with WINDOW now; 0: none. The answer covers all MARKs before it.
    [[nodiscard]] std::uint64_t due();
    void reset() { *this = HopReceiver{}; }

    // -- properties ------------------------------------------------------------
    /// Bytes that wait in queues. A sender that keeps to its window cannot have more of them than
    /// the largest window, and what may pass it.
    [[nodiscard]] std::uint64_t held_bytes() const noexcept { return held_; }

  private:
    struct Mark {
        std::uint64_t token = 0;
        std::uint64_t position = 0;
    };
    static constexpr std::size_t marks_max = 1024;

    Fifo<Mark> marks_;
    std::uint64_t received_ = 0;
    std::uint64_t held_ = 0;
};

}  // namespace vflbus::bus
