#pragma once
// How a CSV file is written: what stands between its cells, and how its numbers look.
//
// Excel writes what the country of its user says: ';' between cells where the comma is the decimal
// mark, a first line "sep=;", tabs when it is asked for text. The reader of the file seldom knows;
// so it is guessed from the header and the first rows, and said. Internal to the data room.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "data/encoding.hpp"

namespace vflbus::data {

/// What a user says about a text; what is left open is guessed.
struct TextFormat {
    std::optional<Encoding> encoding = {};
    std::optional<char> separator = {};
    std::optional<char> decimal = {};
    /// That of the party's training table: it decides where the text does not show its own.
    std::optional<char> usual_decimal = {};
    std::optional<char> thousands = {};  ///< '\0': numbers have no groups; ' ' for blanks
    friend bool operator==(const TextFormat&, const TextFormat&) = default;
};

/// The words of a configuration: "auto" or "" leaves open; a separator is a character or "tab",
/// "space", "comma", "semicolon", "pipe"; thousands may be "none" too. Errors: bad_config.
Result<TextFormat> parse_text_format(std::string_view encoding, std::string_view separator,
                                     std::string_view decimal, std::string_view thousands);

struct Dialect {
    Dialect() : Dialect(',') {}
    explicit Dialect(char between);

    char separator = ',';
    char decimal = '.';
    /// A line of nothing but separators counts as a row of missing cells, not as a blank line: rows
    /// that are numbered must not be left out.
    bool keep_empty_rows = false;
    std::array<bool, 256> ends_cell{};  ///< the separator, LF and the quotation mark

    [[nodiscard]] bool is_blank(char c) const noexcept {
        return c == '\r' || ((c == ' ' || c == '\t') && c != separator);
    }
    /// Whether `c` may stand in a line that is skipped as blank.
    [[nodiscard]] bool is_nothing(char c) const noexcept {
        return is_blank(c) || (c == separator && !keep_empty_rows);
    }
};

/// What the first bytes of a text say about the rest.
struct Sniffed {
    Dialect dialect;
    /// Every row has one cell more than the header, in front: names of rows, as R writes them.
    bool row_names = false;
    std::vector<std::string> notes;  ///< what was guessed, in sentences without a subject
};

/// The length of a first line such as "sep=;", which Excel writes and understands; else 0.
std::size_t separator_line_bytes(std::string_view head) noexcept;

/// `head`: the first bytes of a text in UTF-8, whole when `all` is true.
Sniffed sniff(std::string_view head, bool all, const TextFormat& stated);

/// As many first bytes as sniff() wants to see.
inline constexpr std::size_t sniff_bytes = std::size_t{256} << 10;

}  // namespace vflbus::data
