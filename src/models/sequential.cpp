#include "models/sequential.hpp"

#include <cmath>
#include <string>
#include <utility>

#include "base/assert.hpp"
#include "models/kernels.hpp"

namespace vflbus::models {

// -- the master's side ----------------------------------------------------------------

SequentialMaster::SequentialMaster(Head& head, std::size_t parties)
    : head_(&head), scores_(parties) {
    VFLBUS_ASSERT(head.task() == Task::linear, "the sequential mode is for linear models");
}

Result<> SequentialMaster::begin(std::span<const Matrix> scores, std::span<const RowIndex> rows) {
    VFLBUS_ASSERT(scores.size() == scores_.size() && !rows.empty(), "scores of every party");
    rows_.assign(rows.begin(), rows.end());
    gather_rows(head_->labels().values, rows, y_);
    Matrix left = y_;
    for (std::size_t p = 0; p < scores.size(); ++p) {
        VFLBUS_ASSERT(scores[p].rows() == rows.size() && scores[p].cols() == y_.cols(),
                      "scores have the rows of the batch");
        scores_[p] = scores[p];
        for (std::size_t i = 0; i < left.size(); ++i) left.data()[i] -= scores[p].data()[i];
    }
    if (head_->intercept().empty()) return {};
    std::vector<double> mean(y_.cols());
    column_sums(left, mean);
    for (double& value : mean) value /= static_cast<double>(rows.size());
    if (!all_finite(mean))
        return fail(Errc::diverged,
                    "the scores of the sequential mode are no longer finite; raise "
                    "model.reg_lambda or standardize the columns.");
    return head_->set_intercept(mean);
}

Result<Matrix> SequentialMaster::target(std::size_t party) const {
    VFLBUS_ASSERT(party < scores_.size(), "a party of this training");
    Matrix out = y_;
    for (std::size_t c = 0; c < head_->intercept().size(); ++c)
        for (double& value : out.col(c)) value -= head_->intercept()[c];
    for (std::size_t p = 0; p < scores_.size(); ++p) {
        if (p == party) continue;
        for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] -= scores_[p].data()[i];
    }
    if (!all_finite(out.span()))
        return fail(Errc::diverged,
                    "what is left of the labels is no longer finite; raise model.reg_lambda or "
                    "standardize the columns.");
    return out;
}

Result<> SequentialMaster::accept(std::size_t party, ConstMatrixView scores) {
    VFLBUS_ASSERT(party < scores_.size(), "a party of this training");
    if (scores.rows != y_.rows() || scores.cols != y_.cols())
        return fail(Errc::malformed_message,
                    "the scores of a least squares step are " + std::to_string(scores.rows) +
                        " x " + std::to_string(scores.cols) + " where the batch is " +
                        std::to_string(y_.rows()) + " x " + std::to_string(y_.cols()) + ".");
    scores_[party] = Matrix(scores);
    return {};
}

Result<double> SequentialMaster::finish() {
    Matrix z(y_.rows(), y_.cols());
    for (const Matrix& scores : scores_) add(z.view(), scores);
    const double loss = head_->loss(z, rows_);
    if (!std::isfinite(loss))
        return fail(Errc::diverged,
                    "the loss of the sequential mode is no longer finite; raise model.reg_lambda "
                    "or standardize the columns.");
    return loss;
}

}  // namespace vflbus::models
