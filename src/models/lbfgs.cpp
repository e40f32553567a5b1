#include "models/lbfgs.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace vflbus::models {

Result<> validate(const LbfgsConfig& config) {
    if (!(config.l2 >= 0 && std::isfinite(config.l2)))
        return fail(Errc::bad_config,
                    "model.l2 = " + std::to_string(config.l2) + " must be 0 or more and finite.");
    if (!(config.tolerance > 0 && config.tolerance < 1))
        return fail(Errc::bad_config, "model.tolerance = " + std::to_string(config.tolerance) +
                                          " must be between 0 and 1.");
    if (config.max_iterations == 0)
        return fail(Errc::bad_config, "model.max_iterations = 0 must be 1 or more.");
    return {};
}

std::size_t lbfgs_memory(std::size_t rows, std::size_t outputs) noexcept {
    constexpr std::size_t budget = (std::size_t{128} << 20) / sizeof(double);
    constexpr std::size_t memory_min = 6;
    constexpr std::size_t memory_max = 30;
    const std::size_t vectors = budget / std::max<std::size_t>(1, rows * outputs);
    return std::clamp(vectors < 1 ? 0 : vectors - 1, memory_min, memory_max);
}

}  // namespace vflbus::models
