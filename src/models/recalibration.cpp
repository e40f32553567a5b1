#include "models/recalibration.hpp"

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

Fit fit_at(std::span<const double> z, std::span<const double> y, double slope, double offset) {
    Fit fit;
    for (std::size_t i = 0; i < z.size(); ++i) {
        const double score = slope * z[i] + offset;
        const double p = sigmoid(score);
        const double rest = p - y[i];
        const double curve = p * (1 - p);
        fit.loss += softplus(score) - y[i] * score;
        fit.by_slope += rest * z[i];
        fit.by_offset += rest;
        fit.slope_slope += curve * z[i] * z[i];
        fit.slope_offset += curve * z[i];
        fit.offset_offset += curve;
    }
    return fit;
}

std::pair<double, double> fit_output(std::span<const double> z, std::span<const double> y) {
    constexpr int steps_max = 50;
    double slope = 1;
    double offset = 0;
    Fit fit = fit_at(z, y, slope, offset);
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
        Fit next = fit_at(z, y, slope - to_slope, offset - to_offset);
        while (!(next.loss <= fit.loss) && length > 2e-6) {
            length /= 2;
            next = fit_at(z, y, slope - length * to_slope, offset - length * to_offset);
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

}  // namespace

Recalibration fit_recalibration(ConstMatrixView scores, ConstMatrixView labels) {
    Recalibration out;
    for (std::size_t k = 0; k < scores.cols; ++k) {
        const auto [slope, offset] = fit_output(scores.col(k), labels.col(k));
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
