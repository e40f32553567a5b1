#include "data/csv_dialect.hpp"

#include <algorithm>
#include <string>

#include "base/text.hpp"
#include "data/csv_cells.hpp"
#include "data/number.hpp"
#include "data/number_style.hpp"

namespace vflbus::data {
namespace {

constexpr std::size_t sniff_rows = 1'000;

std::optional<char> separator_of(std::string_view word) {
    const std::pair<std::string_view, char> words[] = {
        {"tab", '\t'},  {"\\t", '\t'}, {"comma", ','}, {"semicolon", ';'},
        {"space", ' '}, {"pipe", '|'}, {"colon", ':'}};
    for (const auto& [name, sign] : words)
        if (word == name) return sign;
    constexpr std::string_view possible = ",;|\t :#~^!";
    if (word.size() == 1 && possible.find(word[0]) != std::string_view::npos) return word[0];
    return std::nullopt;
}

bool is_open(std::string_view word) {
    return word.empty() || word == "auto";
}

/// "';'", "tab"
std::string name_of_sign(char sign) {
    if (sign == '\t') return "tabs";
    if (sign == ' ') return "blanks";
    return std::string("'") + sign + "'";
}

}  // namespace

Result<TextFormat> parse_text_format(std::string_view encoding, std::string_view separator,
                                     std::string_view decimal, std::string_view thousands) {
    TextFormat format;
    auto known = parse_encoding(encoding);
    if (!known) return tl::unexpected(std::move(known.error()));
    format.encoding = *known;
    if (!is_open(separator)) {
        format.separator = separator_of(separator);
        if (!format.separator)
            return fail(Errc::bad_config,
                        "separator = \"" + printable(separator.substr(0, 20)) +
                            "\" is none: it is auto, \",\", \";\", \"|\", tab or space");
    }
    if (!is_open(decimal)) {
        if (decimal != "." && decimal != "," && decimal != "point" && decimal != "comma")
            return fail(Errc::bad_config, "decimal = \"" + printable(decimal.substr(0, 20)) +
                                              "\" is none: it is auto, \".\" or \",\"");
        format.decimal = decimal == "," || decimal == "comma" ? ',' : '.';
    }
    if (!is_open(thousands)) {
        const std::pair<std::string_view, char> words[] = {
            {"none", '\0'}, {"space", ' '}, {" ", ' '}, {",", ','}, {".", '.'}, {"'", '\''}};
        for (const auto& [name, sign] : words)
            if (thousands == name) format.thousands = sign;
        if (!format.thousands)
            return fail(Errc::bad_config,
                        "thousands = \"" + printable(thousands.substr(0, 20)) +
                            "\" is none: it is auto, none, \",\", \".\", \"'\" or space");
    }
    const char point = format.decimal.value_or('.');
    if (format.decimal && format.thousands == point)
        return fail(Errc::bad_config, "decimal and thousands are both \"" + std::string(1, point) +
                                          "\"; they must differ");
    if (format.decimal && format.separator == format.decimal)
        return fail(Errc::bad_config, "decimal and separator are both \"" + std::string(1, point) +
                                          "\"; they must differ");
    return format;
}

Dialect::Dialect(char between) : separator(between) {
    ends_cell[static_cast<unsigned char>(between)] = true;
    ends_cell['\n'] = ends_cell['"'] = true;
}

namespace {

/// The first rows of a text under one separator.
struct FirstRows {
    std::vector<std::vector<std::string>> cells;  ///< the header first
    bool sound = true;                            ///< no stray quotes

    [[nodiscard]] std::size_t columns() const noexcept {
        return cells.empty() ? 0 : cells.front().size();
    }
};

/// `text` ends with LF.
FirstRows split_rows(std::string_view text, const Dialect& dialect) {
    FirstRows rows;
    const char* p = text.data();
    const char* const end = p + text.size();
    std::string scratch;
    std::uint64_t line = 0;
    while (rows.cells.size() <= sniff_rows && skip_blank_lines(p, end, dialect, line)) {
        std::vector<std::string>& row = rows.cells.emplace_back();
        for (CellStop stop = CellStop::separator; stop == CellStop::separator;) {
            std::string_view cell;
            stop = read_cell(p, end, dialect, scratch, cell, line);
            rows.sound = stop == CellStop::separator || stop == CellStop::row;
            if (!rows.sound) {
                rows.cells.pop_back();
                return rows;
            }
            row.emplace_back(cell);
        }
    }
    return rows;
}

/// How many of the rows below the header have as many cells as it, where empty ones at the end do
/// not count; and how many have one more.
struct HeaderFit {
    std::size_t rows = 0;
    std::size_t same = 0;
    std::size_t one_more = 0;
};

HeaderFit fit_of(const FirstRows& rows) {
    HeaderFit fit;
    for (std::size_t r = 1; r < rows.cells.size(); ++r) {
        std::vector<std::string> cells = rows.cells[r];
        const std::size_t all = cells.size();
        while (cells.size() > rows.columns() && cells.back().empty()) cells.pop_back();
        ++fit.rows;
        fit.same += cells.size() == rows.columns();
        fit.one_more += all == rows.columns() + 1 && !cells.back().empty();
    }
    return fit;
}

struct Candidate {
    char separator = ',';
    FirstRows rows;
    HeaderFit fit;

    /// Nearly all rows have as many cells as the header, and these are two or more.
    [[nodiscard]] bool fits() const noexcept {
        const std::size_t good = std::max(fit.same, fit.one_more);
        return rows.columns() >= 2 && rows.sound && good * 10 >= fit.rows * 9;
    }
};

/// The candidate that fits with the most columns; of equal ones the comma, then the semicolon.
Candidate choose_separator(std::string_view text) {
    Candidate best;
    for (const char separator : {',', ';', '\t', '|'}) {
        Candidate candidate{separator, split_rows(text, Dialect(separator)), {}};
        candidate.fit = fit_of(candidate.rows);
        const bool better = candidate.fits() != best.fits()
                                ? candidate.fits()
                                : candidate.rows.columns() > best.rows.columns();
        if (better || separator == ',') best = std::move(candidate);
    }
    return best;
}

/// What the cells of one column say about the decimal mark.
struct DecimalTally {
    std::size_t cells = 0;
    std::size_t by_point = 0;  ///< numbers when '.' is the decimal mark
    std::size_t by_comma = 0;  ///< numbers when ',' is
    std::size_t only_comma = 0;
    std::size_t groups = 0;  ///< 1.234: a number both ways, in groups of three digits with '.'
    std::string group;       ///< the first of those cells
    std::size_t whole = 0;   ///< 850, without any mark
};

struct DecimalChoice {
    char mark = '.';
    std::string note;  ///< what was guessed
};

/// ',' when some column is numbers with a decimal comma, and none is with a decimal point.
///
/// What shows neither is what is written without fractions: 1.234 may be a thousand or one and a
/// bit. There the party's training table decides (`usual`). Without one: whoever separates cells by
/// ';' has the comma in numbers, so 1,234 is a fraction; and 850 beside 1.234 is one of thousands,
/// as fractions of three digits would be 850.000 and not so often whole.
DecimalChoice choose_decimal(const FirstRows& rows, char separator, char thousands,
                             std::optional<char> usual) {
    if (separator == ',') return {};
    bool comma = false;
    bool point = false;
    bool either = false;
    bool groups = false;
    std::string group;
    for (std::size_t c = 0; c < rows.columns(); ++c) {
        DecimalTally tally;
        for (std::size_t r = 1; r < rows.cells.size(); ++r) {
            if (c >= rows.cells[r].size() || is_missing_text(rows.cells[r][c]) ||
                is_no_number_text(rows.cells[r][c]))
                continue;
            const std::string& cell = rows.cells[r][c];
            ++tally.cells;
            const bool by_point =
                parse_styled(cell, {'.', thousands, false}) || grouping_of(cell, '.') != '\0';
            const bool by_comma =
                parse_styled(cell, {',', thousands, false}) || grouping_of(cell, ',') != '\0';
            tally.by_point += by_point;
            tally.by_comma += by_comma;
            tally.only_comma += by_comma && cell.find(',') != std::string::npos;
            tally.whole += by_point && by_comma && cell.find_first_of(".,") == std::string::npos;
            if (by_point && grouping_of(cell, ',') == '.' && ++tally.groups == 1)
                tally.group = cell;
        }
        const bool numbers_by_point = tally.by_point * 10 >= tally.cells * 9;
        const bool numbers_by_comma = tally.by_comma * 10 >= tally.cells * 9;
        if (tally.cells == 0 || tally.only_comma == 0) {
            point |= tally.cells > 0 && numbers_by_point && !numbers_by_comma;
            if (tally.groups == 0 || !numbers_by_point || !numbers_by_comma) continue;
            groups |= tally.whole > 0 && tally.groups + tally.whole == tally.cells;
            if (group.empty()) group = tally.group;
            continue;
        }
        comma |= numbers_by_comma && !numbers_by_point;
        point |= numbers_by_point && !numbers_by_comma;
        either |= numbers_by_comma && numbers_by_point;
    }
    const std::string comma_note = "numbers have a decimal comma (decimal)";
    if (comma || point) return comma && !point ? DecimalChoice{',', comma_note} : DecimalChoice{};
    if (usual == ',')
        return {',', "numbers have a decimal comma, as in the training table (decimal)"};
    const bool by_separator = !usual && separator == ';';
    if (either) return by_separator ? DecimalChoice{',', comma_note} : DecimalChoice{};
    if (group.empty()) return {};
    if (groups && by_separator) return {',', {}};  // that digits are in groups is told
    return {'.',
            "numbers such as " + group +
                " have a decimal point, and no digits in groups (decimal = \",\" reads them as "
                "thousands)"};
}

/// A first line such as "sep=;", which Excel writes and understands. Its separator, and its length.
std::optional<std::pair<char, std::size_t>> separator_line(std::string_view text) {
    if (!text.starts_with("sep=") && !text.starts_with("SEP=") && !text.starts_with("\"sep="))
        return std::nullopt;
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view line = text.substr(0, end);
    while (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.starts_with('"') && line.ends_with('"')) line = line.substr(1, line.size() - 2);
    const auto sign = separator_of(line.substr(4));
    if (!sign) return std::nullopt;
    return std::pair(*sign, end + 1);
}

/// The rows that are there as a whole, ended by LF.
std::string whole_rows(std::string_view text, bool all) {
    if (!all) {
        const std::size_t last = text.rfind('\n');
        if (last != std::string_view::npos) text = text.substr(0, last + 1);
    }
    std::string rows(text);
    if (rows.empty() || rows.back() != '\n') rows += '\n';
    return rows;
}

}  // namespace

std::size_t separator_line_bytes(std::string_view head) noexcept {
    const auto line = separator_line(head);
    return line ? line->second : 0;
}

Sniffed sniff(std::string_view head, bool all, const TextFormat& stated) {
    Sniffed sniffed;
    std::optional<char> separator = stated.separator;
    if (const auto line = separator_line(head)) {
        if (!separator) separator = line->first;
        head.remove_prefix(line->second);
    }
    const std::string text = whole_rows(head, all);
    Candidate chosen;
    if (separator) {
        chosen = {*separator, split_rows(text, Dialect(*separator)), {}};
        chosen.fit = fit_of(chosen.rows);
    } else {
        chosen = choose_separator(text);
        if (chosen.separator != ',')
            sniffed.notes.push_back("cells are separated by " + name_of_sign(chosen.separator) +
                                    " (separator)");
    }
    sniffed.dialect = Dialect(chosen.separator);
    if (stated.decimal) {
        sniffed.dialect.decimal = *stated.decimal;
    } else {
        DecimalChoice choice = choose_decimal(
            chosen.rows, chosen.separator, stated.thousands.value_or('\0'), stated.usual_decimal);
        sniffed.dialect.decimal = choice.mark;
        if (!choice.note.empty()) sniffed.notes.push_back(std::move(choice.note));
    }
    const HeaderFit& fit = chosen.fit;
    sniffed.row_names = fit.rows > 1 && fit.one_more == fit.rows && chosen.rows.columns() > 0;
    return sniffed;
}

}  // namespace vflbus::data
