// `vflbus check`: joins, echoes and aligns without training.

#include <algorithm>
#include <utility>
#include <vector>

#include "actors/alignment/alignment.hpp"
#include "actors/master.hpp"
#include "actors/programs.hpp"

namespace vflbus::actors {
namespace {

constexpr std::size_t echoes = 11;

/// How long empty messages take there and back, to each member at once.
Task<> measure_round_trips(Run& run, CheckResult& result) {
    std::vector<std::vector<Duration>> trips(run.parties().members());
    const Bytes nothing;
    for (std::size_t n = 0; n < echoes; ++n) {
        const TimePoint sent = run.now();
        Replies asked = run.parties().ask_all(message::echo, nothing);
        const std::vector<Bytes> replies = co_await asked;
        for (std::size_t i = 0; i < replies.size(); ++i)
            trips[i].push_back(asked.arrived()[i] - sent);
    }
    for (std::size_t i = 0; i < trips.size(); ++i) {
        std::ranges::sort(trips[i]);
        result.parties[i + 1].round_trip_min = trips[i].front();
        result.parties[i + 1].round_trip_median = trips[i][trips[i].size() / 2];
    }
}

void describe(const Alignment& alignment, CheckResult& result) {
    for (std::size_t p = 0; p < result.parties.size(); ++p) {
        const AlignReply& told = alignment.told(TableKind::train, p);
        CheckedParty& party = result.parties[p];
        party.rows = told.rows;
        party.duplicate_rows = told.duplicate_rows;
        party.missing_cells = told.missing_cells;
        party.columns = told.columns;
    }
}

}  // namespace

Task<> check(Run& run, CheckResult& result) {
    Party own(run.options().name, run.config(), run.options().tables);
    co_await load_own(run, own, TableKind::train);
    co_await load_more(run, own, TableKind::test);
    co_await run.gathered();
    run.enter(Phase::aligning);
    result.parties.resize(run.parties().members() + 1);
    result.parties[0].name = run.options().name;
    result.parties[0].version = run.options().version;
    for (std::size_t i = 0; i < run.parties().members(); ++i) {
        result.parties[i + 1].name = run.parties()[i].name;
        result.parties[i + 1].version = run.parties()[i].version;
    }
    co_await measure_round_trips(run, result);

    Alignment alignment(run, own);
    std::vector<TableKind> kinds{TableKind::train, TableKind::test};
    co_await alignment.gather(kinds);
    describe(alignment, result);
    const bool test = co_await alignment.present(TableKind::test);
    co_await alignment.present(TableKind::train);
    run.enter(Phase::selecting);
    if (!test) kinds.pop_back();
    co_await alignment.select(kinds);
    Result<> taken;
    if (run.options().on_common) taken = run.options().on_common(own);
    co_await taken;
    result.common = alignment.common_ids(TableKind::train);
    result.common_test = alignment.common_ids(TableKind::test);
    for (std::size_t p = 0; p < result.parties.size(); ++p)
        if (const std::uint64_t ids = alignment.ids(TableKind::train, p); ids != 0)
            result.parties[p].match_rate =
                static_cast<double>(alignment.matched(TableKind::train, p)) /
                static_cast<double>(ids);
}

Result<std::unique_ptr<CheckMaster>> make_check_master(MasterOptions options) {
    if (options.config.run.world_size == 0)
        return fail(Errc::bad_config, "run.world_size is not set: say how many members take part");
    return std::make_unique<CheckMaster>(std::move(options));
}

CheckMaster::CheckMaster(MasterOptions options)
    : Run(std::move(options), Purpose::check, [this](Run& run) { return check(run, result_); }) {}

}  // namespace vflbus::actors
