#pragma once
// From table columns to the numbers a model is trained on: fitted on the training rows of one
// party, saved with its model, applied to training, test and prediction rows alike.
//
// numeric: missing -> training mean; then (x - mean) / scale, with scale the population standard
//          deviation (as scikit-learn's StandardScaler), when standardizing.
// text:    one column of 0 or 1 per value seen in training; missing or unseen -> all zero.
//          Both otherwise where the party says so (prepare_rules.hpp).
// pixels:  missing -> mean of all pixels of the training rows; then (x - mean) / scale, with mean
//          and deviation of all of them together. Those that are the same in all rows stay.
// absent:  a record that the party does not have (absent_row) is a row of zeros; where training has
//          such rows, a further column tells them from the others (presence_column).
// removed: constant, all missing, or a text of more than one_hot_max values.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "data/table.hpp"

namespace vflbus::data {

struct PreprocessOptions {
    bool standardize = true;
    std::uint32_t one_hot_max = 64;
    bool pixels = false;  ///< the columns are those of Table::image (check_image)
};

/// A text column with another coding than one-hot of more training values is left out.
inline constexpr std::size_t coded_texts_max = 100'000;

/// One table column that is used. Plain values: saved in the model file as they are.
struct PreparedColumn {
    std::string name;
    ColumnKind kind = ColumnKind::numeric;
    double fill = 0;                      ///< numeric: what a missing cell becomes (training mean)
    double mean = 0;                      ///< numeric: subtracted; 0 without standardize
    double scale = 1;                     ///< numeric: divided by; 1 without standardize
    std::vector<std::string> categories;  ///< text: one output column each, sorted bytewise
    DateForm date = DateForm::none;       ///< numeric: days of dates in this form
    /// numeric: numbers are kept between these; cells that are filled are not.
    double low = -std::numeric_limits<double>::infinity();
    double high = std::numeric_limits<double>::infinity();
    std::vector<std::string> missing_words = {};  ///< numeric: see Column::missing_words
    char decimal = '.';                           ///< numeric: see Column::decimal
    bool has_value = false;  ///< numeric: a column more, 1 where the cell was there
    /// text; `mean` and `scale` are then those of its numbers, unless it is one-hot or hashed.
    TextCoding coding = TextCoding::one_hot;
    std::vector<double> codes = {};  ///< frequency and ordinal: the number of each category
    std::uint32_t buckets = 0;       ///< hashed
    /// numeric, of no column of the table: 1 for the records that the party has, 0 for others.
    bool presence = false;

    [[nodiscard]] std::size_t width() const noexcept {
        if (kind == ColumnKind::numeric) return has_value ? 2 : 1;
        if (coding == TextCoding::one_hot) return categories.size();
        return coding == TextCoding::hashed ? buckets : 1;
    }
    [[nodiscard]] bool is_clipped() const noexcept { return std::isfinite(low); }
};

/// What happened to a column, for the report: "missing cells filled with the training mean", 12.
struct ColumnNote {
    std::string name;
    std::uint64_t count = 0;
};

struct PreprocessReport {
    std::vector<LeftOut> removed;            ///< with the reason; includes what read_csv left out
    std::vector<ColumnNote> filled;          ///< numeric columns with missing training cells
    std::vector<ColumnNote> filled_as_said;  ///< those of them that a rule is about
    std::vector<ColumnNote> one_hot;         ///< text columns and their number of values
    std::vector<ColumnNote> blank;           ///< text columns with missing training cells
    std::uint64_t filled_cells = 0;          ///< sum over `filled`
};

struct Preprocessor {
    std::vector<PreparedColumn> columns;
    std::optional<ImageShape> image = {};  ///< what its columns are pixels of

    /// Columns of the design.
    [[nodiscard]] std::size_t width() const noexcept;
    /// One per column of the design: "income", "region=north".
    [[nodiscard]] std::vector<std::string> feature_names() const;
    /// How its columns are read from other tables.
    [[nodiscard]] std::vector<KnownColumn> known_columns() const;
};

/// Row-major numbers (rows x cols, row stride = cols), 64-byte aligned: map with
/// Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>.
class Design {
  public:
    Design() = default;
    Design(std::size_t rows, std::size_t cols);  ///< contents are not initialized

    [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
    [[nodiscard]] std::size_t cols() const noexcept { return cols_; }
    [[nodiscard]] double* data() noexcept { return data_.get(); }
    [[nodiscard]] const double* data() const noexcept { return data_.get(); }
    [[nodiscard]] std::span<const double> row(std::size_t r) const noexcept {
        return {data_.get() + r * cols_, cols_};
    }
    [[nodiscard]] double operator()(std::size_t r, std::size_t c) const noexcept {
        return data_[r * cols_ + c];
    }

  private:
    struct Free {
        void operator()(double* p) const noexcept { std::free(p); }
    };
    std::size_t rows_ = 0;
    std::size_t cols_ = 0;
    std::unique_ptr<double[], Free> data_;
};

struct TransformReport {
    std::uint64_t filled_cells = 0;   ///< missing numeric cells that got the training mean
    std::uint64_t unseen_values = 0;  ///< texts that training did not know
    std::vector<ColumnNote> filled;
    std::vector<ColumnNote> unseen;
};

/// Why the features of a table cannot be the pixels of its `image`: other columns than pixels, or
/// another number of them. bad_data.
Result<> check_image(const Table& table);

/// `rows`: table rows of the aligned training rows, in the aligned order (sums are taken in it),
/// without those that are absent. A party may end up with no column at all; that is not an error
/// here.
Preprocessor fit(const Table& table, std::span<const std::uint32_t> rows,
                 const PreprocessOptions& options, PreprocessReport* report = nullptr);

/// The column that is 1 for the records that the party has.
PreparedColumn presence_column();

/// Columns are looked up by name. A text column whose cells here all look like numbers is matched
/// by their shortest form. Errors: bad_data when a column is missing, or holds text and was numbers
/// in training.
Result<Design> transform(const Preprocessor& preprocessor, const Table& table,
                         std::span<const std::uint32_t> rows, TransformReport* report = nullptr);

/// Several sets of rows at once, freeing the table's feature columns as they are consumed: at any
/// time little more than one copy of the numbers is held.
Result<std::vector<Design>> transform_and_free(
    const Preprocessor& preprocessor, Table& table,
    std::span<const std::span<const std::uint32_t>> row_sets,
    std::vector<TransformReport>* reports = nullptr);

}  // namespace vflbus::data
