#pragma once
// Plots as SVG, for pages that need nothing from outside: a few curves over common axes, and bars.
//
// A page gives them their looks: classes "axis", "grid", "tick" and "title" of the frame, "s0" to
// "s5" of the series in their order. Sizes are of a view box 480 wide, so that a page may scale it.

#include <string>
#include <utility>
#include <vector>

namespace vflbus::observe {

struct SvgSeries {
    std::string name;
    std::vector<std::pair<double, double>>
        points;           ///< by x; those that are not finite are left out
    bool dashed = false;  ///< a line to compare with
    bool marks = false;   ///< a dot at each point
};

struct SvgAxes {
    std::string title;  ///< what the plot shows, for those who cannot see it
    std::string x;
    std::string y;
    bool unit_x = false;  ///< from 0 to 1, whatever the points
    bool unit_y = false;
};

/// Curves with their axes and a legend. Empty when no series has a point.
std::string svg_curves(const SvgAxes& axes, const std::vector<SvgSeries>& series);

struct SvgBar {
    std::string name;
    double value = 0;
    std::string text;  ///< what is written behind it
};
/// A bar for each value, from a common 0 on. Empty without a finite value.
std::string svg_bars(const std::string& title, const std::vector<SvgBar>& bars);

/// `text` with <, >, &, quotes and control characters made harmless in HTML and SVG.
std::string escaped_html(std::string_view text);

}  // namespace vflbus::observe
