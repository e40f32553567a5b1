#include "config/value.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/location.hpp"
#include "base/text.hpp"

namespace vflbus::config {
namespace {

// -- UTF-8 ------------------------------------------------------------------------

/// Bytes of the well-formed UTF-8 character, no control character, at the front of `text`; 0 if
/// there is none.
std::size_t plain_character(std::string_view text) noexcept {
    if (text.empty()) return 0;
    const auto first = static_cast<unsigned char>(text[0]);
    return first < 0x20 || first == 0x7f ? 0 : utf8_character(text);
}

bool is_plain_text(std::string_view text) noexcept {
    while (!text.empty()) {
        const std::size_t length = plain_character(text);
        if (length == 0) return false;
        text.remove_prefix(length);
    }
    return true;
}

/// `text` in quotes for an error: shortened, control characters shown.
std::string shown(std::string_view text) {
    constexpr std::size_t longest = 80;
    if (text.size() <= longest) return quote(text);
    return quote(text.substr(0, longest)) + "... (" + std::to_string(text.size()) + " bytes)";
}

// -- literals ---------------------------------------------------------------------

class Reader {
  public:
    explicit Reader(std::string_view text) : text_(text) {}

    std::optional<Raw> whole() {
        auto value = item(true);
        skip();
        return value && at_ == text_.size() ? value : std::nullopt;
    }

  private:
    void skip() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
    }
    bool take(char c) {
        skip();
        if (at_ >= text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }

    std::optional<Raw> item(bool lists) {
        skip();
        if (at_ >= text_.size()) return std::nullopt;
        if (text_[at_] == '"') return string();
        if (text_[at_] == '[') return lists ? list() : std::nullopt;
        return scalar();
    }

    std::optional<Raw> list() {
        ++at_;
        std::vector<Raw> items;
        while (!take(']')) {
            auto next = item(false);
            if (!next || items.size() >= list_entries_max) return std::nullopt;
            items.push_back(*std::move(next));
            if (take(']')) break;
            if (!take(',')) return std::nullopt;
        }
        return Raw{std::move(items)};
    }

    std::optional<Raw> string() {
        std::string out;
        for (++at_; at_ < text_.size(); ++at_) {
            const char c = text_[at_];
            if (c == '"') {
                ++at_;
                return Raw{std::move(out)};
            }
            if (c != '\\') {
                out.push_back(c);
                continue;
            }
            if (++at_ >= text_.size() || !escape(out)) return std::nullopt;
        }
        return std::nullopt;
    }

    bool escape(std::string& out) {
        switch (text_[at_]) {
            case '"':
                out.push_back('"');
                return true;
            case '\\':
                out.push_back('\\');
                return true;
            case 'b':
                out.push_back('\b');
                return true;
            case 't':
                out.push_back('\t');
                return true;
            case 'n':
                out.push_back('\n');
                return true;
            case 'f':
                out.push_back('\f');
                return true;
            case 'r':
                out.push_back('\r');
                return true;
            case 'u':
                return code_point(4, out);
            case 'U':
                return code_point(8, out);
            default:
                return false;
        }
    }

    bool code_point(std::size_t digits, std::string& out) {
        if (at_ + digits >= text_.size()) return false;
        std::uint32_t point = 0;
        const char* begin = text_.data() + at_ + 1;
        const auto [end, error] = std::from_chars(begin, begin + digits, point, 16);
        if (error != std::errc{} || end != begin + digits || point > 0x10ffff ||
            (point >= 0xd800 && point < 0xe000))
            return false;
        append_utf8(out, point);
        at_ += digits;
        return true;
    }

    std::optional<Raw> scalar() {
        const std::size_t begin = at_;
        while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != ']' && text_[at_] != ' ' &&
               text_[at_] != '\t')
            ++at_;
        std::string_view word = text_.substr(begin, at_ - begin);
        if (word == "true") return Raw{true};
        if (word == "false") return Raw{false};
        if (word.starts_with('+') && !word.starts_with("+-")) word.remove_prefix(1);
        if (word.empty()) return std::nullopt;
        const char* const first = word.data();
        const char* const last = first + word.size();
        std::int64_t integer = 0;
        if (const auto r = std::from_chars(first, last, integer);
            r.ec == std::errc{} && r.ptr == last)
            return Raw{integer};
        double number = 0;
        if (const auto r = std::from_chars(first, last, number);
            r.ec == std::errc{} && r.ptr == last)
            return Raw{number};
        return std::nullopt;
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

std::vector<Raw> list_from_text(const Key& key, std::string_view text) {
    std::vector<Raw> items;
    if (trim(text).empty()) return items;
    for (const std::string& part : split(text, ',')) {
        const std::string_view word = trim(part);
        std::optional<Raw> number;
        if (key.type == Type::class_weights) number = parse_literal(word);
        items.push_back(number ? *std::move(number) : Raw{std::string(word)});
    }
    return items;
}

// -- naming values in errors --------------------------------------------------------

std::string described(const Raw& raw) {
    struct Visitor {
        std::string operator()(bool v) const { return v ? "true, a boolean" : "false, a boolean"; }
        std::string operator()(std::int64_t v) const { return std::to_string(v) + ", an integer"; }
        std::string operator()(double v) const { return shortest(v) + ", a float"; }
        std::string operator()(const std::string& v) const { return shown(v) + ", a string"; }
        std::string operator()(const std::vector<Raw>&) const { return "an array"; }
        std::string operator()(const Foreign& v) const { return v.what; }
    };
    return std::visit(Visitor{}, raw.value);
}

Field default_field(const Key& key, Config& config, PartyConfig& party) {
    return key.field(config, party);
}

std::string default_literal(const Key& key) {
    Config config;
    PartyConfig party;
    return literal(key, default_field(key, config, party));
}

std::string number_text(const Key& key, double value) {
    if (key.type == Type::integer) return std::to_string(static_cast<std::uint64_t>(value));
    return shortest(value);
}

/// " is 20.5, a float, but must be an integer from 1 to 9; write 20"
std::string wrong_type(const Key& key, const Raw& raw) {
    std::string problem = " is " + described(raw) + ", but must be " + allowed(key);
    std::optional<std::string> near;
    if (const auto* text = std::get_if<std::string>(&raw.value)) {
        Config config;
        PartyConfig party;
        const Field field = key.field(config, party);
        const auto value = parse_literal(trim(*text));
        if (value && !std::holds_alternative<std::string>(value->value) &&
            assign(key, *value, field, {}).empty())
            near = literal(key, field);
    } else if (const auto* number = std::get_if<double>(&raw.value);
               number && key.type == Type::integer && std::isfinite(*number)) {
        near = number_text(key, std::clamp(std::round(*number), key.min, key.max));
    } else if (key.type == Type::text || key.type == Type::path) {
        if (const auto* integer = std::get_if<std::int64_t>(&raw.value))
            near = quote(std::to_string(*integer));
        if (const auto* flag = std::get_if<bool>(&raw.value))
            near = *flag ? "\"true\"" : "\"false\"";
    } else if (const auto* integer = std::get_if<std::int64_t>(&raw.value);
               integer && key.type == Type::boolean) {
        near = *integer != 0 ? "true" : "false";
    }
    return problem + (near ? "; the nearest valid value is " + *near
                           : "; the default is " + default_literal(key));
}

std::string out_of_range(const Key& key, double value, const std::string& text) {
    std::string problem = " = " + text + " is impossible: it must be " + allowed(key);
    // 0 would mean "as it comes", which a key with such a default says by being left out
    if (value == 0 && !key.default_note.empty())
        return problem + "; left out, it is " + std::string(key.default_note);
    const bool low = !(value > key.min);
    if (std::isnan(value) || (low && key.above_min) || (!low && key.below_max))
        return problem + "; the default is " + default_literal(key);
    return problem + "; the nearest valid value is " + number_text(key, low ? key.min : key.max);
}

bool in_range(const Key& key, double value) {
    if (!std::isfinite(value)) return false;
    if (key.above_min ? value <= key.min : value < key.min) return false;
    return key.below_max ? value < key.max : value <= key.max;
}

std::string check_text(std::string_view text) {
    if (text.size() > text_bytes_max)
        return " is " + std::to_string(text.size()) + " bytes long; at most " +
               std::to_string(text_bytes_max) + " are allowed";
    if (!is_plain_text(text))
        return " = " + shown(text) + " is not plain UTF-8 text without control characters";
    return {};
}

/// An address of the bus, with the scheme that libzmq needs.
std::string check_address(std::string_view text) {
    const auto wrong = [&](const std::string& why) {
        return " = " + shown(text) + " is no address: " + why;
    };
    for (const std::string_view scheme : {"ipc://", "inproc://"})
        if (text.starts_with(scheme))
            return text.size() > scheme.size() ? std::string{}
                                               : wrong("a name must follow " + std::string(scheme));
    constexpr std::string_view tcp = "tcp://";
    if (!text.starts_with(tcp)) {
        const std::size_t slashes = text.find("://");
        if (slashes == std::string_view::npos)
            return wrong("it needs tcp://, ipc:// or inproc:// in front; the nearest is " +
                         shown("tcp://" + std::string(text)));
        return wrong("only tcp://, ipc:// and inproc:// are known; the nearest is " +
                     shown("tcp" + std::string(text.substr(slashes))));
    }
    const std::string_view rest = text.substr(tcp.size());
    const std::size_t colon = rest.rfind(':');
    std::uint32_t port = 0;
    if (colon == std::string_view::npos || colon == 0)
        return wrong("tcp needs a host and a port, as in \"tcp://127.0.0.1:7423\"");
    const std::string_view digits = rest.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc{} || end != digits.data() + digits.size() || port > 65535)
        return wrong("the port must be a number from 0 to 65535");
    return {};
}

// -- one assigner per type ------------------------------------------------------------

std::string assign_choice(const Key& key, const std::string& text, Field field) {
    for (std::size_t i = 0; i < key.choices.size(); ++i) {
        if (key.choices[i] != text) continue;
        if (auto* const byte = std::get_if<std::uint8_t*>(&field))
            **byte = static_cast<std::uint8_t>(i);
        else
            *std::get<std::string*>(field) = text;
        return {};
    }
    const std::vector<std::string> names(key.choices.begin(), key.choices.end());
    std::string near = nearest(text, names);
    return " = " + shown(text) + " is unknown: it must be " + allowed(key) + "; the " +
           (near.empty() ? "default is " + default_literal(key) : "nearest is " + quote(near));
}

std::string assign_text(const Key& key, std::string text, Field field,
                        const std::filesystem::path& base) {
    if (std::string problem = check_text(text); !problem.empty()) return problem;
    if (key.type == Type::choice) return assign_choice(key, text, field);
    if (key.name == "broker")
        if (std::string problem = check_address(text); !problem.empty()) return problem;
    if (const std::string_view path = path_within(text);
        key.type == Type::path && !path.empty() && !base.empty())
        text = with_path(text, (base / path).lexically_normal().string());
    *std::get<std::string*>(field) = std::move(text);
    return {};
}

/// What is wrong with "PATTERN=KIND" of party.<name>.columns.
std::string check_column_rule(const Key& key, const std::string& rule) {
    const std::vector<std::string> kinds(key.choices.begin(), key.choices.end());
    const std::size_t equals = rule.rfind('=');
    if (equals == std::string::npos)
        return " says no kind for " + shown(rule) + ": write " + quote(rule + "=category") +
               ", or another of " + join_and(kinds);
    if (trim(std::string_view(rule).substr(0, equals)).empty())
        return " names no column in " + shown(rule);
    const std::string kind(trim(std::string_view(rule).substr(equals + 1)));
    if (std::ranges::find(kinds, kind) != kinds.end()) return {};
    const std::string near = nearest(kind, kinds);
    return " makes " + shown(rule.substr(0, equals)) + " a " + shown(kind) +
           ", which is no kind: it must be one of " + join_and(kinds) +
           (near.empty() ? "" : "; the nearest is " + quote(near));
}

std::string assign_texts(const Key& key, const Raw& raw, Field field) {
    std::vector<std::string> items;
    if (const auto* text = std::get_if<std::string>(&raw.value)) {
        if (!text->empty()) items.push_back(*text);
    } else if (const auto* list = std::get_if<std::vector<Raw>>(&raw.value)) {
        for (const Raw& entry : *list) {
            const auto* text_entry = std::get_if<std::string>(&entry.value);
            if (!text_entry)
                return " has an entry that is " + described(entry) + ", but must be " +
                       allowed(key);
            items.push_back(*text_entry);
        }
    } else {
        return wrong_type(key, raw);
    }
    if (items.size() > list_entries_max)
        return " has " + std::to_string(items.size()) + " entries; at most " +
               std::to_string(list_entries_max) + " are allowed";
    std::set<std::string_view> seen;
    for (const std::string& item : items) {
        if (item.empty()) return " has an empty entry; name a column or leave it out";
        if (std::string problem = check_text(item); !problem.empty()) return problem;
        if (key.name == "bind")
            if (std::string problem = check_address(item); !problem.empty()) return problem;
        if (key.name == "columns")
            if (std::string problem = check_column_rule(key, item); !problem.empty())
                return problem;
        if (!seen.insert(item).second) return " names " + shown(item) + " twice; name it once";
    }
    *std::get<std::vector<std::string>*>(field) = std::move(items);
    return {};
}

std::string assign_weights(const Key& key, const Raw& raw, Field field) {
    ClassWeights weights;
    if (const auto* text = std::get_if<std::string>(&raw.value)) {
        if (*text == "balanced") {
            weights.rule = ClassWeights::Rule::balanced;
        } else if (*text != "none") {
            const std::vector<std::string> names{"none", "balanced"};
            const std::string near = nearest(*text, names);
            return " = " + shown(*text) + " is unknown: it must be " + allowed(key) + "; the " +
                   (near.empty() ? "default is \"none\"" : "nearest is " + quote(near));
        }
    } else if (const auto* list = std::get_if<std::vector<Raw>>(&raw.value)) {
        weights.rule = ClassWeights::Rule::numbers;
        if (list->size() < 2 || list->size() > classes_max)
            return " has " + std::to_string(list->size()) +
                   " numbers, but needs one per class, from 2 to " + std::to_string(classes_max) +
                   "; the default is \"none\"";
        for (const Raw& entry : *list) {
            double number = 0;
            if (const auto* integer = std::get_if<std::int64_t>(&entry.value))
                number = static_cast<double>(*integer);
            else if (const auto* real = std::get_if<double>(&entry.value))
                number = *real;
            else
                return " has an entry that is " + described(entry) + ", but must be " +
                       allowed(key);
            if (!(number > 0) || !(number <= 1e9))
                return " has the entry " + shortest(number) + ", but must be " + allowed(key) +
                       "; a weight of 1 changes nothing";
            weights.numbers.push_back(number);
        }
    } else {
        return wrong_type(key, raw);
    }
    *std::get<ClassWeights*>(field) = std::move(weights);
    return {};
}

}  // namespace

// -- text -> value ------------------------------------------------------------------

std::optional<Raw> parse_literal(std::string_view text) {
    return Reader(text).whole();
}

Raw raw_from_text(const Key& key, std::string_view text) {
    const std::string_view word = trim(text);
    const bool list = key.type == Type::texts || key.type == Type::class_weights;
    if (list ? word.starts_with('[') || word.starts_with('"') : word.starts_with('"'))
        if (auto value = parse_literal(word)) return *std::move(value);
    switch (key.type) {
        case Type::text:
        case Type::path:
        case Type::choice:
            return Raw{std::string(text)};
        case Type::class_weights:
            if (word.find(',') == std::string_view::npos) return Raw{std::string(word)};
            return Raw{list_from_text(key, word)};
        case Type::texts:
            return Raw{list_from_text(key, word)};
        default:
            break;
    }
    if (auto value = parse_literal(word)) return *std::move(value);
    return Raw{std::string(text)};
}

// -- value -> field -----------------------------------------------------------------

std::string assign(const Key& key, const Raw& raw, Field field, const std::filesystem::path& base) {
    switch (key.type) {
        case Type::boolean:
            if (const auto* flag = std::get_if<bool>(&raw.value)) {
                *std::get<bool*>(field) = *flag;
                return {};
            }
            return wrong_type(key, raw);
        case Type::integer:
            if (const auto* integer = std::get_if<std::int64_t>(&raw.value)) {
                const auto value = static_cast<double>(*integer);
                if (*integer < 0 || !in_range(key, value))
                    return out_of_range(key, value, std::to_string(*integer));
                *std::get<std::uint64_t*>(field) = static_cast<std::uint64_t>(*integer);
                return {};
            }
            return wrong_type(key, raw);
        case Type::number: {
            double value = 0;
            if (const auto* integer = std::get_if<std::int64_t>(&raw.value))
                value = static_cast<double>(*integer);
            else if (const auto* real = std::get_if<double>(&raw.value))
                value = *real;
            else
                return wrong_type(key, raw);
            if (!in_range(key, value)) return out_of_range(key, value, shortest(value));
            *std::get<double*>(field) = value == 0 ? 0 : value;  // no minus zero
            return {};
        }
        case Type::text:
        case Type::path:
        case Type::choice:
            if (const auto* text = std::get_if<std::string>(&raw.value))
                return assign_text(key, *text, field, base);
            return wrong_type(key, raw);
        case Type::texts:
            return assign_texts(key, raw, field);
        case Type::class_weights:
            return assign_weights(key, raw, field);
    }
    return wrong_type(key, raw);
}

// -- field -> text ------------------------------------------------------------------

std::string quote(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        switch (c) {
            case '"':
                out += "\\\"";
                break;
            case '\\':
                out += "\\\\";
                break;
            case '\b':
                out += "\\b";
                break;
            case '\t':
                out += "\\t";
                break;
            case '\n':
                out += "\\n";
                break;
            case '\f':
                out += "\\f";
                break;
            case '\r':
                out += "\\r";
                break;
            default:
                if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
                    constexpr char digits[] = "0123456789abcdef";
                    const auto byte = static_cast<unsigned char>(c);
                    out += "\\u00";
                    out += digits[byte >> 4];
                    out += digits[byte & 15];
                } else {
                    out += c;
                }
        }
    }
    return out + '"';
}

std::string literal(const Key& key, Field field) {
    struct Visitor {
        const Key& key;
        std::string operator()(const bool* v) const { return *v ? "true" : "false"; }
        std::string operator()(const std::uint64_t* v) const { return std::to_string(*v); }
        std::string operator()(const double* v) const { return shortest(*v); }
        std::string operator()(const std::string* v) const { return quote(*v); }
        std::string operator()(const std::uint8_t* v) const {
            return quote(*v < key.choices.size() ? key.choices[*v] : "?");
        }
        std::string operator()(const std::vector<std::string>* v) const {
            std::string out = "[";
            for (const std::string& item : *v) out += (out.size() > 1 ? ", " : "") + quote(item);
            return out + "]";
        }
        std::string operator()(const ClassWeights* v) const {
            if (v->rule == ClassWeights::Rule::none) return "\"none\"";
            if (v->rule == ClassWeights::Rule::balanced) return "\"balanced\"";
            std::string out = "[";
            for (const double number : v->numbers)
                out += (out.size() > 1 ? ", " : "") + shortest(number);
            return out + "]";
        }
    };
    return std::visit(Visitor{key}, field);
}

bool equal(Field a, Field b) {
    return std::visit(
        [](auto* x, auto* y) {
            if constexpr (std::is_same_v<decltype(x), decltype(y)>)
                return *x == *y;
            else
                return false;
        },
        a, b);
}

std::string allowed(const Key& key) {
    const auto range = [&key](std::string kind) {
        const std::string low = number_text(key, key.min);
        const std::string high = number_text(key, key.max);
        if (!key.above_min && !key.below_max) return kind + " from " + low + " to " + high;
        return kind + (key.above_min ? " above " : " of at least ") + low + " and " +
               (key.below_max ? "below " : "at most ") + high;
    };
    switch (key.type) {
        case Type::boolean:
            return "true or false";
        case Type::integer:
            return range("an integer");
        case Type::number:
            return range("a number");
        case Type::text:
            return "a string";
        case Type::path:
            return "a string, a path";
        case Type::texts:
            return "a string or an array of strings";
        case Type::class_weights:
            return "\"none\", \"balanced\" or an array of positive numbers of at most 1e9, one per "
                   "class";
        case Type::choice:
            break;
    }
    std::vector<std::string> names;
    for (const std::string_view choice : key.choices) names.push_back(quote(choice));
    return names.size() == 1 ? names[0] : "one of " + join_and(names);
}

std::string full_name(const Key& key) {
    return std::string(key.section) + "." + std::string(key.name);
}

// -- problems -----------------------------------------------------------------------

std::string printable(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::size_t length = plain_character(text);
        if (length == 0 && text[0] != '\n')
            out += '?';
        else
            out += text.substr(0, std::max<std::size_t>(length, 1));
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return out;
}

std::string at(const Config& config, std::initializer_list<std::string_view> keys) {
    for (const std::string_view key : keys)
        if (config.stated(key)) return config.origin_of(key) + ": ";
    return config.file.empty() ? "" : config.file + ": ";
}

void Problems::add(std::string problem) {
    constexpr std::size_t told_max = 5;
    constexpr std::size_t line_bytes_max = 2000;
    if (problem.size() > line_bytes_max) problem = problem.substr(0, line_bytes_max) + "...";
    if (count_++ < told_max) lines_.push_back(printable(problem));
}

Failure Problems::failure() const {
    Failure failure{Errc::bad_config, {}};
    for (const std::string& line : lines_) {
        if (!failure.sentence.empty()) failure.sentence += '\n';
        failure.sentence += line;
    }
    if (count_ > lines_.size())
        failure.sentence += "\n(and " + std::to_string(count_ - lines_.size()) + " more)";
    return failure;
}

std::optional<std::uint64_t> member_rank(std::string_view party) {
    constexpr std::string_view prefix = "member-";
    if (!party.starts_with(prefix)) return std::nullopt;
    const std::string_view digits = party.substr(prefix.size());
    if (digits.empty() || digits.size() > 4 || (digits.size() > 1 && digits[0] == '0'))
        return std::nullopt;
    std::uint64_t rank = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
    if (error != std::errc{} || end != digits.data() + digits.size() || rank >= world_size_max)
        return std::nullopt;
    return rank;
}

}  // namespace vflbus::config
