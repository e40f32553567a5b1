#include "data/libsvm.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "data/columns.hpp"
#include "data/csv.hpp"
#include "data/number.hpp"
#include "data/place.hpp"
#include "data/typed_columns.hpp"

namespace vflbus::data {
namespace {

/// The next word of a row; empty at its end or where a comment begins.
std::string_view next_word(std::string_view& row) {
    const std::size_t begin = row.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos || row[begin] == '#') {
        row = {};
        return {};
    }
    std::size_t end = row.find_first_of(" \t\r#", begin);
    if (end == std::string_view::npos) end = row.size();
    const std::string_view word = row.substr(begin, end - begin);
    row.remove_prefix(end);
    return word;
}

struct SparseCell {
    std::uint32_t column = 0;
    double value = 0;
};

/// "7:1.25"; nothing when it is none.
std::optional<SparseCell> parse_cell(std::string_view word) {
    const std::size_t colon = word.find(':');
    if (colon == std::string_view::npos || colon == 0) return std::nullopt;
    SparseCell cell;
    const auto [end, error] = std::from_chars(word.data(), word.data() + colon, cell.column);
    if (error != std::errc{} || end != word.data() + colon) return std::nullopt;
    const auto value = parse_number(word.substr(colon + 1));
    if (!value) return std::nullopt;
    cell.value = *value;
    return cell;
}

/// All rows of a file, cell by cell.
struct SparseRows {
    std::vector<double> labels;
    std::vector<SparseCell> cells;      ///< row by row
    std::vector<std::uint64_t> begins;  ///< of each row in `cells`
    std::vector<std::uint64_t> lines;
    std::uint32_t first_column = 1;  ///< 0 when a cell says so
    std::uint32_t last_column = 0;
};

/// Reads rows; says what is wrong as the rest of a sentence about the line.
class RowReader {
  public:
    std::string add(std::string_view row, std::uint64_t line, SparseRows& rows) {
        const std::string_view label = next_word(row);
        if (label.empty()) return {};
        const auto value = parse_number(label);
        if (!value)
            return label.find(',') != std::string_view::npos
                       ? "several labels in one row cannot be read"
                       : "the row does not begin with a number, its label";
        rows.labels.push_back(*value);
        rows.begins.push_back(rows.cells.size());
        rows.lines.push_back(line);
        std::int64_t last = -1;
        for (std::string_view word = next_word(row); !word.empty(); word = next_word(row)) {
            if (word.starts_with("qid:")) continue;
            const auto cell = parse_cell(word);
            if (!cell) return "a cell is not of the form NUMBER:VALUE";
            if (cell->column > columns_max)
                return "a column number above " + std::to_string(columns_max);
            if (cell->column <= last) return "column numbers do not ascend";
            last = cell->column;
            rows.first_column = std::min(rows.first_column, cell->column);
            rows.last_column = std::max(rows.last_column, cell->column);
            rows.cells.push_back(*cell);
        }
        return {};
    }
};

class LibsvmSource final : public Source {
  public:
    LibsvmSource(const SourceOptions& options, std::string name)
        : options_(options), name_(std::move(name)) {}

    Result<> open(const TextInput& text) {
        RowReader reader;
        std::string row;
        std::uint64_t line = 1;
        const auto end_row = [&]() -> Result<> {
            const std::string wrong = reader.add(row, line, rows_);
            row.clear();
            if (wrong.empty()) return {};
            Place at = place();
            at.line = line;
            return tl::unexpected(fault(Errc::bad_data, at, ": " + wrong));
        };
        const auto ok =
            for_each_block(text.input, [&](const char* data, std::size_t count) -> Result<> {
                for (const char* p = data; p != data + count; ++p) {
                    if (*p != '\n') {
                        row += *p;
                        continue;
                    }
                    if (auto good = end_row(); !good) return good;
                    ++line;
                }
                return {};
            });
        if (!ok) return tl::unexpected(ok.error());
        if (auto good = end_row(); !good) return good;
        names_.emplace_back("label");
        for (std::uint32_t c = rows_.first_column; c <= rows_.last_column; ++c)
            names_.push_back(numbered_column(c));
        notes_.emplace_back("it is read as LIBSVM text: label, x1, x2, ...");
        return {};
    }

    const std::vector<std::string>& columns() const noexcept override { return names_; }
    bool is_counted(std::string_view column) const noexcept override {
        return column != names_.front();  // all but the label
    }
    const std::vector<std::string>& notes() const noexcept override { return notes_; }

  private:
    Place place() const override { return {options_.party, name_}; }

    Result<Table> do_read(const TableRequest& request, const ReadProgress&) override {
        TypedColumns typed;
        typed.rows = rows_.labels.size();
        typed.parts.push_back({name_, 0, 1});
        typed.lines = rows_.lines;
        for (const std::string& name : names_) typed.columns.emplace_back().name = name;
        const auto wanted = choose_columns(names_, request, place());
        for (std::size_t c = 0; c < names_.size(); ++c)
            if (!wanted || wanted->columns[c].use != Use::skip)
                typed.columns[c].numbers.assign(typed.rows, 0.0);
        if (auto& labels = typed.columns[0].numbers; !labels.empty())
            std::copy(rows_.labels.begin(), rows_.labels.end(), labels.begin());
        for (std::size_t row = 0; row < typed.rows; ++row) {
            const std::uint64_t end =
                row + 1 < typed.rows ? rows_.begins[row + 1] : rows_.cells.size();
            for (std::uint64_t i = rows_.begins[row]; i < end; ++i) {
                const SparseCell& cell = rows_.cells[i];
                auto& numbers = typed.columns[cell.column - rows_.first_column + 1].numbers;
                if (!numbers.empty()) numbers[row] = cell.value;
            }
        }
        auto table = make_table(options_, request, std::move(typed));
        if (table) table->notes.insert(table->notes.begin(), notes_.begin(), notes_.end());
        return table;
    }

    SourceOptions options_;
    std::string name_;
    SparseRows rows_;
    std::vector<std::string> names_;
    std::vector<std::string> notes_;
};

}  // namespace

bool is_libsvm(const TextInput& text) {
    const auto head = text.input.head(text.begin + sniff_bytes);
    if (!head) return false;
    std::string_view rest = std::string_view(*head).substr(text.begin);
    while (!rest.empty()) {
        const std::size_t end = rest.find('\n');
        std::string_view row = rest.substr(0, end);
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
        const std::string_view label = next_word(row);
        if (label.empty()) continue;
        if (!parse_number(label)) return false;
        std::string_view cell = next_word(row);
        if (cell.starts_with("qid:")) cell = next_word(row);
        return parse_cell(cell).has_value();
    }
    return false;
}

Result<std::unique_ptr<Source>> open_libsvm(const SourceOptions& options, std::string name,
                                            TextInput text) {
    auto source = std::make_unique<LibsvmSource>(options, std::move(name));
    if (auto ok = source->open(text); !ok) return tl::unexpected(std::move(ok.error()));
    return source;
}

}  // namespace vflbus::data
