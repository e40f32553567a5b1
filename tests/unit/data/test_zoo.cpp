// The zoo of files: tests/data/zoo/*.txt, each a file as people have them, and the table that must
// come out of it, or the sentence. The form of such a case is in tests/data/zoo/README.md.
//
// VFLBUS_ACCEPT=1 writes what came out into the cases; read the difference before you commit it.

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <sstream>

#include "base/text.hpp"
#include "data/column_rules.hpp"
#include "scratch.hpp"

using namespace vflbus;
using namespace vflbus::data;
namespace fs = std::filesystem;

namespace {

struct Case {
    std::string head;                              ///< all before the expectation, as it is
    std::multimap<std::string, std::string> keys;  ///< "label" -> "y"
    std::vector<std::pair<std::string, std::string>> files;  ///< name and content
    std::string expected;

    [[nodiscard]] std::string key(const std::string& name) const {
        const auto found = keys.find(name);
        return found == keys.end() ? "" : found->second;
    }
};

/// \n \r \t \0 \xHH \\ stand for one byte; a backslash at the end of a line joins it to the next.
std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\' || i + 1 == text.size()) {
            out += text[i];
            continue;
        }
        const char c = text[++i];
        if (c == 'n') out += '\n';
        if (c == 'r') out += '\r';
        if (c == 't') out += '\t';
        if (c == '0') out += '\0';
        if (c == '\\') out += '\\';
        if (c == 'x') {
            out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
            i += 2;
        }
    }
    return out;
}

Case parse_case(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::string line;
    Case parsed;
    enum { keys, content, expected } part = keys;
    std::string raw;
    const auto end_file = [&] {
        if (!parsed.files.empty()) parsed.files.back().second = unescaped(raw);
        raw.clear();
    };
    while (std::getline(in, line)) {
        if (line == "== expected") {
            end_file();
            part = expected;
            parsed.head += line + "\n";
            continue;
        }
        if (part == expected) {
            parsed.expected += line + "\n";
            continue;
        }
        parsed.head += line + "\n";
        if (line.starts_with("== file ")) {
            end_file();
            part = content;
            parsed.files.emplace_back(line.substr(8), "");
        } else if (part == content) {
            raw += line + "\n";
        } else if (!line.empty() && line[0] != '#') {
            const std::size_t colon = line.find(": ");
            parsed.keys.emplace(line.substr(0, colon), line.substr(colon + 2));
        }
    }
    return parsed;
}

std::string gzip(const std::string& text) {
    z_stream stream{};
    REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string out(text.size() + 256, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    out.resize(out.size() - stream.avail_out);
    deflateEnd(&stream);
    return out;
}

std::string zstd(const std::string& text) {
    std::string out(ZSTD_compressBound(text.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
    return out;
}

std::string utf16(const std::string& text, bool big) {
    std::string out;
    const auto unit = [&](unsigned code) {
        const char low = static_cast<char>(code & 0xff);
        const char high = static_cast<char>(code >> 8);
        out += big ? high : low;
        out += big ? low : high;
    };
    for (std::string_view rest = text; !rest.empty();) {
        const std::size_t length = utf8_character(rest);
        const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(rest[i]); };
        unsigned point = byte(0);
        if (length == 2) point = (byte(0) & 0x1fU) << 6 | (byte(1) & 0x3fU);
        if (length == 3)
            point = (byte(0) & 0x0fU) << 12 | (byte(1) & 0x3fU) << 6 | (byte(2) & 0x3fU);
        if (length == 4) {
            point = (byte(0) & 0x07U) << 18 | (byte(1) & 0x3fU) << 12 | (byte(2) & 0x3fU) << 6 |
                    (byte(3) & 0x3fU);
            unit(0xd800 + ((point - 0x10000) >> 10));
            point = 0xdc00 + (point & 0x3ff);
        }
        unit(point);
        rest.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return out;
}

/// What `as` says is done to a content: "gzip", "zstd", "utf-16le", "utf-16be", "half".
std::string transformed(std::string content, const std::string& as) {
    for (const std::string& step : split(as, ' ')) {
        if (step == "gzip") content = gzip(content);
        if (step == "gzip-twice") {
            const std::size_t half = content.size() / 2;
            content = gzip(content.substr(0, half)) + gzip(content.substr(half));
        }
        if (step == "zstd") content = zstd(content);
        if (step == "utf-16le") content = utf16(content, false);
        if (step == "utf-16be") content = utf16(content, true);
        if (step == "half") content.resize(content.size() / 2);
        if (step == "without-last-feed") content.pop_back();
    }
    return content;
}

ReadOptions options_of(const Case& of) {
    ReadOptions options;
    options.party = of.key("party");
    if (const std::string id = of.key("id"); !id.empty()) options.id = id;
    const auto list = [&](const char* key, std::vector<std::string>& out) {
        if (const std::string text = of.key(key); !text.empty()) out = split(text, ',');
    };
    list("label", options.labels);
    list("features", options.features);
    list("exclude", options.exclude);
    std::vector<std::string> rules;
    list("columns", rules);
    const auto parsed = parse_column_rules(rules);
    REQUIRE(parsed);
    options.columns = *parsed;
    const auto format = parse_text_format(of.key("encoding"), of.key("separator"),
                                          of.key("decimal"), of.key("thousands"));
    REQUIRE(format);
    options.format = *format;
    if (of.key("labels_as") == "classes") options.labels_as = LabelsAs::classes;
    if (of.key("labels_as") == "numbers") options.labels_as = LabelsAs::numbers;
    options.skip_missing_ids = of.key("missing_id") == "skip";
    options.skip_missing_labels = of.key("missing_label") == "skip";
    options.of_model = of.key("of_model") == "yes";
    std::vector<std::string> known;
    list("known", known);
    for (const std::string& one : known) {
        const auto words = split(one, ' ');
        options.known.push_back({words.at(0),
                                 words.at(1) == "number" ? ColumnKind::numeric : ColumnKind::text,
                                 words.size() > 2 ? parse_date_form(words[2]) : DateForm::none,
                                 {}});
        // what is no form of a date is a word that stands for a missing number
        if (words.size() > 2 && options.known.back().date == DateForm::none)
            options.known.back().missing_words = {words[2]};
    }
    return options;
}

std::string described(const Column& column) {
    std::string text = column.name;
    text += column.kind == ColumnKind::text ? " category" : " number";
    if (column.date != DateForm::none) text += " of dates " + std::string(name_of(column.date));
    return text;
}

std::string table_text(const Table& table) {
    std::vector<const Column*> columns;
    std::string text = "id";
    for (const Column& column : table.labels) {
        columns.push_back(&column);
        text += " | label " + described(column);
    }
    for (const Column& column : table.features) {
        columns.push_back(&column);
        text += " | " + described(column);
    }
    text += "\n";
    for (std::size_t row = 0; row < table.rows(); ++row) {
        text += std::string(table.ids[row]);
        for (const Column* column : columns) {
            const std::string cell = column->text(row);
            text += " | " + (column->is_missing(row) ? "-" : cell == "-" ? "'-'" : printable(cell));
        }
        const Place place = table.place_of(row);
        text += "    (" + fs::path(place.file).filename().string() + " " + std::string(place.unit) +
                " " + std::to_string(place.line) + ")\n";
    }
    for (const LeftOut& column : table.left_out)
        text += "left out: " + column.name + ": " + column.reason + "\n";
    if (table.rows_without_id > 0)
        text += "rows without an id: " + std::to_string(table.rows_without_id) + "\n";
    if (table.rows_without_label > 0)
        text += "rows without a label: " + std::to_string(table.rows_without_label) + "\n";
    for (const std::string& note : table.notes) text += "note: " + note + "\n";
    return text;
}

std::string without(std::string text, const std::string& directory) {
    for (std::size_t at; (at = text.find(directory + "/")) != std::string::npos;)
        text.erase(at, directory.size() + 1);
    return text;
}

std::string outcome_of(const Case& of) {
    const Scratch scratch;
    for (const auto& [name, content] : of.files)
        scratch.write(transformed(content, of.key("as")), name);
    ReadOptions options = options_of(of);
    const std::string read = of.key("read");
    options.location = (scratch.path / (read.empty() ? of.files.at(0).first : read)).string();
    const auto table = data::read(options);
    if (table) return without(table_text(*table), scratch.path.string());
    const Failure& failure = table.error();
    std::string text = "refused: " + failure.sentence + "\n";
    if (failure.for_others != failure.sentence) text += "others: " + failure.for_others + "\n";
    CHECK_FALSE(failure.for_others.empty());
    text = without(text, scratch.path.string());
    CHECK(printable(text).size() == text.size());
    return text;
}

}  // namespace

TEST_CASE("every file of the zoo becomes its table, or is refused with its sentence") {
    std::vector<fs::path> cases;
    for (const auto& entry : fs::directory_iterator(VFLBUS_ZOO))
        if (entry.path().extension() == ".txt") cases.push_back(entry.path());
    std::sort(cases.begin(), cases.end());
    CHECK(cases.size() >= 60);
    const char* const accept = std::getenv("VFLBUS_ACCEPT");
    for (const fs::path& path : cases) {
        INFO(path.filename().string());
        const Case parsed = parse_case(path);
        REQUIRE_FALSE(parsed.files.empty());
        const std::string outcome = outcome_of(parsed);
        if (accept != nullptr && std::string(accept) == "1")
            std::ofstream(path, std::ios::binary) << parsed.head << outcome;
        else
            CHECK(outcome == parsed.expected);
    }
}
