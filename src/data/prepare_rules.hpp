#pragma once
// How a party wants its columns to become numbers: [party.<name>.prepare],
// "income" = "missing=median has-value clip=0.01".

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::data {

/// What a missing number becomes.
enum class Filling : std::uint8_t { mean, median, constant };

/// (x - middle) / width, both of the training rows with their missing cells filled.
enum class Scaling : std::uint8_t {
    standard,  ///< mean and standard deviation
    minmax,    ///< smallest, and largest less smallest: 0 to 1
    robust,    ///< median, and the distance between the quartiles
    none,
};

/// How a text becomes numbers.
enum class TextCoding : std::uint8_t {
    one_hot,    ///< a column for each text of the training rows
    frequency,  ///< one column: the share of the training rows that have it; 0 for an unknown one
    ordinal,  ///< one column: its place among the texts in byte order, from 1; 0 for an unknown one
    hashed,   ///< a column for each of so many buckets; an unknown text has its bucket as well
};
std::string_view name_of(TextCoding coding) noexcept;
std::optional<TextCoding> text_coding_named(std::string_view name) noexcept;

struct Preparing {
    Filling filling = Filling::mean;
    double constant = 0;
    bool has_value = false;          ///< a column more: 1 where the number was there, 0 elsewhere
    std::optional<Scaling> scaling;  ///< nothing: what data.standardize says
    double clip = 0;                 ///< numbers are kept within the quantiles clip and 1 - clip
    TextCoding text = TextCoding::one_hot;
    std::uint32_t buckets = 0;  ///< of hashed
    friend bool operator==(const Preparing&, const Preparing&) = default;
};

struct PrepareRule {
    std::string pattern;  ///< a name; '*' stands for any characters, '?' for one
    Preparing how;
};

/// "PATTERN=WORD WORD ...", a word being missing=mean, missing=median, missing=NUMBER, has-value,
/// scale=standard, scale=minmax, scale=robust, scale=none, clip=SHARE, text=one-hot,
/// text=frequency, text=ordinal, text=hash:BUCKETS. Errors: bad_config.
Result<std::vector<PrepareRule>> parse_prepare_rules(std::span<const std::string> rules);

/// How a column is prepared: the rule that names it, else that with the longest pattern that it
/// fits, else the default.
Preparing preparing_of(std::string_view column, std::span<const PrepareRule> rules);

}  // namespace vflbus::data
