#pragma once
// The master's half of L-BFGS: it adds up what the parties answer, knows the loss anywhere in the
// span of the remembered vectors, and chooses the next step. See lbfgs.hpp.
//
// One round:  request() goes to all parties, the master's own half included;
//             begin_answers(), then add() for each answer, the master's own first, then by rank;
//             advance() takes the sums and chooses the next step, or finds that it is done.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/errc.hpp"
#include "models/lbfgs.hpp"
#include "models/matrix.hpp"
#include "models/objective.hpp"
#include "models/panels.hpp"
#include "models/solver_columns.hpp"

namespace vflbus::models {

/// How a training by L-BFGS stands.
enum class LbfgsEnd : std::uint8_t {
    running,
    converged,       ///< every group's gradient is under the tolerance
    max_iterations,  ///< it was still getting better
    no_progress,     ///< neither loss nor gradient have become smaller for ten rounds
};

/// One group's course, as far as the next step depends on it.
struct LbfgsGroupState {
    LbfgsEnd end = LbfgsEnd::running;
    double start_norm = 0;
    double norm = 0;        ///< of the gradient after the last answer
    double least_norm = 0;  ///< reached so far
    double least_value = 0;
    std::uint64_t idle_rounds = 0;
    double step_error = 0;  ///< bound of the rounding error in X s, relative to its length

    bool operator==(const LbfgsGroupState&) const = default;
};

/// Everything of a LbfgsMaster that a commit stores: what it was after advance(). The request of
/// the next round follows from it bit for bit.
struct LbfgsMasterState {
    std::uint64_t rounds = 0;
    std::vector<double> scores;  ///< z: n x k, of the weights that the parties answered with
    std::vector<double>
        memory;  ///< for each output n x (m + 1) in panels: X g, X s; empty when done
    std::vector<double> products;        ///< for each group (m + 2) x (m + 2)
    std::vector<double> intercept;       ///< b~: k
    std::vector<double> intercept_step;  ///< what the next step adds to it: k
    std::vector<double> offsets;         ///< mean' w, summed over the parties: k
    std::vector<double> coefficients;    ///< of the next step: (m + 1) x groups
    std::vector<double> losses;          ///< at `scores`, one per group
    std::vector<LbfgsGroupState> groups;

    bool operator==(const LbfgsMasterState&) const = default;
};

class LbfgsMaster {
  public:
    /// bad_config when the configuration makes no sense.
    static Result<LbfgsMaster> create(Objective objective, bool intercept,
                                      const LbfgsConfig& config);

    // -- a round ------------------------------------------------------------------
    /// What all parties are asked next; valid until advance(). Not to be sent once done().
    const LbfgsRequest& request() const noexcept { return request_; }
    /// The sum of X g replaces that of the oldest gradient: state() is not to be asked for before
    /// advance().
    void begin_answers();
    /// One party's answer, in rank order. malformed_message when its shapes do not fit, diverged
    /// when a number is not finite; the training then goes on from a state that was stored before.
    Result<> add(ConstMatrixView scores, std::span<const double> scalars);
    /// Chooses the next step. Errc::diverged when the loss is no longer finite.
    Result<> advance();

    // -- how it stands --------------------------------------------------------------
    bool done() const noexcept { return end() != LbfgsEnd::running; }
    LbfgsEnd end() const noexcept;
    /// Steps that the parties have taken and answered for.
    std::uint64_t iterations() const noexcept { return rounds_ == 0 ? 0 : rounds_ - 1; }
    /// Mean loss of the training rows in label units (without the penalty), after those steps; of
    /// several labels their mean. Without weights it is `loss` of metrics_for.
    double loss() const noexcept;
    /// The loss of the best constant: what it started from.
    double constant_loss() const noexcept;
    /// Norm of the gradient: the largest group's.
    double gradient_norm() const noexcept;

    // -- results --------------------------------------------------------------------
    const Objective& objective() const noexcept { return objective_; }
    /// lambda of 1/2 lambda |w|^2 beside the mean loss: l2 / W. Every party's columns need it.
    double penalty() const noexcept { return penalty_; }
    /// How every party's columns are to be scaled.
    ColumnOptions column_options() const noexcept {
        return {intercept_on_, curvature_bound(objective_.task()), penalty_};
    }
    /// The model's intercept in label units: k values, or none without an intercept.
    std::vector<double> intercept() const;
    /// Turns sums of scores X w of any rows (n x k, w in units of the scaled labels) into the
    /// model's scores with intercept, in label units.
    void finish_scores(MatrixView z) const;
    /// The model's scores of the training rows, with intercept, in label units: n x k. Needs no
    /// party.
    Matrix training_scores() const;
    /// Their predictions: values or probabilities.
    Matrix predict_training_rows() const;

    // -- commits --------------------------------------------------------------------
    LbfgsMasterState state() const;
    /// Refuses other sizes and numbers that are not finite (bad_data).
    Result<> set_state(LbfgsMasterState state);

  private:
    LbfgsMaster(Objective objective, bool intercept, const LbfgsConfig& config);

    struct Span {
        Matrix hessian;  ///< intercepts of the group first, then the slots
        std::vector<double> gradient;
    };
    struct Trial {
        double loss = 0;   ///< mean over the rows
        double slope = 0;  ///< by the length of the step
    };

    std::size_t first_output(std::size_t group) const noexcept {
        return group * objective_.group_outputs();
    }
    double product(std::size_t group, std::size_t i, std::size_t j) const noexcept {
        return products_[group](i, j);
    }
    double value(std::size_t group) const noexcept;
    void forget();
    void take_step();
    void take_step_scores();
    void take_products();
    void judge(std::size_t group);
    double intercept_slope(std::size_t output) const;
    Result<> choose_step(std::size_t group);
    bool try_step(std::size_t group, const Span& span, std::span<const std::size_t> order,
                  double tolerance);
    std::optional<double> length_along(std::size_t group, const Span& span,
                                       std::span<const double> c);
    double error_of(std::size_t group, const Span& span, std::span<const double> c) const;
    void measure_span(std::size_t group, Span& span);
    void add_group_panel(std::size_t group, std::size_t p, Span& span);
    void add_softmax_coupling(std::size_t p, Span& span);
    void combine(std::size_t group);
    Trial measure(std::size_t group, double length);
    void set_coefficients(std::size_t group, std::span<const double> c, double length);

    Objective objective_;
    bool intercept_on_;
    LbfgsConfig config_;
    LbfgsSlots slots_;
    double penalty_;

    std::uint64_t rounds_ = 0;
    Matrix z_;                         ///< n x k, with intercept
    std::vector<PanelMatrix> memory_;  ///< per output n x (m + 1): X g, X s
    std::vector<Matrix> products_;     ///< per group (m + 2) x (m + 2)
    std::vector<double> intercept_;
    std::vector<double> intercept_step_;
    std::vector<double> offsets_;
    std::vector<double> losses_;  ///< per group; mean
    double constant_loss_ = 0;
    std::vector<LbfgsGroupState> groups_;
    LbfgsRequest request_;

    // -- scratch ----------------------------------------------------------------------
    Matrix step_scores_;  ///< X s of the step that is being chosen: n x k
    std::vector<double> sum_scalars_;
    std::vector<double> step_losses_;  ///< at the end of the step, per group
    ObjectiveScratch scratch_;
    Matrix panel_z_;
    Matrix panel_step_;
    Matrix panel_residual_;
    Matrix panel_weights_;
    Matrix weighted_;
    Matrix coupling_;
    std::vector<double> row_share_;
    Matrix part_;
};

}  // namespace vflbus::models
