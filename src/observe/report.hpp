#pragma once
// The final report of a run, as a plain struct, as JSON for programs and as a table for people.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errc.hpp"
#include "observe/table.hpp"

namespace vflbus::observe {

/// Names and values in the order in which they are shown. NaN and infinities are null in JSON.
using Metrics = std::vector<std::pair<std::string, double>>;

/// A column that the model does not use. Other parties say kinds and counts, and no names.
struct LeftOutColumn {
    std::string column;  ///< empty: `columns` columns of another party
    std::string reason;
    std::uint64_t columns = 1;
};

struct PartyReport {
    std::string name;
    std::string role;                   ///< "master", "member" or "arbiter"
    std::optional<std::uint32_t> rank;  ///< members only
    std::uint64_t rows = 0;             ///< in its table
    std::uint64_t rows_matched = 0;     ///< of those: in all others, or the master's, as well
    /// Rows of the run that it does not have and in which it has zeros (data.join = "left").
    std::uint64_t rows_absent = 0;
    std::uint64_t features = 0;  ///< columns that enter the model
    std::vector<LeftOutColumn> left_out;
    std::uint64_t missing_cells = 0;  ///< filled with the mean
    /// Of a prediction: texts of the rows predicted that training did not know. They count as none.
    std::uint64_t unseen_values = 0;
    /// The metrics of the model without this party, which gives its mean for every row in place of
    /// its numbers. Empty where the master does not see these.
    Metrics metrics_without;
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;
    std::string version;
    std::string host;
    std::uint64_t pid = 0;
};

struct HistoryEntry {
    std::uint64_t step = 0;
    std::uint64_t epoch = 0;
    double loss = 0;
    std::string split;  ///< "train" or "test", of a cross-validation also "fold 2 test"
    Metrics metrics;
};

/// One fold of a cross-validation: a model trained without its rows, and tested on them.
struct FoldReport {
    std::uint64_t rows_train = 0;
    std::uint64_t rows_test = 0;
    std::uint64_t steps = 0;
    std::optional<bool> converged;  ///< as of RunReport
    std::uint64_t iterations = 0;
    Metrics train;
    Metrics test;
    Metrics label_holder_alone;  ///< of the test rows
    std::vector<std::string> notes;
};

/// Of a training that keeps the model of its best look at the test rows.
struct EarlyStopping {
    std::string metric;
    double value = 0;             ///< the best one
    std::uint64_t step = 0;       ///< of the model that is kept
    std::uint64_t last_step = 0;  ///< the training went on until then
    friend bool operator==(const EarlyStopping&, const EarlyStopping&) = default;
};

/// What noise of one side promises over the whole run.
struct PrivacyPromise {
    double noise_multiplier = 0;
    double rho = 0;      ///< of zero-concentrated differential privacy
    double epsilon = 0;  ///< at the delta of the report
    friend bool operator==(const PrivacyPromise&, const PrivacyPromise&) = default;
};
/// Of a run with differential privacy.
struct PrivacyReport {
    double delta = 0;
    std::optional<PrivacyPromise> labels;    ///< of a row, by what members receive
    std::optional<PrivacyPromise> features;  ///< of a row of a member, by what leaves that member
    bool insecure_testing = false;
    friend bool operator==(const PrivacyReport&, const PrivacyReport&) = default;
};

struct RunReport {
    std::string status;  ///< "completed", "failed" or "stopped"
    std::string reason;  ///< one sentence; empty when completed
    /// Of a report that is printed, when the run is not completed: the same as fields.
    Failure failure{Errc::ok, {}};
    std::string run_id;            ///< 32 hexadecimal digits
    std::string purpose;           ///< "train", "check" or "predict"; empty in older reports
    std::string experiment_label;  ///< run.experiment_label
    std::string model;             ///< "linear", "logistic", ...
    std::string task;
    std::string algorithm;       ///< model.name, as "linear" or "mlp"; empty: of an earlier version
    std::string positive_class;  ///< of a logistic label: whose probability is predicted
    /// The same of each label of a multilabel model: label and class.
    std::vector<std::pair<std::string, std::string>> positive_classes;
    std::string protocol;
    std::uint64_t seed = 0;
    std::string config_hash;
    std::string started;  ///< UTC, 2026-02-03T04:05:06Z
    std::string finished;

    std::vector<PartyReport> parties;  ///< master first, then members by rank, an arbiter last
    std::uint64_t rows_common = 0;
    std::uint64_t rows_train = 0;
    std::uint64_t rows_test = 0;
    std::uint64_t rows_unlabelled = 0;  ///< of a prediction that has labels: rows without one

    std::string solver;             ///< "lbfgs", "sgd", ...; empty: of an earlier version
    std::optional<bool> converged;  ///< nothing: the solver takes so many steps and no more
    std::uint64_t iterations = 0;   ///< of a solver that converges
    /// What a user should know of the model, a sentence each: that it has not converged, or that it
    /// is worse than something simpler.
    std::vector<std::string> notes;
    std::optional<EarlyStopping> early_stopping;
    std::optional<PrivacyReport> differential_privacy;
    std::uint64_t steps = 0;          ///< done; of early stopping those of the model that is kept
    std::uint64_t steps_planned = 0;  ///< 0: not known yet, as of a run that ended before its steps
    std::uint64_t epochs = 0;         ///< 0: the solver takes all rows in every step
    double train_seconds = 0;
    double total_seconds = 0;
    /// How long the run was in each phase, in the order in which they were first entered.
    std::vector<std::pair<std::string, double>> phase_seconds;
    /// The rows that the model is judged by: "test", "train" or "out of fold"; empty of other runs.
    std::string evaluated;

    Metrics train;
    Metrics test;
    Metrics label_holder_alone_train;
    Metrics label_holder_alone_test;
    std::vector<HistoryEntry> history;
    /// Of a cross-validation. Then train is of the model that was trained on all rows, and test is
    /// empty.
    std::vector<FoldReport> folds;

    std::uint64_t bytes_sent = 0;  ///< by all parties
    std::uint64_t bytes_received = 0;
    std::string model_dir;
    /// The agreed half of the configuration as it was trained, but for data.id_salt: key and value
    /// as the canonical text has it.
    std::vector<std::pair<std::string, std::string>> configuration;
};

/// The version of `report.json`: it rises when a key changes its meaning or goes, not when one is
/// added. Readers ignore keys that they do not know.
inline constexpr std::uint64_t report_schema_version = 1;

/// One JSON object, keys in a fixed order. `indent` < 0: on one line.
///
///   schema schema_version status reason [error failure {}] run_id purpose experiment_label model
///   task [algorithm] [positive_class] [positive_classes {LABEL: class}] protocol seed config_hash
///   started finished
///   parties [{name role rank rows rows_matched features left_out missing_cells version host pid
///             [rows_absent] [unseen_values] [metrics_without {}]}]
///   rows {common train test parties {NAME: rows} [unlabelled]}
///   [solver] [converged iterations] [notes []] [early_stopping {metric value step last_step}]
///   [differential_privacy {delta [labels {noise_multiplier rho epsilon}]
///                          [features {noise_multiplier rho epsilon}] [insecure_testing]}]
///   steps steps_planned epochs train_seconds total_seconds phase_seconds {PHASE: seconds}
///   [evaluated]
///   metrics {train {} test {} label_holder_alone {train {} test {}}}
///   [cross_validation {folds [{rows_train rows_test steps [converged iterations] [notes []]
///                              metrics {train {} test {} label_holder_alone {}}}]
///                      mean {} deviation {}}]
///   history [{step epoch split loss metrics {}}]
///   bytes {sent received parties {NAME: {sent received}}}
///   model_dir
///   configuration {KEY: value}
std::string to_json(const RunReport& report, int indent = 2);

/// "logistic"; of a network "logistic (resnet)"; empty when the report names no task.
std::string task_and_network(const RunReport& report);

/// "7,962 common, 6,370 train, 1,592 test"; "10,000 of the master, ..." where a party lacks some.
std::string rows_text(const RunReport& report);

/// Mean and standard deviation of the folds' test metrics. The deviation is that of the K figures
/// themselves (divided by K), as numpy's std and scikit-learn's examples have it.
Metrics mean_of_folds(const std::vector<FoldReport>& folds);
Metrics deviation_of_folds(const std::vector<FoldReport>& folds);

/// The inverse. Null numbers become NaN, absent keys their defaults, unknown keys are ignored, so
/// that reports of other versions can be listed. Errors: bad_data naming the key that has a wrong
/// type, or the place where the text is no JSON; status and run_id must be there.
Result<RunReport> from_json(std::string_view text);

/// A failure as one JSON object on one line: what a child process tells its parent.
///   error sentence party phase step hint resumable for_others
/// `error` is the short name of the code; `step` is null when there is none.
std::string to_json(const Failure& failure);
/// The member "failure" of the JSON object that a process has printed; none when there is no such
/// member. A code that this version does not know becomes `internal`.
std::optional<Failure> failure_in(std::string_view printed);

/// The table at the end of a run, `width` columns wide at most; escape codes only when `color`.
std::string to_table(const RunReport& report, std::size_t width = table_columns_max,
                     bool color = false);

}  // namespace vflbus::observe
