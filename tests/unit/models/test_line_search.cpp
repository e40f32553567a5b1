// The strong Wolfe conditions on convex functions, and Newton's step among nearly dependent
// vectors.

#include <algorithm>

#include "models/kernels.hpp"
#include "models/line_search.hpp"
#include "models/span_newton.hpp"
#include "support.hpp"

using namespace vflbus::models;
using namespace support;

namespace {

void check_wolfe(const std::function<LinePoint(double)>& f) {
    const LinePoint start = f(0);
    int calls = 0;
    double last = 0;
    const auto length = wolfe_step(start, [&](double a) {
        ++calls;
        last = a;
        return f(a);
    });
    REQUIRE(length);
    CHECK(*length > 0);
    CHECK(*length == last);
    const LinePoint end = f(*length);
    CHECK(end.value <= start.value + 1e-4 * *length * start.slope + 1e-13 * std::abs(start.value));
    CHECK(std::abs(end.slope) <= 0.9 * std::abs(start.slope));
    CHECK(calls <= 40);
}

}  // namespace

TEST_CASE("a length meets the strong Wolfe conditions, be the minimum near or far") {
    for (const double at : {1e-6, 1e-3, 0.3, 1.0, 1.9, 3.0, 50.0, 1e5})
        check_wolfe([&](double a) { return LinePoint{(a - at) * (a - at) + 3, 2 * (a - at)}; });
    for (const double at : {0.01, 1.0, 20.0})  // steep on one side, flat on the other
        check_wolfe(
            [&](double a) { return LinePoint{std::exp(a - at) - (a - at), std::exp(a - at) - 1}; });
    check_wolfe([](double a) {  // leaves the range of numbers behind 1/2
        return a < 0.5 ? LinePoint{-std::log(1 - 2 * a) - 3 * a, 2 / (1 - 2 * a) - 3}
                       : LinePoint{HUGE_VAL, HUGE_VAL};
    });
}

TEST_CASE("values that differ by rounding alone are judged by the slopes") {
    // a minimum of 1 with a fall of 1e-20: no double is below 1
    const auto f = [](double a) {
        return LinePoint{1 + 1e-20 * (a - 1) * (a - 1), 2e-20 * (a - 1)};
    };
    CHECK(f(0).value == f(1).value);
    const auto length = wolfe_step(f(0), f);
    REQUIRE(length);
    CHECK(*length == 1);
}

TEST_CASE("what does not descend has no length") {
    const auto up = [](double a) { return LinePoint{a, 1}; };
    CHECK_FALSE(wolfe_step({0, 1}, up));
    CHECK_FALSE(wolfe_step({0, 0}, up));
    CHECK_FALSE(wolfe_step({0, NAN}, up));
    CHECK_FALSE(wolfe_step({NAN, -1}, up));
    CHECK_FALSE(wolfe_step({0, -1}, [](double) { return LinePoint{NAN, NAN}; }));
    CHECK_FALSE(wolfe_step({0, -1}, up));  // its slope was a lie
}

TEST_CASE("Newton's step in a span solves what is independent and leaves out the rest") {
    Rng rng(1);
    const std::size_t n = 40;
    const std::size_t r = 6;
    Matrix a = random_matrix(n, r, rng);
    for (double& value : a.col(1)) value *= 1e-9;                   // of another size
    std::copy(a.col(0).begin(), a.col(0).end(), a.col(3).begin());  // twice
    std::fill(a.col(4).begin(), a.col(4).end(), 0.0);               // without curvature
    Matrix h(r, r);
    gradient(a, a, h.view());
    const Matrix target = random_matrix(n, 1, rng);
    Matrix slope(r, 1);
    gradient(a, target, slope.view());
    const std::vector<std::size_t> order = {2, 0, 1, 3, 4, 5};
    const std::vector<double> c = span_newton(h, slope.span(), order, 1e-10);
    CHECK(c[3] == 0);
    CHECK(c[4] == 0);
    CHECK(c[0] != 0);
    for (std::size_t i = 0; i < r; ++i) {  // the gradient there is 0
        double left = slope(i, 0);
        double size = std::abs(left);
        for (std::size_t j = 0; j < r; ++j) left += h(i, j) * c[j];
        CHECK(std::abs(left) <= 1e-10 * (1 + size));
    }
    // the first of two equal ones is taken
    const std::vector<std::size_t> other = {3, 0};
    const std::vector<double> d = span_newton(h, slope.span(), other, 1e-10);
    CHECK(d[3] != 0);
    CHECK(d[0] == 0);
    CHECK(d[2] == 0);
    CHECK(span_newton(h, slope.span(), {}, 1e-10) == std::vector<double>(r, 0.0));
}

TEST_CASE("the tolerance decides how much a vector has to add") {
    Matrix h(2, 2);
    h(0, 0) = h(1, 1) = 1;
    h(0, 1) = h(1, 0) = 1 - 1e-6;
    const std::vector<double> g = {1, 1};
    const std::vector<std::size_t> order = {0, 1};
    CHECK(span_newton(h, g, order, 1e-3)[1] == 0);
    CHECK(span_newton(h, g, order, 1e-9)[1] != 0);
}
