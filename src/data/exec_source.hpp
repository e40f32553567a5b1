#pragma once
// Scheme "exec": a table that a command writes to its standard output, so that every engine that
// can write CSV is a source: exec:duckdb -csv -c "from 'shop.parquet'", exec:psql --csv -c "select
// ...".
//
// The command is run by /bin/sh for each table that is read, as this process's user. It comes from
// the party's own section of the configuration and never from another party: nothing that arrives
// over the bus names a source.

#include <memory>

#include "base/errc.hpp"
#include "data/source.hpp"

namespace vflbus::data {

/// Errors: io when the command cannot be started, ends with another code than 0 or by a signal, or
/// writes nothing for SourceOptions::timeout; the sentence has the end of its standard error, which
/// others are not told.
Result<std::unique_ptr<Source>> open_exec(const SourceOptions& options);

}  // namespace vflbus::data
