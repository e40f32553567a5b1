#pragma once
// The bytes of a frame, owned by whoever made them (a ZeroMQ message, a vector, a shared buffer)
// and moved from hand to hand without a copy or an allocation of their own.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/assert.hpp"

namespace vflbus::bus {

/// Move-only holder of any type that has `data()` and `size()` in bytes and moves without throwing;
/// up to 64 bytes of it live inside (a zmq message fits).
class Payload {
  public:
    Payload() noexcept = default;
    Payload(Payload&& other) noexcept { take(other); }
    Payload& operator=(Payload&& other) noexcept {
        if (this != &other) {
            reset();
            take(other);
        }
        return *this;
    }
    Payload(const Payload&) = delete;
    Payload& operator=(const Payload&) = delete;
    ~Payload() { reset(); }

    template <class Holder>
    static Payload hold(Holder&& holder) {
        using H = std::decay_t<Holder>;
        static_assert(sizeof(H) <= capacity && alignof(H) <= alignof(std::max_align_t));
        static_assert(std::is_nothrow_move_constructible_v<H>);
        Payload payload;
        ::new (static_cast<void*>(payload.storage_)) H(std::forward<Holder>(holder));
        payload.ops_ = &ops_of<H>;
        return payload;
    }

    static Payload copy_of(std::span<const std::uint8_t> bytes) {
        return hold(std::vector<std::uint8_t>(bytes.begin(), bytes.end()));
    }

    [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept {
        return ops_ ? ops_->view(storage_) : std::span<const std::uint8_t>{};
    }
    [[nodiscard]] std::size_t size() const noexcept { return bytes().size(); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /// The holder, when it is an H; null otherwise.
    template <class H>
    [[nodiscard]] H* get_if() noexcept {
        return ops_ == &ops_of<H> ? std::launder(reinterpret_cast<H*>(storage_)) : nullptr;
    }

    void reset() noexcept {
        if (ops_) std::exchange(ops_, nullptr)->destroy(storage_);
    }

  private:
    static constexpr std::size_t capacity = 64;

    struct Ops {
        std::span<const std::uint8_t> (*view)(const unsigned char*) noexcept;
        void (*move)(unsigned char* from, unsigned char* to) noexcept;  // leaves `from` destroyed
        void (*destroy)(unsigned char*) noexcept;
    };

    template <class H>
    static H* as(unsigned char* at) noexcept {
        return std::launder(reinterpret_cast<H*>(at));
    }

    template <class H>
    static constexpr Ops ops_of = {
        [](const unsigned char* at) noexcept {
            const H* h = std::launder(reinterpret_cast<const H*>(at));
            return std::span<const std::uint8_t>(
                static_cast<const std::uint8_t*>(static_cast<const void*>(h->data())), h->size());
        },
        [](unsigned char* from, unsigned char* to) noexcept {
            H* h = as<H>(from);
            ::new (static_cast<void*>(to)) H(std::move(*h));
            h->~H();
        },
        [](unsigned char* at) noexcept { as<H>(at)->~H(); },
    };

    void take(Payload& other) noexcept {
        ops_ = std::exchange(other.ops_, nullptr);
        if (ops_) ops_->move(other.storage_, storage_);
    }

    alignas(std::max_align_t) unsigned char storage_[capacity];
    const Ops* ops_ = nullptr;
};

/// A part of a body that several frames (chunks, repeats) share.
class SharedSlice {
  public:
    SharedSlice(std::shared_ptr<const std::vector<std::uint8_t>> owner, std::size_t offset,
                std::size_t size) noexcept
        : owner_(std::move(owner)), offset_(offset), size_(size) {
        VFLBUS_ASSERT(
            owner_ != nullptr && offset_ <= owner_->size() && size_ <= owner_->size() - offset_,
            "a slice lies within its body");
    }
    [[nodiscard]] const std::uint8_t* data() const noexcept { return owner_->data() + offset_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

  private:
    std::shared_ptr<const std::vector<std::uint8_t>> owner_;
    std::size_t offset_;
    std::size_t size_;
};

/// One frame on its way: an encoded header and its part of the body.
struct Frame {
    Payload header;
    Payload body;
    [[nodiscard]] std::size_t size() const noexcept { return header.size() + body.size(); }
};

/// The frame with memory of its own, when it is small. A small message that ZeroMQ has received
/// keeps the whole buffer of some 18 KiB alive that it arrived in: a queue of a few bytes each
/// would hold a hundred times of what it counts.
inline Frame compact(Frame&& frame) {
    constexpr std::size_t copied_below = 8u << 10;
    if (frame.size() >= copied_below) return std::move(frame);
    Frame copy{Payload::copy_of(frame.header.bytes()), {}};
    if (!frame.body.empty()) copy.body = Payload::copy_of(frame.body.bytes());
    return copy;
}

}  // namespace vflbus::bus
