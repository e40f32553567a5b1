#pragma once
// Figures by which columns are chosen before a training: how much each column of a table tells by
// itself of a label of two classes, and how much of that other columns of the table tell as well.
//
// information  The information value over bins: the sum of (p_b - n_b) ln(p_b / n_b), p_b being the
//              share of all positive rows that fall into bin b, n_b that of the negative ones
//              (Siddiqi, Credit Risk Scorecards, 2006). The logarithm is the bin's weight of
//              evidence. In a bin without rows of one class half a row counts as one.
// bins         Numbers by quantiles of the rows at hand, equal numbers together; texts by the most
//              frequent ones, the others together; a bin of their own for missing cells and for
//              records that the party lacks.
// correlation  Pearson's, of numbers, missing cells being the mean; that of the nearest column.
// inflation    The variance inflation factor 1 / (1 - R^2), R^2 being that of the column regressed
//              on all others: the diagonal of the inverse of the correlation matrix. Infinite above
//              1e8, where a column follows from the others.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/table.hpp"

namespace vflbus::data {

struct FeatureBin {
    std::string values;  ///< "0.5 to 1.25", "north", "missing"
    std::uint64_t rows = 0;
    std::uint64_t positives = 0;
    double evidence = 0;  ///< weight of evidence
};

struct FeatureFigures {
    std::string name;
    ColumnKind kind = ColumnKind::numeric;
    double information = 0;
    std::uint64_t missing = 0;  ///< rows without a cell, or without a record
    double inflation = 1;       ///< of numbers
    double correlation = 0;     ///< of numbers: that with `nearest`, the largest by its amount
    std::string nearest;        ///< empty: there is no other column of numbers
    std::vector<FeatureBin> bins;
};

/// Quantiles, and different texts.
inline constexpr std::size_t feature_bins = 10;
/// Correlations are those of so many rows at most, evenly chosen.
inline constexpr std::size_t correlated_rows_max = 100'000;

/// Bins that a column has at most: those of its texts, the other texts, missing cells, records that
/// the party lacks.
inline constexpr std::size_t feature_bins_max = feature_bins + 3;

/// All features of a table, in its order, before anything is known of the label.
struct BinnedTable {
    std::vector<FeatureFigures> figures;          ///< the bins have rows, and no positives
    std::vector<std::vector<std::uint8_t>> bins;  ///< of each feature: the bin of each row
};
/// `rows`: rows of the table, or absent_row. Bins without rows are left out.
BinnedTable bin_table(const Table& table, std::span<const std::uint32_t> rows);

/// Weights of evidence and the information value, by rows and positives of the bins.
void add_evidence(FeatureFigures& figures);

/// Both at once. `positive`: of each row 1 for the positive class, 0 for the other.
std::vector<FeatureFigures> feature_figures(const Table& table, std::span<const std::uint32_t> rows,
                                            std::span<const std::uint8_t> positive);

}  // namespace vflbus::data
