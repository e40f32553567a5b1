#pragma once
// A whole model at one party: what the label holder reaches alone, for comparison, in the same run
// with the same hyperparameters and batches. Tests use it as the joined fit that a vertical run
// must meet.

#include <optional>
#include <span>
#include <vector>

#include "base/errc.hpp"
#include "models/head.hpp"
#include "models/matrix.hpp"
#include "models/metrics.hpp"
#include "models/party_model.hpp"
#include "models/ridge.hpp"

namespace vflbus::models {

struct LocalConfig {
    HeadConfig head;            ///< head.optimizer steps the intercept
    OptimizerConfig optimizer;  ///< of the weights
    bool sequential = false;    ///< linear only: ridge least squares per batch
    double reg_lambda = 0;      ///< of the sequential mode
};

class LocalTrainer {
  public:
    /// `design`: n x d of the same records as `labels`; d = 0 gives the constant predictor, whose
    /// intercept stays where the training labels put it. The design must outlive the trainer.
    static Result<LocalTrainer> create(DesignView design, Labels labels, const LocalConfig& config,
                                       std::span<const RowIndex> train_rows = {});

    /// One step on the given rows; returns their loss before it (sequential: after it).
    Result<double> step(std::span<const RowIndex> rows);

    // -- results ------------------------------------------------------------------
    /// k values or probabilities for the given rows of its design, or of another one.
    Matrix predict(std::span<const RowIndex> rows) const;
    Matrix predict(DesignView design) const;
    Metrics metrics(std::span<const RowIndex> rows) const;

    // -- properties -------------------------------------------------------------
    const Head& head() const noexcept { return head_; }
    const PartyModel& model() const noexcept { return model_; }

  private:
    LocalTrainer(DesignView design, Head head, PartyModel model, const LocalConfig& config);
    Result<double> step_sequential(std::span<const RowIndex> rows);
    Result<> factor(std::span<const RowIndex> rows);

    DesignView design_;
    Head head_;
    PartyModel model_;
    LocalConfig config_;
    Matrix batch_;
    Matrix scores_;
    HeadStep work_;
    std::optional<RidgeFactors> factors_;  ///< of the rows of the last sequential step, ...
    std::vector<RowIndex> factored_rows_;  ///< ... in this order
};

}  // namespace vflbus::models
