#include "bus/core/control_queue.hpp"

#include <utility>

#include "base/assert.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::bus {

ControlQueue::Added ControlQueue::add(ControlFrame&& frame) {
    Entry entry;
    entry.cost = frame.frame.header.size() + waiting_frame_bytes +
                 (frame.shared_body ? 0 : frame.frame.body.size());
    entry.from = frame.from;
    entry.subject = frame.subject;
    if (entry.subject) {
        if (const auto older = places_.find(*entry.subject); older != places_.end()) {
            Entry& stale = entries_[older->second - first_];
            count(stale, false);
            stale.is_void = true;
            stale.frame = Frame{};
            places_.erase(older);
            drop_void();
        }
    }
    if (entry.from != broker_node) {
        const auto known = of_node_.find(entry.from);
        const Count of_one = known == of_node_.end() ? Count{} : known->second;
        if (!of_one.takes(entry.cost, limits_.of_one_frames, limits_.of_one_bytes) ||
            !passed_on_.takes(entry.cost, limits_.passed_on_frames, limits_.passed_on_bytes))
            return Added::crowded;
    }
    if (!total_.takes(entry.cost, limits_.frames, limits_.bytes)) return Added::over;
    count(entry, true);
    if (entry.subject) places_[*entry.subject] = first_ + entries_.size();
    // a small frame may keep alive the buffer into which many were received
    entry.frame = frame.shared_body ? std::move(frame.frame) : compact(std::move(frame.frame));
    entries_.push_back(std::move(entry));
    return Added::waits;
}

void ControlQueue::count(const Entry& entry, bool in) {
    const auto move = [&](Count& count) {
        VFLBUS_ASSERT(in || (count.frames > 0 && count.bytes >= entry.cost),
                      "a frame that leaves a queue was counted in it");
        count.frames += in ? std::size_t{1} : SIZE_MAX;
        count.bytes += in ? entry.cost : 0 - entry.cost;
    };
    move(total_);
    if (entry.from == broker_node) return;
    move(passed_on_);
    move(of_node_[entry.from]);
    if (of_node_[entry.from].frames == 0) of_node_.erase(entry.from);
}

void ControlQueue::drop_void() {
    while (!entries_.empty() && entries_.front().is_void) {
        entries_.pop_front();
        ++first_;
    }
}

Frame& ControlQueue::front() {
    VFLBUS_ASSERT(!entries_.empty(), "an empty queue has no first frame");
    return entries_.front().frame;
}

void ControlQueue::pop() {
    VFLBUS_ASSERT(!entries_.empty(), "nothing is taken from an empty queue");
    const Entry& entry = entries_.front();
    count(entry, false);
    if (entry.subject) places_.erase(*entry.subject);
    entries_.pop_front();
    ++first_;
    drop_void();
}

void ControlQueue::clear() {
    *this = ControlQueue(limits_);
}

}  // namespace vflbus::bus
