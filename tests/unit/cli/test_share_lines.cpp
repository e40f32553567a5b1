// Two tables in one window: each is seen, whatever the other one has.

#include <string>

#include "catch.hpp"
#include "share_lines.hpp"

using namespace vflbus;

namespace {

std::string table(const std::string& what, std::size_t rows) {
    std::string text = what + "\n";
    for (std::size_t i = 0; i < rows; ++i) text += what + std::to_string(i) + "\n";
    return text;
}

}  // namespace

TEST_CASE("two tables share the lines of a window") {
    struct Case {
        std::size_t nodes;
        std::size_t runs;
        std::size_t lines;
        std::size_t nodes_shown;  ///< lines
        std::size_t runs_shown;
    };
    for (const Case& c : {Case{3, 4, 20, 4, 5}, Case{40, 3, 20, 16, 4}, Case{40, 40, 20, 10, 10},
                          Case{2, 40, 20, 3, 17}, Case{40, 40, 21, 11, 10}, Case{9, 9, 0, 0, 0},
                          Case{9, 9, 1, 1, 0}}) {
        CAPTURE(c.nodes, c.runs, c.lines);
        std::string nodes = table("node", c.nodes);
        std::string runs = table("run", c.runs);
        cli::share_lines(nodes, runs, c.lines);
        CHECK(cli::lines_of(nodes) == c.nodes_shown);
        CHECK(cli::lines_of(runs) == c.runs_shown);
    }
    std::string nodes = table("node", 40);
    std::string runs = table("run", 3);
    cli::share_lines(nodes, runs, 8);
    CHECK(nodes == "node\nnode0\nnode1\n... and 38 more\n");
    CHECK(runs == "run\nrun0\nrun1\nrun2\n");
    std::string none;
    cli::share_lines(nodes, none, 8);
    CHECK(cli::lines_of(nodes) == 4);
    CHECK(none.empty());
}
