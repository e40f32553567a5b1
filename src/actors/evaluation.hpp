#pragma once
// What is kept of a model's last evaluation, at the master alone, so that curves can be drawn when
// the training is over and its tables are gone: the labels and the predictions of the rows that it
// was measured on.
//
// The file is a matrix of numpy (format 1.0, little-endian float64, by column) with a row per
// record: first the label columns, then the predictions. Labels are values (linear), 0 or 1 (one
// column per label of logistic and multilabel, 1 is the positive class), or one column with the
// number of the class (softmax). Predictions have one column per output. The rows are those of
// `test_ids.csv`; without test rows those of the training; of a cross-validation those of
// `out_of_fold.csv` in the aligned order.

#include <string>
#include <string_view>

#include "base/errc.hpp"
#include "models/head.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors {

/// The name of the file in the master's directory of a run.
inline constexpr std::string_view evaluation_name = "evaluation.npy";

/// The file of n rows with these labels and predictions (n x outputs).
std::string evaluation_npy(const models::Labels& labels, const models::Matrix& predictions);

/// All columns of such a file. Errors: bad_data when it is no such file, or does not have so many
/// columns.
Result<models::Matrix> parse_evaluation(std::string_view file, std::size_t columns);

}  // namespace vflbus::actors
