#pragma once
// A policy file: which owners may have what run at this member. It is the member's own, is read
// here alone, and never leaves the party. docs/policy.md has every rule with an example.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errc.hpp"
#include "policy/request.hpp"

namespace vflbus::policy {

/// What the names of columns must fit, and how many rows there must be. Kept with a run that was
/// let in, as it is judged by them later: by those of the policy that let it in.
struct DataRules {
    std::vector<std::string> columns;  ///< patterns; empty: all
    std::vector<std::string> columns_never;
    std::uint64_t rows_min = 0;
    std::uint64_t batch_min = 0;
    std::uint64_t psi_ids_max = UINT64_MAX;
    std::vector<std::string> models_of;  ///< owners whose models may be used beside its own
    friend bool operator==(const DataRules&, const DataRules&) = default;
};

/// `differential_privacy = true` refuses a run that alone tells more of a row than this epsilon:
/// noise below that floor hides next to nothing (20 epochs at multiplier 1 have epsilon 53).
inline constexpr double epsilon_of_noise_max = 64;

/// One section: the rules for the owners that it names. An empty list allows everything.
struct Section {
    std::string name;
    std::string origin;  ///< "policy.toml:3"
    std::vector<std::string> owners;
    std::vector<std::string> fingerprints;
    std::vector<std::string> purposes;
    std::vector<std::string> tasks;
    std::vector<std::string> models;
    std::vector<std::string> solvers;
    std::vector<std::string> protocols;
    std::vector<std::string> protocols_never;
    std::vector<std::string> alignments;
    std::vector<std::string> apps;
    std::uint64_t parties_min = 0;
    std::uint64_t runs_per_day = 0;          ///< 0: any number
    std::vector<std::pair<int, int>> hours;  ///< minutes of the day in UTC, from and before
    bool granted_tables = false;
    bool differential_privacy = false;
    /// What all runs of one owner together may tell of a row, at `delta`; 0: anything.
    double epsilon_max = 0;
    double delta = 1e-6;
    bool approve_each = false;
    DataRules data;
};

struct Policy {
    std::string file;    ///< as it was named
    std::string digest;  ///< SHA-256 of its text
    std::uint64_t held_max = 16;
    std::uint64_t held_per_owner_max = 4;
    std::uint64_t held_hours = 24;
    std::vector<Section> sections;  ///< the first one that names the owner decides

    [[nodiscard]] const Section* section_of(const Owner& owner) const;
};

/// Errors: bad_config; the sentence names file, line, key and the nearest that is there.
Result<Policy> parse_policy(std::string_view text, const std::string& shown);

/// Whether two texts are the same fingerprint: dashes, blanks, colons and the case of letters do
/// not matter. An empty one is none.
bool same_key(std::string_view a, std::string_view b);

/// A refusal: its rule is what the owner is told, its sentence stays here.
struct Refusal {
    std::string rule;
    std::string sentence;
};
/// As the failure of a JOIN or a message.
Failure failure_of(const Refusal& refusal);

/// What is known of the time and of earlier runs when a run is judged.
struct Circumstances {
    int minute_of_day = 0;         ///< in UTC
    std::uint64_t runs_today = 0;  ///< let in by that section since midnight, in UTC
    std::vector<std::string> tables_without_grant;
    double rho_spent = 0;  ///< by runs of this owner, whatever let them in
};

/// What a run would tell its owner of one row of this member's columns, in rho of zCDP: infinite
/// without noise, 0 where no number of a row leaves.
double rho_of(const Request& request);

/// The rules of `section` in the order of docs/policy.md; none when all hold. Pure: the same of the
/// same arguments.
std::optional<Refusal> judge(const Section& section, const Request& request,
                             const Circumstances& circumstances);
/// ... and of what shows later. `name` is the section's.
std::optional<Refusal> judge_columns(const std::string& name, const DataRules& rules,
                                     std::span<const std::string> columns);
std::optional<Refusal> judge_rows(const std::string& name, const DataRules& rules,
                                  std::uint64_t rows);
/// A list of another party in a private set intersection, of so many ids.
std::optional<Refusal> judge_psi_list(const std::string& name, const DataRules& rules,
                                      std::uint64_t ids);
/// `trained_for`: the account of the owner of a model, empty where nobody knows; `owner` asks for
/// it.
std::optional<Refusal> judge_model_of(const std::string& name, const DataRules& rules,
                                      const std::string& trained_for, const Owner& owner);
std::optional<Refusal> judge_batch(const std::string& name, const DataRules& rules,
                                   std::uint64_t rows);

}  // namespace vflbus::policy
