// Depthwise convolution of one picture, for kernels_impl.hpp. What holds there holds here: internal
// linkage only, nothing of the standard library's templates.

#pragma once

#include <cstddef>

#include "models/kernel_table.hpp"
#include "models/nn/product_impl.hpp"

namespace vflbus::models {
namespace {

inline Floats load_floats(const float* from) noexcept {
    return *reinterpret_cast<const LooseFloats*>(from);
}
inline void store_floats(float* to, Floats value) noexcept {
    *reinterpret_cast<LooseFloats*>(to) = value;
}

/// `pixels` neighbours of one row of the result, float_lanes channels of each.
template <int pixels>
inline void depthwise_tile(const FloatDepthwise& d, const float* in, const float* taps,
                           float* out) noexcept {
    Floats sum[pixels];
    for (int p = 0; p < pixels; ++p) sum[p] = Floats{};
    for (size_t y = 0; y < d.size; ++y)
        for (size_t x = 0; x < d.size; ++x) {
            const Floats tap = load_floats(taps + (y * d.size + x) * d.width);
            const float* const at = in + (y * d.in_columns + x) * d.width;
            for (int p = 0; p < pixels; ++p)
                sum[p] += load_floats(at + static_cast<size_t>(p) * d.step * d.width) * tap;
        }
    for (int p = 0; p < pixels; ++p) store_floats(out + static_cast<size_t>(p) * d.width, sum[p]);
}

void depthwise(const FloatDepthwise& d) {
    for (size_t lane = 0; lane < d.width; lane += float_lanes)
        for (size_t row = 0; row < d.rows; ++row) {
            const float* in = d.in + row * d.step * d.in_columns * d.width + lane;
            float* out = d.out + row * d.columns * d.width + lane;
            size_t c = 0;
            for (; c + 4 <= d.columns; c += 4, in += 4 * d.step * d.width, out += 4 * d.width)
                depthwise_tile<4>(d, in, d.taps + lane, out);
            for (; c < d.columns; ++c, in += d.step * d.width, out += d.width)
                depthwise_tile<1>(d, in, d.taps + lane, out);
        }
}

void depthwise_by_in(const FloatDepthwise& d) {
    for (size_t lane = 0; lane < d.width; lane += float_lanes)
        for (size_t row = 0; row < d.rows; ++row)
            for (size_t c = 0; c < d.columns; ++c) {
                const Floats g = load_floats(d.by_out + (row * d.columns + c) * d.width + lane);
                float* const to =
                    d.by_in + (row * d.step * d.in_columns + c * d.step) * d.width + lane;
                for (size_t y = 0; y < d.size; ++y)
                    for (size_t x = 0; x < d.size; ++x) {
                        float* const at = to + (y * d.in_columns + x) * d.width;
                        store_floats(
                            at, load_floats(at) +
                                    g * load_floats(d.taps + (y * d.size + x) * d.width + lane));
                    }
            }
}

/// One row of the taps, each with a sum of its own.
template <int size>
inline void depthwise_taps(const FloatDepthwise& d, const float* in, const float* by_out,
                           float* taps) noexcept {
    Floats sum[size];
    for (int x = 0; x < size; ++x) sum[x] = load_floats(taps + static_cast<size_t>(x) * d.width);
    for (size_t row = 0; row < d.rows; ++row, in += d.step * d.in_columns * d.width) {
        const float* at = in;
        for (size_t c = 0; c < d.columns; ++c, at += d.step * d.width, by_out += d.width) {
            const Floats g = load_floats(by_out);
            for (int x = 0; x < size; ++x)
                sum[x] += load_floats(at + static_cast<size_t>(x) * d.width) * g;
        }
    }
    for (int x = 0; x < size; ++x) store_floats(taps + static_cast<size_t>(x) * d.width, sum[x]);
}

void depthwise_by_taps(const FloatDepthwise& d) {
    for (size_t lane = 0; lane < d.width; lane += float_lanes)
        for (size_t y = 0; y < d.size; ++y) {
            const float* const in = d.in + y * d.in_columns * d.width + lane;
            float* const taps = d.by_taps + y * d.size * d.width + lane;
            if (d.size == 3)
                depthwise_taps<3>(d, in, d.by_out + lane, taps);
            else
                depthwise_taps<5>(d, in, d.by_out + lane, taps);
        }
}

}  // namespace
}  // namespace vflbus::models
