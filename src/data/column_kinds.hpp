#pragma once
// What a column of text cells is read as: numbers, names of categories, or dates.
//
// Decided once per column, in this order:
//   1. As the model knows it, when there is one (TableRequest::known).
//   2. As it is declared (TableRequest::columns).
//   3. By its first 1,000 cells that are not missing, within the first 10,000 rows:
//      (a dash, '.', '..' or ':' alone does not count: among numbers it is a missing one)
//      - whole numbers of which one or more begin with a zero (007, 01234) are codes: categories;
//      - whole numbers, and in code_cells_min cells or more a code with other characters too
//        (117, c118): categories; so are numbers of which one begins with a zero and one cell that
//        is no number (01, 01.1, C);
//      - few_values_min to few_values_max different cells, each on cells_per_few_value_min rows on
//        average, of which at least one is no number, are classes (4, 6, 8 and rotary; 1, 2, 3 and
//        >3): categories;
//      - 90 % or more finite decimal numbers: numbers;
//      - 90 % or more numbers when groups of three digits may be set apart (1,234.5): numbers;
//      - nothing but dates in one order of day, month and year: days since 1970-01-01;
//      - nothing but times of day, in a column of features: hours since midnight;
//      - otherwise categories.
// In a column of numbers or dates a cell that is neither missing nor one is refused, but for words
// that stand where there is no number: up to missing_words_max of them without a digit, each in
// missing_word_cells_min cells of the sample or more, are missing numbers (T for a trace of rain);
// and so is any cell that says it in words (is_missing_word). A slip of the pen does not occur as
// often, and stays an error. A column with nothing but missing cells in the sample is numeric when
// all its later cells are numbers, otherwise text.
//
// Internal to the data room.

#include <array>
#include <cstddef>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "data/columns.hpp"
#include "data/csv_dialect.hpp"
#include "data/dates.hpp"

namespace vflbus::data {

inline constexpr std::size_t sample_rows = 10'000;
inline constexpr std::size_t sample_cells = 1'000;
inline constexpr std::size_t missing_words_max = 3;
inline constexpr std::size_t missing_word_cells_min = 3;
inline constexpr std::size_t code_cells_min = 3;
inline constexpr std::size_t few_values_min = 4;
inline constexpr std::size_t few_values_max = 20;
inline constexpr std::size_t cells_per_few_value_min = 3;

/// The cells of one column that are looked at.
class KindTally {
  public:
    /// A cell that is not missing. `stated`: how numbers of the source are known to be written.
    /// False for one that is no plain number.
    bool add(std::string_view text, const NumberStyle& stated);
    /// Whether set_odd() is to be told of the cell for which add() was false just now.
    [[nodiscard]] bool wants_odd() const noexcept {
        return odd_.place.empty() || (last_has_marks_ && with_marks_.place.empty()) ||
               (last_is_no_date_ && no_date_.place.empty());
    }
    /// The cell for which add() was false, and where it is ("line 3").
    void set_odd(std::string_view text, std::string place);
    /// The first cell that is no plain number: "('unknown' on line 3)"
    [[nodiscard]] std::string odd() const { return told(odd_); }
    /// The first cell that is a number with signs around it: "('(1.5)' on line 3)"; or "".
    [[nodiscard]] std::string with_marks() const {
        return with_marks_.place.empty() ? std::string() : told(with_marks_);
    }
    /// The first cell that is neither a number nor a date: "('2023-02-30' on line 152)"; or "".
    [[nodiscard]] std::string no_date() const {
        return no_date_.place.empty() ? std::string() : told(no_date_);
    }
    /// What stands for a missing number, if the column is one of numbers: see above.
    [[nodiscard]] std::vector<std::string> missing_words() const;

    [[nodiscard]] std::size_t cells() const noexcept { return cells_; }
    /// Whether nothing but dashes and the like was met, which decides nothing.
    [[nodiscard]] bool says_nothing() const noexcept { return cells_ == no_numbers_; }

    /// Whether the cells are whole numbers with leading zeros.
    [[nodiscard]] bool is_codes() const noexcept {
        return !says_nothing() && digits_ == counted() && zeros_;
    }
    /// Whether they are whole numbers and codes like c118 or 98117-1234; or begin with zeros where
    /// others are no numbers: 01, 01.1, C.
    [[nodiscard]] bool is_mixed_codes() const noexcept {
        return (codes_ >= code_cells_min && digits_ + codes_ == counted()) ||
               (zeros_ && has_class_);
    }
    [[nodiscard]] bool is_numbers() const noexcept { return numbers_ * 10 >= counted() * 9; }
    /// Whether no more different cells were met than classes have; of fewer than few_values_min, as
    /// of 0, 1 and a word, the word is more likely a slip of the pen.
    [[nodiscard]] bool is_few_values() const noexcept {
        return values_.size() >= few_values_min && values_.size() <= few_values_max &&
               counted() >= cells_per_few_value_min * values_.size();
    }
    /// Whether a cell was met that is no number in any writing: rotary, >3.
    [[nodiscard]] bool has_class() const noexcept { return has_class_; }
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
    struct OddCell {
        std::string text;
        std::string place;
    };
    struct Word {
        std::string text;
        std::size_t cells = 0;
    };
    static std::string told(const OddCell& cell);
    void add_word(std::string_view text);

    static constexpr std::array<char, 4> groupings = {',', '.', '\'', ' '};

    [[nodiscard]] std::size_t counted() const noexcept { return cells_ - no_numbers_; }

    std::size_t cells_ = 0;
    std::size_t no_numbers_ = 0;  ///< dashes and the like
    std::size_t numbers_ = 0;
    std::size_t marked_ = 0;  ///< that are numbers only without the signs around them
    std::size_t digits_ = 0;  ///< cells of nothing but digits
    std::size_t codes_ = 0;   ///< cells of digits and other characters, as codes have them
    bool zeros_ = false;      ///< one of those has a leading zero
    std::array<std::size_t, 4> grouped_{};
    DateGuess dates_;
    OddCell odd_;
    OddCell with_marks_;
    bool last_has_marks_ = false;
    OddCell no_date_;
    bool last_is_no_date_ = false;
    std::set<std::string, std::less<>> values_;  ///< one more than few_values_max: too many
    bool has_class_ = false;
    std::vector<Word> words_;  ///< one more than missing_words_max: there are too many
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
    std::vector<std::string> times_;
    std::vector<std::string> ambiguous_dates_;
    std::vector<std::string> nearly_dates_;
    std::vector<std::string> marked_;
    std::vector<std::string> mixed_;
    std::vector<std::string> mixed_codes_;
    std::vector<std::string> classes_;
    std::vector<std::string> read_with_marks_;
};

}  // namespace vflbus::data
