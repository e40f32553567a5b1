#include "models/nn/layers.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/assert.hpp"
#include "base/rng.hpp"
#include "models/kernel_table.hpp"

namespace vflbus::models::nn {
namespace {

/// out[j] = the sum of number j of all records, added record by record.
void sum_records(const Records& records, FloatArray& out) {
    out.resize(records.stride());
    for (std::size_t i = 0; i < records.count(); ++i) {
        const float* const from = records.record(i);
        for (std::size_t j = 0; j < out.size(); ++j) out[j] += from[j];
    }
}

void dense_product(const Parameter& weights, const Parameter& bias, const Records& in,
                   Records& out) {
    out.resize_uninitialized(weights.width, in.count());
    FloatProduct product;
    product.rows = out.stride();
    product.terms = weights.columns;
    product.columns = in.count();
    product.a = weights.value.data();
    product.a_stride = out.stride();
    product.b = in.all().data();
    product.b_step = 1;
    product.b_next = in.stride();
    product.start = bias.value.data();
    product.c = out.all().data();
    product.c_stride = out.stride();
    kernels().float_product(product);
}

/// The logistic function is taken of so many numbers at a time.
constexpr std::size_t chunk = 256;
using Chunk = std::array<double, chunk>;

constexpr double gelu_scale = 1.5957691216057308;  // 2 sqrt(2 / pi)
constexpr double gelu_cube = 0.044715;

/// out = f(in); slope = f'(in) unless null. For the two activations that need the logistic
/// function.
void smooth(Activation kind, std::span<const float> in, float* out, float* slope) {
    Chunk gate;
    for (std::size_t first = 0; first < in.size(); first += chunk) {
        const std::size_t n = std::min(chunk, in.size() - first);
        for (std::size_t i = 0; i < n; ++i) {
            const double x = static_cast<double>(in[first + i]);
            gate[i] = kind == Activation::silu ? x : gelu_scale * (x + gelu_cube * (x * x * x));
        }
        kernels().sigmoid(gate.data(), gate.data(), n);
        for (std::size_t i = 0; i < n; ++i) {
            const double x = static_cast<double>(in[first + i]);
            const double s = gate[i];
            out[first + i] = static_cast<float>(x * s);
            if (slope == nullptr) continue;
            const double inner =
                kind == Activation::silu ? 1 : gelu_scale * (1 + 3 * gelu_cube * (x * x));
            slope[first + i] = static_cast<float>(s + x * s * (1 - s) * inner);
        }
    }
}

}  // namespace

Parameter::Parameter(std::size_t width_of_column, std::size_t column_count, bool with_decay)
    : width(width_of_column),
      columns(column_count),
      decays(with_decay),
      value(padded(width) * columns),
      gradient(padded(width) * columns) {}

void append_unpadded(const Parameter& shape, const FloatArray& values, std::vector<float>& out) {
    if (values.size() == 0) return;
    for (std::size_t j = 0; j < shape.columns; ++j) {
        const float* const from = values.data() + j * padded(shape.width);
        out.insert(out.end(), from, from + shape.width);
    }
}

const float* take_unpadded(const float* from, const Parameter& shape, FloatArray& values) {
    if (values.size() == 0) return from;
    for (std::size_t j = 0; j < shape.columns; ++j, from += shape.width)
        std::copy_n(from, shape.width, values.data() + j * padded(shape.width));
    return from;
}

// -- Dense -------------------------------------------------------------------------------

Dense::Dense(std::size_t inputs, std::size_t outputs, std::uint64_t seed)
    : weights_(outputs, inputs, true), bias_(outputs, 1, false) {
    Rng rng(seed);
    const double bound = std::sqrt(6.0 / static_cast<double>(inputs == 0 ? 1 : inputs));
    for (std::size_t j = 0; j < inputs; ++j)
        for (std::size_t c = 0; c < outputs; ++c)
            weights_.value[j * padded(outputs) + c] =
                static_cast<float>((2 * rng.uniform() - 1) * bound);
}

void Dense::forward(const Records& in, Records& out, const Pass&) {
    VFLBUS_ASSERT(in.width() == weights_.columns, "a layer gets the records that it was made for");
    in_ = &in;
    dense_product(weights_, bias_, in, out);
}

void Dense::infer(const Records& in, Records& out) const {
    dense_product(weights_, bias_, in, out);
}

void Dense::backward(const Records& by_out, Records* by_in) {
    const Records& in = *in_;
    FloatProduct product;
    product.rows = by_out.stride();
    product.terms = in.count();
    product.columns = in.width();
    product.a = by_out.all().data();
    product.a_stride = by_out.stride();
    product.b = in.all().data();
    product.b_step = in.stride();
    product.b_next = 1;
    product.c = weights_.gradient.data();
    product.c_stride = by_out.stride();
    kernels().float_product(product);
    sum_records(by_out, bias_.gradient);
    if (by_in == nullptr) return;

    turned_.resize(in.stride() * weights_.width);
    for (std::size_t j = 0; j < weights_.columns; ++j)
        for (std::size_t c = 0; c < weights_.width; ++c)
            turned_[c * in.stride() + j] = weights_.value[j * by_out.stride() + c];
    by_in->resize_uninitialized(in.width(), in.count());
    product = {};
    product.rows = in.stride();
    product.terms = weights_.width;
    product.columns = in.count();
    product.a = turned_.data();
    product.a_stride = in.stride();
    product.b = by_out.all().data();
    product.b_step = 1;
    product.b_next = by_out.stride();
    product.c = by_in->all().data();
    product.c_stride = in.stride();
    kernels().float_product(product);
}

void Dense::parameters(std::vector<Parameter*>& all) {
    all.push_back(&weights_);
    all.push_back(&bias_);
}

// -- Bias --------------------------------------------------------------------------------

Bias::Bias(std::size_t width) : bias_(width, 1, false) {}

void Bias::forward(const Records& in, Records& out, const Pass&) {
    infer(in, out);
}

void Bias::backward(const Records& by_out, Records* by_in) {
    sum_records(by_out, bias_.gradient);
    if (by_in != nullptr) *by_in = by_out;
}

void Bias::infer(const Records& in, Records& out) const {
    out.resize_uninitialized(in.width(), in.count());
    for (std::size_t i = 0; i < in.count(); ++i) {
        const float* const from = in.record(i);
        float* const to = out.record(i);
        for (std::size_t j = 0; j < in.stride(); ++j) to[j] = from[j] + bias_.value[j];
    }
}

void Bias::parameters(std::vector<Parameter*>& all) {
    all.push_back(&bias_);
}

// -- element by element --------------------------------------------------------------------

void ElementLayer::backward(const Records& by_out, Records* by_in) {
    if (by_in == nullptr) return;
    by_in->resize_uninitialized(by_out.width(), by_out.count());
    const auto slope = slope_.all();
    const auto from = by_out.all();
    const auto to = by_in->all();
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = from[i] * slope[i];
}

void ActivationLayer::forward(const Records& in, Records& out, const Pass&) {
    out.resize_uninitialized(in.width(), in.count());
    slope_.resize_uninitialized(in.width(), in.count());
    const auto from = in.all();
    if (kind_ != Activation::relu)
        return smooth(kind_, from, out.all().data(), slope_.all().data());
    const auto to = out.all();
    const auto slope = slope_.all();
    for (std::size_t i = 0; i < from.size(); ++i) {
        slope[i] = from[i] > 0 ? 1.0F : 0.0F;
        to[i] = from[i] > 0 ? from[i] : 0.0F;
    }
}

void ActivationLayer::infer(const Records& in, Records& out) const {
    out.resize_uninitialized(in.width(), in.count());
    const auto from = in.all();
    if (kind_ != Activation::relu) return smooth(kind_, from, out.all().data(), nullptr);
    const auto to = out.all();
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = from[i] > 0 ? from[i] : 0.0F;
}

void Dropout::forward(const Records& in, Records& out, const Pass& pass) {
    out.resize_uninitialized(in.width(), in.count());
    slope_.resize_uninitialized(in.width(), in.count());
    const auto limit = static_cast<std::uint64_t>(rate_ * 0x1p32);
    const auto kept = static_cast<float>(1 / (1 - rate_));
    Rng rng(mix_seed(pass.seed, place_));
    const auto from = in.all();
    const auto to = out.all();
    const auto slope = slope_.all();
    for (std::size_t i = 0; i < from.size(); i += 2) {
        const std::uint64_t draw = rng.next();
        slope[i] = (draw & 0xffffffffU) < limit ? 0.0F : kept;
        slope[i + 1] = (draw >> 32) < limit ? 0.0F : kept;
    }
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = from[i] * slope[i];
}

}  // namespace vflbus::models::nn
