#include "apps/run_config.hpp"

#include <algorithm>
#include <charconv>

#include "base/text.hpp"

namespace vflbus::apps {
namespace {

constexpr std::string_view first_line = "vflbus-app 1\n";

bool is_name(std::string_view text) {
    if (text.empty() || text.size() > 128) return false;
    for (const char c : text)
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    return true;
}

std::string escaped(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '\n')
            out += "\\n";
        else if (c == '"' || c == '\\')
            (out += '\\') += c;
        else
            out += c;
    }
    return out + '"';
}

std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\' || i + 1 == text.size())
            out += text[i];
        else
            out += text[++i] == 'n' ? '\n' : text[i];
    }
    return out;
}

template <class T>
std::optional<T> number(std::string_view text) {
    T value{};
    const auto [at, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc{} || at != text.data() + text.size()) return {};
    return value;
}

app::Value value_of(std::string_view text) {
    if (text == "true") return true;
    if (text == "false") return false;
    if (const auto integer = number<std::int64_t>(text)) return *integer;
    if (const auto real = number<double>(text)) return *real;
    return std::string(text);
}

}  // namespace

std::string agreed_text(const app::Values& run_config) {
    std::string text(first_line);
    for (const auto& [name, value] : run_config) {
        text += name + " = ";
        if (const auto* b = std::get_if<bool>(&value))
            text += *b ? "true" : "false";
        else if (const auto* i = std::get_if<std::int64_t>(&value))
            text += std::to_string(*i);
        else if (const auto* d = std::get_if<double>(&value))
            text += shortest(*d);
        else if (const auto* s = std::get_if<std::string>(&value))
            text += escaped(*s);
        text += '\n';
    }
    return text;
}

std::optional<Result<app::Values>> run_config_of(std::string_view agreed) {
    if (!agreed.starts_with("vflbus-app ")) return {};
    if (!agreed.starts_with(first_line))
        return fail(Errc::unsupported_version,
                    "the run is one of apps of another version than this node's; use the same "
                    "version of vflbus at both");
    app::Values values;
    agreed.remove_prefix(first_line.size());
    while (!agreed.empty()) {
        const std::string_view line = agreed.substr(0, agreed.find('\n'));
        agreed.remove_prefix(std::min(agreed.size(), line.size() + 1));
        const std::size_t at = line.find(" = ");
        if (at == std::string_view::npos || !is_name(line.substr(0, at)))
            return fail(Errc::malformed_message,
                        "the run configuration of the app does not decode");
        const std::string_view text = line.substr(at + 3);
        const bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
        values[std::string(line.substr(0, at))] =
            quoted ? app::Value(unescaped(text.substr(1, text.size() - 2))) : value_of(text);
    }
    return values;
}

Result<app::Values> parse_values(const std::vector<std::string>& words, const std::string& flag) {
    app::Values values;
    for (const std::string& word : words) {
        const std::size_t at = word.find('=');
        const std::string name = word.substr(0, at);
        if (at == std::string::npos || !is_name(name))
            return fail(Errc::usage, flag + " " + word +
                                         ": it must be key=value, with a key of letters, digits, "
                                         "dot, dash and underscore");
        if (word.size() > 65'536)
            return fail(Errc::usage, flag + " " + name + ": the value is too long");
        values[name] = value_of(std::string_view(word).substr(at + 1));
    }
    return values;
}

}  // namespace vflbus::apps
