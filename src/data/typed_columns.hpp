#pragma once
// A table from columns whose cells have types already, as in npy and libsvm files. Internal to the
// data room.

#include <vector>

#include "base/errc.hpp"
#include "data/source.hpp"
#include "data/table.hpp"

namespace vflbus::data {

/// All columns of a source, in its order, and where its rows are.
struct TypedColumns {
    std::vector<Column> columns;
    std::vector<TablePart> parts;      ///< as in Table
    std::vector<std::uint64_t> lines;  ///< as in Table
    std::size_t rows = 0;
};

/// The table that `request` asks for. Numbers that are to be categories become texts, and the other
/// way round where all texts are numbers. Errors: bad_data.
Result<Table> make_table(const SourceOptions& options, const TableRequest& request,
                         TypedColumns typed);

/// "x1", "x2", ...: columns without names of their own.
std::string numbered_column(std::size_t number);

}  // namespace vflbus::data
