// The product of float matrices on which networks rest, and Adam's step, for kernels_impl.hpp. What
// holds there holds here: internal linkage only, nothing of the standard library's templates.

#pragma once

#include <cstddef>

#include "models/kernel_table.hpp"

namespace vflbus::models {
namespace {

using std::size_t;

#if defined(__AVX512F__)
constexpr int float_lanes = 16;
constexpr int widest_tile = 4;  // vectors of one column of a tile; 32 registers hold 6 columns
#elif defined(__AVX__)
constexpr int float_lanes = 8;
constexpr int widest_tile = 2;
#else
constexpr int float_lanes = 4;
constexpr int widest_tile = 2;
#endif
typedef float Floats __attribute__((vector_size(4 * float_lanes)));
// one that may lie anywhere and alias floats
typedef float LooseFloats __attribute__((vector_size(4 * float_lanes), aligned(4), may_alias));

/// Where the factor of a product lies that is read number by number.
struct Scalars {
    const float* data;
    size_t step;  // floats from one term to the next
    size_t next;  // floats from one column of the result to the next
};

/// vecs * float_lanes rows of `cols` columns of the result. Every element is a sum of its own over
/// t, so any tiling gives the same bits.
template <int vecs, int cols>
inline void product_tile(const float* a, size_t terms, size_t a_stride, Scalars b,
                         const float* start, float* c, size_t c_stride) noexcept {
    Floats sum[cols][vecs];
    for (int j = 0; j < cols; ++j)
        for (int v = 0; v < vecs; ++v)
            sum[j][v] = start == nullptr
                            ? Floats{}
                            : *reinterpret_cast<const LooseFloats*>(start + v * float_lanes);
    for (size_t t = 0; t < terms; ++t, a += a_stride, b.data += b.step) {
        Floats column[vecs];
        for (int v = 0; v < vecs; ++v)
            column[v] = *reinterpret_cast<const LooseFloats*>(a + v * float_lanes);
        for (int j = 0; j < cols; ++j) {
            const float factor = b.data[static_cast<size_t>(j) * b.next];
            for (int v = 0; v < vecs; ++v) sum[j][v] += column[v] * factor;
        }
    }
    for (int j = 0; j < cols; ++j)
        for (int v = 0; v < vecs; ++v)
            *reinterpret_cast<LooseFloats*>(c + static_cast<size_t>(j) * c_stride +
                                            v * float_lanes) = sum[j][v];
}

template <int vecs>
void product_rows(const float* a, size_t terms, size_t a_stride, Scalars b, const float* start,
                  size_t n, float* c, size_t c_stride) noexcept {
    size_t j = 0;
    const auto at = [&](size_t column) {
        return Scalars{b.data + column * b.next, b.step, b.next};
    };
    for (; j + 6 <= n; j += 6)
        product_tile<vecs, 6>(a, terms, a_stride, at(j), start, c + j * c_stride, c_stride);
    for (; j + 2 <= n; j += 2)
        product_tile<vecs, 2>(a, terms, a_stride, at(j), start, c + j * c_stride, c_stride);
    for (; j < n; ++j)
        product_tile<vecs, 1>(a, terms, a_stride, at(j), start, c + j * c_stride, c_stride);
}

void product(const FloatProduct& p) {
    const Scalars b{p.b, p.b_step, p.b_next};
    size_t i = 0;
    const auto rows = [&]<int vecs>() {
        for (; i + vecs * float_lanes <= p.rows; i += vecs * float_lanes)
            product_rows<vecs>(p.a + i, p.terms, p.a_stride, b,
                               p.start == nullptr ? nullptr : p.start + i, p.columns, p.c + i,
                               p.c_stride);
    };
    rows.template operator()<widest_tile>();
    rows.template operator()<1>();
}

void adam(const FloatAdam& s) {
    for (size_t i = 0; i < s.size; i += float_lanes) {
        const auto load = [i](const float* from) {
            return Floats(*reinterpret_cast<const LooseFloats*>(from + i));
        };
        const auto store = [i](float* to, Floats value) {
            *reinterpret_cast<LooseFloats*>(to + i) = value;
        };
        const Floats weight = load(s.weights);
        const Floats g = load(s.gradient) * s.gradient_factor + s.penalty * weight;
        const Floats first = s.beta1 * load(s.first) + (1 - s.beta1) * g;
        const Floats second = s.beta2 * load(s.second) + (1 - s.beta2) * (g * g);
        Floats root;
        for (int l = 0; l < float_lanes; ++l) root[l] = __builtin_sqrtf(second[l]);
        store(s.first, first);
        store(s.second, second);
        store(s.weights, weight * s.keep - s.rate * first / (root * s.second_factor + s.epsilon));
    }
}

}  // namespace
}  // namespace vflbus::models
