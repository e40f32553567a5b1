#pragma once
// What the tests of alignments compare: the result of a run, and tables with several rows of an id.

#include <cstdint>
#include <string>
#include <vector>

#include "world.hpp"

namespace vflbus::actors::test {

/// What must not depend on how the common ids were found.
struct Outcome {
    explicit Outcome(const Play& play) {
        for (std::size_t p = 0; p <= play.world.members; ++p)
            weights.push_back(play.part(p).weights);
        const auto& report = play.master->report();
        common = report.rows_common;
        train = report.train;
        test = report.test;
        out_of_fold = play.out_of_fold();
    }
    friend bool operator==(const Outcome&, const Outcome&) = default;
    std::vector<std::vector<double>> weights;
    std::uint64_t common = 0;
    observe::Metrics train, test;
    std::string out_of_fold;
};

/// The first party and every `every`-th one after it have two rows of some ids.
inline void double_rows(Play& play, std::size_t every) {
    play.config.data.duplicates = config::Duplicates::all;
    for (std::size_t p = 0; p <= play.world.members; p += every) {
        auto order = play.world.order(p, 1);
        const std::vector<std::size_t> once(order.begin(), order.end());
        for (const std::size_t row : once)
            if (row % (p + 5) == 1) order.insert(order.begin() + 3, row);
        play.tables[p][TableKind::train] =
            std::make_shared<data::Table>(play.world.table(p, order));
    }
}

}  // namespace vflbus::actors::test
