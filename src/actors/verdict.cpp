#include "actors/verdict.hpp"

#include <numeric>
#include <string_view>

#include "base/text.hpp"
#include "models/head.hpp"
#include "models/metrics.hpp"
#include "models/verdict.hpp"

namespace vflbus::actors {
namespace {

double mean_of(std::span<const double> losses) {
    return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
}

/// Four digits are enough to compare two figures.
std::string figure(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    return text;
}

/// The losses are weighted as they were in the training.
std::vector<double> weights_in(const config::ModelConfig& model, const models::Labels& labels) {
    auto weights = models::weights_of_classes(labels, class_weights_of(model));
    return weights ? std::move(*weights) : std::vector<double>{};
}

}  // namespace

std::string divergence_hint(const config::AgreedHalf& agreed) {
    const config::ModelConfig& model = agreed.model;
    const std::string lower =
        "lower model.learning_rate (now " + shortest(model.learning_rate) + ")";
    if (model.name != config::ModelName::linear) return lower + ", or state model.clip_norm = 1";
    switch (model.solver) {
        case config::Solver::sgd:
        case config::Solver::adam:
        case config::Solver::adamw:
            // neither noise nor an arbiter goes with lbfgs
            if (agreed.privacy.any()) return lower + ", or the multipliers of [privacy]";
            if (agreed.run.protocol == config::Protocol::arbitered) return lower;
            return lower + ", or state model.solver = \"lbfgs\", which needs none";
        case config::Solver::sequential:
            return "raise model.reg_lambda (now " + shortest(model.reg_lambda) + ")";
        case config::Solver::lbfgs:
            return "raise model.l2 (now " + shortest(model.l2) + ")";
    }
    return {};
}

Result<> check_not_diverged(const config::AgreedHalf& agreed, const Labels& labels, double loss) {
    if (!models::has_diverged(labels.train, loss)) return {};
    const double constant = mean_of(models::row_losses(
        labels.train, models::constant_prediction(labels.train, labels.train.rows())));
    Failure failure{Errc::diverged, "the loss on the training rows is " + figure(loss) +
                                        " where the best constant has " + figure(constant)};
    failure.hint = std::isfinite(constant)
                       ? divergence_hint(agreed)
                       : "the labels are so large that their squares are no numbers: give them in "
                         "another unit";
    return tl::unexpected(std::move(failure));
}

std::vector<std::string> verdicts(const config::AgreedHalf& agreed, const Labels& labels,
                                  const std::optional<Convergence>& convergence,
                                  const Evaluated& evaluated) {
    std::vector<std::string> out;
    if (convergence && !convergence->converged)
        out.push_back("not converged after " + std::to_string(convergence->iterations) +
                      " iterations: " + convergence->why_not);
    const std::vector<double> weights = weights_in(agreed.model, labels.train);
    const std::vector<double> mine = models::row_losses(labels.train, evaluated.train, weights);
    const std::vector<double> constant = models::row_losses(
        labels.train, models::constant_prediction(labels.train, labels.train.rows(), weights),
        weights);
    if (models::clearly_larger(mine, constant))
        out.push_back("the model is worse than none: its loss on the training rows is " +
                      figure(mean_of(mine)) + ", that of the best constant " +
                      figure(mean_of(constant)) + "; " + divergence_hint(agreed));
    return out;
}

std::string verdict_against_alone(const config::AgreedHalf& agreed, const Labels& labels,
                                  const Evaluated& evaluated, const Evaluated& alone) {
    const bool test = labels.test.rows() > 0;
    const models::Labels& truth = test ? labels.test : labels.train;
    const models::Matrix& mine = test ? evaluated.test : evaluated.train;
    const models::Matrix& theirs = test ? alone.test : alone.train;
    const std::vector<double> weights = weights_in(agreed.model, labels.train);
    if (!models::clearly_larger(models::row_losses(truth, mine, weights),
                                models::row_losses(truth, theirs, weights)))
        return {};
    const models::Metrics own = models::metrics_for(truth, mine);
    const models::Metrics other = models::metrics_for(truth, theirs);
    return "the model is worse than the label holder's columns alone on the " +
           std::string(test ? "test" : "training") + " rows: loss " + figure(own.get("loss")) +
           " against " + figure(other.get("loss")) + ", " + own.headline() + " " +
           figure(own.headline_value()) + " against " + figure(other.headline_value()) + "; " +
           (test ? "raise the penalty, or leave columns of the members out"
                 : divergence_hint(agreed));
}

}  // namespace vflbus::actors
