#include "data/table.hpp"

#include <algorithm>
#include <cmath>

#include "base/assert.hpp"
#include "base/text.hpp"
#include "data/number.hpp"
#include "data/number_style.hpp"
#include "data/text_codes.hpp"

namespace vflbus::data {

void Ids::reserve(std::size_t rows, std::size_t characters) {
    ends_.reserve(rows);
    arena_.reserve(characters);
}

void Ids::push_back(std::string_view id) {
    arena_.append(id);
    ends_.push_back(arena_.size());
}

void Ids::append(Ids&& other) {
    const std::uint64_t base = arena_.size();
    arena_.append(other.arena_);
    for (const std::uint64_t end : other.ends_) ends_.push_back(base + end);
    other = Ids();
}

bool Column::is_missing(std::size_t row) const noexcept {
    return kind == ColumnKind::numeric ? std::isnan(numbers[row]) : codes[row] == missing_code;
}

std::string Column::text(std::size_t row) const {
    if (is_missing(row)) return {};
    return kind == ColumnKind::numeric ? shortest(numbers[row]) : dictionary[codes[row]];
}

Place Table::place_of(std::size_t row) const {
    VFLBUS_ASSERT(row < rows(), "a row whose place is asked for is in the table");
    if (parts.empty()) return {party, path, lines.empty() ? row + 1 : lines[row], {}, 0, "row"};
    const auto after = std::upper_bound(
        parts.begin(), parts.end(), row,
        [](std::size_t wanted, const TablePart& part) { return wanted < part.first_row; });
    VFLBUS_ASSERT(after != parts.begin(), "the first part of a table begins with its first row");
    const TablePart& part = after[-1];
    return {party, part.file,
            lines.empty() ? part.first_line + (row - part.first_row) : lines[row]};
}

const Column* Table::find_feature(std::string_view name) const noexcept {
    for (const Column& column : features)
        if (column.name == name) return &column;
    return nullptr;
}

std::string_view describe(LeftOutKind kind) noexcept {
    switch (kind) {
        case LeftOutKind::unnamed:
            return "without a name";
        case LeftOutKind::declared:
            return "declared as id or text";
        case LeftOutKind::all_missing:
            return "all training cells are missing";
        case LeftOutKind::constant:
            return "constant on the training rows";
        case LeftOutKind::texts:
            return "more different texts than data.one_hot_max";
        case LeftOutKind::scale:
            return "numbers too large or too close to each other";
    }
    return "unknown";
}

std::vector<KnownColumn> known_columns(const Table& table) {
    std::vector<KnownColumn> known;
    for (const Column& column : table.features)
        known.push_back({column.name, column.kind, column.date, {}, column.decimal});
    return known;
}

std::optional<char> usual_decimal(const std::vector<KnownColumn>& known) noexcept {
    std::optional<char> mark;
    for (const KnownColumn& column : known)
        if (column.kind == ColumnKind::numeric && mark.value_or('.') == '.') mark = column.decimal;
    return mark;
}

void make_texts(Column& column) {
    if (column.kind == ColumnKind::text) return;
    TextCodes texts;
    column.codes.resize(column.numbers.size());
    for (std::size_t row = 0; row < column.numbers.size(); ++row)
        column.codes[row] = std::isnan(column.numbers[row])
                                ? missing_code
                                : texts.code_of(shortest(column.numbers[row] + 0.0));
    std::vector<std::uint32_t> new_codes;
    column.dictionary = texts.sorted(new_codes);
    for (std::uint32_t& code : column.codes)
        if (code != missing_code) code = new_codes[code];
    column.numbers = {};
    column.kind = ColumnKind::text;
    column.date = DateForm::none;
}

bool make_numbers(Column& column) {
    if (column.kind == ColumnKind::numeric) return true;
    std::vector<double> values;
    bool any = false;
    for (const std::string& text : column.dictionary) {
        const auto value = parse_number(text);
        if (!value && !is_no_number_text(text)) return false;
        values.push_back(value.value_or(std::numeric_limits<double>::quiet_NaN()));
        any |= value.has_value();
    }
    if (!any) return false;
    column.numbers.resize(column.codes.size());
    for (std::size_t row = 0; row < column.codes.size(); ++row)
        column.numbers[row] = column.codes[row] == missing_code
                                  ? std::numeric_limits<double>::quiet_NaN()
                                  : values[column.codes[row]];
    column.codes = {};
    column.dictionary = {};
    column.kind = ColumnKind::numeric;
    return true;
}

namespace {

template <class Values>
void keep_values(Values& values, std::span<const std::uint8_t> keep) {
    if (values.empty()) return;
    std::size_t kept = 0;
    for (std::size_t row = 0; row < keep.size(); ++row)
        if (keep[row] != 0) values[kept++] = values[row];
    values.resize(kept);
}

/// Drops texts that no row has any more.
void shrink_dictionary(Column& column) {
    if (column.kind != ColumnKind::text) return;
    std::vector<std::uint32_t> new_codes(column.dictionary.size(), missing_code);
    for (const std::uint32_t code : column.codes)
        if (code != missing_code) new_codes[code] = 0;
    std::vector<std::string> dictionary;
    for (std::size_t code = 0; code < new_codes.size(); ++code) {
        if (new_codes[code] == missing_code) continue;
        new_codes[code] = static_cast<std::uint32_t>(dictionary.size());
        dictionary.push_back(std::move(column.dictionary[code]));
    }
    column.dictionary = std::move(dictionary);
    for (std::uint32_t& code : column.codes)
        if (code != missing_code) code = new_codes[code];
}

}  // namespace

void keep_rows(Table& table, std::span<const std::uint8_t> keep) {
    VFLBUS_ASSERT(keep.size() == table.rows(), "every row is kept or not");
    std::vector<std::uint64_t> lines;
    std::vector<TablePart> parts = table.parts;
    Ids ids;
    std::size_t part = 0;
    for (std::size_t row = 0; row < keep.size(); ++row) {
        while (part < parts.size() && table.parts[part].first_row == row)
            parts[part++].first_row = ids.size();
        if (keep[row] == 0) continue;
        lines.push_back(table.place_of(row).line);
        ids.push_back(table.ids[row]);
    }
    for (auto* const columns : {&table.labels, &table.features}) {
        for (Column& column : *columns) {
            keep_values(column.numbers, keep);
            keep_values(column.codes, keep);
            shrink_dictionary(column);
        }
    }
    table.ids = std::move(ids);
    table.lines = std::move(lines);
    table.parts = std::move(parts);
}

}  // namespace vflbus::data
