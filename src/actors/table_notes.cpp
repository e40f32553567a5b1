#include "actors/table_notes.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

#include "base/text.hpp"
#include "data/csv_cell.hpp"

namespace vflbus::actors {
namespace {

constexpr std::size_t named_max = 20;

}  // namespace

std::vector<std::string> notes_of(const data::Table& table) {
    std::vector<std::string> notes;
    const auto add = [&](const std::string& text) { notes.push_back(table.path + ": " + text); };
    for (const std::string& note : table.notes) add(note);
    const auto add_skipped = [&](std::uint64_t rows, const std::string& missing_what,
                                 const char* setting) {
        if (rows > 0)
            add(std::to_string(rows) + (rows == 1 ? " row" : " rows") + " without " + missing_what +
                " skipped (" + setting + ")");
    };
    add_skipped(table.rows_without_id, "an id", "data.missing_id");
    add_skipped(table.rows_without_label, "a label", "data.missing_label");
    return notes;
}

namespace {

/// Which missing numbers became the mean, and which what the party has said.
void add_filled(const data::PreprocessReport& prepared, std::vector<std::string>& notes) {
    std::uint64_t said = 0;
    std::vector<std::string> names;
    for (const data::ColumnNote& column : prepared.filled_as_said) {
        said += column.count;
        names.push_back(data::shown(column.name));
    }
    if (said > 0)
        notes.push_back(std::to_string(said) + " missing numbers are filled as \"prepare\" says: " +
                        join_some(std::exchange(names, {}), named_max));
    if (prepared.filled_cells == said) return;
    for (const data::ColumnNote& column : prepared.filled)
        if (std::ranges::find(prepared.filled_as_said, column.name, &data::ColumnNote::name) ==
            prepared.filled_as_said.end())
            names.push_back(data::shown(column.name));
    notes.push_back(
        std::to_string(prepared.filled_cells - said) +
        " missing numbers are filled with the training mean: " + join_some(names, named_max));
}

}  // namespace

std::vector<std::string> notes_of(const data::PreprocessReport& prepared) {
    std::vector<std::string> notes;
    std::map<std::string, std::vector<std::string>> left_out;
    for (const data::LeftOut& column : prepared.removed)
        left_out[column.reason].push_back(data::shown(column.name));
    for (const auto& [reason, names] : left_out)
        notes.push_back("left out, because " + reason + ": " + join_some(names, named_max));
    if (prepared.filled_cells > 0) add_filled(prepared, notes);
    if (!prepared.one_hot.empty()) {
        std::vector<std::string> names;
        for (const data::ColumnNote& column : prepared.one_hot)
            names.push_back(data::shown(column.name));
        notes.push_back("a feature for each value of " + join_some(names, named_max) +
                        " (data.one_hot_max)");
    }
    return notes;
}

std::string id_column(const config::Config& config, const std::string& party) {
    if (!config.data.id.empty()) return config.data.id;
    return config::section_of(config, party).id;
}

std::string test_ids_csv(const Party& own, const std::string& id_column) {
    const TableKind from = own.selected(TableKind::test) ? TableKind::test : TableKind::train;
    const data::Table& table = *own.table(from);
    std::string csv;
    data::append_csv_cell(csv, id_column);
    csv += '\n';
    for (const std::uint32_t row : own.rows(TableKind::test)) {
        data::append_csv_cell(csv, table.ids[row]);
        csv += '\n';
    }
    return csv;
}

}  // namespace vflbus::actors
