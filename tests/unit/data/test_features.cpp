// Figures of columns against values that numpy gives, and by hand.

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "data/features.hpp"

using namespace vflbus::data;

namespace {

Column number_column(std::string name, std::initializer_list<double> values) {
    Column column;
    column.name = std::move(name);
    for (const double value : values) column.numbers.push_back(value);
    return column;
}

Column text_column(std::string name, std::vector<std::string> dictionary,
                   std::initializer_list<std::uint32_t> codes) {
    Column column;
    column.name = std::move(name);
    column.kind = ColumnKind::text;
    column.dictionary = std::move(dictionary);
    for (const std::uint32_t code : codes) column.codes.push_back(code);
    return column;
}

Table table_of(std::vector<Column> columns, std::size_t rows) {
    Table table;
    for (std::size_t i = 0; i < rows; ++i) table.ids.push_back(std::to_string(i));
    table.features = std::move(columns);
    return table;
}

std::vector<std::uint32_t> first(std::uint32_t rows) {
    std::vector<std::uint32_t> out;
    for (std::uint32_t i = 0; i < rows; ++i) out.push_back(i);
    return out;
}

}  // namespace

TEST_CASE("information value and weight of evidence are those of the bins") {
    // north: 3 of 4 positive, south: 1 of 4; so p = 3/4 and 1/4, n = 1/4 and 3/4
    const Table table =
        table_of({text_column("region", {"north", "south"}, {0, 0, 0, 0, 1, 1, 1, 1})}, 8);
    const std::vector<std::uint8_t> positive{1, 1, 1, 0, 1, 0, 0, 0};
    const auto figures = feature_figures(table, first(8), positive);
    REQUIRE(figures.size() == 1);
    REQUIRE(figures[0].bins.size() == 2);
    CHECK(figures[0].bins[0].values == "north");
    CHECK(figures[0].bins[0].rows == 4);
    CHECK(figures[0].bins[0].positives == 3);
    CHECK(figures[0].bins[0].evidence == Approx(std::log(3)));
    CHECK(figures[0].bins[1].evidence == Approx(-std::log(3)));
    CHECK(figures[0].information == Approx(std::log(3)));  // 2 (3/4 - 1/4) ln 3
}

TEST_CASE("a bin without rows of one class counts half a row") {
    const Table table = table_of({text_column("t", {"a", "b"}, {0, 0, 1, 1, 1, 1})}, 6);
    const auto figures =
        feature_figures(table, first(6), std::vector<std::uint8_t>{1, 1, 1, 0, 0, 0});
    // a: 2.5 of 3 positives and 0.5 of 3 negatives
    CHECK(figures[0].bins[1].values == "a");  // the more frequent one is the first
    CHECK(figures[0].bins[1].evidence == Approx(std::log(5)));
    CHECK(figures[0].information ==
          Approx((2.5 - 0.5) / 3 * std::log(5) + (1.0 - 3.0) / 3 * std::log(1.0 / 3)));
}

TEST_CASE("numbers fall into quantile bins, missing cells and absent records into their own") {
    Column column;
    column.name = "x";
    for (int i = 0; i < 100; ++i) column.numbers.push_back(i % 50);
    column.numbers.push_back(std::nan(""));
    std::vector<std::uint32_t> rows = first(101);
    rows.push_back(absent_row);
    std::vector<std::uint8_t> positive;
    for (std::size_t i = 0; i < rows.size(); ++i) positive.push_back(i / 50 % 2);
    const auto figures = feature_figures(table_of({column}, 101), rows, positive);
    const auto& bins = figures[0].bins;
    REQUIRE(bins.size() == feature_bins + 2);
    for (std::size_t b = 0; b < feature_bins; ++b) CHECK(bins[b].rows == 10);
    CHECK(bins[0].values == "up to 4");
    CHECK(bins[1].values == "above 4, up to 9");
    CHECK(bins[9].values == "above 44");
    CHECK(bins[10].values == "missing");
    CHECK(bins[11].values == "no record");
    CHECK(figures[0].missing == 2);
    // every bin of numbers has as many of both classes
    CHECK(bins[3].evidence == Approx(0).margin(0.05));
}

TEST_CASE("equal numbers are in one bin, and a constant column tells nothing") {
    const Table table = table_of({number_column("flag", {0, 0, 0, 0, 0, 0, 0, 1, 1, 1}),
                                  number_column("same", {7, 7, 7, 7, 7, 7, 7, 7, 7, 7})},
                                 10);
    const auto figures =
        feature_figures(table, first(10), std::vector<std::uint8_t>{0, 0, 0, 1, 0, 0, 0, 1, 1, 0});
    REQUIRE(figures[0].bins.size() == 2);
    CHECK(figures[0].bins[0].rows == 7);
    CHECK(figures[1].bins.size() == 1);
    CHECK(figures[1].information == Approx(0).margin(1e-12));
    CHECK(figures[1].nearest.empty());
}

TEST_CASE("correlation and variance inflation are those of the correlation matrix") {
    // numpy: r = np.corrcoef([x, y, z]); np.diag(np.linalg.inv(r))
    const Table table = table_of(
        {number_column("x", {1, 2, 3, 4, 5, 6}), text_column("t", {"a"}, {0, 0, 0, 0, 0, 0}),
         number_column("y", {2, 1, 4, 3, 6, 5}), number_column("z", {1, -1, 2, 0, -2, 1})},
        6);
    const auto figures =
        feature_figures(table, first(6), std::vector<std::uint8_t>{0, 1, 0, 1, 0, 1});
    CHECK(figures[0].correlation == Approx(0.8285714285714286));
    CHECK(figures[0].nearest == "y");
    CHECK(figures[2].nearest == "x");
    CHECK(figures[0].inflation == Approx(3.278333333333336).epsilon(1e-7));
    CHECK(figures[2].inflation == Approx(3.208333333333336).epsilon(1e-7));
    CHECK(figures[3].inflation == Approx(1.04).epsilon(1e-7));
    CHECK(figures[3].correlation == Approx(-0.1815682598006407));
    CHECK(figures[3].nearest == "x");
    CHECK(figures[1].inflation == 1);
}

TEST_CASE("columns of one number each are not alike, whatever their means are rounded to") {
    // 0.1 + 0.1 + 0.1 is not three times 0.1
    const Table table =
        table_of({number_column("a", {0.1, 0.1, 0.1}), number_column("b", {0.7, 0.7, 0.7}),
                  number_column("c", {1, 2, 4})},
                 3);
    const auto figures = feature_figures(table, first(3), std::vector<std::uint8_t>{0, 1, 1});
    for (const FeatureFigures& one : figures) {
        CHECK(one.nearest.empty());
        CHECK(one.correlation == 0);
        CHECK(one.inflation == Approx(1));
    }
}

TEST_CASE("a column that follows from others has an infinite inflation, and only those") {
    const Table table = table_of(
        {number_column("x", {1, 2, 3, 4, 5, 6}), number_column("y", {2, 1, 4, 3, 6, 5}),
         number_column("x and y", {3, 3, 7, 7, 11, 11}), number_column("z", {1, -1, 2, 0, -2, 1})},
        6);
    const auto figures =
        feature_figures(table, first(6), std::vector<std::uint8_t>{0, 1, 0, 1, 0, 1});
    for (const std::size_t i : {0, 1, 2}) CHECK(std::isinf(figures[i].inflation));
    CHECK(figures[3].inflation < 2);
}
