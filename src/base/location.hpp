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

/// Standard input, a command or a database server, given where a path is.
constexpr bool is_pathless(std::string_view location) noexcept {
    if (location == "-") return true;
    for (const std::string_view scheme : pathless_schemes)
        if (location.starts_with(scheme)) return true;
    return false;
}

/// The path within a location that is one or has one: "shop.db" of "sqlite:shop.db?query=...".
constexpr std::string_view path_within(std::string_view location) noexcept {
    if (is_pathless(location)) return {};
    if (!location.starts_with(sqlite_scheme)) return location;
    location.remove_prefix(sqlite_scheme.size());
    return location.substr(0, location.find('?'));
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
