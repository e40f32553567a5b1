#pragma once
// What is said of a trained model at the end of its run: whether it has diverged, which fails the
// run, and whether it is worth less than something simpler, which the report and the log say in one
// line each. models/verdict.hpp has the arithmetic.

#include <string>
#include <vector>

#include "actors/training/algorithm.hpp"
#include "actors/training/labels.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "models/matrix.hpp"

namespace vflbus::actors {

/// Predictions of the trained model (n x outputs); empty where there are no rows.
struct Evaluated {
    std::string prefix;  ///< before "train" and "test" in the history: "fold 2 "
    models::Matrix train;
    models::Matrix test;
};

/// The advice for a training that diverges: which keys to change, by its solver and model.
std::string divergence_hint(const config::AgreedHalf& agreed);

/// Refuses a model whose loss on its own training rows is far above that of the best constant.
/// Errors: diverged.
Result<> check_not_diverged(const config::AgreedHalf& agreed, const Labels& labels, double loss);

/// That it has not converged, or is worse on the training rows than the best constant.
std::vector<std::string> verdicts(const config::AgreedHalf& agreed, const Labels& labels,
                                  const std::optional<Convergence>& convergence,
                                  const Evaluated& evaluated);

/// That it is worse than the label holder's columns alone: on the test rows, or on the training
/// rows where there are no others. Empty: it is not, by more than noise.
std::string verdict_against_alone(const config::AgreedHalf& agreed, const Labels& labels,
                                  const Evaluated& evaluated, const Evaluated& alone);

}  // namespace vflbus::actors
