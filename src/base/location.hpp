#pragma once
// Where a table comes from, as far as everybody has to know who handles paths. What each kind means
// is data/source.hpp's business.

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace vflbus {

inline constexpr std::string_view sqlite_scheme = "sqlite:";
/// What stands behind these is no path.
inline constexpr std::array<std::string_view, 3> pathless_schemes{
    "exec:", "postgresql:", "postgres:"};

/// Where "?query=" or "&query=" begins, behind which a location has a query; npos: it has none. A
/// path may hold other question marks.
constexpr std::size_t query_mark(std::string_view location) noexcept {
    for (std::size_t i = location.find_first_of("?&"); i != std::string_view::npos;
         i = location.find_first_of("?&", i + 1))
        if (location.substr(i + 1).starts_with("query=")) return i;
    return std::string_view::npos;
}

/// The "mysql" of "mysql://shop:secret@db", whatever stands behind it; empty for what is no address
/// of a server. A misspelt one is still none of a file, and may hold a password.
constexpr std::string_view server_scheme(std::string_view location) noexcept {
    const std::size_t end = location.find("://");
    if (end == std::string_view::npos || end < 2) return {};
    const std::string_view word = location.substr(0, end);
    for (const char c : word)
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '+' || c == '-'))
            return {};
    return word == "file" || word == "sqlite" ? std::string_view{} : word;
}

/// Standard input, a command or a database server, given where a path is.
constexpr bool is_pathless(std::string_view location) noexcept {
    if (location == "-" || !server_scheme(location).empty()) return true;
    for (const std::string_view scheme : pathless_schemes)
        if (location.starts_with(scheme)) return true;
    return false;
}

/// The path within a location that is one or has one: "shop.db" of "sqlite:shop.db?query=...".
constexpr std::string_view path_within(std::string_view location) noexcept {
    if (is_pathless(location)) return {};
    if (!location.starts_with(sqlite_scheme)) return location;
    location.remove_prefix(sqlite_scheme.size());
    return location.substr(0, query_mark(location));
}

/// The same location with another path in it.
inline std::string with_path(std::string_view location, std::string_view path) {
    const std::string_view old = path_within(location);
    if (old.size() == location.size()) return std::string(path);
    const std::size_t begin = sqlite_scheme.size();
    return std::string(location.substr(0, begin)) + std::string(path) +
           std::string(location.substr(begin + old.size()));
}

}  // namespace vflbus
