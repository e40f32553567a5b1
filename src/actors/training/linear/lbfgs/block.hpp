#pragma once
// One party's columns and its half of the solver. Both halves of the algorithm have one.
//
// The training rows are kept in the solver's own form only (models/solver_columns.hpp), converted
// in the memory of the design that the party has prepared: a table takes its size once.

#include <cstdint>
#include <memory>

#include "actors/party.hpp"
#include "actors/training/linear/encrypted.hpp"
#include "actors/training/linear/lbfgs/messages.hpp"
#include "actors/training/linear/part.hpp"
#include "actors/training/linear/rows.hpp"
#include "actors/training/state.hpp"
#include "base/errc.hpp"
#include "data/preprocess.hpp"
#include "models/lbfgs_party.hpp"
#include "models/solver_columns.hpp"

namespace vflbus::actors::linear {

class LbfgsBlock final : public RowScores {
  public:
    /// Takes the training design of `party` (built), which outlives this. Weights are zero.
    LbfgsBlock(Party& party, LbfgsSettings settings, std::size_t outputs);

    // -- training -------------------------------------------------------------------
    /// Errors: as of LbfgsParty::answer.
    Result<> answer(models::ConstMatrixView coefficients, models::ConstMatrixView residual,
                    models::LbfgsAnswer& out) {
        return solver_->answer(coefficients, residual, out);
    }
    /// The same with X~' r in place of the residual r.
    Result<> answer_product(models::ConstMatrixView coefficients, models::ConstMatrixView product,
                            models::LbfgsAnswer& out) {
        return solver_->answer_product(coefficients, product, out);
    }
    /// Rounds X~ to the numbers that encrypted products have of it: the exponents of its columns.
    /// Before the first answer.
    std::vector<int> round_columns();
    /// X~ as integers, to which its numbers are rounded at the same time, so that scores and
    /// gradients are those of the same columns. Before the first answer.
    void make_integers(IntegerColumns& columns);
    /// Scores X w in the unit of the scaled labels, without intercept.
    Result<> scores(TableKind side, std::uint64_t first, std::uint64_t count,
                    models::Matrix& z) const override;

    // -- properties -----------------------------------------------------------------
    [[nodiscard]] std::size_t features() const noexcept { return solver_->features(); }
    [[nodiscard]] std::size_t outputs() const noexcept { return solver_->outputs(); }
    [[nodiscard]] const models::SolverColumns& columns() const noexcept { return columns_; }

    // -- commits and parts ------------------------------------------------------------
    void save(StateWriter& writer) const;
    /// Replaces weights and memory. bad_data when the sizes do not fit.
    Result<> restore(const models::LbfgsPartyState& state) { return solver_->set_state(state); }
    /// What a state begins with: settings, for making the block that it is restored into.
    static LbfgsSettings saved_settings(StateReader& reader);
    /// What follows them.
    static models::LbfgsPartyState saved_solver(StateReader& reader);
    /// Features, scaling and weights in label units under `head`. Errors: diverged when a weight is
    /// too large for a number.
    [[nodiscard]] Result<ModelPart> part(ModelHead head) const;

  private:
    Party* party_;
    LbfgsSettings settings_;
    data::Design design_;  ///< its memory is that of columns_
    models::SolverColumns columns_;
    std::unique_ptr<models::LbfgsParty> solver_;  ///< on columns_, which must not move
};

/// Outputs that share no weight are solved side by side (models/objective.hpp).
std::size_t solver_groups(vflbus::Task task, std::size_t outputs);

}  // namespace vflbus::actors::linear
