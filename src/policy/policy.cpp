#include "policy/policy.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <limits>
#include <optional>

#include "base/hash.hpp"
#include "base/node_names.hpp"
#include "base/text.hpp"
#include "config/keys.hpp"
#include "config/privacy.hpp"
#include "config/value.hpp"
#include "privacy/noise/accountant.hpp"

namespace vflbus::policy {
namespace {

constexpr std::array<std::string_view, 5> use_names{"train", "predict", "check", "app", "features"};
constexpr std::array<std::string_view, 4> protocol_names{"honest", "masked", "encrypted",
                                                         "arbitered"};

using Texts = std::vector<std::string>;

Texts choices_of(std::string_view key, std::string_view of = "model") {
    const config::Key* const found = config::find_key(of, key);
    return found == nullptr ? Texts{} : Texts(found->choices.begin(), found->choices.end());
}

// -- values of the file ------------------------------------------------------------------

/// What is wrong with a value, as the rest of a sentence that begins with its key; empty: nothing.
using Problem = std::string;

Problem take_texts(const config::Raw& raw, Texts& out) {
    if (const auto* text = std::get_if<std::string>(&raw.value)) {
        out = {*text};
    } else if (const auto* list = std::get_if<std::vector<config::Raw>>(&raw.value)) {
        for (const config::Raw& entry : *list) {
            const auto* text_entry = std::get_if<std::string>(&entry.value);
            if (text_entry == nullptr) return "must be a list of texts";
            out.push_back(*text_entry);
        }
    } else {
        return "must be a list of texts";
    }
    if (out.empty()) return "is an empty list, which would allow nothing; leave the section out";
    if (out.size() > config::list_entries_max) return "has too many entries";
    for (const std::string& text : out)
        if (text.empty() || text.size() > config::text_bytes_max) return "has an empty entry";
    return {};
}

Problem take_names(const config::Raw& raw, const Texts& allowed, Texts& out) {
    if (Problem problem = take_texts(raw, out); !problem.empty()) return problem;
    for (const std::string& text : out)
        if (std::ranges::find(allowed, text) == allowed.end()) {
            const std::string near = nearest(text, allowed);
            return "has the entry \"" + printable(text) + "\", but there are " + join_and(allowed) +
                   (near.empty() ? "" : "; did you mean \"" + near + "\"?");
        }
    return {};
}

Problem take_number(const config::Raw& raw, std::uint64_t min, std::uint64_t max,
                    std::uint64_t& out) {
    const auto* const number = std::get_if<std::int64_t>(&raw.value);
    if (number == nullptr || *number < 0 || static_cast<std::uint64_t>(*number) < min ||
        static_cast<std::uint64_t>(*number) > max)
        return "must be an integer from " + std::to_string(min) + " to " + std::to_string(max);
    out = static_cast<std::uint64_t>(*number);
    return {};
}

Problem take_real(const config::Raw& raw, double above, double max, double& out) {
    const auto* const whole = std::get_if<std::int64_t>(&raw.value);
    const auto* const number = std::get_if<double>(&raw.value);
    if (whole != nullptr) out = static_cast<double>(*whole);
    if (number != nullptr) out = *number;
    if ((whole == nullptr && number == nullptr) || !(out > above) || !(out <= max))
        return "must be a number above " + shortest(above) + ", and " + shortest(max) + " at most";
    return {};
}

Problem take_flag(const config::Raw& raw, bool& out) {
    const auto* const flag = std::get_if<bool>(&raw.value);
    if (flag == nullptr) return "must be true or false";
    out = *flag;
    return {};
}

Problem take_word(const config::Raw& raw, std::string_view on, std::string_view off, bool& out) {
    const auto* const text = std::get_if<std::string>(&raw.value);
    if (text == nullptr || (*text != on && *text != off))
        return "must be \"" + std::string(on) + "\" or \"" + std::string(off) + "\"";
    out = *text == on;
    return {};
}

/// "08:30" as minutes of the day; "24:00" is its end.
std::optional<int> minutes_of(std::string_view text) {
    if (text.size() != 5 || text[2] != ':') return std::nullopt;
    for (const std::size_t at : {0, 1, 3, 4})
        if (text[at] < '0' || text[at] > '9') return std::nullopt;
    const int hours = (text[0] - '0') * 10 + (text[1] - '0');
    const int minutes = (text[3] - '0') * 10 + (text[4] - '0');
    const int all = hours * 60 + minutes;
    if (minutes > 59 || all > 24 * 60) return std::nullopt;
    return all;
}

Problem take_hours(const config::Raw& raw, std::vector<std::pair<int, int>>& out) {
    Texts texts;
    if (Problem problem = take_texts(raw, texts); !problem.empty()) return problem;
    for (const std::string& text : texts) {
        const std::size_t dash = text.find('-');
        const auto from = minutes_of(trim(std::string_view(text).substr(0, dash)));
        const auto before = dash == std::string::npos
                                ? std::nullopt
                                : minutes_of(trim(std::string_view(text).substr(dash + 1)));
        if (!from || !before || *from == *before)
            return "has the entry \"" + printable(text) +
                   "\", but must be times of the day in UTC such as \"08:00-18:00\"";
        out.emplace_back(*from, *before);
    }
    return {};
}

Problem take_apps(const config::Raw& raw, Texts& out) {
    if (Problem problem = take_texts(raw, out); !problem.empty()) return problem;
    for (std::string& text : out) {
        std::ranges::transform(text, text.begin(),
                               [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        if (text.size() != 64 || text.find_first_not_of("0123456789abcdef") != std::string::npos)
            return "has the entry \"" + printable(text) +
                   "\", but must be SHA-256 digests of shared objects, as sha256sum prints them";
    }
    return {};
}

struct SectionKey {
    std::string_view name;
    Problem (*take)(const config::Raw&, Section&);
};

#define TAKES(call) [](const config::Raw& raw, Section& section) -> Problem { return call; }

constexpr SectionKey section_keys[] = {
    {"owners", TAKES(take_texts(raw, section.owners))},
    {"fingerprints", TAKES(take_texts(raw, section.fingerprints))},
    {"purposes",
     TAKES(take_names(raw, Texts(use_names.begin(), use_names.end()), section.purposes))},
    {"tasks", TAKES(take_names(raw, choices_of("task"), section.tasks))},
    {"models", TAKES(take_names(raw, choices_of("name"), section.models))},
    {"solvers", TAKES(take_names(raw, choices_of("solver"), section.solvers))},
    {"protocols", TAKES(take_names(raw, Texts(protocol_names.begin(), protocol_names.end()),
                                   section.protocols))},
    {"protocols_never", TAKES(take_names(raw, Texts(protocol_names.begin(), protocol_names.end()),
                                         section.protocols_never))},
    {"alignments", TAKES(take_names(raw, choices_of("alignment", "data"), section.alignments))},
    {"apps", TAKES(take_apps(raw, section.apps))},
    {"parties_min", TAKES(take_number(raw, 2, 4096, section.parties_min))},
    {"rows_min", TAKES(take_number(raw, 1, 1ULL << 53, section.data.rows_min))},
    {"batch_min", TAKES(take_number(raw, 1, 1ULL << 53, section.data.batch_min))},
    {"psi_ids_max", TAKES(take_number(raw, 1, 1ULL << 53, section.data.psi_ids_max))},
    {"models_of", TAKES(take_texts(raw, section.data.models_of))},
    {"columns", TAKES(take_texts(raw, section.data.columns))},
    {"columns_never", TAKES(take_texts(raw, section.data.columns_never))},
    {"runs_per_day", TAKES(take_number(raw, 1, 100'000, section.runs_per_day))},
    {"hours", TAKES(take_hours(raw, section.hours))},
    {"tables", TAKES(take_word(raw, "granted", "any", section.granted_tables))},
    {"differential_privacy", TAKES(take_flag(raw, section.differential_privacy))},
    {"epsilon_max", TAKES(take_real(raw, 0, 1000, section.epsilon_max))},
    {"delta", TAKES(take_real(raw, 0, 0.1, section.delta))},
    {"approve", TAKES(take_word(raw, "each", "never", section.approve_each))},
};

#undef TAKES

constexpr std::array<std::string_view, 4> file_keys{"approve", "held_max", "held_per_owner_max",
                                                    "held_hours"};

class Parser {
  public:
    Result<Policy> parse(const std::vector<config::Setting>& settings) {
        for (const config::Setting& setting : settings) {
            if (setting.section.empty())
                file_key(setting);
            else if (setting.name.empty())
                open(setting);
            else
                section_key(setting);
        }
        for (Section& section : policy_.sections) {
            if (section.owners.empty())
                problems_.add(section.origin + ": [" + printable(section.name) +
                              "] names no owners; \"*\" stands for all");
            if (approve_each_ && !section_says_approve(section)) section.approve_each = true;
        }
        if (!problems_.none()) return tl::unexpected(problems_.failure());
        return std::move(policy_);
    }

  private:
    [[nodiscard]] bool section_says_approve(const Section& section) const {
        return std::ranges::find(says_approve_, section.name) != says_approve_.end();
    }

    void open(const config::Setting& setting) {
        if (!std::holds_alternative<config::Foreign>(setting.value.value)) return;
        Section section;
        section.name = setting.section;
        section.origin = setting.origin;
        policy_.sections.push_back(std::move(section));
    }

    void unknown(const config::Setting& setting, const Texts& there) {
        const std::string near = nearest(setting.name, there);
        problems_.add(
            setting.origin + ": unknown key " + printable(setting.name) +
            (near.empty() ? "; there are " + join_and(there) : "; the nearest is " + near));
    }

    void told(const config::Setting& setting, const Problem& problem) {
        if (!problem.empty())
            problems_.add(setting.origin + ": " + printable(setting.name) + " " + problem);
    }

    void file_key(const config::Setting& setting) {
        if (setting.name == "approve") {
            told(setting, take_word(setting.value, "each", "never", approve_each_));
        } else if (setting.name == "held_max") {
            told(setting, take_number(setting.value, 1, 1000, policy_.held_max));
        } else if (setting.name == "held_per_owner_max") {
            told(setting, take_number(setting.value, 1, 1000, policy_.held_per_owner_max));
        } else if (setting.name == "held_hours") {
            told(setting, take_number(setting.value, 1, 24 * 30, policy_.held_hours));
        } else {
            unknown(setting, Texts(file_keys.begin(), file_keys.end()));
        }
    }

    void section_key(const config::Setting& setting) {
        const auto at = std::ranges::find(policy_.sections, setting.section, &Section::name);
        if (at == policy_.sections.end()) return;  // [party.x.y]: told where it begins
        const auto* const key = std::ranges::find(section_keys, setting.name, &SectionKey::name);
        if (key == std::end(section_keys)) {
            Texts there;
            for (const SectionKey& known : section_keys) there.emplace_back(known.name);
            return unknown(setting, there);
        }
        if (setting.name == "approve") says_approve_.push_back(setting.section);
        told(setting, key->take(setting.value, *at));
    }

    Policy policy_;
    bool approve_each_ = false;
    Texts says_approve_;
    config::Problems problems_;
};

bool among(const Texts& list, std::string_view text) {
    return std::ranges::find(list, text) != list.end();
}

bool fits_any(const Texts& patterns, std::string_view name) {
    return std::ranges::any_of(patterns, [&](const std::string& p) { return matches(p, name); });
}

std::string clock_text(int minutes) {
    const auto two = [](int n) { return (n < 10 ? "0" : "") + std::to_string(n); };
    return two(minutes / 60) + ":" + two(minutes % 60);
}

bool within(const std::vector<std::pair<int, int>>& hours, int minute) {
    return std::ranges::any_of(hours, [&](const auto& range) {
        const auto [from, before] = range;
        return from < before ? minute >= from && minute < before
                             : minute >= from || minute < before;  // over midnight
    });
}

/// Collects the first rule that is broken.
class Verdict {
  public:
    /// `section`: empty where there is no policy, and a rule counts that needs none.
    explicit Verdict(std::string section) : section_(std::move(section)) {}
    /// `why` is made only for the first one.
    template <class Why>
    Verdict& rule(std::string_view name, bool holds, Why&& why) {
        if (!holds && !refusal_)
            refusal_ =
                Refusal{std::string(name), "rule " + section_ + (section_.empty() ? "" : ".") +
                                               std::string(name) + ": " + why()};
        return *this;
    }
    [[nodiscard]] std::optional<Refusal> taken() { return std::move(refusal_); }

  private:
    std::string section_;
    std::optional<Refusal> refusal_;
};

void judge_model(const Section& s, const config::AgreedHalf& agreed, Verdict& verdict) {
    const std::string task(config::name_of(agreed.model.task));
    const std::string model(config::name_of(agreed.model.name));
    const std::string solver(config::name_of(agreed.model.solver));
    const std::string protocol(config::name_of(agreed.run.protocol));
    const std::string alignment(config::name_of(agreed.data.alignment));
    verdict
        .rule("protocols", s.protocols.empty() || among(s.protocols, protocol),
              [&] { return "protocol " + protocol + ", and allowed is " + join_and(s.protocols); })
        .rule("protocols_never", !among(s.protocols_never, protocol),
              [&] { return "protocol " + protocol + ", which is never allowed"; })
        .rule(
            "alignments", s.alignments.empty() || among(s.alignments, alignment),
            [&] { return "alignment " + alignment + ", and allowed is " + join_and(s.alignments); })
        .rule("tasks", s.tasks.empty() || among(s.tasks, task),
              [&] { return "task " + task + ", and allowed is " + join_and(s.tasks); })
        .rule("models", s.models.empty() || among(s.models, model),
              [&] { return "model " + model + ", and allowed is " + join_and(s.models); })
        .rule("solvers", s.solvers.empty() || among(s.solvers, solver),
              [&] { return "solver " + solver + ", and allowed is " + join_and(s.solvers); });
    const std::uint64_t batch = agreed.model.batch_size;
    const bool batches = agreed.model.solver != config::Solver::lbfgs && batch != 0;
    verdict.rule("batch_min", !batches || batch >= s.data.batch_min, [&] {
        return "batches of " + std::to_string(batch) + " rows, and they must have " +
               std::to_string(s.data.batch_min) + " at least";
    });
}

}  // namespace

bool same_key(std::string_view a, std::string_view b) {
    const auto digits = [](std::string_view text) {
        std::string out;
        for (const char c : text)
            if (c != '-' && c != ' ' && c != ':')
                out += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        return out;
    };
    const std::string first = digits(a);
    return !first.empty() && first == digits(b);
}

double rho_of(const Request& request) {
    if (request.use == Use::check) return 0;
    // (the figures of columns have no noise)
    if (!request.agreed || request.agreed->privacy.insecure_testing || request.use == Use::features)
        return std::numeric_limits<double>::infinity();
    return request.use == Use::predict ? config::rho_of_predicted_features(*request.agreed)
                                       : config::rho_of_features(*request.agreed);
}

namespace {

/// The epsilon of one run; infinite without noise.
double noise_of(const Request& request, double delta) {
    const double rho = rho_of(request);
    return std::isfinite(rho) ? privacy::epsilon_of(rho, delta) : rho;
}

std::string sentence_on_noise(const Request& request, double delta) {
    const double epsilon = noise_of(request, delta);
    if (!std::isfinite(epsilon))
        return "the run puts no noise on what leaves this member "
               "(privacy.score_noise_multiplier), or noise that everybody can take off";
    return "the run puts so little noise on what leaves this member "
           "(privacy.score_noise_multiplier) that it tells epsilon " +
           shortest(epsilon) + " of a row, and more than " + shortest(epsilon_of_noise_max) +
           " counts as none";
}

}  // namespace

std::string_view name_of(Use use) noexcept {
    return use_names[static_cast<std::size_t>(use)];
}

const Section* Policy::section_of(const Owner& owner) const {
    // processes of an owner, such as those of runs that it submits, have names made of its own
    for (const Section& section : sections)
        if (fits_any(section.owners, owner.name) ||
            fits_any(section.owners, without_suffix(owner.name)))
            return &section;
    return nullptr;
}

Result<Policy> parse_policy(std::string_view text, const std::string& shown) {
    const auto settings = config::read_toml(text, shown);
    if (!settings) return tl::unexpected(settings.error());
    auto policy = Parser().parse(*settings);
    if (!policy) return policy;
    policy->file = shown;
    policy->digest = to_hex(sha256(text));
    return policy;
}

Failure failure_of(const Refusal& refusal) {
    Failure failure{Errc::refused, "its policy refuses the run: " + refusal.sentence};
    failure.for_others = "its policy refuses the run (rule " + refusal.rule + ")";
    return failure;
}

std::optional<Refusal> judge(const Section& s, const Request& request, const Circumstances& now) {
    Verdict verdict(s.name);
    const std::string use(name_of(request.use));
    const std::string& key = request.owner.fingerprint;
    verdict
        .rule("fingerprints",
              s.fingerprints.empty() ||
                  std::ranges::any_of(s.fingerprints,
                                      [&](const std::string& one) { return same_key(one, key); }),
              [&] {
                  return request.owner.name +
                         (key.empty() ? " has shown no key"
                                      : " has the key " + key + ", which is not among them");
              })
        .rule("purposes", s.purposes.empty() || among(s.purposes, use),
              [&] { return "the run is to " + use + ", and allowed is " + join_and(s.purposes); })
        .rule("apps", request.use != Use::app || s.apps.empty() || among(s.apps, request.app),
              [&] { return "the app here has the digest " + request.app; })
        .rule("parties_min", s.parties_min == 0 || request.parties >= s.parties_min, [&] {
            return (request.parties == 0 ? "the run is open, so that nobody knows its parties"
                                         : std::to_string(request.parties) + " parties") +
                   ", and there must be " + std::to_string(s.parties_min) + " at least";
        });
    if (request.agreed) judge_model(s, *request.agreed, verdict);
    verdict
        .rule("differential_privacy",
              !s.differential_privacy || noise_of(request, s.delta) <= epsilon_of_noise_max,
              [&] { return sentence_on_noise(request, s.delta); })
        .rule("hours", s.hours.empty() || within(s.hours, now.minute_of_day),
              [&] { return "it is " + clock_text(now.minute_of_day) + " UTC"; })
        .rule("tables", !s.granted_tables || now.tables_without_grant.empty(), [&] {
            return request.owner.name + " has no grant for " + join_and(now.tables_without_grant) +
                   " (vflbus grant)";
        });
    // (without a budget nobody looks for it, which takes hundreds of logarithms)
    const double epsilon =
        s.epsilon_max == 0 ? 0 : privacy::epsilon_of(now.rho_spent + rho_of(request), s.delta);
    verdict.rule("epsilon_max", epsilon <= s.epsilon_max, [&] {
        return "with this run, what " + request.owner.name + " has heard of a row would be " +
               "epsilon " + shortest(epsilon) + " at delta " + shortest(s.delta) + " (" +
               shortest(privacy::epsilon_of(now.rho_spent, s.delta)) + " by now), and " +
               shortest(s.epsilon_max) + " is its budget";
    });
    verdict.rule("runs_per_day", s.runs_per_day == 0 || now.runs_today < s.runs_per_day,
                 [&] { return std::to_string(now.runs_today) + " runs were let in today"; });
    return verdict.taken();
}

std::optional<Refusal> judge_columns(const std::string& name, const DataRules& rules,
                                     std::span<const std::string> columns) {
    Verdict verdict(name);
    for (const std::string& column : columns) {
        const auto advice = [&] {
            return "column " + printable(column) +
                   " would be used; leave it out by `exclude` of this party's section";
        };
        verdict.rule("columns_never", !fits_any(rules.columns_never, column), advice);
        verdict.rule("columns", rules.columns.empty() || fits_any(rules.columns, column), advice);
    }
    return verdict.taken();
}

std::optional<Refusal> judge_rows(const std::string& name, const DataRules& rules,
                                  std::uint64_t rows) {
    return Verdict(name)
        .rule("rows_min", rows >= rules.rows_min,
              [&] {
                  return "the parties have " + std::to_string(rows) +
                         " different ids in common, and there must be " +
                         std::to_string(rules.rows_min) + " at least";
              })
        .taken();
}

std::optional<Refusal> judge_psi_list(const std::string& name, const DataRules& rules,
                                      std::uint64_t ids) {
    return Verdict(name)
        .rule("psi_ids_max", ids <= rules.psi_ids_max,
              [&] {
                  return "a party comes with " + std::to_string(ids) +
                         " ids to be compared, and there may be " +
                         std::to_string(rules.psi_ids_max);
              })
        .taken();
}

std::optional<Refusal> judge_model_of(const std::string& name, const DataRules& rules,
                                      const std::string& trained_for, const Owner& owner) {
    const bool own = trained_for.empty() || trained_for == without_suffix(owner.name);
    return Verdict(name)
        .rule("models_of", own || fits_any(rules.models_of, trained_for),
              [&] {
                  return "the model was trained for " + trained_for + ", and " + owner.name +
                         " asks for it";
              })
        .taken();
}

std::optional<Refusal> judge_batch(const std::string& name, const DataRules& rules,
                                   std::uint64_t rows) {
    return Verdict(name)
        .rule("batch_min", rows >= rules.batch_min,
              [&] {
                  return "the smallest batch of an epoch may have no more than " +
                         std::to_string(rows) + " different ids, and there must be " +
                         std::to_string(rules.batch_min) + " at least";
              })
        .taken();
}

}  // namespace vflbus::policy
