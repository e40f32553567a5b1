#include "data/columns.hpp"

#include <cctype>
#include <string_view>
#include <unordered_map>

#include "base/text.hpp"

namespace vflbus::data {
namespace {

constexpr std::string_view id_role = "the id";

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
    std::vector<std::string> some;
    for (const std::string& name : names) {
        if (some.size() == named_max) break;
        some.push_back(shown(name));
    }
    if (names.size() > named_max)
        some.push_back(std::to_string(names.size() - named_max) + " more");
    return "; the file has " + join_and(some);
}

/// Gives each column of a source what it was asked to be, and refuses contradictions.
class Chooser {
  public:
    Chooser(const std::vector<std::string>& names, const TableRequest& request, const Place& header)
        : names_(names), request_(request), header_(header), role_(names.size()) {}

    Result<ChosenColumns> choose() {
        if (auto ok = name_columns(); !ok) return tl::unexpected(ok.error());
        if (auto ok = claim_all(); !ok) return tl::unexpected(ok.error());
        if (request_.features.empty())
            for (std::size_t i = 0; i < names_.size(); ++i)
                if (role_[i].empty() && !names_[i].empty()) chosen_.columns[i].use = Use::feature;
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
                    {"column " + std::to_string(i + 1), "it has no name in the header"});
                continue;
            }
            const auto [found, fresh] = index_.emplace(names_[i], i);
            if (fresh) continue;
            const std::string both =
                "columns " + std::to_string(found->second + 1) + " and " + std::to_string(i + 1);
            return refuse(both + " are both named " + shown(names_[i]) + "; rename one",
                          both + " have the same name; rename one");
        }
        return {};
    }

    /// The column `name` is asked to be `as` ("a label").
    Result<std::size_t> claim(const std::string& name, std::string_view as) {
        const std::string wanted(as);
        const auto found = index_.find(name);
        if (found == index_.end())
            return refuse("there is no column " + shown(name) + " for " + wanted +
                              instead_of(name, as, names_),
                          "a column that was to be " + wanted + " is not there");
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

    Result<> claim_all() {
        const auto id = claim(request_.id, id_role);
        if (!id) return tl::unexpected(id.error());
        chosen_.columns[*id].use = Use::id;
        for (std::size_t k = 0; k < request_.labels.size(); ++k) {
            const auto column = claim(request_.labels[k], "a label");
            if (!column) return tl::unexpected(column.error());
            chosen_.columns[*column].use = Use::label;
            chosen_.columns[*column].label = k;
        }
        for (const std::string& name : request_.features) {
            const auto column = claim(name, "a feature");
            if (!column) return tl::unexpected(column.error());
            chosen_.columns[*column].use = Use::feature;
        }
        for (const std::string& name : request_.exclude) {
            const auto column = claim(name, "excluded");
            if (!column) return tl::unexpected(column.error());
        }
        return {};
    }

    const std::vector<std::string>& names_;
    const TableRequest& request_;
    const Place& header_;
    ChosenColumns chosen_;
    std::unordered_map<std::string_view, std::size_t> index_;
    std::vector<std::string_view> role_;  ///< what each column was asked to be; empty: nothing
};

}  // namespace

Result<ChosenColumns> choose_columns(const std::vector<std::string>& names,
                                     const TableRequest& request, const Place& header) {
    return Chooser(names, request, header).choose();
}

}  // namespace vflbus::data
