#include "plot.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "observe/table.hpp"

namespace vflbus::cli {
namespace {

constexpr std::string_view marks = "*o+x#@%&";

struct Range {
    double low = std::numeric_limits<double>::infinity();
    double high = -std::numeric_limits<double>::infinity();
    void take(double value) {
        low = std::min(low, value);
        high = std::max(high, value);
    }
    /// 0 to 1; a range of one value has everything in its middle.
    [[nodiscard]] double share(double value) const {
        return high > low ? (value - low) / (high - low) : 0.5;
    }
};

std::size_t cell(double share, std::size_t cells) {
    const double at = std::floor(share * static_cast<double>(cells));
    return std::min(cells - 1, static_cast<std::size_t>(std::max(0.0, at)));
}

std::string whole(double value) {
    return observe::grouped(static_cast<std::uint64_t>(std::max(0.0, value)));
}

}  // namespace

std::string plot(const std::vector<Curve>& curves, const std::string& x_title,
                 const std::string& y_title, std::size_t width, std::size_t height) {
    Range x;
    Range y;
    for (const Curve& curve : curves)
        for (const auto& [at, value] : curve.points) {
            x.take(at);
            y.take(value);
        }
    if (x.low > x.high || height == 0) return {};
    const std::string high = observe::metric_text(y.high);
    const std::string low = observe::metric_text(y.low);
    const std::size_t margin = std::max(high.size(), low.size()) + 1;
    const std::size_t columns = width > margin + 12 ? width - margin - 1 : 10;
    std::vector<std::string> field(height, std::string(columns, ' '));
    for (std::size_t i = 0; i < curves.size(); ++i)
        for (const auto& [at, value] : curves[i].points)
            field[height - 1 - cell(y.share(value), height)][cell(x.share(at), columns)] =
                marks[i % marks.size()];
    std::string out = y_title + "\n";
    for (std::size_t line = 0; line < height; ++line) {
        const std::string& label = line == 0 ? high : line + 1 == height ? low : std::string();
        out += std::string(margin - label.size() - 1, ' ') + label + " |" + field[line];
        out.erase(out.find_last_not_of(' ') + 1);
        out += '\n';
    }
    out += std::string(margin, ' ') + '+' + std::string(columns, '-') + '\n';
    const std::string first = whole(x.low);
    const std::string last = whole(x.high) + " " + x_title;
    out += std::string(margin + 1, ' ') + first;
    if (columns > first.size() + last.size())
        out += std::string(columns - first.size() - last.size(), ' ');
    else
        out += ' ';
    out += last + '\n';
    for (std::size_t i = 0; i < curves.size(); ++i)
        out += std::string(1, marks[i % marks.size()]) + " " + curves[i].name + '\n';
    return out;
}

}  // namespace vflbus::cli
