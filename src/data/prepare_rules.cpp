#include "data/prepare_rules.hpp"

#include <array>
#include <cmath>

#include "base/text.hpp"
#include "data/number.hpp"

namespace vflbus::data {
namespace {

constexpr std::array<std::string_view, 4> scaling_names{"standard", "minmax", "robust", "none"};
constexpr std::array<std::string_view, 4> coding_names{"one-hot", "frequency", "ordinal", "hash"};
constexpr std::uint32_t buckets_max = 4096;
constexpr std::string_view all_words =
    "missing=mean, missing=median, missing=NUMBER, has-value, scale=standard, scale=minmax, "
    "scale=robust, scale=none, clip=SHARE, text=one-hot, text=frequency, text=ordinal and "
    "text=hash:BUCKETS";

template <class Names>
std::optional<std::size_t> place_of(std::string_view name, const Names& names) {
    for (std::size_t i = 0; i < names.size(); ++i)
        if (names[i] == name) return i;
    return std::nullopt;
}

bool take_missing(std::string_view value, Preparing& out) {
    if (value == "mean" || value == "median") {
        out.filling = value == "mean" ? Filling::mean : Filling::median;
        return true;
    }
    const auto number = parse_number(value);
    if (!number || !std::isfinite(*number)) return false;
    out.filling = Filling::constant;
    out.constant = *number;
    return true;
}

bool take_text(std::string_view value, Preparing& out) {
    const std::size_t colon = value.find(':');
    const auto coding = place_of(value.substr(0, colon), coding_names);
    if (!coding) return false;
    out.text = static_cast<TextCoding>(*coding);
    if (out.text != TextCoding::hashed) return colon == std::string_view::npos;
    const auto buckets =
        colon == std::string_view::npos ? std::nullopt : parse_number(value.substr(colon + 1));
    if (!buckets || *buckets != std::floor(*buckets) || *buckets < 2 || *buckets > buckets_max)
        return false;
    out.buckets = static_cast<std::uint32_t>(*buckets);
    return true;
}

/// False for what is no word, or has no such value.
bool take_word(std::string_view word, Preparing& out) {
    if (word == "has-value") return out.has_value = true;
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string_view key = word.substr(0, equals);
    const std::string_view value = word.substr(equals + 1);
    if (key == "missing") return take_missing(value, out);
    if (key == "text") return take_text(value, out);
    if (key == "scale") {
        const auto scaling = place_of(value, scaling_names);
        if (scaling) out.scaling = static_cast<Scaling>(*scaling);
        return scaling.has_value();
    }
    const auto share = parse_number(value);
    if (key != "clip" || !share || !(*share > 0) || !(*share < 0.5)) return false;
    out.clip = *share;
    return true;
}

}  // namespace

std::string_view name_of(TextCoding coding) noexcept {
    return coding_names[static_cast<std::size_t>(coding)];
}

std::optional<TextCoding> text_coding_named(std::string_view name) noexcept {
    const auto place = place_of(name, coding_names);
    if (!place) return std::nullopt;
    return static_cast<TextCoding>(*place);
}

Result<std::vector<PrepareRule>> parse_prepare_rules(std::span<const std::string> rules) {
    std::vector<PrepareRule> parsed;
    for (const std::string& rule : rules) {
        const std::size_t equals = rule.find('=');
        const std::string pattern(trim(std::string_view(rule).substr(0, equals)));
        if (equals == std::string::npos || pattern.empty())
            return fail(Errc::bad_config,
                        "prepare: \"" + printable(rule) + "\" is not of the form COLUMN=WORDS");
        PrepareRule& one = parsed.emplace_back();
        one.pattern = pattern;
        for (const std::string& word : split(rule.substr(equals + 1), ' ')) {
            const std::string_view bare = trim(word);
            if (bare.empty() || take_word(bare, one.how)) continue;
            return fail(Errc::bad_config, "prepare: \"" + printable(bare) + "\" of column \"" +
                                              printable(pattern) + "\" is none of " +
                                              std::string(all_words) +
                                              " (SHARE above 0 and below 0.5, BUCKETS 2 to " +
                                              std::to_string(buckets_max) + ")");
        }
    }
    return parsed;
}

Preparing preparing_of(std::string_view column, std::span<const PrepareRule> rules) {
    const PrepareRule* best = nullptr;
    for (const PrepareRule& rule : rules) {
        if (rule.pattern == column) return rule.how;
        if (!matches(rule.pattern, column)) continue;
        if (best == nullptr || rule.pattern.size() >= best->pattern.size()) best = &rule;
    }
    return best == nullptr ? Preparing{} : best->how;
}

}  // namespace vflbus::data
