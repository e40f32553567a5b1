#include "observers/trace_clocks.hpp"

#include <algorithm>
#include <limits>

namespace vflbus::observers {

double clock_offset(const TraceSpans& asked, const TraceSpans& worked) {
    double least = -std::numeric_limits<double>::infinity();
    double most = std::numeric_limits<double>::infinity();
    std::vector<double> middles;
    for (const auto& [name, inside] : worked) {
        const auto found = asked.find(name);
        if (found == asked.end() || found->second.size() != inside.size()) continue;
        for (std::size_t i = 0; i < inside.size(); ++i) {
            const double lower = found->second[i].begin - inside[i].begin;
            const double upper = found->second[i].end - inside[i].end;
            least = std::max(least, lower);
            most = std::min(most, upper);
            middles.push_back((lower + upper) / 2);
        }
    }
    if (middles.empty() || (least <= 0 && most >= 0)) return 0;
    if (least <= most) return (least + most) / 2;
    // a clock was set in between, or drifts: the median of the requests
    const auto middle = middles.begin() + static_cast<std::ptrdiff_t>(middles.size() / 2);
    std::nth_element(middles.begin(), middle, middles.end());
    return *middle;
}

}  // namespace vflbus::observers
