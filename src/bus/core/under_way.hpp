#pragma once
// What was sent on one connection, and the other end has not proved to have read:
// docs/protocol.md, section 7, "On a hop".
//
// The problem: what is under way lies in ZeroMQ's pipe and in the kernel, which belong to the
// connection and to nobody else. A session ends sooner: a node says BYE and HELLO again, another
// process takes its name over, or the same connection says HELLO under another name. If the counts
// ended with the session, a node that reads nothing would get another window's worth of memory with
// each BYE. So they stand in an object of their own, which the broker hands on to whoever speaks on
// the connection next, and which ends with the connection.
//
// It counts, finds which MARK a WINDOW answers, and measures the line. It sends nothing: HopSender
// does, which owns the one of its connection.

#include <array>
#include <cstdint>

#include "base/clock.hpp"
#include "bus/core/limits.hpp"
#include "bus/core/marks.hpp"

namespace vflbus::bus {

class UnderWay {
  public:
    explicit UnderWay(const Limits& limits) noexcept;
    /// That of a new connection, within the same limits.
    [[nodiscard]] UnderWay fresh() const noexcept { return UnderWay(window_min_, window_max_); }

    /// A frame was sent, of any kind but MARK.
    void sent(std::size_t bytes, TimePoint now);
    /// It was a WINDOW.
    void sent_report(std::size_t bytes, TimePoint now);
    /// A MARK with this token was sent, a header long.
    void sent_mark(std::uint64_t token);
    /// A WINDOW with this token has come. False: no MARK with this token is unanswered, and the
    /// WINDOW says nothing.
    bool consumed(std::uint64_t token, TimePoint now);
    /// The window has held something back; without that it is large enough, and does not grow.
    void held_back() noexcept { limited_ = true; }

    // -- properties ------------------------------------------------------------
    [[nodiscard]] std::uint64_t bytes() const noexcept { return sent_.bytes - consumed_.bytes; }
    [[nodiscard]] std::uint64_t frames() const noexcept { return sent_.frames - consumed_.frames; }
    /// Bytes of WINDOW frames.
    [[nodiscard]] std::uint64_t reports() const noexcept {
        return sent_.reports - consumed_.reports;
    }
    /// Bytes that were sent after the last MARK.
    [[nodiscard]] std::uint64_t unmarked() const noexcept { return sent_.bytes - marked_; }
    /// All bytes that were ever proved to be read.
    [[nodiscard]] std::uint64_t consumed_bytes() const noexcept { return consumed_.bytes; }
    /// Twice the bandwidth-delay product, within the limits.
    [[nodiscard]] std::uint64_t window() const noexcept { return window_; }
    [[nodiscard]] std::uint64_t window_min() const noexcept { return window_min_; }
    /// Bandwidth times delay; 0: not known yet.
    [[nodiscard]] std::uint64_t line() const noexcept { return line_; }

  private:
    UnderWay(std::uint64_t window_min, std::uint64_t window_max) noexcept
        : window_(window_min), window_min_(window_min), window_max_(window_max) {}
    void measure(TimePoint now);

    Marks marks_;
    Marks::Position sent_;      ///< all kinds
    Marks::Position consumed_;  ///< of them, proved to be read
    std::uint64_t marked_ = 0;  ///< bytes up to the last MARK
    std::uint64_t window_;
    std::uint64_t window_min_;
    std::uint64_t window_max_;
    std::uint64_t line_ = 0;

    // One measurement at a time: when were the bytes up to `until_` sent, and what was consumed
    // then.
    bool measuring_ = false;
    bool limited_ = false;  ///< the window held something back during this measurement
    std::uint64_t until_ = 0;
    std::uint64_t from_ = 0;
    TimePoint start_{};
    double rtt_min_s_ = 0;
    std::array<double, 8> rates_{};  ///< bytes/s of the last measurements
    std::size_t rate_next_ = 0;
};

}  // namespace vflbus::bus
