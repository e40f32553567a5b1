#include "bus/core/under_way.hpp"

#include <algorithm>
#include <chrono>

#include "base/assert.hpp"
#include "bus/wire/header.hpp"

namespace vflbus::bus {

UnderWay::UnderWay(const Limits& limits) noexcept
    : UnderWay(limits.hop_window, std::max(limits.hop_window, limits.hop_window_max)) {}

void UnderWay::sent(std::size_t bytes, TimePoint now) {
    if (!measuring_) {
        measuring_ = true;
        limited_ = false;
        start_ = now;
        from_ = consumed_.bytes;
        until_ = sent_.bytes + bytes;
    }
    sent_.bytes += bytes;
    ++sent_.frames;
}

void UnderWay::sent_report(std::size_t bytes, TimePoint now) {
    sent(bytes, now);
    sent_.reports += bytes;
}

void UnderWay::sent_mark(std::uint64_t token) {
    sent_.bytes += header_bytes;
    ++sent_.frames;
    marked_ = sent_.bytes;
    marks_.sent(token, sent_);
}

bool UnderWay::consumed(std::uint64_t token, TimePoint now) {
    const auto position = marks_.answered(token);
    if (!position) return false;
    VFLBUS_ASSERT(consumed_.bytes <= position->bytes && position->bytes <= sent_.bytes,
                  "MARKs are answered in the order in which they were sent");
    consumed_ = *position;
    if (measuring_ && consumed_.bytes >= until_) measure(now);
    return true;
}

/// The window is twice the bandwidth-delay product. It grows only when it has held something back.
void UnderWay::measure(TimePoint now) {
    measuring_ = false;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    if (seconds <= 0) return;
    rtt_min_s_ = rtt_min_s_ == 0 ? seconds : std::min(rtt_min_s_, seconds);
    rates_[rate_next_++ % rates_.size()] = static_cast<double>(consumed_.bytes - from_) / seconds;
    if (!limited_) return;
    const double rate = *std::max_element(rates_.begin(), rates_.end());
    line_ = std::min(static_cast<std::uint64_t>(rate * rtt_min_s_), window_max_);
    window_ =
        std::clamp(static_cast<std::uint64_t>(2 * rate * rtt_min_s_), window_min_, window_max_);
}

}  // namespace vflbus::bus
