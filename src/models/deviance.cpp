#include "models/deviance.hpp"

#include <cstddef>

#include "base/assert.hpp"
#include "models/math.hpp"

namespace vflbus::models {

double deviance_power(Task task, double tweedie) noexcept {
    return task == Task::poisson ? 1 : task == Task::gamma ? 2 : tweedie;
}

void HalfDeviance::at(std::span<const double> z, std::span<const double> y, std::span<double> loss,
                      std::span<double> slope) const {
    VFLBUS_ASSERT(z.size() == y.size() && loss.size() == z.size() && slope.size() == z.size(),
                  "one label, loss and slope for each score");
    const double up = 2 - power_;
    const double down = 1 - power_;
    for (std::size_t i = 0; i < z.size(); ++i) {
        slope[i] = up * z[i];
        loss[i] = down * z[i];
    }
    models::exp(slope, slope);  // mu^(2-p)
    models::exp(loss, loss);    // mu^(1-p)
    for (std::size_t i = 0; i < z.size(); ++i) {
        const double rising = slope[i];
        const double falling = y[i] == 0 ? 0 : y[i] * loss[i];
        slope[i] = rising - falling;
        if (power_ == 1)
            loss[i] = rising - y[i] * z[i];
        else if (power_ == 2)
            loss[i] = falling + z[i];
        else
            loss[i] = rising / up - falling / down;
    }
}

void HalfDeviance::curvature(std::span<const double> z, std::span<const double> y,
                             std::span<double> out) const {
    VFLBUS_ASSERT(z.size() == y.size() && out.size() == z.size(), "one label for each score");
    const double up = 2 - power_;
    const double down = 1 - power_;
    for (std::size_t i = 0; i < z.size(); ++i)
        out[i] = (power_ == 1 ? z[i] : power_ == 2 ? -z[i] : up * z[i]);
    models::exp(out, out);
    for (std::size_t i = 0; i < z.size(); ++i) {
        if (power_ == 1) continue;
        if (power_ == 2)
            out[i] *= y[i];
        else
            out[i] = up * out[i] - (y[i] == 0 ? 0 : down * y[i] * models::exp(down * z[i]));
    }
}

double HalfDeviance::scale(double mean) const noexcept {
    if (power_ == 1) return mean;
    if (power_ == 2) return 1;
    return mean == 0 ? 0 : models::exp((2 - power_) * models::log(mean));
}

double HalfDeviance::constant(double y) const noexcept {
    if (power_ == 1) return y == 0 ? 0 : y * models::log(y) - y;
    if (power_ == 2) return -models::log(y) - 1;
    return scale(y) / ((1 - power_) * (2 - power_));
}

double HalfDeviance::of(double y, double mean) const noexcept {
    if (power_ == 1) return mean - y + (y == 0 ? 0 : y * models::log(y / mean));
    if (power_ == 2) return y / mean - 1 - models::log(y / mean);
    const double rising = scale(mean);
    const double falling = y == 0 ? 0 : y * rising / mean;
    return rising / (2 - power_) - falling / (1 - power_) + constant(y);
}

}  // namespace vflbus::models
