#pragma once
// What a party says in its own log about its own tables: what was guessed, skipped, filled and left
// out, each with the key that changes it. Column names stay in it: no other party is told them.

#include <string>
#include <vector>

#include "actors/party.hpp"
#include "config/config.hpp"
#include "data/preprocess.hpp"
#include "data/table.hpp"

namespace vflbus::actors {

/// How a table was read: "shop.csv: cells are separated by ';' (separator)".
std::vector<std::string> notes_of(const data::Table& table);
/// What the training made of its columns.
std::vector<std::string> notes_of(const data::PreprocessReport& prepared);

/// The column of the record ids of this party's tables: data.id, otherwise that of its section.
std::string id_column(const config::Config& config, const std::string& party);

/// The ids of the test rows as CSV of one column, in the aligned order.
std::string test_ids_csv(const Party& own, const std::string& id_column);

}  // namespace vflbus::actors
