#pragma once
// What model parts of all algorithms say of columns and labels, as JSON.

#include "base/json.hpp"
#include "data/labels.hpp"
#include "data/preprocess.hpp"

namespace vflbus::actors {

Json to_json(const data::PreparedColumn& column);
/// Throws JsonError.
data::PreparedColumn column_of(const Json& in);

Json to_json(const data::LabelCoding& coding);
/// Throws JsonError. `task` is not in it.
data::LabelCoding coding_of(const Json& in, vflbus::Task task);

}  // namespace vflbus::actors
