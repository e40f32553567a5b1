#pragma once
// Scheme "postgresql": the rows of a query to a PostgreSQL server, as libpq names servers:
// postgresql://shop@db.example/sales?sslmode=require&query=select * from customers.
//
// One statement in a transaction that may only read, one row at a time. A password never stands in
// a location, which is shown in logs and lists of processes: libpq takes it from ~/.pgpass, from
// PGPASSFILE or from PGPASSWORD.

#include <memory>

#include "base/errc.hpp"
#include "data/source.hpp"

namespace vflbus::data {

/// Errors: io when libpq is not there, the server cannot be reached within 30 s (or
/// SourceOptions::timeout), closes, or does not end its answer within SourceOptions::timeout;
/// bad_data when it refuses the query; bad_config for a location without a query or with a
/// password, and for a statement that gives no rows. What the server said is in the party's own
/// sentence alone.
Result<std::unique_ptr<Source>> open_postgres(const SourceOptions& options);

}  // namespace vflbus::data
