#include <string>

#include "catch.hpp"
#include "data/split.hpp"

using namespace vflbus;
using namespace vflbus::data;

TEST_CASE("the split takes about its share and depends on id and seed alone") {
    std::vector<Hash128> ids;
    for (int i = 0; i < 20'000; ++i) ids.push_back(hash128(std::to_string(i)));
    const Split split = split_rows(ids, 7, 0.25);
    CHECK(split.train.size() + split.test.size() == ids.size());
    CHECK(split.test.size() > 4'800);
    CHECK(split.test.size() < 5'200);
    for (const std::uint32_t i : split.test) CHECK(is_test(ids[i], 7, 0.25));
    // a larger share keeps what was in the smaller one
    for (const std::uint32_t i : split.test)
        if (!is_test(ids[i], 7, 0.3)) FAIL("moved from test to train");
    std::size_t same = 0;
    for (const std::uint32_t i : split.test) same += is_test(ids[i], 8, 0.25);
    CHECK(same > 1'000);
    CHECK(same < 1'500);
}

TEST_CASE("no share means no test rows, all means all") {
    const std::vector<Hash128> ids = {hash128("a"), hash128("b")};
    CHECK(split_rows(ids, 1, 0).test.empty());
    CHECK(split_rows(ids, 1, 1).train.empty());
    CHECK(split_rows({}, 1, 0.5).train.empty());
}

TEST_CASE("the side of a known id never changes between versions") {
    std::string sides;
    for (int i = 0; i < 16; ++i) sides += is_test(hash128(std::to_string(i)), 1, 0.5) ? 'x' : '.';
    CHECK(sides == "x....x...xxx...x");
}

TEST_CASE("positions become table rows") {
    const std::vector<std::uint32_t> rows = {9, 8, 7}, positions = {2, 0};
    CHECK(pick(rows, positions) == std::vector<std::uint32_t>{7, 9});
}
