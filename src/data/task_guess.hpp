#pragma once
// Which task a label column asks for, when nobody says it.

#include <cstddef>
#include <string>

#include "base/errc.hpp"
#include "base/task.hpp"
#include "data/source.hpp"
#include "data/table.hpp"

namespace vflbus::data {

struct TaskGuess {
    Task task = Task::linear;
    std::string because;  ///< "3 whole numbers, each on 50 rows or more"
};

/// Whole numbers of up to this many different values may be classes.
inline constexpr std::size_t guessed_classes_max = 20;
/// A class that fewer rows have is more likely the tail of a count.
inline constexpr std::size_t guessed_class_rows_min = 3;

/// By one label column. Texts and numbers of two values are a logistic label, whatever they are.
/// Texts of more are classes, unless there are hardly more rows than texts: names. Whole numbers
/// are classes when there are few, none is as large as a thousand, and each is on several rows:
/// of a count (visits, rooms, children) the largest values are rare. All other numbers, and dates,
/// are a quantity. (scikit-learn's type_of_target calls every column of whole numbers classes.)
/// Errors: bad_data for what looks like names; the sentence begins with the table and the column.
Result<TaskGuess> guess_task(const Table& table);

/// Reads one label column of a source for guess_task(): as numbers where they are that, as classes
/// where a few texts are among them (1, 2, 3, 5 and U).
Result<Table> read_label(Source& source, const std::string& id, const std::string& label,
                         TableRequest request = {});

}  // namespace vflbus::data
