#pragma once
// The masters of the four kinds of run. Each is a ServerApp: give it to Node::drive, then read its
// results.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "actors/model_file.hpp"
#include "actors/run/run.hpp"
#include "data/features.hpp"

namespace vflbus::actors {

/// Trains one model. Afterwards report() is filled, and the model parts, report.json and agreed.txt
/// are written.
/// Nothing is written before the broker has welcomed the process that drives it.
/// Errors: bad_config for an agreed half that no run can have (world_size 0, an unbuilt protocol);
/// of a run that is to be resumed: state_lost, not_owner, config_differs, too_many.
Result<std::unique_ptr<Run>> make_train_master(MasterOptions options);

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

struct CheckResult {
    std::vector<CheckedParty> parties;  ///< the master first, then members by rank
    std::uint64_t common = 0;
    std::uint64_t common_test = 0;  ///< of the test tables, when all parties have them
};

/// `vflbus check`: joins, echoes and aligns without training.
class CheckMaster final : public Run {
  public:
    explicit CheckMaster(MasterOptions options);
    [[nodiscard]] const std::vector<CheckedParty>& checked() const noexcept {
        return result_.parties;
    }
    [[nodiscard]] std::uint64_t common() const noexcept { return result_.common; }
    [[nodiscard]] std::uint64_t common_test() const noexcept { return result_.common_test; }

  private:
    CheckResult result_;
};
Result<std::unique_ptr<CheckMaster>> make_check_master(MasterOptions options);

// -- features ---------------------------------------------------------------------

struct PartyFeatures {
    std::string name;
    /// Those of members have no names, and bins only where the protocol hides the labels.
    std::vector<data::FeatureFigures> columns;
};

struct FeaturesResult {
    std::uint64_t rows = 0;  ///< training rows
    std::string positive_class;
    std::vector<PartyFeatures> parties;  ///< the master first, then members by rank
};

/// `vflbus features`: what each column tells of the label, and of other columns of its party.
/// Errors: bad_config for a task other than logistic, or noise for differential privacy.
class FeaturesMaster final : public Run {
  public:
    explicit FeaturesMaster(MasterOptions options);
    [[nodiscard]] const FeaturesResult& features() const noexcept { return result_; }

  private:
    FeaturesResult result_;
};
Result<std::unique_ptr<FeaturesMaster>> make_features_master(MasterOptions options);

// -- predict ----------------------------------------------------------------------

struct PredictOptions {
    RunId model;                ///< the training run whose model parts are used
    std::filesystem::path out;  ///< the CSV; empty: not written (see csv())
};

/// The master's part of the model, and where the predictions go.
struct PredictJob {
    ModelHead head;
    std::string text;  ///< of the part
    std::string path;
    std::filesystem::path root;  ///< of the model
    std::filesystem::path out;
};

struct PredictResult {
    std::string csv;
    std::uint64_t rows = 0;
};

/// `vflbus predict`: all parties score their prediction tables with their own model parts. Metrics
/// are in report().test when the master's table has the labels.
///
/// CSV, in the order of the master's file: the id column by its name, then for each task
///   linear      prediction (the number)
///   logistic    prediction (the class), probability_<positive class>
///   multilabel  prediction_<label> (the class) and probability_<label> (of the positive one) each
///   softmax     prediction (the class), probability_<class> each
class PredictMaster final : public Run {
  public:
    PredictMaster(MasterOptions options, PredictJob job);
    [[nodiscard]] const std::string& csv() const noexcept { return result_.csv; }
    [[nodiscard]] std::uint64_t rows() const noexcept { return result_.rows; }

  private:
    PredictJob job_;
    PredictResult result_;
};
Result<std::unique_ptr<PredictMaster>> make_predict_master(MasterOptions options,
                                                           PredictOptions predict);

}  // namespace vflbus::actors
