// Our exp, log, log1p, sigmoid and softplus against long double references, in units in the last
// place.

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "models/kernels.hpp"
#include "models/math.hpp"
#include "support.hpp"

namespace models = vflbus::models;
using support::Rng;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double no_number = std::numeric_limits<double>::quiet_NaN();
constexpr double tiniest = std::numeric_limits<double>::denorm_min();
constexpr double largest = std::numeric_limits<double>::max();

/// Distance in units of the spacing of doubles around the reference.
double ulps(double got, long double want) {
    const double rounded = static_cast<double>(want);
    if (std::isinf(rounded) || rounded == 0) return got == rounded ? 0 : inf;
    const int exponent = std::max(std::ilogb(rounded), -1022);
    return static_cast<double>(std::fabs(got - want) / std::ldexp(1.0L, exponent - 52));
}

double worst(double (*ours)(double), long double (*reference)(long double),
             const std::vector<double>& points) {
    double most = 0;
    for (const double x : points) most = std::max(most, ulps(ours(x), reference(x)));
    return most;
}

std::vector<double> uniform(double from, double to, std::size_t n) {
    Rng rng(7);
    std::vector<double> out(n);
    for (double& x : out) x = from + (to - from) * rng.uniform();
    return out;
}

/// Spread evenly over the exponents from 2^from to 2^to.
std::vector<double> by_exponent(int from, int to, std::size_t n) {
    Rng rng(8);
    std::vector<double> out(n);
    for (double& x : out)
        x = std::ldexp(1 + rng.uniform(),
                       from + static_cast<int>(rng.below(static_cast<std::uint64_t>(to - from))));
    return out;
}

std::vector<double> negated(std::vector<double> values) {
    for (double& x : values) x = -x;
    return values;
}

long double exp_reference(long double x) {
    return std::exp(x);
}
long double log_reference(long double x) {
    return std::log(x);
}
long double log1p_reference(long double x) {
    return std::log1p(x);
}
long double sigmoid_reference(long double z) {
    return 1 / (1 + std::exp(-z));
}
long double softplus_reference(long double z) {
    return (z > 0 ? z : 0) + std::log1p(std::exp(-std::fabs(z)));
}

std::uint64_t bits(double x) {
    return std::bit_cast<std::uint64_t>(x);
}

}  // namespace

TEST_CASE("exp stays below one ulp over its range") {
    CHECK(worst(models::exp, exp_reference, uniform(-708, 709.7, 200000)) < 1.0);
    CHECK(worst(models::exp, exp_reference, uniform(-1, 1, 100000)) < 1.0);
    CHECK(worst(models::exp, exp_reference, by_exponent(-60, 0, 20000)) < 1.0);
    CHECK(worst(models::exp, exp_reference, uniform(-745, -708, 20000)) < 1.0);  // denormal results
}

TEST_CASE("exp of what is special") {
    CHECK(models::exp(0.0) == 1.0);
    CHECK(models::exp(-0.0) == 1.0);
    CHECK(models::exp(inf) == inf);
    CHECK(models::exp(-inf) == 0.0);
    CHECK(std::isnan(models::exp(no_number)));
    CHECK(models::exp(709.79) == inf);
    CHECK(models::exp(1e300) == inf);
    CHECK(models::exp(-746) == 0.0);
    CHECK(models::exp(-745) == tiniest);
    CHECK(models::exp(tiniest) == 1.0);
    CHECK(models::exp(largest) == inf);
    CHECK(models::exp(-largest) == 0.0);
}

TEST_CASE("log stays below one ulp over its range") {
    CHECK(worst(models::log, log_reference, by_exponent(-1022, 1023, 200000)) < 1.0);
    CHECK(worst(models::log, log_reference, uniform(0.5, 2, 200000)) < 1.0);
    CHECK(worst(models::log, log_reference, by_exponent(-1074, -1022, 20000)) < 1.0);
}

TEST_CASE("log of what is special") {
    CHECK(models::log(1.0) == 0.0);
    CHECK(models::log(0.0) == -inf);
    CHECK(models::log(-0.0) == -inf);
    CHECK(models::log(inf) == inf);
    CHECK(std::isnan(models::log(-1.0)));
    CHECK(std::isnan(models::log(-inf)));
    CHECK(std::isnan(models::log(no_number)));
    CHECK(ulps(models::log(tiniest), std::log(static_cast<long double>(tiniest))) < 1.0);
    CHECK(ulps(models::log(largest), std::log(static_cast<long double>(largest))) < 1.0);
}

TEST_CASE("log1p stays below one ulp, small arguments included") {
    CHECK(worst(models::log1p, log1p_reference, uniform(-0.99999, 1, 200000)) < 1.0);
    CHECK(worst(models::log1p, log1p_reference, by_exponent(-80, 60, 200000)) < 1.0);
    CHECK(worst(models::log1p, log1p_reference, negated(by_exponent(-80, -1, 200000))) < 1.0);
    CHECK(models::log1p(-1.0) == -inf);
    CHECK(models::log1p(inf) == inf);
    CHECK(std::isnan(models::log1p(-1.5)));
    CHECK(std::isnan(models::log1p(no_number)));
    CHECK(bits(models::log1p(-0.0)) == bits(-0.0));
    CHECK(models::log1p(tiniest) == tiniest);
}

TEST_CASE("sigmoid and softplus do not overflow and stay below three ulp") {
    CHECK(worst(models::sigmoid, sigmoid_reference, uniform(-700, 700, 100000)) < 3.0);
    CHECK(worst(models::sigmoid, sigmoid_reference, uniform(-5, 5, 100000)) < 3.0);
    CHECK(worst(models::softplus, softplus_reference, uniform(-700, 700, 100000)) < 3.0);
    CHECK(worst(models::softplus, softplus_reference, uniform(-5, 5, 100000)) < 3.0);
    CHECK(models::sigmoid(0.0) == 0.5);
    CHECK(models::sigmoid(inf) == 1.0);
    CHECK(models::sigmoid(-inf) == 0.0);
    CHECK(std::isnan(models::sigmoid(no_number)));
    CHECK(models::softplus(-inf) == 0.0);
    CHECK(models::softplus(inf) == inf);
    CHECK(models::softplus(1e6) == 1e6);
    CHECK(std::isnan(models::softplus(no_number)));
}

TEST_CASE("arrays hold the scalars' bits for every instruction set and alignment") {
    std::vector<double> points = uniform(-40, 40, 997);
    for (const double x :
         {0.0, -0.0, inf, -inf, no_number, tiniest, -tiniest, largest, -746.0, 709.9})
        points.push_back(x);
    const auto same = [&](void (*array)(std::span<const double>, std::span<double>) noexcept,
                          double (*scalar)(double) noexcept) {
        for (const models::Isa isa :
             {models::Isa::baseline, models::Isa::avx2, models::Isa::avx512}) {
            models::use_isa(isa);
            for (std::size_t skip = 0; skip < 9; ++skip) {
                const std::span<const double> in = std::span(points).subspan(skip);
                std::vector<double> out(in.size());
                array(in, out);
                for (std::size_t i = 0; i < in.size(); ++i) {
                    const double want = scalar(in[i]);
                    if (std::isnan(want) ? !std::isnan(out[i]) : bits(out[i]) != bits(want))
                        return false;
                }
            }
        }
        models::use_isa(models::best_isa());
        return true;
    };
    CHECK(same(models::exp, models::exp));
    CHECK(same(models::log, models::log));
    CHECK(same(models::sigmoid, models::sigmoid));
    CHECK(same(models::softplus, models::softplus));
}

TEST_CASE("the bits of ten thousand values are those of every other build") {
    // FNV-1a over the results; a compiler or flag that changes one bit changes this number
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    const auto take = [&](double x) { hash = (hash ^ bits(x)) * 0x100000001b3ULL; };
    for (const double x : uniform(-30, 30, 10000)) {
        take(models::exp(x));
        take(models::sigmoid(x));
        take(models::softplus(x));
        take(models::log(std::abs(x)));
        take(models::log1p(std::abs(x) / 30));
    }
    CHECK(hash == 0xf66eb2f26abc9409ULL);
}
