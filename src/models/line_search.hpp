#pragma once
// A step length for a convex function along a line.

#include <functional>
#include <optional>

namespace vflbus::models {

/// Value and slope of a function along a line at one point.
struct LinePoint {
    double value = 0;
    double slope = 0;
};

/// The strong Wolfe conditions of Nocedal and Wright (2006), section 3.1:
///
///   value(a) <= value(0) + sufficient * a * slope(0)     it has fallen enough
///   |slope(a)| <= curvature * |slope(0)|                 it is flat enough
///
/// Where values differ by rounding alone, the first one is judged by the slopes (Hager and Zhang
/// 2005, "approximate Wolfe"): slope(a) <= (2 sufficient - 1) slope(0).
struct WolfeConditions {
    double sufficient = 1e-4;
    double curvature = 0.9;
    int evaluations_max = 40;
};

/// A length that meets the conditions for a convex function, starting with 1; nothing when none is
/// found or slope(0) is not negative. The last call of `at` is at the length that is returned.
std::optional<double> wolfe_step(const LinePoint& start, const std::function<LinePoint(double)>& at,
                                 const WolfeConditions& conditions = {});

}  // namespace vflbus::models
