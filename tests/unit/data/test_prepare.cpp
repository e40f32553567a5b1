// How a party says that its columns become numbers.

#include <cmath>

#include "data/preprocess.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;
using Catch::Matchers::Contains;

namespace {

std::vector<std::uint32_t> rows_of(const Table& table) {
    std::vector<std::uint32_t> rows(table.rows());
    std::iota(rows.begin(), rows.end(), 0U);
    return rows;
}

Table prepared(std::string_view csv, const std::vector<std::string>& rules) {
    auto table = read_text(csv);
    if (!table) FAIL(table.error().sentence);
    auto parsed = parse_prepare_rules(rules);
    if (!parsed) FAIL(parsed.error().sentence);
    table->prepare = std::move(*parsed);
    return std::move(*table);
}

/// The design of the rows that it was fitted on, column by column.
std::vector<std::vector<double>> design_of(const Table& table, Preprocessor* fitted = nullptr) {
    const auto rows = rows_of(table);
    const Preprocessor preprocessor = fit(table, rows, {});
    const auto design = transform(preprocessor, table, rows);
    if (!design) FAIL(design.error().sentence);
    std::vector<std::vector<double>> out(design->cols());
    for (std::size_t c = 0; c < design->cols(); ++c)
        for (std::size_t r = 0; r < design->rows(); ++r) out[c].push_back((*design)(r, c));
    if (fitted != nullptr) *fitted = preprocessor;
    return out;
}

std::string refusal_of(const std::string& rule) {
    const auto parsed = parse_prepare_rules(std::vector{rule});
    return parsed ? "accepted" : parsed.error().sentence;
}

constexpr const char* numbers = "id,x,y\na,1,1\nb,2,1\nc,,2\nd,4,1\ne,93,\n";

}  // namespace

TEST_CASE("missing numbers become the median or a constant, and say that they were missing") {
    auto design = design_of(prepared(numbers, {"*=missing=median scale=none has-value"}));
    REQUIRE(design.size() == 4);
    CHECK(design[0] == std::vector<double>{1, 2, 3, 4, 93});
    CHECK(design[1] == std::vector<double>{1, 1, 0, 1, 1});
    CHECK(design[2] == std::vector<double>{1, 1, 2, 1, 1});
    CHECK(design[3] == std::vector<double>{1, 1, 1, 1, 0});
    design = design_of(prepared(numbers, {"x=missing=-1 scale=none"}));
    CHECK(design[0] == std::vector<double>{1, 2, -1, 4, 93});
    // where nothing is missing in training there is nothing to say
    Preprocessor fitted;
    design_of(prepared("id,x\na,1\nb,2\n", {"x=has-value"}), &fitted);
    CHECK(fitted.feature_names() == std::vector<std::string>{"x"});
    design_of(prepared(numbers, {"x=has-value"}), &fitted);
    CHECK(fitted.feature_names() == std::vector<std::string>{"x", "has x", "y"});
}

TEST_CASE("a column of one number that is missing at times is a feature where its rule says so") {
    constexpr const char* flags = "id,x,f\na,1,0.1\nb,2,\nc,3,0.1\nd,4,0.1\n";
    CHECK(design_of(prepared(flags, {"f=scale=none"})).size() == 1);
    CHECK(design_of(prepared(flags, {"f=missing=0.1"})).size() == 1);
    auto design = design_of(prepared(flags, {"f=missing=0 scale=none"}));
    REQUIRE(design.size() == 2);
    CHECK(design[1] == std::vector<double>{0.1, 0, 0.1, 0.1});
    design = design_of(prepared(flags, {"f=has-value"}));
    REQUIRE(design.size() == 3);
    CHECK(design[1] == std::vector<double>{0, 0, 0, 0});
    CHECK(design[2] == std::vector<double>{1, 0, 1, 1});
    // nothing was there at all
    CHECK(design_of(prepared("id,x,f\na,1,\nb,2,\n", {"f=missing=0"})).size() == 1);
}

TEST_CASE("equal numbers are not scaled by what rounding leaves of their deviation") {
    // each of ten texts in a tenth of the rows: ten times 0.1, the mean of which is not 0.1
    std::string csv = "id,t\n";
    for (int i = 0; i < 10; ++i) csv += std::to_string(i) + "," + std::string(1, 'a' + i) + "\n";
    const Table table = prepared(csv, {"t=text=frequency"});
    const Preprocessor fitted = fit(table, rows_of(table), {});
    REQUIRE(fitted.columns.size() == 1);
    CHECK(fitted.columns[0].scale == 1);
    CHECK(fitted.columns[0].mean == 0.1);
}

TEST_CASE("scaling by the range, by the quartiles, or not at all") {
    const auto column = [](const std::string& rule) {
        return design_of(prepared("id,x\na,0\nb,2\nc,4\nd,6\ne,100\n", {"x=" + rule}))[0];
    };
    CHECK(column("scale=minmax") == std::vector<double>{0, 0.02, 0.04, 0.06, 1});
    CHECK(column("scale=robust") == std::vector<double>{-1, -0.5, 0, 0.5, 24});
    CHECK(column("scale=none") == std::vector<double>{0, 2, 4, 6, 100});
    CHECK(column("scale=standard") == column("missing=mean"));
    // numpy's quantiles .1 and .9: .8 and 62.4
    const auto clipped = column("scale=none clip=0.1");
    CHECK(clipped[0] == Approx(0.8));
    CHECK(clipped[1] == 2);
    CHECK(clipped[4] == Approx(62.4));
}

TEST_CASE("a column that no rule names is prepared as ever") {
    const auto plain = design_of(prepared(numbers, {}));
    CHECK(plain == design_of(prepared(numbers, {"z=missing=median"})));
    CHECK(plain == design_of(prepared(numbers, {"*=text=frequency"})));
    CHECK(plain[0] != design_of(prepared(numbers, {"x*=missing=median"}))[0]);
}

TEST_CASE("texts by frequency, by place, by bucket, and what training did not know") {
    const std::string csv = "id,t\na,oak\nb,ash\nc,oak\nd,\ne,elm\n";
    Preprocessor fitted;
    CHECK(design_of(prepared(csv, {"t=text=frequency scale=none"}))[0] ==
          std::vector<double>{0.4, 0.2, 0.4, 0, 0.2});
    CHECK(design_of(prepared(csv, {"t=text=ordinal scale=none"}), &fitted)[0] ==
          std::vector<double>{3, 1, 3, 0, 2});
    const auto later = read_text("id,t\na,elm\nb,yew\nc,\n");
    REQUIRE(later);
    TransformReport report;
    auto design = transform(fitted, *later, rows_of(*later), &report);
    REQUIRE(design);
    CHECK((*design)(0, 0) == 2);
    CHECK((*design)(1, 0) == 0);
    CHECK((*design)(2, 0) == 0);
    CHECK(report.unseen_values == 1);

    const auto hashed = design_of(prepared(csv, {"t=text=hash:8"}), &fitted);
    REQUIRE(hashed.size() == 8);
    CHECK(fitted.feature_names()[7] == "t#7");
    report = {};
    design = transform(fitted, *later, rows_of(*later), &report);
    REQUIRE(design);
    CHECK(report.unseen_values == 0);
    for (std::size_t r = 0; r < 3; ++r) {
        double sum = 0;
        for (std::size_t c = 0; c < 8; ++c) sum += (*design)(r, c);
        CHECK(sum == (r == 2 ? 0 : 1));  // an unknown text has a bucket, a missing one none
    }
    for (std::size_t c = 0; c < 8; ++c) CHECK(hashed[c][0] == hashed[c][2]);
}

TEST_CASE("codings take more texts than one-hot does") {
    std::string csv = "id,t\n";
    for (int i = 0; i < 200; ++i) csv += std::to_string(i) + ",t" + std::to_string(i % 100) + "\n";
    CHECK(design_of(prepared(csv, {})).empty());
    CHECK(design_of(prepared(csv, {"t=text=ordinal"})).size() == 1);
    CHECK(design_of(prepared(csv, {"t=text=hash:16"})).size() == 16);
}

TEST_CASE("a rule that is none is refused, with the words that there are") {
    CHECK_THAT(refusal_of("x"), Contains("is not of the form COLUMN=WORDS"));
    for (const std::string word : {"missing=often", "scale=wide", "clip=0.5", "clip=0", "text=hash",
                                   "text=hash:1", "text=ordinal:3", "median", "has-value=1"})
        CHECK_THAT(refusal_of("x=" + word),
                   Contains("\"" + word + "\" of column \"x\"") && Contains("missing=median"));
    CHECK(refusal_of("x=missing=median  has-value clip=0.01 scale=robust") == "accepted");
}
