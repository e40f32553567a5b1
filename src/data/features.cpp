#include "data/features.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "base/assert.hpp"
#include "base/text.hpp"

namespace vflbus::data {
namespace {

constexpr double inflation_max = 1e8;

/// The bin of each row, and what the bins are called.
struct Binned {
    std::vector<std::uint32_t> of_row;
    std::vector<std::string> names;
};

/// Upper ends of the quantile bins, ascending and all different; the last one is infinite.
std::vector<double> upper_ends(std::vector<double> values) {
    std::ranges::sort(values);
    std::vector<double> ends;
    for (std::size_t q = 1; q < feature_bins && !values.empty(); ++q) {
        const std::size_t at = (values.size() * q + feature_bins - 1) / feature_bins;
        const double end = values[std::min(at == 0 ? 0 : at - 1, values.size() - 1)];
        if (end < values.back() && (ends.empty() || ends.back() < end)) ends.push_back(end);
    }
    ends.push_back(std::numeric_limits<double>::infinity());
    return ends;
}

std::vector<std::string> names_of_ends(const std::vector<double>& ends) {
    if (ends.size() == 1) return {"all numbers"};
    std::vector<std::string> names;
    for (std::size_t i = 0; i < ends.size(); ++i) {
        if (i + 1 == ends.size())
            names.push_back("above " + shortest(ends[i - 1]));
        else if (i == 0)
            names.push_back("up to " + shortest(ends[0]));
        else
            names.push_back("above " + shortest(ends[i - 1]) + ", up to " + shortest(ends[i]));
    }
    return names;
}

bool has_cell(const Column& column, std::uint32_t row) {
    return row != absent_row && !column.is_missing(row);
}

Binned bins_of_numbers(const Column& column, std::span<const std::uint32_t> rows) {
    std::vector<double> present;
    for (const std::uint32_t row : rows)
        if (has_cell(column, row)) present.push_back(column.numbers[row]);
    const std::vector<double> ends = upper_ends(std::move(present));
    Binned binned;
    binned.names = names_of_ends(ends);
    for (const std::uint32_t row : rows) {
        if (!has_cell(column, row)) {
            binned.of_row.push_back(static_cast<std::uint32_t>(ends.size()));
            continue;
        }
        const auto end = std::ranges::lower_bound(ends, column.numbers[row]);
        binned.of_row.push_back(static_cast<std::uint32_t>(end - ends.begin()));
    }
    return binned;
}

Binned bins_of_texts(const Column& column, std::span<const std::uint32_t> rows) {
    std::vector<std::uint64_t> counts(column.dictionary.size(), 0);
    for (const std::uint32_t row : rows)
        if (has_cell(column, row)) ++counts[column.codes[row]];
    std::vector<std::uint32_t> by_count(counts.size());
    std::iota(by_count.begin(), by_count.end(), 0U);
    std::ranges::stable_sort(by_count, std::greater<>(),
                             [&](std::uint32_t code) { return counts[code]; });
    const std::size_t named = std::min(feature_bins, by_count.size());
    Binned binned;
    std::vector<std::uint32_t> bin_of_code(counts.size(), static_cast<std::uint32_t>(named));
    for (std::size_t i = 0; i < named; ++i) {
        bin_of_code[by_count[i]] = static_cast<std::uint32_t>(i);
        binned.names.push_back(column.dictionary[by_count[i]]);
    }
    if (named < by_count.size()) binned.names.emplace_back("other texts");
    const auto missing = static_cast<std::uint32_t>(binned.names.size());
    for (const std::uint32_t row : rows)
        binned.of_row.push_back(has_cell(column, row) ? bin_of_code[column.codes[row]] : missing);
    return binned;
}

/// Rows without a cell get two bins behind the others: missing, and without a record.
void part_missing(Binned& binned, std::span<const std::uint32_t> rows) {
    const auto missing = static_cast<std::uint32_t>(binned.names.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
        if (binned.of_row[i] == missing && rows[i] == absent_row) binned.of_row[i] = missing + 1;
    binned.names.emplace_back("missing");
    binned.names.emplace_back("no record");
}

/// Puts rows and names into the figures, without the bins that no row is in.
std::vector<std::uint8_t> take_bins(const Binned& binned, FeatureFigures& figures) {
    std::vector<std::uint64_t> counts(binned.names.size(), 0);
    for (const std::uint32_t bin : binned.of_row) ++counts[bin];
    std::vector<std::uint8_t> place(binned.names.size(), 0);
    for (std::size_t b = 0; b < counts.size(); ++b) {
        if (counts[b] == 0) continue;
        place[b] = static_cast<std::uint8_t>(figures.bins.size());
        figures.bins.push_back({binned.names[b], counts[b], 0, 0});
    }
    std::vector<std::uint8_t> of_row;
    of_row.reserve(binned.of_row.size());
    for (const std::uint32_t bin : binned.of_row) of_row.push_back(place[bin]);
    return of_row;
}

/// Columns of mean 0 and square sum 1 over the same rows; a constant one is all 0.
using UnitColumns = std::vector<std::vector<double>>;

std::vector<double> unit_column(const Column& column, std::span<const std::uint32_t> rows,
                                std::size_t every) {
    std::vector<double> values;
    double sum = 0;
    double low = std::numeric_limits<double>::infinity();
    double high = -low;
    std::size_t present = 0;
    for (std::size_t i = 0; i < rows.size(); i += every) {
        if (rows[i] == absent_row) continue;
        values.push_back(column.numbers[rows[i]]);
        if (std::isnan(values.back())) continue;
        sum += values.back();
        low = std::min(low, values.back());
        high = std::max(high, values.back());
        ++present;
    }
    // (the mean of equal numbers may differ from them in the last bit)
    const bool constant = low >= high;
    const double mean = present == 0 ? 0 : sum / static_cast<double>(present);
    double squares = 0;
    for (double& value : values) {
        value = constant || std::isnan(value) ? 0 : value - mean;
        squares += value * value;
    }
    const double norm = std::sqrt(squares);
    for (double& value : values) value = norm > 0 ? value / norm : 0;
    return values;
}

std::vector<std::vector<double>> correlations_of(const UnitColumns& columns) {
    const std::size_t d = columns.size();
    std::vector<std::vector<double>> out(d, std::vector<double>(d, 0));
    for (std::size_t a = 0; a < d; ++a) {
        out[a][a] = 1;
        for (std::size_t b = 0; b < a; ++b)
            out[a][b] = out[b][a] =
                std::inner_product(columns[a].begin(), columns[a].end(), columns[b].begin(), 0.0);
    }
    return out;
}

/// The diagonal of the inverse, by Gauss and Jordan. A little is added to the diagonal, so that
/// columns that follow from each other get large numbers, and others their own.
std::vector<double> inverse_diagonal(std::vector<std::vector<double>> matrix) {
    constexpr double little = 1e-10;
    const std::size_t d = matrix.size();
    for (std::size_t i = 0; i < d; ++i) {
        matrix[i][i] += little;
        matrix[i].resize(2 * d, 0);
        matrix[i][d + i] = 1;
    }
    for (std::size_t i = 0; i < d; ++i) {
        const double pivot = matrix[i][i];  // positive, as the matrix is positive definite
        for (double& value : matrix[i]) value /= pivot;
        for (std::size_t r = 0; r < d; ++r) {
            const double factor = matrix[r][i];
            if (r == i || factor == 0) continue;
            for (std::size_t c = i; c < 2 * d; ++c) matrix[r][c] -= factor * matrix[i][c];
        }
    }
    std::vector<double> diagonal;
    for (std::size_t i = 0; i < d; ++i) diagonal.push_back(matrix[i][d + i]);
    return diagonal;
}

void add_correlations(const Table& table, std::span<const std::uint32_t> rows,
                      std::vector<FeatureFigures>& figures) {
    const std::size_t every =
        std::max<std::size_t>(1, (rows.size() + correlated_rows_max - 1) / correlated_rows_max);
    std::vector<std::size_t> numeric;
    UnitColumns columns;
    for (std::size_t c = 0; c < table.features.size(); ++c) {
        if (table.features[c].kind != ColumnKind::numeric) continue;
        std::vector<double> column = unit_column(table.features[c], rows, every);
        const bool constant = std::ranges::all_of(column, [](double value) { return value == 0; });
        if (constant) continue;
        numeric.push_back(c);
        columns.push_back(std::move(column));
    }
    const auto correlations = correlations_of(columns);
    const std::vector<double> inverse = inverse_diagonal(correlations);
    for (std::size_t a = 0; a < numeric.size(); ++a) {
        FeatureFigures& of = figures[numeric[a]];
        of.inflation = inverse[a] < inflation_max ? std::max(1.0, inverse[a])
                                                  : std::numeric_limits<double>::infinity();
        for (std::size_t b = 0; b < numeric.size(); ++b) {
            if (a == b ||
                (!of.nearest.empty() && std::abs(correlations[a][b]) <= std::abs(of.correlation)))
                continue;
            of.correlation = correlations[a][b];
            of.nearest = table.features[numeric[b]].name;
        }
    }
}

}  // namespace

BinnedTable bin_table(const Table& table, std::span<const std::uint32_t> rows) {
    BinnedTable out;
    for (const Column& column : table.features) {
        FeatureFigures figures;
        figures.name = column.name;
        figures.kind = column.kind;
        for (const std::uint32_t row : rows) figures.missing += has_cell(column, row) ? 0 : 1;
        Binned binned = column.kind == ColumnKind::numeric ? bins_of_numbers(column, rows)
                                                           : bins_of_texts(column, rows);
        part_missing(binned, rows);
        out.bins.push_back(take_bins(binned, figures));
        out.figures.push_back(std::move(figures));
    }
    add_correlations(table, rows, out.figures);
    return out;
}

void add_evidence(FeatureFigures& figures) {
    double positives = 0;
    double negatives = 0;
    for (const FeatureBin& bin : figures.bins) {
        positives += static_cast<double>(bin.positives);
        negatives += static_cast<double>(bin.rows - bin.positives);
    }
    figures.information = 0;
    if (positives == 0 || negatives == 0) return;
    for (FeatureBin& bin : figures.bins) {
        double p = static_cast<double>(bin.positives);
        double n = static_cast<double>(bin.rows - bin.positives);
        if (p == 0 || n == 0) {
            p += 0.5;
            n += 0.5;
        }
        bin.evidence = std::log((p / positives) / (n / negatives));
        figures.information += (p / positives - n / negatives) * bin.evidence;
    }
}

std::vector<FeatureFigures> feature_figures(const Table& table, std::span<const std::uint32_t> rows,
                                            std::span<const std::uint8_t> positive) {
    VFLBUS_ASSERT(rows.size() == positive.size(), "every row has a label");
    BinnedTable binned = bin_table(table, rows);
    for (std::size_t c = 0; c < binned.figures.size(); ++c) {
        FeatureFigures& figures = binned.figures[c];
        for (std::size_t i = 0; i < rows.size(); ++i)
            figures.bins[binned.bins[c][i]].positives += positive[i];
        add_evidence(figures);
    }
    return std::move(binned.figures);
}

}  // namespace vflbus::data
