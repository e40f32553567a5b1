#include "observe/table.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "base/text.hpp"

namespace vflbus::observe {
namespace {

constexpr std::size_t gap = 2;
constexpr std::size_t column_width_min = 6;  // no column is cut below this
constexpr std::string_view ellipsis = "…";

bool starts_code_point(char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
}

void append_cell(std::string& line, std::string_view cell, std::size_t width, Align align) {
    const std::string shown = cut(cell, width);
    const std::size_t blanks = width - display_width(shown);
    if (align == Align::right) line.append(blanks, ' ');
    line += shown;
    if (align == Align::left) line.append(blanks, ' ');
}

/// `text` as lines of at most `width` columns, broken at blanks where that is possible.
std::vector<std::string> broken(std::string_view text, std::size_t width) {
    std::vector<std::string> lines{""};
    for (const std::string& word : split(text, ' ')) {
        const std::size_t used = display_width(lines.back());
        if (used != 0 && used + 1 + display_width(word) > width) lines.emplace_back();
        if (!lines.back().empty()) lines.back() += ' ';
        lines.back() += cut(word, width);
    }
    return lines;
}

}  // namespace

std::string facts_text(const Facts& facts, std::size_t width, std::size_t indent) {
    for (const auto& [label, text] : facts) indent = std::max(indent, display_width(label) + gap);
    std::string out;
    for (const auto& [label, text] : facts) {
        std::string line;
        append_cell(line, label, indent, Align::left);
        bool empty = true;
        for (const std::string& word : split(printable(text), ' ')) {
            if (!empty && display_width(line) + 1 + display_width(word) > width) {
                out += line + '\n';
                line.assign(indent, ' ');
                empty = true;
            }
            if (!empty) line += ' ';
            line += word;
            empty = false;
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + '\n';
    }
    return out;
}

std::string wrapped(std::string_view text, std::size_t width) {
    std::string out;
    for (const std::string& line : broken(text, width)) out += (out.empty() ? "" : "\n") + line;
    return out;
}

bool colors_wanted() {
    const char* const none = std::getenv("NO_COLOR");
    if (none != nullptr && *none != '\0') return false;
    const char* const terminal = std::getenv("TERM");
    return terminal == nullptr || std::string_view(terminal) != "dumb";
}

std::size_t display_width(std::string_view text) noexcept {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), starts_code_point));
}

std::string cut(std::string_view text, std::size_t width) {
    if (display_width(text) <= width) return std::string(text);
    if (width == 0) return {};
    std::size_t end = 0;
    for (std::size_t columns = 0; end < text.size(); ++end)
        if (starts_code_point(text[end]) && columns++ == width - 1) break;
    return std::string(text.substr(0, end)).append(ellipsis);
}

std::string printable(std::string_view text) {
    return vflbus::printable(text);
}

std::string grouped(std::uint64_t number) {
    std::string digits = std::to_string(number);
    for (std::size_t at = digits.size(); at > 3;) {
        at -= 3;
        digits.insert(at, 1, ',');
    }
    return digits;
}

std::string metric_text(double value) {
    if (std::isnan(value)) return "-";
    if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
    const double size = std::fabs(value);
    if (size != 0 && (size < 0.001 || size >= 1e7)) return fmt::format("{:.3e}", value);
    return fmt::format("{:.4f}", value);
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

Table& Table::add(std::vector<std::string> cells) {
    cells.resize(columns_.size());
    for (std::string& cell : cells) cell = printable(cell);
    rows_.push_back(std::move(cells));
    return *this;
}

std::string Table::text(std::size_t width, bool bold_header) const {
    if (columns_.empty()) return {};
    std::vector<std::size_t> widths;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
        std::size_t widest = display_width(columns_[c].title);
        for (const auto& row : rows_) widest = std::max(widest, display_width(row[c]));
        widths.push_back(widest);
    }
    std::size_t total = gap * (widths.size() - 1);
    for (const std::size_t w : widths) total += w;
    while (total > width) {
        const auto widest = std::max_element(widths.begin(), widths.end());
        if (*widest <= column_width_min) return records(width, bold_header);
        --*widest;
        --total;
    }

    std::string out;
    const auto append_line = [&](const auto& cell_of, bool bold) {
        std::string line;
        for (std::size_t c = 0; c < columns_.size(); ++c) {
            if (c > 0) line.append(gap, ' ');
            append_cell(line, cell_of(c), widths[c], columns_[c].align);
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += bold ? "\x1b[1m" + line + "\x1b[0m" : line;
        out += '\n';
    };
    // a title that does not fit goes on in the next line: cut, "label holder alone, train" and
    // "label holder alone, test" could not be told apart
    std::vector<std::vector<std::string>> titles;
    std::size_t lines = 1;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
        titles.push_back(broken(columns_[c].title, widths[c]));
        lines = std::max(lines, titles.back().size());
    }
    for (std::size_t at = 0; at < lines; ++at)
        append_line(
            [&](std::size_t c) -> std::string_view {
                return at < titles[c].size() ? std::string_view(titles[c][at]) : "";
            },
            bold_header);
    for (const auto& row : rows_)
        append_line([&](std::size_t c) -> std::string_view { return row[c]; }, false);
    return out;
}

/// "TITLE  cell" lines, a blank line between two rows. A title that is too long for its half of the
/// window goes on in further lines: cut, two titles with one beginning could not be told apart.
std::string Table::records(std::size_t width, bool bold_header) const {
    std::size_t titles = 0;
    for (const Column& column : columns_) titles = std::max(titles, display_width(column.title));
    titles = std::min(titles, width / 2);
    std::string out;
    for (const auto& row : rows_) {
        if (!out.empty()) out += '\n';
        for (std::size_t c = 0; c < columns_.size(); ++c) {
            if (row[c].empty()) continue;
            const std::size_t room = width > titles + gap ? width - titles - gap : 1;
            std::string shown = std::string(gap, ' ') + cut(row[c], room);
            for (const std::string& part : broken(columns_[c].title, titles)) {
                std::string title;
                append_cell(title, part, shown.empty() ? display_width(part) : titles, Align::left);
                out += bold_header ? "\x1b[1m" + title + "\x1b[0m" : title;
                out += std::exchange(shown, {}) + '\n';
            }
        }
    }
    return out;
}

}  // namespace vflbus::observe
