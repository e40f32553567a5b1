#pragma once
// A party's part of a trained model: runs/<run_id>/<party>/model.json. Text that two runs of the
// same configuration, seed and data write byte for byte alike, but for run_id.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "base/hash.hpp"
#include "base/ids.hpp"
#include "data/labels.hpp"
#include "data/preprocess.hpp"

namespace vflbus::actors {

struct ModelPart {
    RunId run;
    std::string party;
    std::string role;  ///< "master" or "member"
    std::int64_t rank = -1;
    std::uint64_t world_size = 0;
    std::string protocol;
    std::string task;
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    Hash256 agreed{};  ///< hash of the agreed half
    std::uint64_t outputs = 0;
    std::vector<data::PreparedColumn> columns;
    std::vector<double> weights;              ///< features x outputs, column-major
    std::vector<double> intercept;            ///< the master's; outputs, or none
    std::optional<data::LabelCoding> labels;  ///< the master's
    std::uint64_t train_rows = 0;
    std::uint64_t filled_cells = 0;
    std::vector<data::LeftOut> left_out;

    [[nodiscard]] std::size_t features() const noexcept;
};

/// Doubles in a decimal form that reads back as the same bits.
std::string to_json(const ModelPart& part);
/// Errors: bad_data naming `path` and the key; sizes that do not fit each other are refused.
Result<ModelPart> parse_model_part(std::string_view text, std::string_view path);

}  // namespace vflbus::actors
