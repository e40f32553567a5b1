#include "observe/progress.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "observe/table.hpp"

namespace vflbus::observe {
namespace {

constexpr Duration sample_interval = std::chrono::milliseconds(500);
constexpr std::size_t samples_max = 10;

double seconds(Duration duration) {
    return std::chrono::duration<double>(duration).count();
}

std::string rate_text(double per_second) {
    if (per_second >= 100) return grouped(static_cast<std::uint64_t>(per_second + 0.5));
    return fmt::format("{:.1f}", per_second);
}

}  // namespace

Progress::Progress(Console& console, ProgressOptions options)
    : console_(console), options_(options) {}

Progress::~Progress() {
    abandon();
}

void Progress::update(const ProgressState& state, TimePoint now) {
    if (over_ || options_.quiet) return;
    if (!started_ || state.step < state_.step) {
        samples_.clear();
        first_ = {now, state.step};
        if (!started_) begun_ = shown_at_ = now;
        started_ = true;
    }
    const bool due = state.report && !console_.terminal();
    const Duration interval =
        console_.terminal() ? options_.live_interval : options_.plain_interval;
    // a metric is computed now and then only; between reports the last one stays on the line
    ProgressState next = state;
    if (std::isnan(next.metric) && !std::isnan(state_.metric)) {
        next.metric = state_.metric;
        next.metric_name = state_.metric_name;
    }
    if (std::isnan(next.loss)) next.loss = state_.loss;
    state_ = std::move(next);
    sample(now);
    const bool first_live = console_.terminal() && !shown_;
    if (!due && !first_live && now - shown_at_ < interval) return;

    shown_at_ = now;
    shown_step_ = state_.step;
    shown_ = true;
    if (console_.terminal())
        console_.live(line(now));
    else
        console_.line(line(now));
}

void Progress::finish(TimePoint now) {
    if (over_ || !started_) return;
    over_ = true;
    if (console_.terminal()) {
        console_.live(line(now));
        console_.end_live();
    } else if (!shown_ || shown_step_ != state_.step) {
        console_.line(line(now));
    }
}

void Progress::abandon() {
    if (over_) return;
    over_ = true;
    console_.live({});
}

void Progress::sample(TimePoint now) {
    if (!samples_.empty() && now - samples_.back().at < sample_interval) return;
    samples_.push_back({now, state_.step});
    if (samples_.size() > samples_max) samples_.pop_front();
}

double Progress::rate(TimePoint now) const {
    const Sample& since = over_ ? first_ : samples_.front();
    const double passed = seconds(now - since.at);
    return passed > 0 ? static_cast<double>(state_.step - since.step) / passed : 0;
}

/// The parts of the line from left to right. In a narrow window those of least use go first; how
/// far it is and how long it takes stay.
std::string Progress::line(TimePoint now) const {
    struct Part {
        std::string text;
        int use;  ///< the higher, the longer it stays
    };
    std::vector<Part> parts;
    if (state_.epoch > 0)
        parts.push_back({fmt::format("epoch {}/{}", state_.epoch, state_.epochs), 2});
    parts.push_back({state_.steps > 0 ? fmt::format("step {}/{}", state_.step, state_.steps)
                                      : fmt::format("step {}", state_.step),
                     5});
    if (!std::isnan(state_.loss)) parts.push_back({"loss " + metric_text(state_.loss), 3});
    if (!std::isnan(state_.metric))
        parts.push_back({fmt::format("{} {}", state_.metric_name, metric_text(state_.metric)), 4});
    const double per_second = rate(now);
    if (per_second > 0) parts.push_back({fmt::format("{} steps/s", rate_text(per_second)), 1});
    if (over_) {
        parts.push_back({"in " + human_seconds(seconds(now - begun_)), 6});
    } else if (per_second > 0 && state_.steps > state_.step) {
        const double left = static_cast<double>(state_.steps - state_.step) / per_second;
        parts.push_back({left < 60 ? fmt::format("{:.0f} s left", std::ceil(left))
                                   : fmt::format("{} left", human_seconds(left)),
                         6});
    }
    const std::size_t width = console_.terminal() ? console_.columns() - 1 : table_not_cut;
    for (;;) {
        std::string out;
        for (const Part& part : parts) out += (out.empty() ? "" : "  ") + part.text;
        if (display_width(out) <= width || parts.size() == 1) return out;
        parts.erase(std::ranges::min_element(parts, {}, &Part::use));
    }
}

}  // namespace vflbus::observe
