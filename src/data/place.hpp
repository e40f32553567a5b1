#pragma once
// Where something is wrong in a party's table, and the two sentences that say so.
//
// The party itself has to find the cell, so its own log and terminal name the path, the column and
// the cell. Other parties may not see any of these, not in an error either: they are told the kind
// of the fault, the file's base name, and the numbers of line and column.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/errc.hpp"

namespace vflbus::data {

struct Place {
    std::string party = {};          ///< whose table it is; may be empty
    std::string file = {};           ///< as the party named it, with its scheme
    std::uint64_t line = 0;          ///< 1 = the first; 0: the table as a whole
    std::string column = {};         ///< its name; empty: no column, or one without a name
    std::size_t column_number = 0;   ///< 1 = the first; 0: not known
    std::string_view unit = "line";  ///< what `line` counts: binary files have rows

    /// "member-0: data/shop.csv, line 9, column 'age'"
    [[nodiscard]] std::string text() const;
    /// "member-0: shop.csv, line 9, column 3"
    [[nodiscard]] std::string text_for_others() const;
};

/// "on line 9", "in row 9", within a sentence that is about `file`; "on line 9 of part-2.csv" when
/// the place is in another file.
std::string on_line(const Place& place, std::string_view file);

/// A cell, id or name as it may stand in a sentence: in quotation marks, at most 40 bytes, without
/// control characters and broken UTF-8.
std::string shown(std::string_view cell);

/// A failure at `place`. `what` quotes nothing of the table and is told to everybody.
Failure fault(Errc code, const Place& place, std::string_view what);

/// A failure whose sentence quotes the table; others are told `what_for_others` instead.
Failure fault(Errc code, const Place& place, std::string_view what,
              std::string_view what_for_others);

}  // namespace vflbus::data
