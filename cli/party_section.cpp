#include "party_section.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>
#include <variant>

#include "base/quotes.hpp"
#include "base/text.hpp"
#include "config/value.hpp"

namespace vflbus::cli {
namespace {

using config::Setting;

struct WantedKey {
    std::string section;
    std::string name;
    std::vector<std::string> values;
};

std::string line_of(const WantedKey& wanted) {
    std::string value;
    for (const std::string& one : wanted.values)
        value += (value.empty() ? "" : ", ") + in_quotes(one);
    return wanted.name + " = " + (wanted.values.size() == 1 ? value : "[" + value + "]");
}

/// Of each section the last one first, as each is put right behind the head of the section.
std::vector<WantedKey> wanted_keys(const PartySection& section) {
    std::vector<WantedKey> keys;
    if (!section.identity.empty()) keys.push_back({"bus", "identity", {section.identity}});
    keys.push_back({"bus", "certificates", {section.certificates}});
    keys.push_back({"bus", "broker", {section.broker}});
    if (section.section.empty()) return keys;
    if (!section.label.empty()) keys.push_back({section.section, "label", section.label});
    if (!section.id.empty()) keys.push_back({section.section, "id", {section.id}});
    if (!section.data.empty()) keys.push_back({section.section, "data", {section.data}});
    return keys;
}

/// Of "vflbus.toml:12", counted from 1; 0: it does not say.
std::size_t line_in(const std::string& origin) {
    const std::size_t colon = origin.rfind(':');
    std::size_t line = 0;
    if (colon != std::string::npos)
        std::from_chars(origin.data() + colon + 1, origin.data() + origin.size(), line);
    return line;
}

const Setting* find(const std::vector<Setting>& settings, const std::string& section,
                    const std::string& name) {
    for (const Setting& setting : settings)
        if (setting.section == section && setting.name == name) return &setting;
    return nullptr;
}

bool says(const config::Raw& value, const std::vector<std::string>& wanted) {
    if (const auto* const text = std::get_if<std::string>(&value.value))
        return wanted.size() == 1 && *text == wanted.front();
    const auto* const list = std::get_if<std::vector<config::Raw>>(&value.value);
    if (list == nullptr || list->size() != wanted.size()) return false;
    return std::equal(list->begin(), list->end(), wanted.begin(),
                      [](const config::Raw& one, const std::string& text) {
                          const auto* const said = std::get_if<std::string>(&one.value);
                          return said != nullptr && *said == text;
                      });
}

/// Puts one key into the lines. False: there is no place for it.
bool put(std::vector<std::string>& lines, const WantedKey& wanted,
         const std::vector<Setting>& settings) {
    if (const Setting* const there = find(settings, wanted.section, wanted.name)) {
        if (says(there->value, wanted.values)) return true;
        const std::size_t line = line_in(there->origin);
        if (line == 0 || line > lines.size()) return false;
        lines[line - 1] = line_of(wanted);
        return true;
    }
    const std::string header = "[" + wanted.section + "]";
    const auto begins = std::find_if(lines.begin(), lines.end(), [&](const std::string& line) {
        const std::string_view said = trim(line);
        return said.starts_with(header) &&
               (said.size() == header.size() || trim(said.substr(header.size())).front() == '#');
    });
    if (begins != lines.end()) {
        lines.insert(begins + 1, line_of(wanted));
        return true;
    }
    if (!lines.empty() && !trim(lines.back()).empty()) lines.emplace_back();
    lines.push_back(header);
    lines.push_back(line_of(wanted));
    return true;
}

std::string text_of(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return text;
}

}  // namespace

Result<std::string> with_party_section(const std::string& text, const PartySection& section,
                                       const std::string& shown) {
    const std::vector<WantedKey> keys = wanted_keys(section);
    std::string by_hand;
    for (const WantedKey& key : keys) by_hand += "\n  " + key.section + "." + line_of(key);
    const auto cannot = [&] {
        return fail(Errc::bad_config, shown +
                                          " is written such that these keys cannot be put into "
                                          "it; do it by hand, then join again:" +
                                          by_hand);
    };
    if (auto first = config::read_toml(text, shown); !first) return tl::unexpected(first.error());
    std::string now =
        text.empty() ? "# Made by `vflbus join`; docs/configuration.md has all keys.\n" : text;
    for (const WantedKey& key : keys) {
        const auto settings = config::read_toml(now, shown);
        if (!settings) return cannot();
        std::vector<std::string> lines = split(now, '\n');
        if (!lines.empty() && lines.back().empty()) lines.pop_back();
        if (!put(lines, key, *settings)) return cannot();
        now = text_of(lines);
    }
    if (!section.section.empty() && now.find("[" + section.section + "]") == std::string::npos)
        now += "\n[" + section.section + "]\n# data = \"table.csv\"   # this party's table\n" +
               "# id = \"customer_id\"     # its id column\n";
    const auto settings = config::read_toml(now, shown);
    if (!settings) return cannot();
    for (const WantedKey& key : keys) {
        const Setting* const there = find(*settings, key.section, key.name);
        if (there == nullptr || !says(there->value, key.values)) return cannot();
    }
    return now;
}

}  // namespace vflbus::cli
