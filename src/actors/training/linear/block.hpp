#pragma once
// One party's block of a linear model: its weights, the optimizer that steps them, and the batches
// that all parties take in the same order. Both halves have one, on the designs of their Party.

#include <cstdint>
#include <optional>
#include <string_view>

#include "actors/model_file.hpp"
#include "actors/party.hpp"
#include "actors/training/linear/part.hpp"
#include "actors/training/linear/rows.hpp"
#include "actors/training/schedule.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "models/head.hpp"
#include "models/matrix.hpp"
#include "models/party_model.hpp"
#include "models/ridge.hpp"

namespace vflbus::actors::linear {

/// The optimizer and the label holder's link, in the words of the models room.
models::OptimizerConfig optimizer_of(const config::ModelConfig& model);
models::HeadConfig head_config(const config::ModelConfig& model);

class Block final : public RowScores {
  public:
    /// Zero weights for `outputs` outputs on the designs of `party` (built), which outlives this.
    static Result<Block> create(const Party& party, std::size_t outputs);
    /// For a prediction: the weights of a stored part, whose columns `party` uses from here on.
    static Result<Block> create(Party& party, const ModelPart& part);

    // -- training -------------------------------------------------------------------
    /// Gathers batch `step` and writes its scores (b x k, or 0 x k after the last) to `z`. `rows`:
    /// the batch, where it was gathered before.
    void batch_scores(std::uint64_t step, models::Matrix& z,
                      std::optional<models::Matrix> rows = {});
    /// One optimizer step with a gradient (features x outputs) that was reached otherwise.
    Result<> apply_gradient(models::ConstMatrixView gradient) {
        return model_.apply_gradient(gradient);
    }
    /// The batch gathered last (b x features).
    [[nodiscard]] models::ConstMatrixView batch() const noexcept { return batch_; }
    /// That numbers that were sent have a row for each of that batch and a column for each output.
    /// `what`: "a residual". Errors: malformed_message.
    [[nodiscard]] Result<> check_shape(std::string_view what, models::ConstMatrixView sent) const;
    /// One optimizer step on the batch gathered last. malformed_message when the shape differs.
    Result<> update(models::ConstMatrixView residual);
    /// Ridge solution on the batch gathered last; its new scores to `z`. Where all steps have the
    /// same rows the matrix is factored in the first one, and then no more.
    Result<> solve(models::ConstMatrixView target, models::Matrix& z);
    Result<> scores(TableKind side, std::uint64_t first, std::uint64_t count,
                    models::Matrix& z) const override;

    // -- properties -----------------------------------------------------------------
    [[nodiscard]] BatchSchedule& schedule() noexcept { return schedule_; }
    [[nodiscard]] const BatchSchedule& schedule() const noexcept { return schedule_; }
    [[nodiscard]] std::size_t features() const noexcept { return model_.features(); }
    [[nodiscard]] std::size_t outputs() const noexcept { return model_.outputs(); }

    // -- commits and parts ------------------------------------------------------------
    [[nodiscard]] models::PartyState state() const { return model_.state(); }
    /// Replaces weights and optimizer. bad_data when the sizes do not fit.
    Result<> restore(models::PartyState state) { return model_.set_state(std::move(state)); }
    /// Features, scaling and weights under `head`.
    [[nodiscard]] ModelPart part(ModelHead head) const;

  private:
    Block(const Party& party, models::PartyModel model)
        : party_(&party), model_(std::move(model)) {}

    const Party* party_;
    models::PartyModel model_;
    BatchSchedule schedule_;
    models::Matrix batch_;
    bool gathered_ = false;                        ///< it is that of all steps
    std::optional<models::RidgeFactors> factors_;  ///< of that batch
};

}  // namespace vflbus::actors::linear
