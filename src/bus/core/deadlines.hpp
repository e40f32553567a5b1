#pragma once
// What has to be looked at, and when, of many: found without looking at all of them.
//
// A link to a thousand nodes has thousands of requests that it may have to send again, and asks
// before every poll which of them is due next. Nearly all are answered long before that, so their
// times are put off or dropped a thousand times for each one that comes true. So each key stands
// here under a time that is no later than the true one, and is not moved when that is put off: when
// its time comes, its owner looks at it and puts it back where it belongs.

#include <optional>
#include <set>
#include <utility>

#include "base/assert.hpp"
#include "base/ids.hpp"

namespace vflbus::bus {

template <class Key>
class Deadlines {
  public:
    /// Where a key stands that stands nowhere. Each owner of a key keeps its place with it.
    static constexpr TimePoint nowhere = TimePoint::max();

    /// `key`, which stands at `place`, is looked at no later than `at`.
    void no_later(const Key& key, TimePoint at, TimePoint& place) {
        if (at >= place) return;
        remove(key, place);
        place = at;
        order_.emplace(at, key);
    }
    void remove(const Key& key, TimePoint& place) {
        if (place == nowhere) return;
        const bool stood = order_.erase({place, key}) == 1;
        VFLBUS_ASSERT(stood, "a key stands where its owner says");
        place = nowhere;
    }
    /// A key whose time has come. It stands nowhere now, which its owner has to note.
    [[nodiscard]] std::optional<Key> take_due(TimePoint now) {
        if (order_.empty() || order_.begin()->first > now) return {};
        return std::move(order_.extract(order_.begin()).value().second);
    }
    /// When `take_due` has something next; `nowhere`: never.
    [[nodiscard]] TimePoint next() const noexcept {
        return order_.empty() ? nowhere : order_.begin()->first;
    }
    [[nodiscard]] std::size_t size() const noexcept { return order_.size(); }

  private:
    std::set<std::pair<TimePoint, Key>> order_;
};

}  // namespace vflbus::bus
