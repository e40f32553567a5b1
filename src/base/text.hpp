#pragma once
// Small text helpers used by error sentences and tables.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vflbus {

/// The candidate with the smallest edit distance to `word`, or empty when none is near (more than
/// a third of the word's length, at least 2, away).
std::string nearest(std::string_view word, std::span<const std::string> candidates);

/// "a, b and c"
std::string join_and(std::span<const std::string> items);

/// "1.5 MiB", "812 B"
std::string human_bytes(std::uint64_t bytes);

/// "0.42 s", "3 min 5 s"
std::string human_seconds(double seconds);

/// The shortest decimal that reads back as the same double; "nan", "inf", "-inf" otherwise.
std::string shortest(double value);

std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);

/// Whether a sentence is about `name` from its first word on: "member-1 is gone", "member-1: ...",
/// not "member-10 is gone". A name further on may be that of a directory.
bool begins_with_name(std::string_view sentence, std::string_view name);

}  // namespace vflbus
