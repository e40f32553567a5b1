#include <cmath>
#include <cstdint>

#include "data/preprocess.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;
using Catch::Matchers::Contains;
using Rows = std::vector<std::uint32_t>;

namespace {
std::vector<double> column_of(const Design& design, std::size_t c) {
    std::vector<double> values;
    for (std::size_t r = 0; r < design.rows(); ++r) values.push_back(design(r, c));
    return values;
}
}  // namespace

TEST_CASE("numbers get mean 0 and deviation 1 on the training rows only") {
    const Table t = table_of("id,x\na,1\nb,2\nc,3\nd,6\ne,1000\n");
    const Preprocessor p = fit(t, Rows{0, 1, 2, 3}, {});
    REQUIRE(p.columns.size() == 1);
    CHECK(p.columns[0].mean == 3);
    CHECK(p.columns[0].scale == std::sqrt(3.5));  // population: (4 + 1 + 0 + 9) / 4
    const auto design = transform(p, t, Rows{4, 0});
    REQUIRE(design);
    CHECK(column_of(*design, 0) == std::vector<double>{997 / std::sqrt(3.5), -2 / std::sqrt(3.5)});
    CHECK(reinterpret_cast<std::uintptr_t>(design->data()) % 64 == 0);
}

TEST_CASE("missing cells become the training mean and are counted") {
    const Table t = table_of("id,x\na,1\nb,\nc,3\nd,\n");
    PreprocessReport report;
    const Preprocessor p = fit(t, Rows{0, 1, 2}, {}, &report);
    REQUIRE(report.filled.size() == 1);
    CHECK(report.filled[0].name == "x");
    CHECK(report.filled_cells == 1);
    CHECK(p.columns[0].scale == std::sqrt(2.0 / 3));  // as after filling in
    TransformReport done;
    const auto design = transform(p, t, Rows{3, 1, 0}, &done);
    CHECK((*design)(0, 0) == 0);
    CHECK((*design)(1, 0) == 0);
    CHECK(done.filled_cells == 2);
}

TEST_CASE("without standardize numbers stay as they are") {
    const Table t = table_of("id,x\na,1\nb,\nc,4\n");
    const auto design = transform(fit(t, Rows{0, 1, 2}, {false, 32}), t, Rows{0, 1, 2});
    CHECK(column_of(*design, 0) == std::vector<double>{1, 2.5, 4});
}

TEST_CASE("pixels are scaled together, and stay when they are the same in all rows") {
    Table t = table_of("id,p0,p1,p2,p3\na,0,1,0,7\nb,0,3,0,\nc,0,9,0,4\n");
    t.image = ImageShape{2, 2, 1};
    REQUIRE(check_image(t));
    PreprocessOptions options;
    options.pixels = true;
    PreprocessReport report;
    const Preprocessor p = fit(t, Rows{0, 1}, options, &report);
    CHECK(p.image == ImageShape{2, 2, 1});
    REQUIRE(p.columns.size() == 4);
    const double mean = 11.0 / 7;  // of what is there in the first two rows
    const double scale = std::sqrt((4 * mean * mean + (1 - mean) * (1 - mean) +
                                    (3 - mean) * (3 - mean) + (7 - mean) * (7 - mean)) /
                                   7);
    for (const PreparedColumn& column : p.columns) {
        CHECK(column.mean == Approx(mean).epsilon(1e-14));
        CHECK(column.scale == Approx(scale).epsilon(1e-14));
    }
    REQUIRE(report.filled.size() == 1);
    CHECK(report.filled[0].name == "p3");
    CHECK(report.removed.empty());
    const auto design = transform(p, t, Rows{1, 2});
    REQUIRE(design);
    CHECK((*design)(0, 3) == 0);
    CHECK((*design)(1, 3) == Approx((4 - mean) / scale));
    CHECK((*design)(1, 0) == Approx(-mean / scale));
    options.standardize = false;
    CHECK(column_of(*transform(fit(t, Rows{0, 1}, options), t, Rows{0, 2}), 1) ==
          std::vector<double>{1, 9});
}

TEST_CASE("a table that holds no pictures of the stated size is refused in a sentence") {
    Table t = table_of("id,p0,p1,p2\na,0,1,2\nb,0,3,5\n");
    t.image = ImageShape{2, 2, 1};
    auto good = check_image(t);
    REQUIRE_FALSE(good);
    CHECK_THAT(good.error().sentence,
               Contains("has 3 columns of features, but image = \"2x2\" takes 4"));
    t.image = ImageShape{1, 1, 3};
    CHECK(check_image(t));
    t = table_of("id,p0,p1\na,0,dark\nb,0,light\n");
    t.image = ImageShape{1, 2, 1};
    good = check_image(t);
    REQUIRE_FALSE(good);
    CHECK_THAT(good.error().sentence,
               Contains("column 'p1' holds text such as 'dark', and pixels are numbers"));
}

TEST_CASE("texts become one column per value, missing and unseen ones none") {
    const Table t = table_of("id,t,x\na,red,1\nb,blue,2\nc,,3\nd,green,4\n");
    PreprocessReport report;
    const Preprocessor p = fit(t, Rows{0, 1, 2}, {}, &report);
    CHECK(p.feature_names() == std::vector<std::string>{"t=blue", "t=red", "x"});
    CHECK(p.width() == 3);
    CHECK(report.one_hot[0].count == 2);
    CHECK(report.blank[0].count == 1);
    TransformReport done;
    const auto design = transform(p, t, Rows{0, 1, 2, 3}, &done);
    CHECK(column_of(*design, 0) == std::vector<double>{0, 1, 0, 0});
    CHECK(column_of(*design, 1) == std::vector<double>{1, 0, 0, 0});
    CHECK(done.unseen_values == 1);
    CHECK(done.unseen[0].name == "t");
}

TEST_CASE("columns that say nothing are removed by name with the reason") {
    const Table t = table_of(
        "id,const,empty,word,far,ok,late\na,5,,w,u,1,\nb,5,,w,v,2,\nc,,,w,x,3,\nd,9,1,z,y,4,7\n");
    PreprocessReport report;
    const Preprocessor p = fit(t, Rows{0, 1, 2}, {true, 2}, &report);
    REQUIRE(p.columns.size() == 1);
    CHECK(p.columns[0].name == "ok");
    std::string removed;
    for (const LeftOut& column : report.removed)
        removed += column.name + ": " + column.reason + "; ";
    CHECK(
        removed ==
        "const: it is constant on the training rows; empty: all training cells are missing; word: "
        "it is constant on the training rows; far: 3 different texts, more than one_hot_max = 2; "
        "late: all training cells are missing; ");
}

TEST_CASE("amounts that were taken for texts are told with what makes numbers of them") {
    const Table t = table_of(
        "id,share,price,dash,name\na,12 %,\"$5,000\",1.5,a1\nb,3 %,\"$7\",-,b2\nc,5 "
        "%,(3.1),2,c3\n");
    PreprocessReport report;
    fit(t, Rows{0, 1, 2}, {true, 2}, &report);
    std::string hints;
    for (const LeftOut& column : report.removed)
        if (column.reason.ends_with("; most look like numbers: declare it \"number\" (columns)"))
            hints += column.name + " ";
    CHECK(hints == "share price ");  // a dash among numbers is a missing one
    CHECK(report.removed.size() == 3);
}

TEST_CASE("numbers that cannot be scaled are removed, not divided by zero") {
    const Table t =
        table_of("id,huge,tiny,x\na,1e308,1e-320,1\nb,-1e308,2e-320,2\nc,1e308,1e-320,3\n");
    PreprocessReport report;
    const Preprocessor p = fit(t, Rows{0, 1, 2}, {}, &report);
    REQUIRE(p.columns.size() == 1);
    CHECK(report.removed.size() == 2);
}

TEST_CASE("a column that is gone or has become text is one sentence") {
    const Table t = table_of("id,age,t\na,1,u\nb,2,v\n");
    const Preprocessor p = fit(t, Rows{0, 1}, {});
    auto gone = transform(p, table_of("id,aeg,t\na,1,u\n"), Rows{0});
    REQUIRE_FALSE(gone);
    CHECK(gone.error().code == Errc::bad_data);
    CHECK_THAT(gone.error().sentence, Contains("no column 'age'") && Contains("is it 'aeg' now?"));
    const auto text = transform(p, table_of("id,age,t\na,old,u\n"), Rows{0});
    REQUIRE_FALSE(text);
    CHECK_THAT(text.error().sentence, Contains("'age' holds text such as 'old'"));
}

TEST_CASE("texts that look like numbers in a small file still find their column") {
    const Table t = table_of("id,t\na,1\nb,x\nc,y\n");
    const Preprocessor p = fit(t, Rows{0, 1, 2}, {});
    TransformReport done;
    const auto design = transform(p, table_of("id,t\nq,1\nr,2\ns,\n"), Rows{0, 1, 2}, &done);
    REQUIRE(design);
    CHECK(column_of(*design, 0) == std::vector<double>{1, 0, 0});
    CHECK(done.unseen_values == 1);
}

TEST_CASE("the freeing form gives the same numbers and leaves no column behind") {
    std::string text = "id,t";
    for (int c = 0; c < 21; ++c) text += ",x" + std::to_string(c);
    text += "\n";
    for (int r = 0; r < 40; ++r) {
        text += std::to_string(r) + (r % 3 == 0 ? ",u" : ",v");
        for (int c = 0; c < 21; ++c)
            text += r % 7 == c % 7 ? "," : "," + std::to_string((r * 31 + c * 17) % 50);
        text += "\n";
    }
    Table t = table_of(text);
    const Rows train = {5, 1, 39, 7, 8, 9, 20}, test = {0, 2, 38};
    const Preprocessor p = fit(t, train, {});
    const auto one = transform(p, t, train);
    const auto two = transform(p, t, test);
    const std::span<const std::uint32_t> sets[] = {train, test};
    std::vector<TransformReport> reports;
    const auto both = transform_and_free(p, t, sets, &reports);
    REQUIRE(both);
    CHECK(t.features.empty());
    CHECK(reports.size() == 2);
    CHECK(std::equal(one->data(), one->data() + one->rows() * one->cols(), (*both)[0].data()));
    CHECK(std::equal(two->data(), two->data() + two->rows() * two->cols(), (*both)[1].data()));
}

TEST_CASE("no rows have an empty design, whatever the columns are") {
    Table t = table_of("id,a,b,c\nu,1,red,4\nv,2,blue,\nw,5,red,7\n");
    t.prepare = parse_prepare_rules(std::vector<std::string>{"c=has-value"}).value();
    Preprocessor p = fit(t, Rows{0, 1, 2}, {});
    p.columns.push_back(presence_column());
    const auto design = transform(p, t, Rows{});
    REQUIRE(design);
    CHECK(design->rows() == 0);
    CHECK(design->cols() == 6);
}

TEST_CASE("a party without usable columns has an empty design") {
    const Table t = table_of("id,x\na,1\nb,1\n");
    const Preprocessor p = fit(t, Rows{0, 1}, {});
    const auto design = transform(p, t, Rows{0, 1});
    REQUIRE(design);
    CHECK(design->rows() == 2);
    CHECK(design->cols() == 0);
    CHECK(design->row(1).empty());
}
