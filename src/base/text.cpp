#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <utility>

namespace vflbus {
namespace {

/// How often each letter is in a word; letters may share a place.
using Letters = std::array<int, 32>;
Letters letters_of(std::string_view word) {
    Letters out{};
    for (const char c : word) ++out[static_cast<unsigned char>(c) % out.size()];
    return out;
}

/// Letters of one word that the other has not, or has less often: each costs a change at least.
/// That is told in much less time than the distance, and rules out most words.
std::size_t least_distance(const Letters& a, const Letters& b) {
    int only_a = 0;
    int only_b = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        only_a += std::max(0, a[i] - b[i]);
        only_b += std::max(0, b[i] - a[i]);
    }
    return static_cast<std::size_t>(std::max(only_a, only_b));
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one to the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before(b.size() + 1);  // the row before the last one
    std::vector<std::size_t> last(b.size() + 1);
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(last.begin(), last.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            row[j] = std::min(
                {last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], before[j - 2] + 1);
        }
        std::swap(before, last);
        std::swap(last, row);
    }
    return last[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
    const std::size_t limit = word.size() < 4 ? 1 : std::max<std::size_t>(2, word.size() / 3);
    std::size_t best = limit + 1;
    const Letters letters = letters_of(word);
    std::string found;
    for (const std::string& candidate : candidates) {
        if (least_distance(letters, letters_of(candidate)) >= best) continue;
        const std::size_t distance = edit_distance(word, candidate);
        // of a short word all letters may differ: then it is no misspelt one
        if (distance < best && distance < word.size()) {
            best = distance;
            found = candidate;
        }
    }
    return found;
}

std::string join_and(std::span<const std::string> items) {
    std::string out;
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (i > 0) out += i + 1 == items.size() ? " and " : ", ";
        out += items[i];
    }
    return out;
}

std::string join_some(std::span<const std::string> items, std::size_t most) {
    if (items.size() <= most) return join_and(items);
    const auto first = items.first(most);
    std::vector<std::string> some(first.begin(), first.end());
    some.push_back(std::to_string(items.size() - most) + " more");
    return join_and(some);
}

std::string human_bytes(std::uint64_t bytes) {
    static constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < std::size(units)) {
        value /= 1024;
        ++unit;
    }
    char text[32];
    std::snprintf(text, sizeof text, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value,
                  units[unit]);
    return text;
}

std::string human_seconds(double seconds) {
    char text[48];
    if (seconds < 60) {
        std::snprintf(text, sizeof text, seconds < 10 ? "%.2f s" : "%.1f s", seconds);
    } else if (seconds < 3600) {
        std::snprintf(text, sizeof text, "%d min %d s", static_cast<int>(seconds) / 60,
                      static_cast<int>(seconds) % 60);
    } else {
        std::snprintf(text, sizeof text, "%.0f h %d min", std::floor(seconds / 3600),
                      static_cast<int>(std::fmod(seconds, 3600.0)) / 60);
    }
    return text;
}

void append_shortest(std::string& out, double value) {
    if (std::isnan(value)) {
        out += "nan";
        return;
    }
    if (std::isinf(value)) {
        out += value < 0 ? "-inf" : "inf";
        return;
    }
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    out.append(text, end);
}

std::string shortest(double value) {
    std::string out;
    append_shortest(out, value);
    return out;
}

std::size_t utf8_character(std::string_view text) noexcept {
    if (text.empty()) return 0;
    const auto first = static_cast<unsigned char>(text[0]);
    if (first < 0x80) return 1;
    const std::size_t length = first >> 5 == 0x06   ? 2
                               : first >> 4 == 0x0e ? 3
                               : first >> 3 == 0x1e ? 4
                                                    : 0;
    if (length == 0 || length > text.size()) return 0;
    std::uint32_t point = first & (0x7fu >> length);
    for (std::size_t k = 1; k < length; ++k) {
        const auto next = static_cast<unsigned char>(text[k]);
        if (next >> 6 != 2) return 0;
        point = point << 6 | (next & 0x3fu);
    }
    constexpr std::uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = point >= 0xd800 && point < 0xe000;
    return point < least[length] || point > 0x10ffff || surrogate ? 0 : length;
}

void append_utf8(std::string& out, std::uint32_t code_point) {
    const auto byte = [&out](std::uint32_t b) { out.push_back(static_cast<char>(b)); };
    const auto rest = [&](int shift) { byte(0x80 | (code_point >> shift & 0x3f)); };
    if (code_point < 0x80) {
        byte(code_point);
    } else if (code_point < 0x800) {
        byte(0xc0 | code_point >> 6);
        rest(0);
    } else if (code_point < 0x10000) {
        byte(0xe0 | code_point >> 12);
        rest(6);
        rest(0);
    } else {
        byte(0xf0 | code_point >> 18);
        rest(12);
        rest(6);
        rest(0);
    }
}

namespace {

/// Whether one well-formed character does something to a terminal instead of being shown.
bool acts_on_terminal(std::string_view character) noexcept {
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
    if (character.size() == 1) return at(0) < 0x20 || at(0) == 0x7f;
    if (character.size() == 2) return at(0) == 0xc2 && at(1) < 0xa0;  // U+0080 to U+009F
    if (character.size() != 3 || at(0) != 0xe2) return false;
    // U+202A to U+202E and U+2066 to U+2069: direction of writing; U+2028 and U+2029: line ends
    return (at(1) == 0x80 && at(2) >= 0xa8 && at(2) <= 0xae) ||
           (at(1) == 0x81 && at(2) >= 0xa6 && at(2) <= 0xa9);
}

}  // namespace

std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const std::size_t length = utf8_character(text);
        const std::size_t taken = std::max<std::size_t>(length, 1);
        if (length == 0 || acts_on_terminal(text.substr(0, length)))
            out += '?';
        else
            out += text.substr(0, taken);
        text.remove_prefix(taken);
    }
    return out;
}

bool matches(std::string_view pattern, std::string_view text) noexcept {
    // the last '*' takes one character more whenever the rest does not fit
    std::size_t p = 0;
    std::size_t t = 0;
    std::size_t star = std::string_view::npos;
    std::size_t star_text = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            star_text = t;
        } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

std::vector<std::string> split(std::string_view text, char separator) {
    std::vector<std::string> parts;
    for (;;) {
        const auto at = text.find(separator);
        parts.emplace_back(text.substr(0, at));
        if (at == std::string_view::npos) return parts;
        text.remove_prefix(at + 1);
    }
}

std::string_view trim(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

}  // namespace vflbus
