#pragma once
// The sending end of a hop: docs/protocol.md, section 7, "On a hop".
//
// The problem: what is in a ZeroMQ pipe can be neither counted in bytes nor reordered. So a sender
// puts only about a window of bytes into the pipe, and keeps the rest here, where it can still
// choose the order: control frames first, then REQUEST and REPLY frames, in one queue per run,
// served in turn. The WINDOWs that answer its MARKs prove how much the other end has read; what was
// sent and is not proved to be read is under way.
//
// A frame is sent when less than its level is under way, so one frame may cross the level:
//
//     REQUEST, REPLY   less than `window`
//     other kinds      less than `window` + 1 MiB
//     WINDOW           less than 128 KiB + `mark_every` of WINDOW frames, whatever else there is;
//                      of several that wait only the last is kept: it says what the others said
//     MARK             always, at once when `mark_every` bytes came after the last one; only a full
//                      transport delays it
//
// WINDOW has a level of its own. Example of what goes wrong if it shared that of other kinds: each
// of two ends sends a control frame of 1 MiB that crosses the level, or its window shrinks while
// much is under way. Both read everything, and each holds back the WINDOW for which the other one
// waits.
//
// Used by BrokerCore and LinkCore, which have one for each connection, on the one thread of their
// loop. The sink must not call back. After a method has returned `gone`, the connection is over.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "base/fifo.hpp"
#include "base/ids.hpp"
#include "bus/core/control_queue.hpp"
#include "bus/core/hop.hpp"
#include "bus/core/limits.hpp"
#include "bus/core/marks.hpp"
#include "bus/core/under_way.hpp"
#include "bus/wire/header.hpp"

namespace vflbus::bus {

/// What became of a control frame.
enum class Posted : std::uint8_t {
    sent,
    waits,    ///< it is sent by a later `flush`
    crowded,  ///< dropped: its sender has its share of the queue; who has sent it is told
    over,     ///< dropped: the queue is full, its reader takes nothing; the session is ended
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

    /// A REQUEST or REPLY frame is in the queue no longer: it was sent, or dropped. Its source has
    /// so much less waiting here.
    struct Left {
        Origin origin;
        std::size_t bytes = 0;
    };

    /// Takes a REQUEST or REPLY frame in any case. `ok`: it was sent, as the window is open and
    /// nothing waits before it. `full`: it waits in the queue of `run`, and nobody has to send it
    /// again. `gone`: it is dropped.
    SendResult data(const RunId& run, Frame&& frame, Origin origin, FrameSink& sink,
                    TimePoint now) {
        const std::size_t bytes = frame.size();
        return data(run, std::move(frame), bytes, origin, sink, now);
    }
    /// The same for a caller that knows the frame's size.
    SendResult data(const RunId& run, Frame&& frame, std::size_t bytes, Origin origin,
                    FrameSink& sink, TimePoint now);
    /// Takes a frame of another kind (not MARK, not WINDOW). It overtakes REQUEST and REPLY frames
    /// that wait, and no other control frame.
    Posted control(ControlFrame&& frame, FrameSink& sink, TimePoint now);
    /// All before the other end's MARK with this token was consumed: sends WINDOW, or keeps it
    /// until a `flush`.
    SendResult report(std::uint64_t token, FrameSink& sink, TimePoint now);
    /// A WINDOW with this token has come. True: more may go out, and `flush` is due. False: no MARK
    /// with this token is unanswered, and the WINDOW says nothing.
    bool consumed(std::uint64_t token, TimePoint now);
    /// Sends what may go now: MARK, WINDOW, control frames, then one run after the other. `left`
    /// gets one entry more for each data frame that leaves its queue, here and below. `full`:
    /// something still waits, for the other end or for the transport (`blocked`).
    SendResult flush(FrameSink& sink, TimePoint now, std::vector<Left>& left);

    /// A new connection: nothing is under way, estimates start again, what waits is dropped.
    void reset(std::vector<Left>& left);
    /// A new session on the connection that is there: what waits is dropped. What was sent is still
    /// on its way, and the other end will still answer the MARKs in it.
    void begin_session(std::vector<Left>& left);
    /// The connection lives on without this sender. What waits is dropped; what is under way there
    /// is returned, for whoever speaks on that connection next (`take_connection`).
    [[nodiscard]] UnderWay leave_connection(std::vector<Left>& left);
    /// A connection on which so much is under way already.
    void take_connection(UnderWay&& under_way, std::vector<Left>& left);
    /// Drops the REQUEST and REPLY frames of a run that wait.
    void drop_run(const RunId& run, std::vector<Left>& left);
    /// Drops those of one body, which begins again: of the run, term, kind, destination and number
    /// of this header. Example of what goes wrong without it: a peer's small frame, its JOIN or a
    /// request that it says again, has a body of 1 MiB begin again here. Said a thousand times
    /// while the window is closed, it makes a thousand copies wait.
    void drop_body(const Header& body, std::vector<Left>& left);
    /// Drops those of all runs, for a node that is lost; the session goes on.
    void drop_data(std::vector<Left>& left);
    /// While it is on, data may fill only the bandwidth-delay product (192 KiB at least) and not
    /// the whole window, so that small messages of other runs find the machine free.
    void narrow(bool on) noexcept { narrow_ = on; }

    // -- properties ------------------------------------------------------------
    [[nodiscard]] std::uint64_t window_bytes() const noexcept { return under_way_.window(); }
    [[nodiscard]] std::uint64_t in_flight_bytes() const noexcept { return under_way_.bytes(); }
    [[nodiscard]] std::uint64_t consumed_bytes() const noexcept {
        return under_way_.consumed_bytes();
    }
    /// REQUEST and REPLY bytes that wait, and what their frames cost in memory.
    [[nodiscard]] std::uint64_t queued_bytes() const noexcept { return queued_; }
    [[nodiscard]] std::uint64_t queued_cost() const noexcept {
        return queued_ + queued_frames_ * waiting_frame_bytes;
    }
    [[nodiscard]] std::size_t queued_controls() const noexcept { return control_.frames(); }
    [[nodiscard]] bool waiting() const noexcept {
        return queued_ > 0 || !control_.empty() || report_ != 0 || mark_due();
    }
    /// The transport has refused a frame, and no WINDOW will wake us: `flush` has to be called
    /// again after a moment. Never true when nothing waits, or that timer would never end.
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
        return narrow_ ? std::max(std::min(bulk_beside_bytes, under_way_.window_min()),
                                  under_way_.line())
                       : under_way_.window();
    }
    [[nodiscard]] bool data_may_go() const noexcept { return in_flight_bytes() < data_window(); }
    [[nodiscard]] bool control_may_go() const noexcept {
        return in_flight_bytes() < window_bytes() + control_allowance_;
    }
    [[nodiscard]] bool report_may_go() const noexcept {
        // a MARK may come `mark_every` bytes after the reports that it proves to be read
        return under_way_.reports() < report_allowance_bytes + mark_every_;
    }
    [[nodiscard]] bool mark_due() const noexcept { return under_way_.unmarked() >= mark_every_; }
    SendResult send_mark(FrameSink& sink);
    SendResult send_report(FrameSink& sink, TimePoint now);
    SendResult flush_control(FrameSink& sink, TimePoint now);
    SendResult flush_run(const RunId& run, FrameSink& sink, TimePoint now, std::vector<Left>& left);
    [[nodiscard]] Frame bare(Kind kind, std::uint64_t token) const;
    void drop(RunQueue& queue, std::vector<Left>& left);

    MarkTokens* tokens_;
    HopEnds ends_;
    std::uint64_t mark_every_;
    std::uint64_t control_allowance_;
    ControlQueue control_;
    std::uint64_t report_ = 0;  ///< token of the WINDOW that waits; 0: none
    std::map<RunId, RunQueue> queues_;
    Fifo<RunId> round_;    ///< runs with a queue, in the order in which they are served
    bool served_ = false;  ///< the first of them has its quantum of this turn already
    std::uint64_t queued_ = 0;
    std::uint64_t queued_frames_ = 0;
    bool blocked_ = false;

    UnderWay under_way_;
    bool narrow_ = false;
};

}  // namespace vflbus::bus
