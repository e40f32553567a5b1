#pragma once
// Scheme "sqlite": the rows of a query to a file of SQLite: sqlite:shop.db?query=select * from
// sales. The file is opened for reading only, and so is the query: what would change the file is
// refused.

#include <memory>

#include "base/errc.hpp"
#include "data/source.hpp"

namespace vflbus::data {

/// Errors: io when there is no such file or the query takes longer than SourceOptions::timeout;
/// bad_data for a file that is no database and for what is wrong in the query or in its rows;
/// bad_config without a query (the sentence has the tables that there are) and for what is not one
/// statement that gives rows.
Result<std::unique_ptr<Source>> open_sqlite(const SourceOptions& options);

}  // namespace vflbus::data
