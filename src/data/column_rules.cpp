#include "data/column_rules.hpp"

#include "base/text.hpp"

namespace vflbus::data {
namespace {

struct KindName {
    DeclaredKind kind;
    std::string_view name;
};
constexpr KindName kind_names[] = {
    {DeclaredKind::number, "number"},     {DeclaredKind::category, "category"},
    {DeclaredKind::text, "text"},         {DeclaredKind::date, "date"},
    {DeclaredKind::date_dmy, "date-dmy"}, {DeclaredKind::date_mdy, "date-mdy"},
    {DeclaredKind::time, "time"},         {DeclaredKind::id, "id"},
    {DeclaredKind::ignore, "ignore"}};

}  // namespace

std::string_view name_of(DeclaredKind kind) noexcept {
    for (const KindName& row : kind_names)
        if (row.kind == kind) return row.name;
    return "unknown";
}

Result<std::vector<ColumnRule>> parse_column_rules(std::span<const std::string> rules) {
    std::vector<ColumnRule> parsed;
    for (const std::string& rule : rules) {
        const std::size_t equals = rule.rfind('=');
        const std::string_view kind = equals == std::string::npos
                                          ? std::string_view{}
                                          : trim(std::string_view(rule).substr(equals + 1));
        const KindName* found = nullptr;
        std::vector<std::string> known;
        for (const KindName& row : kind_names) {
            known.emplace_back(row.name);
            if (row.name == kind) found = &row;
        }
        if (found == nullptr) {
            const std::string near = nearest(kind, known);
            return fail(Errc::bad_config,
                        "columns: \"" + printable(rule) + "\" names no kind; a column is one of " +
                            join_and(known) + (near.empty() ? "" : "; did you mean " + near + "?"));
        }
        const std::string pattern(trim(std::string_view(rule).substr(0, equals)));
        if (pattern.empty())
            return fail(Errc::bad_config, "columns: \"" + printable(rule) + "\" names no column");
        parsed.push_back({pattern, found->kind});
    }
    return parsed;
}

const ColumnRule* rule_for(std::string_view column, std::span<const ColumnRule> rules) noexcept {
    const ColumnRule* best = nullptr;
    for (const ColumnRule& rule : rules) {
        if (rule.is_name() && rule.pattern == column) return &rule;
        if (rule.is_name() || !matches(rule.pattern, column)) continue;
        if (best == nullptr || rule.pattern.size() >= best->pattern.size()) best = &rule;
    }
    return best;
}

}  // namespace vflbus::data
