#include "models/recalibration.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/math.hpp"

namespace vflbus::models {
namespace {

struct Fit {
    double loss = 0;
    double by_slope = 0;
    double by_offset = 0;
    double slope_slope = 0;
    double slope_offset = 0;
    double offset_offset = 0;
};

double weight_of(std::span<const double> weights, std::size_t row) {
    return weights.empty() ? 1 : weights[row];
}

Fit fit_at(std::span<const double> z, std::span<const double> y, std::span<const double> weights,
           double slope, double offset) {
    Fit fit;
    for (std::size_t i = 0; i < z.size(); ++i) {
        const double weight = weight_of(weights, i);
        const double score = slope * z[i] + offset;
        const double p = sigmoid(score);
        const double rest = weight * (p - y[i]);
        const double curve = weight * (p * (1 - p));
        fit.loss += weight * (softplus(score) - y[i] * score);
        fit.by_slope += rest * z[i];
        fit.by_offset += rest;
        fit.slope_slope += curve * z[i] * z[i];
        fit.slope_offset += curve * z[i];
        fit.offset_offset += curve;
    }
    return fit;
}

std::pair<double, double> fit_output(std::span<const double> z, std::span<const double> y,
                                     std::span<const double> weights) {
    constexpr int steps_max = 50;
    double slope = 1;
    double offset = 0;
    Fit fit = fit_at(z, y, weights, slope, offset);
    for (int step = 0; step < steps_max; ++step) {
        const double determinant =
            fit.slope_slope * fit.offset_offset - fit.slope_offset * fit.slope_offset;
        // scores that are all the same
        if (!(determinant > 1e-12 * fit.slope_slope * fit.offset_offset)) break;
        const double to_slope =
            (fit.offset_offset * fit.by_slope - fit.slope_offset * fit.by_offset) / determinant;
        const double to_offset =
            (fit.slope_slope * fit.by_offset - fit.slope_offset * fit.by_slope) / determinant;
        double length = 1;
        Fit next = fit_at(z, y, weights, slope - to_slope, offset - to_offset);
        while (!(next.loss <= fit.loss) && length > 2e-6) {
            length /= 2;
            next = fit_at(z, y, weights, slope - length * to_slope, offset - length * to_offset);
        }
        if (!(next.loss <= fit.loss)) break;
        slope -= length * to_slope;
        offset -= length * to_offset;
        const bool done = fit.loss - next.loss <= 1e-12 * fit.loss;
        fit = next;
        if (done) break;
    }
    return {slope, offset};
}

// -- classes ------------------------------------------------------------------------------

/// Loss, gradient and second derivatives by the slope and the offsets, in this order.
struct ClassFit {
    double loss = 0;
    std::vector<double> gradient;
    std::vector<double> curve;  ///< (1 + k) x (1 + k), the lower half
};

ClassFit classes_at(ConstMatrixView z, ConstMatrixView y, std::span<const double> weights,
                    std::span<const double> at) {
    const std::size_t k = z.cols;
    const std::size_t size = k + 1;
    ClassFit fit{0, std::vector<double>(size), std::vector<double>(size * size)};
    std::vector<double> p(k);
    for (std::size_t i = 0; i < z.rows; ++i) {
        const double weight = weight_of(weights, i);
        const auto label = static_cast<std::size_t>(y(i, 0));
        double most = -HUGE_VAL;
        for (std::size_t c = 0; c < k; ++c) {
            p[c] = at[0] * z(i, c) + at[1 + c];
            most = std::max(most, p[c]);
        }
        const double of_label = p[label];
        double sum = 0;
        for (double& value : p) sum += value = exp(value - most);
        fit.loss += weight * (log(sum) + most - of_label);
        double mean = 0;
        double squares = 0;
        for (std::size_t c = 0; c < k; ++c) {
            p[c] /= sum;
            mean += p[c] * z(i, c);
            squares += p[c] * z(i, c) * z(i, c);
        }
        fit.gradient[0] += weight * (mean - z(i, label));
        fit.curve[0] += weight * (squares - mean * mean);
        for (std::size_t c = 0; c < k; ++c) {
            double* const row = fit.curve.data() + (1 + c) * size;
            fit.gradient[1 + c] += weight * (p[c] - (c == label ? 1 : 0));
            row[0] += weight * p[c] * (z(i, c) - mean);
            for (std::size_t d = 0; d < c; ++d) row[1 + d] -= weight * p[c] * p[d];
            row[1 + c] += weight * p[c] * (1 - p[c]);
        }
    }
    return fit;
}

/// The step of Newton's method. A ridge makes it the only one: the same number on all offsets
/// changes nothing, nor does a slope where scores are all the same.
std::vector<double> newton_step(ClassFit fit) {
    const std::size_t size = fit.gradient.size();
    double trace = 0;
    for (std::size_t i = 0; i < size; ++i) trace += fit.curve[i * size + i];
    const double ridge = 1e-9 * trace / static_cast<double>(size) + 1e-300;
    std::vector<double>& l = fit.curve;  // becomes its Cholesky factor
    for (std::size_t i = 0; i < size; ++i) {
        l[i * size + i] += ridge;
        for (std::size_t j = 0; j <= i; ++j) {
            double sum = l[i * size + j];
            for (std::size_t m = 0; m < j; ++m) sum -= l[i * size + m] * l[j * size + m];
            l[i * size + j] = i == j ? std::sqrt(std::max(sum, ridge)) : sum / l[j * size + j];
        }
    }
    std::vector<double> x = std::move(fit.gradient);
    for (std::size_t i = 0; i < size; ++i) {
        for (std::size_t m = 0; m < i; ++m) x[i] -= l[i * size + m] * x[m];
        x[i] /= l[i * size + i];
    }
    for (std::size_t i = size; i-- > 0;) {
        for (std::size_t m = i + 1; m < size; ++m) x[i] -= l[m * size + i] * x[m];
        x[i] /= l[i * size + i];
    }
    return x;
}

}  // namespace

Recalibration fit_class_recalibration(ConstMatrixView scores, ConstMatrixView labels,
                                      std::span<const double> weights) {
    constexpr int steps_max = 50;
    std::vector<double> at(scores.cols + 1);
    at[0] = 1;
    ClassFit fit = classes_at(scores, labels, weights, at);
    for (int step = 0; step < steps_max; ++step) {
        const std::vector<double> to = newton_step(fit);
        const auto moved = [&](double length) {
            std::vector<double> out(at);
            for (std::size_t i = 0; i < out.size(); ++i) out[i] -= length * to[i];
            return out;
        };
        double length = 1;
        std::vector<double> there = moved(length);
        ClassFit next = classes_at(scores, labels, weights, there);
        while (!(next.loss <= fit.loss) && length > 2e-6) {
            length /= 2;
            there = moved(length);
            next = classes_at(scores, labels, weights, there);
        }
        if (!(next.loss <= fit.loss)) break;
        const bool done = fit.loss - next.loss <= 1e-12 * fit.loss;
        at = std::move(there);
        fit = std::move(next);
        if (done) break;
    }
    Recalibration out;
    double mean = 0;
    for (std::size_t c = 0; c < scores.cols; ++c)
        mean += at[1 + c] / static_cast<double>(scores.cols);
    for (std::size_t c = 0; c < scores.cols; ++c) {
        out.slope.push_back(at[0]);
        out.offset.push_back(at[1 + c] - mean);
    }
    return out;
}

Recalibration fit_recalibration(ConstMatrixView scores, ConstMatrixView labels,
                                std::span<const double> weights) {
    Recalibration out;
    for (std::size_t k = 0; k < scores.cols; ++k) {
        const auto [slope, offset] = fit_output(scores.col(k), labels.col(k), weights);
        out.slope.push_back(slope);
        out.offset.push_back(offset);
    }
    return out;
}

Matrix scaled(ConstMatrixView scores, const std::vector<double>& slope) {
    Matrix out(scores.rows, scores.cols);
    for (std::size_t k = 0; k < scores.cols; ++k)
        for (std::size_t i = 0; i < scores.rows; ++i) out(i, k) = slope[k] * scores(i, k);
    return out;
}

}  // namespace vflbus::models
