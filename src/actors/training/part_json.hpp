#pragma once
// What model parts of all algorithms say of columns and labels, as JSON. A reader throws JsonError.

#include "actors/training/part_table.hpp"
#include "base/json.hpp"
#include "data/labels.hpp"

namespace vflbus::actors {

/// Appends "features", the names of the numbers, and "columns".
void put_columns(Json& out, const PartTable& table);
void read_columns(const Json& in, PartTable& table);

/// Appends "report": rows and cells of the training, and what was left out.
void put_report(Json& out, const PartTable& table);
void read_report(const Json& in, PartTable& table);

Json to_json(const data::LabelCoding& coding);
/// `task` is not in it.
data::LabelCoding coding_of(const Json& in, vflbus::Task task);

}  // namespace vflbus::actors
