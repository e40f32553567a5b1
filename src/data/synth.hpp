#pragma once
// A believable credit example: a bank that knows who repaid, and companies that know the same
// people from another side. Overlapping ids in different row orders, missing cells, text columns,
// and a linear signal spread over the parties, so that the bank alone does clearly worse.

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/errc.hpp"
#include "base/task.hpp"
#include "data/image.hpp"

namespace vflbus::data {

inline constexpr std::uint32_t synth_members_max = 64;
inline constexpr std::uint64_t synth_rows_max = 5'000'000;

struct SynthOptions {
    Task task = Task::logistic;
    std::uint32_t members = 2;    ///< parties besides the bank, at least 1
    std::uint64_t rows = 10'000;  ///< people in the bank's table, at least 20
    std::uint64_t seed = 1;
    std::filesystem::path out_dir = ".";
    std::uint32_t labels = 5;        ///< multilabel: label columns, 1 to 32
    std::uint32_t classes = 4;       ///< softmax: classes, 3 to 32
    double overlap = 0.8;            ///< share of the bank's people that all parties know, (0, 1]
    double missing_fraction = 0.03;  ///< of the feature cells, [0, 0.9]
    bool test_files = false;         ///< also <party>_test.csv: a fifth as many other people
    bool predict_files = false;      ///< also <party>_predict.csv: yet others, without labels
};

struct SynthParty {
    std::string name;  ///< "bank", "telecom", "shop", "insurer", ...
    std::filesystem::path data;
    std::filesystem::path test_data;     ///< empty unless asked for
    std::filesystem::path predict_data;  ///< empty unless asked for
    std::uint64_t rows = 0;
    std::vector<std::string> features;  ///< names of its feature columns
    ImageShape image = {};              ///< what they are pixels of; no pixels: of nothing
};

struct SynthReport {
    std::vector<SynthParty> parties;  ///< the bank (label holder) first, then the members by rank
    std::string id_column;            ///< "customer_id"
    std::vector<std::string> labels;  ///< names of the label columns
    std::string exposure;             ///< of counts and amounts: the column beside them
    std::uint64_t common = 0;         ///< ids that all parties have
    std::uint64_t bytes = 0;          ///< written in all
    /// The signal: per output (label, or class), per party in the order above, per signal column
    /// (name, weight of one standard deviation; of a text, of the rank of its value).
    std::vector<std::vector<std::vector<std::pair<std::string, double>>>> weights;
};

/// Files of the same options are the same bytes everywhere. Each is written whole or not at all.
/// Errors: usage (an option out of its range, named), io.
Result<SynthReport> synthesize(const SynthOptions& options);

}  // namespace vflbus::data
