// Curves in a terminal.

#include <string>

#include "base/text.hpp"
#include "catch.hpp"
#include "plot.hpp"

using namespace vflbus;
using cli::Curve;

TEST_CASE("a falling curve falls from its upper left to its lower right", "[cli]") {
    const Curve curve{"1f0c9a33 train", {{0, 1.0}, {50, 0.5}, {100, 0.0}}};
    CHECK(cli::plot({curve}, "steps", "loss", 27, 3) ==
          "loss\n"
          "1.0000 |*\n"
          "       |         *\n"
          "0.0000 |                  *\n"
          "       +-------------------\n"
          "        0         100 steps\n"
          "* 1f0c9a33 train\n");
}

TEST_CASE("each curve has a mark of its own, over a common range", "[cli]") {
    const std::string text = cli::plot({{"a", {{0, 0.0}, {10, 1.0}}}, {"b", {{0, 1.0}, {20, 3.0}}}},
                                       "steps", "auc", 40, 4);
    CHECK(text.find("3.0000 |") != std::string::npos);
    CHECK(text.find("0.0000 |*") != std::string::npos);
    CHECK(text.find("20 steps") != std::string::npos);
    CHECK(text.find("* a\no b\n") != std::string::npos);
}

TEST_CASE("one point, equal values and a narrow window are no trouble", "[cli]") {
    for (const std::size_t width :
         {std::size_t{0}, std::size_t{1}, std::size_t{10}, std::size_t{200}})
        for (const Curve& curve : {Curve{"one", {{7, 0.5}}}, Curve{"flat", {{0, 0.5}, {1, 0.5}}},
                                   Curve{"large", {{1e15, 1e300}, {1e16, -1e300}}}}) {
            const std::string text = cli::plot({curve}, "steps", "loss", width, 5);
            CHECK(split(text, '\n').size() == 10);
            CHECK(text.find('*') != std::string::npos);
        }
}

TEST_CASE("without a point there is nothing to draw", "[cli]") {
    CHECK(cli::plot({}, "steps", "loss", 80, 16).empty());
    CHECK(cli::plot({{"none", {}}}, "steps", "loss", 80, 16).empty());
}
