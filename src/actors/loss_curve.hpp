#pragma once
// The training loss as a curve of some points, of solvers that take so many steps.
//
// The problem: a run that was asked for no metrics on the way should still show how its loss came
// down. The loss of one mini-batch is noise, and that of all rows costs a round trip. So a point is
// the mean loss of the batches since the point before, which costs nothing.
//
// What is summed up is part of a commit: a run that was killed has the same curve, bit for bit.

#include <cstdint>

namespace vflbus::actors {

/// Losses of the steps since the last point.
struct LossSum {
    double sum = 0;
    std::uint64_t steps = 0;
};

class LossCurve {
  public:
    static constexpr std::uint64_t points = 24;

    /// A training from step `first` of the run to step `end`.
    void begin(std::uint64_t first, std::uint64_t end) {
        first_ = last_ = first;
        end_ = end;
        sum_ = {};
    }
    /// The loss of step `step`, counted from 1; one that is told again counts once.
    void add(std::uint64_t step, double loss) {
        if (step <= last_) return;
        if (due(last_)) sum_ = {};
        sum_.sum += loss;
        ++sum_.steps;
        last_ = step;
    }
    /// Whether there is a point after `step` steps: `points` in all, evenly spread, or one for each
    /// step of a training that has fewer.
    [[nodiscard]] bool due(std::uint64_t step) const {
        if (step <= first_ || end_ <= first_) return false;
        const std::uint64_t steps = end_ - first_;
        const std::uint64_t done = step - first_;
        return done * points / steps != (done - 1) * points / steps;
    }
    [[nodiscard]] double mean() const {
        return sum_.steps == 0 ? 0 : sum_.sum / static_cast<double>(sum_.steps);
    }

    // -- commits ------------------------------------------------------------------------
    [[nodiscard]] const LossSum& sum() const noexcept { return sum_; }
    /// As after `step` steps, when `sum` was what it is.
    void restore(std::uint64_t step, const LossSum& sum) {
        last_ = step;
        sum_ = sum;
    }

  private:
    std::uint64_t first_ = 0;
    std::uint64_t end_ = 0;
    std::uint64_t last_ = 0;
    LossSum sum_;
};

}  // namespace vflbus::actors
