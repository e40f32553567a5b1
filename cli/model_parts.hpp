#pragma once
// The parts of a model that lie here, as people look at them: features by weight, and the layers of
// a split network.

#include <filesystem>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "base/json.hpp"

namespace vflbus::cli {

struct Feature {
    std::string name;
    /// One per output; of a split network one, the norm of the weights of its first layer by which
    /// the feature goes into the network.
    std::vector<double> weights;

    [[nodiscard]] double largest() const;  ///< of their absolute values
};

/// One party's model.json.
struct ShownPart {
    std::string party;
    std::vector<Feature> features;     ///< the largest weight first
    std::vector<double> intercept;     ///< the master's, one per output
    std::vector<std::string> outputs;  ///< their names, which the master's part alone knows
    std::vector<std::string> layers;   ///< of a split network: a line for each of its networks
    Json json;
};

/// The parts in `directory`/<party>/model.json, the master's first; of `only` alone when it is not
/// empty. Errors: usage when there is none, bad_data for the part of another algorithm or a
/// damaged one, io.
Result<std::vector<ShownPart>> read_parts(const std::filesystem::path& directory,
                                          const std::string& only);

/// What the master's part of any algorithm says of the whole model.
struct ModelOutputs {
    std::vector<std::string> names;
    bool network = false;  ///< it is a split network
};
/// `part`: the master's model.json. Errors: bad_data, io.
Result<ModelOutputs> read_outputs(const std::filesystem::path& part);

}  // namespace vflbus::cli
