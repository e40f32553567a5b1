#include "data/csv_schema.hpp"

#include <algorithm>
#include <unordered_map>

#include "base/text.hpp"
#include "data/csv_cells.hpp"

namespace vflbus::data {

std::string where(const CsvOptions& options) {
    return options.party.empty() ? options.path : options.party + ": " + options.path;
}

std::string where(const CsvOptions& options, std::uint64_t line) {
    return where(options) + ", line " + std::to_string(line);
}

std::string where(const CsvOptions& options, std::uint64_t line, std::string_view column) {
    return where(options, line) + ", column " + shown(column);
}

std::string shown(std::string_view cell) {
    constexpr std::size_t shown_max = 40;
    std::string text = "'";
    for (const char c : cell.substr(0, shown_max))
        text.push_back(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c);
    // no half of a UTF-8 sequence at the cut
    if (cell.size() > shown_max) {
        while (text.size() > 1 && (static_cast<unsigned char>(text.back()) & 0xc0) == 0x80)
            text.pop_back();
        if (text.size() > 1 && static_cast<unsigned char>(text.back()) >= 0xc0) text.pop_back();
        text += "...";
    }
    return text + "'";
}

Result<std::vector<std::string>> parse_header(const InputFile& file, const CsvLayout& layout,
                                              const CsvOptions& options) {
    std::string buffer(layout.header.end - layout.header.begin, '\0');
    if (auto ok = file.read(layout.header.begin, buffer.data(), buffer.size()); !ok)
        return tl::unexpected(ok.error());
    if (buffer.empty() || buffer.back() != '\n') buffer.push_back('\n');
    const char* p = buffer.data();
    const char* const end = p + buffer.size();
    std::uint64_t line = layout.header.first_line;
    skip_blank_lines(p, end, line);
    const std::uint64_t header_line = line;
    std::vector<std::string> names;
    std::string scratch;
    for (CellStop stop = CellStop::comma; stop == CellStop::comma;) {
        std::string_view text;
        stop = read_cell(p, end, scratch, text, line);
        if (stop != CellStop::comma && stop != CellStop::row)
            return fail(Errc::bad_data, where(options, header_line) +
                                            ": the header has a quote inside a name; put the whole "
                                            "name in quotes and double those inside");
        if (names.size() == columns_max)
            return fail(Errc::bad_data, where(options, header_line) + ": more than " +
                                            std::to_string(columns_max) + " columns");
        names.emplace_back(text);
    }
    return names;
}

namespace {

/// "there is no column 'agee' (id_column); did you mean 'age'?"
std::string no_such_column(std::string_view wanted, std::string_view role,
                           const std::vector<std::string>& names) {
    std::string sentence = "there is no column " + shown(wanted) + " for " + std::string(role);
    if (const std::string near = nearest(wanted, names); !near.empty())
        return sentence + "; did you mean " + shown(near) + "?";
    sentence += "; the file has ";
    constexpr std::size_t named_max = 8;
    std::vector<std::string> some;
    for (const std::string& name : names) {
        if (some.size() == named_max) break;
        some.push_back(shown(name));
    }
    if (names.size() > named_max) {
        some.push_back(std::to_string(names.size() - named_max) + " more");
    }
    return sentence + join_and(some);
}

}  // namespace

Result<CsvSchema> choose_columns(const std::vector<std::string>& names, const CsvOptions& options,
                                 std::uint64_t header_line) {
    const auto refuse = [&](const std::string& what) {
        return fail(Errc::bad_data, where(options, header_line) + ": " + what);
    };
    CsvSchema schema;
    std::unordered_map<std::string_view, std::size_t> index;
    for (std::size_t i = 0; i < names.size(); ++i) {
        schema.columns.push_back({names[i]});
        if (names[i].empty()) {
            schema.left_out.push_back(
                {"column " + std::to_string(i + 1), "it has no name in the header"});
        } else if (const auto [found, fresh] = index.emplace(names[i], i); !fresh) {
            return refuse("columns " + std::to_string(found->second + 1) + " and " +
                          std::to_string(i + 1) + " are both named " + shown(names[i]) +
                          "; rename one");
        }
    }
    // what each column was asked to be
    std::vector<std::string_view> role(names.size());
    const auto claim = [&](const std::string& name, std::string_view as) -> Result<std::size_t> {
        const auto found = index.find(name);
        if (found == index.end()) return refuse(no_such_column(name, as, names));
        std::string_view& taken = role[found->second];
        if (taken == as)
            return refuse("column " + shown(name) + " is listed twice as " + std::string(as));
        if (!taken.empty())
            return refuse("column " + shown(name) + " cannot be both " + std::string(taken) +
                          " and " + std::string(as));
        taken = as;
        return found->second;
    };
    const auto id = claim(options.id_column, "the id");
    if (!id) return tl::unexpected(id.error());
    schema.columns[*id].use = Use::id;
    for (const std::string& name : options.labels) {
        const auto column = claim(name, "a label");
        if (!column) return tl::unexpected(column.error());
        schema.columns[*column].use = Use::value;
    }
    for (const std::string& name : options.features) {
        const auto column = claim(name, "a feature");
        if (!column) return tl::unexpected(column.error());
        schema.columns[*column].use = Use::value;
    }
    for (const std::string& name : options.exclude) {
        const auto column = claim(name, "excluded");
        if (!column) return tl::unexpected(column.error());
    }
    if (options.features.empty())
        for (std::size_t i = 0; i < names.size(); ++i)
            if (role[i].empty() && !names[i].empty()) schema.columns[i].use = Use::value;
    return schema;
}

}  // namespace vflbus::data
