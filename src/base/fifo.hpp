#pragma once
// A queue that takes no memory while it is empty.
//
// An empty std::deque holds 576 bytes in two pieces, and takes them anew when it is moved. A broker
// has eight queues for each node, empty nearly always: whoever says HELLO again and again would
// have it pay for them each time.

#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/assert.hpp"

namespace vflbus {

template <class T>
class Fifo {
    // (those that wait are moved when room runs out: a copy could keep alive what was taken out)
    static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>);

  public:
    Fifo() = default;
    Fifo(Fifo&& other) noexcept
        : items_(std::exchange(other.items_, {})), first_(std::exchange(other.first_, 0)) {}
    Fifo& operator=(Fifo&& other) noexcept {
        items_ = std::exchange(other.items_, {});
        first_ = std::exchange(other.first_, 0);
        return *this;
    }
    Fifo(const Fifo&) = default;
    Fifo& operator=(const Fifo&) = default;
    ~Fifo() = default;

    void push_back(T item) {
        // (half of it at least: else each of many items could be moved for each that comes)
        if (items_.size() == items_.capacity() && 2 * first_ >= items_.size()) drop_taken();
        items_.push_back(std::move(item));
    }
    /// What it held is gone at once, and so is the memory of all that waited when the last is gone.
    void pop_front() {
        VFLBUS_ASSERT(!empty(), "nothing is taken from an empty queue");
        items_[first_++] = T{};
        if (empty()) clear();
    }
    void pop_back() {
        VFLBUS_ASSERT(!empty(), "nothing is taken from an empty queue");
        items_.pop_back();
        if (empty()) clear();
    }
    void erase(const T& item) {
        drop_taken();
        std::erase(items_, item);
        if (empty()) clear();
    }
    void clear() noexcept {
        if (items_.capacity() > kept) items_ = std::vector<T>();
        items_.clear();
        first_ = 0;
    }

    // -- properties ------------------------------------------------------------
    [[nodiscard]] bool empty() const noexcept { return first_ == items_.size(); }
    [[nodiscard]] std::size_t size() const noexcept { return items_.size() - first_; }
    [[nodiscard]] T& operator[](std::size_t at) noexcept { return items_[first_ + at]; }
    [[nodiscard]] T& front() noexcept { return items_[first_]; }
    [[nodiscard]] T& back() noexcept { return items_.back(); }
    [[nodiscard]] auto begin() noexcept {
        return items_.begin() + static_cast<std::ptrdiff_t>(first_);
    }
    [[nodiscard]] auto end() noexcept { return items_.end(); }

  private:
    static constexpr std::size_t kept = 16;  ///< places that an empty queue keeps, once it had them

    void drop_taken() {
        items_.erase(items_.begin(), begin());
        first_ = 0;
    }

    std::vector<T> items_;
    std::size_t first_ = 0;  ///< those before it are taken out
};

}  // namespace vflbus
