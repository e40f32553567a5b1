#include <algorithm>
#include <map>
#include <string>
#include <vector>

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

namespace {

/// 1,000 ids, of which a tenth is of class 1, and four of class 2.
struct Classes {
    std::vector<Hash128> ids;
    std::vector<std::uint32_t> of;
    Classes() {
        for (int i = 0; i < 1000; ++i) {
            ids.push_back(hash128(std::to_string(i)));
            of.push_back(i < 4 ? 2 : i % 10 == 9);
        }
    }
    [[nodiscard]] std::size_t count(const std::vector<std::uint32_t>& rows, std::uint32_t c) const {
        std::size_t found = 0;
        for (const std::uint32_t row : rows) found += of[row] == c;
        return found;
    }
};

}  // namespace

TEST_CASE("each class has its share of the test rows, and the fraction holds in all") {
    const Classes classes;
    const Split split = split_stratified(classes.ids, classes.of, 3, 0.2);
    CHECK(split.test.size() == 200);
    CHECK(split.train.size() == 800);
    CHECK(classes.count(split.test, 0) >= 179);
    CHECK(classes.count(split.test, 0) <= 180);
    CHECK(classes.count(split.test, 1) == 20);
    CHECK(classes.count(split.test, 2) <= 1);
    CHECK(std::is_sorted(split.test.begin(), split.test.end()));
    const Split again = split_stratified(classes.ids, classes.of, 3, 0.2);
    CHECK(again.test == split.test);
    CHECK(split_stratified(classes.ids, classes.of, 4, 0.2).test != split.test);
}

TEST_CASE("a stratified split has a test row where there can be one, and loses no class") {
    const std::vector<Hash128> ids = {hash128("a"), hash128("b"), hash128("c")};
    const std::vector<std::uint32_t> of = {0, 1, 1};
    const Split small = split_stratified(ids, of, 1, 0.01);
    REQUIRE(small.test.size() == 1);
    CHECK(of[small.test[0]] == 1);
    const Split large = split_stratified(ids, of, 1, 0.99);
    CHECK(large.test.size() == 1);
    CHECK(split_stratified({}, {}, 1, 0.5).test.empty());
}

TEST_CASE("rows of one id are on the same side of a stratified split") {
    std::vector<Hash128> ids;
    std::vector<std::uint32_t> of;
    for (int i = 0; i < 100; ++i)
        for (int k = 0; k < 3; ++k) {
            ids.push_back(hash128(std::to_string(i)));
            of.push_back(static_cast<std::uint32_t>((i + k) % 2));
        }
    const Split split = split_stratified(ids, of, 1, 0.3);
    REQUIRE(split.test.size() == 90);
    for (std::size_t i = 0; i < split.test.size(); i += 3) {
        CHECK(split.test[i] % 3 == 0);
        CHECK(split.test[i + 2] == split.test[i] + 2);
    }
}

TEST_CASE("folds have their share of each class, and differ by one id at most") {
    const Classes classes;
    for (const std::uint64_t folds : {2U, 3U, 7U}) {
        CAPTURE(folds);
        const std::vector<std::uint32_t> of = folds_of(classes.ids, classes.of, 3, folds);
        REQUIRE(of.size() == classes.ids.size());
        std::map<std::uint32_t, std::size_t> in_all;
        std::map<std::pair<std::uint32_t, std::uint32_t>, std::size_t> in_class;
        for (std::size_t row = 0; row < of.size(); ++row) {
            ++in_all[of[row]];
            ++in_class[{classes.of[row], of[row]}];
        }
        CHECK(in_all.size() == folds);
        for (const auto& [fold, ids] : in_all) {
            CHECK(ids >= of.size() / folds);
            CHECK(ids <= of.size() / folds + 1);
        }
        for (const std::uint32_t number : {0U, 1U})
            for (std::uint32_t fold = 1; fold < folds; ++fold) {
                const std::size_t a = in_class[{number, fold}];
                const std::size_t b = in_class[{number, fold - 1}];
                CHECK((a > b ? a - b : b - a) <= 1);
            }
        CHECK(folds_of(classes.ids, classes.of, 3, folds) == of);
        CHECK(folds_of(classes.ids, classes.of, 4, folds) != of);
    }
}

TEST_CASE("rows of one id are in the same fold") {
    std::vector<Hash128> ids;
    for (int i = 0; i < 40; ++i)
        for (int k = 0; k < 1 + i % 3; ++k) ids.push_back(hash128(std::to_string(i)));
    const std::vector<std::uint32_t> of = folds_of(ids, {}, 1, 4);
    for (std::size_t row = 1; row < ids.size(); ++row)
        if (ids[row] == ids[row - 1]) CHECK(of[row] == of[row - 1]);
}
