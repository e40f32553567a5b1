#include "models/lbfgs_party.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "base/assert.hpp"
#include "models/kernels.hpp"

namespace vflbus::models {

LbfgsParty::LbfgsParty(const SolverColumns& columns, std::size_t outputs, std::size_t groups)
    : columns_(&columns), groups_(groups), slots_{lbfgs_memory(columns.rows(), outputs)} {
    VFLBUS_ASSERT(groups > 0 && outputs % groups == 0, "every group has the same outputs");
    for (std::size_t c = 0; c < outputs; ++c)
        vectors_.emplace_back(columns.cols(), slots_.products());
}

/// `numbers`: the residual, or its product with the columns.
Result<> LbfgsParty::check(ConstMatrixView coefficients, ConstMatrixView numbers,
                           std::size_t rows) const {
    if (coefficients.rows != slots_.vectors() || coefficients.cols != groups_ ||
        numbers.rows != rows || numbers.cols != outputs())
        return fail(Errc::malformed_message,
                    "a round of L-BFGS has " + std::to_string(coefficients.rows) + " x " +
                        std::to_string(coefficients.cols) + " coefficients and a residual of " +
                        std::to_string(numbers.rows) + " x " + std::to_string(numbers.cols) +
                        " where " + std::to_string(slots_.vectors()) + " x " +
                        std::to_string(groups_) + " and " + std::to_string(rows) + " x " +
                        std::to_string(outputs()) + " belong.");
    if (!all_finite(coefficients.span()) || !all_finite(numbers.span()))
        return fail(Errc::diverged,
                    "the residual of round " + std::to_string(rounds_) + " is no longer finite.");
    return {};
}

Result<> LbfgsParty::answer(ConstMatrixView coefficients, ConstMatrixView residual,
                            LbfgsAnswer& out) {
    if (auto good = check(coefficients, residual, columns_->rows()); !good) return good;
    if (rounds_ > 0) step(coefficients);
    gradient_.resize_uninitialized(features(), outputs());
    panel_gradient(columns_->panels(), residual, gradient_.view());
    return finish_answer(out);
}

Result<> LbfgsParty::answer_product(ConstMatrixView coefficients, ConstMatrixView product,
                                    LbfgsAnswer& out) {
    if (auto good = check(coefficients, product, features()); !good) return good;
    if (rounds_ > 0) step(coefficients);
    gradient_.resize_uninitialized(features(), outputs());
    std::ranges::copy(product.span(), gradient_.span().begin());
    return finish_answer(out);
}

/// From X~' r on.
Result<> LbfgsParty::finish_answer(LbfgsAnswer& out) {
    take_gradient();
    out.scores.resize_uninitialized(columns_->rows(), outputs());
    panel_scores(columns_->panels(), gradient_, out.scores.view());
    take_products(out.scalars);
    ++rounds_;
    if (!all_finite(out.scalars) || !all_finite(out.scores.span()))
        return fail(Errc::diverged, "the weights are no longer finite after round " +
                                        std::to_string(rounds_) + ".");
    return {};
}

/// s = sum of coefficient x vector; v += s. The last step, which is part of the sum, makes room.
void LbfgsParty::step(ConstMatrixView coefficients) {
    const std::size_t d = features();
    const std::size_t group_outputs = outputs() / groups_;
    Matrix s(d, 1);
    for (std::size_t c = 0; c < outputs(); ++c) {
        Matrix& mine = vectors_[c];
        partial_scores({mine.data(), d, slots_.vectors()},
                       {coefficients.col(c / group_outputs).data(), slots_.vectors(), 1}, s.view());
        std::ranges::copy(s.span(), mine.col(slots_.step()).begin());
        const auto v = mine.col(slots_.weights());
        for (std::size_t j = 0; j < d; ++j) v[j] += s.data()[j];
    }
}

/// g = X~' r + lambda D^2 v, of which the product is there.
void LbfgsParty::take_gradient() {
    const std::size_t d = features();
    const auto scale = columns_->scale();
    for (std::size_t c = 0; c < outputs(); ++c) {
        const auto g = gradient_.col(c);
        const auto v = vectors_[c].col(slots_.weights());
        for (std::size_t j = 0; j < d; ++j)
            g[j] += columns_->penalty() * (scale[j] * scale[j]) * v[j];
        std::ranges::copy(g, vectors_[c].col(slots_.gradient(rounds_)).begin());
    }
}

/// Rows of g, s, v in the matrix of products weighted by lambda D^2, and g . g, of each group; then
/// the offsets. A group's products are sums over its outputs in ascending order.
void LbfgsParty::take_products(std::vector<double>& scalars) const {
    const std::size_t d = features();
    const std::size_t group_outputs = outputs() / groups_;
    const std::array<std::size_t, 3> rows = {slots_.gradient(rounds_), slots_.step(),
                                             slots_.weights()};
    scalars.assign(slots_.scalars(groups_, outputs()), 0.0);
    const std::size_t width = slots_.products();
    const auto scale = columns_->scale();
    Matrix weighted(d, rows.size());
    std::vector<double> products(width * rows.size());
    for (std::size_t c = 0; d > 0 && c < outputs(); ++c) {
        const Matrix& mine = vectors_[c];
        for (std::size_t i = 0; i < rows.size(); ++i)
            for (std::size_t j = 0; j < d; ++j)
                weighted(j, i) = columns_->penalty() * (scale[j] * scale[j]) * mine(j, rows[i]);
        gradient(mine, weighted, {products.data(), width, rows.size()});
        double square = 0;
        const ConstMatrixView g{mine.col(rows[0]).data(), d, 1};
        gradient(g, g, {&square, 1, 1});
        double* to = scalars.data() + (c / group_outputs) * (rows.size() * width + 1);
        for (std::size_t i = 0; i < products.size(); ++i) to[i] += products[i];
        to[products.size()] += square;
    }
    columns_->offsets(scaled_weights(), std::span(scalars).last(outputs()));
}

Matrix LbfgsParty::scaled_weights() const {
    Matrix v(features(), outputs());
    for (std::size_t c = 0; c < outputs(); ++c)
        std::ranges::copy(vectors_[c].col(slots_.weights()), v.col(c).begin());
    return v;
}

Matrix LbfgsParty::weights(std::span<const double> unit) const {
    VFLBUS_ASSERT(unit.size() == outputs(), "one unit per output");
    Matrix w = columns_->weights(scaled_weights());
    for (std::size_t c = 0; c < outputs(); ++c)
        for (double& value : w.col(c)) value *= unit[c];
    return w;
}

// -- commits --------------------------------------------------------------------------

LbfgsPartyState LbfgsParty::state() const {
    LbfgsPartyState out;
    out.rounds = rounds_;
    for (const Matrix& block : vectors_)
        out.vectors.insert(out.vectors.end(), block.span().begin(), block.span().end());
    return out;
}

Result<> LbfgsParty::set_state(const LbfgsPartyState& state) {
    const std::size_t block = features() * slots_.products();
    if (state.vectors.size() != block * outputs())
        return fail(Errc::bad_data,
                    "the stored state of L-BFGS has " + std::to_string(state.vectors.size()) +
                        " numbers where this party has " + std::to_string(block * outputs()) +
                        "; it belongs to another model or table.");
    if (!all_finite(state.vectors))
        return fail(Errc::bad_data,
                    "the stored state of L-BFGS holds numbers that are not finite; "
                    "resume from an earlier commit.");
    rounds_ = state.rounds;
    for (std::size_t c = 0; c < outputs(); ++c)
        std::ranges::copy(std::span(state.vectors).subspan(c * block, block),
                          vectors_[c].span().begin());
    return {};
}

}  // namespace vflbus::models
