// Noise for differential privacy: its distribution, what it is bound to, the lengths of rows, and
// what a run adds up to. accounts.txt is made by accounts.py, which shares no code with it.

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "base/rng.hpp"
#include "privacy/noise/accountant.hpp"
#include "privacy/noise/clip.hpp"
#include "privacy/noise/discrete_gaussian.hpp"

using namespace vflbus;
using namespace vflbus::privacy;

namespace {

Key key_of(std::uint8_t byte) {
    Key key;
    std::ranges::fill(key.bytes(), byte);
    return key;
}

struct Account {
    std::string what;
    double first = 0;
    double second = 0;
    double value = 0;
};

std::vector<Account> accounts() {
    std::ifstream file(VFLBUS_NOISE_ACCOUNTS);
    std::vector<Account> out;
    for (Account row; file >> row.what >> row.first >> row.second >> row.value;) out.push_back(row);
    return out;
}

std::vector<std::uint8_t> label(std::uint8_t number) {
    return {number, 7};
}

}  // namespace

TEST_CASE("discrete normal numbers have the chances of their definition") {
    const std::vector<Account> rows = accounts();
    REQUIRE(rows.size() > 40);
    for (const std::uint64_t sigma : {1, 2, 3}) {
        constexpr double draws = 200'000;
        RandomWords words(key_of(static_cast<std::uint8_t>(sigma)));
        const DiscreteGaussian gaussian(sigma);
        std::map<std::int64_t, double> seen;
        for (int i = 0; i < static_cast<int>(draws); ++i) seen[gaussian(words)] += 1;
        double chi = 0;
        int cells = 0;
        for (const Account& row : rows) {
            if (row.what != "chance" || row.first != static_cast<double>(sigma)) continue;
            const double expected = row.value * draws;
            if (expected < 10) continue;
            const auto x = static_cast<std::int64_t>(row.second);
            for (const std::int64_t at : {x, -x}) {
                if (at == -x && x == 0 && cells > 0) continue;
                chi += (seen[at] - expected) * (seen[at] - expected) / expected;
                ++cells;
            }
            if (x == 0) {  // counted twice above
                chi -= (seen[0] - expected) * (seen[0] - expected) / expected;
                --cells;
            }
        }
        INFO("sigma " << sigma << ": chi^2 " << chi << " of " << cells << " cells");
        CHECK(cells >= 7);
        // (five deviations; the seed is fixed)
        CHECK(chi < cells + 5 * std::sqrt(2.0 * cells));
    }
}

TEST_CASE("large discrete normal numbers have their moments, on the whole line of integers") {
    for (const unsigned bits : {8u, 20u, 36u, 46u}) {
        constexpr int draws = 20'000;
        const std::uint64_t sigma = (std::uint64_t{1} << bits) + 17;
        RandomWords words(key_of(static_cast<std::uint8_t>(bits)));
        const DiscreteGaussian gaussian(sigma);
        double sum = 0;
        double squares = 0;
        double fourths = 0;
        std::size_t odd = 0;
        for (int i = 0; i < draws; ++i) {
            const std::int64_t drawn = gaussian(words);
            const double x = static_cast<double>(drawn) / static_cast<double>(sigma);
            sum += x;
            squares += x * x;
            fourths += x * x * x * x;
            odd += static_cast<std::size_t>(drawn & 1);
        }
        INFO("sigma " << sigma);
        CHECK(std::abs(sum / draws) < 5 / std::sqrt(draws));
        CHECK(std::abs(squares / draws - 1) < 5 * std::sqrt(2.0 / draws));
        CHECK(std::abs(fourths / draws - 3) < 5 * std::sqrt(96.0 / draws));
        CHECK(std::abs(static_cast<double>(odd) / draws - .5) < 5 * .5 / std::sqrt(draws));
    }
}

TEST_CASE("the same draws on every machine") {
    RandomWords words(key_of(1));
    const DiscreteGaussian gaussian(1000);
    std::vector<std::int64_t> drawn;
    for (int i = 0; i < 6; ++i) drawn.push_back(gaussian(words));
    std::ostringstream shown;
    for (const std::int64_t value : drawn) shown << value << ' ';
    CHECK(shown.str() == "1115 893 1320 2157 -608 -363 ");
}

TEST_CASE("noise is bound to its key, its label and the numbers that it hides") {
    const NoiseKey key(key_of(1));
    const auto noised = [](const NoiseKey& of, std::uint8_t number, std::vector<std::int64_t> v) {
        const std::vector<std::int64_t> before = v;
        add_noise(of, label(number), 1'000'000, v);
        for (std::size_t i = 0; i < v.size(); ++i) v[i] -= before[i];
        return v;
    };
    const auto first = noised(key, 1, {5, 6, 7});
    CHECK(first == noised(key, 1, {5, 6, 7}));
    CHECK(first != noised(key, 2, {5, 6, 7}));
    CHECK(first != noised(key, 1, {5, 6, 8}));
    CHECK(first != noised(NoiseKey(key_of(2)), 1, {5, 6, 7}));
    CHECK(first != noised(key.of_use(0), 1, {5, 6, 7}));
    CHECK(noised(key.of_use(0), 1, {5}) != noised(key.of_use(1), 1, {5}));
    // bound to other numbers than those that it is added to
    std::vector<std::int64_t> a{0, 0};
    std::vector<std::int64_t> b{0, 0};
    const std::vector<std::int64_t> about{1};
    const std::vector<std::int64_t> other{2};
    add_noise(key, label(1), 1000, a, about);
    add_noise(key, label(1), 1000, b, other);
    CHECK(a != b);
}

TEST_CASE("no row of integers is longer than its bound, and short ones stay as they are") {
    Rng rng(5);
    for (const double norm : {1.0, .3, 4.0, 1e-4, 977.0}) {
        const Grid grid = grid_of(norm, 20);
        CHECK(grid.most <= 1 << 20);
        CHECK(grid.most > 1 << 18);
        CHECK(std::ldexp(static_cast<double>(grid.most), -grid.exponent) <= norm);
        for (int round = 0; round < 2000; ++round) {
            std::vector<double> row(1 + rng.below(40));
            const double size = norm * std::exp(8 * rng.uniform() - 6);
            double squares = 0;
            for (double& value : row) {
                value = (2 * rng.uniform() - 1) * size;
                squares += value * value;
            }
            std::vector<std::int64_t> out(row.size());
            REQUIRE(clip_row(row, grid, out));
            std::int64_t length = 0;
            for (const std::int64_t value : out) length += value * value;
            REQUIRE(length <= grid.most * grid.most);
            const double factor = std::min(1.0, norm / std::sqrt(squares));
            for (std::size_t i = 0; i < row.size(); ++i)
                REQUIRE(std::abs(std::ldexp(static_cast<double>(out[i]), -grid.exponent) -
                                 row[i] * factor) <= std::ldexp(3.0, -grid.exponent));
        }
    }
}

TEST_CASE("rows at the edges of numbers are clipped") {
    const Grid grid = grid_of(2, 15);
    std::vector<std::int64_t> out(3);
    REQUIRE(clip_row(std::vector<double>{1e308, -1e308, 1e308}, grid, out));
    CHECK(out[0] == -out[1]);
    CHECK(3 * out[0] * out[0] <= grid.most * grid.most);
    CHECK(out[0] > grid.most / 2);
    REQUIRE(clip_row(std::vector<double>{0, 5e-324, 0}, grid, out));
    CHECK(out == std::vector<std::int64_t>{0, 0, 0});
    REQUIRE(clip_row(std::vector<double>{2, 0, 0}, grid, out));
    CHECK(out[0] == grid.most);
    for (const double wrong :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
        const auto clipped = clip_row(std::vector<double>{0, wrong, 0}, grid, out);
        REQUIRE(!clipped);
        CHECK(clipped.error().code == Errc::diverged);
    }
}

TEST_CASE(
    "two rows on a grid are never further apart than the sensitivity that noise is made for") {
    const Grid grid = grid_of(1, 14);
    std::vector<std::int64_t> one(2);
    std::vector<std::int64_t> two(2);
    REQUIRE(clip_row(std::vector<double>{3, 4}, grid, one));
    REQUIRE(clip_row(std::vector<double>{-30, -40}, grid, two));
    const std::int64_t x = one[0] - two[0];
    const std::int64_t y = one[1] - two[1];
    CHECK(x * x + y * y <= 4 * grid.most * grid.most);
    CHECK(x * x + y * y > 3.99 * static_cast<double>(grid.most * grid.most));
    CHECK(sigma_of(1.5, 2 * grid.most) == static_cast<std::uint64_t>(3 * grid.most));
    CHECK(sigma_of(1e-9, 1) == 1);
}

TEST_CASE("epsilon is that of an independent program") {
    int compared = 0;
    for (const Account& row : accounts()) {
        if (row.what != "epsilon") continue;
        INFO("rho " << row.first << ", delta " << row.second);
        CHECK(epsilon_of(row.first, row.second) == Approx(row.value).epsilon(1e-9).margin(1e-12));
        // never better than it is, but for the rounding of doubles; the older bound is worse
        CHECK(epsilon_of(row.first, row.second) >= row.value * (1 - 1e-9));
        CHECK(epsilon_of(row.first, row.second) <=
              row.first + 2 * std::sqrt(row.first * std::log(1 / row.second)));
        ++compared;
    }
    CHECK(compared == 28);
    CHECK(epsilon_of(0, 1e-6) == 0);
    CHECK(std::isinf(epsilon_of(std::numeric_limits<double>::infinity(), 1e-6)));
}
