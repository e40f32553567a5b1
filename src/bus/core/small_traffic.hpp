#pragma once
// Whether small messages share a node with bulk.
//
// What a machine does for a gigabyte of bulk is time that a small message of another run waits. So
// bulk is kept narrow while small messages of other runs are about: docs/protocol.md, section 7.

#include <chrono>
#include <cstdint>

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

  private:
    static constexpr Duration memory = std::chrono::milliseconds(50);
    RunId bulk_run_;
    TimePoint last_{};
};

}  // namespace vflbus::bus
