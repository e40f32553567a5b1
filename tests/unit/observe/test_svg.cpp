// Plots as text: what is in them, and that nothing from outside can become markup.

#include <cmath>

#include "catch.hpp"
#include "observe/svg.hpp"

using namespace vflbus::observe;

namespace {

std::size_t count(const std::string& text, std::string_view piece) {
    std::size_t found = 0;
    for (std::size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1))
        ++found;
    return found;
}

}  // namespace

TEST_CASE("a curve goes from its first point to its last, within its axes") {
    const std::string svg =
        svg_curves({"title", "x", "y", true, true}, {{"one", {{0, 0}, {0.5, 0.8}, {1, 1}}}});
    CHECK(svg.starts_with("<svg viewBox=\"0 0 480 316\" role=\"img\" aria-label=\"title\">"));
    CHECK(svg.ends_with("</svg>"));
    // (0, 0) is the lower left corner, (1, 1) the upper right one
    CHECK(svg.find("d=\"M56.0 256.0L262.0 60.8L468.0 12.0\"") != std::string::npos);
    for (const char* const tick : {">0.0<", ">0.2<", ">1.0<"})
        CHECK(svg.find(tick) != std::string::npos);
}

TEST_CASE("points that are not finite, one point and equal values are no trouble") {
    const double no_number = std::nan("");
    CHECK(svg_curves({"t", "x", "y"}, {{"none", {{1, no_number}}}}).empty());
    CHECK(svg_curves({"t", "x", "y"}, {}).empty());
    for (const double value : {0.0, 5.0, 1e-9, -1e12}) {
        const std::string svg = svg_curves(
            {"t", "x", "y"}, {{"flat", {{3, value}, {4, no_number}, {9, value}}, true, true}});
        CHECK(svg.find("nan") == std::string::npos);
        CHECK(svg.find("inf") == std::string::npos);
        CHECK(count(svg, "<circle") == 2);
        CHECK(count(svg, "class=\"tick\"") < 20);
    }
    CHECK(svg_bars("t", {{"a", no_number, ""}}).empty());
    CHECK(svg_bars("t", {{"a", 0, "0"}}).find("nan") == std::string::npos);
}

TEST_CASE("bars of both signs begin at a common 0") {
    const std::string svg = svg_bars("t", {{"up", 1, "+1"}, {"down", -1, "-1"}});
    CHECK(count(svg, "<rect") == 2);
    CHECK(svg.find("x=\"290.0\" y=\"4.0\" width=\"120.0\"") != std::string::npos);
    CHECK(svg.find("x=\"170.0\" y=\"26.0\" width=\"120.0\"") != std::string::npos);
}

TEST_CASE("names from tables cannot become markup") {
    const std::string wild = "<script>\"&'\x1b";
    CHECK(escaped_html(wild) == "&lt;script&gt;&quot;&amp;&#39;?");
    const std::string svg = svg_curves({wild, wild, wild}, {{wild, {{0, 0}, {1, 1}}}}) +
                            svg_bars(wild, {{wild, 1, wild}});
    CHECK(svg.find("<script") == std::string::npos);
    CHECK(svg.find('\x1b') == std::string::npos);
}
