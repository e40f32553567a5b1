#pragma once
// Texts in double quotes, as YAML, TOML and lines of the log have them.

#include <algorithm>
#include <string>
#include <string_view>

namespace vflbus {

/// `text` in double quotes, with a backslash before each quote and backslash in it.
inline std::string in_quotes(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + "\"";
}

/// `text` as the value of a NAME=VALUE pair in a line of the log: in quotes where it is empty or
/// could be taken for more than that, as it is otherwise.
inline std::string pair_value(std::string_view text) {
    const bool plain = !text.empty() && std::ranges::none_of(text, [](char c) {
        return static_cast<unsigned char>(c) <= 0x20 || c == 0x7F || c == '"' || c == '=';
    });
    return plain ? std::string(text) : in_quotes(text);
}

}  // namespace vflbus
