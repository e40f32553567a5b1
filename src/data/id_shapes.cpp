#include "data/id_shapes.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

#include "data/number.hpp"

namespace vflbus::data {
namespace {

constexpr IdTrait kinds[] = {IdTrait::digits, IdTrait::letters, IdTrait::digits_letters,
                             IdTrait::other};
constexpr IdTrait details[] = {IdTrait::leading_zero, IdTrait::upper_case, IdTrait::lower_case,
                               IdTrait::blanks_around, IdTrait::point_zero};

std::string_view name_of(IdTrait trait) noexcept {
    switch (trait) {
        case IdTrait::digits:
            return "digits";
        case IdTrait::letters:
            return "letters";
        case IdTrait::digits_letters:
            return "digits and letters";
        case IdTrait::other:
            return "other characters";
        case IdTrait::leading_zero:
            return "leading zeros";
        case IdTrait::upper_case:
            return "upper-case letters";
        case IdTrait::lower_case:
            return "lower-case letters";
        case IdTrait::blanks_around:
            return "blanks around them";
        case IdTrait::point_zero:
            return "\".0\" at the end";
    }
    return "?";
}

std::string_view name_of(Share share) noexcept {
    constexpr std::string_view names[] = {"none", "some", "most", "all"};
    return names[static_cast<std::size_t>(share)];
}

bool is_blank(std::string_view id, std::size_t at) noexcept {
    return id[at] == ' ' || id[at] == '\t' || id.substr(at, 2) == "\xC2\xA0";
}

bool blanks_around(std::string_view id) noexcept {
    if (id.empty()) return false;
    return is_blank(id, 0) || is_blank(id, id.size() - 1) || id.ends_with("\xC2\xA0");
}

/// The traits of one id, bit by bit, and how many characters it has.
struct Looked {
    std::uint32_t traits = 0;
    std::size_t characters = 0;
};

/// What a byte of an id is, bit by bit.
struct ByteKind {
    static constexpr std::uint8_t digit = 1;
    static constexpr std::uint8_t upper = 2;
    static constexpr std::uint8_t lower = 4;
    static constexpr std::uint8_t beyond_ascii = 8;
    static constexpr std::uint8_t sign = 16;
};

constexpr std::array<std::uint8_t, 256> byte_kinds = [] {
    std::array<std::uint8_t, 256> kinds_of{};
    for (std::size_t byte = 0; byte < kinds_of.size(); ++byte)
        kinds_of[byte] = byte >= '0' && byte <= '9'   ? ByteKind::digit
                         : byte >= 'A' && byte <= 'Z' ? ByteKind::upper
                         : byte >= 'a' && byte <= 'z' ? ByteKind::lower
                         : byte >= 0x80               ? ByteKind::beyond_ascii
                                                      : ByteKind::sign;
    return kinds_of;
}();

/// Without a branch for each byte, as millions of ids are looked at.
Looked look_at(std::string_view id) noexcept {
    std::uint8_t seen = 0;
    Looked looked;
    for (const char c : id) {
        const auto byte = static_cast<unsigned char>(c);
        looked.characters += (byte & 0xC0) != 0x80 ? 1 : 0;  // not a continuation of UTF-8
        seen |= byte_kinds[byte];
    }
    const bool digits = (seen & ByteKind::digit) != 0;
    const bool upper = (seen & ByteKind::upper) != 0;
    const bool lower = (seen & ByteKind::lower) != 0;
    const bool other = (seen & ByteKind::sign) != 0;
    bool letters = (seen & ByteKind::beyond_ascii) != 0;
    letters |= upper || lower;
    const bool blanks = blanks_around(id);
    const auto set = [&](IdTrait trait, bool has) {
        if (has) looked.traits |= 1U << static_cast<unsigned>(trait);
    };
    set(IdTrait::other, other || blanks);
    set(IdTrait::digits_letters, !other && !blanks && digits && letters);
    set(IdTrait::digits, !other && !blanks && digits && !letters);
    set(IdTrait::letters, !other && !blanks && !digits && letters);
    set(IdTrait::leading_zero, id.size() > 1 && id[0] == '0' && is_digit(id[1]));
    set(IdTrait::upper_case, upper);
    set(IdTrait::lower_case, lower);
    set(IdTrait::blanks_around, blanks);
    set(IdTrait::point_zero, id.size() > 2 && id.ends_with(".0") && is_digit(id[id.size() - 3]));
    return looked;
}

Share share_of(std::size_t part, std::size_t all) noexcept {
    if (part == 0) return Share::none;
    if (part == all) return Share::all;
    return part * 2 < all ? Share::some : Share::most;
}

bool same_length(const IdShape& shape) noexcept {
    return shape.shortest == shape.longest;
}

/// None of the ids here, but some there; or all of them here, but only some there.
bool differ_in(IdTrait trait, const IdShape& a, const IdShape& b) noexcept {
    const Share less = std::min(a.share(trait), b.share(trait));
    const Share more = std::max(a.share(trait), b.share(trait));
    return (less == Share::none && more != Share::none) ||
           (less == Share::some && more == Share::all);
}

bool differ_in_length(const IdShape& a, const IdShape& b) noexcept {
    return a.longest < b.shortest || b.longest < a.shortest || same_length(a) != same_length(b);
}

/// "8 digits", "1 to 8 characters (most of digits, some of other characters)"
std::string length_and_kind(const IdShape& shape) {
    const auto number = [](std::uint8_t n) {
        return n == id_length_max ? std::to_string(n) + " or more" : std::to_string(n);
    };
    std::string text = number(shape.shortest);
    if (!same_length(shape)) text += " to " + number(shape.longest);
    for (const IdTrait kind : kinds)
        if (kind != IdTrait::other && shape.share(kind) == Share::all)
            return text + " " + std::string(name_of(kind));
    text += " characters (";
    const char* between = "";
    for (const IdTrait kind : kinds) {
        if (shape.share(kind) == Share::none) continue;
        text += between + std::string(name_of(shape.share(kind))) +
                (kind == IdTrait::other ? " with " : " of ") + std::string(name_of(kind));
        between = ", ";
    }
    return text + ")";
}

}  // namespace

std::array<std::uint8_t, id_shape_bytes> packed(const IdShape& shape) noexcept {
    std::array<std::uint8_t, id_shape_bytes> bytes{shape.shortest, shape.longest};
    for (std::size_t t = 0; t < id_traits; ++t)
        bytes[2 + t] = static_cast<std::uint8_t>(shape.shares[t]);
    return bytes;
}

bool unpack(const std::array<std::uint8_t, id_shape_bytes>& bytes, IdShape& shape) noexcept {
    shape.shortest = bytes[0];
    shape.longest = bytes[1];
    if (shape.shortest > shape.longest || shape.longest > id_length_max) return false;
    for (std::size_t t = 0; t < id_traits; ++t) {
        if (bytes[2 + t] > static_cast<std::uint8_t>(Share::all)) return false;
        shape.shares[t] = static_cast<Share>(bytes[2 + t]);
    }
    return true;
}

IdShape shape_of(const Ids& ids) {
    IdShape shape;
    std::array<std::size_t, id_traits> having{};
    std::size_t shortest = id_length_max;
    std::size_t longest = 0;
    for (std::size_t row = 0; row < ids.size(); ++row) {
        const Looked looked = look_at(ids[row]);
        shortest = std::min(shortest, looked.characters);
        longest = std::max(longest, looked.characters);
        for (std::size_t t = 0; t < id_traits; ++t) having[t] += looked.traits >> t & 1U;
    }
    if (ids.empty()) return shape;
    shape.shortest = static_cast<std::uint8_t>(shortest);
    shape.longest = static_cast<std::uint8_t>(std::min<std::size_t>(longest, id_length_max));
    for (std::size_t t = 0; t < id_traits; ++t) shape.shares[t] = share_of(having[t], ids.size());
    return shape;
}

std::string shape_difference(std::string_view party, const IdShape& shape, std::string_view other,
                             const IdShape& of_other) {
    if (shape.longest == 0 || of_other.longest == 0) return {};
    bool differ = differ_in_length(shape, of_other);
    for (const IdTrait kind : kinds) differ |= differ_in(kind, shape, of_other);
    std::string mine;
    std::string theirs;
    for (const IdTrait trait : details) {
        if (!differ_in(trait, shape, of_other)) continue;
        differ = true;
        const auto add = [&](std::string& text, const IdShape& of) {
            text += ", " + std::string(name_of(of.share(trait))) + " with " +
                    std::string(name_of(trait));
        };
        add(mine, shape);
        add(theirs, of_other);
    }
    if (!differ) return {};
    return std::string(party) + " has " + length_and_kind(shape) + mine + "; " +
           std::string(other) + " has " + length_and_kind(of_other) + theirs;
}

}  // namespace vflbus::data
