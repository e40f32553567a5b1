#pragma once
// Flow control on one hop: docs/protocol.md, section 7. The sender keeps at most a window of bytes
// in ZeroMQ's pipes, where nothing can be reordered; the rest waits here, one queue per run.

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "base/ids.hpp"
#include "bus/wire/limits.hpp"
#include "bus/wire/payload.hpp"

namespace vflbus::bus {

enum class SendResult : std::uint8_t {
    ok,
    full,  ///< the transport takes no more now; the frame is untouched
    gone,  ///< there is no such connection any more; the frame is untouched
};

/// Where frames of one hop go. Moves from the frame on `ok` only.
class FrameSink {
  public:
    virtual ~FrameSink() = default;
    virtual SendResult send(Frame& frame) = 0;
};

/// Which connection of a node: the one that says HELLO, or the one for the rest of large bodies
/// (docs/protocol.md, section 7).
enum class Lane : std::uint8_t { main, bulk };

/// Who has to be told when a waiting frame leaves its queue (the broker counts a frame as consumed
/// then).
struct Origin {
    NodeId node;
    std::uint64_t session = 0;  ///< 0: nobody
    Lane lane = Lane::main;
};

class HopSender {
  public:
    /// `window_bytes`: at the start, and at least; it grows to `window_bytes_max` at most.
    explicit HopSender(std::uint64_t window_bytes = hop_window_bytes_min,
                       std::uint64_t window_bytes_max = hop_window_bytes_max) noexcept
        : window_(window_bytes),
          window_min_(window_bytes),
          window_max_(std::max(window_bytes, window_bytes_max)) {}

    struct Left {
        Origin origin;
        std::size_t bytes = 0;
    };

    /// A frame that flow control counts. Goes out at once when the window is open and nothing waits
    /// before it, otherwise waits in the queue of `run`. `gone`: the frame is dropped.
    SendResult data(const RunId& run, Frame&& frame, Origin origin, FrameSink& sink,
                    TimePoint now) {
        const std::size_t bytes = frame.size();
        return data(run, std::move(frame), bytes, origin, sink, now);
    }
    /// The same for a caller that knows the frame's size.
    SendResult data(const RunId& run, Frame&& frame, std::size_t bytes, Origin origin,
                    FrameSink& sink, TimePoint now);
    /// A frame that passes all queues; waits only while the transport is full. `gone`: the frame is
    /// dropped, also where as much waits already as may.
    SendResult control(Frame&& frame, FrameSink& sink, std::size_t waiting_frames_max = SIZE_MAX,
                       std::uint64_t waiting_bytes_max = UINT64_MAX);

    /// The other side has consumed `total` bytes since the session began (WINDOW). A total that
    /// goes back or beyond what was sent is ignored: returns false.
    bool consumed(std::uint64_t total, TimePoint now);
    /// Sends what may go now. `left` gets the origins of frames that had to wait.
    SendResult flush(FrameSink& sink, TimePoint now, std::vector<Left>& left);

    /// A new session: counters and estimates start again, what waits is dropped.
    void reset(std::vector<Left>& left);
    void drop_run(const RunId& run, std::vector<Left>& left);
    /// Whether no more may be under way than keeps the line busy, so that the machine has time for
    /// others.
    void narrow(bool on) noexcept { narrow_ = on; }
    /// Drops what waits for the window; the session goes on.
    void drop_all(std::vector<Left>& left);

    // -- properties ------------------------------------------------------------
    [[nodiscard]] std::uint64_t window_bytes() const noexcept { return window_; }
    [[nodiscard]] std::uint64_t in_flight_bytes() const noexcept { return sent_ - consumed_; }
    [[nodiscard]] std::uint64_t consumed_bytes() const noexcept { return consumed_; }
    [[nodiscard]] std::uint64_t queued_bytes() const noexcept { return queued_; }
    [[nodiscard]] std::size_t queued_controls() const noexcept { return control_.size(); }
    [[nodiscard]] bool waiting() const noexcept { return queued_ > 0 || !control_.empty(); }
    /// Something waits for the transport, not for the window: try `flush` again soon.
    [[nodiscard]] bool blocked() const noexcept { return blocked_; }

  private:
    struct Entry {
        Frame frame;
        std::size_t bytes = 0;
        Origin origin;
    };
    struct Lane {
        std::deque<Entry> entries;
        std::uint64_t deficit = 0;
    };

    [[nodiscard]] bool open() const noexcept {
        return in_flight_bytes() <
               (narrow_ ? std::max(std::min(bulk_beside_bytes, window_min_), line_) : window_);
    }
    void count_sent(std::size_t bytes, TimePoint now);
    void drop(Lane& lane, std::vector<Left>& left);

    std::deque<Frame> control_;
    std::uint64_t control_bytes_ = 0;
    std::map<RunId, Lane> lanes_;
    std::deque<RunId> round_;  ///< lanes with entries, in the order they are served
    bool served_ = false;      ///< the first of them has its quantum of this turn already
    std::uint64_t queued_ = 0;
    bool blocked_ = false;

    std::uint64_t sent_ = 0;
    std::uint64_t consumed_ = 0;
    std::uint64_t window_;
    std::uint64_t window_min_;
    std::uint64_t window_max_;
    std::uint64_t line_ = 0;  ///< bandwidth times delay
    bool narrow_ = false;

    // one measurement at a time: when were the bytes up to `probe_until_` sent, and what was
    // consumed then
    bool probing_ = false;
    bool limited_ = false;  ///< the window held something back during this measurement
    std::uint64_t probe_until_ = 0;
    std::uint64_t probe_from_ = 0;
    TimePoint probe_start_{};
    double rtt_min_s_ = 0;
    std::array<double, 8> rates_{};  ///< bytes/s of the last measurements
    std::size_t rate_next_ = 0;
};

/// When small messages of other runs than the one that moves bulk were last about.
class Beside {
  public:
    void bulk(const RunId& run) noexcept { bulk_run_ = run; }
    /// A REQUEST or REPLY on a first connection.
    void data(const RunId& run, std::uint64_t body_bytes, TimePoint now) noexcept {
        if (body_bytes <= credit_free_bytes && run != bulk_run_) at_ = now;
    }
    [[nodiscard]] bool now(TimePoint now) const noexcept { return now - at_ < memory; }

  private:
    static constexpr Duration memory = std::chrono::milliseconds(50);
    RunId bulk_run_;
    TimePoint at_{};
};

/// The receiving side of a hop: what was consumed and what of it was reported.
class HopReceiver {
  public:
    /// `report_bytes`: how much is consumed from one report to the next.
    explicit HopReceiver(std::uint64_t report_bytes = window_report_bytes) noexcept
        : report_bytes_(report_bytes) {}

    /// Counts; true when a WINDOW is due.
    bool consume(std::size_t bytes) noexcept {
        consumed_ += bytes;
        return consumed_ - reported_ >= report_bytes_;
    }
    /// The total to report; marks it reported.
    std::uint64_t report() noexcept { return reported_ = consumed_; }
    void reset() noexcept { consumed_ = reported_ = 0; }

  private:
    std::uint64_t report_bytes_;
    std::uint64_t consumed_ = 0;
    std::uint64_t reported_ = 0;
};

}  // namespace vflbus::bus
