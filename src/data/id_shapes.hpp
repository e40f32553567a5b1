#pragma once
// Why two parties' ids do not match, without showing one.
//
// Ids travel as hashes, so when hardly any are common nobody can see that one side writes 00012345
// and the other 12345. Each party therefore sends a summary of what its ids look like: the shortest
// and the longest length, and of nine traits whether no id has it, less than half, at least half,
// or all. It is 11 bytes for any table. It holds no id and no count; of a table with many ids it
// tells what anybody knows who has seen the form in which they are issued. docs/data.md says so.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "data/table.hpp"

namespace vflbus::data {

enum class IdTrait : std::uint8_t {
    // of these four each id has exactly one
    digits,          ///< nothing but digits
    letters,         ///< nothing but letters; every character that is not ASCII counts as one
    digits_letters,  ///< both, and nothing else
    other,           ///< other characters too: dashes, points, blanks
    // and of these any
    leading_zero,   ///< a zero in front of another digit
    upper_case,     ///< an upper-case letter of ASCII
    lower_case,     ///< a lower-case letter of ASCII
    blanks_around,  ///< a blank, tab or no-break space in front or behind
    point_zero,     ///< ".0" behind digits, as pandas writes whole numbers beside missing ones
};
inline constexpr std::size_t id_traits = 9;

/// How many of the ids have a trait.
enum class Share : std::uint8_t { none = 0, some = 1, most = 2, all = 3 };

/// Characters beyond which an id is just long.
inline constexpr std::uint8_t id_length_max = 100;

struct IdShape {
    std::uint8_t shortest = 0;  ///< characters, id_length_max at most; 0 when there is no id
    std::uint8_t longest = 0;
    std::array<Share, id_traits> shares{};

    [[nodiscard]] Share share(IdTrait trait) const noexcept {
        return shares[static_cast<std::size_t>(trait)];
    }
    friend bool operator==(const IdShape&, const IdShape&) = default;
};

/// The summary as it travels: shortest, longest, then one byte for the share of each trait.
inline constexpr std::size_t id_shape_bytes = 2 + id_traits;
std::array<std::uint8_t, id_shape_bytes> packed(const IdShape& shape) noexcept;
/// False when the bytes are no summary: a length beyond the bound, shortest above longest, or an
/// unknown share.
bool unpack(const std::array<std::uint8_t, id_shape_bytes>& bytes, IdShape& shape) noexcept;

IdShape shape_of(const Ids& ids);

/// What two parties' ids look like where they differ in kind: "master has 8 digits, some with
/// leading zeros; member-0 has 1 to 8 digits, none with leading zeros". Empty when they do not.
std::string shape_difference(std::string_view party, const IdShape& shape, std::string_view other,
                             const IdShape& of_other);

}  // namespace vflbus::data
