// Batch and layer normalisation.

#include <array>
#include <cmath>

#include "models/nn/layers.hpp"

namespace vflbus::models::nn {
namespace {

constexpr double norm_epsilon = 1e-5;  // as PyTorch's
constexpr float running_share = 0.1F;

/// gain times normal plus shift, record by record.
void scale_and_shift(const Records& normal, const Parameter& gain, const Parameter& shift,
                     Records& out) {
    out.resize_uninitialized(normal.width(), normal.count());
    for (std::size_t i = 0; i < normal.count(); ++i) {
        const float* const from = normal.record(i);
        float* const to = out.record(i);
        for (std::size_t j = 0; j < normal.stride(); ++j)
            to[j] = gain.value[j] * from[j] + shift.value[j];
    }
}

/// The gradients by gain and shift, added record by record.
void sum_gradients(const Records& by_out, const Records& normal, Parameter& gain,
                   Parameter& shift) {
    gain.gradient.resize(by_out.stride());
    shift.gradient.resize(by_out.stride());
    for (std::size_t i = 0; i < by_out.count(); ++i) {
        const float* const g = by_out.record(i);
        const float* const n = normal.record(i);
        for (std::size_t j = 0; j < by_out.stride(); ++j) {
            gain.gradient[j] += g[j] * n[j];
            shift.gradient[j] += g[j];
        }
    }
}

/// The sum of at(0) to at(n - 1), in sixteen lanes that are added pair by pair.
template <class At>
double lanes_sum(std::size_t n, At at) {
    std::array<double, 16> lane{};
    for (std::size_t i = 0; i < n; ++i) lane[i % 16] += at(i);
    for (std::size_t half = 8; half > 0; half /= 2)
        for (std::size_t l = 0; l < half; ++l) lane[l] += lane[l + half];
    return lane[0];
}

Parameter ones(std::size_t width) {
    Parameter out(width, 1, false);
    for (std::size_t j = 0; j < width; ++j) out.value[j] = 1;
    return out;
}

}  // namespace

// -- BatchNorm ---------------------------------------------------------------------------

BatchNorm::BatchNorm(std::size_t width)
    : gain_(ones(width)),
      shift_(width, 1, false),
      mean_{width, FloatArray(padded(width))},
      variance_{width, ones(width).value} {}

void BatchNorm::forward(const Records& in, Records& out, const Pass&) {
    const std::size_t stride = in.stride();
    const double n = static_cast<double>(in.count());
    std::vector<double> sum(stride);
    std::vector<double> squares(stride);
    for (std::size_t i = 0; i < in.count(); ++i)
        for (std::size_t j = 0; j < stride; ++j) sum[j] += static_cast<double>(in.record(i)[j]);
    for (double& value : sum) value /= n;
    for (std::size_t i = 0; i < in.count(); ++i)
        for (std::size_t j = 0; j < stride; ++j) {
            const double miss = static_cast<double>(in.record(i)[j]) - sum[j];
            squares[j] += miss * miss;
        }
    batch_mean_.resize(stride);
    batch_variance_.resize(stride);
    inverse_.resize(stride);
    for (std::size_t j = 0; j < stride; ++j) {
        batch_mean_[j] = static_cast<float>(sum[j]);
        // as PyTorch: biased for the batch, unbiased for what is remembered
        batch_variance_[j] = static_cast<float>(squares[j] / (n > 1 ? n - 1 : 1));
        inverse_[j] = static_cast<float>(1 / std::sqrt(squares[j] / n + norm_epsilon));
    }
    normal_.resize_uninitialized(in.width(), in.count());
    for (std::size_t i = 0; i < in.count(); ++i)
        for (std::size_t j = 0; j < stride; ++j)
            normal_.record(i)[j] = (in.record(i)[j] - batch_mean_[j]) * inverse_[j];
    scale_and_shift(normal_, gain_, shift_, out);
}

void BatchNorm::backward(const Records& by_out, Records* by_in) {
    sum_gradients(by_out, normal_, gain_, shift_);
    // not in forward: a batch that is gone through again after a recovery must not count twice
    for (std::size_t j = 0; j < mean_.value.size(); ++j) {
        mean_.value[j] += running_share * (batch_mean_[j] - mean_.value[j]);
        variance_.value[j] += running_share * (batch_variance_[j] - variance_.value[j]);
    }
    if (by_in == nullptr) return;
    by_in->resize_uninitialized(by_out.width(), by_out.count());
    const auto n = static_cast<float>(by_out.count());
    for (std::size_t i = 0; i < by_out.count(); ++i) {
        const float* const g = by_out.record(i);
        const float* const normal = normal_.record(i);
        float* const to = by_in->record(i);
        for (std::size_t j = 0; j < by_out.stride(); ++j)
            to[j] = gain_.value[j] * inverse_[j] *
                    (g[j] - shift_.gradient[j] / n - normal[j] * (gain_.gradient[j] / n));
    }
}

void BatchNorm::infer(const Records& in, Records& out) const {
    out.resize_uninitialized(in.width(), in.count());
    FloatArray inverse(in.stride());
    for (std::size_t j = 0; j < in.stride(); ++j)
        inverse[j] = static_cast<float>(
            1 / std::sqrt(static_cast<double>(variance_.value[j]) + norm_epsilon));
    for (std::size_t i = 0; i < in.count(); ++i)
        for (std::size_t j = 0; j < in.stride(); ++j)
            out.record(i)[j] = gain_.value[j] * ((in.record(i)[j] - mean_.value[j]) * inverse[j]) +
                               shift_.value[j];
}

void BatchNorm::parameters(std::vector<Parameter*>& all) {
    all.push_back(&gain_);
    all.push_back(&shift_);
}

void BatchNorm::memories(std::vector<Memory*>& all) {
    all.push_back(&mean_);
    all.push_back(&variance_);
}

// -- LayerNorm ---------------------------------------------------------------------------

LayerNorm::LayerNorm(std::size_t width) : gain_(ones(width)), shift_(width, 1, false) {}

void LayerNorm::normalise(const float* in, float* normal, float& inverse) const {
    const std::size_t width = gain_.width;
    const auto n = static_cast<double>(width);
    const double mean = lanes_sum(width, [&](std::size_t j) { return double{in[j]}; }) / n;
    const double variance = lanes_sum(width,
                                      [&](std::size_t j) {
                                          const double miss = double{in[j]} - mean;
                                          return miss * miss;
                                      }) /
                            n;
    const double scale = 1 / std::sqrt(variance + norm_epsilon);
    for (std::size_t j = 0; j < width; ++j)
        normal[j] = static_cast<float>((double{in[j]} - mean) * scale);
    for (std::size_t j = width; j < padded(width); ++j) normal[j] = 0;
    inverse = static_cast<float>(scale);
}

void LayerNorm::forward(const Records& in, Records& out, const Pass&) {
    normal_.resize_uninitialized(in.width(), in.count());
    inverse_.resize(in.count());
    for (std::size_t i = 0; i < in.count(); ++i)
        normalise(in.record(i), normal_.record(i), inverse_[i]);
    scale_and_shift(normal_, gain_, shift_, out);
}

void LayerNorm::infer(const Records& in, Records& out) const {
    Records normal;
    normal.resize_uninitialized(in.width(), in.count());
    float unused = 0;
    for (std::size_t i = 0; i < in.count(); ++i) normalise(in.record(i), normal.record(i), unused);
    scale_and_shift(normal, gain_, shift_, out);
}

void LayerNorm::backward(const Records& by_out, Records* by_in) {
    sum_gradients(by_out, normal_, gain_, shift_);
    if (by_in == nullptr) return;
    by_in->resize(by_out.width(), by_out.count());
    const std::size_t width = gain_.width;
    const auto n = static_cast<double>(width);
    for (std::size_t i = 0; i < by_out.count(); ++i) {
        const float* const g = by_out.record(i);
        const float* const normal = normal_.record(i);
        float* const to = by_in->record(i);
        const auto scaled = [&](std::size_t j) { return double{g[j]} * double{gain_.value[j]}; };
        const double mean = lanes_sum(width, scaled) / n;
        const double along =
            lanes_sum(width, [&](std::size_t j) { return scaled(j) * double{normal[j]}; }) / n;
        for (std::size_t j = 0; j < width; ++j)
            to[j] = static_cast<float>(double{inverse_[i]} *
                                       (scaled(j) - mean - double{normal[j]} * along));
    }
}

void LayerNorm::parameters(std::vector<Parameter*>& all) {
    all.push_back(&gain_);
    all.push_back(&shift_);
}

}  // namespace vflbus::models::nn
