#pragma once
// One body on its way out: of a request, or of its reply (docs/protocol.md, section 7).
//
// A body may be sent several times: after each reconnect it begins again at offset 0, since its
// receiver may have lost what it had. And a large one may go no further than its receiver grants.
// The two together are where a bus goes wrong: what was granted to an earlier attempt says nothing
// about how much the receiver takes of the present one. So each attempt has a tag, and this keeps
// the tag, how far the attempt has come and how far it may go.
//
//     idle --begin--> begun            (at once: it is small, or nothing else asks for room)
//     idle --wait---> queued --begin--> begun
//     any  --rest---> idle             (after a reconnect)
//
// LinkCore decides when a body begins, and puts its parts into frames; this neither sends nor knows
// of other bodies.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "base/assert.hpp"
#include "base/ids.hpp"
#include "bus/wire/codec.hpp"
#include "bus/wire/limits.hpp"
#include "bus/wire/payload.hpp"
#include "privacy/seal/seal.hpp"

namespace vflbus::bus {

/// Of a body whose rest, after the first chunk, travels on bulk connections.
inline bool on_bulk(std::uint64_t tag) noexcept {
    return (tag & 1) != 0;
}

class OutgoingBody {
  public:
    enum class State : std::uint8_t {
        idle,    ///< not asked for, or not since the last reconnect
        queued,  ///< waits for its turn
        begun,
    };

    /// The bytes are kept until this goes, as they may be sent again.
    void carry(Bytes bytes, TimePoint now) {
        bytes_ = std::make_shared<Bytes>(std::move(bytes));
        content_ = bytes_->size();
        since_ = now;
        stream_.reset();
        overhead_ = sealed_bytes_ = 0;
    }
    /// Its parts leave sealed with this stream, each when it is first sent, in the memory that the
    /// content has; sent again they are the same bytes.
    void seal(privacy::SealStream stream) {
        VFLBUS_ASSERT(exists() && !sealed(), "a body is sealed once");
        stream_.emplace(std::move(stream));
        overhead_ = privacy::seal_tag_bytes;
    }

    // -- attempts --------------------------------------------------------------
    /// After a reconnect: its receiver may have forgotten it, and the room for it.
    void rest() noexcept {
        state_ = State::idle;
        has_room_ = false;
    }
    void wait() noexcept { state_ = State::queued; }
    /// Begins at offset 0, and goes up to `credit` without asking.
    void begin(std::uint64_t credit, std::uint64_t tag) {
        VFLBUS_ASSERT(exists(), "a body that begins is there");
        state_ = State::begun;
        ++attempts_;
        sent_ = 0;
        credit_ = std::min(credit, size());
        tag_ = tag;
    }

    // -- credit ----------------------------------------------------------------
    /// Its receiver has the room for all of it, whatever becomes of this attempt.
    void note_room() noexcept { has_room_ = true; }
    /// CREDIT for the present attempt. True: it may go further than before.
    [[nodiscard]] bool grant(std::uint64_t up_to) noexcept {
        if (std::min(up_to, size()) <= credit_) return false;
        credit_ = std::min(up_to, size());
        return true;
    }
    /// Its receiver has all of it already.
    void stop() noexcept { sent_ = credit_ = size(); }

    // -- parts -----------------------------------------------------------------
    struct Part {
        std::uint64_t offset = 0;
        std::uint64_t bytes = 0;
    };
    /// The next part, of `chunk` bytes at most. Empty: what the credit leaves is not worth a frame.
    /// A body without bytes has one part without bytes.
    [[nodiscard]] std::optional<Part> next(std::uint64_t chunk) {
        VFLBUS_ASSERT(sent_ <= credit_ && credit_ <= size(), "a body goes no further than it may");
        const Part part{sent_, std::min(chunk, credit_ - sent_)};
        if (part.bytes < chunk_bytes_min && part.offset + part.bytes < size()) return {};
        sent_ += part.bytes;
        return part;
    }

    /// How long it took until all of it was sent: the first time that it is, and never again.
    [[nodiscard]] std::optional<Duration> first_sent(TimePoint now) noexcept {
        if (was_sent_ || sent_ < size()) return {};
        was_sent_ = true;
        return now - since_;
    }
    /// What a frame with that part carries.
    [[nodiscard]] Payload payload(const Part& part) {
        if (part.bytes == 0) return {};
        const std::uint64_t content = content_;
        const std::uint64_t end = part.offset + part.bytes;
        const bool untouched = sealed_bytes_ == 0;  // no frame holds a part of it
        if (sealed()) seal_up_to(std::min(end, content));
        if (stream_ && untouched && part.bytes == size()) {
            tail_ = stream_->tag();
            stream_.reset();
            bytes_->insert(bytes_->end(), tail_.begin(), tail_.end());
        }
        if (end <= bytes_->size())
            return Payload::hold(SharedSlice(bytes_, static_cast<std::size_t>(part.offset),
                                             static_cast<std::size_t>(part.bytes)));
        if (stream_) {
            tail_ = stream_->tag();
            stream_.reset();
        }
        // the last part has the tag behind it: a copy of that part alone
        Bytes last;
        last.reserve(static_cast<std::size_t>(part.bytes));
        last.insert(last.end(),
                    bytes_->begin() + static_cast<std::ptrdiff_t>(std::min(part.offset, content)),
                    bytes_->end());
        const std::uint64_t from = std::max(part.offset, content) - content;
        last.insert(last.end(), tail_.begin() + static_cast<std::ptrdiff_t>(from),
                    tail_.begin() + static_cast<std::ptrdiff_t>(end - content));
        return Payload::hold(std::move(last));
    }

    // -- properties ------------------------------------------------------------
    [[nodiscard]] bool exists() const noexcept { return bytes_ != nullptr; }
    [[nodiscard]] bool sealed() const noexcept { return overhead_ != 0; }
    [[nodiscard]] std::uint64_t size() const noexcept { return content_ + overhead_; }
    /// It needs credit.
    [[nodiscard]] bool large() const noexcept { return size() > credit_free_bytes; }
    [[nodiscard]] State state() const noexcept { return state_; }
    /// How often it was begun.
    [[nodiscard]] std::uint32_t attempts() const noexcept { return attempts_; }
    /// What the credit still allows.
    [[nodiscard]] std::uint64_t credit_left() const noexcept { return credit_ - sent_; }
    [[nodiscard]] bool has_room() const noexcept { return has_room_; }
    /// Of the present attempt; 0 of a small one.
    [[nodiscard]] std::uint64_t tag() const noexcept { return tag_; }
    [[nodiscard]] std::uint64_t sent() const noexcept { return sent_; }
    /// More of it may be sent now.
    [[nodiscard]] bool may_go_on() const noexcept { return sent_ < credit_; }

  private:
    /// Frames that were sent hold parts before that, which are changed no more.
    void seal_up_to(std::uint64_t end) {
        if (end <= sealed_bytes_) return;
        stream_->next(std::span(*bytes_).subspan(static_cast<std::size_t>(sealed_bytes_),
                                                 static_cast<std::size_t>(end - sealed_bytes_)));
        sealed_bytes_ = end;
    }

    std::shared_ptr<Bytes> bytes_;
    std::optional<privacy::SealStream> stream_;  ///< until the tag is there
    privacy::SealTag tail_{};
    std::uint64_t content_ = 0;       ///< bytes without the tag
    std::uint64_t overhead_ = 0;      ///< of a sealed body
    std::uint64_t sealed_bytes_ = 0;  ///< of the content, so far
    std::uint64_t sent_ = 0;
    std::uint64_t credit_ = 0;
    std::uint64_t tag_ = 0;
    std::uint32_t attempts_ = 0;
    TimePoint since_{};
    bool was_sent_ = false;
    State state_ = State::idle;
    bool has_room_ = false;
};

}  // namespace vflbus::bus
