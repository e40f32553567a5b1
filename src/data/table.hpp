#pragma once
// One party's table: text ids, label columns, feature columns. Numbers lie column by column.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/errc.hpp"
#include "data/dates.hpp"
#include "data/image.hpp"
#include "data/place.hpp"
#include "data/prepare_rules.hpp"

namespace vflbus::data {

/// Leaves numbers uninitialized on resize: every cell is written once, by the thread that parsed
/// it.
template <class T>
struct DefaultInitAllocator : std::allocator<T> {
    template <class U>
    struct rebind {
        using other = DefaultInitAllocator<U>;
    };
    DefaultInitAllocator() = default;
    template <class U>
    DefaultInitAllocator(const DefaultInitAllocator<U>&) noexcept {}
    template <class U>
    void construct(U* where) noexcept(std::is_nothrow_default_constructible_v<U>) {
        ::new (static_cast<void*>(where)) U;
    }
    template <class U, class... Args>
    void construct(U* where, Args&&... args) {
        ::new (static_cast<void*>(where)) U(std::forward<Args>(args)...);
    }
};
template <class T>
using Buffer = std::vector<T, DefaultInitAllocator<T>>;

/// The code of a missing cell in a text column; in a numeric column it is NaN.
inline constexpr std::uint32_t missing_code = std::numeric_limits<std::uint32_t>::max();
/// In a list of table rows: a record of which the party has no row (Join::left).
inline constexpr std::uint32_t absent_row = std::numeric_limits<std::uint32_t>::max();

/// Record ids as text, in file order: one arena of characters and offsets into it.
class Ids {
  public:
    [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }
    [[nodiscard]] bool empty() const noexcept { return ends_.empty(); }
    [[nodiscard]] std::string_view operator[](std::size_t row) const noexcept {
        const std::uint64_t begin = row == 0 ? 0 : ends_[row - 1];
        return std::string_view(arena_).substr(begin, ends_[row] - begin);
    }
    [[nodiscard]] std::size_t characters() const noexcept { return arena_.size(); }
    void reserve(std::size_t rows, std::size_t characters);
    void push_back(std::string_view id);
    /// Appends all of `other` and frees it.
    void append(Ids&& other);

  private:
    std::string arena_;
    std::vector<std::uint64_t> ends_;
};

enum class ColumnKind : std::uint8_t { numeric, text };

/// How the cells of a column are read. A model keeps it: the same column of another file may look
/// different when few rows of it are there (codes 01 and 02 of 01, 02 and A1), and is read as the
/// model knows it.
struct KnownColumn {
    std::string name;
    ColumnKind kind = ColumnKind::numeric;
    DateForm date = DateForm::none;  ///< numeric: the numbers are days of dates in this form
    std::vector<std::string> missing_words = {};  ///< numeric: see Column::missing_words
    char decimal = '.';                           ///< numeric: see Column::decimal
    friend bool operator==(const KnownColumn&, const KnownColumn&) = default;
};

struct Column {
    std::string name;
    ColumnKind kind = ColumnKind::numeric;
    Buffer<double> numbers;       ///< numeric: one per row, NaN where missing, else finite
    Buffer<std::uint32_t> codes;  ///< text: one per row, index into dictionary or missing_code
    std::vector<std::string> dictionary = {};  ///< text: the distinct values, sorted bytewise
    DateForm date = DateForm::none;            ///< numeric: days of dates in this form
    /// numeric: what stands in many cells instead of a number, such as T for a trace of rain; such
    /// cells are missing.
    std::vector<std::string> missing_words = {};
    /// numeric: the decimal mark of its cells. Another table of the party that does not show its
    /// own, as where all amounts are whole (1.234), is read by it.
    char decimal = '.';

    [[nodiscard]] bool is_missing(std::size_t row) const noexcept;
    /// The cell as text: shortest form of a number, the value of a text, "" where missing.
    [[nodiscard]] std::string text(std::size_t row) const;
};

/// Why a column is not used. The numbers go over the wire: other parties are told them, and how
/// many columns each is about, but no name.
enum class LeftOutKind : std::uint8_t {
    unnamed = 0,      ///< it has no name, or one that pandas gave it
    declared = 1,     ///< as an id or as free text
    all_missing = 2,  ///< on the training rows
    constant = 3,     ///< on the training rows
    texts = 4,        ///< more different ones than data.one_hot_max
    scale = 5,        ///< its numbers are too large or too close to each other
};
inline constexpr std::size_t left_out_kinds = 6;
/// "constant on the training rows"
std::string_view describe(LeftOutKind kind) noexcept;

/// A column that is not used, and why ("more than 10000 different texts").
struct LeftOut {
    std::string name;
    std::string reason;
    LeftOutKind kind = LeftOutKind::declared;
};

/// One of the files that a table was read from: its rows follow those of the one before.
struct TablePart {
    std::string file;              ///< as it is named in sentences
    std::uint64_t first_row = 0;   ///< of the table
    std::uint64_t first_line = 2;  ///< of the file, where `first_row` is
};

struct Table {
    std::string path;   ///< where it came from, for sentences
    std::string party;  ///< whose it is, for sentences
    Ids ids;
    std::vector<Column> labels;        ///< in the order asked for
    std::vector<Column> features;      ///< in the order of the source
    std::optional<Column> weights;     ///< numeric: what the loss of each row is multiplied by
    std::optional<Column> exposure;    ///< numeric: how long, or how much, each row was watched
    std::vector<PrepareRule> prepare;  ///< how the party wants its columns to become numbers
    /// What the party says its features are pixels of; a picture without pixels where it says that
    /// they are none.
    std::optional<ImageShape> image;
    std::vector<LeftOut> left_out;
    std::vector<std::string> notes;  ///< what was guessed on the way, and by which key it is stated
    std::uint64_t rows_without_id = 0;     ///< that were skipped
    std::uint64_t rows_without_label = 0;  ///< that were skipped
    std::vector<TablePart> parts;  ///< by first_row; empty for a table that was made in memory
    /// The line of each row in its file; empty when the rows of a part are on lines that follow
    /// one another.
    std::vector<std::uint64_t> lines;

    [[nodiscard]] std::size_t rows() const noexcept { return ids.size(); }
    /// The table as a whole, for the beginning of a sentence.
    [[nodiscard]] Place place() const { return {party, path}; }
    /// The file and line (1 = the first) on which a row begins.
    [[nodiscard]] Place place_of(std::size_t row) const;
    [[nodiscard]] const Column* find_feature(std::string_view name) const noexcept;
};

/// How the features of a table were read.
std::vector<KnownColumn> known_columns(const Table& table);
/// The decimal mark of the table that has these columns: ',' where one of them has it; none where
/// no column is of numbers.
std::optional<char> usual_decimal(const std::vector<KnownColumn>& known) noexcept;

/// A numeric column becomes one of texts: each number in its shortest form.
void make_texts(Column& column);

/// A text column whose texts are all numbers becomes numeric, dashes and the like among them being
/// missing cells. False when another text is there, or no number.
bool make_numbers(Column& column);

/// Keeps the rows for which keep[row] is not 0, in their order and with their places.
void keep_rows(Table& table, std::span<const std::uint8_t> keep);

}  // namespace vflbus::data
