#pragma once
// One cell of a CSV buffer at a time. Internal to the data room.

#include <cstdint>
#include <string>
#include <string_view>

#include "data/csv_dialect.hpp"

namespace vflbus::data {

enum class CellStop : std::uint8_t {
    separator,    ///< another cell of the row follows
    row,          ///< the row ended with this cell
    stray_quote,  ///< a quote inside an unquoted cell, or text after a closing quote
    open_quote,   ///< the buffer ended inside quotes
};

/// Reads the cell at `p` and moves `p` behind its separator or line feed. `text` is the cell
/// without quotes and without surrounding blanks; it points into the buffer or into `scratch`. Line
/// feeds inside quotes are added to `line`. The byte before `end` must be LF.
CellStop read_cell(const char*& p, const char* end, const Dialect& dialect, std::string& scratch,
                   std::string_view& text, std::uint64_t& line);

/// Skips blank lines, counting them; false at the end of the buffer, which must be LF.
inline bool skip_blank_lines(const char*& p, const char* end, const Dialect& dialect,
                             std::uint64_t& line) noexcept {
    while (p != end) {
        const char* q = p;
        while (dialect.is_nothing(*q)) ++q;  // never beyond the last LF
        if (*q != '\n') return true;
        p = q + 1;
        ++line;
    }
    return false;
}

/// True for a cell that means "not known" (the list is in csv.hpp).
bool is_missing_text(std::string_view text) noexcept;

}  // namespace vflbus::data
