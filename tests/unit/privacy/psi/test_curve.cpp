// The group of set intersection: known answers made by Python integers and by RFC 7748, libsodium
// as the second opinion, both paths against each other, and what is refused.

#include <sodium.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "catch.hpp"
#include "privacy/psi/curve.hpp"

using namespace vflbus;
using namespace vflbus::privacy::psi;

namespace {

std::vector<Path> paths() {
    if (best_path() == Path::ifma) return {Path::portable, Path::ifma};
    return {Path::portable};
}

Point point_of(const std::string& hex) {
    Point point{};
    REQUIRE(sodium_hex2bin(point.data(), point.size(), hex.data(), hex.size(), nullptr, nullptr,
                           nullptr) == 0);
    return point;
}

std::vector<Point> random_points(std::size_t n) {
    std::vector<Point> points(n);
    for (Point& point : points) {
        random_bytes(point);
        point[31] &= 0x7f;
    }
    return points;
}

/// A secret that is known.
Randomness these(const Point& bytes) {
    return [bytes](std::span<std::uint8_t> out) { std::ranges::copy(bytes, out.begin()); };
}

Point bytes_from_1() {
    Point bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i + 1);
    return bytes;
}

}  // namespace

TEST_CASE("an id becomes the point that Python integers make of it", "[psi]") {
    const struct {
        std::uint8_t byte;
        const char* point;
        const char* product;
    } known[] = {
        {0, "110b1aea5783dfb8b924c1c8a6183bac633710090d91932066b5be1227a07153",
         "64444ab0655ef58043cc69f1c8c9ecc1b54910e5689a99ca2954d82d71520469"},
        {1, "370577d07b45d646525e3d3bf822fd59416885047c8cfe2d26b96d0bbc44c950",
         "03e57c18b99bc04c9bdc8752137b4cc45ac05494fe6190fde74400bfb937033c"},
        {255, "8a2c651edc46f08a0d56a93372ced5b886d6ac8c056ce712eb6cd4c27600e11c",
         "ba2babdd27195612678699b4291b25914c4b641b5a591276566118ba1f130723"},
    };
    const Secret secret(these(bytes_from_1()));
    for (const Path path : paths())
        for (const auto& one : known) {
            Hash128 id;
            id.fill(one.byte);
            std::vector<Point> point(1);
            hash_to_points(std::span(&id, 1), point, path);
            CHECK(to_hex(point[0]) == one.point);
            REQUIRE(multiply(secret, point, point, path));
            CHECK(to_hex(point[0]) == one.product);
        }
}

TEST_CASE("multiplication is X25519 of RFC 7748", "[psi]") {
    const Secret secret(
        these(point_of("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")));
    for (const Path path : paths()) {
        std::vector<Point> point{
            point_of("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")};
        REQUIRE(multiply(secret, point, point, path));
        CHECK(to_hex(point[0]) ==
              "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
    }
}

TEST_CASE("the map is Elligator 2 as libsodium has it", "[psi]") {
    std::vector<Point> uniform = random_points(200);
    uniform[0] = Point{};
    uniform[1].fill(0xff);
    for (const Path path : paths()) {
        std::vector<Point> mapped(uniform.size());
        map_to_points(uniform, mapped, path);
        CHECK(mapped[0] == Point{});  // 0 alone becomes a point of low order
        for (std::size_t i = 1; i < uniform.size(); ++i) {
            Point edwards;
            Point u;
            Point r = uniform[i];
            r[31] &= 0x7f;
            REQUIRE(crypto_core_ed25519_from_uniform(edwards.data(), r.data()) == 0);
            REQUIRE(crypto_sign_ed25519_pk_to_curve25519(u.data(), edwards.data()) == 0);
            CHECK(mapped[i] == u);
        }
    }
}

TEST_CASE("both paths give the same bytes at any length, in place or not", "[psi]") {
    const Path path = best_path();
    if (path == Path::portable) return;  // the other path has nothing to be compared with
    for (const std::size_t n : {0, 1, 2, 3, 7, 8, 9, 255}) {
        const Secret secret;
        const std::vector<Point> in = random_points(n);
        std::vector<Point> slow(n);
        std::vector<Point> fast = in;
        map_to_points(in, slow, Path::portable);
        map_to_points(in, fast, path);
        CHECK(slow == fast);
        fast = in;
        REQUIRE(multiply(secret, in, slow, Path::portable));
        REQUIRE(multiply(secret, fast, fast, path));
        CHECK(slow == fast);
    }
}

TEST_CASE("numbers at the edge of the field", "[psi]") {
    const Secret secret;
    for (const char* hex :
         {"0200000000000000000000000000000000000000000000000000000000000000",
          "ebffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  // p - 2
          "eaffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
          "fffffffffffff7ffffffffffffbffffffffffffdffffffffffefffffffffff7f",  // full limbs
          "ffffffffffff0700000000000000000000000000000000000000000000000000"}) {
        Point expected;
        const Point in = point_of(hex);
        REQUIRE(crypto_scalarmult(expected.data(), secret.bytes().data(), in.data()) == 0);
        for (const Path path : paths()) {
            std::vector<Point> point{in};
            REQUIRE(multiply(secret, point, point, path));
            CHECK(point[0] == expected);
        }
    }
}

TEST_CASE("points that are not canonical or of low order are refused", "[psi]") {
    const Secret secret;
    const struct {
        const char* hex;
        const char* sentence;
    } bad[] = {
        {"0000000000000000000000000000000000000000000000000000000000000000", "low order"},
        {"0100000000000000000000000000000000000000000000000000000000000000", "low order"},
        {"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "low order"},
        {"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", "low order"},
        {"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", "low order"},
        {"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "not below"},
        {"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "not below"},
        {"0900000000000000000000000000000000000000000000000000000000000080", "not below"},
    };
    for (const Path path : paths())
        for (const auto& one : bad)
            for (const std::size_t at : {0, 4, 8}) {
                std::vector<Point> points = random_points(9);
                points[at] = point_of(one.hex);
                const auto done = multiply(secret, points, points, path);
                REQUIRE_FALSE(done);
                CHECK(done.error().code == Errc::malformed_message);
                CHECK(done.error().sentence.find(one.sentence) != std::string::npos);
            }
}

TEST_CASE("every secret is another one", "[psi]") {
    std::set<std::array<std::uint8_t, 32>> seen;
    for (int i = 0; i < 100; ++i) {
        const Secret secret;
        CHECK((secret.bytes()[0] & 7) == 0);
        CHECK((secret.bytes()[31] & 0xc0) == 0x40);
        seen.insert(secret.bytes());
    }
    CHECK(seen.size() == 100);
}
