#pragma once
// The party's half of L-BFGS: its block of the weights and of the remembered vectors. It learns
// the residual and the coefficients, never a label or another party's numbers. See lbfgs.hpp.

#include <cstdint>
#include <span>
#include <vector>

#include "base/errc.hpp"
#include "models/lbfgs.hpp"
#include "models/matrix.hpp"
#include "models/solver_columns.hpp"

namespace vflbus::models {

/// Everything of a LbfgsParty that a commit stores.
struct LbfgsPartyState {
    std::uint64_t rounds = 0;
    std::vector<double> vectors;  ///< for each output a block d x (m + 2): gradients, s, v

    bool operator==(const LbfgsPartyState&) const = default;
};

class LbfgsParty {
  public:
    /// `columns` must outlive this; it may have no column. `outputs` is a multiple of `groups`.
    /// All weights start at 0.
    LbfgsParty(const SolverColumns& columns, std::size_t outputs, std::size_t groups);

    /// One round: takes the step, computes the new gradient, answers. malformed_message when the
    /// shapes of the request do not fit, diverged when a number is no longer finite; the state is
    /// then not to be used again.
    Result<> answer(ConstMatrixView coefficients, ConstMatrixView residual, LbfgsAnswer& out);

    /// The same with X~' r (features x outputs), which was computed otherwise, in place of r.
    Result<> answer_product(ConstMatrixView coefficients, ConstMatrixView product,
                            LbfgsAnswer& out);

    // -- properties -------------------------------------------------------------
    std::size_t features() const noexcept { return columns_->cols(); }
    std::size_t outputs() const noexcept { return vectors_.size(); }
    std::uint64_t rounds() const noexcept { return rounds_; }
    const LbfgsSlots& slots() const noexcept { return slots_; }
    /// Weights v of the scaled columns: d x outputs.
    Matrix scaled_weights() const;
    /// Weights w of the table's columns, d x outputs, times the unit of the labels (k;
    /// objective.hpp): what a model part stores.
    Matrix weights(std::span<const double> unit) const;

    // -- commits ----------------------------------------------------------------
    LbfgsPartyState state() const;
    /// Refuses other sizes and numbers that are not finite (bad_data).
    Result<> set_state(const LbfgsPartyState& state);

  private:
    void step(ConstMatrixView coefficients);
    Result<> check(ConstMatrixView coefficients, ConstMatrixView numbers, std::size_t rows) const;
    Result<> finish_answer(LbfgsAnswer& out);
    void take_gradient();
    void take_products(std::vector<double>& scalars) const;

    const SolverColumns* columns_;
    std::size_t groups_;
    LbfgsSlots slots_;
    std::uint64_t rounds_ = 0;
    std::vector<Matrix> vectors_;  ///< per output d x (m + 2): gradients, s, v
    Matrix gradient_;              ///< d x outputs
};

}  // namespace vflbus::models
