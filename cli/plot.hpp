#pragma once
// Curves in a terminal: one character per cell, one mark per curve.

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace vflbus::cli {

struct Curve {
    std::string name;
    std::vector<std::pair<double, double>> points;  ///< x ascending; y finite
};

/// The curves over a common range, with the range at the axes and a legend, `width` columns and
/// `height` lines for the field. Empty when no curve has a point.
std::string plot(const std::vector<Curve>& curves, const std::string& x_title,
                 const std::string& y_title, std::size_t width, std::size_t height);

}  // namespace vflbus::cli
