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

}  // namespace

Result<std::vector<Setting>> read_toml(std::string_view text, const std::string& shown) {
    if (text.size() > file_bytes_max)
        return fail(Errc::bad_config, shown + ": is " + human_bytes(text.size()) +
                                          " long; a configuration has at most " +
                                          human_bytes(file_bytes_max));
    if (const std::size_t line = deeply_dotted_line(text))
        return fail(Errc::bad_config,
                    shown + ":" + std::to_string(line) + ": a key with more than 64 dots");
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
