#pragma once
// Train or test, by id: every party comes to the same answer without talking.

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/hash.hpp"
#include "base/rng.hpp"

namespace vflbus::data {

/// A number in [0, 1) that depends on the id, the seed and nothing else.
constexpr double test_draw(const Hash128& id, std::uint64_t seed) noexcept {
    std::uint64_t word = 0;
    for (int i = 7; i >= 0; --i) word = word << 8 | id[static_cast<std::size_t>(i)];
    constexpr std::uint64_t purpose = 0x74'65'73'74;  // "test"
    return Rng(mix_seed(mix_seed(seed, purpose), word)).uniform();
}

/// A record stays on its side when others come or go.
constexpr bool is_test(const Hash128& id, std::uint64_t seed, double fraction) noexcept {
    return test_draw(id, seed) < fraction;
}

/// Positions in the aligned order, ascending. Rows of one id are always on the same side.
struct Split {
    std::vector<std::uint32_t> train;
    std::vector<std::uint32_t> test;
};

inline Split split_rows(std::span<const Hash128> ids, std::uint64_t seed, double fraction) {
    Split split;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        auto& side = is_test(ids[i], seed, fraction) ? split.test : split.train;
        side.push_back(static_cast<std::uint32_t>(i));
    }
    return split;
}

/// Of each class its share of the ids, those with the lowest draws; as many in all as the fraction
/// says, to the nearest, but one at least where a class has two. No class loses all its ids.
/// `classes`: of each aligned row; that of the first row of an id counts. Rows of one id follow one
/// another.
Split split_stratified(std::span<const Hash128> ids, std::span<const std::uint32_t> classes,
                       std::uint64_t seed, double fraction);

/// The fold, below `folds`, of each aligned row, for cross-validation. Within each class the ids
/// are dealt out in the order of a draw, so that the folds differ by one id at most, in each class
/// and in all. `classes` as above; empty: all rows are of one class.
std::vector<std::uint32_t> folds_of(std::span<const Hash128> ids,
                                    std::span<const std::uint32_t> classes, std::uint64_t seed,
                                    std::uint64_t folds);

/// rows[positions[i]], for going from positions in the aligned order to rows of a table.
inline std::vector<std::uint32_t> pick(std::span<const std::uint32_t> rows,
                                       std::span<const std::uint32_t> positions) {
    std::vector<std::uint32_t> picked;
    picked.reserve(positions.size());
    for (const std::uint32_t position : positions) picked.push_back(rows[position]);
    return picked;
}

}  // namespace vflbus::data
