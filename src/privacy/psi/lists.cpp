#include "privacy/psi/lists.hpp"

#include <sodium.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/assert.hpp"

namespace vflbus::privacy::psi {
namespace {

bool bytes_less(const Point& a, const Point& b) noexcept {
    return std::memcmp(a.data(), b.data(), a.size()) < 0;
}

/// Random 32-bit words, as many as a shuffle takes, from one seed: asking the system a million
/// times would take longer than the shuffle.
class RandomWords {
  public:
    explicit RandomWords(const Randomness& random) { random(seed_); }
    RandomWords(const RandomWords&) = delete;
    RandomWords& operator=(const RandomWords&) = delete;
    ~RandomWords() {
        sodium_memzero(seed_.data(), seed_.size());
        sodium_memzero(words_.data(), sizeof words_);
    }

    /// Uniform below `bound`, at least 1: words of the incomplete last interval are thrown away.
    std::uint32_t below(std::uint32_t bound) {
        const std::uint32_t least = (0U - bound) % bound;
        std::uint32_t word = next();
        while (word < least) word = next();
        return word % bound;
    }

  private:
    std::uint32_t next() {
        if (at_ == words_.size()) {
            // every block is made under a seed of its own, the first words of the one before
            randombytes_buf_deterministic(words_.data(), sizeof words_, seed_.data());
            std::memcpy(seed_.data(), words_.data(), seed_.size());
            at_ = seed_.size() / sizeof(std::uint32_t);
        }
        return words_[at_++];
    }

    std::array<std::uint8_t, randombytes_SEEDBYTES> seed_{};
    std::array<std::uint32_t, 1024> words_{};
    std::size_t at_ = words_.size();
};

Result<> check_marks(std::span<const std::uint8_t> marks, std::size_t places) {
    const bool fits = marks.size() == marks_bytes(places) &&
                      (places % 8 == 0 || marks.back() >> (places % 8) == 0);
    if (fits) return {};
    return fail(Errc::malformed_message, "sent marks that do not fit the list");
}

/// to[order[i]] = from[i], of marks that fit.
Marks marks_through(std::span<const std::uint32_t> order, std::span<const std::uint8_t> from) {
    Marks to(marks_bytes(order.size()), 0);
    for (std::size_t i = 0; i < order.size(); ++i)
        to[order[i] / 8] |=
            static_cast<std::uint8_t>(static_cast<unsigned>(is_marked(from, i)) << (order[i] % 8));
    return to;
}

}  // namespace

std::size_t marks_bytes(std::size_t places) noexcept {
    return (places + 7) / 8;
}

std::uint64_t marked(std::span<const std::uint8_t> marks) noexcept {
    std::uint64_t count = 0;
    for (const std::uint8_t byte : marks) count += static_cast<std::uint64_t>(std::popcount(byte));
    return count;
}

// -- the own list -------------------------------------------------------------------

OwnList::OwnList(std::vector<Hash128> ids, const Randomness& random, Path path)
    : secret_(random), path_(path), ids_(std::move(ids)), order_(ids_.size()) {
    ensure_sodium();
    VFLBUS_ASSERT(ids_.size() <= UINT32_MAX, "a table has fewer than 2^32 ids");
    std::iota(order_.begin(), order_.end(), std::uint32_t{0});
    RandomWords words(random);
    for (std::size_t i = order_.size(); i > 1; --i)
        std::swap(order_[i - 1], order_[words.below(static_cast<std::uint32_t>(i))]);
}

std::vector<Point> OwnList::points(std::size_t first, std::size_t count) const {
    VFLBUS_ASSERT(first <= size() && count <= size() - first, "the places are of the list");
    std::vector<Hash128> ids(count);
    for (std::size_t i = 0; i < count; ++i) ids[i] = ids_[order_[first + i]];
    std::vector<Point> points(count);
    hash_to_points(ids, points, path_);
    const auto done = multiply(secret_, points, points, path_);
    VFLBUS_ASSERT(done.has_value(), "no hash is a point of low order: one in 2^250 would be");
    return points;
}

Result<Marks> OwnList::own_marks(std::span<const std::uint8_t> sent) const {
    if (auto fit = check_marks(sent, size()); !fit) return tl::unexpected(std::move(fit.error()));
    return marks_through(order_, sent);
}

// -- a list that passes ---------------------------------------------------------------

Result<> PassingList::take(const Secret& secret, std::span<const Point> points) {
    if (closed_) return fail(Errc::malformed_message, "sent more points than it said");
    const std::size_t before = points_.size();
    points_.resize(before + points.size());
    came_ = points_.size();
    return multiply(secret, points, std::span(points_).subspan(before), path_);
}

Result<> PassingList::close() {
    closed_ = true;
    order_.resize(points_.size());
    std::iota(order_.begin(), order_.end(), std::uint32_t{0});
    std::ranges::sort(order_, [this](std::uint32_t a, std::uint32_t b) {
        return bytes_less(points_[a], points_[b]);
    });
    std::vector<Point> sorted(points_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) sorted[i] = points_[order_[i]];
    points_ = std::move(sorted);
    for (std::size_t i = 1; i < points_.size(); ++i)
        if (points_[i - 1] == points_[i])
            return fail(Errc::malformed_message, "sent the same point twice");
    return {};
}

std::vector<Tag> PassingList::tags(std::size_t first, std::size_t count) const {
    VFLBUS_ASSERT(first <= points_.size() && count <= points_.size() - first,
                  "the places are of the list");
    std::vector<Tag> tags(count);
    for (std::size_t i = 0; i < count; ++i)
        std::memcpy(tags[i].data(), points_[first + i].data(), tags[i].size());
    return tags;
}

void PassingList::drop() {
    std::vector<Point>().swap(points_);
}

Result<Marks> PassingList::marks_back(std::span<const std::uint8_t> left) const {
    VFLBUS_ASSERT(closed_, "marks come back after the list has left");
    if (auto fit = check_marks(left, size()); !fit) return tl::unexpected(std::move(fit.error()));
    return marks_through(order_, left);
}

// -- comparing --------------------------------------------------------------------------

std::vector<Marks> common_of(std::span<const std::vector<Tag>> lists) {
    VFLBUS_ASSERT(!lists.empty(), "somebody has a list");
    std::vector<Marks> marks;
    for (const std::vector<Tag>& list : lists) marks.emplace_back(marks_bytes(list.size()), 0);
    std::vector<std::size_t> at(lists.size(), 0);
    for (at[0] = 0; at[0] < lists[0].size(); ++at[0]) {
        const Tag& tag = lists[0][at[0]];
        bool common = true;
        for (std::size_t p = 1; p < lists.size() && common; ++p) {
            const std::vector<Tag>& list = lists[p];
            while (at[p] < list.size() && list[at[p]] < tag) ++at[p];
            common = at[p] < list.size() && list[at[p]] == tag;
        }
        if (!common) continue;
        for (std::size_t p = 0; p < lists.size(); ++p)
            marks[p][at[p] / 8] |= static_cast<std::uint8_t>(1U << (at[p] % 8));
    }
    return marks;
}

bool ascending(std::span<const Tag> tags, const Tag* last) noexcept {
    for (const Tag& tag : tags) {
        if (last != nullptr && !(*last < tag)) return false;
        last = &tag;
    }
    return true;
}

}  // namespace vflbus::privacy::psi
