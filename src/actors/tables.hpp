#pragma once
// Where a party's tables come from.

#include <functional>
#include <memory>
#include <string>

#include "actors/messages.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "data/source.hpp"
#include "data/table.hpp"

namespace vflbus::actors {

/// A null pointer means that the party has no such table. Sentences name file and column; whose
/// they are is added by Party, or by those who receive them. May be called from the strands of
/// several runs at once.
using TableSource = std::function<Result<std::shared_ptr<const data::Table>>(TableKind)>;

/// Reads the CSV files of `[party.<party>]`. A table is shared by runs that use it at the same time
/// and forgotten when none does, so that a later run sees the file as it is then.
/// The prediction table carries labels when the file has all label columns.
TableSource csv_tables(const config::Config& config, const std::string& party,
                       data::ReadProgress progress = {});

}  // namespace vflbus::actors
