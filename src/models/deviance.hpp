#pragma once
// Losses of models with a log link, in which exp(score) is the mean of the label: counts (Poisson),
// positive amounts (gamma), and amounts that are often 0 (Tweedie).
//
// The problem: the squared error takes all misses of one size alike. A count of 2 where 12 were
// expected is worse than one of 990 where 1,000 were. These families know that the variance of a
// label grows with its mean, as mean^p: p = 1 for Poisson, 2 for gamma, between for Tweedie.
//
// With mu = exp(z) half the deviance of a row is (Jorgensen 1997; scikit-learn's
// mean_tweedie_deviance is twice its mean)
//
//   p = 1       mu - y z + y log y - y
//   p = 2       y / mu + z - log y - 1
//   1 < p < 2   mu^(2-p) / (2-p) - y mu^(1-p) / (1-p) + y^(2-p) / ((1-p) (2-p))
//
// and for all of them its derivative by z is mu^(2-p) - y mu^(1-p), which grows with z: the loss is
// convex.
//
// Exposure: a row that was watched for e years has e times the mean. Then the deviance of y at mean
// e mu is e^(2-p) times that of y / e at mean mu. So labels are divided by their exposure, rows are
// weighted by e^(2-p), and scores mean one year. It is the same model as one with log e as offset.

#include <span>

#include "base/task.hpp"

namespace vflbus::models {

class HalfDeviance {
  public:
    /// power: p, 1 to 2.
    explicit HalfDeviance(double power = 1) noexcept : power_(power) {}

    double power() const noexcept { return power_; }

    /// Of y_i at mean exp(z_i), without what does not depend on z: constant(y_i). slope: its
    /// derivative by z_i. All of one length.
    void at(std::span<const double> z, std::span<const double> y, std::span<double> loss,
            std::span<double> slope) const;
    /// The second derivative by z_i.
    void curvature(std::span<const double> z, std::span<const double> y,
                   std::span<double> out) const;
    double constant(double y) const noexcept;
    /// Of y at `mean` > 0, all of it.
    double of(double y, double mean) const noexcept;
    /// mean^(2-p): how the deviance grows with the unit of the label.
    double scale(double mean) const noexcept;

  private:
    double power_;
};

/// p of a task with a log link; `tweedie`: that of Task::tweedie.
double deviance_power(Task task, double tweedie) noexcept;

}  // namespace vflbus::models
