#pragma once
// Which column of a source becomes what. Internal to the data room.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/errc.hpp"
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
    std::size_t label = 0;  ///< labels: which of TableRequest::labels
    ColumnKind kind = ColumnKind::numeric;
    bool undecided = false;  ///< no cell in the sample: numeric unless a text turns up

    [[nodiscard]] bool has_values() const noexcept {
        return use == Use::label || use == Use::feature;
    }
};

struct ChosenColumns {
    std::vector<ChosenColumn> columns;  ///< all of the source, in its order
    std::vector<LeftOut> left_out;      ///< columns without a name
};

/// `names`: the columns of the source. `header`: where they are named.
/// Errors: bad_data for a duplicate, missing or contradictory column.
Result<ChosenColumns> choose_columns(const std::vector<std::string>& names,
                                     const TableRequest& request, const Place& header);

}  // namespace vflbus::data
