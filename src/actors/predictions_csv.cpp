#include "actors/predictions_csv.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/text.hpp"
#include "data/csv_cell.hpp"

namespace vflbus::actors {

std::vector<std::uint32_t> file_order(std::span<const std::uint32_t> rows) {
    // a row of the table has a few aligned rows, most of them one: they are dealt out, not sorted
    const std::uint32_t last = rows.empty() ? 0 : *std::ranges::max_element(rows);
    std::vector<std::uint32_t> begins(std::size_t{last} + 2, 0);
    for (const std::uint32_t row : rows) ++begins[std::size_t{row} + 1];
    std::partial_sum(begins.begin(), begins.end(), begins.begin());
    std::vector<std::uint32_t> order(rows.size());
    for (std::uint32_t i = 0; i < rows.size(); ++i) order[begins[rows[i]]++] = i;
    return order;
}

PredictionsCsv::PredictionsCsv(const data::LabelCoding& coding)
    : per_class_(coding.task == vflbus::Task::softmax), names_(coding.output_names()) {
    if (predicts_numbers(coding.task) || per_class_) columns_.emplace_back("prediction");
    if (per_class_)
        for (const std::string& name : names_) columns_.push_back("probability_" + name);
    if (coding.task == vflbus::Task::logistic || coding.task == vflbus::Task::multilabel)
        classes_ = coding.classes;
    const bool several = coding.task == vflbus::Task::multilabel;
    for (std::size_t k = 0; k < classes_.size(); ++k) {
        columns_.push_back(several ? "prediction_" + names_[k] : "prediction");
        columns_.push_back("probability_" + (several ? names_[k] : classes_[k][1]));
    }
}

void PredictionsCsv::cell(std::string_view text) {
    // readers leave out the blanks around a cell without quotes
    if (trim(text).size() == text.size())
        data::append_csv_cell(text_, text);
    else
        data::append_quoted_cell(text_, text);
}

void PredictionsCsv::head(std::string_view id_column, std::string_view extra) {
    cell(id_column);
    extra_ = !extra.empty();
    if (extra_) {
        text_ += ',';
        cell(extra);
    }
    for (const std::string& column : columns_) {
        text_ += ',';
        cell(column);
    }
    text_ += '\n';
}

void PredictionsCsv::row(std::string_view id, std::string_view extra,
                         const models::Matrix& predictions, std::size_t row) {
    cell(id);
    if (extra_) {
        text_ += ',';
        cell(extra);
    }
    if (per_class_) {
        std::size_t best = 0;
        for (std::size_t c = 1; c < predictions.cols(); ++c)
            if (predictions(row, c) > predictions(row, best)) best = c;
        text_ += ',';
        cell(names_[best]);
    }
    for (std::size_t c = 0; c < predictions.cols(); ++c) {
        const double value = predictions(row, c);
        if (!classes_.empty()) {
            text_ += ',';
            cell(classes_[c][value > 0.5 ? 1 : 0]);
        }
        text_ += ',';
        append_shortest(text_, value);
    }
    text_ += '\n';
}

}  // namespace vflbus::actors
