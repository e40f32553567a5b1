#include "data/npy.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "data/columns.hpp"
#include "data/csv.hpp"
#include "data/csv_cells.hpp"
#include "data/place.hpp"
#include "data/text_codes.hpp"
#include "data/typed_columns.hpp"

namespace vflbus::data {
namespace {

constexpr std::string_view npy_magic = "\x93NUMPY";

/// The type of a cell: "<f8", "|S12".
struct CellType {
    char kind = 'f';  ///< f, i, u, b; S: bytes, U: code points
    std::size_t bytes = 8;
    bool big_endian = false;
};

struct NpyField {
    std::string name;
    CellType type;
    std::size_t offset = 0;  ///< in a record
};

struct NpyShape {
    std::vector<NpyField> fields;  ///< of a record; a matrix has one per column
    std::size_t rows = 0;
    std::size_t record_bytes = 0;
    bool counted = false;    ///< a matrix, whose columns have no names
    bool by_column = false;  ///< a matrix in Fortran's order
    std::uint64_t data_begin = 0;
};

std::optional<CellType> parse_type(std::string_view text) {
    if (text.size() < 3) return std::nullopt;
    CellType type;
    type.big_endian = text[0] == '>';
    type.kind = text[1];
    std::size_t size = 0;
    const auto [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), size);
    if (error != std::errc{} || end != text.data() + text.size() || size > 1u << 20)
        return std::nullopt;
    type.bytes = type.kind == 'U' ? size * 4 : size;
    switch (type.kind) {
        case 'f':
            if (size != 2 && size != 4 && size != 8) return std::nullopt;
            return type;
        case 'i':
        case 'u':
            if (size != 1 && size != 2 && size != 4 && size != 8) return std::nullopt;
            return type;
        case 'b':
            if (size != 1) return std::nullopt;
            return type;
        case 'S':
        case 'U':
            if (size == 0) return std::nullopt;
            return type;
        default:
            return std::nullopt;
    }
}

/// Reads the header, a literal of a Python dictionary with three keys.
class HeaderParser {
  public:
    explicit HeaderParser(std::string_view text) : rest_(text) {}

    /// What is wrong, as the rest of a sentence about the file; empty when all is well.
    std::string parse(NpyShape& shape) {
        if (!take('{')) return damaged;
        while (!take('}')) {
            const auto key = string();
            if (!key || !take(':')) return damaged;
            std::string wrong;
            if (*key == "descr")
                wrong = descr(shape);
            else if (*key == "fortran_order")
                shape.by_column = word() == "True";
            else if (*key == "shape")
                wrong = dimensions();
            else
                wrong = damaged;
            if (!wrong.empty()) return wrong;
            (void)take(',');
        }
        return settle(shape);
    }

  private:
    static constexpr const char* damaged = " has a damaged header of an npy file";

    void blanks() {
        const std::size_t at = rest_.find_first_not_of(" \t\r\n");
        rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at);
    }
    bool take(char c) {
        blanks();
        if (!rest_.starts_with(c)) return false;
        rest_.remove_prefix(1);
        return true;
    }
    std::optional<std::string> string() {
        blanks();
        if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) return std::nullopt;
        const std::size_t end = rest_.find(rest_[0], 1);
        if (end == std::string_view::npos) return std::nullopt;
        std::string text(rest_.substr(1, end - 1));
        rest_.remove_prefix(end + 1);
        return text;
    }
    std::string_view word() {
        blanks();
        const std::size_t end = rest_.find_first_of(", })");
        const std::string_view text = rest_.substr(0, end);
        rest_.remove_prefix(text.size());
        return text;
    }

    static std::string unusable(const std::string& type) {
        if (type.find('O') != std::string::npos)
            return " holds Python objects, which are not read; save numbers, or the table as CSV";
        return " has cells of type " + shown(type) +
               ", which are not read; there are numbers (f, i, u, b) and texts (S, U)";
    }

    std::string descr(NpyShape& shape) {
        if (!take('[')) {
            const auto text = string();
            if (!text) return damaged;
            const auto type = parse_type(*text);
            if (!type) return unusable(*text);
            shape.fields.push_back({"", *type, 0});
            structured_ = false;
            return {};
        }
        structured_ = true;
        while (!take(']')) {
            if (!take('(')) return damaged;
            const auto name = string();
            if (!name || !take(',')) return damaged;
            const auto text = string();
            if (!text) return damaged;
            const auto type = parse_type(*text);
            if (!type) return unusable(*text);
            if (!take(')')) return " has columns of several numbers each, which are not read";
            (void)take(',');
            shape.fields.push_back({*name, *type, shape.record_bytes});
            shape.record_bytes += type->bytes;
            if (shape.fields.size() > columns_max) return " has too many columns";
        }
        return {};
    }

    std::string dimensions() {
        if (!take('(')) return damaged;
        while (!take(')')) {
            const std::string_view text = word();
            std::size_t size = 0;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
            if (error != std::errc{} || end != text.data() + text.size()) return damaged;
            sizes_.push_back(size);
            (void)take(',');
        }
        return {};
    }

    std::string settle(NpyShape& shape) {
        if (shape.fields.empty()) return damaged;
        if (sizes_.empty() || sizes_.size() > (structured_ ? 1U : 2U))
            return " is no table: it has " + std::to_string(sizes_.size()) + " dimensions";
        shape.rows = sizes_[0];
        if (structured_) {
            shape.by_column = false;
            return {};
        }
        const std::size_t columns = sizes_.size() == 2 ? sizes_[1] : 1;
        if (columns > columns_max)
            return " has more than " + std::to_string(columns_max) + " columns";
        const CellType type = shape.fields[0].type;
        shape.fields.clear();
        for (std::size_t c = 0; c < columns; ++c)
            shape.fields.push_back({numbered_column(c + 1), type, c * type.bytes});
        shape.counted = true;
        shape.record_bytes = columns * type.bytes;
        return {};
    }

    std::string_view rest_;
    std::vector<std::size_t> sizes_;
    bool structured_ = false;
};

// -- cells ------------------------------------------------------------------------

/// The bits of a cell as a little-endian number.
std::uint64_t bits_of(const char* cell, const CellType& type) {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < type.bytes; ++i) {
        const std::size_t from = type.big_endian ? i : type.bytes - 1 - i;
        bits = bits << 8 | static_cast<unsigned char>(cell[from]);
    }
    return bits;
}

double half_float(std::uint64_t bits) {
    const auto exponent = static_cast<int>(bits >> 10 & 0x1f);
    const auto fraction = static_cast<double>(bits & 0x3ff);
    double value = 0;
    if (exponent == 0x1f)
        value = fraction == 0 ? std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::quiet_NaN();
    else if (exponent == 0)
        value = std::ldexp(fraction, -24);
    else
        value = std::ldexp(fraction + 1024, exponent - 25);
    return (bits >> 15 & 1) != 0 ? -value : value;
}

double number_of(const char* cell, const CellType& type) {
    const std::uint64_t bits = bits_of(cell, type);
    switch (type.kind) {
        case 'f':
            if (type.bytes == 2) return half_float(bits);
            if (type.bytes == 4)
                return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
            return std::bit_cast<double>(bits);
        case 'i': {
            const int unused = 64 - 8 * static_cast<int>(type.bytes);
            return static_cast<double>(static_cast<std::int64_t>(bits << unused) >> unused);
        }
        default:
            return static_cast<double>(bits);
    }
}

/// A text without the zeros that fill its cell; nothing when it is no UTF-8 or no code point.
std::optional<std::string> text_of(const char* cell, const CellType& type) {
    std::string text;
    if (type.kind == 'S') {
        text.assign(cell, type.bytes);
    } else {
        CellType unit = type;
        unit.bytes = 4;
        for (std::size_t at = 0; at < type.bytes; at += 4) {
            const std::uint64_t point = bits_of(cell + at, unit);
            if (point > 0x10ffff) return std::nullopt;
            append_utf8(text, static_cast<std::uint32_t>(point));
        }
    }
    text.erase(text.find_last_not_of('\0') + 1);
    for (std::string_view rest = text; !rest.empty();) {
        const std::size_t length = utf8_character(rest);
        if (length == 0) return std::nullopt;
        rest.remove_prefix(length);
    }
    return std::string(trim(text));
}

class NpySource final : public Source {
  public:
    NpySource(const SourceOptions& options, NamedInput input)
        : options_(options), name_(std::move(input.name)), input_(std::move(input.input)) {}

    Result<> open() {
        const auto head = input_.head(std::size_t{1} << 20);
        if (!head) return refuse(head.error().code, " " + head.error().sentence);
        const auto byte = [&](std::size_t i) {
            return i < head->size() ? static_cast<unsigned char>((*head)[i]) : 0U;
        };
        const bool long_header = byte(6) >= 2;
        const std::size_t prefix = long_header ? 12 : 10;
        const std::size_t length =
            byte(8) | byte(9) << 8 | (long_header ? byte(10) << 16 | byte(11) << 24 : 0U);
        if (prefix + length > head->size())
            return refuse(Errc::bad_data, " has a damaged header of an npy file");
        HeaderParser parser(std::string_view(*head).substr(prefix, length));
        if (const std::string wrong = parser.parse(shape_); !wrong.empty())
            return refuse(Errc::bad_data, wrong);
        shape_.data_begin = prefix + length;
        const std::uint64_t there = input_.size() - shape_.data_begin;
        if (shape_.record_bytes != 0 && shape_.rows > there / shape_.record_bytes)
            return refuse(Errc::bad_data, " is cut off: it is shorter than its header says");
        for (const NpyField& field : shape_.fields) names_.push_back(field.name);
        return {};
    }

    const std::vector<std::string>& columns() const noexcept override { return names_; }
    bool is_counted(std::string_view /*column*/) const noexcept override { return shape_.counted; }
    const std::vector<std::string>& notes() const noexcept override { return notes_; }

  private:
    Place place() const override { return {options_.party, name_}; }

    tl::unexpected<Failure> refuse(Errc code, std::string_view what) const {
        return tl::unexpected(fault(code, place(), what));
    }

    /// A column on its way into the table.
    struct Target {
        std::size_t field = 0;
        Column* column = nullptr;
        std::vector<std::string> texts;
    };

    Result<Table> do_read(const TableRequest& request, const ReadProgress&) override {
        const auto chosen = choose_columns(names_, request, place());
        TypedColumns typed;
        typed.rows = shape_.rows;
        typed.columns.resize(names_.size());
        std::vector<Target> targets;
        for (std::size_t c = 0; c < names_.size(); ++c) {
            Column& column = typed.columns[c];
            column.name = names_[c];
            if (chosen && chosen->columns[c].use == Use::skip) continue;
            targets.push_back({c, &column, {}});
            if (is_text(shape_.fields[c])) {
                column.kind = ColumnKind::text;
                targets.back().texts.resize(shape_.rows);
            } else {
                column.numbers.resize(shape_.rows);
            }
        }
        if (auto ok = read_cells(targets); !ok) return tl::unexpected(ok.error());
        for (const Target& target : targets)
            if (is_text(shape_.fields[target.field])) number_texts(target.texts, *target.column);
        return make_table(options_, request, std::move(typed));
    }

    static bool is_text(const NpyField& field) noexcept {
        return field.type.kind == 'S' || field.type.kind == 'U';
    }

    /// A matrix in Fortran's order lies column by column, everything else record by record.
    Result<> read_cells(std::vector<Target>& targets) const {
        if (!shape_.by_column)
            return read_records(shape_.data_begin, shape_.record_bytes, targets, false);
        for (Target& target : targets) {
            const std::size_t bytes = shape_.fields[target.field].type.bytes;
            const std::uint64_t begin = shape_.data_begin + target.field * shape_.rows * bytes;
            if (auto ok = read_records(begin, bytes, {&target, 1}, true); !ok) return ok;
        }
        return {};
    }

    /// Records of `step` bytes from `begin` on. `alone`: a record is one cell.
    Result<> read_records(std::uint64_t begin, std::size_t step, std::span<Target> targets,
                          bool alone) const {
        const std::size_t block_rows = std::max<std::size_t>(1, (std::size_t{1} << 20) / step);
        std::vector<char> block;
        for (std::size_t row = 0; row < shape_.rows; row += block_rows) {
            const std::size_t count = std::min(block_rows, shape_.rows - row);
            block.resize(count * step);
            if (auto ok = input_.read(begin + row * step, block.data(), block.size()); !ok)
                return refuse(ok.error().code, " " + ok.error().sentence);
            for (Target& target : targets) {
                const std::size_t offset = alone ? 0 : shape_.fields[target.field].offset;
                for (std::size_t i = 0; i < count; ++i)
                    if (auto ok = store(block.data() + i * step + offset, row + i, target); !ok)
                        return ok;
            }
        }
        return {};
    }

    Result<> store(const char* cell, std::size_t row, Target& target) const {
        const NpyField& field = shape_.fields[target.field];
        if (is_text(field)) {
            auto text = text_of(cell, field.type);
            if (!text)
                return tl::unexpected(at_cell(row, target.field, ": a text that is no UTF-8"));
            target.texts[row] = std::move(*text);
            return {};
        }
        double& number = target.column->numbers[row];
        number = number_of(cell, field.type);
        if (!std::isinf(number)) return {};
        return tl::unexpected(
            at_cell(row, target.field, ": an infinite number; a missing cell is NaN"));
    }

    Failure at_cell(std::size_t row, std::size_t c, std::string_view what) const {
        Place at = place();
        at.unit = "row";
        at.line = row + 1;
        at.column = names_[c];
        at.column_number = c + 1;
        return fault(Errc::bad_data, at, what);
    }

    static void number_texts(const std::vector<std::string>& texts, Column& column) {
        TextCodes codes;
        column.codes.resize(texts.size());
        for (std::size_t row = 0; row < texts.size(); ++row)
            column.codes[row] =
                is_missing_text(texts[row]) ? missing_code : codes.code_of(texts[row]);
        std::vector<std::uint32_t> new_codes;
        column.dictionary = codes.sorted(new_codes);
        for (std::uint32_t& code : column.codes)
            if (code != missing_code) code = new_codes[code];
    }

    SourceOptions options_;
    std::string name_;
    Input input_;
    NpyShape shape_;
    std::vector<std::string> names_;
    std::vector<std::string> notes_;
};

}  // namespace

bool is_npy(std::string_view head) noexcept {
    return head.starts_with(npy_magic);
}

Result<std::unique_ptr<Source>> open_npy(const SourceOptions& options, NamedInput input) {
    auto source = std::make_unique<NpySource>(options, std::move(input));
    if (auto ok = source->open(); !ok) return tl::unexpected(std::move(ok.error()));
    return source;
}

}  // namespace vflbus::data
