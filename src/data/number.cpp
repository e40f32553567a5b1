#include "data/number.hpp"

#include <charconv>
#include <cmath>

namespace vflbus::data {

std::optional<double> parse_number(std::string_view text) noexcept {
    bool negative = false;
    if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
        negative = text.front() == '-';
        text.remove_prefix(1);
    }
    // from_chars would also take "inf" and "nan"
    if (text.empty() || !((text.front() >= '0' && text.front() <= '9') || text.front() == '.'))
        return std::nullopt;
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (end != text.data() + text.size()) return std::nullopt;
    if (error == std::errc::result_out_of_range) {
        // too small to tell from zero, or too large to hold: only the former is a number here
        const std::size_t e = text.find_first_of("eE");
        const bool small = e == std::string_view::npos ? text.find_first_not_of("0.") != 0
                                                       : e + 1 < text.size() && text[e + 1] == '-';
        if (!small) return std::nullopt;
        value = 0;
    } else if (error != std::errc{} || !std::isfinite(value)) {
        return std::nullopt;
    }
    return negative ? -value : value;
}

}  // namespace vflbus::data
