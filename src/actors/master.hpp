#pragma once
// The three masters. Each is a ServerApp: give it to Node::drive, then read its results.

#include <memory>
#include <string>
#include <vector>

#include "actors/run_master.hpp"

namespace vflbus::actors {

/// Trains one model. Afterwards report() is filled, and the model parts, report.json and agreed.txt
/// are written.
/// Nothing is written before the broker has welcomed the process that drives it.
/// Errors: bad_config for an agreed half that no run can have (world_size 0, an unbuilt protocol);
/// of a run that is to be resumed: state_lost, not_owner, config_differs, too_many.
Result<std::unique_ptr<RunMaster>> make_train_master(MasterOptions options);

// -- check ------------------------------------------------------------------------

struct CheckedParty {
    std::string name;
    std::string version;
    std::uint64_t rows = 0;
    std::uint64_t duplicate_rows = 0;
    std::uint64_t missing_cells = 0;
    std::uint64_t columns = 0;
    double match_rate = 0;      ///< common ids / its own ids
    Duration round_trip_min{};  ///< of an empty echo; 0 for the master itself
    Duration round_trip_median{};
};

/// `vflbus check`: joins, echoes and aligns without training.
class CheckMaster : public RunMaster {
  public:
    [[nodiscard]] virtual const std::vector<CheckedParty>& parties() const noexcept = 0;
    [[nodiscard]] virtual std::uint64_t common() const noexcept = 0;
    /// Of the test tables, when all parties have them.
    [[nodiscard]] virtual std::uint64_t common_test() const noexcept = 0;

  protected:
    using RunMaster::RunMaster;
};
Result<std::unique_ptr<CheckMaster>> make_check_master(MasterOptions options);

// -- predict ----------------------------------------------------------------------

struct PredictOptions {
    RunId model;                ///< the training run whose model parts are used
    std::filesystem::path out;  ///< the CSV; empty: not written (see csv())
};

/// `vflbus predict`: all parties score their prediction tables with their own model parts. Metrics
/// are in report().test when the master's table has the labels.
///
/// CSV: the id column's name, then `prediction` (linear: the value; logistic: the probability),
/// `prediction_<label>` each (multilabel), or `prediction` (the class) and `probability_<class>`
/// each (softmax), in the order of the master's file.
class PredictMaster : public RunMaster {
  public:
    [[nodiscard]] virtual const std::string& csv() const noexcept = 0;
    [[nodiscard]] virtual std::uint64_t rows() const noexcept = 0;

  protected:
    using RunMaster::RunMaster;
};
Result<std::unique_ptr<PredictMaster>> make_predict_master(MasterOptions options,
                                                           PredictOptions predict);

}  // namespace vflbus::actors
