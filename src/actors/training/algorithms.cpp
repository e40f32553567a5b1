// The table of algorithms.

#include <algorithm>
#include <vector>

#include "actors/training/algorithm.hpp"
#include "actors/training/linear/lbfgs/lbfgs.hpp"
#include "actors/training/linear/linear.hpp"
#include "actors/training/split/split.hpp"
#include "config/agreed.hpp"

namespace vflbus::actors {
namespace {

std::vector<const Algorithm*>& table() {
    static std::vector<const Algorithm*> rows{
        &split::networks, &linear::lbfgs, &linear::arbitered, &linear::sequential, &linear::honest,
    };
    return rows;
}

}  // namespace

std::span<const Algorithm* const> algorithms() {
    return table();
}

void add_algorithm(const Algorithm& row) {
    table().insert(table().begin(), &row);
}

Result<const Algorithm*> algorithm_of(const config::AgreedHalf& agreed) {
    const auto found =
        std::ranges::find_if(table(), [&](const Algorithm* row) { return row->chosen(agreed); });
    if (found == table().end())
        return fail(Errc::bad_config, "this version has no algorithm for this configuration");
    const Algorithm& row = **found;
    const std::string_view protocol = config::name_of(agreed.run.protocol);
    if (std::ranges::find(row.protocols, agreed.run.protocol) == row.protocols.end())
        return fail(Errc::bad_config, "run.protocol \"" + std::string(protocol) +
                                          "\" does not work with the algorithm " +
                                          std::string(row.name) +
                                          (row.no_other_because.empty() ? "" : ": ") +
                                          std::string(row.no_other_because));
    if (row.check != nullptr)
        if (auto good = row.check(agreed); !good) return tl::unexpected(std::move(good.error()));
    return &row;
}

Result<> MemberCall::due(std::uint64_t asked) const {
    if (asked == step) return {};
    return fail(Errc::handler_failed,
                "got " + message::name_of(type) + " " + std::to_string(asked) + " where step " +
                    std::to_string(step) + " of " + std::to_string(steps) + " is due");
}

}  // namespace vflbus::actors
