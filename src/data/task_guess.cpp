#include "data/task_guess.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "base/assert.hpp"
#include "base/text.hpp"
#include "data/number_style.hpp"
#include "data/place.hpp"

namespace vflbus::data {
namespace {

constexpr double quantity_min = 1'000;
constexpr std::size_t rows_per_text_min = 3;
/// Of more texts than this, each must be on more rows: a hundred classes are rare, names are not.
constexpr std::size_t many_texts = 100;
constexpr std::size_t rows_per_text_of_many_min = 10;

/// A column that says the same on every row decides nothing.
tl::unexpected<Failure> one_value(const Table& table, const Column& column,
                                  const std::string& value) {
    const std::string nothing = "; there is nothing to learn: choose another label";
    return tl::unexpected(fault(Errc::bad_data, table.place(),
                                ", label " + shown(column.name) +
                                    ": every row has the same value " + shown(value) + nothing,
                                ", a label: every row has the same value" + nothing));
}

/// Whether nearly all texts are numbers with percent signs, currencies or parentheses.
bool are_amounts(const Column& column) {
    const NumberStyle style{.decimal = '.', .thousands = ',', .marks = true};
    const auto amounts = std::ranges::count_if(column.dictionary, [&](const std::string& text) {
        return parse_styled(text, style).has_value();
    });
    return static_cast<std::size_t>(amounts) * 10 >= column.dictionary.size() * 9;
}

Result<TaskGuess> guess_from_texts(const Table& table, const Column& column) {
    const std::size_t values = column.dictionary.size();
    if (values == 1) return one_value(table, column, column.dictionary[0]);
    if (values == 2)
        return TaskGuess{Task::logistic, "the two values " + shown(column.dictionary[0]) + " and " +
                                             shown(column.dictionary[1])};
    if (values * rows_per_text_min > table.rows() && are_amounts(column))
        return tl::unexpected(
            fault(Errc::bad_data, table.place(),
                  ", label " + shown(column.name) + ": its texts, such as " +
                      shown(column.dictionary.front()) +
                      ", are numbers with signs around them; declare the column \"number\" "
                      "(party.master.columns), or state the task",
                  ", a label: its texts are numbers with signs around them; declare the column "
                  "\"number\""));
    const std::size_t rows_min =
        values > many_texts ? rows_per_text_of_many_min : rows_per_text_min;
    if (values * rows_min > table.rows() && values > 2)
        return tl::unexpected(
            fault(Errc::bad_data, table.place(),
                  ", label " + shown(column.name) + ": " + std::to_string(values) +
                      " different texts on " + std::to_string(table.rows()) +
                      " rows look like names, not like classes; choose another label, or state "
                      "the task",
                  ", a label: different texts on nearly every row look like names, not like "
                  "classes"));
    return TaskGuess{Task::softmax, std::to_string(values) + " different texts"};
}

/// Values and on how many rows they are; at most guessed_classes_max + 1 of them.
std::map<double, std::size_t> counts_of(const Column& column) {
    std::map<double, std::size_t> counts;
    for (const double value : column.numbers) {
        if (std::isnan(value)) continue;
        if (counts.size() > guessed_classes_max && !counts.contains(value)) continue;
        ++counts[value];
    }
    return counts;
}

Result<TaskGuess> guess_from_numbers(const Table& table, const Column& column) {
    if (column.date != DateForm::none) return TaskGuess{Task::linear, "dates"};
    const std::map<double, std::size_t> counts = counts_of(column);
    if (counts.size() == 1) return one_value(table, column, shortest(counts.begin()->first));
    if (counts.size() <= 2) return TaskGuess{Task::logistic, "two values"};
    bool whole = true;
    bool large = false;
    std::size_t rarest = std::numeric_limits<std::size_t>::max();
    for (const auto& [value, rows] : counts) {
        whole = whole && value == std::floor(value);
        large = large || std::abs(value) >= quantity_min;
        rarest = std::min(rarest, rows);
    }
    if (!whole) return TaskGuess{Task::linear, "numbers with fractions"};
    if (counts.size() > guessed_classes_max)
        return TaskGuess{Task::linear, "more than " + std::to_string(guessed_classes_max) +
                                           " different whole numbers"};
    if (large) return TaskGuess{Task::linear, "whole numbers of a thousand or more"};
    const std::string values = std::to_string(counts.size()) + " different whole numbers, ";
    if (rarest < guessed_class_rows_min)
        return TaskGuess{Task::linear, values + "some on fewer than " +
                                           std::to_string(guessed_class_rows_min) +
                                           " rows, as counts have them"};
    return TaskGuess{Task::softmax, values + "each on " + std::to_string(rarest) + " rows or more"};
}

}  // namespace

Result<TaskGuess> guess_task(const Table& table) {
    VFLBUS_ASSERT(table.labels.size() == 1, "a task is guessed from one label column");
    const Column& column = table.labels.front();
    if (column.kind == ColumnKind::text) return guess_from_texts(table, column);
    return guess_from_numbers(table, column);
}

Result<Table> read_label(Source& source, const std::string& id, const std::string& label,
                         TableRequest request) {
    request.id = id;
    request.labels = {label};
    request.features.clear();
    request.exclude.clear();
    request.of_model = request.columns.empty();  // nothing but the label is looked at
    if (!request.of_model)                       // rules count for tables that are no model's
        for (const std::string& name : source.columns())
            if (!name.empty() && name != id && name != label) request.exclude.push_back(name);
    request.labels_as = LabelsAs::guess;
    auto table = source.read(request);
    if (table) return table;
    request.labels_as = LabelsAs::classes;
    auto classes = source.read(request);
    return classes ? std::move(classes) : std::move(table);
}

}  // namespace vflbus::data
