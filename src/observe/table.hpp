#pragma once
// Aligned text tables for people: reports, `vflbus check`, `vflbus runs`, `vflbus nodes`.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vflbus::observe {

enum class Align { left, right };

struct Column {
    std::string title;
    Align align = Align::left;
};

inline constexpr std::size_t table_columns_max = 100;

/// Columns two blanks apart, a header line, no trailing blanks. Cells are UTF-8; control
/// characters show as '?'. A table wider than asked for cuts its widest columns, with an ellipsis.
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
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

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
