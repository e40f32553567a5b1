// The curves of two classes, against those of scikit-learn.

#include <cmath>
#include <span>
#include <vector>

#include "catch.hpp"
#include "curves_cases.hpp"
#include "models/curves.hpp"

using namespace vflbus::models;

namespace {

std::vector<double> column(const CurvePoints& points, double CurvePoint::* field) {
    std::vector<double> out;
    for (const CurvePoint& point : points) out.push_back(point.*field);
    return out;
}

void check_equal(const std::vector<double>& mine, const std::vector<double>& theirs) {
    REQUIRE(mine.size() == theirs.size());
    for (std::size_t i = 0; i < mine.size(); ++i)
        CHECK(mine[i] == Approx(theirs[i]).epsilon(1e-12).margin(1e-15));
}

}  // namespace

TEST_CASE("curves are those of scikit-learn") {
    for (const CurvesCase& c : curves_cases) {
        CAPTURE(c.name);
        const RankedScores ranked(c.y, c.score);
        const CurvePoints roc = ranked.roc();
        check_equal(column(roc, &CurvePoint::x), c.fpr);
        check_equal(column(roc, &CurvePoint::y), c.tpr);
        check_equal(column(roc, &CurvePoint::threshold), c.thresholds);
        CurvePoints pr = ranked.precision_recall();
        // theirs begins at the smallest threshold, and its last point has none
        std::vector<double> precision = column(pr, &CurvePoint::y);
        std::vector<double> recall = column(pr, &CurvePoint::x);
        std::vector<double> thresholds = column(pr, &CurvePoint::threshold);
        thresholds.erase(thresholds.begin());
        check_equal({precision.rbegin(), precision.rend()}, c.precision);
        check_equal({recall.rbegin(), recall.rend()}, c.recall);
        check_equal({thresholds.rbegin(), thresholds.rend()}, c.pr_thresholds);
        CHECK(ranked.average_precision() == Approx(c.average_precision).epsilon(1e-12));
        CHECK(ranked.ks().x == Approx(c.ks).epsilon(1e-12));
        std::vector<double> observed, predicted;
        std::uint64_t binned = 0;
        for (const CalibrationBin& bin : calibration(c.y, c.score, 5)) {
            observed.push_back(bin.observed);
            predicted.push_back(bin.predicted);
            binned += bin.rows;
        }
        check_equal(observed, c.observed);
        check_equal(predicted, c.predicted);
        CHECK(binned == c.y.size());
        const Confusion at = ranked.confusion(0.5);
        check_equal(
            {static_cast<double>(at.true_negatives), static_cast<double>(at.false_positives),
             static_cast<double>(at.false_negatives), static_cast<double>(at.true_positives)},
            c.confusion);
    }
}

TEST_CASE("gains say which share of the positive rows the best rows hold") {
    const std::vector<double> y{1, 0, 1, 0}, score{.9, .8, .8, .1};
    const CurvePoints gains = RankedScores(y, score).gains();
    check_equal(column(gains, &CurvePoint::x), {0, .25, .75, 1});
    check_equal(column(gains, &CurvePoint::y), {0, .5, 1, 1});
}

TEST_CASE("rows of one class have no curves") {
    const std::vector<double> y{1, 1}, score{.9, .8};
    const RankedScores ranked(y, score);
    CHECK_FALSE(ranked.separable());
    CHECK(ranked.roc().empty());
    CHECK(ranked.precision_recall().empty());
    CHECK(std::isnan(ranked.average_precision()));
    CHECK(std::isnan(ranked.ks().x));
    CHECK(ranked.confusion(.85).false_negatives == 1);
    CHECK_FALSE(RankedScores({}, {}).separable());
}

TEST_CASE("a thinned curve has its ends and stays close to the whole one") {
    CurvePoints points;
    for (int i = 0; i <= 10'000; ++i) points.push_back({i / 1e4, std::sqrt(i / 1e4), 1 - i / 1e4});
    const CurvePoints few = thinned(points, 100);
    REQUIRE(few.size() <= 100);
    CHECK(few.size() > 90);
    CHECK(few.front().x == 0);
    CHECK(few.back().x == 1);
    for (std::size_t i = 1; i < few.size(); ++i)
        CHECK(few[i].x - few[i - 1].x + few[i].y - few[i - 1].y < 2.5 / 99);
    CHECK(thinned(few, 200).size() == few.size());
}
