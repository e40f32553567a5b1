#include "observe/svg.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/text.hpp"

namespace vflbus::observe {
namespace {

constexpr double plot_width = 480;
constexpr double height = 300;
constexpr double left = 56;
constexpr double right = 12;
constexpr double top = 12;
constexpr double bottom = 44;
constexpr double legend_line = 16;
constexpr std::size_t colors = 6;

struct Range {
    double low = std::numeric_limits<double>::infinity();
    double high = -std::numeric_limits<double>::infinity();

    void take(double value) {
        low = std::min(low, value);
        high = std::max(high, value);
    }
    [[nodiscard]] bool empty() const { return low > high; }
};

bool drawn(const std::pair<double, double>& point) {
    return std::isfinite(point.first) && std::isfinite(point.second);
}

/// A distance between ticks that people count in: 1, 2 or 5 times a power of ten, with at most six
/// ticks in the range.
double tick_step(const Range& range) {
    const double rough = (range.high - range.low) / 5;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    for (const double digit : {1.0, 2.0, 5.0})
        if (digit * power >= rough) return digit * power;
    return 10 * power;
}

/// A range with some width, so that there is something to divide by.
Range widened(Range range, bool unit) {
    if (unit) return {0, 1};
    if (range.high > range.low) return range;
    const double around = range.low == 0 ? 1 : std::fabs(range.low) / 2;
    return {range.low - around, range.high + around};
}

std::string label_of(double value, double step) {
    if (std::fabs(value) < step / 1e6) value = 0;
    if (std::fabs(value) >= 1e6 || (value != 0 && step < 1e-4)) return fmt::format("{:.3g}", value);
    const int digits = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
    return fmt::format("{:.{}f}", value, digits);
}

/// Where a value lies in the picture.
class Scale {
  public:
    Scale(Range values, double from, double to) : values_(values), from_(from), to_(to) {}
    [[nodiscard]] double at(double value) const {
        return from_ + (value - values_.low) / (values_.high - values_.low) * (to_ - from_);
    }

  private:
    Range values_;
    double from_;
    double to_;
};

std::string frame(const SvgAxes& axes, const Range& xs, const Range& ys, const Scale& x,
                  const Scale& y) {
    std::string out;
    const double x_step = tick_step(xs), y_step = tick_step(ys);
    for (double t = std::ceil(xs.low / x_step) * x_step; t <= xs.high + x_step / 1e6; t += x_step)
        out += fmt::format(
            "<line class=\"grid\" x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\"/>"
            "<text class=\"tick\" x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>",
            x.at(t), top, height - bottom, height - bottom + 15, label_of(t, x_step));
    for (double t = std::ceil(ys.low / y_step) * y_step; t <= ys.high + y_step / 1e6; t += y_step)
        out += fmt::format(
            "<line class=\"grid\" x1=\"{1}\" y1=\"{0:.1f}\" x2=\"{2}\" y2=\"{0:.1f}\"/>"
            "<text class=\"tick\" x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>",
            y.at(t), left, plot_width - right, left - 5, y.at(t) + 4, label_of(t, y_step));
    out += fmt::format("<path class=\"axis\" d=\"M{0} {1}V{2}H{3}\"/>", left, top, height - bottom,
                       plot_width - right);
    out += fmt::format("<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                       (left + plot_width - right) / 2, height - bottom + 34, escaped_html(axes.x));
    out += fmt::format(
        "<text class=\"tick\" transform=\"translate(12 {}) rotate(-90)\" "
        "text-anchor=\"middle\">{}</text>",
        (top + height - bottom) / 2, escaped_html(axes.y));
    return out;
}

std::string curve(const SvgSeries& series, std::size_t color, const Scale& x, const Scale& y) {
    std::string path, dots;
    for (const auto& point : series.points) {
        if (!drawn(point)) continue;
        path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x.at(point.first),
                            y.at(point.second));
        if (series.marks)
            dots += fmt::format("<circle class=\"s{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>",
                                color, x.at(point.first), y.at(point.second));
    }
    return fmt::format("<path class=\"curve s{}{}\" d=\"{}\"/>{}", color,
                       series.dashed ? " dashed" : "", path, dots);
}

std::string opened(const std::string& title, double high) {
    return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", plot_width,
                       high, escaped_html(title));
}

}  // namespace

std::string svg_curves(const SvgAxes& axes, const std::vector<SvgSeries>& series) {
    Range xs, ys;
    for (const SvgSeries& one : series)
        for (const auto& point : one.points)
            if (drawn(point)) {
                xs.take(point.first);
                ys.take(point.second);
            }
    if (xs.empty()) return {};
    xs = widened(xs, axes.unit_x);
    ys = widened(ys, axes.unit_y);
    const Scale x(xs, left, plot_width - right);
    const Scale y(ys, height - bottom, top);
    std::string out = opened(axes.title, height + legend_line * static_cast<double>(series.size()));
    out += frame(axes, xs, ys, x, y);
    for (std::size_t i = 0; i < series.size(); ++i) {
        out += curve(series[i], i % colors, x, y);
        const double line = height + legend_line * static_cast<double>(i);
        out += fmt::format("<path class=\"curve s{}{}\" d=\"M{} {}h24\"/>", i % colors,
                           series[i].dashed ? " dashed" : "", left, line);
        out += fmt::format("<text class=\"tick\" x=\"{}\" y=\"{}\">{}</text>", left + 32, line + 4,
                           escaped_html(series[i].name));
    }
    return out + "</svg>";
}

std::string svg_bars(const std::string& title, const std::vector<SvgBar>& bars) {
    constexpr double names = 170, texts = 70, line = 22;
    Range range{0, 0};
    bool any = false;
    for (const SvgBar& bar : bars) {
        if (!std::isfinite(bar.value)) continue;
        any = true;
        range.take(bar.value);
    }
    if (!any) return {};
    range = widened(range, range.low == range.high);
    const Scale x(range, names, plot_width - texts);
    std::string out = opened(title, line * static_cast<double>(bars.size()) + 4);
    for (std::size_t i = 0; i < bars.size(); ++i) {
        const double y = line * static_cast<double>(i);
        const double value = std::isfinite(bars[i].value) ? bars[i].value : 0;
        const double begin = std::min(x.at(0), x.at(value));
        constexpr std::size_t name_max = 26;
        std::string name = printable(bars[i].name);
        if (name.size() > name_max) {
            std::size_t end = name_max;
            while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0U) == 0x80U) --end;
            name = name.substr(0, end) + "…";
        }
        out += fmt::format(
            "<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>"
            "<rect class=\"s0\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"14\"/>"
            "<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
            names - 8, y + 15, escaped_html(name), begin, y + 4,
            std::max(1.0, std::fabs(x.at(value) - x.at(0))), std::max(x.at(0), x.at(value)) + 6,
            y + 15, escaped_html(bars[i].text));
    }
    return out + "</svg>";
}

std::string escaped_html(std::string_view text) {
    std::string out;
    for (const char c : printable(text)) switch (c) {
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '&':
                out += "&amp;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                out += c;
        }
    return out;
}

}  // namespace vflbus::observe
