#include "data/number_style.hpp"

#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "data/number.hpp"

namespace vflbus::data {
namespace {

/// Blanks within numbers: no-break space, narrow no-break space, thin space.
constexpr std::array<std::string_view, 3> wide_blanks = {"\xc2\xa0", "\xe2\x80\xaf",
                                                         "\xe2\x80\x89"};
constexpr std::string_view minus_sign = "\xe2\x88\x92";

/// Signs of currencies, and the codes that stand beside amounts most often.
constexpr std::array<std::string_view, 21> currencies = {
    "$",   "\xe2\x82\xac", "\xc2\xa3", "\xc2\xa5", "\xe2\x82\xb9", "\xe2\x82\xa9", "\xe2\x82\xbd",
    "USD", "EUR",          "GBP",      "JPY",      "CHF",          "INR",          "CNY",
    "kr",  "z\xc5\x82",    "R$",       "US$",      "CAD",          "AUD",          "SEK"};

/// `text` with every wide blank as ' ' and the typographic minus as '-'.
std::string simplified(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        bool found = false;
        for (const std::string_view blank : wide_blanks) {
            if (!text.starts_with(blank)) continue;
            out += ' ';
            text.remove_prefix(blank.size());
            found = true;
        }
        if (found) continue;
        if (text.starts_with(minus_sign)) {
            out += '-';
            text.remove_prefix(minus_sign.size());
        } else {
            out += text.front();
            text.remove_prefix(1);
        }
    }
    return out;
}

/// Takes one mark from the front or the back. False when there is none.
bool strip_mark(std::string_view& text) {
    constexpr std::array<std::string_view, 2> percents = {"%", "\xe2\x80\xb0"};
    const auto strip = [&](std::string_view mark, bool front_too) {
        if (front_too && text.starts_with(mark)) {
            text.remove_prefix(mark.size());
            text = trim(text);
            return true;
        }
        if (!text.ends_with(mark)) return false;
        text.remove_suffix(mark.size());
        text = trim(text);
        return true;
    };
    for (const std::string_view mark : currencies)
        if (strip(mark, true)) return true;
    for (const std::string_view mark : percents)
        if (strip(mark, false)) return true;
    return false;
}

/// Takes signs, marks and parentheses off, in any order: ($5), $(5), -$5, 5 %. Whether the number
/// is negative by what was taken.
bool strip_marks(std::string_view& text) {
    bool negative = false;
    int marks = 0;
    for (;;) {
        if (!negative && text.size() > 2 && text.front() == '(' && text.back() == ')') {
            text = trim(text.substr(1, text.size() - 2));
            negative = true;
        } else if (!negative && text.size() > 1 && text.front() == '-' && !is_digit(text[1]) &&
                   text[1] != '.') {
            text = trim(text.substr(1));
            negative = true;
        } else if (marks == 2 || !strip_mark(text)) {
            return negative;
        } else {
            ++marks;
        }
    }
}

}  // namespace

std::optional<double> parse_styled(std::string_view raw, const NumberStyle& style) {
    const std::string simple = simplified(raw);
    std::string_view text = trim(simple);
    const bool negative = style.marks && strip_marks(text);
    std::string plain;
    std::size_t i = 0;
    if (i < text.size() && (text[i] == '-' || text[i] == '+')) plain += text[i++];
    const std::size_t start = i;
    while (i < text.size() && is_digit(text[i])) plain += text[i++];
    const std::size_t first_group = i - start;
    bool grouped = false;
    while (style.thousands != '\0' && i < text.size() && text[i] == style.thousands) {
        if (first_group == 0 || first_group > 3 || text[start] == '0') return std::nullopt;
        if (i + 3 >= text.size() || !is_digit(text[i + 1]) || !is_digit(text[i + 2]) ||
            !is_digit(text[i + 3]))
            return std::nullopt;
        plain.append(text, i + 1, 3);
        i += 4;
        grouped = true;
        if (i < text.size() && is_digit(text[i])) return std::nullopt;
    }
    if (i < text.size() && text[i] == style.decimal) {
        plain += '.';
        ++i;
    } else if (i < text.size() && (text[i] == '.' || text[i] == ',')) {
        return std::nullopt;
    }
    for (; i < text.size(); ++i) {
        // the rest is digits and an exponent; a second decimal mark is refused by parse_number
        if (text[i] == ',' || (grouped && (text[i] == 'e' || text[i] == 'E'))) return std::nullopt;
        plain += text[i];
    }
    const auto number = parse_number(plain);
    if (!number) return std::nullopt;
    return negative ? -*number : *number;
}

bool is_no_number_text(std::string_view text) noexcept {
    constexpr std::array<std::string_view, 9> marks = {
        "-", "--", "---", "\xe2\x80\x93", "\xe2\x80\x94", minus_sign, ".", "..", ":"};
    const auto is_mark = [&](std::string_view one) {
        return std::find(marks.begin(), marks.end(), one) != marks.end();
    };
    if (is_mark(text)) return true;
    // as accountants write nothing: a currency and a dash
    return text.size() > 1 && text.back() == '-' && strip_mark(text) && is_mark(text);
}

bool is_missing_word(std::string_view text) noexcept {
    constexpr std::array<std::string_view, 19> words = {
        "missing", "unknown", "not available", "not applicable",
        "no data", "none",    "nil",           "null",
        "na",      "n.a.",    "nan",           "(null)",
        "<null>",  "#div/0!", "#value!",       "#ref!",
        "#num!",   "#name?",  "#null!"};
    const auto low = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
    return std::ranges::any_of(
        words, [&](std::string_view word) { return std::ranges::equal(text, word, {}, low); });
}

char grouping_of(std::string_view text, char decimal) {
    for (const std::string_view blank : wide_blanks)
        if (text.find(blank) != std::string_view::npos)
            return parse_styled(text, {decimal, ' ', false}) ? ' ' : '\0';
    for (const char thousands : {',', '.', '\''}) {
        if (thousands == decimal || text.find(thousands) == std::string_view::npos) continue;
        if (parse_styled(text, {decimal, thousands, false})) return thousands;
    }
    return '\0';
}

}  // namespace vflbus::data
