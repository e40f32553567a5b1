#include "models/lbfgs_master.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "base/assert.hpp"
#include "models/kernels.hpp"
#include "models/line_search.hpp"
#include "models/span_newton.hpp"

namespace vflbus::models {

namespace {

/// Rounds without a smaller loss or gradient after which a group stands still.
constexpr std::uint64_t idle_rounds_max = 10;
/// A loss that falls by less than this share of itself has not become smaller.
constexpr double negligible_fall = 0x1p-44;
/// A gradient of this norm is rounding and nothing else: columns and labels are of size 1.
constexpr double rounding_norm = 0x1p-44;
/// What a vector has to add to those before it, tried one after another; see span_newton.hpp.
constexpr std::array<double, 3> span_tolerances = {1e-8, 1e-5, 1e-3};
/// Rounding of sums over the rows, and how much of it X s may gather before it is not used again.
constexpr double fresh_error = 1e-15;
constexpr double step_error_max = 1e-9;

MatrixView column(Matrix& m, std::size_t c, std::size_t first, std::size_t rows) {
    return {m.col(c).data() + first, rows, 1};
}

}  // namespace

Result<LbfgsMaster> LbfgsMaster::create(Objective objective, bool intercept,
                                        const LbfgsConfig& config) {
    if (Result<> ok = validate(config); !ok) return tl::unexpected<Failure>(std::move(ok.error()));
    return LbfgsMaster(std::move(objective), intercept, config);
}

LbfgsMaster::LbfgsMaster(Objective objective, bool intercept, const LbfgsConfig& config)
    : objective_(std::move(objective)),
      intercept_on_(intercept),
      config_(config),
      slots_{lbfgs_memory(objective_.rows(), objective_.outputs())},
      penalty_(config.l2 / objective_.total_weight()) {
    const std::size_t n = objective_.rows();
    const std::size_t k = objective_.outputs();
    const std::size_t groups = objective_.groups();
    z_.resize(n, k);
    intercept_.assign(k, 0);
    if (intercept) intercept_.assign(objective_.start().begin(), objective_.start().end());
    for (std::size_t c = 0; c < k; ++c) std::ranges::fill(z_.col(c), intercept_[c]);
    for (std::size_t c = 0; c < k; ++c) memory_.emplace_back(n, slots_.vectors());
    products_.assign(groups, Matrix(slots_.products(), slots_.products()));
    intercept_step_.assign(k, 0);
    offsets_.assign(k, 0);
    losses_.assign(groups, 0);
    step_losses_.assign(groups, 0);
    groups_.assign(groups, {});
    request_.coefficients.resize(slots_.vectors(), groups);
    request_.residual.resize(n, k);
    step_scores_.resize(n, k);
    for (std::size_t g = 0; g < groups; ++g) losses_[g] = measure(g, 1).loss;
    step_losses_ = losses_;
    constant_loss_ = loss();
}

// -- a round --------------------------------------------------------------------------

void LbfgsMaster::begin_answers() {
    for (PanelMatrix& memory : memory_)
        for (std::size_t p = 0; p < memory.panels(); ++p)
            std::ranges::fill(memory.panel(p).col(slots_.gradient(rounds_)), 0.0);
    sum_scalars_.assign(slots_.scalars(objective_.groups(), objective_.outputs()), 0.0);
}

Result<> LbfgsMaster::add(ConstMatrixView scores, std::span<const double> scalars) {
    if (scores.rows != z_.rows() || scores.cols != z_.cols() ||
        scalars.size() != sum_scalars_.size())
        return fail(Errc::malformed_message,
                    "an answer of L-BFGS has scores of " + std::to_string(scores.rows) + " x " +
                        std::to_string(scores.cols) + " and " + std::to_string(scalars.size()) +
                        " products where " + std::to_string(z_.rows()) + " x " +
                        std::to_string(z_.cols()) + " and " + std::to_string(sum_scalars_.size()) +
                        " belong.");
    if (!all_finite(scores.span()) || !all_finite(scalars))
        return fail(Errc::diverged,
                    "the scores of round " + std::to_string(rounds_) + " are no longer finite.");
    for (std::size_t c = 0; c < memory_.size(); ++c)
        for (std::size_t p = 0; p < memory_[c].panels(); ++p) {
            const auto sum = memory_[c].panel(p).col(slots_.gradient(rounds_));
            const auto term = rows_of_column(scores, c, PanelMatrix::first_row(p), sum.size());
            for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += term[i];
        }
    for (std::size_t i = 0; i < scalars.size(); ++i) sum_scalars_[i] += scalars[i];
    return {};
}

Result<> LbfgsMaster::advance() {
    take_step();
    take_step_scores();
    take_products();
    for (std::size_t g = 0; g < groups_.size(); ++g) judge(g);
    ++rounds_;
    request_.coefficients.fill(0);
    std::ranges::fill(intercept_step_, 0.0);
    if (done()) {
        forget();
        return {};
    }
    for (std::size_t g = 0; g < groups_.size(); ++g)
        if (groups_[g].end == LbfgsEnd::running)
            if (Result<> ok = choose_step(g); !ok) return ok;
    if (done()) forget();  // no step was good enough
    return {};
}

/// What only a next step would need: most of the memory, and of a commit.
void LbfgsMaster::forget() {
    for (PanelMatrix& memory : memory_) memory = PanelMatrix();
    request_.residual = Matrix();
    step_scores_ = Matrix();
}

/// The parties have taken the step of the last request: so does the master.
void LbfgsMaster::take_step() {
    if (rounds_ == 0) return;
    for (std::size_t c = 0; c < z_.cols(); ++c) {
        const auto z = z_.col(c);
        const auto step = std::as_const(step_scores_).col(c);
        for (std::size_t i = 0; i < z.size(); ++i) z[i] += step[i] + intercept_step_[c];
        intercept_[c] += intercept_step_[c];
    }
    losses_ = step_losses_;
}

/// X s is that of the step that was taken.
void LbfgsMaster::take_step_scores() {
    for (std::size_t c = 0; c < memory_.size(); ++c)
        for (std::size_t p = 0; p < memory_[c].panels(); ++p) {
            const auto to = memory_[c].panel(p).col(slots_.step());
            std::ranges::copy(rows_of_column(step_scores_, c, PanelMatrix::first_row(p), to.size()),
                              to.begin());
        }
}

void LbfgsMaster::take_products() {
    const std::size_t width = slots_.products();
    const std::array<std::size_t, 3> rows = {slots_.gradient(rounds_), slots_.step(),
                                             slots_.weights()};
    for (std::size_t g = 0; g < groups_.size(); ++g) {
        const double* from = sum_scalars_.data() + g * (rows.size() * width + 1);
        for (std::size_t i = 0; i < rows.size(); ++i)
            for (std::size_t j = 0; j < width; ++j)
                products_[g](rows[i], j) = products_[g](j, rows[i]) = from[i * width + j];
        double square = from[rows.size() * width];
        for (std::size_t c = first_output(g); c < first_output(g + 1); ++c) {
            const double slope = intercept_slope(c);
            square += slope * slope / curvature_bound(objective_.task());
        }
        groups_[g].norm = std::sqrt(square);
    }
    std::ranges::copy(std::span(sum_scalars_).last(offsets_.size()), offsets_.begin());
}

double LbfgsMaster::intercept_slope(std::size_t output) const {
    if (!intercept_on_) return 0;
    double sum = 0;
    const auto r = request_.residual.col(output);
    for (std::size_t first = 0; first < r.size(); first += panel_rows)
        sum += lane_sum(r.subspan(first, std::min(panel_rows, r.size() - first)));
    return sum;
}

double LbfgsMaster::value(std::size_t group) const noexcept {
    return losses_[group] + 0.5 * product(group, slots_.weights(), slots_.weights());
}

void LbfgsMaster::judge(std::size_t group) {
    LbfgsGroupState& state = groups_[group];
    if (state.end != LbfgsEnd::running) return;
    const double now = value(group);
    if (rounds_ == 0) {
        state.start_norm = state.least_norm = state.norm;
        state.least_value = now;
    }
    const bool better = state.norm < 0.9 * state.least_norm ||
                        now < state.least_value - negligible_fall * std::abs(state.least_value);
    state.idle_rounds = better ? 0 : state.idle_rounds + 1;
    state.least_norm = std::min(state.least_norm, state.norm);
    state.least_value = std::min(state.least_value, now);
    if (state.norm <= rounding_norm || (state.norm <= config_.tolerance * state.start_norm &&
                                        state.norm <= 0.01 * config_.tolerance))
        state.end = LbfgsEnd::converged;
    else if (state.idle_rounds > idle_rounds_max)
        state.end = LbfgsEnd::no_progress;
    else if (rounds_ >= config_.max_iterations)
        state.end = LbfgsEnd::max_iterations;
    if (state.end == LbfgsEnd::running) return;
    for (std::size_t c = first_output(group); c < first_output(group + 1); ++c)
        std::ranges::fill(step_scores_.col(c), 0.0);  // it stands still from now on
}

// -- the next step ----------------------------------------------------------------------

Result<> LbfgsMaster::choose_step(std::size_t group) {
    const std::size_t outputs = objective_.group_outputs();
    Span span;
    measure_span(group, span);
    const std::uint64_t last = rounds_ - 1;  // the round that was just answered
    std::vector<std::size_t> order;          // the most important first
    if (intercept_on_)
        for (std::size_t c = 0; c < outputs; ++c) order.push_back(c);
    order.push_back(outputs + slots_.gradient(last));
    const std::vector<std::size_t> steepest = order;
    for (std::uint64_t back = 1; back <= last && back < slots_.memory; ++back)
        order.push_back(outputs + slots_.gradient(last - back));
    std::vector<std::size_t> with_step = order;
    with_step.insert(with_step.begin() + static_cast<std::ptrdiff_t>(steepest.size()),
                     outputs + slots_.step());
    for (const double tolerance : span_tolerances)
        if (try_step(group, span, with_step, tolerance) || try_step(group, span, order, tolerance))
            return {};
    if (try_step(group, span, steepest, span_tolerances.back())) return {};

    // no step makes it better: the group stands still
    groups_[group].end = LbfgsEnd::no_progress;
    set_coefficients(group, std::vector<double>(span.gradient.size(), 0.0), 0);
    combine(group);
    step_losses_[group] = measure(group, 1).loss;
    if (!std::isfinite(step_losses_[group]))
        return fail(Errc::diverged, "the loss is no longer finite after iteration " +
                                        std::to_string(iterations()) + ".");
    return {};
}

/// Newton's step in the span of `order` and a length along it. On success the request has the step
/// and the residual at its end.
bool LbfgsMaster::try_step(std::size_t group, const Span& span, std::span<const std::size_t> order,
                           double tolerance) {
    const std::vector<double> c = span_newton(span.hessian, span.gradient, order, tolerance);
    const double error = error_of(group, span, c);
    if (!(error <= step_error_max)) return false;
    const std::optional<double> length = length_along(group, span, c);
    if (!length) return false;
    if (objective_.task() == Task::linear || *length != 1) {  // not what was measured last
        set_coefficients(group, c, *length);
        combine(group);
        step_losses_[group] = measure(group, 1).loss;
    }
    groups_[group].step_error = error;
    return std::isfinite(step_losses_[group]);
}

/// Nothing when c does not descend, or no length is good enough.
std::optional<double> LbfgsMaster::length_along(std::size_t group, const Span& span,
                                                std::span<const double> c) {
    const std::size_t outputs = objective_.group_outputs();
    double slope = 0;
    double bend = 0;    // c' H c
    double cross = 0;   // of the penalty: v with the step
    double square = 0;  // of the penalty: the step with itself
    for (std::size_t i = 0; i < c.size(); ++i) {
        slope += span.gradient[i] * c[i];
        for (std::size_t j = 0; j < c.size(); ++j) bend += c[i] * span.hessian(i, j) * c[j];
        if (i < outputs) continue;
        cross += c[i] * product(group, slots_.weights(), i - outputs);
        for (std::size_t j = outputs; j < c.size(); ++j)
            square += c[i] * product(group, i - outputs, j - outputs) * c[j];
    }
    if (!(slope < 0) || !std::isfinite(slope)) return std::nullopt;
    if (objective_.task() == Task::linear)
        return bend > 0 ? std::optional(-slope / bend) : std::nullopt;
    set_coefficients(group, c, 1);
    combine(group);
    const double penalty = 0.5 * product(group, slots_.weights(), slots_.weights());
    return wolfe_step({value(group), slope}, [&](double length) {
        const Trial trial = measure(group, length);
        step_losses_[group] = trial.loss;
        return LinePoint{trial.loss + penalty + length * (cross + 0.5 * length * square),
                         trial.slope + cross + length * square};
    });
}

/// Bound of the rounding error of X s = sum of c x vector, relative to its length in the Hessian.
double LbfgsMaster::error_of(std::size_t group, const Span& span, std::span<const double> c) const {
    const std::size_t step = objective_.group_outputs() + slots_.step();
    double sum = 0;
    double bend = 0;
    for (std::size_t i = objective_.group_outputs(); i < c.size(); ++i) {
        const double length = std::sqrt(std::max(span.hessian(i, i), 0.0));
        sum += std::abs(c[i]) * length * (i == step ? groups_[group].step_error : fresh_error);
        for (std::size_t j = objective_.group_outputs(); j < c.size(); ++j)
            bend += c[i] * span.hessian(i, j) * c[j];
    }
    return bend > 0 ? sum / std::sqrt(bend) : 0;
}

void LbfgsMaster::set_coefficients(std::size_t group, std::span<const double> c, double length) {
    const std::size_t outputs = objective_.group_outputs();
    for (std::size_t i = 0; i < outputs; ++i)
        intercept_step_[first_output(group) + i] = intercept_on_ ? length * c[i] : 0;
    const auto to = request_.coefficients.col(group);
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = length * c[outputs + i];
}

/// step_scores = X s of the group's coefficients, in the order in which a party forms s.
void LbfgsMaster::combine(std::size_t group) {
    const auto coefficients = std::as_const(request_.coefficients).col(group);
    for (std::size_t c = first_output(group); c < first_output(group + 1); ++c)
        panel_scores(memory_[c], {coefficients.data(), coefficients.size(), 1},
                     column(step_scores_, c, 0, z_.rows()));
}

/// The mean loss of a group's rows at z + length (X s + intercept step), its slope by the length,
/// and the residual there.
LbfgsMaster::Trial LbfgsMaster::measure(std::size_t group, double length) {
    const std::size_t outputs = objective_.group_outputs();
    const std::size_t begin = first_output(group);
    Trial out;
    for (std::size_t first = 0; first < z_.rows(); first += panel_rows) {
        const std::size_t rows = std::min(panel_rows, z_.rows() - first);
        panel_z_.resize_uninitialized(rows, outputs);
        panel_step_.resize_uninitialized(rows, outputs);
        panel_residual_.resize_uninitialized(rows, outputs);
        for (std::size_t c = 0; c < outputs; ++c) {
            const auto z = rows_of_column(z_, begin + c, first, rows);
            const auto step = rows_of_column(step_scores_, begin + c, first, rows);
            const auto to = panel_z_.col(c);
            const auto whole = panel_step_.col(c);
            for (std::size_t i = 0; i < rows; ++i) {
                whole[i] = step[i] + intercept_step_[begin + c];
                to[i] = z[i] + length * whole[i];
            }
        }
        out.loss +=
            objective_.loss_and_residual(group, first, panel_z_, panel_residual_.view(), scratch_);
        for (std::size_t c = 0; c < outputs; ++c) {
            out.slope +=
                panel_dot(std::as_const(panel_residual_).col(c), std::as_const(panel_step_).col(c));
            std::ranges::copy(std::as_const(panel_residual_).col(c),
                              column(request_.residual, begin + c, first, rows).data);
        }
    }
    out.loss /= objective_.total_weight();
    return out;
}

// -- Hessian and gradient in the span -------------------------------------------------------

void LbfgsMaster::measure_span(std::size_t group, Span& span) {
    const std::size_t outputs = objective_.group_outputs();
    const std::size_t vectors = slots_.vectors();
    span.hessian.resize(outputs + vectors, outputs + vectors);
    span.gradient.assign(outputs + vectors, 0);
    for (std::size_t p = 0; p < memory_[first_output(group)].panels(); ++p)
        add_group_panel(group, p, span);
    for (std::size_t i = 0; i < vectors; ++i) {
        span.gradient[outputs + i] += product(group, slots_.weights(), i);
        for (std::size_t j = 0; j < vectors; ++j)
            span.hessian(outputs + i, outputs + j) += product(group, i, j);
    }
}

/// Adds one panel's A' diag(w) A, A' w, sum w, A' r and sum r of each output, A being its memory.
void LbfgsMaster::add_group_panel(std::size_t group, std::size_t p, Span& span) {
    const std::size_t outputs = objective_.group_outputs();
    const std::size_t vectors = slots_.vectors();
    const std::size_t begin = first_output(group);
    const std::size_t first = PanelMatrix::first_row(p);
    const std::size_t rows = memory_[begin].rows_of(p);
    panel_z_.resize_uninitialized(rows, outputs);
    for (std::size_t c = 0; c < outputs; ++c)
        std::ranges::copy(rows_of_column(z_, begin + c, first, rows), panel_z_.col(c).begin());
    panel_weights_.resize_uninitialized(rows, outputs);
    const bool softmax = objective_.task() == Task::softmax;
    row_share_.resize(rows);
    objective_.curvature(group, first, panel_z_, panel_weights_.view(), row_share_, scratch_);

    weighted_.resize_uninitialized(rows, vectors + 2);
    part_.resize_uninitialized(vectors, vectors + 2);
    for (std::size_t c = 0; c < outputs; ++c) {
        const ConstMatrixView A = std::as_const(memory_[begin + c]).panel(p);
        const auto weights = weighted_.col(vectors);
        const auto residual = weighted_.col(vectors + 1);
        std::ranges::copy(std::as_const(panel_weights_).col(c), weights.begin());
        if (softmax)
            for (std::size_t i = 0; i < rows; ++i) weights[i] *= row_share_[i];
        std::ranges::copy(rows_of_column(request_.residual, begin + c, first, rows),
                          residual.begin());
        weigh_rows(weights, A, {weighted_.data(), rows, vectors});
        gradient(A, weighted_, part_.view());
        for (std::size_t j = 0; j < vectors; ++j) {
            for (std::size_t i = 0; i < vectors; ++i)
                span.hessian(outputs + i, outputs + j) += part_(i, j);
            span.hessian(outputs + j, c) += part_(j, vectors);
            span.hessian(c, outputs + j) += part_(j, vectors);
            span.gradient[outputs + j] += part_(j, vectors + 1);
        }
        span.hessian(c, c) += lane_sum(weights);
        span.gradient[c] += lane_sum(residual);
    }
    if (softmax) add_softmax_coupling(p, span);
}

/// Softmax: subtracts sum over the rows of share m m', where m is the probability-weighted mean of
/// the outputs' vectors, in the directions of the memory and of the intercepts.
void LbfgsMaster::add_softmax_coupling(std::size_t p, Span& span) {
    const std::size_t outputs = objective_.group_outputs();
    const std::size_t vectors = slots_.vectors();
    const std::size_t rows = panel_weights_.rows();
    const std::size_t width = outputs + vectors;
    coupling_.resize(rows, width);  // the intercepts' part of m is the probabilities themselves
    for (std::size_t c = 0; c < outputs; ++c) {
        const ConstMatrixView A = std::as_const(memory_[c]).panel(p);
        const auto probability = std::as_const(panel_weights_).col(c);
        std::ranges::copy(probability, coupling_.col(c).begin());
        add_weighed_rows(probability, A, {coupling_.col(outputs).data(), rows, vectors});
    }
    weighted_.resize_uninitialized(rows, width);
    weigh_rows(row_share_, coupling_, weighted_.view());
    part_.resize_uninitialized(width, width);
    gradient(coupling_, weighted_, part_.view());
    for (std::size_t i = 0; i < part_.size(); ++i) span.hessian.data()[i] -= part_.data()[i];
}

// -- how it stands ------------------------------------------------------------------------

LbfgsEnd LbfgsMaster::end() const noexcept {
    LbfgsEnd worst = LbfgsEnd::converged;
    for (const LbfgsGroupState& group : groups_) {
        if (group.end == LbfgsEnd::running) return LbfgsEnd::running;
        if (group.end == LbfgsEnd::max_iterations) worst = LbfgsEnd::max_iterations;
        if (group.end == LbfgsEnd::no_progress && worst == LbfgsEnd::converged)
            worst = LbfgsEnd::no_progress;
    }
    return worst;
}

double LbfgsMaster::loss() const noexcept {
    double sum = 0;
    for (std::size_t g = 0; g < losses_.size(); ++g)
        sum += losses_[g] * objective_.loss_unit(first_output(g));
    return sum / static_cast<double>(losses_.size());
}

double LbfgsMaster::constant_loss() const noexcept {
    return constant_loss_;
}

double LbfgsMaster::gradient_norm() const noexcept {
    double most = 0;
    for (const LbfgsGroupState& group : groups_) most = std::max(most, group.norm);
    return most;
}

// -- results --------------------------------------------------------------------------------

std::vector<double> LbfgsMaster::intercept() const {
    if (!intercept_on_) return {};
    std::vector<double> out(intercept_.size());
    for (std::size_t c = 0; c < out.size(); ++c) out[c] = intercept_[c] - offsets_[c];
    if (objective_.task() == Task::softmax) {  // any constant may be added to all classes
        const double mean = lane_sum(out) / static_cast<double>(out.size());
        for (double& value : out) value -= mean;
    }
    for (std::size_t c = 0; c < out.size(); ++c)
        out[c] = objective_.unit()[c] * out[c] + objective_.shift()[c];
    return out;
}

void LbfgsMaster::finish_scores(MatrixView z) const {
    VFLBUS_ASSERT(z.cols == intercept_.size(), "scores have one column per output");
    const std::vector<double> shift = intercept();
    for (std::size_t c = 0; c < z.cols; ++c)
        for (double& value : z.col(c))
            value = objective_.unit()[c] * value + (shift.empty() ? 0 : shift[c]);
}

Matrix LbfgsMaster::training_scores() const {
    Matrix z(z_);
    for (std::size_t c = 0; c < z.cols(); ++c)
        for (double& value : z.col(c)) value = objective_.unit()[c] * value + objective_.shift()[c];
    return z;
}

Matrix LbfgsMaster::predict_training_rows() const {
    return predict(objective_.task(), training_scores(), {});
}

// -- commits --------------------------------------------------------------------------------

LbfgsMasterState LbfgsMaster::state() const {
    LbfgsMasterState out;
    out.rounds = rounds_;
    out.scores.assign(z_.span().begin(), z_.span().end());
    for (const PanelMatrix& memory : memory_)
        out.memory.insert(out.memory.end(), memory.span().begin(), memory.span().end());
    for (const Matrix& products : products_)
        out.products.insert(out.products.end(), products.span().begin(), products.span().end());
    out.intercept = intercept_;
    out.intercept_step = intercept_step_;
    out.offsets = offsets_;
    out.coefficients.assign(request_.coefficients.span().begin(),
                            request_.coefficients.span().end());
    out.losses = losses_;
    out.groups = groups_;
    return out;
}

Result<> LbfgsMaster::set_state(LbfgsMasterState state) {
    const bool over =
        !state.groups.empty() && std::ranges::none_of(state.groups, [](const LbfgsGroupState& g) {
            return g.end == LbfgsEnd::running;
        });
    const std::size_t memory = over ? 0 : z_.rows() * slots_.vectors();
    const std::size_t products = slots_.products() * slots_.products();
    const bool fits =
        state.scores.size() == z_.size() && state.memory.size() == memory * z_.cols() &&
        state.products.size() == products * groups_.size() &&
        state.intercept.size() == intercept_.size() &&
        state.intercept_step.size() == intercept_.size() &&
        state.offsets.size() == offsets_.size() &&
        state.coefficients.size() == request_.coefficients.size() &&
        state.losses.size() == losses_.size() && state.groups.size() == groups_.size();
    if (!fits)
        return fail(Errc::bad_data,
                    "the stored state of L-BFGS has other sizes than this training; it belongs to "
                    "another configuration.");
    for (const auto* values :
         {&state.scores, &state.memory, &state.products, &state.intercept, &state.intercept_step,
          &state.offsets, &state.coefficients, &state.losses})
        if (!all_finite(*values))
            return fail(Errc::bad_data,
                        "the stored state of L-BFGS holds numbers that are not finite; resume from "
                        "an earlier commit.");
    if (!over && step_scores_.empty()) {  // it was done, and had forgotten
        for (PanelMatrix& each : memory_) each = PanelMatrix(z_.rows(), slots_.vectors());
        request_.residual.resize(z_.rows(), z_.cols());
        step_scores_.resize(z_.rows(), z_.cols());
    }
    rounds_ = state.rounds;
    std::ranges::copy(state.scores, z_.data());
    for (std::size_t c = 0; c < memory_.size() && !over; ++c)
        std::ranges::copy(std::span(state.memory).subspan(c * memory, memory),
                          memory_[c].span().begin());
    for (std::size_t g = 0; g < groups_.size(); ++g)
        std::ranges::copy(std::span(state.products).subspan(g * products, products),
                          products_[g].data());
    intercept_ = std::move(state.intercept);
    intercept_step_ = std::move(state.intercept_step);
    offsets_ = std::move(state.offsets);
    std::ranges::copy(state.coefficients, request_.coefficients.data());
    losses_ = std::move(state.losses);
    groups_ = std::move(state.groups);
    if (over) forget();
    for (std::size_t g = 0; g < groups_.size() && !over; ++g) {
        combine(g);
        step_losses_[g] = measure(g, 1).loss;
    }
    return {};
}

}  // namespace vflbus::models
