#pragma once
// The sending end of a hop: docs/protocol.md, section 7, "On a hop".
//
// What is in a ZeroMQ pipe can be neither counted in bytes nor reordered. So no more than a window
// of bytes is in it, proved by MARKs to be no more; the rest waits here: control frames first, then
// REQUEST and REPLY frames in one queue per run, served in turn.
//
// All bytes on the connection count, and three levels keep the important from waiting for the
// less important:
//
//     REQUEST, REPLY   while less than `window` is under way
//     other kinds      while less than `window` + 1 MiB is
//     WINDOW           while less than `window` + 1 MiB + 128 KiB is; of several that wait only
//                      the last is kept, as it says what the others said
//
// The third level lies above the second so that two ends which both wait for WINDOW never wait for
// each other. MARK follows at most `mark_every` bytes after the last one and is held back by
// nothing.

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "base/ids.hpp"
#include "bus/core/control_queue.hpp"
#include "bus/core/hop.hpp"
#include "bus/core/limits.hpp"
#include "bus/core/marks.hpp"
#include "bus/wire/header.hpp"

namespace vflbus::bus {

/// What became of a control frame.
enum class Posted : std::uint8_t {
    sent,
    waits,
    crowded,  ///< dropped: its sender has too much waiting here (see ControlQueue)
    over,     ///< dropped: more waits than may; the connection is not worth keeping
    gone,     ///< dropped: there is no such connection any more
};

struct HopEnds {
    NodeId self;  ///< the source of MARK and WINDOW
    NodeId other;
};

class HopSender {
  public:
    /// `tokens` outlives this. `mark_every`: bytes from one MARK to the next.
    HopSender(MarkTokens& tokens, HopEnds ends, const Limits& limits, std::uint64_t mark_every,
              const ControlLimits& control = {}) noexcept;

    /// A frame that had to wait has left: sent or dropped.
    struct Left {
        Origin origin;
        std::size_t bytes = 0;
    };

    /// A REQUEST or REPLY. Goes out at once when the window is open and nothing waits before it,
    /// otherwise waits in the queue of `run` (`full`). `gone`: the frame is dropped.
    SendResult data(const RunId& run, Frame&& frame, Origin origin, FrameSink& sink,
                    TimePoint now) {
        const std::size_t bytes = frame.size();
        return data(run, std::move(frame), bytes, origin, sink, now);
    }
    /// The same for a caller that knows the frame's size.
    SendResult data(const RunId& run, Frame&& frame, std::size_t bytes, Origin origin,
                    FrameSink& sink, TimePoint now);
    /// A frame of another kind: passes what waits for the window.
    Posted control(ControlFrame&& frame, FrameSink& sink, TimePoint now);
    /// WINDOW with this token, which the other end's MARK had.
    SendResult report(std::uint64_t token, FrameSink& sink, TimePoint now);
    /// WINDOW has come. False: no MARK with this token is unanswered.
    bool consumed(std::uint64_t token, TimePoint now);
    /// Sends what may go now. `left` gets the origins of frames that had to wait.
    SendResult flush(FrameSink& sink, TimePoint now, std::vector<Left>& left);

    /// A new connection: nothing is under way, estimates start again, what waits is dropped.
    void reset(std::vector<Left>& left);
    /// A new session on the connection that is there: what waits is dropped, but what was sent is
    /// still on its way, and MARKs are still to be answered.
    void begin_session(std::vector<Left>& left);
    void drop_run(const RunId& run, std::vector<Left>& left);
    /// Drops REQUEST and REPLY frames that wait; the session goes on.
    void drop_data(std::vector<Left>& left);
    /// Whether no more may be under way than keeps the line busy, so that the machine has time for
    /// others.
    void narrow(bool on) noexcept { narrow_ = on; }

    // -- properties ------------------------------------------------------------
    [[nodiscard]] std::uint64_t window_bytes() const noexcept { return window_; }
    [[nodiscard]] std::uint64_t in_flight_bytes() const noexcept {
        return sent_.bytes - consumed_.bytes;
    }
    [[nodiscard]] std::uint64_t consumed_bytes() const noexcept { return consumed_.bytes; }
    /// REQUEST and REPLY bytes that wait, and what their frames cost in memory.
    [[nodiscard]] std::uint64_t queued_bytes() const noexcept { return queued_; }
    [[nodiscard]] std::uint64_t queued_cost() const noexcept {
        return queued_ + queued_frames_ * waiting_frame_bytes;
    }
    [[nodiscard]] std::size_t queued_controls() const noexcept { return control_.frames(); }
    [[nodiscard]] bool waiting() const noexcept {
        return queued_ > 0 || !control_.empty() || report_ != 0 || mark_due();
    }
    /// Something waits for the transport, not for the window: try `flush` again soon.
    /// Never true when nothing waits: a deadline for a `flush` that has nothing to do would spin.
    [[nodiscard]] bool blocked() const noexcept { return blocked_ && waiting(); }

  private:
    struct Entry {
        Frame frame;
        std::size_t bytes = 0;
        Origin origin;
    };
    struct RunQueue {
        std::deque<Entry> entries;
        std::uint64_t deficit = 0;
    };

    [[nodiscard]] std::uint64_t data_window() const noexcept {
        return narrow_ ? std::max(std::min(bulk_beside_bytes, window_min_), line_) : window_;
    }
    [[nodiscard]] bool data_may_go() const noexcept { return in_flight_bytes() < data_window(); }
    [[nodiscard]] bool control_may_go() const noexcept {
        return in_flight_bytes() < window_ + control_allowance_;
    }
    [[nodiscard]] bool report_may_go() const noexcept {
        return in_flight_bytes() < window_ + control_allowance_ + report_allowance_bytes;
    }
    [[nodiscard]] bool mark_due() const noexcept { return sent_.bytes - marked_ >= mark_every_; }
    SendResult send_mark(FrameSink& sink);
    SendResult send_report(FrameSink& sink, TimePoint now);
    SendResult flush_control(FrameSink& sink, TimePoint now);
    SendResult flush_run(const RunId& run, FrameSink& sink, TimePoint now, std::vector<Left>& left);
    [[nodiscard]] Frame bare(Kind kind, std::uint64_t token) const;
    void count_sent(std::size_t bytes, TimePoint now);
    void measure(TimePoint now);
    void drop(RunQueue& queue, std::vector<Left>& left);
    void forget_connection();

    MarkTokens* tokens_;
    HopEnds ends_;
    std::uint64_t mark_every_;
    std::uint64_t control_allowance_;
    ControlQueue control_;
    std::uint64_t report_ = 0;  ///< token of the WINDOW that waits; 0: none
    std::map<RunId, RunQueue> queues_;
    std::deque<RunId> round_;  ///< runs with a queue, in the order in which they are served
    bool served_ = false;      ///< the first of them has its quantum of this turn already
    std::uint64_t queued_ = 0;
    std::uint64_t queued_frames_ = 0;
    bool blocked_ = false;

    Marks marks_;
    Marks::Position sent_;      ///< on this connection, all kinds
    Marks::Position consumed_;  ///< of them, proved to be read
    std::uint64_t marked_ = 0;  ///< bytes up to the last MARK
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

}  // namespace vflbus::bus
