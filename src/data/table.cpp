#include "data/table.hpp"

#include <algorithm>
#include <cmath>

#include "base/assert.hpp"
#include "base/text.hpp"

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

}  // namespace vflbus::data
