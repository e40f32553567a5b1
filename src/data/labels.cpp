#include "data/labels.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/text.hpp"
#include "data/number.hpp"
#include "data/place.hpp"

namespace vflbus::data {
namespace {

tl::unexpected<Failure> refuse(const Table& table, const std::string& what) {
    return tl::unexpected(fault(Errc::bad_data, table.place(), what));
}

/// `what` may quote cells: others are told `what_for_others`.
tl::unexpected<Failure> refuse(const Table& table, const Column& column, const std::string& what,
                               const std::string& what_for_others) {
    return tl::unexpected(fault(Errc::bad_data, table.place(),
                                ", label " + shown(column.name) + ": " + what,
                                ", a label: " + what_for_others));
}

tl::unexpected<Failure> refuse(const Table& table, const Column& column, const std::string& what) {
    return refuse(table, column, what, what);
}

Result<> check_shape(const Table& table, Task task, std::size_t columns) {
    if (table.labels.empty()) return refuse(table, ": no label column is named; set label");
    if (task != Task::multilabel && columns != 1)
        return refuse(table, ": task " + std::string(name_of(task)) +
                                 " needs one label column, not " + std::to_string(columns) +
                                 "; name one, or set task to multilabel");
    return {};
}

/// Refuses labels that are not known on some row.
Result<> check_present(const Table& table, const Column& column,
                       std::span<const std::uint32_t> rows) {
    std::size_t missing = 0;
    std::uint32_t first = missing_code;
    for (const std::uint32_t row : rows) {
        if (!column.is_missing(row)) continue;
        ++missing;
        first = std::min(first, row);
    }
    if (missing == 0) return {};
    return refuse(table, column,
                  std::to_string(missing) + " of " + std::to_string(rows.size()) +
                      " rows have no label, the first " +
                      on_line(table.place_of(first), table.path) +
                      "; fill them in or remove the rows, or set data.missing_label to "
                      "\"skip\"");
}

/// The distinct values on `rows`, ascending (numbers by value, texts bytewise); at most
/// classes_max + 1 of them.
std::vector<std::string> distinct_values(const Column& column,
                                         std::span<const std::uint32_t> rows) {
    std::vector<std::string> names;
    if (column.kind == ColumnKind::text) {
        std::vector<char> seen(column.dictionary.size(), 0);
        for (const std::uint32_t row : rows) seen[column.codes[row]] = 1;
        for (std::size_t code = 0; code < seen.size() && names.size() <= classes_max; ++code)
            if (seen[code] != 0) names.push_back(column.dictionary[code]);
        return names;
    }
    std::vector<double> values;
    for (const std::uint32_t row : rows) {
        const double value = column.numbers[row] + 0.0;  // -0 becomes 0
        const auto at = std::lower_bound(values.begin(), values.end(), value);
        if (at != values.end() && *at == value) continue;
        values.insert(at, value);
        if (values.size() > classes_max) break;
    }
    for (const double value : values) names.push_back(shortest(value));
    return names;
}

Result<std::vector<std::string>> fit_classes(const Table& table, const Column& column, Task task,
                                             std::span<const std::uint32_t> rows) {
    std::vector<std::string> names = distinct_values(column, rows);
    if (names.empty()) return refuse(table, column, "there are no rows to learn from");
    if (rows.size() == 1) {
        const char* const alone =
            "only one row is common to all parties and in use, and nothing can be learned of one; "
            "check that the id columns mean the same (party.<name>.id), and data.dataset_size";
        return refuse(table, column, alone, alone);
    }
    if (names.size() == 1)
        return refuse(
            table, column,
            "every row has the same class " + shown(names[0]) + "; there is nothing to learn",
            "every row has the same class; there is nothing to learn");
    if (names.size() > classes_max)
        return refuse(table, column,
                      "more than " + std::to_string(classes_max) +
                          " different values; is it a number to be predicted? Then "
                          "set task to linear");
    if (task != Task::softmax && names.size() > 2) {
        constexpr std::size_t named_max = 5;
        std::vector<std::string> all;
        for (const std::string& name : names) all.push_back(shown(name));
        const std::string count = "task " + std::string(name_of(task)) +
                                  " needs two classes, but there are " +
                                  std::to_string(names.size());
        const std::string advice = task == Task::logistic ? "; set task to softmax" : "";
        return refuse(table, column, count + ": " + join_some(all, named_max) + advice,
                      count + advice);
    }
    return names;
}

/// The positive class comes last.
Result<> put_last(const Table& table, const Column& column, const std::string& positive,
                  std::vector<std::string>& classes) {
    const auto number = parse_number(positive);
    const auto found = std::ranges::find_if(classes, [&](const std::string& name) {
        return name == positive || (number && parse_number(name) == number);
    });
    if (found == classes.end())
        return refuse(table, column,
                      "the positive class is to be " + shown(positive) + ", but the classes are " +
                          shown(classes[0]) + " and " + shown(classes[1]) +
                          " (party.master.positive)",
                      "the positive class is not among its classes (party.master.positive)");
    std::rotate(found, found + 1, classes.end());
    return {};
}

/// Whether two rows or more all have one value.
bool is_constant(const Column& column, std::span<const std::uint32_t> rows) {
    const auto differs = [&](std::uint32_t row) {
        return column.numbers[row] != column.numbers[rows.front()];
    };
    return rows.size() > 1 && std::none_of(rows.begin(), rows.end(), differs);
}

tl::unexpected<Failure> refuse_constant(const Table& table, const Column& column,
                                        std::uint32_t row) {
    return refuse(table, column,
                  "every row has the same value '" + shortest(column.numbers[row]) +
                      "'; there is nothing to learn",
                  "every row has the same value; there is nothing to learn");
}

tl::unexpected<Failure> text_for_numbers(const Table& table, const Column& column, Task task) {
    const std::string what =
        "task " + std::string(name_of(task)) + " needs numbers, but it holds text";
    // a column of missing cells has no text to show
    const std::string example =
        column.dictionary.empty() ? "" : " such as " + shown(column.dictionary.front());
    return refuse(table, column, what + example, what);
}

tl::unexpected<Failure> unknown_class(const Table& table, const Column& column, std::uint32_t row) {
    const std::string line = on_line(table.place_of(row), table.path);
    return refuse(
        table, column,
        "the class " + shown(column.text(row)) + " " + line + " is one that training did not know",
        "the class " + line + " is one that training did not know");
}

/// Maps cells to class numbers; unknown ones to missing_code.
class Classifier {
  public:
    Classifier(const Column& column, const std::vector<std::string>& classes) : column_(column) {
        if (column.kind == ColumnKind::text) {
            for (const std::string& text : column.dictionary) {
                const auto found = std::find(classes.begin(), classes.end(), text);
                of_code_.push_back(found == classes.end()
                                       ? missing_code
                                       : static_cast<std::uint32_t>(found - classes.begin()));
            }
            return;
        }
        for (std::uint32_t i = 0; i < classes.size(); ++i)
            if (const auto value = parse_number(classes[i])) of_value_.emplace_back(*value, i);
        std::sort(of_value_.begin(), of_value_.end());
    }

    [[nodiscard]] std::uint32_t operator()(std::uint32_t row) const noexcept {
        if (column_.kind == ColumnKind::text) return of_code_[column_.codes[row]];
        const double value = column_.numbers[row] + 0.0;
        const auto at = std::lower_bound(of_value_.begin(), of_value_.end(),
                                         std::pair<double, std::uint32_t>(value, 0));
        return at != of_value_.end() && at->first == value ? at->second : missing_code;
    }

  private:
    const Column& column_;
    std::vector<std::uint32_t> of_code_;
    std::vector<std::pair<double, std::uint32_t>> of_value_;
};

}  // namespace

std::size_t LabelCoding::outputs() const noexcept {
    if (task == Task::softmax) return classes.empty() ? 0 : classes.front().size();
    return columns.size();
}

std::vector<std::string> LabelCoding::output_names() const {
    return task == Task::softmax && !classes.empty() ? classes.front() : columns;
}

Result<LabelCoding> fit_labels(const Table& table, Task task, std::span<const std::uint32_t> rows,
                               const std::string& positive) {
    if (auto ok = check_shape(table, task, table.labels.size()); !ok)
        return tl::unexpected(ok.error());
    LabelCoding coding;
    coding.task = task;
    for (const Column& column : table.labels) {
        coding.columns.push_back(column.name);
        if (predicts_numbers(task) && column.kind == ColumnKind::text)
            return text_for_numbers(table, column, task);
        if (auto ok = check_present(table, column, rows); !ok) return tl::unexpected(ok.error());
        if (predicts_numbers(task)) {
            if (rows.empty()) return refuse(table, column, "there are no rows to learn from");
            if (is_constant(column, rows)) return refuse_constant(table, column, rows.front());
            continue;
        }
        auto classes = fit_classes(table, column, task, rows);
        if (!classes) return tl::unexpected(classes.error());
        if (task != Task::softmax && !positive.empty())
            if (auto ok = put_last(table, column, positive, *classes); !ok)
                return tl::unexpected(ok.error());
        coding.classes.push_back(std::move(*classes));
    }
    return coding;
}

Result<Labels> encode_labels(const Table& table, const LabelCoding& coding,
                             std::span<const std::uint32_t> rows) {
    Labels labels;
    labels.rows = rows.size();
    labels.cols = coding.columns.size();
    if (coding.task == Task::softmax)
        labels.classes.resize(rows.size());
    else
        labels.values.resize(rows.size() * labels.cols);
    for (std::size_t k = 0; k < coding.columns.size(); ++k) {
        const auto found =
            std::find_if(table.labels.begin(), table.labels.end(),
                         [&](const Column& c) { return c.name == coding.columns[k]; });
        if (found == table.labels.end())
            return tl::unexpected(fault(Errc::bad_data, table.place(),
                                        " has no label column " + shown(coding.columns[k]),
                                        " has not all label columns"));
        const Column& column = *found;
        if (auto ok = check_present(table, column, rows); !ok) return tl::unexpected(ok.error());
        if (predicts_numbers(coding.task)) {
            if (column.kind == ColumnKind::text)
                return text_for_numbers(table, column, coding.task);
            for (std::size_t i = 0; i < rows.size(); ++i)
                labels.values[i] = column.numbers[rows[i]];
            continue;
        }
        const Classifier class_of(column, coding.classes[k]);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const std::uint32_t c = class_of(rows[i]);
            if (c == missing_code) return unknown_class(table, column, rows[i]);
            if (coding.task == Task::softmax)
                labels.classes[i] = c;
            else
                labels.values[i * labels.cols + k] = c;
        }
    }
    return labels;
}

std::vector<std::vector<std::uint64_t>> class_counts(const LabelCoding& coding,
                                                     const Labels& labels) {
    std::vector<std::vector<std::uint64_t>> counts;
    if (coding.task == Task::softmax) {
        counts.emplace_back(coding.outputs(), 0);
        for (const std::uint32_t c : labels.classes) ++counts[0][c];
    } else if (!predicts_numbers(coding.task)) {
        counts.assign(labels.cols, {0, 0});
        for (std::size_t i = 0; i < labels.values.size(); ++i)
            ++counts[i % labels.cols][labels.values[i] > 0.5];
    }
    return counts;
}

}  // namespace vflbus::data
