#pragma once
// Where a party's tables come from.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/messages.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "data/source.hpp"
#include "data/table.hpp"

namespace vflbus::actors {

/// Which table a run wants, and what all parties have agreed on about tables.
struct TableAsk {
    TableAsk(TableKind wanted) : kind(wanted) {}  // NOLINT: a kind alone asks for the usual table
    TableAsk(TableKind wanted, const config::AgreedHalf& of_run) : kind(wanted), agreed(&of_run) {}
    operator TableKind() const noexcept { return kind; }  // NOLINT: for sources that need no more

    TableKind kind;
    const config::AgreedHalf* agreed = nullptr;  ///< null: that of the source's configuration
    /// Of a test or prediction table: the columns that the model was trained with, and as what.
    /// They are read as that, whatever they look like here, and no other features are read. Null:
    /// none are known.
    const std::vector<data::KnownColumn>* known = nullptr;
};

/// A null pointer means that the party has no such table. Sentences name file and column; whose
/// they are is added by Party, or by those who receive them. May be called from the strands of
/// several runs at once.
using TableSource = std::function<Result<std::shared_ptr<const data::Table>>(const TableAsk&)>;

/// Asked when a table begins to be read, for who is told how that comes along. May be called from
/// several threads.
using ReadWatch = std::function<data::ReadProgress(const std::string& location)>;

/// Reads the sources of `[party.<party>]`. Runs that use a table at the same time share it while
/// the file is the same (data::Stamp); every run looks again. The prediction table carries labels
/// when the file has all label columns.
TableSource csv_tables(const config::Config& config, const std::string& party,
                       ReadWatch watch = {});

/// The ids alone of what `tables` gives: the training table without features and labels, and no
/// other table.
TableSource ids_only(TableSource tables);

class Party;
/// Takes what all parties have in common once a party has selected its training table. An error is
/// that party's.
using CommonSink = std::function<Result<>(const Party& party)>;

}  // namespace vflbus::actors
