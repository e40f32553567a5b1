#pragma once
// One table cut into the tables of several parties, to try a training on: `vflbus data split`.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "data/image.hpp"
#include "data/source.hpp"

namespace vflbus::data {

inline constexpr std::uint64_t split_parties_max = 64;

struct VerticalSplitOptions {
    SourceOptions source;
    std::uint64_t parties = 2;
    std::string id;                   ///< empty: "id" when there is one, else rows are numbered
    std::vector<std::string> labels;  ///< go to the first party
    std::optional<ImageShape> image;  ///< what the other columns are pixels of
    std::filesystem::path out_dir;
    double overlap = 1;  ///< share of the rows that each other party has, in (0, 1]
    std::uint64_t seed = 1;
};

struct SplitPart {
    std::string party;  ///< "master", "member-0", ...
    std::filesystem::path file;
    std::uint64_t rows = 0;
    std::vector<std::string> columns;  ///< without the id
    std::optional<ImageShape> image;   ///< the part of the picture that it has
};

struct VerticalSplit {
    std::string id;  ///< the column of the record ids in all parts
    bool ids_made = false;
    std::vector<SplitPart> parts;
};

/// The columns that are neither id nor label go to the parties in the order of the table, as many
/// to each as to the others; of pictures each gets an upright part. Cells are copied as they are.
/// Files are CSV, each written whole or not at all: <stem>_master.csv, <stem>_member-0.csv, ...
/// Errors: usage (too few columns, a number out of range), bad_data, io.
Result<VerticalSplit> split_vertically(const VerticalSplitOptions& options);

}  // namespace vflbus::data
