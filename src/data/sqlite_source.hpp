#pragma once
// Scheme "sqlite": the rows of a query to a file of SQLite: sqlite:shop.db?query=select * from
// sales. The file is opened for reading only, and so is the query: what would change the file is
// refused.

#include <memory>

#include "base/errc.hpp"
#include "data/source.hpp"

namespace vflbus::data {

/// Errors: io when there is no such file, it is no database or the query takes longer than
/// SourceOptions::timeout; bad_data for what is wrong in the query or in its rows; bad_config
/// without a query, with the tables that there are.
Result<std::unique_ptr<Source>> open_sqlite(const SourceOptions& options);

}  // namespace vflbus::data
