#pragma once
// A whole training by L-BFGS at one party: both halves in one process. What the label holder
// reaches alone, by the same solver to the same tolerance, for comparison with the run; and in
// tests the joined fit that a run over several parties must meet.

#include <memory>
#include <span>

#include "base/errc.hpp"
#include "models/lbfgs_master.hpp"
#include "models/lbfgs_party.hpp"
#include "models/matrix.hpp"
#include "models/solver_columns.hpp"

namespace vflbus::models {

struct LbfgsTrainerConfig {
    bool intercept = true;
    ClassWeights class_weights;
    LbfgsConfig solver;
};

class LbfgsTrainer {
  public:
    /// `design`: n x d of the rows of `labels`, copied; d = 0 gives the best constant.
    /// row_weights: none, or one per row. Errors as of Objective::create and LbfgsMaster::create.
    static Result<LbfgsTrainer> create(DesignView design, Labels labels,
                                       const LbfgsTrainerConfig& config,
                                       std::span<const double> row_weights = {});
    /// With columns that were scaled before (LbfgsMaster::column_options), which must outlive this.
    static Result<LbfgsTrainer> create(const SolverColumns& columns, LbfgsMaster master);

    /// One iteration; not after done().
    Result<> step();
    /// Steps until it is done.
    Result<> run();

    // -- results ------------------------------------------------------------------
    bool done() const noexcept { return master_.done(); }
    const LbfgsMaster& master() const noexcept { return master_; }
    const LbfgsParty& party() const noexcept { return party_; }
    /// Values or probabilities for the rows it was trained on, or of another table.
    Matrix predict_training_rows() const { return master_.predict_training_rows(); }
    Matrix predict(DesignView design) const;

  private:
    LbfgsTrainer(std::unique_ptr<SolverColumns> owned, const SolverColumns& columns,
                 LbfgsMaster master);

    std::unique_ptr<SolverColumns> owned_;  ///< null: the columns are somebody else's
    LbfgsMaster master_;
    LbfgsParty party_;
    LbfgsAnswer answer_;
};

}  // namespace vflbus::models
