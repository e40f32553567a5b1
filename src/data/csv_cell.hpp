#pragma once
// One cell of a CSV file that is written.

#include <string>
#include <string_view>

namespace vflbus::data {

/// Appends `text` in quotes, its own quotes doubled.
inline void append_quoted_cell(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        if (c == '"') out += '"';
        out += c;
    }
    out += '"';
}

/// Appends `text`, in quotes where a reader would take it for something else.
inline void append_csv_cell(std::string& out, std::string_view text, char separator = ',') {
    const bool plain = text.find_first_of("\"\r\n") == std::string_view::npos &&
                       text.find(separator) == std::string_view::npos;
    if (plain)
        out += text;
    else
        append_quoted_cell(out, text);
}

}  // namespace vflbus::data
