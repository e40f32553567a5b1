#include "data/csv_cells.hpp"

#include <algorithm>
#include <cstring>

namespace vflbus::data {
namespace {

std::string_view trimmed(const char* begin, const char* end, const Dialect& dialect) noexcept {
    while (begin != end && dialect.is_blank(*begin)) ++begin;
    while (begin != end && dialect.is_blank(end[-1])) --end;
    return {begin, static_cast<std::size_t>(end - begin)};
}

CellStop stop_at(const char*& p, const Dialect& dialect) noexcept {
    return *p++ == dialect.separator ? CellStop::separator : CellStop::row;
}

/// `p` is behind the opening quote.
CellStop read_quoted(const char*& p, const char* end, const Dialect& dialect, std::string& scratch,
                     std::string_view& text, std::uint64_t& line) {
    const char* begin = p;
    bool copied = false;
    scratch.clear();
    for (;;) {
        const auto* quote =
            static_cast<const char*>(std::memchr(p, '"', static_cast<std::size_t>(end - p)));
        if (quote == nullptr) return CellStop::open_quote;
        p = quote + 1;  // never beyond end - 1, which is LF
        if (*p != '"') {
            line += static_cast<std::uint64_t>(std::count(begin, quote, '\n'));
            if (copied) {
                scratch.append(begin, quote);
                text = trimmed(scratch.data(), scratch.data() + scratch.size(), dialect);
            } else {
                text = trimmed(begin, quote, dialect);
            }
            break;
        }
        line += static_cast<std::uint64_t>(std::count(begin, quote, '\n'));
        scratch.append(begin, quote + 1);
        copied = true;
        begin = ++p;
        if (p == end) return CellStop::open_quote;
    }
    while (dialect.is_blank(*p)) ++p;
    if (*p != dialect.separator && *p != '\n') return CellStop::stray_quote;
    return stop_at(p, dialect);
}

}  // namespace

CellStop read_cell(const char*& p, const char* end, const Dialect& dialect, std::string& scratch,
                   std::string_view& text, std::uint64_t& line) {
    const char* const begin = p;
    while (!dialect.ends_cell[static_cast<unsigned char>(*p)]) ++p;
    if (*p == '"') {
        if (!std::all_of(begin, p, [&](char c) { return dialect.is_blank(c); }))
            return CellStop::stray_quote;
        ++p;
        return read_quoted(p, end, dialect, scratch, text, line);
    }
    text = trimmed(begin, p, dialect);
    return stop_at(p, dialect);
}

bool is_missing_text(std::string_view text) noexcept {
    switch (text.size()) {
        case 0:
            return true;
        case 1:
            return text == "?";
        case 2:
            return text == "NA";
        case 3:
            return text == "N/A" || text == "n/a" || text == "NaN" || text == "nan" ||
                   text == "#NA";
        case 4:
            return text == "NULL" || text == "null" || text == "None" || text == "#N/A" ||
                   text == "<NA>" || text == "-NaN" || text == "-nan";
        default:
            return false;
    }
}

}  // namespace vflbus::data
