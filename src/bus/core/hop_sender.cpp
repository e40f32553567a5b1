#include "bus/core/hop_sender.hpp"

#include <utility>

#include "base/assert.hpp"
#include "bus/wire/frame.hpp"

namespace vflbus::bus {

HopSender::HopSender(MarkTokens& tokens, HopEnds ends, const Limits& limits,
                     std::uint64_t mark_every, const ControlLimits& control) noexcept
    : tokens_(&tokens),
      ends_(ends),
      mark_every_(mark_every),
      control_allowance_(limits.control_allowance),
      control_(control),
      window_(limits.hop_window),
      window_min_(limits.hop_window),
      window_max_(std::max(limits.hop_window, limits.hop_window_max)) {
    VFLBUS_ASSERT(2 * mark_every <= limits.hop_window, "a window has a MARK before it is used up");
}

// -- out at once, or into a queue ------------------------------------------------

SendResult HopSender::data(const RunId& run, Frame&& frame, std::size_t bytes, Origin origin,
                           FrameSink& sink, TimePoint now) {
    if (queued_ == 0 && control_.empty() && data_may_go()) {
        if (sent_.frames - consumed_.frames >= shared_frames_max) frame = compact(std::move(frame));
        const SendResult result = sink.send(frame);
        if (result == SendResult::ok) {
            count_sent(bytes, now);
            if (mark_due()) return send_mark(sink) == SendResult::gone ? SendResult::gone : result;
            return result;
        }
        if (result == SendResult::gone) return result;
        blocked_ = true;
    } else if (!data_may_go()) {
        limited_ = true;
    }
    RunQueue& queue = queues_[run];
    if (queue.entries.empty()) {
        queue.deficit = 0;
        round_.push_back(run);
    }
    queue.entries.push_back({compact(std::move(frame)), bytes, origin});
    queued_ += bytes;
    ++queued_frames_;
    return SendResult::full;
}

Posted HopSender::control(ControlFrame&& frame, FrameSink& sink, TimePoint now) {
    if (control_.empty() && control_may_go()) {
        const std::size_t bytes = frame.frame.size();
        const SendResult result = sink.send(frame.frame);
        if (result == SendResult::ok) {
            count_sent(bytes, now);
            if (mark_due() && send_mark(sink) == SendResult::gone) return Posted::gone;
            return Posted::sent;
        }
        if (result == SendResult::gone) return Posted::gone;
        blocked_ = true;
    }
    switch (control_.add(std::move(frame))) {
        case ControlQueue::Added::crowded:
            return Posted::crowded;
        case ControlQueue::Added::over:
            return Posted::over;
        case ControlQueue::Added::waits:
            break;
    }
    return Posted::waits;
}

Frame HopSender::bare(Kind kind, std::uint64_t token) const {
    Header header;
    header.kind = kind;
    header.src = ends_.self;
    header.dst = ends_.other;
    header.aux = token;
    return {encoded(header), {}};
}

SendResult HopSender::report(std::uint64_t token, FrameSink& sink, TimePoint now) {
    VFLBUS_ASSERT(token != 0, "a MARK has a token");
    report_ = token;
    return send_report(sink, now);
}

SendResult HopSender::send_report(FrameSink& sink, TimePoint now) {
    if (report_ == 0 || !report_may_go()) return SendResult::ok;
    Frame frame = bare(Kind::window, report_);
    const SendResult result = sink.send(frame);
    if (result == SendResult::full) blocked_ = true;
    if (result != SendResult::ok) return result;
    report_ = 0;
    count_sent(header_bytes, now);
    sent_.reports += header_bytes;
    return mark_due() ? send_mark(sink) : result;
}

SendResult HopSender::send_mark(FrameSink& sink) {
    const std::uint64_t token = tokens_->next();
    Frame frame = bare(Kind::mark, token);
    const SendResult result = sink.send(frame);
    if (result == SendResult::full) blocked_ = true;
    if (result != SendResult::ok) return result;
    sent_.bytes += header_bytes;
    ++sent_.frames;
    marked_ = sent_.bytes;
    marks_.sent(token, sent_);
    return result;
}

// -- what is known of the line -----------------------------------------------------

void HopSender::count_sent(std::size_t bytes, TimePoint now) {
    if (!probing_) {
        probing_ = true;
        limited_ = false;
        probe_start_ = now;
        probe_from_ = consumed_.bytes;
        probe_until_ = sent_.bytes + bytes;
    }
    sent_.bytes += bytes;
    ++sent_.frames;
}

bool HopSender::consumed(std::uint64_t token, TimePoint now) {
    const auto position = marks_.answered(token);
    if (!position) return false;
    VFLBUS_ASSERT(consumed_.bytes <= position->bytes && position->bytes <= sent_.bytes,
                  "MARKs are answered in the order in which they were sent");
    consumed_ = *position;
    if (probing_ && consumed_.bytes >= probe_until_) measure(now);
    return true;
}

/// The window is twice the bandwidth-delay product. It grows only when it has held something back.
void HopSender::measure(TimePoint now) {
    probing_ = false;
    const double seconds = std::chrono::duration<double>(now - probe_start_).count();
    if (seconds <= 0) return;
    rtt_min_s_ = rtt_min_s_ == 0 ? seconds : std::min(rtt_min_s_, seconds);
    rates_[rate_next_++ % rates_.size()] =
        static_cast<double>(consumed_.bytes - probe_from_) / seconds;
    if (!limited_) return;
    const double rate = *std::max_element(rates_.begin(), rates_.end());
    line_ = std::min(static_cast<std::uint64_t>(rate * rtt_min_s_), window_max_);
    window_ =
        std::clamp(static_cast<std::uint64_t>(2 * rate * rtt_min_s_), window_min_, window_max_);
}

// -- what waits --------------------------------------------------------------------

SendResult HopSender::flush(FrameSink& sink, TimePoint now, std::vector<Left>& left) {
    blocked_ = false;
    if (mark_due())
        if (const SendResult result = send_mark(sink); result != SendResult::ok) return result;
    if (const SendResult result = send_report(sink, now); result != SendResult::ok) return result;
    if (const SendResult result = flush_control(sink, now); result != SendResult::ok) return result;
    if (!control_.empty()) return SendResult::full;  // what waits for the same WINDOW comes later
    // deficit round robin over the runs that wait
    while (!round_.empty()) {
        const RunId run = round_.front();
        const SendResult result = flush_run(run, sink, now, left);
        if (result != SendResult::ok) return result;
        round_.pop_front();
        served_ = false;
        if (queues_.at(run).entries.empty())
            queues_.erase(run);
        else
            round_.push_back(run);
    }
    return SendResult::ok;
}

SendResult HopSender::flush_control(FrameSink& sink, TimePoint now) {
    while (!control_.empty() && control_may_go()) {
        Frame& frame = control_.front();
        const std::size_t bytes = frame.size();
        const SendResult result = sink.send(frame);
        if (result == SendResult::full) blocked_ = true;
        if (result != SendResult::ok) return result;
        control_.pop();
        count_sent(bytes, now);
        if (mark_due())
            if (const SendResult marked = send_mark(sink); marked != SendResult::ok) return marked;
    }
    return SendResult::ok;
}

/// One turn of a run. `ok`: the turn is over, other results: it goes on later.
SendResult HopSender::flush_run(const RunId& run, FrameSink& sink, TimePoint now,
                                std::vector<Left>& left) {
    RunQueue& queue = queues_.at(run);
    if (!data_may_go()) {
        limited_ = true;
        return SendResult::full;
    }
    // a turn that the window or the transport cut short goes on later, without a second quantum
    if (!std::exchange(served_, true)) queue.deficit += drr_quantum_bytes;
    while (!queue.entries.empty()) {
        Entry& entry = queue.entries.front();
        const std::size_t bytes = entry.bytes;
        if (queue.deficit < bytes) break;
        if (!data_may_go()) {
            limited_ = true;
            return SendResult::full;
        }
        const SendResult result = sink.send(entry.frame);
        if (result == SendResult::full) blocked_ = true;
        if (result != SendResult::ok) return result;
        queue.deficit -= bytes;
        queued_ -= bytes;
        --queued_frames_;
        count_sent(bytes, now);
        if (entry.origin.session != 0) left.push_back({entry.origin, bytes});
        queue.entries.pop_front();
        if (mark_due())
            if (const SendResult marked = send_mark(sink); marked != SendResult::ok) return marked;
    }
    return SendResult::ok;
}

// -- what is dropped -----------------------------------------------------------------

void HopSender::drop(RunQueue& queue, std::vector<Left>& left) {
    for (const Entry& entry : queue.entries) {
        queued_ -= entry.bytes;
        --queued_frames_;
        if (entry.origin.session != 0) left.push_back({entry.origin, entry.bytes});
    }
}

void HopSender::drop_data(std::vector<Left>& left) {
    for (auto& [run, queue] : queues_) drop(queue, left);
    queues_.clear();
    round_.clear();
    served_ = false;
    blocked_ = blocked_ && waiting();  // or a deadline would come for nothing
}

void HopSender::drop_run(const RunId& run, std::vector<Left>& left) {
    const auto found = queues_.find(run);
    if (found == queues_.end()) return;
    drop(found->second, left);
    queues_.erase(found);
    if (!round_.empty() && round_.front() == run) served_ = false;
    std::erase(round_, run);
    blocked_ = blocked_ && waiting();
}

void HopSender::begin_session(std::vector<Left>& left) {
    control_.clear();
    report_ = 0;
    drop_data(left);
}

void HopSender::reset(std::vector<Left>& left) {
    begin_session(left);
    blocked_ = false;
    marks_.clear();
    sent_ = consumed_ = {};
    marked_ = 0;
    window_ = window_min_;
    line_ = 0;
    narrow_ = probing_ = limited_ = false;
    probe_until_ = probe_from_ = 0;
    rtt_min_s_ = 0;
    rates_ = {};
    rate_next_ = 0;
}

}  // namespace vflbus::bus
