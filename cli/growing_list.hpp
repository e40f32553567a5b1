#pragma once
// A list that is told piece by piece, as it grows.
//
// The problem: whoever listens has heard some of the list, and is to be told only what is new. What
// it has heard counts no more when the list begins afresh, as when a recovery takes values back, or
// when another process tells them from now on.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace vflbus::cli {

class GrowingList {
  public:
    /// Keeps the last `most` entries.
    explicit GrowingList(std::size_t most = std::numeric_limits<std::size_t>::max())
        : most_(most) {}

    void add(std::string entry) {
        entries_.push_back(std::move(entry));
        if (entries_.size() > most_) entries_.pop_front();
        ++count_;
    }
    void begin_afresh() {
        entries_.clear();
        count_ = 0;
        ++begun_;
    }
    /// All that were added since it began, those that are not kept as well.
    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

    /// How much of it a listener has heard.
    struct Heard {
        std::uint64_t begun = 0;
        std::uint64_t count = 0;
    };
    struct News {
        std::uint64_t from = 0;  ///< so many of what was heard still count; 0: none
        std::vector<std::string> entries;
    };
    /// What is new to that listener, and notes that it was told; none when nothing is.
    std::optional<News> tell(Heard& heard) const {
        if (heard.begun != begun_ || heard.count > count_)
            heard = {begun_, 0};
        else if (heard.count == count_)
            return std::nullopt;
        const std::size_t fresh = std::min<std::uint64_t>(count_ - heard.count, entries_.size());
        const std::uint64_t from = std::exchange(heard.count, count_);
        return News{from, {entries_.end() - static_cast<std::ptrdiff_t>(fresh), entries_.end()}};
    }

  private:
    std::size_t most_;
    std::deque<std::string> entries_;
    std::uint64_t count_ = 0;
    std::uint64_t begun_ = 0;  ///< how often it began afresh
};

}  // namespace vflbus::cli
