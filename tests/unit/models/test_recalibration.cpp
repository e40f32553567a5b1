// Slopes and offsets that make scores log-odds.

#include <cmath>

#include "base/rng.hpp"
#include "catch.hpp"
#include "models/recalibration.hpp"

using namespace vflbus;
using namespace vflbus::models;

TEST_CASE("probabilities of two classes are those of one label, with weights and without") {
    const bool weighted = GENERATE(true, false);
    constexpr std::size_t rows = 400;
    Rng rng(5);
    Matrix scores(rows, 1);
    Matrix both(rows, 2);
    Matrix labels(rows, 1);
    std::vector<double> weights;
    for (std::size_t i = 0; i < rows; ++i) {
        const double z = 4 * rng.uniform() - 2;
        scores(i, 0) = z;
        both(i, 0) = -z / 2;
        both(i, 1) = z / 2;
        labels(i, 0) = rng.uniform() < 1 / (1 + std::exp(-(3 * z + .7))) ? 1 : 0;
        if (weighted) weights.push_back(1 + 3 * rng.uniform());
    }
    const Recalibration one = fit_recalibration(scores, labels, weights);
    const Recalibration two = fit_class_recalibration(both, labels, weights);
    REQUIRE(two.slope.size() == 2);
    CHECK(one.slope[0] == Approx(3).epsilon(.4));
    CHECK(two.slope[0] == Approx(one.slope[0]).epsilon(1e-5));
    CHECK(two.slope[1] == two.slope[0]);
    CHECK(two.offset[1] - two.offset[0] == Approx(one.offset[0]).epsilon(1e-4).margin(1e-6));
    CHECK(two.offset[0] + two.offset[1] == Approx(0).margin(1e-12));
}

TEST_CASE("scores that say nothing leave the shares of the classes") {
    Matrix scores(6, 3);
    Matrix labels(6, 1);
    for (std::size_t i = 0; i < 6; ++i) labels(i, 0) = i < 3 ? 0 : i < 5 ? 1 : 2;
    const Recalibration fit = fit_class_recalibration(scores, labels);
    CHECK(fit.slope[0] == Approx(1));
    CHECK(fit.offset[0] - fit.offset[1] == Approx(std::log(3. / 2)).epsilon(1e-6));
    CHECK(fit.offset[1] - fit.offset[2] == Approx(std::log(2.)).epsilon(1e-6));
}
