#include "models/line_search.hpp"

#include <algorithm>
#include <cmath>

namespace vflbus::models {

namespace {

constexpr double value_noise = 0x1p-46;  ///< of sums over many rows, relative

/// Where the slope would be 0 between two points if it were linear, kept off the ends.
double between(double low, double low_slope, double high, double high_slope) {
    const double width = high - low;
    const double share = low_slope / (low_slope - high_slope);
    return low + width * (std::isfinite(share) ? std::clamp(share, 0.1, 0.9) : 0.5);
}

}  // namespace

std::optional<double> wolfe_step(const LinePoint& start, const std::function<LinePoint(double)>& at,
                                 const WolfeConditions& conditions) {
    if (!(start.slope < 0) || !std::isfinite(start.value)) return std::nullopt;
    const double flat = -conditions.curvature * start.slope;
    const double noise = value_noise * std::abs(start.value);
    double low = 0;  // descends here
    double low_slope = start.slope;
    double high = 0;  // 0: not known; otherwise too far
    double high_slope = NAN;
    double length = 1;
    for (int i = 0; i < conditions.evaluations_max; ++i) {
        const LinePoint point = at(length);
        const bool finite = std::isfinite(point.value) && std::isfinite(point.slope);
        const bool fallen =
            finite && (point.value <= start.value + conditions.sufficient * length * start.slope ||
                       (point.value <= start.value + noise &&
                        point.slope <= (2 * conditions.sufficient - 1) * start.slope));
        if (fallen && std::abs(point.slope) <= flat) return length;
        if (!fallen || point.slope > 0) {
            high = length;
            high_slope = finite && point.slope > 0 ? point.slope : NAN;
        } else {
            low = length;
            low_slope = point.slope;
        }
        length = high == 0 ? 2 * low : between(low, low_slope, high, high_slope);
    }
    return std::nullopt;
}

}  // namespace vflbus::models
