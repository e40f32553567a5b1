#pragma once
// What a party does with its own list of ids and with the lists of others, so that all learn which
// ids everybody has, and nothing else but numbers.
//
// The protocol is in docs/alignment.md; this file is its arithmetic, without messages.
// The parties stand in a ring. A list begins with its owner (OwnList: shuffled, hashed to points,
// multiplied by the owner's secret) and passes every other party once (PassingList: multiplied by
// that party's secret, and sorted by the result, which shuffles it again). What comes out has been
// multiplied by all secrets, so equal ids are equal points; and as everybody has shuffled it,
// nobody knows which id a point belongs to. Who compares the lists (`common_of`) marks places in
// them; the marks travel the same way back, each party undoing its shuffle, until the owner learns
// which of its own ids are common.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/errc.hpp"
#include "base/hash.hpp"
#include "privacy/psi/curve.hpp"

namespace vflbus::privacy::psi {

/// Bit i % 8 of byte i / 8 stands for place i.
using Marks = std::vector<std::uint8_t>;

[[nodiscard]] std::size_t marks_bytes(std::size_t places) noexcept;
[[nodiscard]] std::uint64_t marked(std::span<const std::uint8_t> marks) noexcept;
[[nodiscard]] inline bool is_marked(std::span<const std::uint8_t> marks, std::size_t at) noexcept {
    return (marks[at / 8] >> (at % 8) & 1U) != 0;
}

/// The first half of a point that all secrets have multiplied. 128 bits: two different ids of two
/// lists of 2^32 are equal with a chance below 2^-64.
using Tag = std::array<std::uint8_t, 16>;

class OwnList {
  public:
    /// `ids`: all different. Their order does not show in what is sent: it is drawn anew, as the
    /// secret is.
    explicit OwnList(std::vector<Hash128> ids, const Randomness& random = random_bytes,
                     Path path = best_path());

    [[nodiscard]] std::size_t size() const noexcept { return ids_.size(); }
    /// The points at places first .. first + count - 1 of the list as it is sent; first + count is
    /// at most size(). Not kept: asked again they are made again.
    [[nodiscard]] std::vector<Point> points(std::size_t first, std::size_t count) const;
    /// Marks of the list as it was sent become marks of `ids`.
    /// Errors: malformed_message when they do not fit.
    [[nodiscard]] Result<Marks> own_marks(std::span<const std::uint8_t> sent) const;

    [[nodiscard]] const Secret& secret() const noexcept { return secret_; }

  private:
    Secret secret_;
    Path path_;
    std::vector<Hash128> ids_;
    std::vector<std::uint32_t> order_;  ///< the place in `ids_` of what is sent at each place
};

/// A list of another party as it passes this one.
class PassingList {
  public:
    explicit PassingList(Path path = best_path()) : path_(path) {}

    /// The next points. Memory grows by what has come.
    /// Errors: malformed_message for a point that `multiply` refuses, and after `close`.
    Result<> take(const Secret& secret, std::span<const Point> points);
    /// All have come: sorts by what they became.
    /// Errors: malformed_message when two are equal, which no list of different ids has: it could
    /// mark a place so as to find it again.
    Result<> close();

    [[nodiscard]] bool closed() const noexcept { return closed_; }
    /// As many as have come, also after `drop`.
    [[nodiscard]] std::size_t size() const noexcept { return came_; }
    /// After `close`, before `drop`.
    [[nodiscard]] std::span<const Point> points() const noexcept { return points_; }
    [[nodiscard]] std::vector<Tag> tags(std::size_t first, std::size_t count) const;
    /// The points have been passed on; what is left undoes the shuffle.
    void drop();
    /// Marks of the list as it left become marks of the list as it came.
    /// Errors: malformed_message when they do not fit.
    [[nodiscard]] Result<Marks> marks_back(std::span<const std::uint8_t> left) const;

  private:
    Path path_;
    bool closed_ = false;
    std::size_t came_ = 0;
    std::vector<Point> points_;
    std::vector<std::uint32_t> order_;  ///< the place, as it came, of what leaves at each place
};

/// Places of each list whose tags are in all of them. Every list is ascending without equal tags
/// (bytes compared as memcmp does), which the caller has checked.
[[nodiscard]] std::vector<Marks> common_of(std::span<const std::vector<Tag>> lists);

/// Whether the tags are ascending, none twice, and go on where `last` stopped.
[[nodiscard]] bool ascending(std::span<const Tag> tags, const Tag* last = nullptr) noexcept;

}  // namespace vflbus::privacy::psi
