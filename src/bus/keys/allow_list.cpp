#include "bus/keys/allow_list.hpp"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "base/ids.hpp"
#include "base/text.hpp"

namespace vflbus::bus {
namespace {

constexpr std::array<std::string_view, 5> roles{"master", "member", "arbiter", "serverapp", "node"};
constexpr std::size_t line_bytes_max = 4096;
constexpr std::string_view invitation_word = "invitation";
constexpr std::array<std::pair<Beside, std::string_view>, 2> beside_names{
    {{Beside::also, "stay"}, {Beside::in_place, "go"}}};
constexpr Seconds second_day = 86'400;

std::vector<std::string> words_of(std::string_view line) {
    std::vector<std::string> words;
    for (std::size_t at = 0; at < line.size();) {
        at = line.find_first_not_of(" \t\r", at);
        if (at == std::string_view::npos) break;
        const std::size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
        words.emplace_back(line.substr(at, end - at));
        at = end;
    }
    return words;
}

/// What is wrong with a word, or nothing.
std::string take_roles(Allowed& entry, const std::string& value) {
    for (const std::string& role : split(value, ',')) {
        if (!is_role(role))
            return "role \"" + printable(role) +
                   "\" is none of master, member, arbiter, serverapp and node";
        entry.roles.push_back(role);
    }
    return {};
}

std::string take_ranks(Allowed& entry, const std::string& value) {
    for (const std::string& text : split(value, ',')) {
        std::uint64_t rank = 0;
        const auto [at, code] = std::from_chars(text.data(), text.data() + text.size(), rank);
        if (code != std::errc{} || at != text.data() + text.size() || rank > rank_max)
            return "rank \"" + printable(text) + "\" is no number from 0 to " +
                   std::to_string(rank_max);
        entry.ranks.push_back(rank);
    }
    return {};
}

std::string take_rights(Allowed& entry, const std::string& value) {
    for (const std::string& text : split(value, ',')) {
        const auto found = std::find_if(right_names.begin(), right_names.end(),
                                        [&](const auto& row) { return row.second == text; });
        if (found == right_names.end())
            return "may=\"" + printable(text) + "\" is none of submit, stop, see, status and logs";
        entry.rights |= static_cast<std::uint8_t>(found->first);
    }
    return {};
}

std::string take_word(Allowed& entry, const std::string& word) {
    const std::size_t sign = word.find('=');
    const std::string key = word.substr(0, sign);
    const std::string value = sign == std::string::npos ? "" : word.substr(sign + 1);
    if (key == "role") return take_roles(entry, value);
    if (key == "rank") return take_ranks(entry, value);
    if (key == "may") return take_rights(entry, value);
    if (key == "expires") {
        const auto at = parse_date(value);
        if (!at) return "expires=\"" + printable(value) + "\" is no day such as 2027-11-29";
        entry.expires = *at;
        return {};
    }
    return "\"" + printable(key) + "\" is none of role=, rank=, may= and expires=";
}

/// What is wrong with the name in front of a line, or nothing.
std::string take_name(Allowed& entry, const std::string& word) {
    entry.name = word;
    if (is_valid_node_name(entry.name)) return {};
    return "\"" + printable(entry.name) +
           "\" is no name: 1 to 64 of A-Z a-z 0-9 . _ - that do not begin with . or -";
}

std::string take_key(Allowed& entry, const std::string& word) {
    if (const auto key = parse_public_key(word)) {
        entry.key = *key;
        entry.fingerprint = fingerprint_of(*key);
        return {};
    }
    entry.fingerprint = parse_fingerprint(word);
    if (!entry.fingerprint.empty()) return {};
    return "what follows " + entry.name + " is neither a public key nor a fingerprint";
}

std::string take_lifetime(Invited& invited, const std::string& value) {
    const auto period = parse_period(value);
    if (!period || *period <= 0) return "lifetime=\"" + printable(value) + "\" is no period";
    invited.lifetime = *period;
    return {};
}

std::string take_beside(Invited& invited, const std::string& value) {
    for (const auto& [beside, name] : beside_names)
        if (name == value) {
            invited.beside = beside;
            return {};
        }
    return "others=\"" + printable(value) + "\" is none of stay and go";
}

std::string take_used(Invited& invited, const std::string& value) {
    invited.used = parse_fingerprint(value);
    return invited.used.empty() ? "used=\"" + printable(value) + "\" is no fingerprint"
                                : std::string();
}

std::string take_word(Invited& invited, const std::string& word) {
    const std::size_t sign = word.find('=');
    const std::string key = word.substr(0, sign);
    const std::string value = sign == std::string::npos ? "" : word.substr(sign + 1);
    if (key == "lifetime") return take_lifetime(invited, value);
    if (key == "others") return take_beside(invited, value);
    if (key == "used") return take_used(invited, value);
    return take_word(invited.as, word);
}

/// The words behind name and key.
template <class Entry>
std::string take_words(Entry& entry, const std::vector<std::string>& words, std::size_t from) {
    std::set<std::string> seen;
    for (std::size_t i = from; i < words.size(); ++i) {
        if (!seen.insert(words[i].substr(0, words[i].find('='))).second)
            return "\"" + printable(words[i]) + "\" says something a second time";
        if (std::string wrong = take_word(entry, words[i]); !wrong.empty()) return wrong;
    }
    return {};
}

template <class Visit>
void for_each_line(std::string_view text, Visit&& visit) {
    std::size_t number = 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        visit(++number, text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

template <class Items, class Text>
std::string joined(const Items& items, Text&& text) {
    std::string out;
    for (const auto& item : items) out += (out.empty() ? "" : ",") + std::string(text(item));
    return out;
}

}  // namespace

bool is_role(std::string_view text) noexcept {
    return std::find(roles.begin(), roles.end(), text) != roles.end();
}

std::string_view name_of(Right right) noexcept {
    for (const auto& [value, name] : right_names)
        if (value == right) return name;
    return "unknown";
}

bool Allowed::has_role(std::string_view role) const noexcept {
    return std::find(roles.begin(), roles.end(), role) != roles.end();
}

bool Allowed::has_rank(std::int64_t rank) const noexcept {
    return ranks.empty() ||
           (rank >= 0 &&
            std::find(ranks.begin(), ranks.end(), static_cast<std::uint64_t>(rank)) != ranks.end());
}

std::string text_of_rights(const Allowed& entry) {
    std::string text;
    const auto add = [&](const char* word, const std::string& value) {
        if (!value.empty()) text += (text.empty() ? "" : " ") + std::string(word) + value;
    };
    add("role=", joined(entry.roles, [](const std::string& role) { return role; }));
    add("rank=", joined(entry.ranks, [](std::uint64_t rank) { return std::to_string(rank); }));
    std::vector<std::string_view> may;
    for (const auto& [right, name] : right_names)
        if (entry.may(right)) may.push_back(name);
    add("may=", joined(may, [](std::string_view name) { return name; }));
    return text;
}

std::string line_of(const Allowed& entry) {
    const std::string rights = text_of_rights(entry);
    return entry.name + " " + (entry.key ? text_of(*entry.key) : entry.fingerprint) +
           (rights.empty() ? "" : " " + rights) + " expires=" + date_text(entry.expires);
}

std::string line_of(const Invited& invited) {
    const std::string rights = text_of_rights(invited.as);
    std::string text =
        invited.as.name + " " + std::string(invitation_word) + " " + invited.as.fingerprint +
        (rights.empty() ? "" : " " + rights) + " expires=" + date_text(invited.as.expires) +
        " lifetime=" +
        (invited.lifetime % second_day == 0 ? std::to_string(invited.lifetime / second_day) + "d"
                                            : std::to_string(invited.lifetime) + "s");
    for (const auto& [beside, name] : beside_names)
        if (beside == invited.beside) text += " others=" + std::string(name);
    return invited.used.empty() ? text : text + " used=" + invited.used;
}

bool speaks_for(std::string_view key_name, std::string_view node_name) noexcept {
    return node_name == key_name || without_suffix(node_name) == key_name;
}

AllowList AllowList::parse(std::string_view text, std::vector<std::string>& faults) {
    AllowList list;
    const auto wrong = [&](std::size_t number, const std::string& why) {
        faults.push_back("line " + std::to_string(number) + ": " + why);
    };
    if (text.size() > allow_list_bytes_max) {
        faults.emplace_back("it is larger than 8 MiB");
        return list;
    }
    for_each_line(text, [&](std::size_t number, std::string_view line) {
        const std::string_view said = trim(line);
        if (said.empty() || said.front() == '#') return;
        if (const std::string why = list.take(said, number); !why.empty()) wrong(number, why);
    });
    list.leave_out_made_names(faults);
    return list;
}

/// What is wrong with a line, or nothing.
std::string AllowList::take(std::string_view line, std::size_t number) {
    if (line.size() > line_bytes_max) return "it is longer than 4,096 bytes";
    const std::vector<std::string> words = words_of(line);
    Allowed entry;
    entry.line = number;
    if (std::string why = take_name(entry, words.front()); !why.empty()) return why;
    if (words.size() < 2) return "it has no key behind the name " + entry.name;
    if (words[1] == invitation_word) return take_invited(words, number);
    if (std::string why = take_key(entry, words[1]); !why.empty()) return why;
    if (std::string why = take_words(entry, words, 2); !why.empty()) return why;
    if (entry.expires == 0) return "it does not say when the key expires: expires=2027-11-29";
    if (const Allowed* const other = find(entry.fingerprint))
        return "the key of " + entry.name + " stands in line " + std::to_string(other->line) +
               " already";
    if (entries_.size() >= allowed_keys_max) return "there are more than 16,384 keys";
    add(std::move(entry));
    return {};
}

std::string AllowList::take_invited(const std::vector<std::string>& words, std::size_t number) {
    Invited invited;
    invited.as.line = number;
    invited.as.name = words.front();
    invited.as.fingerprint = words.size() < 3 ? std::string() : parse_fingerprint(words[2]);
    if (invited.as.fingerprint.empty())
        return "the invitation of " + invited.as.name + " has no fingerprint";
    if (std::string why = take_words(invited, words, 3); !why.empty()) return why;
    if (invited.as.expires == 0 || invited.lifetime == 0)
        return "the invitation of " + invited.as.name + " lacks expires= or lifetime=";
    if (find_invitation(invited.as.fingerprint) != nullptr)
        return "the invitation of " + invited.as.name + " stands there already";
    if (invitations_.size() >= invitations_max) return "there are more than 1,024 invitations";
    invitations_.push_back(std::move(invited));
    return {};
}

const Invited* AllowList::find_invitation(std::string_view fingerprint) const noexcept {
    const Invited* found = nullptr;
    for (const Invited& invited : invitations_) {
        const std::string& has = invited.as.fingerprint;
        if (has.size() == fingerprint.size() &&
            sodium_memcmp(has.data(), fingerprint.data(), has.size()) == 0)
            found = &invited;
    }
    return found;
}

/// A name that another key speaks for as well would have two owners.
void AllowList::leave_out_made_names(std::vector<std::string>& faults) {
    std::set<std::string, std::less<>> names;
    for (const Allowed& entry : entries_) names.insert(entry.name);
    std::vector<Allowed> kept;
    for (Allowed& entry : entries_) {
        const std::string_view base = without_suffix(entry.name);
        if (base == entry.name || names.count(base) == 0) {
            kept.push_back(std::move(entry));
            continue;
        }
        faults.push_back("line " + std::to_string(entry.line) + ": " + entry.name +
                         " is what a process of " + std::string(base) +
                         " may be called; choose another name");
    }
    entries_.clear();
    by_fingerprint_.clear();
    for (Allowed& entry : kept) add(std::move(entry));
}

void AllowList::add(Allowed entry) {
    by_fingerprint_[entry.fingerprint] = entries_.size();
    entries_.push_back(std::move(entry));
}

const Allowed* AllowList::find(const std::string& fingerprint) const {
    const auto found = by_fingerprint_.find(fingerprint);
    return found == by_fingerprint_.end() ? nullptr : &entries_[found->second];
}

std::string with_line(std::string text, const std::string& line) {
    if (!text.empty() && text.back() != '\n') text += '\n';
    return text + line + "\n";
}

std::string without_lines(std::string_view text, const std::vector<std::size_t>& lines) {
    std::string kept;
    for_each_line(text, [&](std::size_t number, std::string_view line) {
        if (std::find(lines.begin(), lines.end(), number) == lines.end())
            kept += std::string(line) + "\n";
    });
    return kept;
}

}  // namespace vflbus::bus
