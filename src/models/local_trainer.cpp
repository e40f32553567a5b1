#include "models/local_trainer.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <string>
#include <utility>

#include "models/sequential.hpp"

namespace vflbus::models {

Result<LocalTrainer> LocalTrainer::create(DesignView design, Labels labels,
                                          const LocalConfig& config,
                                          std::span<const RowIndex> train_rows) {
    assert(design.cols == 0 || design.rows == labels.rows());
    if (Result<> ok = validate(config.optimizer); !ok)
        return tl::unexpected<Failure>(std::move(ok.error()));
    if (config.sequential && labels.task != Task::linear)
        return fail(Errc::bad_config,
                    "model.sequential = true works with model.task = \"linear\" only.");
    Result<Head> head = Head::create(std::move(labels), config.head, train_rows);
    if (!head) return tl::unexpected<Failure>(std::move(head.error()));
    PartyModel model(design.cols, head->outputs(), config.optimizer);
    return LocalTrainer(design, *std::move(head), std::move(model), config);
}

LocalTrainer::LocalTrainer(DesignView design, Head head, PartyModel model,
                           const LocalConfig& config)
    : design_(design), head_(std::move(head)), model_(std::move(model)), config_(config) {}

Result<double> LocalTrainer::step(std::span<const RowIndex> rows) {
    if (design_.cols == 0) {
        scores_.resize(rows.size(), head_.outputs());
        return head_.loss(scores_, rows);
    }
    gather_batch(design_, rows, batch_);
    model_.scores(batch_, scores_);
    if (config_.sequential) return step_sequential(rows);
    if (Result<> ok = head_.forward_backward(scores_, rows, work_); !ok)
        return tl::unexpected<Failure>(std::move(ok.error()));
    if (Result<> ok = model_.update(batch_, work_.residual); !ok)
        return tl::unexpected<Failure>(std::move(ok.error()));
    return work_.loss;
}

Result<double> LocalTrainer::step_sequential(std::span<const RowIndex> rows) {
    SequentialMaster master(head_, 1);
    if (Result<> ok = master.begin({&scores_, 1}, rows); !ok)
        return tl::unexpected<Failure>(std::move(ok.error()));
    const Result<Matrix> target = master.target(0);
    if (!target) return tl::unexpected<Failure>(target.error());
    if (Result<> ok = factor(rows); !ok) return tl::unexpected<Failure>(std::move(ok.error()));
    if (Result<> ok = model_.fit_ridge(*factors_, batch_, *target, config_.reg_lambda, scores_);
        !ok)
        return tl::unexpected<Failure>(std::move(ok.error()));
    if (Result<> ok = master.accept(0, scores_); !ok)
        return tl::unexpected<Failure>(std::move(ok.error()));
    return master.finish();
}

/// The factors of the batch, unless they are those of the last one.
Result<> LocalTrainer::factor(std::span<const RowIndex> rows) {
    if (factors_ && std::ranges::equal(factored_rows_, rows)) return {};
    Result<RidgeFactors> factors = RidgeFactors::create(batch_);
    if (!factors) return tl::unexpected<Failure>(std::move(factors.error()));
    factors_ = *std::move(factors);
    factored_rows_.assign(rows.begin(), rows.end());
    return {};
}

Matrix LocalTrainer::predict(std::span<const RowIndex> rows) const {
    if (design_.cols == 0) return head_.predict(Matrix(rows.size(), head_.outputs()));
    return head_.predict(model_.design_scores(design_, rows));
}

Matrix LocalTrainer::predict(DesignView design) const {
    assert(design.cols == model_.features());
    return head_.predict(model_.design_scores(design));
}

Metrics LocalTrainer::metrics(std::span<const RowIndex> rows) const {
    return metrics_for(select(head_.labels(), rows), predict(rows));
}

}  // namespace vflbus::models
