#include "data/inspect.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace vflbus::data {
namespace {

constexpr std::size_t common_max = 3;

void add_histogram(const Column& column, ColumnSummary& summary) {
    summary.histogram.assign(histogram_bins, 0);
    const double width = summary.high - summary.low;
    for (const double value : column.numbers) {
        if (std::isnan(value)) continue;
        const double share = width > 0 ? (value - summary.low) / width : 0;
        const auto bin = static_cast<std::size_t>(share * histogram_bins);
        ++summary.histogram[std::min(bin, histogram_bins - 1)];
    }
}

ColumnSummary summary_of_numbers(const Column& column) {
    ColumnSummary summary;
    summary.name = column.name;
    summary.kind = column.date == DateForm::none ? "number"
                   : column.date == DateForm::time
                       ? "time of day"
                       : "date (" + std::string(name_of(column.date)) + ")";
    summary.low = std::numeric_limits<double>::infinity();
    summary.high = -summary.low;
    std::vector<double> values;
    double sum = 0;
    for (const double value : column.numbers) {
        if (std::isnan(value)) {
            ++summary.missing;
            continue;
        }
        values.push_back(value);
        sum += value;
        summary.low = std::min(summary.low, value);
        summary.high = std::max(summary.high, value);
    }
    if (values.empty()) {
        summary.low = summary.high = 0;
        summary.use = "left out: no cell is there";
        return summary;
    }
    summary.mean = sum / static_cast<double>(values.size());
    std::sort(values.begin(), values.end());
    summary.distinct =
        static_cast<std::uint64_t>(std::unique(values.begin(), values.end()) - values.begin());
    add_histogram(column, summary);
    summary.use = summary.distinct == 1  ? "left out: it is constant"
                  : summary.missing == 0 ? "1 feature, scaled"
                                         : "1 feature, scaled; missing cells become the mean";
    return summary;
}

ColumnSummary summary_of_texts(const Column& column, std::uint64_t one_hot_max) {
    ColumnSummary summary;
    summary.name = column.name;
    summary.kind = "category";
    std::vector<std::uint64_t> counts(column.dictionary.size(), 0);
    for (const std::uint32_t code : column.codes) {
        if (code == missing_code)
            ++summary.missing;
        else
            ++counts[code];
    }
    summary.distinct = column.dictionary.size();
    for (std::size_t code = 0; code < counts.size(); ++code)
        summary.common.emplace_back(column.dictionary[code], counts[code]);
    std::stable_sort(summary.common.begin(), summary.common.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
    if (summary.common.size() > common_max) summary.common.resize(common_max);
    const std::string values = std::to_string(summary.distinct);
    if (summary.distinct == 0)
        summary.use = "left out: no cell is there";
    else if (summary.distinct == 1 && summary.missing == 0)
        summary.use = "left out: it is constant";
    else if (summary.distinct > one_hot_max)
        summary.use =
            "left out: more values than data.one_hot_max = " + std::to_string(one_hot_max);
    else
        summary.use = values + (summary.distinct == 1 ? " feature" : " features") + " of 0 and 1";
    return summary;
}

/// Whether "id" is a word of the name: customer_id, ID, idCustomer, userId; not width or valid.
bool is_called_id(std::string_view name) {
    const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
    const auto letter = [&](char c) { return lower(static_cast<char>(c | 0x20)); };
    for (std::size_t at = 0; at + 2 <= name.size(); ++at) {
        if ((name[at] | 0x20) != 'i' || (name[at + 1] | 0x20) != 'd') continue;
        const bool begins =
            at == 0 || !letter(name[at - 1]) || (name[at] == 'I' && lower(name[at - 1]));
        const bool ends = at + 2 == name.size() || !lower(name[at + 2]);
        if (begins && ends) return true;
    }
    return false;
}

/// Of the columns whose cells are all there, all different and no fractions: that called id; else
/// the first that has id in its name; else the first column, or the first of texts.
std::string find_id(const TableSummary& summary, const std::set<std::string>& fractions) {
    std::string called;
    std::string other;
    for (const ColumnSummary& column : summary.columns) {
        if (column.missing > 0 || column.distinct != summary.rows ||
            fractions.contains(column.name))
            continue;
        if (column.name == "id") return column.name;
        if (called.empty() && is_called_id(column.name)) called = column.name;
        const bool first = &column == &summary.columns.front();
        if (other.empty() && (first || column.kind == "category")) other = column.name;
    }
    return called.empty() ? other : called;
}

}  // namespace

Result<TableSummary> inspect(const SourceOptions& options, const std::vector<ColumnRule>& rules,
                             std::uint64_t one_hot_max) {
    auto source = open_source(options);
    if (!source) return tl::unexpected(std::move(source.error()));
    TableRequest request;
    request.id = row_number_id;
    request.columns = rules;
    const auto table = (*source)->read(request);
    if (!table) return tl::unexpected(table.error());

    TableSummary summary;
    summary.rows = table->rows();
    summary.notes = table->notes;
    std::unordered_map<std::string, ColumnSummary> by_name;
    for (const Column& column : table->features)
        by_name[column.name] = column.kind == ColumnKind::numeric
                                   ? summary_of_numbers(column)
                                   : summary_of_texts(column, one_hot_max);
    for (const LeftOut& column : table->left_out) {
        ColumnSummary& left_out = by_name[column.name];
        left_out.name = column.name;
        left_out.kind = "-";
        left_out.use = "left out: " + column.reason;
    }
    const std::vector<std::string>& names = (*source)->columns();
    for (std::size_t c = 0; c < names.size(); ++c) {
        const std::string name = names[c].empty() ? "column " + std::to_string(c + 1) : names[c];
        const auto found = by_name.find(name);
        if (found != by_name.end()) {
            summary.columns.push_back(std::move(found->second));
        } else if (!names[c].empty()) {
            ColumnSummary& ignored = summary.columns.emplace_back();
            ignored.name = name;
            ignored.kind = "-";
            ignored.use = "not read: it is declared to be ignored";
        }
    }
    std::set<std::string> fractions;
    for (const Column& column : table->features)
        if (std::ranges::any_of(column.numbers, [](double v) { return v != std::floor(v); }))
            fractions.insert(column.name);
    summary.id = find_id(summary, fractions);
    for (ColumnSummary& column : summary.columns)
        if (!summary.id.empty() && column.name == summary.id) column.use = "the record id";
    return summary;
}

}  // namespace vflbus::data
