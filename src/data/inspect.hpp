#pragma once
// What is in a table, column by column, and what a training would do with each: `vflbus data
// inspect`. For the party's own eyes: it shows cells.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/errc.hpp"
#include "data/source.hpp"

namespace vflbus::data {

inline constexpr std::size_t histogram_bins = 10;

struct ColumnSummary {
    std::string name;
    std::string kind;  ///< "number", "category", "date", "time of day", or why it is left out
    std::uint64_t missing = 0;   ///< cells
    std::uint64_t distinct = 0;  ///< values; 0: not counted
    double low = 0;              ///< numbers and dates
    double high = 0;
    double mean = 0;
    std::vector<std::uint64_t> histogram;  ///< numbers and dates: rows per bin from low to high
    std::vector<std::pair<std::string, std::uint64_t>> common;  ///< texts: the most frequent first
    std::string use;                                            ///< what a training does with it
};

struct TableSummary {
    std::uint64_t rows = 0;
    std::vector<ColumnSummary> columns;  ///< in the order of the source
    std::vector<std::string> notes;      ///< what was guessed
    std::string id;                      ///< a column whose cells are all there and all different
};

/// `one_hot_max`: that of a training. `rules`: what columns are declared to be.
Result<TableSummary> inspect(const SourceOptions& options, const std::vector<ColumnRule>& rules,
                             std::uint64_t one_hot_max);

}  // namespace vflbus::data
