#pragma once
// Whether small messages share a node with bulk.
//
// What a machine does for a gigabyte of bulk is time that a small message of another run waits. So
// bulk is kept narrow while small messages of other runs are about: docs/protocol.md, section 7.

#include <chrono>
#include <cstdint>
#include <utility>

#include "base/ids.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::bus {

class SmallTraffic {
  public:
    /// The bulk connection moves a body of this run.
    void bulk_moves(const RunId& run) noexcept { bulk_run_ = run; }
    /// A REQUEST or REPLY with a body of `body_bytes` passes on a first connection.
    void seen(const RunId& run, std::uint64_t body_bytes, TimePoint now) noexcept {
        if (body_bytes <= credit_free_bytes && run != bulk_run_) last_ = now;
    }
    /// Small messages of another run were seen a moment ago.
    [[nodiscard]] bool present(TimePoint now) const noexcept { return now - last_ < memory; }
    /// Whose body the bulk connection has moved last.
    [[nodiscard]] const RunId& bulk_run() const noexcept { return bulk_run_; }

    /// How long small messages count that were seen.
    static constexpr Duration memory = std::chrono::milliseconds(50);

  private:
    RunId bulk_run_;
    TimePoint last_{};
};

/// The same for all that passes a broker, whose nodes share its machine although they do not know
/// of each other: the small messages of a training to one node wait for what the broker encrypts
/// for another one.
class SmallTrafficOfAll {
  public:
    /// A REQUEST or REPLY with a body of `body_bytes` passes on a first connection.
    void seen(const RunId& run, std::uint64_t body_bytes, TimePoint now) noexcept {
        if (body_bytes > credit_free_bytes) return;
        if (run != run_) before_ = std::exchange(last_, now);
        run_ = run;
        last_ = now;
    }
    /// Small messages of another run than this one were seen a moment ago.
    [[nodiscard]] bool beside(const RunId& run, TimePoint now) const noexcept {
        return now - (run == run_ ? before_ : last_) < SmallTraffic::memory;
    }

  private:
    RunId run_;           ///< of the last small message
    TimePoint last_{};    ///< when that was
    TimePoint before_{};  ///< when the last one of any other run was, or earlier
};

}  // namespace vflbus::bus
