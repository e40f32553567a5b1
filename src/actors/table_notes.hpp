#pragma once
// What a party says in its own log about its own tables: what was guessed, skipped, filled and left
// out, each with the key that changes it. Column names stay in it: no other party is told them.

#include <string>
#include <vector>

#include "actors/party.hpp"
#include "data/preprocess.hpp"
#include "data/table.hpp"

namespace vflbus::actors {

/// How a table was read: "shop.csv: cells are separated by ';' (separator)".
std::vector<std::string> notes_of(const data::Table& table);
/// What the training made of its columns.
std::vector<std::string> notes_of(const data::PreprocessReport& prepared);

/// The ids of the test rows as CSV of one column, in the aligned order.
std::string test_ids_csv(const Party& own, const std::string& id_column);

}  // namespace vflbus::actors
