#pragma once
// A party's part of a split network: model.json of the format "split-network". Text that two runs
// of the same configuration, seed and data write byte for byte alike, but for run_id.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/model_file.hpp"
#include "actors/training/part_table.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "data/labels.hpp"
#include "models/nn/network.hpp"

namespace vflbus::actors::split {

struct StoredNetwork {
    models::nn::NetworkShape shape;
    std::vector<float> values;  ///< as of Network::values
};

/// What the master alone has.
struct TopPart {
    StoredNetwork network;
    config::Combine combine = config::Combine::concat;
    std::uint64_t embeddings = 0;  ///< parties with a bottom network
    bool own = false;              ///< the master is one of them
    double label_mean = 0;         ///< a linear task's value is mean + scale x output
    double label_scale = 1;
    data::LabelCoding labels;
};

struct SplitPart : PartTable {
    ModelHead head;
    StoredNetwork bottom;  ///< without values where the party has no network
    std::optional<TopPart> top;
};

/// Floats in a decimal form that reads back as the same bits.
std::string to_json(const SplitPart& part);
/// Errors: bad_data naming `path` and the key; sizes that do not fit each other are refused.
Result<SplitPart> parse_split_part(std::string_view text, std::string_view path);

}  // namespace vflbus::actors::split
