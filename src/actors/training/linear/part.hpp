#pragma once
// A party's part of a linear model: model.json, version 1. Text that two runs of the same
// configuration, seed and data write byte for byte alike, but for run_id.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/model_file.hpp"
#include "actors/training/part_table.hpp"
#include "base/errc.hpp"
#include "data/labels.hpp"

namespace vflbus::actors {

struct ModelPart : ModelHead, PartTable {
    std::vector<double> weights;    ///< features x outputs, column-major
    std::vector<double> intercept;  ///< the master's; outputs, or none
    /// The master's, of a training with an arbiter: scores of all parties are multiplied by it
    /// before the intercept is added, which makes log-odds of them. One number for each output, or
    /// none.
    std::vector<double> slope;
    std::optional<data::LabelCoding> labels;  ///< the master's
};

/// Doubles in a decimal form that reads back as the same bits.
std::string to_json(const ModelPart& part);
/// Errors: bad_data naming `path` and the key; sizes that do not fit each other are refused.
Result<ModelPart> parse_model_part(std::string_view text, std::string_view path);

}  // namespace vflbus::actors
