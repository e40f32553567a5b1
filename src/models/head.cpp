#include "models/head.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>
#include <utility>

#include "models/kernels.hpp"
#include "models/math.hpp"

namespace vflbus::models {

// -- labels -----------------------------------------------------------------------

std::string Labels::describe(std::size_t output) const {
    const std::string kind = task == Task::softmax ? "class " : "label ";
    if (output < names.size()) return kind + "'" + names[output] + "'";
    return kind + std::to_string(output);
}

Result<> validate(const Labels& labels) {
    if (labels.values.empty())
        return fail(Errc::bad_data, "there are no labels; name a label column at the master.");
    if ((labels.task == Task::logistic || labels.task == Task::softmax ||
         has_log_link(labels.task)) &&
        labels.values.cols() != 1)
        return fail(Errc::bad_data, "model.task = \"" + std::string(name_of(labels.task)) +
                                        "\" takes one label column, but there are " +
                                        std::to_string(labels.values.cols()) + ".");
    if (labels.task == Task::softmax && labels.classes < 2)
        return fail(Errc::bad_data,
                    "the label has one class only; nothing can be learned from it.");
    for (std::size_t c = 0; c < labels.values.cols(); ++c) {
        for (std::size_t i = 0; i < labels.rows(); ++i) {
            const double y = labels.values(i, c);
            std::string_view rule;
            if (labels.task == Task::linear) {
                if (!std::isfinite(y)) rule = "a finite number";
            } else if (labels.task == Task::gamma) {
                if (!(y > 0 && std::isfinite(y))) rule = "a number above 0";
            } else if (has_log_link(labels.task)) {
                if (!(y >= 0 && std::isfinite(y))) rule = "a number of 0 or more";
            } else if (labels.task == Task::softmax) {
                if (!(y >= 0 && y < static_cast<double>(labels.classes) && y == std::floor(y)))
                    rule = "a class index";
            } else if (y != 0 && y != 1) {
                rule = "0 or 1";
            }
            if (!rule.empty())
                return fail(Errc::bad_data,
                            (labels.task == Task::softmax ? "the label" : labels.describe(c)) +
                                " is " + std::to_string(y) + " in record " + std::to_string(i) +
                                ", where model.task = \"" + std::string(name_of(labels.task)) +
                                "\" needs " + std::string(rule) + ".");
        }
    }
    return {};
}

Labels select(const Labels& labels, std::span<const RowIndex> rows) {
    Labels out{labels.task, {}, labels.classes, labels.names};
    gather_rows(labels.values, rows, out.values);
    if (!labels.exposure.empty())
        for (const RowIndex row : rows) out.exposure.push_back(labels.exposure[row]);
    out.tweedie_power = labels.tweedie_power;
    return out;
}

Matrix in_label_units(std::span<const double> exposure, ConstMatrixView of_one_unit) {
    Matrix out(of_one_unit);
    if (exposure.empty()) return out;
    for (std::size_t c = 0; c < out.cols(); ++c)
        for (std::size_t i = 0; i < out.rows(); ++i) out(i, c) *= exposure[i];
    return out;
}

tl::unexpected<Failure> refuse_mean(const Labels& labels, double mean) {
    return fail(Errc::bad_data, labels.describe(0) + " has the mean " + std::to_string(mean) +
                                    " on the training rows; model.task = \"" +
                                    std::string(name_of(labels.task)) +
                                    "\" needs one above 0 and finite.");
}

// -- class weights ------------------------------------------------------------------

namespace {

/// How many of the rows each class has: softmax [class], otherwise [2 * output + y].
std::vector<double> class_counts(const Labels& labels, std::span<const RowIndex> rows) {
    const bool softmax = labels.task == Task::softmax;
    std::vector<double> out(softmax ? labels.classes : 2 * labels.outputs(), 0.0);
    for (std::size_t c = 0; c < labels.values.cols(); ++c)
        for (const RowIndex row : rows)
            out[(softmax ? 0 : 2 * c) + static_cast<std::size_t>(labels.values(row, c))] += 1;
    return out;
}

std::vector<RowIndex> all_rows(std::size_t n) {
    std::vector<RowIndex> rows(n);
    std::iota(rows.begin(), rows.end(), RowIndex{0});
    return rows;
}

Result<> check_listed(const ClassWeights& wanted, std::size_t classes) {
    if (wanted.listed.size() != classes)
        return fail(Errc::bad_config, "model.class_weights lists " +
                                          std::to_string(wanted.listed.size()) + " weights where " +
                                          std::to_string(classes) + " classes need one each.");
    for (const double weight : wanted.listed)
        if (!(weight > 0 && std::isfinite(weight)))
            return fail(Errc::bad_config, "model.class_weights holds " + std::to_string(weight) +
                                              "; each weight must be positive and finite.");
    return {};
}

}  // namespace

Result<std::vector<double>> weights_of_classes(const Labels& labels, const ClassWeights& wanted,
                                               std::span<const RowIndex> train_rows) {
    std::vector<double> weights;
    if (predicts_numbers(labels.task)) {
        if (wanted.kind != ClassWeights::Kind::none)
            return fail(Errc::bad_config,
                        "model.class_weights has no meaning with model.task = \"" +
                            std::string(name_of(labels.task)) + "\"; leave it out.");
        return weights;
    }
    const std::vector<RowIndex> all =
        train_rows.empty() ? all_rows(labels.rows()) : std::vector<RowIndex>{};
    if (train_rows.empty()) train_rows = all;
    const bool softmax = labels.task == Task::softmax;
    const std::vector<double> count = class_counts(labels, train_rows);
    const std::size_t group = softmax ? count.size() : 2;
    if (wanted.kind == ClassWeights::Kind::listed)
        if (Result<> ok = check_listed(wanted, group); !ok)
            return tl::unexpected<Failure>(std::move(ok.error()));
    for (std::size_t begin = 0; begin < count.size(); begin += group) {
        const auto present =
            std::count_if(count.begin() + static_cast<std::ptrdiff_t>(begin),
                          count.begin() + static_cast<std::ptrdiff_t>(begin + group),
                          [](double n) { return n > 0; });
        if (present < 2)
            return fail(Errc::bad_data, (softmax ? "the label" : labels.describe(begin / 2)) +
                                            " has one class only among the " +
                                            std::to_string(train_rows.size()) +
                                            " training rows; nothing can be learned from it.");
        if (wanted.kind == ClassWeights::Kind::balanced) {
            const double n = static_cast<double>(train_rows.size());
            for (std::size_t c = begin; c < begin + group; ++c)
                weights.push_back(count[c] > 0 ? n / (static_cast<double>(present) * count[c]) : 1);
        } else if (wanted.kind == ClassWeights::Kind::listed) {
            weights.insert(weights.end(), wanted.listed.begin(), wanted.listed.end());
        }
    }
    return weights;
}

// -- creation -----------------------------------------------------------------------

namespace {

OptimizerConfig without_decay(OptimizerConfig config) {
    config.weight_decay = 0;
    return config;
}

}  // namespace

Head::Head(Labels labels, const HeadConfig& config)
    : labels_(std::move(labels)),
      config_(config),
      intercept_(config.intercept ? labels_.outputs() : 0, 0.0),
      optimizer_(without_decay(config.optimizer), intercept_.size()) {}

Result<Head> Head::create(Labels labels, const HeadConfig& config,
                          std::span<const RowIndex> train_rows) {
    if (Result<> ok = validate(config.optimizer); !ok)
        return tl::unexpected<Failure>(std::move(ok.error()));
    if (Result<> ok = validate(labels); !ok) return tl::unexpected<Failure>(std::move(ok.error()));
    std::vector<RowIndex> all;
    if (train_rows.empty()) {
        all = all_rows(labels.rows());
        train_rows = all;
    }
    Head head(std::move(labels), config);
    Result<std::vector<double>> weights =
        weights_of_classes(head.labels_, config.class_weights, train_rows);
    if (!weights) return tl::unexpected<Failure>(std::move(weights.error()));
    head.weights_ = std::move(*weights);
    head.take_row_weights(train_rows);
    if (Result<> ok = head.start_intercept(train_rows); !ok)
        return tl::unexpected<Failure>(std::move(ok.error()));
    return head;
}

/// Scaled to mean 1, so that the length of a step does not depend on their unit.
void Head::take_row_weights(std::span<const RowIndex> train_rows) {
    if (!labels_.weights.empty()) {
        double sum = 0;
        for (const RowIndex row : train_rows) sum += labels_.weights[row];
        row_weights_ = labels_.weights;
        for (double& weight : row_weights_) weight *= static_cast<double>(train_rows.size()) / sum;
    }
    if (labels_.exposure.empty()) return;
    if (row_weights_.empty()) row_weights_.assign(labels_.rows(), 1);
    for (std::size_t i = 0; i < row_weights_.size(); ++i)
        row_weights_[i] *= labels_.exposure_weight(i);
}

double Head::weight(RowIndex row, std::size_t output) const noexcept {
    double out = row_weights_.empty() ? 1 : row_weights_[row];
    if (weights_.empty()) return out;
    const bool softmax = labels_.task == Task::softmax;
    const auto label = static_cast<std::size_t>(labels_.values(row, softmax ? 0 : output));
    return out * weights_[softmax ? label : 2 * output + label];
}

void Head::weigh(std::span<const RowIndex> rows, std::span<double> values) const {
    if (row_weights_.empty()) return;
    for (std::size_t i = 0; i < rows.size(); ++i) values[i] *= row_weights_[rows[i]];
}

/// The weighted mean label m: s = m^(2-p), and the intercept begins at log m.
Result<> Head::start_log_link(std::span<const RowIndex> train_rows) {
    std::vector<double> sum(train_rows.size());
    std::vector<double> total(train_rows.size());
    for (std::size_t i = 0; i < train_rows.size(); ++i) {
        const double weight = row_weights_.empty() ? 1 : row_weights_[train_rows[i]];
        sum[i] = weight * labels_.values(train_rows[i], 0);
        total[i] = weight;
    }
    const double mean = lane_sum(sum) / lane_sum(total);
    if (!(mean > 0) || !std::isfinite(mean)) return refuse_mean(labels_, mean);
    label_scale_ =
        labels_.deviance().scale(mean) * lane_sum(total) / static_cast<double>(train_rows.size());
    if (!intercept_.empty()) intercept_[0] = models::log(mean);
    return {};
}

Result<> Head::start_intercept(std::span<const RowIndex> train_rows) {
    if (has_log_link(task())) return start_log_link(train_rows);
    if (intercept_.empty() || config_.starts_at_zero) return {};
    if (task() == Task::linear) {
        Matrix y;
        gather_rows(labels_.values, train_rows, y);
        column_sums(y, intercept_);
        for (double& value : intercept_) value /= static_cast<double>(train_rows.size());
        if (!all_finite(intercept_))
            return fail(Errc::bad_data, "the labels are too large: their mean is not finite.");
        return {};
    }
    std::vector<double> shares = class_counts(labels_, train_rows);
    for (double& share : shares) share = share > 0 ? share : 0.5;
    for (std::size_t c = 0; c < weights_.size(); ++c) shares[c] *= weights_[c];
    for (double& share : shares) share = models::log(share);
    if (task() == Task::softmax) {
        const double mean = lane_sum(shares) / static_cast<double>(shares.size());
        for (std::size_t c = 0; c < intercept_.size(); ++c) intercept_[c] = shares[c] - mean;
    } else {
        for (std::size_t c = 0; c < intercept_.size(); ++c)
            intercept_[c] = shares[2 * c + 1] - shares[2 * c];
    }
    return {};
}

// -- prediction ---------------------------------------------------------------------

namespace {

void add_intercept(MatrixView z, std::span<const double> intercept) {
    assert(intercept.empty() || intercept.size() == z.cols);
    for (std::size_t c = 0; c < intercept.size(); ++c)
        for (double& value : z.col(c)) value += intercept[c];
}

/// z becomes softmax(z), row by row; `log_sum` (if any) the rows' log(sum(exp(z))).
void softmax_rows(MatrixView z, std::span<double> log_sum) {
    std::vector<double> most(z.rows, -HUGE_VAL);
    for (std::size_t c = 0; c < z.cols; ++c)
        for (std::size_t i = 0; i < z.rows; ++i)
            most[i] = most[i] < z.col(c)[i] ? z.col(c)[i] : most[i];
    for (std::size_t c = 0; c < z.cols; ++c)
        for (std::size_t i = 0; i < z.rows; ++i) z.col(c)[i] -= most[i];
    models::exp(z.span(), z.span());
    std::vector<double> sum(z.rows, 0.0);
    for (std::size_t c = 0; c < z.cols; ++c)
        for (std::size_t i = 0; i < z.rows; ++i) sum[i] += z.col(c)[i];
    for (std::size_t c = 0; c < z.cols; ++c)
        for (std::size_t i = 0; i < z.rows; ++i) z.col(c)[i] /= sum[i];
    if (log_sum.empty()) return;
    models::log(sum, log_sum);
    for (std::size_t i = 0; i < z.rows; ++i) log_sum[i] += most[i];
}

}  // namespace

Matrix predict(Task task, ConstMatrixView z, std::span<const double> intercept) {
    Matrix out(z);
    add_intercept(out.view(), intercept);
    if (task == Task::logistic || task == Task::multilabel)
        models::sigmoid(out.span(), out.span());
    else if (task == Task::softmax)
        softmax_rows(out.view(), {});
    else if (has_log_link(task))
        models::exp(out.span(), out.span());
    return out;
}

Matrix Head::predict(ConstMatrixView z) const {
    return models::predict(task(), z, intercept_);
}

// -- training -----------------------------------------------------------------------

namespace {

/// One label of two classes; `residual` may be empty. weights: of class 0 and of class 1, or null.
void binary_loss(std::span<const double> score, std::span<const double> y,
                 std::span<const RowIndex> rows, const double* weights, std::span<double> row_loss,
                 std::span<double> residual) {
    const double size = static_cast<double>(rows.size());
    std::vector<double> work(rows.size());
    models::softplus(score, work);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        row_loss[i] = work[i] - y[rows[i]] * score[i];
        if (weights != nullptr) row_loss[i] *= y[rows[i]] == 1 ? weights[1] : weights[0];
    }
    if (residual.empty()) return;
    models::sigmoid(score, work);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const double truth = y[rows[i]];
        const double weight = weights == nullptr ? 1 : (truth == 1 ? weights[1] : weights[0]);
        residual[i] = weight * (work[i] - truth) / size;
    }
}

}  // namespace

/// Of the rows one by one, not yet weighted; the residual is divided by s and their number.
void Head::log_link_loss(std::span<const double> score, std::span<const RowIndex> rows,
                         std::span<double> row_loss, Matrix* residual) const {
    const HalfDeviance deviance = labels_.deviance();
    std::vector<double> y(rows.size());
    std::vector<double> slope(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) y[i] = labels_.values(rows[i], 0);
    deviance.at(score, y, row_loss, slope);
    for (std::size_t i = 0; i < rows.size(); ++i) row_loss[i] += deviance.constant(y[i]);
    if (residual == nullptr) return;
    const double size = static_cast<double>(rows.size()) * label_scale_;
    for (std::size_t i = 0; i < rows.size(); ++i) residual->col(0)[i] = slope[i] / size;
}

double Head::forward(ConstMatrixView z_sum, std::span<const RowIndex> rows,
                     Matrix* residual) const {
    assert(z_sum.rows == rows.size() && z_sum.cols == outputs() && !rows.empty());
    const std::size_t b = rows.size();
    const double size = static_cast<double>(b);
    Matrix z(z_sum);
    add_intercept(z.view(), intercept_);
    if (residual != nullptr) residual->resize_uninitialized(b, outputs());
    std::vector<double> row_loss(b);
    double loss = 0;
    if (task() == Task::softmax) {
        const auto y = labels_.values.col(0);
        std::vector<double> own(b);
        for (std::size_t i = 0; i < b; ++i) own[i] = z(i, static_cast<std::size_t>(y[rows[i]]));
        softmax_rows(z.view(), row_loss);
        for (std::size_t i = 0; i < b; ++i) {
            const auto label = static_cast<std::size_t>(y[rows[i]]);
            row_loss[i] -= own[i];
            if (!weights_.empty()) row_loss[i] *= weights_[label];
        }
        weigh(rows, row_loss);
        loss = lane_sum(row_loss) / size;
        if (residual == nullptr) return loss;
        for (std::size_t i = 0; i < b; ++i) z(i, static_cast<std::size_t>(y[rows[i]])) -= 1;
        for (std::size_t c = 0; c < outputs(); ++c) {
            const auto p = z.col(c);
            const auto r = residual->col(c);
            for (std::size_t i = 0; i < b; ++i) {
                const double weight =
                    weights_.empty() ? 1 : weights_[static_cast<std::size_t>(y[rows[i]])];
                r[i] = weight * p[i] / size;
            }
            weigh(rows, r);
        }
        return loss;
    }

    for (std::size_t c = 0; c < outputs(); ++c) {
        const auto y = labels_.values.col(c);
        const auto score = z.col(c);
        const double* weights = weights_.empty() ? nullptr : weights_.data() + 2 * c;
        if (task() == Task::linear) {
            for (std::size_t i = 0; i < b; ++i) {
                const double miss = score[i] - y[rows[i]];
                row_loss[i] = 0.5 * (miss * miss);
                if (residual != nullptr) residual->col(c)[i] = miss / size;
            }
        } else if (has_log_link(task())) {
            log_link_loss(score, rows, row_loss, residual);
        } else {
            binary_loss(score, y, rows, weights, row_loss,
                        residual == nullptr ? std::span<double>() : residual->col(c));
        }
        weigh(rows, row_loss);
        if (residual != nullptr) weigh(rows, residual->col(c));
        loss += lane_sum(row_loss) / size;
    }
    return loss;
}

Result<> Head::residuals(ConstMatrixView z, std::span<const RowIndex> rows, HeadStep& out) const {
    out.loss = forward(z, rows, &out.residual);
    if (!std::isfinite(out.loss) || !all_finite(out.residual.span()))
        return fail(Errc::diverged, "the loss is no longer finite at step " +
                                        std::to_string(steps() + 1) +
                                        "; lower model.learning_rate (now " +
                                        std::to_string(config_.optimizer.learning_rate) +
                                        ") or standardize the columns.");
    return {};
}

Result<> Head::forward_backward(ConstMatrixView z, std::span<const RowIndex> rows, HeadStep& out) {
    if (Result<> ok = residuals(z, rows, out); !ok) return ok;
    std::vector<double> slope(intercept_.size());
    if (!slope.empty()) column_sums(out.residual, slope);
    return step_intercept(slope);
}

Result<> Head::step_intercept(std::span<const double> gradient) {
    optimizer_.step(intercept_, gradient.first(intercept_.size()));
    if (!all_finite(intercept_))
        return fail(Errc::diverged, "the intercept is no longer finite after step " +
                                        std::to_string(steps()) +
                                        "; lower model.learning_rate (now " +
                                        std::to_string(config_.optimizer.learning_rate) + ").");
    return {};
}

Result<HeadStep> Head::forward_backward(ConstMatrixView z, std::span<const RowIndex> rows) {
    HeadStep out;
    if (Result<> ok = forward_backward(z, rows, out); !ok)
        return tl::unexpected<Failure>(std::move(ok.error()));
    return out;
}

double Head::loss(ConstMatrixView z, std::span<const RowIndex> rows) const {
    return forward(z, rows, nullptr);
}

// -- commits ------------------------------------------------------------------------

HeadState Head::state() const {
    return {intercept_, optimizer_.state()};
}

Result<> Head::set_state(HeadState state) {
    if (state.intercept.size() != intercept_.size() || !all_finite(state.intercept))
        return set_intercept(state.intercept);  // says what is wrong and changes nothing
    if (Result<> ok = optimizer_.set_state(std::move(state.optimizer)); !ok) return ok;
    return set_intercept(state.intercept);
}

Result<> Head::set_intercept(std::span<const double> intercept) {
    if (intercept.size() != intercept_.size())
        return fail(Errc::bad_data, "the stored intercept has " + std::to_string(intercept.size()) +
                                        " values where this model has " +
                                        std::to_string(intercept_.size()) +
                                        "; it belongs to another configuration.");
    if (!all_finite(intercept))
        return fail(Errc::bad_data, "the intercept is not finite; use another model file.");
    std::copy(intercept.begin(), intercept.end(), intercept_.begin());
    return {};
}

}  // namespace vflbus::models
