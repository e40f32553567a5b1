#pragma once
// What a column of text cells is read as: numbers, names of categories, or dates.
//
// Decided once per column, in this order:
//   1. As the model knows it, when there is one (TableRequest::known).
//   2. As it is declared (TableRequest::columns).
//   3. By its first 1,000 cells that are not missing, within the first 10,000 rows:
//      (a dash, '.', '..' or ':' alone does not count: among numbers it is a missing one)
//      - whole numbers of which one or more begin with a zero (007, 01234) are codes: categories;
//      - 90 % or more finite decimal numbers: numbers;
//      - 90 % or more numbers when groups of three digits may be set apart (1,234.5): numbers;
//      - nothing but dates in one order of day, month and year: days since 1970-01-01;
//      - otherwise categories.
// In a column of numbers or dates a later cell that is neither missing nor one is refused. A column
// with nothing but missing cells in the sample is numeric when all its later cells are numbers,
// otherwise text.
//
// Internal to the data room.

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "data/columns.hpp"
#include "data/csv_dialect.hpp"
#include "data/dates.hpp"

namespace vflbus::data {

inline constexpr std::size_t sample_rows = 10'000;
inline constexpr std::size_t sample_cells = 1'000;

/// The cells of one column that are looked at.
class KindTally {
  public:
    /// A cell that is not missing. `stated`: how numbers of the source are known to be written.
    /// False for one that is no plain number.
    bool add(std::string_view text, const NumberStyle& stated);
    /// The first cell for which add() was false, and where it is ("line 3").
    void set_odd(std::string_view text, std::string place);
    [[nodiscard]] bool has_odd() const noexcept { return !odd_place_.empty(); }
    /// "('(1.5)' on line 3)"
    [[nodiscard]] std::string odd() const;

    [[nodiscard]] std::size_t cells() const noexcept { return cells_; }
    /// Whether nothing but dashes and the like was met, which decides nothing.
    [[nodiscard]] bool says_nothing() const noexcept { return cells_ == no_numbers_; }

    /// Whether the cells are whole numbers with leading zeros.
    [[nodiscard]] bool is_codes() const noexcept {
        return !says_nothing() && digits_ == counted() && zeros_;
    }
    [[nodiscard]] bool is_numbers() const noexcept { return numbers_ * 10 >= counted() * 9; }
    /// Whether they were numbers if signs around them were taken off: (1.5), 12 %, $5.
    [[nodiscard]] bool is_numbers_with_marks() const noexcept {
        return (numbers_ + marked_) * 10 >= counted() * 9;
    }
    /// Whether so many cells are numbers, and none of them looks like a code, that the others are
    /// more likely mistakes.
    [[nodiscard]] bool is_half_numbers() const noexcept {
        return numbers_ * 2 >= counted() && !zeros_;
    }
    /// The sign between groups of digits when the cells are numbers with it; else '\0'.
    [[nodiscard]] char grouping() const noexcept;
    [[nodiscard]] const DateGuess& dates() const noexcept { return dates_; }

  private:
    static constexpr std::array<char, 4> groupings = {',', '.', '\'', ' '};

    [[nodiscard]] std::size_t counted() const noexcept { return cells_ - no_numbers_; }

    std::size_t cells_ = 0;
    std::size_t no_numbers_ = 0;  ///< dashes and the like
    std::size_t numbers_ = 0;
    std::size_t marked_ = 0;  ///< that are numbers only without the signs around them
    std::size_t digits_ = 0;  ///< cells of nothing but digits
    bool zeros_ = false;      ///< one of those has a leading zero
    std::array<std::size_t, 4> grouped_{};
    DateGuess dates_;
    std::string odd_text_;
    std::string odd_place_;
};

/// Decides how columns are read and collects what has to be said about it.
class KindDecision {
  public:
    KindDecision(const TableRequest& request, const TextFormat& stated, char decimal)
        : request_(request), stated_(stated), decimal_(decimal) {}

    /// How numbers are known to be written, for KindTally::add().
    [[nodiscard]] NumberStyle stated_style() const noexcept {
        return {decimal_, stated_.thousands.value_or('\0'), false};
    }

    void decide(ChosenColumn& column, const KindTally& tally);
    /// What was guessed, the columns of one kind in one sentence.
    [[nodiscard]] std::vector<std::string> notes() const;

  private:
    void as_known(ChosenColumn& column, const KindTally& tally);
    void as_declared(ChosenColumn& column, const KindTally& tally);
    void as_label(ChosenColumn& column, const KindTally& tally);
    void by_cells(ChosenColumn& column, const KindTally& tally);
    void as_numbers(ChosenColumn& column, const KindTally& tally, bool marks);

    const TableRequest& request_;
    const TextFormat& stated_;
    char decimal_;
    // names in quotes, where needed with the cell that decided
    std::vector<std::string> codes_;
    std::vector<std::string> grouped_;
    std::vector<std::string> dates_;
    std::vector<std::string> ambiguous_dates_;
    std::vector<std::string> marked_;
    std::vector<std::string> mixed_;
};

}  // namespace vflbus::data
