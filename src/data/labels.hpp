#pragma once
// From label columns to what training needs, and the names of the classes for the model file.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "base/task.hpp"
#include "data/table.hpp"

namespace vflbus::data {

inline constexpr std::size_t classes_max = 1'000;

/// How labels are coded. Plain values: saved in the model file.
struct LabelCoding {
    Task task = Task::linear;
    std::vector<std::string> columns;  ///< names of the label columns
    /// Tasks with a log link: the column by which the label is divided, or empty, and p of
    /// task tweedie (models/deviance.hpp).
    std::string exposure;
    double tweedie_power = 1.5;
    /// Per column its class names. Numbers: none. logistic and multilabel: {negative, positive},
    /// the larger number or later text being positive. softmax: all classes, ascending (by value
    /// when all are numbers, otherwise bytewise).
    std::vector<std::vector<std::string>> classes;

    /// Scores per row: 1, the number of columns (multilabel) or of classes (softmax).
    [[nodiscard]] std::size_t outputs() const noexcept;
    /// One name per score: the column, or the class for softmax.
    [[nodiscard]] std::vector<std::string> output_names() const;
};

struct Labels {
    std::size_t rows = 0;
    std::size_t cols = 0;        ///< multilabel: the number of columns, otherwise 1
    std::vector<double> values;  ///< row-major rows x cols; the number, or 0 and 1; not softmax
    std::vector<std::uint32_t> classes;  ///< softmax only: index of the class of each row
};

/// The coding of the labels on `rows` (table rows; usually all aligned ones, training and test).
/// Errors (bad_data): no label column or several for a task of one; a missing label (how many, and
/// the first line); a label with one class; more than two for logistic or multilabel; more than
/// classes_max; text where numbers are predicted.
/// `positive`: of logistic and multilabel, the class that is positive; empty: the one sorted last.
Result<LabelCoding> fit_labels(const Table& table, Task task, std::span<const std::uint32_t> rows,
                               const std::string& positive = {});

/// Errors (bad_data): as above, and a class that the coding does not know.
Result<Labels> encode_labels(const Table& table, const LabelCoding& coding,
                             std::span<const std::uint32_t> rows);

/// How often each class occurs: per column {negatives, positives}, for softmax one list of all.
std::vector<std::vector<std::uint64_t>> class_counts(const LabelCoding& coding,
                                                     const Labels& labels);

}  // namespace vflbus::data
