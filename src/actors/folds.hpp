#pragma once
// Cross-validation at the master: which rows each fold tests, and what has come of the folds so
// far.
//
// The problem: one split into training and test rows says little where rows are few. With
// data.folds = K a run trains K + 1 models, one after another, over the same aligned rows: model i
// is trained without the rows of fold i and tested on them, and the last one is trained on all
// rows. That last one is the model of the run; the metrics of the folds say how good it can be
// expected to be.
//
// A *fit* is one of these trainings. To members a fit is a training like any other, which `begin`
// begins with its test rows and its first step; of folds they know only that another may follow
// (data.folds), so that they keep their tables. The steps of a run are counted on from fit to fit,
// so that commits have an order. Without data.folds a run has one fit, and this class has nothing
// to do.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/party.hpp"
#include "actors/run/commit_file.hpp"
#include "actors/training/algorithm.hpp"
#include "base/errc.hpp"
#include "models/matrix.hpp"
#include "observe/report.hpp"

namespace vflbus::actors {

class Folds {
  public:
    /// Deals the aligned rows of `own` to data.folds folds: of classes each fold has its share
    /// (data.stratify), and rows of one id are in one fold. A function of ids, labels and seed.
    /// Errors: bad_config when a class, or the table, has fewer ids than there are folds.
    static Result<Folds> create(const Party& own);

    // -- the fit at hand ----------------------------------------------------------------
    [[nodiscard]] bool any() const noexcept { return count_ != 0; }
    /// Its number, counted from 0.
    [[nodiscard]] std::uint64_t fit() const noexcept { return fit_; }
    /// It trains the model of the run, on all rows.
    [[nodiscard]] bool last() const noexcept { return fit_ == count_; }
    /// Steps of the run before it.
    [[nodiscard]] std::uint64_t first() const noexcept { return first_; }
    /// "fold 2 ", for what is said of it; empty for the last one.
    [[nodiscard]] std::string prefix() const;
    /// Test rows of the fit are those of its fold. Only with folds.
    Result<> split(Party& own) const;

    // -- what has come of the folds -------------------------------------------------------
    /// The fold at hand is over after `step` steps of the run. `predictions`: of its test rows.
    void finish(observe::FoldReport result, const models::Matrix& predictions, std::uint64_t step);
    [[nodiscard]] const std::vector<observe::FoldReport>& results() const noexcept {
        return results_;
    }
    /// The predictions of the folds for all rows, as a table with the ids of `own`: id, fold,
    /// prediction. In the order of its file.
    [[nodiscard]] std::string csv(const Party& own, const data::LabelCoding& coding,
                                  const std::string& id_column) const;

    /// Of all aligned rows, each by the model that was trained without it (n x outputs).
    [[nodiscard]] const models::Matrix& predictions() const noexcept { return predictions_; }

    // -- commits --------------------------------------------------------------------------
    [[nodiscard]] FoldsCommit save() const;
    /// Goes back to what `save` gave; to the first fit when there is nothing to go back to.
    void restore(const std::optional<FoldsCommit>& saved);

  private:
    std::uint64_t count_ = 0;
    std::uint64_t fit_ = 0;
    std::uint64_t first_ = 0;
    std::vector<std::uint32_t> fold_of_;  ///< each aligned row
    std::vector<observe::FoldReport> results_;
    models::Matrix predictions_;  ///< of all aligned rows; of folds to come 0
};

/// The same half, with steps that are counted from `first`.
std::unique_ptr<MasterHalf> counted_from(std::uint64_t first, std::unique_ptr<MasterHalf> half);

}  // namespace vflbus::actors
