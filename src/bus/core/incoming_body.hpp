#pragma once
// One body that comes in: of a request, or of its reply (docs/protocol.md, section 7).
//
// Its sender is not believed. It says how long the body is, and may never send the rest; it may
// send more than it was granted, parts of an earlier attempt, or a first part again and again. So
// memory is taken for what is here and not for what was announced, until the body has room of the
// receiver's budget; a part counts only when it goes on exactly where the body is, in the attempt
// that it belongs to, and within what was granted.
//
// Three kinds of memory, one after another:
//     unasked   from the first part on: all of a small body, the first part of a large one
//     room      of a large body, as soon as there is some; from then on CREDIT is granted
//     refused   larger than this node takes: nothing is kept, it is answered with an error
//
// LinkCore takes the room, sends CREDIT, and hands over what is complete; this neither sends nor
// knows of other bodies.

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "bus/core/budget.hpp"
#include "bus/wire/codec.hpp"
#include "bus/wire/header.hpp"
#include "privacy/seal/seal.hpp"

namespace vflbus::bus {

class IncomingBody {
  public:
    // -- parts -----------------------------------------------------------------
    /// A first part is here: what came of an earlier attempt is forgotten, but room for as many
    /// bytes stays, and so does its place among those that wait for room.
    void begin(const Header& header);
    /// After `begin`: it is opened with this stream, each part when it comes, in its place.
    void open_with(privacy::SealStream stream);
    /// After `begin`: whatever comes of it, `open` will say no.
    void mark_broken() noexcept { broken_ = true; }
    /// It is larger than this node takes, and counts as complete.
    void refuse() noexcept;
    /// A later part goes on where the body is, in the same attempt.
    [[nodiscard]] bool continues(const Header& header) const noexcept;
    /// So many bytes more are within what its sender was granted; `credit_first` it was not.
    [[nodiscard]] bool may_grow(std::uint64_t bytes, std::uint64_t credit_first) const noexcept;
    void add(std::span<const std::uint8_t> part);

    // -- memory ----------------------------------------------------------------
    /// Memory for what comes without room. It counts against its sender. False: there is none, and
    /// the body is as if it had not begun.
    [[nodiscard]] bool keep_unasked(NodeId sender, BodyBudget& unasked, std::uint64_t credit_first);
    void take_room(BodyRoom room);

    // -- credit: how far its sender may go ------------------------------------------
    /// It has its room: up to `share` bytes beyond the `here` ones that have come.
    void grant_first(std::uint64_t here, std::uint64_t share);
    /// Extends that when half a share is left. True: its sender has to hear of it.
    [[nodiscard]] bool grant_more(std::uint64_t share);

    // -- handing over ------------------------------------------------------------
    /// When it is whole: takes the seal off. False: it is not what its sender said.
    [[nodiscard]] bool open();
    [[nodiscard]] Bytes take_bytes() noexcept { return std::move(bytes_); }
    /// The memory that its user holds from now on.
    [[nodiscard]] BodyRoom take_memory() noexcept { return std::move(large() ? room_ : unasked_); }

    // -- properties ------------------------------------------------------------
    [[nodiscard]] std::uint16_t type() const noexcept { return type_; }
    [[nodiscard]] std::uint8_t flags() const noexcept { return flags_; }
    [[nodiscard]] std::uint64_t total() const noexcept { return total_; }
    [[nodiscard]] std::uint64_t tag() const noexcept { return tag_; }
    [[nodiscard]] std::uint64_t granted() const noexcept { return granted_; }
    [[nodiscard]] std::size_t here() const noexcept { return bytes_.size(); }
    /// It needs room.
    [[nodiscard]] bool large() const noexcept { return total_ > credit_free_bytes; }
    [[nodiscard]] bool refused() const noexcept { return refused_; }
    [[nodiscard]] bool whole() const noexcept { return refused_ || bytes_.size() == total_; }
    [[nodiscard]] bool holds_room() const noexcept { return room_ != nullptr; }
    /// It waits for no room: it has some, or needs none.
    [[nodiscard]] bool has_room() const noexcept { return refused_ || !large() || holds_room(); }
    [[nodiscard]] bool complete() const noexcept { return whole() && has_room(); }

    bool waits = false;  ///< it stands among the bodies that wait for room
    bool held = false;   ///< CREDIT for it is sent when the bulk connection is up, or given up

  private:
    std::uint16_t type_ = 0;
    std::uint8_t flags_ = 0;
    std::uint64_t total_ = ~std::uint64_t{0};  ///< not begun
    Bytes bytes_;
    BodyRoom room_;
    BodyRoom unasked_;
    std::uint64_t granted_ = 0;
    std::uint64_t tag_ = 0;  ///< of all its parts
    bool refused_ = false;
    bool broken_ = false;
    std::optional<privacy::SealStream> stream_;
};

}  // namespace vflbus::bus
