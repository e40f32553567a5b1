// The bars of the public data sets, when ../shared/data is there.

#include <cstdio>
#include <cstdlib>

#include "base/json.hpp"
#include "catch.hpp"
#include "support.hpp"

using namespace proc;
namespace {

/// Without the sets the process ends as skipped, which meson shows as such.
void need_sets() {
    const char* const where = std::getenv("VFLBUS_SHARED_DATA");
    if (where != nullptr && fs::is_directory(where)) return;
    std::puts("skipped: there is no ../shared/data beside the repository");
    std::fflush(stdout);
    std::_Exit(77);
}

Json train(const TempDir& dir, const std::string& name, const Words& more = {}) {
    const std::string config =
        std::string(std::getenv("VFLBUS_SOURCE")) + "/conf/public/" + name + ".toml";
    Words words{"launch",   "--local", "--json", "--quiet",
                "--config", config,    "--set",  "output.runs_dir=" + dir / "runs"};
    words.insert(words.end(), more.begin(), more.end());
    const Finished finished = run(dir, words);
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    return Json::parse(finished.out);
}

}  // namespace

TEST_CASE("the public sets reach their bars", "[public_sets]") {
    need_sets();
    struct Bar {
        std::string name, side, metric;
        double at_least;
    };
    const std::vector<Bar> bars{
        {"default_credit", "train", "auc", .7222}, {"breast", "train", "auc", .9955},
        {"vehicle", "train", "accuracy", .83},     {"motor", "train", "r2", .921},
        {"motor_sequential", "train", "r2", .92},  {"mnist_softmax", "test", "accuracy", .90},
        {"mnist_mlp", "test", "accuracy", .935},   {"default_credit_mlp", "test", "auc", .765}};
    for (const Bar& bar : bars) {
        INFO(bar.name);
        const TempDir dir;
        const Json report = train(dir, bar.name);
        CHECK(report["metrics"][bar.side][bar.metric].get<double>() >= bar.at_least);
    }
}

TEST_CASE("permuted labels teach nothing", "[public_sets]") {
    need_sets();
    const TempDir dir;
    // labels move by a third of the rows; everything else stays
    const std::string text =
        slurp(fs::path(std::getenv("VFLBUS_SHARED_DATA")) / "default_credit_hetero_guest.csv");
    std::vector<Words> rows;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = text.find('\n', at);
        Words cells;
        for (std::size_t cell = at; cell <= end;) {
            const std::size_t stop = std::min(text.find(',', cell), end);
            cells.push_back(text.substr(cell, stop - cell));
            cell = stop + 1;
        }
        rows.push_back(std::move(cells));
        at = end + 1;
    }
    const auto label =
        static_cast<std::size_t>(std::find(rows[0].begin(), rows[0].end(), "y") - rows[0].begin());
    REQUIRE(label < rows[0].size());
    const std::size_t count = rows.size() - 1;
    std::string permuted;
    for (std::size_t i = 0; i < rows.size(); ++i)
        for (std::size_t c = 0; c < rows[i].size(); ++c) {
            const std::string& cell =
                c == label && i > 0 ? rows[1 + (i + count / 3) % count][c] : rows[i][c];
            permuted += cell + (c + 1 == rows[i].size() ? "\n" : ",");
        }
    spit(dir / "permuted.csv", permuted);
    const Json report =
        train(dir, "default_credit", {"--set", "party.master.data=" + dir / "permuted.csv"});
    CHECK(report["metrics"]["train"]["auc"].get<double>() == Approx(.5).margin(.03));
}
