#pragma once
// Numbers as people and spreadsheets write them: 1,234.5; 1.234,5; 12 %; $5; (3). Internal to the
// data room.
//
// A plain number (number.hpp) is tried first everywhere; this is for the cells that are none.

#include <optional>
#include <string>
#include <string_view>

namespace vflbus::data {

/// How the numbers of a column are written.
struct NumberStyle {
    char decimal = '.';
    /// Between groups of three digits; '\0': nothing. A blank stands for the blanks of all widths.
    char thousands = '\0';
    /// Whether percent signs, currencies and parentheses for negative numbers may stand around a
    /// number. They do not change it: "12 %" is 12.
    bool marks = false;

    [[nodiscard]] bool plain() const noexcept {
        return decimal == '.' && thousands == '\0' && !marks;
    }
    friend bool operator==(const NumberStyle&, const NumberStyle&) = default;
};

/// A finite number in this style that takes up all of `text`. Groups are of three digits exactly,
/// but for the first, which has one to three and no leading zero.
std::optional<double> parse_styled(std::string_view text, const NumberStyle& style);

/// True for what statisticians and spreadsheets put where a column has no number: dashes, "$ -",
/// "." (SAS, Stata), ".." (World Bank), ":" (Eurostat). In a column of texts it is a text like any
/// other.
bool is_no_number_text(std::string_view text) noexcept;

/// True for words that say that there is no number: "missing", "unknown", "n.a.", "#DIV/0!" and the
/// like, in upper or lower case. In a column of texts it is a text like any other.
bool is_missing_word(std::string_view text) noexcept;

/// The sign between groups when `text` is a number with groups under this decimal mark, such as ','
/// for "1,234.5" and '.'; ' ' for blanks that do not break a line; else '\0'.
char grouping_of(std::string_view text, char decimal);

}  // namespace vflbus::data
