#include "data/split.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace vflbus::data {
namespace {

/// The ids of one class, and how many of them become test ids.
struct Stratum {
    std::vector<std::pair<double, std::uint32_t>> ids;  ///< draw, number of the id
    std::size_t test = 0;
    double rest = 0;  ///< what rounding down has taken away

    [[nodiscard]] bool has_room() const noexcept { return test + 1 < ids.size(); }
};

/// Shares by the largest remainders, so that they add up to what the fraction says.
void share_out(std::map<std::uint32_t, Stratum>& strata, std::size_t ids, double fraction) {
    std::size_t given = 0;
    std::vector<Stratum*> order;
    for (auto& [number, stratum] : strata) {
        const double share = fraction * static_cast<double>(stratum.ids.size());
        stratum.test = std::min(static_cast<std::size_t>(share), stratum.ids.size() - 1);
        stratum.rest = share - static_cast<double>(stratum.test);
        given += stratum.test;
        order.push_back(&stratum);
    }
    const auto wanted = std::max<std::size_t>(
        1, static_cast<std::size_t>(std::llround(fraction * static_cast<double>(ids))));
    std::ranges::stable_sort(order, std::greater<>{}, [](const Stratum* s) { return s->rest; });
    for (Stratum* stratum : order) {
        if (given >= wanted) break;
        if (!stratum->has_room()) continue;
        ++stratum->test;
        ++given;
    }
}

}  // namespace

Split split_stratified(std::span<const Hash128> ids, std::span<const std::uint32_t> classes,
                       std::uint64_t seed, double fraction) {
    std::vector<std::uint32_t> id_of_row;
    std::map<std::uint32_t, Stratum> strata;
    std::uint32_t count = 0;
    for (std::size_t row = 0; row < ids.size(); ++row) {
        if (row == 0 || ids[row] != ids[row - 1]) {
            strata[classes[row]].ids.emplace_back(test_draw(ids[row], seed), count);
            ++count;
        }
        id_of_row.push_back(count - 1);
    }
    std::vector<char> tested(count, 0);
    share_out(strata, count, fraction);
    for (auto& [number, stratum] : strata) {
        std::ranges::sort(stratum.ids);
        for (std::size_t i = 0; i < stratum.test; ++i) tested[stratum.ids[i].second] = 1;
    }
    Split split;
    for (std::size_t row = 0; row < ids.size(); ++row)
        (tested[id_of_row[row]] != 0 ? split.test : split.train)
            .push_back(static_cast<std::uint32_t>(row));
    return split;
}

std::vector<std::uint32_t> folds_of(std::span<const Hash128> ids,
                                    std::span<const std::uint32_t> classes, std::uint64_t seed,
                                    std::uint64_t folds) {
    constexpr std::uint64_t purpose = 0x66'6f'6c'64;                              // "fold"
    std::map<std::uint32_t, std::vector<std::pair<double, std::size_t>>> strata;  // draw, first row
    for (std::size_t row = 0; row < ids.size(); ++row)
        if (row == 0 || ids[row] != ids[row - 1])
            strata[classes.empty() ? 0 : classes[row]].emplace_back(
                test_draw(ids[row], mix_seed(seed, purpose)), row);
    std::vector<std::uint32_t> out(ids.size());
    std::uint64_t dealt = 0;  // over all classes, or the first folds would get all the odd ids
    for (auto& [number, stratum] : strata) {
        std::ranges::sort(stratum);
        for (const auto& [draw, row] : stratum)
            out[row] = static_cast<std::uint32_t>(dealt++ % folds);
    }
    for (std::size_t row = 1; row < ids.size(); ++row)
        if (ids[row] == ids[row - 1]) out[row] = out[row - 1];
    return out;
}

}  // namespace vflbus::data
