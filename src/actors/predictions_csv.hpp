#pragma once
// Predictions as a table for people and programs: an id, what is predicted, and its probability.
//
//   linear      id, prediction
//   logistic    id, prediction, probability_<positive class>
//   multilabel  id, then prediction_<label>, probability_<label> for each label
//   softmax     id, prediction, then probability_<class> for each class
//
// Used by predictions (predict.cpp) and by the folds of a cross-validation (folds.cpp), which have
// one column more behind the id.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/labels.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors {

/// The positions in `rows` (rows of a table) in the order of the file of that table; those of one
/// row keep their order.
std::vector<std::uint32_t> file_order(std::span<const std::uint32_t> rows);

class PredictionsCsv {
  public:
    explicit PredictionsCsv(const data::LabelCoding& coding);

    /// The first line. `extra`: the name of a column behind the id; empty: there is none.
    void head(std::string_view id_column, std::string_view extra = {});
    /// Row `row` of `predictions` (n x outputs). `extra` only where the head has it.
    void row(std::string_view id, std::string_view extra, const models::Matrix& predictions,
             std::size_t row);
    [[nodiscard]] std::string text() { return std::move(text_); }

  private:
    void cell(std::string_view text);

    std::string text_;
    std::vector<std::string> columns_;
    bool per_class_;  ///< softmax: one prediction, and the probability of each class
    bool extra_ = false;
    /// Of tasks with two classes: {negative, positive} of each output.
    std::vector<std::vector<std::string>> classes_;
    std::vector<std::string> names_;  ///< of the outputs
};

}  // namespace vflbus::actors
