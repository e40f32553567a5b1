#include "data/columns.hpp"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <unordered_map>

#include "base/text.hpp"

namespace vflbus::data {
namespace {

constexpr std::string_view id_role = "the id";
constexpr std::string_view left_out_role = "excluded";
constexpr std::string_view model_role = "the model (it was trained with it)";

/// Whether a column may be meant as the record ids: a feature is never suggested for them.
bool sounds_like_id(std::string_view name) {
    std::string lower;
    for (const char c : name)
        lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (const std::string_view word : {"id", "key", "uuid", "number", "code"})
        if (lower.find(word) != std::string::npos) return true;
    return false;
}

/// "; did you mean 'age'?", or the columns that there are.
std::string instead_of(std::string_view wanted, std::string_view role,
                       const std::vector<std::string>& names) {
    std::vector<std::string> candidates = names;
    if (role == id_role)
        std::erase_if(candidates, [](const std::string& name) { return !sounds_like_id(name); });
    if (const std::string near = nearest(wanted, candidates); !near.empty())
        return "; did you mean " + shown(near) + "?";
    constexpr std::size_t named_max = 8;
    std::vector<std::string> all;
    for (const std::string& name : names) all.push_back(shown(name));
    return "; the file has " + join_some(all, named_max);
}

/// Gives each column of a source what it was asked to be, and refuses contradictions.
class Chooser {
  public:
    Chooser(const std::vector<std::string>& names, const TableRequest& request, const Place& header)
        : names_(names), request_(request), header_(header), role_(names.size()) {}

    Result<ChosenColumns> choose() {
        if (auto ok = name_columns(); !ok) return tl::unexpected(ok.error());
        if (auto ok = claim_all(); !ok) return tl::unexpected(ok.error());
        for (const KnownColumn& known : request_.known)
            if (const auto found = index_.find(known.name); found != index_.end())
                chosen_.columns[found->second].known = &known;
        if (!request_.of_model) {
            if (auto ok = apply_rules(); !ok) return tl::unexpected(ok.error());
        }
        return std::move(chosen_);
    }

  private:
    tl::unexpected<Failure> refuse(const std::string& what, const std::string& for_others) const {
        return tl::unexpected(fault(Errc::bad_data, header_, ": " + what, ": " + for_others));
    }

    /// Finds the columns without a name, and names that occur twice.
    Result<> name_columns() {
        for (std::size_t i = 0; i < names_.size(); ++i) {
            chosen_.columns.push_back({names_[i]});
            if (names_[i].empty()) {
                chosen_.left_out.push_back(
                    {"column " + std::to_string(i + 1),
                     i == 0 ? "it has no name in the header, as row numbers of pandas and R have "
                              "none"
                            : "it has no name in the header",
                     LeftOutKind::unnamed});
                continue;
            }
            const auto [found, fresh] = index_.emplace(names_[i], i);
            if (fresh) continue;
            // a model does not look at what it does not use
            if (!request_.of_model) return named_twice(found->second, i);
            twice_.emplace(found->second, i);
        }
        return {};
    }

    tl::unexpected<Failure> named_twice(std::size_t one, std::size_t other) const {
        const std::string both =
            "columns " + std::to_string(one + 1) + " and " + std::to_string(other + 1);
        return refuse(both + " are both named " + shown(names_[one]) + "; rename one",
                      both + " have the same name; rename one");
    }

    /// The column `name` is asked to be `as` ("a label").
    Result<std::size_t> claim(const std::string& name, std::string_view as) {
        const std::string wanted(as);
        const auto found = index_.find(name);
        if (found == index_.end()) {
            const std::string purpose = as == left_out_role ? "to be excluded" : "for " + wanted;
            return refuse(
                "there is no column " + shown(name) + " " + purpose + instead_of(name, as, names_),
                "a column " + purpose + " is not there");
        }
        if (const auto other = twice_.find(found->second); other != twice_.end())
            return named_twice(found->second, other->second);
        std::string_view& taken = role_[found->second];
        if (taken == as)
            return refuse("column " + shown(name) + " is listed twice as " + wanted,
                          "a column is listed twice as " + wanted);
        if (!taken.empty()) {
            const std::string both = " cannot be both " + std::string(taken) + " and " + wanted;
            return refuse("column " + shown(name) + both, "a column" + both);
        }
        taken = as;
        return found->second;
    }

    /// The first column holds the ids, though it has no name.
    Result<> claim_unnamed() {
        if (!begins_with_unnamed(names_))
            return refuse("its first column has a name, " +
                              (names_.empty() ? std::string("''") : shown(names_[0])) +
                              ", so that the ids are not in an unnamed one; name the column of ids",
                          "its first column has a name, so that the ids are not in an unnamed one");
        role_[0] = id_role;
        chosen_.columns[0].use = Use::id;
        std::erase_if(chosen_.left_out, [](const LeftOut& left) {
            return left.kind == LeftOutKind::unnamed && left.name == "column 1";
        });
        return {};
    }

    Result<> claim_all() {
        if (request_.id == unnamed_id) {
            if (auto ok = claim_unnamed(); !ok) return ok;
        } else if (request_.id != row_number_id) {
            const auto id = claim(request_.id, id_role);
            if (!id) return tl::unexpected(id.error());
            chosen_.columns[*id].use = Use::id;
        }
        for (std::size_t k = 0; k < request_.labels.size(); ++k) {
            // what is read beside the labels is known to be numbers
            const bool beside = std::ranges::find(request_.known, request_.labels[k],
                                                  &KnownColumn::name) != request_.known.end();
            const auto column =
                claim(request_.labels[k], beside ? "an exposure or weight" : "a label");
            if (!column) return tl::unexpected(column.error());
            chosen_.columns[*column].use = Use::label;
            chosen_.columns[*column].label = k;
        }
        for (const std::string& name : request_.features) {
            const auto column = claim(name, request_.of_model ? model_role : "a feature");
            if (!column) return tl::unexpected(column.error());
            chosen_.columns[*column].use = Use::feature;
        }
        for (const std::string& name : request_.exclude) {
            const auto column = claim(name, left_out_role);
            if (!column) return tl::unexpected(column.error());
        }
        return {};
    }

    /// Every column that is declared is what it is declared to be, and every one that nobody names
    /// is a feature, unless features are listed.
    Result<> apply_rules() {
        for (const ColumnRule& rule : request_.columns) {
            const bool fits = std::ranges::any_of(names_, [&](const std::string& name) {
                return rule.is_name() ? rule.pattern == name : matches(rule.pattern, name);
            });
            if (fits) continue;
            const std::string kind = " as " + std::string(name_of(rule.kind));
            if (rule.is_name())
                return refuse("there is no column " + shown(rule.pattern) + " to be read" + kind +
                                  " (columns)" + instead_of(rule.pattern, {}, names_),
                              "a column that was to be read" + kind + " is not there");
            chosen_.notes.push_back("no column fits the pattern " + shown(rule.pattern) +
                                    " (columns)");
        }
        for (std::size_t i = 0; i < names_.size(); ++i) {
            ChosenColumn& column = chosen_.columns[i];
            column.rule = names_[i].empty() ? nullptr : rule_for(names_[i], request_.columns);
            const bool free = role_[i].empty() && !names_[i].empty() && request_.features.empty();
            if (free && is_learned_from(column)) column.use = Use::feature;
        }
        return {};
    }

    /// Whether a column that nobody names becomes a feature; if not, says why.
    bool is_learned_from(const ChosenColumn& column) {
        if (column.rule == nullptr) {
            // what pandas calls an index column that was written and read again
            if (!column.name.starts_with("Unnamed: ")) return true;
            chosen_.left_out.push_back(
                {column.name, "it is an index column of pandas", LeftOutKind::unnamed});
            return false;
        }
        if (column.rule->kind == DeclaredKind::ignore) return false;
        if (column.rule->kind == DeclaredKind::text)
            chosen_.left_out.push_back(
                {column.name, "it is declared as text, which nothing here learns from"});
        else if (column.rule->kind == DeclaredKind::id)
            chosen_.left_out.push_back({column.name, "it is declared as an id"});
        else
            return true;
        return false;
    }

    const std::vector<std::string>& names_;
    const TableRequest& request_;
    const Place& header_;
    ChosenColumns chosen_;
    std::unordered_map<std::string_view, std::size_t> index_;
    std::unordered_map<std::size_t, std::size_t> twice_;  ///< columns of one name
    std::vector<std::string_view> role_;  ///< what each column was asked to be; empty: nothing
};

}  // namespace

Result<ChosenColumns> choose_columns(const std::vector<std::string>& names,
                                     const TableRequest& request, const Place& header) {
    return Chooser(names, request, header).choose();
}

Result<> skip_rows(const TableRequest& request, Table& table) {
    if (!request.skip_missing_ids && !request.skip_missing_labels) return {};
    std::vector<std::uint8_t> keep(table.rows(), 1);
    for (std::size_t row = 0; row < table.rows(); ++row) {
        const bool no_id = table.ids[row].empty();
        const bool no_label =
            request.skip_missing_labels &&
            std::ranges::any_of(table.labels, [&](const Column& c) { return c.is_missing(row); });
        table.rows_without_id += no_id;
        table.rows_without_label += !no_id && no_label;
        keep[row] = !no_id && !no_label;
    }
    if (table.rows_without_id + table.rows_without_label == 0) return {};
    keep_rows(table, keep);
    if (table.rows() == 0)
        return tl::unexpected(
            fault(Errc::bad_data, table.place(), " has no row with an id and a label"));
    return {};
}

}  // namespace vflbus::data
