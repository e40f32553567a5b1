#pragma once
// All parties' columns in one table, for whoever may see all of them: the training that the others
// are compared with.
//
// The problem: how much does it cost a model that its columns never come together? That is answered
// by the model that one process trains which has all of them, on the same rows, split and scaled in
// the same way. So the tables are aligned as a run aligns them, and become one, the master's.

#include <memory>
#include <string>
#include <vector>

#include "actors/tables.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"

namespace vflbus::actors {

/// One party of those whose tables are joined, the master first.
struct JoinedParty {
    std::string name;
    TableSource tables;
};

/// The joined table of each kind that all parties have, as the master's. Columns keep their names;
/// of a name that several parties have, that of a member becomes "member-1.age". Each column is
/// prepared as its own party says. Errors: those of reading and aligning; bad_config where some
/// parties alone have a table, or with data.join = "left", whose zeros no table of cells can hold.
/// `agreed` is that of the run of the joined table.
Result<TableSource> joined_tables(const config::AgreedHalf& agreed,
                                  const std::vector<JoinedParty>& parties);

/// The ids of what `tables` gives, each once, and nothing else: for a member that has no columns.
TableSource ids_alone(TableSource tables);

}  // namespace vflbus::actors
