#include "bus/core/flow.hpp"

#include <algorithm>
#include <utility>

namespace vflbus::bus {

void HopSender::count_sent(std::size_t bytes, TimePoint now) {
    if (!probing_) {
        probing_ = true;
        limited_ = false;
        probe_start_ = now;
        probe_from_ = consumed_;
        probe_until_ = sent_ + bytes;
    }
    sent_ += bytes;
}

SendResult HopSender::data(const RunId& run, Frame&& frame, std::size_t bytes, Origin origin,
                           FrameSink& sink, TimePoint now) {
    if (queued_ == 0 && control_.empty() && open()) {
        const SendResult result = sink.send(frame);
        if (result == SendResult::ok) count_sent(bytes, now);
        if (result != SendResult::full) return result;
        blocked_ = true;
    } else if (!open()) {
        limited_ = true;
    }
    Lane& lane = lanes_[run];
    if (lane.entries.empty()) {
        lane.deficit = 0;
        round_.push_back(run);
    }
    lane.entries.push_back({std::move(frame), bytes, origin});
    queued_ += bytes;
    return SendResult::full;
}

SendResult HopSender::control(Frame&& frame, FrameSink& sink, std::size_t waiting_frames_max,
                              std::uint64_t waiting_bytes_max) {
    if (control_.empty()) {
        const SendResult result = sink.send(frame);
        if (result != SendResult::full) return result;
    }
    const std::size_t bytes = frame.size();
    if (control_.size() >= waiting_frames_max || control_bytes_ + bytes > waiting_bytes_max)
        return SendResult::gone;
    blocked_ = true;
    control_bytes_ += bytes;
    control_.push_back(std::move(frame));
    return SendResult::full;
}

bool HopSender::consumed(std::uint64_t total, TimePoint now) {
    if (total < consumed_ || total > sent_) return false;
    consumed_ = total;
    if (!probing_ || total < probe_until_) return true;
    probing_ = false;
    const double seconds = std::chrono::duration<double>(now - probe_start_).count();
    if (seconds <= 0) return true;
    rtt_min_s_ = rtt_min_s_ == 0 ? seconds : std::min(rtt_min_s_, seconds);
    rates_[rate_next_++ % rates_.size()] = static_cast<double>(total - probe_from_) / seconds;
    if (limited_) {
        const double rate = *std::max_element(rates_.begin(), rates_.end());
        line_ = std::min(static_cast<std::uint64_t>(rate * rtt_min_s_), window_max_);
        window_ =
            std::clamp(static_cast<std::uint64_t>(2 * rate * rtt_min_s_), window_min_, window_max_);
    }
    return true;
}

SendResult HopSender::flush(FrameSink& sink, TimePoint now, std::vector<Left>& left) {
    blocked_ = false;
    while (!control_.empty()) {
        const std::size_t bytes = control_.front().size();
        const SendResult result = sink.send(control_.front());
        if (result == SendResult::full) {
            blocked_ = true;
            return result;
        }
        if (result == SendResult::gone) return result;
        control_bytes_ -= bytes;
        control_.pop_front();
    }
    // deficit round robin over the runs that wait
    while (!round_.empty()) {
        if (!open()) {
            limited_ = true;
            return SendResult::full;
        }
        const RunId run = round_.front();
        Lane& lane = lanes_[run];
        // a turn that the window or the transport cut short goes on later, without a second quantum
        if (!std::exchange(served_, true)) lane.deficit += drr_quantum_bytes;
        while (!lane.entries.empty()) {
            Entry& entry = lane.entries.front();
            const std::size_t bytes = entry.bytes;
            if (lane.deficit < bytes) break;
            if (!open()) {
                limited_ = true;
                return SendResult::full;
            }
            const SendResult result = sink.send(entry.frame);
            if (result == SendResult::full) blocked_ = true;
            if (result != SendResult::ok) return result;
            lane.deficit -= bytes;
            queued_ -= bytes;
            count_sent(bytes, now);
            if (entry.origin.session != 0) left.push_back({entry.origin, bytes});
            lane.entries.pop_front();
        }
        round_.pop_front();
        served_ = false;
        if (lane.entries.empty())
            lanes_.erase(run);
        else
            round_.push_back(run);
    }
    return SendResult::ok;
}

void HopSender::drop(Lane& lane, std::vector<Left>& left) {
    for (const Entry& entry : lane.entries) {
        queued_ -= entry.bytes;
        if (entry.origin.session != 0) left.push_back({entry.origin, entry.bytes});
    }
}

void HopSender::drop_all(std::vector<Left>& left) {
    for (auto& [run, lane] : lanes_) drop(lane, left);
    lanes_.clear();
    round_.clear();
    served_ = false;
    blocked_ = blocked_ && waiting();  // nobody tries again for nothing
}

void HopSender::reset(std::vector<Left>& left) {
    for (auto& [run, lane] : lanes_) drop(lane, left);
    *this = HopSender(window_min_, window_max_);
}

void HopSender::drop_run(const RunId& run, std::vector<Left>& left) {
    const auto found = lanes_.find(run);
    if (found == lanes_.end()) return;
    drop(found->second, left);
    lanes_.erase(found);
    if (!round_.empty() && round_.front() == run) served_ = false;
    std::erase(round_, run);
    blocked_ = blocked_ && waiting();
}

}  // namespace vflbus::bus
