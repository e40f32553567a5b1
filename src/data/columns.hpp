#pragma once
// Which column of a source becomes what. Internal to the data room.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "data/column_rules.hpp"
#include "data/number_style.hpp"
#include "data/place.hpp"
#include "data/source.hpp"
#include "data/table.hpp"

namespace vflbus::data {

enum class Use : std::uint8_t {
    skip,     ///< its cells are not looked at
    id,       ///< the record ids
    label,    ///< one of TableRequest::labels
    feature,  ///< learned from
};

struct ChosenColumn {
    std::string name;
    Use use = Use::skip;
    std::size_t label = 0;               ///< labels: which of TableRequest::labels
    const ColumnRule* rule = nullptr;    ///< what it is declared to be; into the request
    const KnownColumn* known = nullptr;  ///< what it was in training; into the request
    // -- how it is read: filled in by the source -----------------------------------
    ColumnKind kind = ColumnKind::numeric;
    DateForm date = DateForm::none;  ///< numeric: cells are dates
    NumberStyle style = {};          ///< numeric: how its numbers are written
    /// numeric: words that stand for a missing number in this column, at most missing_words_max
    std::vector<std::string> missing_words = {};
    bool undecided = false;  ///< no cell in the sample: numeric unless a text turns up

    [[nodiscard]] bool has_values() const noexcept {
        return use == Use::label || use == Use::feature;
    }
};

struct ChosenColumns {
    std::vector<ChosenColumn> columns;  ///< all of the source, in its order
    std::vector<LeftOut> left_out;      ///< columns that are not used although nobody asked for it
    std::vector<std::string> notes;     ///< see Source::notes()
};

/// `names`: the columns of the source. `header`: where they are named.
/// Errors: bad_data for a duplicate, missing or contradictory column. The result points into
/// `request`.
Result<ChosenColumns> choose_columns(const std::vector<std::string>& names,
                                     const TableRequest& request, const Place& header);

/// Leaves out the rows without an id (which is empty then) or a label where the request says so,
/// and counts them. Errors: bad_data when no row is left.
Result<> skip_rows(const TableRequest& request, Table& table);

}  // namespace vflbus::data
