#include <algorithm>
#include <system_error>

#include "base/files.hpp"
#include "base/text.hpp"
#include "config/config.hpp"
#include "config/solver.hpp"
#include "config/value.hpp"

namespace vflbus::config {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view variable_prefix = "VFLBUS_";

std::vector<std::string> key_names(std::string_view section) {
    std::vector<std::string> names;
    for (const Key& key : keys())
        if (key.section == section) names.emplace_back(key.name);
    return names;
}

/// nearest() on a word that may be as long as a file.
template <class Names>
std::string near_one(std::string_view word, const Names& names) {
    return nearest(word.substr(0, 64), names);
}

std::string upper(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
        if (c == '-' || c == '.') c = '_';
    }
    return out;
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

/// "party.member-0" -> "party"; anything else unchanged.
std::string_view table_section(std::string_view section) {
    return section.starts_with("party.") ? section.substr(0, 5) : section;
}

/// The key that has this variable besides the one that its name makes; null: none has.
const Key* key_of_variable(std::string_view name) {
    for (const Key& key : keys())
        if (!key.variable.empty() && key.variable == name) return &key;
    return nullptr;
}

/// What to write instead of an unknown section.
std::string nearest_section(std::string_view section) {
    std::vector<std::string> names;
    for (const Section& known : sections())
        if (known.name != "party") names.emplace_back(known.name);
    names.emplace_back("party.master");
    std::string digits;
    for (const char c : section)
        if (c >= '0' && c <= '9') digits += c;
    while (digits.size() > 1 && digits[0] == '0') digits.erase(0, 1);
    const std::string member = "party.member-" + (digits.empty() ? "0" : digits.substr(0, 4));
    names.push_back(member);
    std::string near = near_one(section, names);
    if (near.empty()) near = near_one("party." + std::string(section), names);
    if (near.empty() && section.starts_with("party")) near = member;
    if (!near.empty()) return "the nearest is [" + near + "]";
    return "sections are [run], [model], [data], [privacy], [bus], [output], [observe], "
           "[observe.mlflow], "
           "[party.master] and [party.member-K]";
}

/// What to write instead of an unknown key.
std::string nearest_key(std::string_view section, std::string_view name) {
    const std::string_view in_table = table_section(section);
    const std::vector<std::string> here = key_names(in_table);
    if (const std::string near = near_one(lower(name), here); !near.empty())
        return "the nearest is " + std::string(section) + "." + near;
    for (const Key& key : keys())  // the right name in the wrong section
        if (key.name == name && key.section != "party") return "the nearest is " + full_name(key);
    if (find_key("party", name))
        return "the nearest is party.master." + std::string(name) + " or party.member-K." +
               std::string(name);
    std::vector<std::string> all;
    for (const Key& key : keys()) all.push_back(full_name(key));
    if (const std::string near = near_one(std::string(section) + "." + std::string(name), all);
        !near.empty())
        return "the nearest is " + near;
    return "[" + std::string(section) + "] has " + join_and(here);
}

bool is_party_name(std::string_view name) {
    return name == "master" || member_rank(name);
}

/// Fills a configuration source by source, weakest first.
class Loader {
  public:
    explicit Loader(const LoadOptions& options) : options_(options) {}

    Result<Config> load() {
        base_ = options_.base_dir;
        if (base_.empty()) {
            std::error_code error;
            base_ = fs::current_path(error);
        }
        find_self();
        for (const std::string& text : options_.defaults) from_text({text, "default"}, false);
        if (auto read = from_file(); !read) return tl::unexpected(read.error());
        from_environment();
        for (const Override& set : options_.sets) from_text(set, true);
        if (!config_.stated("output.runs_dir"))
            config_.output.runs_dir = (base_ / config_.output.runs_dir).lexically_normal().string();
        if (!problems_.none()) return tl::unexpected(problems_.failure());
        find_world_size();
        resolve_solver(config_, problems_);
        // organisations that have keys do not show each other hashes of ids unless they say so
        if (!config_.stated("data.alignment") && !config_.bus.certificates.empty())
            config_.data.alignment = Alignment::psi;
        resolve_join();
        choose_protocol();
        fill_summed_network(config_);
        if (!problems_.none()) return tl::unexpected(problems_.failure());
        if (auto checked = check(config_); !checked) return tl::unexpected(checked.error());
        return std::move(config_);
    }

  private:
    void resolve_join() {
        if (!config_.stated("data.use_inner_join")) return;
        const Join join = config_.use_inner_join ? Join::inner : Join::left;
        if (config_.stated("data.join") && config_.data.join != join)
            problems_.add(config_.origin_of("data.use_inner_join") +
                          ": data.use_inner_join = " + (config_.use_inner_join ? "true" : "false") +
                          " is another form of data.join, which is stated as well (" +
                          config_.origin_of("data.join") + "); leave one of them out");
        config_.data.join = join;
    }

    /// Parties that have keys are more than one organisation: they show each other neither scores
    /// nor residuals unless they say so. What cannot be trained in that way is refused and does not
    /// fall back to less.
    void choose_protocol() {
        if (config_.stated("run.protocol") || config_.bus.certificates.empty()) return;
        const auto decides = [](const std::string& text) {
            return text.starts_with("run.protocol=");
        };
        if (std::ranges::any_of(options_.defaults, decides)) return;
        const ModelConfig& model = config_.model;
        if (model.name != ModelName::linear && !is_encrypted_network(config_)) {
            problems_.add(
                "run.protocol: parties with keys (bus.certificates) train with \"encrypted\" where "
                "nothing is stated, and that computes networks of one dense layer at each party "
                "(model.name = \"mlp\", one width in model.bottom, model.combine = \"sum\"): state "
                "these, or, if all parties agree that members see the gradients of each row, which "
                "can tell the labels, run.protocol = \"masked\" or \"honest\"");
            return;
        }
        std::string honest_only;
        if (model.solver == Solver::sequential)
            honest_only = "model.sequential = true";
        else if (has_log_link(model.task))
            honest_only = "model.task = " + quote(name_of(model.task));
        if (!honest_only.empty()) {
            problems_.add(
                "run.protocol: parties with keys (bus.certificates) train with \"encrypted\" where "
                "nothing is stated, and " +
                honest_only +
                " works with \"honest\" alone, in which the master sees what each member computes "
                "of each row, and every member what can tell the labels: state run.protocol = "
                "\"honest\" if all parties agree to that");
            return;
        }
        config_.run.protocol = Protocol::encrypted;
    }

    // -- sources ----------------------------------------------------------------

    const std::string* variable(const std::string& name) const {
        const auto found = options_.environment.find(name);
        return found == options_.environment.end() || found->second.empty() ? nullptr
                                                                            : &found->second;
    }

    void find_self() {
        config_.self = options_.self;
        if (!config_.self.empty()) {
            if (!is_party_name(config_.self))
                problems_.add("\"" + config_.self +
                              "\" is no party: it must be master or member-K");
            return;
        }
        const std::string* const role = variable("VFLBUS_ROLE");
        const std::string* const rank = variable("VFLBUS_RANK");
        if (role && *role != "member") {
            const std::vector<std::string> roles{"master", "member", "arbiter", "serverapp",
                                                 "broker"};
            if (std::ranges::find(roles, *role) == roles.end()) {
                const std::string near = near_one(*role, roles);
                problems_.add("VFLBUS_ROLE: " + quote(*role) +
                              " is unknown: it must be master or member" +
                              (near.empty() ? "" : "; the nearest is \"" + near + "\""));
            }
            if (*role == "master") config_.self = *role;
            return;
        }
        if (!rank) return;
        const std::string name = "member-" + *rank;
        if (member_rank(name))
            config_.self = name;
        else
            problems_.add("VFLBUS_RANK: " + quote(*rank) +
                          " is no rank: it must be an integer from 0 to " +
                          std::to_string(world_size_max - 1) + ", such as 0");
    }

    Result<> from_file() {
        fs::path path = options_.path;
        std::string named_by;
        if (path.empty() && options_.search) {
            if (const std::string* const named = variable("VFLBUS_CONFIG")) {
                path = *named;
                named_by = " (named by VFLBUS_CONFIG)";
            } else {
                std::error_code error;
                if (fs::exists(base_ / "vflbus.toml", error)) path = "vflbus.toml";
            }
        }
        if (path.empty()) return {};
        const fs::path absolute = (base_ / path).lexically_normal();
        config_.file = path.string();
        std::error_code error;
        if (!fs::exists(absolute, error))
            return fail(Errc::io, config_.file + named_by +
                                      ": there is no such configuration file; name another with "
                                      "--config");
        if (!fs::is_regular_file(absolute, error))
            return fail(Errc::io, config_.file + named_by +
                                      ": is not a file; name a configuration with --config");
        if (fs::file_size(absolute, error) > file_bytes_max)
            return fail(Errc::bad_config, config_.file + named_by + ": is longer than " +
                                              human_bytes(file_bytes_max) +
                                              "; is it a configuration?");
        auto text = read_file(absolute);
        if (!text) return tl::unexpected(text.error());
        auto settings = read_toml(*text, config_.file);
        if (!settings) return tl::unexpected(settings.error());
        in_file_ = true;
        for (const Setting& setting : *settings) apply(setting, absolute.parent_path(), true);
        in_file_ = false;
        return {};
    }

    void from_environment() {
        for (const auto& [name, value] : options_.environment) {
            if (value.empty()) continue;
            if (name.starts_with(variable_prefix))
                from_variable(name, value);
            else if (const Key* const key = key_of_variable(name))
                from_text(name, std::string(key->section), *key, value);
        }
    }

    void from_variable(const std::string& name, const std::string& value) {
        const std::string_view rest = std::string_view(name).substr(variable_prefix.size());
        for (const Key& key : keys()) {
            if (key.variable == name) return from_text(name, std::string(key.section), key, value);
            if (key.section != "party" && rest == upper(full_name(key)))
                return from_text(name, std::string(key.section), key, value);
        }
        if (rest.starts_with("PARTY_")) return from_party_variable(name, rest.substr(6), value);
        // Names outside our sections are somebody else's (Kubernetes adds VFLBUS_BROKER_PORT).
        for (const Section& section : sections()) {
            const std::string prefix = upper(section.name) + "_";
            if (!rest.starts_with(prefix)) continue;
            std::vector<std::string> known;
            for (const Key& key : keys())
                if (key.section != "party") known.push_back("VFLBUS_" + upper(full_name(key)));
            const std::string near = near_one(name, known);
            problems_.add(name + ": there is no key " + std::string(section.name) + "." +
                          lower(rest.substr(prefix.size())) + "; " +
                          (near.empty()
                               ? nearest_key(section.name, lower(rest.substr(prefix.size())))
                               : "the nearest is " + near));
            return;
        }
    }

    /// MEMBER_1_DATA, MASTER_LABEL, or DATA of the party of this process.
    void from_party_variable(const std::string& name, std::string_view rest,
                             const std::string& value) {
        std::string party = config_.self;
        bool named = false;
        if (rest.starts_with("MASTER_")) {
            party = "master";
            rest.remove_prefix(7);
            named = true;
        } else if (rest.starts_with("MEMBER_")) {
            const std::string_view after = rest.substr(7);
            const std::size_t end = after.find('_');
            const std::string candidate = "member-" + std::string(after.substr(0, end));
            if (end == after.npos || !member_rank(candidate)) {
                problems_.add(name +
                              ": names no party; write VFLBUS_PARTY_MEMBER_0_DATA for "
                              "party.member-0.data");
                return;
            }
            party = candidate;
            rest = after.substr(end + 1);
            named = true;
        }
        const Key* const key = find_key("party", lower(rest));
        if (!key || upper(key->name) != rest) {
            std::vector<std::string> known;
            const std::string_view stem(name.data(), name.size() - rest.size());
            for (const Key& candidate : keys())
                if (candidate.section == "party")
                    known.push_back(std::string(stem) + upper(candidate.name));
            const std::string near = near_one(name, known);
            problems_.add(
                name + ": there is no key party." + (party.empty() ? "<name>" : party) + "." +
                lower(rest) + "; " +
                (near.empty() ? "known are " + join_and(known) : "the nearest is " + near));
            return;
        }
        if (party.empty() && !named) {
            problems_.add(name +
                          ": is for the party of this process, which is not named; set "
                          "VFLBUS_ROLE and VFLBUS_RANK, or name it, as in "
                          "VFLBUS_PARTY_MEMBER_0_" +
                          std::string(rest));
            return;
        }
        from_text(name, "party." + party, *key, value);
    }

    void from_text(const std::string& origin, const std::string& section, const Key& key,
                   const std::string& value) {
        apply({section, std::string(key.name), raw_from_text(key, value), origin}, base_, true);
    }

    /// section.key=value
    void from_text(const Override& set, bool stated) {
        const std::size_t equals = set.text.find('=');
        const std::string path(trim(std::string_view(set.text).substr(0, equals)));
        const std::size_t dot = path.rfind('.');
        if (equals == set.text.npos) {
            problems_.add(set.flag + " " + set.text +
                          ": must be section.key=value, such as model.epochs=20");
            return;
        }
        if (dot == path.npos || dot == 0 || dot + 1 == path.size()) {
            std::string hint = "such as model.epochs=20";
            for (const Key& key : keys())
                if (key.name == path && key.section != "party")
                    hint = "the nearest is " + full_name(key);
            problems_.add(set.flag + " " + set.text + ": must be section.key=value; " + hint);
            return;
        }
        const std::string section = path.substr(0, dot);
        const std::string name = path.substr(dot + 1);
        const std::string text = set.text.substr(equals + 1);
        const Key* const key = find_key(table_section(section), name);
        // the value of an unknown key does not matter: apply() refuses the key
        apply({section, name, key ? raw_from_text(*key, text) : Raw{text}, set.flag}, base_,
              stated);
    }

    // -- one statement ------------------------------------------------------------

    void apply(const Setting& setting, const fs::path& base, bool stated) {
        const auto problem = [&](const std::string& text) {
            problems_.add(setting.origin + ": " + text);
        };
        if (setting.section.empty()) return problem(outside(setting.name));
        if (setting.section == "party") {
            if (is_party_name(setting.name))
                return problem("party." + setting.name + " must be a section: [party." +
                               setting.name + "]");
            if (find_key("party", setting.name))
                return problem("party." + setting.name +
                               " belongs to no party; the nearest is party.master." + setting.name +
                               " or party.member-0." + setting.name);
            return problem("unknown section [party." + setting.name + "]; " +
                           nearest_section("party." + setting.name));
        }
        PartyConfig* party = &nobody_;
        const std::string_view in_table = table_section(setting.section);
        if (in_table == "party") {
            const std::string name = setting.section.substr(6);
            if (!is_party_name(name)) {
                if (setting.name.empty() || !in_file_)  // once per section
                    problem("unknown section [" + setting.section + "]; " +
                            nearest_section(setting.section));
                return;
            }
            party = &config_.parties[name];
            if (setting.name.empty()) config_.origins.emplace(setting.section, setting.origin);
        }
        const bool known = std::ranges::any_of(
            sections(), [&](const Section& section) { return section.name == in_table; });
        if (!known) {
            if (setting.name.empty() || !in_file_)
                problem("unknown section [" + setting.section + "]; " +
                        nearest_section(setting.section));
            return;
        }
        if (setting.name.empty()) return;
        const Key* const key = find_key(in_table, setting.name);
        const std::string name = setting.section + "." + setting.name;
        if (!key)
            return problem("unknown key " + name + "; " +
                           nearest_key(setting.section, setting.name));
        if (const std::string wrong =
                assign(*key, setting.value, key->field(config_, *party), base);
            !wrong.empty())
            return problem(name + wrong);
        if (stated) config_.origins[name] = setting.origin;
    }

    static std::string outside(const std::string& name) {
        for (const Section& section : sections())
            if (section.name == name)
                return name + " must be a section: [" + name +
                       (name == "party" ? ".master] or [party.member-0]" : "]");
        for (const Key& key : keys())
            if (key.name == name && key.section != "party")
                return "the key " + name + " stands outside of a section; the nearest is " +
                       full_name(key);
        std::vector<std::string> names;
        for (const Key& key : keys()) names.emplace_back(key.name);
        const std::string near = near_one(name, names);
        for (const Key& key : keys())
            if (!near.empty() && key.name == near)
                return "unknown key " + name + " outside of a section; the nearest is " +
                       (key.section == "party" ? "party.master." + near : full_name(key));
        return "unknown key " + name + " outside of a section; " + nearest_section(name);
    }

    // -- world_size ---------------------------------------------------------------

    void find_world_size() {
        if (config_.stated("run.world_size")) return;
        // one party's own section and nothing agreed: the owner knows
        if (!config_.has_agreed_half() && !config_.parties.contains("master")) return;
        std::uint64_t members = 0;
        std::string stray;
        for (const auto& [name, party] : config_.parties)
            if (member_rank(name)) ++members;
        for (const auto& [name, party] : config_.parties)
            if (const auto rank = member_rank(name); rank && *rank >= members && stray.empty())
                stray = name;
        if (stray.empty()) {
            config_.run.world_size = members;
            return;
        }
        problems_.add(party_origin(stray) + ": run.world_size is missing: [party." + stray +
                      "] is there, but not all members below it are; say how many members take "
                      "part, such as run.world_size = " +
                      std::to_string(*member_rank(stray) + 1));
    }

    std::string party_origin(const std::string& party) const {
        const std::string prefix = "party." + party;
        const auto found = config_.origins.lower_bound(prefix);
        return found != config_.origins.end() && found->first.starts_with(prefix) ? found->second
                                                                                  : "configuration";
    }

    const LoadOptions& options_;
    fs::path base_;
    Config config_;
    PartyConfig nobody_;
    Problems problems_;
    bool in_file_ = false;  ///< an unknown section of a file is told once, where it begins
};

}  // namespace

Result<Config> load(const LoadOptions& options) {
    return Loader(options).load();
}

std::map<std::string, std::string> environment_of(const char* const* environ_block) {
    std::map<std::string, std::string> variables;
    for (; environ_block && *environ_block; ++environ_block) {
        const std::string_view entry(*environ_block);
        const std::size_t equals = entry.find('=');
        if (equals == entry.npos) continue;
        const std::string_view name = entry.substr(0, equals);
        if (name.starts_with(variable_prefix) || key_of_variable(name) != nullptr)
            variables.emplace(entry.substr(0, equals), entry.substr(equals + 1));
    }
    return variables;
}

bool Config::stated(std::string_view key) const {
    return origins.contains(std::string(key));
}

std::string Config::origin_of(std::string_view key) const {
    const auto found = origins.find(std::string(key));
    return found == origins.end() ? "the default" : found->second;
}

bool has_arbiter(const AgreedHalf& agreed) noexcept {
    return agreed.run.protocol == Protocol::arbitered;
}

bool Config::has_agreed_half() const {
    return std::ranges::any_of(origins, [](const auto& origin) {
        return origin.first.starts_with("run.") || origin.first.starts_with("model.") ||
               origin.first.starts_with("data.") || origin.first.starts_with("privacy.");
    });
}

PartyConfig section_of(const Config& config, const std::string& party) {
    const auto found = config.parties.find(party);
    return found == config.parties.end() ? PartyConfig{} : found->second;
}

std::string member_name(std::uint64_t rank) {
    return "member-" + std::to_string(rank);
}

}  // namespace vflbus::config
