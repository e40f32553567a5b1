#include "config/agreed.hpp"

#include <algorithm>
#include <map>
#include <type_traits>
#include <variant>

#include "base/text.hpp"
#include "config/value.hpp"

namespace vflbus::config {
namespace {

struct AgreedKey {
    std::string name;  ///< full
    const Key* key = nullptr;
};

/// Sorted by name. Made once: a broker's members read and write agreed texts at every OPEN.
const std::vector<AgreedKey>& agreed_keys() {
    static const std::vector<AgreedKey> known = [] {
        std::vector<AgreedKey> found;
        for (const Key& key : keys())
            if (key.half() == Half::agreed && key.form_of.empty())
                found.push_back({full_name(key), &key});
        std::ranges::sort(found, {}, &AgreedKey::name);
        return found;
    }();
    return known;
}

Config with(const AgreedHalf& half) {
    Config config;
    static_cast<AgreedHalf&>(config) = half;
    return config;
}

std::string lines_of(Config& config) {
    PartyConfig nobody;
    std::string text;
    for (const auto& [name, key] : agreed_keys())
        text += name + " = " + literal(*key, key->field(config, nobody)) + "\n";
    return text;
}

std::string shown_name(std::string_view name) {
    constexpr std::size_t longest = 64;
    return quote(printable(name.substr(0, longest))) + (name.size() > longest ? "..." : "");
}

}  // namespace

std::string canonical_agreed(const AgreedHalf& half) {
    Config config = with(half);
    return lines_of(config);
}

std::vector<std::pair<std::string, std::string>> shown_agreed(const AgreedHalf& half) {
    Config config = with(half);
    PartyConfig nobody;
    std::vector<std::pair<std::string, std::string>> shown;
    for (const auto& [name, key] : agreed_keys())
        if (name != "data.id_salt")
            shown.emplace_back(name, literal(*key, key->field(config, nobody)));
    return shown;
}

Hash256 agreed_hash(const AgreedHalf& half) {
    return hash256(canonical_agreed(half));
}

Result<AgreedHalf> parse_canonical(std::string_view text, Members members) {
    constexpr std::string_view what = "the agreed configuration received ";
    const auto malformed = [&](const std::string& why) {
        return fail(Errc::malformed_message, std::string(what) + why);
    };
    if (text.size() > canonical_bytes_max)
        return fail(Errc::too_large, std::string(what) + "has " + std::to_string(text.size()) +
                                         " bytes; at most " + std::to_string(canonical_bytes_max) +
                                         " are allowed");
    if (text.empty() || text.back() != '\n') return malformed("does not end with a whole line");

    const std::vector<AgreedKey>& known = agreed_keys();
    Config config;
    PartyConfig nobody;
    std::vector<bool> seen(known.size());
    std::string_view rest = text;
    for (std::size_t line = 1; !rest.empty(); ++line) {
        const std::size_t end = rest.find('\n');
        const std::string_view entry = rest.substr(0, end);
        rest.remove_prefix(end + 1);
        const std::size_t equals = entry.find(" = ");
        if (equals == entry.npos)
            return malformed("has no key and value in line " + std::to_string(line));
        const std::string_view name = entry.substr(0, equals);
        const auto found = std::ranges::lower_bound(known, name, {}, &AgreedKey::name);
        if (found == known.end() || found->name != name) {
            std::vector<std::string> names;
            for (const AgreedKey& each : known) names.push_back(each.name);
            const std::string near = nearest(name.substr(0, 64), names);
            return fail(Errc::bad_config,
                        std::string(what) + "has the key " + shown_name(name) +
                            ", which this version does not know" +
                            (near.empty() ? "" : "; the nearest here is " + near) +
                            "; run the same version at all parties");
        }
        const auto index = static_cast<std::size_t>(found - known.begin());
        if (seen[index]) return malformed("has " + found->name + " twice");
        seen[index] = true;
        const auto value = parse_literal(entry.substr(equals + 3));
        if (!value) return malformed("has no value of " + found->name + " that can be read");
        const Key& key = *found->key;
        const auto* const number = std::get_if<std::int64_t>(&value->value);
        if (members == Members::may_be_unsaid && found->name == "run.world_size" &&
            number != nullptr && *number == 0)
            continue;  // 0, "not known", is its default
        if (const std::string wrong = assign(key, *value, key.field(config, nobody), {});
            !wrong.empty())
            return fail(Errc::bad_config,
                        std::string(what) + "is refused: " + found->name + printable(wrong));
    }
    for (std::size_t i = 0; i < known.size(); ++i)
        if (!seen[i])
            return fail(Errc::bad_config, std::string(what) + "has no key " + known[i].name +
                                              "; run the same version at all parties");
    if (lines_of(config) != text) return malformed("is not in its canonical form");
    Problems problems;
    check_agreed(config, problems);
    if (!problems.none())
        return fail(Errc::bad_config,
                    std::string(what) + "is refused: " + problems.failure().sentence);
    return static_cast<AgreedHalf&>(config);
}

std::vector<std::string> differing_keys(const AgreedHalf& here, const AgreedHalf& there,
                                        std::string_view there_name) {
    Config mine = with(here);
    Config theirs = with(there);
    PartyConfig nobody;
    std::vector<std::string> differing;
    for (const auto& [name, key] : agreed_keys()) {
        const Field a = key->field(mine, nobody);
        const Field b = key->field(theirs, nobody);
        if (!equal(a, b))
            differing.push_back(name + " (" + literal(*key, a) + " here, " + literal(*key, b) +
                                " at " + std::string(there_name) + ")");
    }
    return differing;
}

Result<> take_unsaid(Config& mine, const AgreedHalf& theirs) {
    Config filled = mine;
    Config from = with(theirs);
    PartyConfig nobody;
    for (const auto& [name, key] : agreed_keys()) {
        if (mine.stated(name)) continue;
        std::visit(
            [](auto* to, auto* value) {
                if constexpr (std::is_same_v<decltype(to), decltype(value)>) *to = *value;
            },
            key->field(filled, nobody), key->field(from, nobody));
    }
    if (auto fits = check(filled); !fits) return fits;
    mine = std::move(filled);
    return {};
}

Result<> agree(Config& mine, std::string_view canonical_of_owner, std::string_view owner) {
    auto theirs = parse_canonical(canonical_of_owner);
    if (!theirs) return tl::unexpected(theirs.error());
    if (!mine.has_agreed_half()) {
        Config taken = mine;
        static_cast<AgreedHalf&>(taken) = *std::move(theirs);
        if (auto fits = check(taken); !fits) return fits;
        mine = std::move(taken);
        return {};
    }
    const std::vector<std::string> differing = differing_keys(mine, *theirs, owner);
    if (differing.empty()) return {};
    const std::string file = mine.file.empty() ? "" : mine.file + ": ";
    return fail(Errc::config_differs,
                file + "the configuration differs from that of " + std::string(owner) + " in " +
                    join_and(differing) +
                    "; make them equal, or leave [run], [model] and [data] out here to take over "
                    "what " +
                    std::string(owner) + " says");
}

}  // namespace vflbus::config
