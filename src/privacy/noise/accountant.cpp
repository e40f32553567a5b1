#include "privacy/noise/accountant.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace vflbus::privacy {
namespace {

/// The epsilon of one order a = 1 + exp(x).
double epsilon_at(double x, double rho, double delta) {
    const double above = std::exp(x);
    const double order = 1 + above;
    return order * rho + std::log1p(-1 / order) - (std::log(delta) + std::log(order)) / above;
}

}  // namespace

double epsilon_of(double rho, double delta) noexcept {
    if (rho <= 0) return 0;
    if (!std::isfinite(rho)) return std::numeric_limits<double>::infinity();
    // falls and rises again: thirds, until no double lies between
    double low = -30;
    double high = 40;
    for (int round = 0; round < 300; ++round) {
        const double left = low + (high - low) / 3;
        const double right = high - (high - low) / 3;
        if (epsilon_at(left, rho, delta) < epsilon_at(right, rho, delta))
            high = right;
        else
            low = left;
    }
    return std::max(0.0, epsilon_at(low + (high - low) / 2, rho, delta));
}

}  // namespace vflbus::privacy
