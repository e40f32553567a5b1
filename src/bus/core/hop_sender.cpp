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
      under_way_(limits) {
    VFLBUS_ASSERT(2 * mark_every <= limits.hop_window, "a window has a MARK before it is used up");
}

// -- out at once, or into a queue ------------------------------------------------

SendResult HopSender::data(const RunId& run, Frame&& frame, std::size_t bytes, Origin origin,
                           FrameSink& sink, TimePoint now) {
    if (queued_ == 0 && control_.empty() && data_may_go()) {
        if (under_way_.frames() >= shared_frames_max) frame = compact(std::move(frame));
        const SendResult result = sink.send(frame);
        if (result == SendResult::ok) {
            under_way_.sent(bytes, now);
            if (mark_due()) return send_mark(sink) == SendResult::gone ? SendResult::gone : result;
            return result;
        }
        if (result == SendResult::gone) return result;
        blocked_ = true;
    } else if (!data_may_go()) {
        under_way_.held_back();
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
            under_way_.sent(bytes, now);
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
    under_way_.sent_report(header_bytes, now);
    return mark_due() ? send_mark(sink) : result;
}

SendResult HopSender::send_mark(FrameSink& sink) {
    const std::uint64_t token = tokens_->next();
    Frame frame = bare(Kind::mark, token);
    const SendResult result = sink.send(frame);
    if (result == SendResult::full) blocked_ = true;
    if (result != SendResult::ok) return result;
    under_way_.sent_mark(token);
    return result;
}

bool HopSender::consumed(std::uint64_t token, TimePoint now) {
    return under_way_.consumed(token, now);
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
        under_way_.sent(bytes, now);
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
        under_way_.held_back();
        return SendResult::full;
    }
    // a turn that the window or the transport cut short goes on later, without a second quantum
    if (!std::exchange(served_, true)) queue.deficit += drr_quantum_bytes;
    while (!queue.entries.empty()) {
        Entry& entry = queue.entries.front();
        const std::size_t bytes = entry.bytes;
        if (queue.deficit < bytes) break;
        if (!data_may_go()) {
            under_way_.held_back();
            return SendResult::full;
        }
        const SendResult result = sink.send(entry.frame);
        if (result == SendResult::full) blocked_ = true;
        if (result != SendResult::ok) return result;
        queue.deficit -= bytes;
        queued_ -= bytes;
        --queued_frames_;
        under_way_.sent(bytes, now);
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
    round_.erase(run);
    blocked_ = blocked_ && waiting();
}

void HopSender::drop_body(const Header& body, std::vector<Left>& left) {
    const auto found = queues_.find(body.run);
    if (found == queues_.end()) return;
    RunQueue gone;
    std::deque<Entry> kept;
    for (Entry& entry : found->second.entries) {
        Header header;
        const bool same = decode(entry.frame.header.bytes(), header) == HeaderFault::none &&
                          header.term == body.term && header.kind == body.kind &&
                          header.dst == body.dst && header.request == body.request;
        (same ? gone.entries : kept).push_back(std::move(entry));
    }
    found->second.entries = std::move(kept);
    drop(gone, left);
    if (found->second.entries.empty()) drop_run(RunId(body.run), left);
    blocked_ = blocked_ && waiting();
}

void HopSender::begin_session(std::vector<Left>& left) {
    control_.clear();
    report_ = 0;
    drop_data(left);
}

void HopSender::reset(std::vector<Left>& left) {
    take_connection(under_way_.fresh(), left);
}

UnderWay HopSender::leave_connection(std::vector<Left>& left) {
    UnderWay under_way = std::exchange(under_way_, under_way_.fresh());
    reset(left);
    return under_way;
}

void HopSender::take_connection(UnderWay&& under_way, std::vector<Left>& left) {
    begin_session(left);
    blocked_ = narrow_ = false;
    under_way_ = std::move(under_way);
}

}  // namespace vflbus::bus
