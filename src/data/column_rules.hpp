#pragma once
// What a party says about its columns: [party.<name>.columns], "zip*" = "category".

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::data {

enum class DeclaredKind : std::uint8_t {
    number,    ///< also with percent signs, currencies and groups of digits
    category,  ///< its values are names, even when they look like numbers
    text,      ///< free text, which nothing here learns from: left out, and said
    date,      ///< days since 1970; the order of day and month is guessed from the cells
    date_dmy,  ///< day first
    date_mdy,  ///< month first
    time,      ///< times of day: hours since midnight
    id,        ///< names records: never a feature, and the record id when no other is named
    ignore,    ///< not read
};

/// "number", "date-dmy"
std::string_view name_of(DeclaredKind kind) noexcept;

struct ColumnRule {
    std::string pattern;  ///< a name; '*' stands for any characters, '?' for one
    DeclaredKind kind = DeclaredKind::number;

    [[nodiscard]] bool is_name() const noexcept {
        return pattern.find_first_of("*?") == std::string::npos;
    }
};

/// Rules in the form "PATTERN=KIND". Errors: bad_config, naming the kinds there are.
Result<std::vector<ColumnRule>> parse_column_rules(std::span<const std::string> rules);

/// The rule for a column: the one that names it, else the longest pattern that it fits, else
/// nullptr.
const ColumnRule* rule_for(std::string_view column, std::span<const ColumnRule> rules) noexcept;

}  // namespace vflbus::data
