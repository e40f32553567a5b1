#include "config/privacy.hpp"

#include <limits>
#include <string>

#include "base/text.hpp"
#include "config/value.hpp"

namespace vflbus::config {
namespace {

/// Of so many releases with noise that is `multiplier` times the sensitivity.
double rho_of_releases(double releases, double multiplier) {
    if (multiplier <= 0) return std::numeric_limits<double>::infinity();
    return releases / (2 * multiplier * multiplier);
}

/// Trainings that one row takes part in: of K folds K - 1, and the last one on all rows.
double trainings_of_row(const AgreedHalf& agreed) {
    return static_cast<double>(agreed.data.folds == 0 ? 1 : agreed.data.folds);
}

/// `key` must be off; `why` ends the sentence.
void refuse(const Config& config, std::string_view key, bool wrong, const std::string& why,
            Problems& problems) {
    if (wrong)
        problems.add(at(config, {key}) + "differential privacy ([privacy]) does not go with " +
                     why);
}

}  // namespace

void check_privacy(const Config& config, Problems& problems) {
    const PrivacyConfig& privacy = config.privacy;
    if (!privacy.any()) {
        if (privacy.insecure_testing)
            problems.add(at(config, {"privacy.insecure_testing"}) +
                         "privacy.insecure_testing has no meaning without noise; the nearest is "
                         "privacy.noise_multiplier");
        return;
    }
    const ModelConfig& model = config.model;
    const bool labels = privacy.noise_multiplier > 0;
    const bool features = privacy.score_noise_multiplier > 0;
    refuse(config, "model.name", model.name != ModelName::linear,
           "model.name = " + quote(name_of(model.name)) +
               ": one row changes what a network sends of others without a bound; the nearest is "
               "\"linear\"",
           problems);
    if (model.name == ModelName::linear)
        refuse(config, "model.solver", model.solver != Solver::sgd && model.solver != Solver::adam,
               "model.solver = " + quote(name_of(model.solver)) +
                   (model.solver == Solver::lbfgs
                        ? std::string(": its line search and its stop ask for exact sums over all "
                                      "rows, as often as it takes")
                        : std::string(": its targets are sent as they are")) +
                   "; state \"sgd\" or \"adam\"",
               problems);
    refuse(
        config, "run.protocol", config.run.protocol == Protocol::arbitered,
        "run.protocol = \"arbitered\", which no noise is built for; the nearest is \"encrypted\"",
        problems);
    refuse(config, "model.task", has_log_link(model.task),
           "model.task = " + quote(name_of(model.task)) +
               ", whose steps are measured by the mean of all labels",
           problems);
    refuse(config, "model.early_stopping", !model.early_stopping.empty(),
           "model.early_stopping, which chooses by the test rows as they are", problems);
    refuse(config, "model.class_weights",
           labels && model.class_weights.rule == ClassWeights::Rule::balanced,
           "model.class_weights = \"balanced\", which are counted on the labels; write numbers, or "
           "\"none\"",
           problems);
    refuse(config, "data.stratify",
           labels && config.data.stratify &&
               (config.data.test_fraction > 0 || config.data.folds > 0) &&
               model.task != Task::linear,
           "data.stratify = true: which rows are test rows would depend on the labels; set "
           "data.stratify = false",
           problems);
    refuse(config, "model.report_test_metrics_iteration",
           features && (model.report_test_metrics_iteration != 0 ||
                        model.report_train_metrics_iteration != 0),
           "metrics on the way where members hide their scores: each look would be another "
           "release of every row; leave model.report_*_metrics_iteration at 0",
           problems);
}

double rho_of_labels(const AgreedHalf& agreed) {
    // masked and honest: one release of residuals. encrypted: the gradients of each member, of the
    // master's own columns, and of the intercept, as what members receive depends on all of them.
    double releases = 1;
    if (agreed.run.protocol == Protocol::encrypted)
        releases =
            static_cast<double>(agreed.run.world_size) + 1 + (agreed.model.intercept ? 1 : 0);
    releases *= trainings_of_row(agreed) * static_cast<double>(agreed.model.epochs);
    return rho_of_releases(releases, agreed.privacy.noise_multiplier);
}

double rho_of_features(const AgreedHalf& agreed) {
    // in an epoch the scores of the row, and a step of weights; at the end of a training the scores
    // once more, those of test rows as well
    const double of_training = 2 * static_cast<double>(agreed.model.epochs) + 1;
    const double as_test_row = agreed.data.folds == 0 ? 0 : 1;
    return rho_of_releases(trainings_of_row(agreed) * of_training + as_test_row,
                           agreed.privacy.score_noise_multiplier);
}

double rho_of_predicted_features(const AgreedHalf& agreed) {
    return rho_of_releases(1, agreed.privacy.score_noise_multiplier);
}

}  // namespace vflbus::config
