#pragma once
// Which rows of which party are about the same record, and in what order all parties take them.
//
// Pure functions: each party hashes its ids (hash_ids), the master intersects what all sent
// (intersect), each party turns its part of the answer into rows of its table (apply). The order is
// that of the hashes, ascending; with duplicated ids (policy `all`) the rows of one id form the
// cross product of the parties' rows, ordered lexicographically by (the master's row, member 0's,
// member 1's, ...). No party's row order changes the outcome, except which row `first` keeps.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "base/hash.hpp"
#include "data/id_shapes.hpp"
#include "data/table.hpp"

namespace vflbus::data {

/// What to do with an id that a party has on several rows.
enum class Duplicates : std::uint8_t {
    refuse,  ///< an error that names the id and two lines
    first,   ///< the row that comes first in the file
    all,     ///< every row; see above
};

/// Whose records are used.
enum class Join : std::uint8_t {
    inner,  ///< those that all parties have
    left,   ///< all of the master's; of those that a member lacks it has zeros
};

/// Rows that an alignment with `all` may blow up to.
inline constexpr std::uint64_t aligned_rows_max = 1'000'000'000;

/// The ids of one party, hashed. `ids`, `counts` and `shape` travel to the master; `rows` stays.
struct LocalIds {
    std::vector<Hash128> ids;           ///< unique, ascending
    std::vector<std::uint32_t> counts;  ///< rows per id; empty when each id has one row
    std::vector<std::uint32_t> rows;    ///< table rows, id by id: counts[0] rows of ids[0], ...
    std::size_t duplicate_rows = 0;     ///< rows beyond the first of their id, kept or dropped
    IdShape shape;                      ///< what the ids look like
};

/// Hashes ids as BLAKE2b-128 under `salt`. With `all`, the rows of one id are ordered by content
/// (labels, then features; numbers by value with missing ones first, then texts).
/// Errors: bad_data for a duplicate under `refuse`.
Result<LocalIds> hash_ids(const Table& table, std::string_view salt, Duplicates duplicates,
                          std::string_view party);

/// The ids that are marked (bit i % 8 of byte i / 8: id i), with their rows. `duplicate_rows` and
/// `shape` stay those of the whole table.
LocalIds restricted(const LocalIds& local, std::span<const std::uint8_t> marks);

/// What one party sent, borrowed.
struct PartyIds {
    std::string_view party;                 ///< for sentences
    std::span<const Hash128> ids;           ///< must be unique and ascending; checked
    std::span<const std::uint32_t> counts;  ///< empty, or one positive number per id; checked
    IdShape shape = {};
};

/// What the master sends back to one party.
struct Selection {
    std::vector<std::uint8_t> bitmap;  ///< bit i % 8 of byte i / 8: the party's i-th id is common
    /// Per common id, only when some party has duplicates of a common id, otherwise empty: the
    /// party's rows of this id are each repeated `inner` times, and that sequence `outer` times.
    /// Of an id that the party lacks it has one row, which is absent.
    std::vector<std::uint32_t> outer;
    std::vector<std::uint32_t> inner;
    /// Join::left alone: bit i % 8 of byte i / 8: the party has the i-th of the ids in use.
    std::vector<std::uint8_t> held;
};

struct Intersection {
    std::vector<Hash128> ids;                 ///< the common ids in use, ascending
    std::uint64_t rows = 0;                   ///< aligned rows (= ids.size() without duplicates)
    std::size_t common = 0;                   ///< common ids before dataset_size cut them
    std::vector<Selection> selections;        ///< per party, in the order given
    std::vector<std::size_t> matched;         ///< per party: those of the common ids that it has
    std::vector<std::uint64_t> rows_matched;  ///< per party: its rows that have these ids
    std::vector<std::uint64_t> absent;        ///< per party: aligned rows that it lacks
};

/// `parties`: the master first, then the members by rank. `dataset_size`: use only the first n
/// common ids (with all their rows); 0 = all. With Join::left the ids of the master are the common
/// ones, and a member may have none of them.
/// Errors: bad_data when nothing is common (with each party's count, and what their ids look like
/// where they differ in kind) or the rows exceed
/// aligned_rows_max; malformed_message when a party's ids are not ascending and unique.
Result<Intersection> intersect(std::span<const PartyIds> parties, std::uint64_t dataset_size = 0,
                               Join join = Join::inner);

/// bad_data: no id is common to these parties; with each one's count, and what their ids look like
/// where they differ in kind.
Failure nothing_common(std::span<const PartyIds> parties);

/// A match below this share of a party's ids is worth a warning.
inline constexpr double match_share_low = 0.1;

/// From this share of the smaller table on, the ids of two tables are written in the same way.
inline constexpr double match_share_well = 0.5;

/// One line about a match that is below match_share_low of some party's ids: whose ids are not
/// found and, unless match_share_well of the smaller table are, what they look like where they
/// differ in kind, and what to do. Empty for a better match.
/// `parties` as for intersect(), which has checked them, and `common` what it found.
std::string low_match(std::span<const PartyIds> parties, std::size_t common);

/// One party's view of the aligned rows; all parties get the same ids in the same order.
struct Aligned {
    std::vector<std::uint32_t> rows;  ///< table row of each aligned row, or absent_row
    std::vector<Hash128> ids;         ///< id hash of each aligned row; zeros of those that it lacks
};

/// Errors: malformed_message when the selection does not fit the party's ids, or makes more than
/// `rows_max` rows; nothing is allocated then. Where the selection says which ids the party has,
/// `rows_max` are as many rows as there must be.
Result<Aligned> apply(const LocalIds& local, const Selection& selection,
                      std::uint64_t rows_max = aligned_rows_max);

/// How the ids of some aligned rows repeat.
struct Repeats {
    std::uint64_t ids = 0;   ///< different ones
    std::uint64_t most = 0;  ///< rows of the id that has most of them
};
/// `rows`: table rows, some of those of `common` and in its order.
Repeats repeats_of(const Aligned& common, std::span<const std::uint32_t> rows);

}  // namespace vflbus::data
