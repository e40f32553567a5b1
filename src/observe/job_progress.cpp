#include "observe/job_progress.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "observe/table.hpp"

namespace vflbus::observe {
namespace {

double seconds_of(Duration duration) {
    return std::chrono::duration<double>(duration).count();
}

std::string amount(std::uint64_t number, JobState::Unit unit) {
    return unit == JobState::Unit::bytes ? human_bytes(number) : grouped(number);
}

}  // namespace

std::string job_line(const JobState& state, Duration passed) {
    if (state.total == 0) return state.what + "  " + amount(state.done, state.unit);
    const std::uint64_t done = std::min(state.done, state.total);
    const double share = static_cast<double>(done) / static_cast<double>(state.total);
    std::string line = fmt::format("{}  {:.0f}%  {} of {}", state.what, std::floor(share * 100),
                                   amount(done, state.unit), amount(state.total, state.unit));
    if (done == 0) return line;
    const double left = seconds_of(passed) * (1 - share) / share;
    return line + "  " +
           (left < 60 ? fmt::format("{:.0f} s", std::ceil(left)) : human_seconds(left)) + " left";
}

void JobProgress::update(const JobState& state, TimePoint now) {
    if (options_.quiet) return;
    const std::lock_guard lock(mutex_);
    if (state.what != what_) {
        clear();
        what_ = state.what;
        begun_ = now;
        shown_at_ = {};
    }
    if (state.total != 0 && state.done >= state.total) return clear();
    const Duration since = shown_at_ == TimePoint{} ? now - begun_ : now - shown_at_;
    const Duration wait = shown_at_ == TimePoint{} ? options_.silent_for
                          : console_.terminal()    ? options_.live_interval
                                                   : options_.plain_interval;
    if (since < wait) return;
    shown_at_ = now;
    shown_ = true;
    const std::string line = job_line(state, now - begun_);
    if (console_.terminal())
        console_.live(line);
    else
        console_.line(line);
}

void JobProgress::end() {
    const std::lock_guard lock(mutex_);
    clear();
    what_.clear();
}

void JobProgress::clear() {
    if (shown_ && console_.terminal()) console_.live({});
    shown_ = false;
}

}  // namespace vflbus::observe
