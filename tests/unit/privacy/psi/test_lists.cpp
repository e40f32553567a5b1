// Lists around the ring: what everybody has is found exactly, at tiny and odd sizes, and nothing of
// the order of a list shows in what is sent.

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "catch.hpp"
#include "privacy/psi/lists.hpp"

using namespace vflbus;
using namespace vflbus::privacy::psi;

namespace {

Hash128 id_of(std::uint64_t number) {
    return hash128("id " + std::to_string(number), "test");
}

/// first, first + 1, ... : `n` ids.
std::vector<Hash128> ids(std::uint64_t first, std::size_t n) {
    std::vector<Hash128> out;
    for (std::size_t i = 0; i < n; ++i) out.push_back(id_of(first + i));
    return out;
}

/// The whole protocol, everybody in this process; the ids that each party finds to be common.
std::vector<std::set<Hash128>> intersected(const std::vector<std::vector<Hash128>>& sets,
                                           Path path = best_path()) {
    const std::size_t n = sets.size();
    std::vector<std::unique_ptr<OwnList>> own;
    for (const auto& set : sets) own.push_back(std::make_unique<OwnList>(set, random_bytes, path));
    std::vector<std::vector<Tag>> tags(n);
    // passing[p][r]: list p at its r-th stop, party (p + r + 1) % n
    std::vector<std::vector<PassingList>> passing(n);
    for (std::size_t p = 0; p < n; ++p) {
        std::vector<Point> points = own[p]->points(0, own[p]->size());
        for (std::size_t r = 1; r < n; ++r) {
            PassingList list(path);
            const std::size_t half = points.size() / 2;  // in two parts
            const Secret& secret = own[(p + r) % n]->secret();
            REQUIRE(list.take(secret, std::span(points).first(half)));
            REQUIRE(list.take(secret, std::span(points).subspan(half)));
            REQUIRE(list.close());
            points.assign(list.points().begin(), list.points().end());
            if (r == n - 1) tags[p] = list.tags(0, list.size());
            list.drop();
            passing[p].push_back(std::move(list));
        }
        CHECK(ascending(tags[p]));
    }
    const std::vector<Marks> common = common_of(tags);
    std::vector<std::set<Hash128>> found(n);
    for (std::size_t p = 0; p < n; ++p) {
        Marks marks = common[p];
        for (std::size_t r = n - 1; r-- > 0;) {
            auto back = passing[p][r].marks_back(marks);
            REQUIRE(back);
            marks = *back;
        }
        const auto mine = own[p]->own_marks(marks);
        REQUIRE(mine);
        for (std::size_t i = 0; i < sets[p].size(); ++i)
            if (is_marked(*mine, i)) found[p].insert(sets[p][i]);
        CHECK(found[p].size() == marked(common[p]));
    }
    return found;
}

void check_common(const std::vector<std::vector<Hash128>>& sets) {
    std::set<Hash128> expected(sets[0].begin(), sets[0].end());
    for (const auto& set : sets) {
        const std::set<Hash128> other(set.begin(), set.end());
        std::erase_if(expected, [&](const Hash128& id) { return !other.contains(id); });
    }
    for (const auto& found : intersected(sets)) CHECK(found == expected);
}

}  // namespace

TEST_CASE("two parties find what both have, at any size", "[psi]") {
    for (const std::size_t n : {1, 2, 3, 7, 8, 9, 31, 255, 257}) {
        INFO(n << " ids");
        check_common({ids(0, n), ids(0, n)});
        check_common({ids(0, n), ids(n, n)});          // nothing
        check_common({ids(0, n), ids(n - 1, n)});      // one
        check_common({ids(0, n), ids(n / 2, n + 3)});  // half
    }
    check_common({ids(0, 100), ids(37, 1)});
    check_common({ids(0, 3), {}});
}

TEST_CASE("three and five parties find what all have", "[psi]") {
    check_common({ids(0, 20), ids(5, 20), ids(10, 20)});
    check_common({ids(0, 20), ids(20, 20), ids(10, 20)});  // pairs alone have something
    check_common({ids(0, 9), ids(1, 9), ids(2, 9), ids(3, 9), ids(4, 9)});
}

TEST_CASE("an end without the fast path finds the same", "[psi]") {
    const std::vector<std::vector<Hash128>> sets{ids(0, 50), ids(25, 50)};
    CHECK(intersected(sets, Path::portable) == intersected(sets));
}

TEST_CASE("every run sends other points, in another order", "[psi]") {
    const std::vector<Hash128> set = ids(0, 64);
    std::set<Point> seen;
    for (int run = 0; run < 4; ++run) {
        const OwnList list(set);
        for (const Point& point : list.points(0, list.size())) seen.insert(point);
    }
    CHECK(seen.size() == 4 * 64);
    // the order: undo the blinding by marking one place after the other
    std::set<std::vector<std::size_t>> orders;
    for (int run = 0; run < 4; ++run) {
        const OwnList list(set);
        std::vector<std::size_t> order;
        for (std::size_t at = 0; at < list.size(); ++at) {
            Marks one(marks_bytes(list.size()), 0);
            one[at / 8] = static_cast<std::uint8_t>(1U << (at % 8));
            const auto own = list.own_marks(one);
            REQUIRE(own);
            REQUIRE(marked(*own) == 1);
            for (std::size_t i = 0; i < list.size(); ++i)
                if (is_marked(*own, i)) order.push_back(i);
        }
        CHECK_FALSE(std::ranges::is_sorted(order));
        orders.insert(order);
        std::ranges::sort(order);
        for (std::size_t i = 0; i < order.size(); ++i) REQUIRE(order[i] == i);
    }
    CHECK(orders.size() == 4);
}

TEST_CASE("the order of a shuffle is uniform", "[psi]") {
    // where the first of three ids is sent, 3000 times: each place 1000 times, within 6 sigma
    int places[3] = {};
    for (int run = 0; run < 3000; ++run) {
        const OwnList list(ids(0, 3));
        for (std::size_t at = 0; at < 3; ++at) {
            const Marks one{static_cast<std::uint8_t>(1U << at)};
            const auto own = list.own_marks(one);
            REQUIRE(own);
            if (is_marked(*own, 0)) ++places[at];
        }
    }
    for (const int times : places) {
        CHECK(times > 1000 - 155);
        CHECK(times < 1000 + 155);
    }
}

TEST_CASE("a passing list leaves in another order than it came, and a point twice is refused",
          "[psi]") {
    const OwnList own(ids(0, 40));
    const std::vector<Point> points = own.points(0, own.size());
    const Secret secret;
    PassingList list;
    REQUIRE(list.take(secret, points));
    REQUIRE(list.close());
    std::vector<Point> in_order(points.size());
    REQUIRE(multiply(secret, points, in_order));
    CHECK_FALSE(std::ranges::equal(in_order, list.points()));
    std::ranges::sort(in_order);
    CHECK(std::ranges::equal(in_order, list.points()));
    CHECK_FALSE(list.take(secret, points));

    PassingList twice;
    REQUIRE(twice.take(secret, points));
    REQUIRE(twice.take(secret, std::span(points).first(1)));
    const auto closed = twice.close();
    REQUIRE_FALSE(closed);
    CHECK(closed.error().code == Errc::malformed_message);
}

TEST_CASE("marks that do not fit are refused", "[psi]") {
    const OwnList own(ids(0, 9));
    for (const Marks& bad : {Marks{}, Marks{1}, Marks{1, 2}, Marks{0, 0, 0}}) {
        const auto done = own.own_marks(bad);
        REQUIRE_FALSE(done);
        CHECK(done.error().code == Errc::malformed_message);
    }
    CHECK(own.own_marks(Marks{255, 1}));
}

TEST_CASE("tags are ascending", "[psi]") {
    std::vector<Tag> tags(2);
    CHECK_FALSE(ascending(tags));
    tags[1][15] = 1;
    CHECK(ascending(tags));
    CHECK_FALSE(ascending(tags, &tags[0]));
    CHECK(ascending(std::span(tags).subspan(1), &tags[0]));
}
