#include "bus/core/incoming_body.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/planted.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::bus {

void IncomingBody::begin(const Header& header) {
    IncomingBody fresh;
    if (total_ == header.body_bytes) fresh.room_ = std::move(room_);
    if (VFLBUS_PLANTED(torn_body_kept)) fresh.bytes_ = std::move(bytes_);
    fresh.waits = waits;
    fresh.type_ = header.type;
    fresh.flags_ = header.flags;
    fresh.total_ = header.body_bytes;
    fresh.tag_ = header.aux;
    *this = std::move(fresh);
}

void IncomingBody::refuse() noexcept {
    refused_ = true;
    room_.reset();
}

bool IncomingBody::continues(const Header& header) const noexcept {
    return !whole() && bytes_.size() == header.body_offset && total_ == header.body_bytes &&
           tag_ == header.aux;
}

bool IncomingBody::may_grow(std::uint64_t bytes, std::uint64_t credit_first) const noexcept {
    return !large() || bytes_.size() + bytes <= std::max(granted_, credit_first);
}

void IncomingBody::add(std::span<const std::uint8_t> part) {
    VFLBUS_ASSERT(!refused_ && (room_ != nullptr || unasked_ != nullptr),
                  "memory is taken before bytes are kept");
    const std::size_t before = bytes_.size();
    bytes_.insert(bytes_.end(), part.begin(), part.end());
    if (!stream_) return;
    const std::size_t content = static_cast<std::size_t>(total_) - privacy::seal_tag_bytes;
    const std::size_t end = std::min(bytes_.size(), content);
    if (end > before) stream_->next(std::span(bytes_).subspan(before, end - before));
}

void IncomingBody::open_with(privacy::SealStream stream) {
    if (total_ < privacy::seal_tag_bytes) return mark_broken();
    stream_.emplace(std::move(stream));
}

bool IncomingBody::open() {
    if (broken_) return false;
    if (!stream_) return true;
    VFLBUS_ASSERT(bytes_.size() == total_, "only a whole body is opened");
    const std::size_t content = bytes_.size() - privacy::seal_tag_bytes;
    const bool good = stream_->good(std::span<const std::uint8_t, privacy::seal_tag_bytes>(
        bytes_.data() + content, privacy::seal_tag_bytes));
    stream_.reset();
    bytes_.resize(good ? content : 0);
    return good;
}

bool IncomingBody::keep_unasked(NodeId sender, BodyBudget& unasked, std::uint64_t credit_first) {
    const std::uint64_t most = large() ? std::min(total_, credit_first) : total_;
    unasked_ = unasked.take(sender, most + unasked_overhead_bytes);
    if (unasked_ == nullptr) {
        *this = IncomingBody{};
        return false;
    }
    if (!large()) bytes_.reserve(static_cast<std::size_t>(total_));
    return true;
}

void IncomingBody::take_room(BodyRoom room) {
    VFLBUS_ASSERT(large() && room != nullptr, "only large bodies take room");
    room_ = std::move(room);
    unasked_.reset();
}

void IncomingBody::grant_first(std::uint64_t here, std::uint64_t share) {
    VFLBUS_ASSERT(holds_room(), "an announced length is only a claim until it has room");
    bytes_.reserve(static_cast<std::size_t>(total_));
    granted_ = std::min(total_, here + share);
}

bool IncomingBody::grant_more(std::uint64_t share) {
    if (!holds_room() || granted_ >= total_ || VFLBUS_PLANTED(credit_not_extended)) return false;
    if (bytes_.size() + share / 2 < granted_) return false;
    granted_ = std::max(granted_, std::min<std::uint64_t>(total_, bytes_.size() + share));
    return true;
}

}  // namespace vflbus::bus
