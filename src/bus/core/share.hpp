#pragma once
// How places that all share are divided: those for runs, for runs that wait, and for nodes.

#include <cstddef>

namespace vflbus::bus {

/// Whether one more place may be taken by who `has` so many already, when `left` stay free then.
/// Who has none gets any that is free; who has some gets one more only while as many stay free as
/// it then has. Example with 8 places: the first to come gets 4, the second 2, the third 1, and the
/// last place is for one that has none.
constexpr bool may_take_one_more(std::size_t has, std::size_t left) noexcept {
    return has == 0 || has + 1 <= left;
}

}  // namespace vflbus::bus
