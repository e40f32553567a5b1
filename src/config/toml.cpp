// The only translation unit that sees toml++.
// Its compiled library has the interface with exceptions only, so the parser is compiled here.
#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY 1
// It asserts what a file may well break ("[=]"), and with NDEBUG even promises it to the compiler;
// the checks behind those assertions give the right error.
#undef NDEBUG
#define TOML_ASSERT(expr) static_cast<void>(0)
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <algorithm>

#include "base/text.hpp"
#include "config/value.hpp"

namespace vflbus::config {
namespace {

Raw raw_of(const toml::node& node, int depth) {
    if (const auto* v = node.as_boolean()) return Raw{v->get()};
    if (const auto* v = node.as_integer()) return Raw{v->get()};
    if (const auto* v = node.as_floating_point()) return Raw{v->get()};
    if (const auto* v = node.as_string()) return Raw{v->get()};
    if (const auto* array = node.as_array()) {
        if (depth > 0) return Raw{Foreign{"an array in an array"}};
        std::vector<Raw> items;
        for (const toml::node& entry : *array) items.push_back(raw_of(entry, depth + 1));
        return Raw{std::move(items)};
    }
    return Raw{Foreign{node.is_table() ? "a table" : "a date or time"}};
}

class Walker {
  public:
    explicit Walker(const std::string& shown) : shown_(shown) {}

    std::vector<Setting> walk(const toml::table& root) {
        for (const auto& [key, node] : root) {
            const toml::table* const section = node.as_table();
            if (!section)
                add("", std::string(key.str()), node, key);
            else if (key.str() == "party")
                parties(*section);
            else
                open(std::string(key.str()), *section, key);
        }
        // toml++ keeps tables sorted by name; people read files from the top
        std::ranges::stable_sort(lines_, {}, &Line::number);
        std::vector<Setting> settings;
        settings.reserve(lines_.size());
        for (Line& line : lines_) settings.push_back(std::move(line.setting));
        return settings;
    }

  private:
    struct Line {
        std::uint32_t number;
        Setting setting;
    };

    void parties(const toml::table& all) {
        for (const auto& [key, node] : all) {
            if (const toml::table* const section = node.as_table())
                open("party." + std::string(key.str()), *section, key);
            else
                add("party", std::string(key.str()), node, key);
        }
    }

    void open(const std::string& name, const toml::table& section, const toml::key& at) {
        add(name, "", section, at);
        for (const auto& [key, node] : section) add(name, std::string(key.str()), node, key);
    }

    void add(const std::string& section, std::string name, const toml::node& node,
             const toml::key& key) {
        const std::uint32_t line = key.source().begin.line;
        lines_.push_back({line, Setting{section, std::move(name), raw_of(node, 0),
                                        shown_ + ":" + std::to_string(line)}});
    }

    std::string shown_;
    std::vector<Line> lines_;
};

/// toml++ destroys nested tables recursively: a key of many thousand dots would exhaust the stack.
std::size_t deeply_dotted_line(std::string_view text) {
    constexpr std::ptrdiff_t dots_max = 64;
    std::size_t number = 1;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        std::string_view line = trim(text.substr(0, end));
        if (!line.starts_with('#')) {
            if (!line.starts_with('[')) line = line.substr(0, line.find('='));
            if (std::ranges::count(line, '.') > dots_max && line.find_first_of("=\"'") == line.npos)
                return number;
        }
        if (end == text.npos) break;
        text.remove_prefix(end + 1);
        ++number;
    }
    return 0;
}

/// Where the string or comment that begins at `at` ends; `at` itself when none begins there. What
/// ends too early is a string up to the end of its line, or of the text.
std::size_t end_of_quoted(std::string_view text, std::size_t at) {
    const char mark = text[at];
    if (mark == '#') return std::min(text.find('\n', at), text.size());
    if (mark != '"' && mark != '\'') return at;
    const std::string_view rest = text.substr(at);
    const bool long_one = rest.size() >= 3 && rest[1] == mark && rest[2] == mark;
    for (std::size_t i = at + (long_one ? 3 : 1); i < text.size(); ++i) {
        if (text[i] == '\\' && mark == '"')
            ++i;
        else if (text[i] == '\n' && !long_one)
            return i;
        else if (long_one ? text.substr(i, 3) == std::string(3, mark) : text[i] == mark)
            return i + (long_one ? 3 : 1);
    }
    return text.size();
}

/// Letters beyond ASCII need quotes in TOML. toml++ 3.3 does not always say so: for some of them it
/// reaches what it has declared unreachable (is_non_ascii_horizontal_whitespace). 0: there is none,
/// else the number of the line.
std::size_t line_of_unquoted_letter(std::string_view text) {
    const std::size_t begin = text.starts_with("\xef\xbb\xbf") ? 3 : 0;
    for (std::size_t i = begin; i < text.size();) {
        if (static_cast<unsigned char>(text[i]) >= 0x80)
            return 1 + static_cast<std::size_t>(std::ranges::count(text.substr(0, i), '\n'));
        const std::size_t end = end_of_quoted(text, i);
        i = end == i ? i + 1 : end;
    }
    return 0;
}

}  // namespace

Result<std::vector<Setting>> read_toml(std::string_view text, const std::string& shown) {
    if (text.size() > file_bytes_max)
        return fail(Errc::bad_config, shown + ": is " + human_bytes(text.size()) +
                                          " long; a configuration has at most " +
                                          human_bytes(file_bytes_max));
    if (const std::size_t line = deeply_dotted_line(text))
        return fail(Errc::bad_config,
                    shown + ":" + std::to_string(line) + ": a key with more than 64 dots");
    if (const std::size_t line = line_of_unquoted_letter(text))
        return fail(Errc::bad_config, shown + ":" + std::to_string(line) +
                                          ": not valid TOML: a letter that is not ASCII outside of "
                                          "quotes; put the key or the value in quotes");
    const toml::parse_result parsed = toml::parse(text, std::string_view{});
    if (!parsed) {
        const toml::source_position at = parsed.error().source().begin;
        return fail(Errc::bad_config,
                    shown + ":" + std::to_string(at.line) + ":" + std::to_string(at.column) +
                        ": not valid TOML: " + std::string(parsed.error().description()));
    }
    return Walker(shown).walk(parsed.table());
}

}  // namespace vflbus::config
