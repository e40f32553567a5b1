#pragma once
// How long a byte takes on the way to one member and back, by what its messages took.
//
// The problem: whether answers are worth packing (privacy/rlwe/plan.hpp) depends on the line to the
// member, which goes over a broker and which nobody has measured. A product goes with many bytes,
// and a step with few: what the one takes longer than the other, without the time of the member's
// calculation, is that of the bytes. The quickest messages count, since all else makes them slower.

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "base/clock.hpp"

namespace vflbus::actors::linear {

class LineMeter {
  public:
    /// Messages of each sort that are timed before anything is said.
    static constexpr std::size_t messages = 3;

    /// A product and its answer have so many bytes.
    void product(Duration took, std::size_t bytes);
    void step(Duration took);
    [[nodiscard]] bool ready() const noexcept {
        return steps_ >= messages && products_.size() >= messages;
    }
    /// Of a byte in milliseconds, when the member calculates for `compute_ms`; nothing while it is
    /// not known, and on a line on which bytes take no time that would be seen.
    [[nodiscard]] std::optional<double> ms_of_byte(double compute_ms) const;

  private:
    struct Product {
        double ms = 0;
        std::size_t bytes = 0;
    };
    std::vector<Product> products_;  ///< the first ones
    std::size_t steps_ = 0;
    double step_ms_ = 0;  ///< the least
};

/// Milliseconds of a transform of a polynomial modulo one prime on this machine, by the clock of
/// the run; where that stands still (in the simulation), what it is said to be.
double transform_ms(const std::function<TimePoint()>& now);

}  // namespace vflbus::actors::linear
