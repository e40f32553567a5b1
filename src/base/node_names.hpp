#pragma once
// Names of nodes that are made of the name of a key: docs/protocol.md, section 13.

#include <string_view>

namespace vflbus {

/// `name` without `-` and 8 to 16 of 0-9 and a-f at its end, as processes of submitted runs,
/// ServerApps and those who ask have it; `name` itself where it has no such ending. Nodes for which
/// this is the same may be of one key, and count as one where something is shared among keys.
inline std::string_view without_suffix(std::string_view name) noexcept {
    const std::size_t dash = name.rfind('-');
    if (dash == std::string_view::npos || dash == 0) return name;
    const std::string_view suffix = name.substr(dash + 1);
    if (suffix.size() < 8 || suffix.size() > 16 ||
        suffix.find_first_not_of("0123456789abcdef") != std::string_view::npos)
        return name;
    return name.substr(0, dash);
}

}  // namespace vflbus
