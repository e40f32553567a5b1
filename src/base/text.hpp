#pragma once
// Small text helpers used by error sentences and tables.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vflbus {

/// The candidate with the smallest edit distance to `word`, or empty when none is near: 1 away from
/// a word of up to three letters, 2 or a third of its length from a longer one.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

/// "a, b and c"
std::string join_and(std::span<const std::string> items);
/// "a, b and 3 more": all items, or the first `most` and how many others there are.
std::string join_some(std::span<const std::string> items, std::size_t most);

/// "1.5 MiB", "812 B"
std::string human_bytes(std::uint64_t bytes);

/// "0.42 s", "3 min 5 s"
std::string human_seconds(double seconds);

/// The shortest decimal that reads back as the same double; "nan", "inf", "-inf" otherwise.
std::string shortest(double value);
void append_shortest(std::string& out, double value);

/// Bytes of the well-formed UTF-8 character at the front of `text`, 1 to 4; 0 if there is none.
std::size_t utf8_character(std::string_view text) noexcept;

/// Appends the UTF-8 form of a code point below 0x110000.
void append_utf8(std::string& out, std::uint32_t code_point);

/// `text` as it may go to a terminal and into JSON: a question mark for every control character
/// (line feeds and tabs too), every byte that is no UTF-8, and every mark that turns the direction
/// of writing.
std::string printable(std::string_view text);

/// Whether `text` fits a pattern in which '*' stands for any characters and '?' for one.
bool matches(std::string_view pattern, std::string_view text) noexcept;

std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);

}  // namespace vflbus
