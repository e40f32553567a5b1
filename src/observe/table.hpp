#pragma once
// Aligned text tables for people: reports, `vflbus check`, `vflbus runs`, `vflbus nodes`.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vflbus::observe {

enum class Align { left, right };

struct Column {
    std::string title;
    Align align = Align::left;
};

inline constexpr std::size_t table_columns_max = 100;
/// The width of a pipe or a file: whoever reads it cuts what it does not want.
inline constexpr std::size_t table_not_cut = static_cast<std::size_t>(-1);

/// Columns two blanks apart, a header line, no trailing blanks. Cells are UTF-8; control
/// characters show as '?'. A table wider than asked for cuts its widest columns, with an ellipsis;
/// where that would leave nothing to read, each row becomes lines of title and cell.
class Table {
  public:
    explicit Table(std::vector<Column> columns);

    /// Missing cells are empty, surplus ones are dropped.
    Table& add(std::vector<std::string> cells);

    [[nodiscard]] std::size_t rows() const noexcept { return rows_.size(); }
    /// Every line ends with a newline. `bold_header` uses a terminal's escape codes.
    [[nodiscard]] std::string text(std::size_t width = table_columns_max,
                                   bool bold_header = false) const;

  private:
    [[nodiscard]] std::string records(std::size_t width, bool bold_header) const;

    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

/// "label    text" lines with the texts below each other. A text that is too long for `width` is
/// broken at blanks, and never cut. `indent`: of the texts, at least.
using Facts = std::vector<std::pair<std::string, std::string>>;
std::string facts_text(const Facts& facts, std::size_t width, std::size_t indent = 0);

/// `text` as lines of at most `width` columns, broken at blanks; a longer word is cut.
std::string wrapped(std::string_view text, std::size_t width);

/// Whether bold and colours are wanted on a terminal: not with NO_COLOR (https://no-color.org) or
/// TERM=dumb.
bool colors_wanted();

/// Columns of a terminal that `text` takes, one per code point.
std::size_t display_width(std::string_view text) noexcept;
/// At most `width` columns; what is cut ends in an ellipsis. Never cuts a code point in two.
std::string cut(std::string_view text, std::size_t width);
/// Control characters (and DEL) as '?', for text that comes from files or peers.
std::string printable(std::string_view text);
/// 12345678 -> "12,345,678"
std::string grouped(std::uint64_t number);
/// Four decimals, or four significant digits in exponent form when that would hide the value; "-"
/// for NaN.
std::string metric_text(double value);

}  // namespace vflbus::observe
