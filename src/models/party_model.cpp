#include "models/party_model.hpp"

#include <algorithm>
#include <cassert>
#include <string>
#include <utility>

#include "base/assert.hpp"

namespace vflbus::models {

PartyModel::PartyModel(std::size_t d, std::size_t k, const OptimizerConfig& config)
    : weights_(d, k), gradient_(d, k), steps_(config, d * k) {}

void PartyModel::scores(ConstMatrixView X, Matrix& z) const {
    z.resize_uninitialized(X.rows, outputs());
    partial_scores(X, weights_, z.view());
}

Matrix PartyModel::scores(ConstMatrixView X) const {
    Matrix z;
    scores(X, z);
    return z;
}

Result<> PartyModel::update(ConstMatrixView X, ConstMatrixView residual) {
    gradient(X, residual, gradient_.view());
    return apply_gradient(gradient_);
}

Result<> PartyModel::apply_gradient(ConstMatrixView G) {
    assert(G.rows == features() && G.cols == outputs());
    steps_.step(weights_.span(), G.span());
    return check_finite();
}

Result<> PartyModel::fit_ridge(ConstMatrixView X, ConstMatrixView target, double reg_lambda,
                               Matrix& z) {
    const Result<RidgeFactors> factors = RidgeFactors::create(X);
    if (!factors) return tl::unexpected<Failure>(factors.error());
    return fit_ridge(*factors, X, target, reg_lambda, z);
}

Result<> PartyModel::fit_ridge(const RidgeFactors& factors, ConstMatrixView X,
                               ConstMatrixView target, double reg_lambda, Matrix& z) {
    VFLBUS_ASSERT(target.cols == outputs() && X.cols == features(), "the model's own shapes");
    Result<Matrix> solved = factors.solve(target, reg_lambda);
    if (!solved) return tl::unexpected<Failure>(std::move(solved.error()));
    weights_ = *std::move(solved);
    scores(X, z);
    return check_finite();
}

Matrix PartyModel::design_scores(DesignView design) const {
    Matrix z;
    z.resize_uninitialized(design.rows, outputs());
    models::design_scores(design, weights_, z.view());
    return z;
}

Matrix PartyModel::design_scores(DesignView design, std::span<const RowIndex> rows) const {
    Matrix z;
    z.resize_uninitialized(rows.size(), outputs());
    models::design_scores(design, rows, weights_, z.view());
    return z;
}

PartyState PartyModel::state() const {
    return {{weights_.span().begin(), weights_.span().end()}, steps_.state()};
}

Result<> PartyModel::set_state(PartyState state) {
    if (Result<> checked = steps_.set_state(std::move(state.optimizer)); !checked) return checked;
    return set_weights(state.weights);
}

Result<> PartyModel::set_weights(std::span<const double> weights) {
    if (weights.size() != weights_.size())
        return fail(Errc::bad_data, "the stored weights are " + std::to_string(weights.size()) +
                                        " numbers where this party has " +
                                        std::to_string(features()) + " features x " +
                                        std::to_string(outputs()) +
                                        " outputs; they belong to another model or table.");
    if (!all_finite(weights))
        return fail(Errc::bad_data,
                    "the stored weights hold numbers that are not finite; use another model file.");
    std::copy(weights.begin(), weights.end(), weights_.data());
    return {};
}

Result<> PartyModel::check_finite() const {
    if (all_finite(weights_.span())) return {};
    return fail(Errc::diverged, "the weights are no longer finite after step " +
                                    std::to_string(steps()) + "; lower model.learning_rate (now " +
                                    std::to_string(steps_.config().learning_rate) +
                                    ") or standardize the columns.");
}

}  // namespace vflbus::models
