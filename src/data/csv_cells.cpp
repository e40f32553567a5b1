#include "data/csv_cells.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace vflbus::data {
namespace {

constexpr bool is_blank(char c) noexcept {
    return c == ' ' || c == '\t' || c == '\r';
}

std::string_view trimmed(const char* begin, const char* end) noexcept {
    while (begin != end && is_blank(*begin)) ++begin;
    while (begin != end && is_blank(end[-1])) --end;
    return {begin, static_cast<std::size_t>(end - begin)};
}

constexpr auto special = [] {
    std::array<bool, 256> table{};
    table[','] = table['\n'] = table['"'] = true;
    return table;
}();

/// `p` is behind the opening quote.
CellStop read_quoted(const char*& p, const char* end, std::string& scratch, std::string_view& text,
                     std::uint64_t& line) {
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
                text = trimmed(scratch.data(), scratch.data() + scratch.size());
            } else {
                text = trimmed(begin, quote);
            }
            break;
        }
        line += static_cast<std::uint64_t>(std::count(begin, quote, '\n'));
        scratch.append(begin, quote + 1);
        copied = true;
        begin = ++p;
        if (p == end) return CellStop::open_quote;
    }
    while (is_blank(*p)) ++p;
    if (*p != ',' && *p != '\n') return CellStop::stray_quote;
    return *p++ == ',' ? CellStop::comma : CellStop::row;
}

}  // namespace

CellStop read_cell(const char*& p, const char* end, std::string& scratch, std::string_view& text,
                   std::uint64_t& line) {
    const char* const begin = p;
    while (!special[static_cast<unsigned char>(*p)]) ++p;
    if (*p == '"') {
        if (!std::all_of(begin, p, is_blank)) return CellStop::stray_quote;
        ++p;
        return read_quoted(p, end, scratch, text, line);
    }
    text = trimmed(begin, p);
    return *p++ == ',' ? CellStop::comma : CellStop::row;
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
