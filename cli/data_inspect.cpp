// vflbus data inspect

#include <cmath>
#include <string>
#include <vector>

#include "base/text.hpp"
#include "commands.hpp"
#include "config/config.hpp"
#include "data/column_rules.hpp"
#include "data/inspect.hpp"
#include "data/place.hpp"
#include "observe/table.hpp"
#include "output.hpp"

namespace vflbus::cli {
namespace {

std::string brief(double value) {
    if (value == std::floor(value) && std::abs(value) < 1e15)
        return observe::grouped(static_cast<std::uint64_t>(std::abs(value)))
            .insert(0, value < 0 ? "-" : "");
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    return text;
}

/// Rows per bin as eight heights, the fullest bin highest.
std::string bars(const std::vector<std::uint64_t>& histogram) {
    static const char* const heights[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    std::uint64_t most = 1;
    for (const std::uint64_t rows : histogram) most = std::max(most, rows);
    std::string text;
    for (const std::uint64_t rows : histogram) text += heights[(rows * 8 + most - 1) / most];
    return text;
}

std::string values_of(const data::ColumnSummary& column) {
    if (!column.histogram.empty())
        return brief(column.low) + " to " + brief(column.high) + " " + bars(column.histogram);
    std::vector<std::string> some;
    for (const auto& [text, rows] : column.common)
        some.push_back(data::shown(text) + " " + observe::grouped(rows));
    return join_and(some);
}

std::string json_of(const data::ColumnSummary& column) {
    JsonObject one;
    one.add("name", column.name).add("kind", column.kind).add("use", column.use);
    one.add("missing", column.missing).add("distinct", column.distinct);
    if (!column.histogram.empty()) {
        std::vector<std::string> bins;
        for (const std::uint64_t rows : column.histogram) bins.push_back(std::to_string(rows));
        one.add("low", column.low).add("high", column.high).add("mean", column.mean);
        one.add_json("histogram", json_array(bins));
    }
    if (!column.common.empty()) {
        std::vector<std::string> common;
        for (const auto& [text, rows] : column.common)
            common.push_back(JsonObject().add("value", text).add("rows", rows).text());
        one.add_json("common", json_array(common));
    }
    return one.text();
}

}  // namespace

int run(const InspectArguments& arguments) {
    const auto rules = data::parse_column_rules(arguments.columns);
    if (!rules) return report_failure(arguments, rules.error());
    const std::uint64_t one_hot_max = config::DataConfig{}.one_hot_max;
    data::SourceOptions options;
    options.location = arguments.file;
    const auto summary = data::inspect(options, *rules, one_hot_max);
    if (!summary) return report_failure(arguments, summary.error());
    if (arguments.json) {
        std::vector<std::string> columns;
        for (const data::ColumnSummary& column : summary->columns)
            columns.push_back(json_of(column));
        print(versioned("vflbus-table")
                  .add("status", "completed")
                  .add("rows", summary->rows)
                  .add("id", summary->id)
                  .add("notes", summary->notes)
                  .add_json("columns", json_array(columns))
                  .text() +
              "\n");
        return 0;
    }
    for (const std::string& said : summary->notes) note(arguments, arguments.file + ": " + said);
    observe::Table table({{"column"},
                          {"kind"},
                          {"missing", observe::Align::right},
                          {"distinct", observe::Align::right},
                          {"values"},
                          {"in a training"}});
    for (const data::ColumnSummary& column : summary->columns)
        table.add({column.name, column.kind, observe::grouped(column.missing),
                   column.distinct == 0 ? "" : observe::grouped(column.distinct), values_of(column),
                   column.use});
    print(shown(table));
    print("\n" + observe::grouped(summary->rows) + " rows" +
          (summary->id.empty() ? std::string("; no column can be the record id")
                               : "; column " + summary->id + " can be the record id") +
          "\n");
    return 0;
}

}  // namespace vflbus::cli
