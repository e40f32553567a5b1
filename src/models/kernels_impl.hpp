// The loops of kernel_table.hpp, written with compiler vectors of the width that the including
// translation unit is compiled for. It defines VFLBUS_KERNELS, the name of the table. What holds
// for math_impl.hpp holds here: internal linkage only, nothing of the standard library's templates.

#include "models/kernel_table.hpp"
#include "models/math_impl.hpp"
#include "models/nn/depthwise_impl.hpp"
#include "models/nn/product_impl.hpp"

namespace vflbus::models {
namespace {

using std::size_t;

#if defined(__AVX512F__)
constexpr int native = 8;
#elif defined(__AVX__)
constexpr int native = 4;
#else
constexpr int native = 2;
#endif
constexpr bool many_registers = native == 8;  // 32 instead of 16

template <int lanes>
struct Vector {
    typedef double type __attribute__((vector_size(8 * lanes)));
    // one that may lie anywhere and alias doubles
    typedef double loose __attribute__((vector_size(8 * lanes), aligned(8), may_alias));
    static inline type load(const double* from) noexcept {
        return *reinterpret_cast<const loose*>(from);
    }
    static inline void store(double* to, type value) noexcept {
        *reinterpret_cast<loose*>(to) = value;
    }
};
template <>
struct Vector<1> {
    typedef double type;
    static inline type load(const double* from) noexcept { return *from; }
    static inline void store(double* to, type value) noexcept { *to = value; }
};

// -- scores ---------------------------------------------------------------------
// A tile of (wide * lanes) rows and ct outputs stays in registers while j runs over the features.
// Rows are independent of each other, so any tiling gives the same bits.

template <int lanes, int wide, int ct>
inline void scores_tile(const double* x, size_t b, size_t d, const double* w, double* z) noexcept {
    using V = Vector<lanes>;
    typename V::type sum[ct][wide];
    for (int c = 0; c < ct; ++c)
        for (int v = 0; v < wide; ++v) sum[c][v] = typename V::type{};
    for (size_t j = 0; j < d; ++j, x += b) {
        typename V::type column[wide];
        for (int v = 0; v < wide; ++v) column[v] = V::load(x + v * lanes);
        for (int c = 0; c < ct; ++c) {
            const double weight = w[static_cast<size_t>(c) * d + j];
            for (int v = 0; v < wide; ++v) sum[c][v] += column[v] * weight;
        }
    }
    for (int c = 0; c < ct; ++c)
        for (int v = 0; v < wide; ++v)
            V::store(z + static_cast<size_t>(c) * b + v * lanes, sum[c][v]);
}

template <int ct>
void scores_columns(const double* x, size_t b, size_t d, const double* w, double* z) noexcept {
    constexpr int room = many_registers ? 20 : 10;  // accumulators; enough of them hide the latency
    constexpr int wide = room / ct >= 8 ? 8 : room / ct >= 4 ? 4 : room / ct >= 2 ? 2 : 1;
    size_t i = 0;
    for (; i + wide * native <= b; i += wide * native)
        scores_tile<native, wide, ct>(x + i, b, d, w, z + i);
    for (; i + native <= b; i += native) scores_tile<native, 1, ct>(x + i, b, d, w, z + i);
    for (; i < b; ++i) scores_tile<1, 1, ct>(x + i, b, d, w, z + i);
}

void scores(const double* x, size_t b, size_t d, const double* w, size_t k, double* z) {
    if (d == 0) {  // no features: x may be null, which no offset may be added to
        for (size_t i = 0; i < b * k; ++i) z[i] = 0;
        return;
    }
    constexpr size_t most = many_registers ? 10 : 5;
    while (k > 0) {
        const size_t ct = k < most ? k : most;
        switch (ct) {
            case 1:
                scores_columns<1>(x, b, d, w, z);
                break;
            case 2:
                scores_columns<2>(x, b, d, w, z);
                break;
            case 3:
                scores_columns<3>(x, b, d, w, z);
                break;
            case 4:
                scores_columns<4>(x, b, d, w, z);
                break;
            case 5:
                scores_columns<5>(x, b, d, w, z);
                break;
            case 6:
                scores_columns<6>(x, b, d, w, z);
                break;
            case 7:
                scores_columns<7>(x, b, d, w, z);
                break;
            case 8:
                scores_columns<8>(x, b, d, w, z);
                break;
            case 9:
                scores_columns<9>(x, b, d, w, z);
                break;
            default:
                scores_columns<10>(x, b, d, w, z);
                break;
        }
        k -= ct;
        w += ct * d;
        z += ct * b;
    }
}

// -- gradient -------------------------------------------------------------------
// Eight sums per element, lane l taking the rows i = l mod 8. A narrower unit runs over the rows
// once for each group of lanes.

inline double reduce(const double* s) noexcept {
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

template <int jt, int ct>
inline void gradient_tile(const double* x, size_t b, size_t d, const double* r,
                          double* g) noexcept {
    using V = Vector<native>;
    double lanes[jt][ct][8];
    const size_t whole = b & ~static_cast<size_t>(7);
    for (int group = 0; group < 8; group += native) {
        V::type sum[jt][ct];
        for (int j = 0; j < jt; ++j)
            for (int c = 0; c < ct; ++c) sum[j][c] = V::type{};
        for (size_t i = 0; i < whole; i += 8) {
            V::type column[jt];
            const size_t at = i + static_cast<size_t>(group);
            for (int j = 0; j < jt; ++j) column[j] = V::load(x + static_cast<size_t>(j) * b + at);
            for (int c = 0; c < ct; ++c) {
                const V::type residual = V::load(r + static_cast<size_t>(c) * b + at);
                for (int j = 0; j < jt; ++j) sum[j][c] += column[j] * residual;
            }
        }
        for (int j = 0; j < jt; ++j)
            for (int c = 0; c < ct; ++c) V::store(lanes[j][c] + group, sum[j][c]);
    }
    for (int j = 0; j < jt; ++j) {
        const double* column = x + static_cast<size_t>(j) * b;
        for (int c = 0; c < ct; ++c) {
            const double* residual = r + static_cast<size_t>(c) * b;
            for (size_t i = whole; i < b; ++i) lanes[j][c][i - whole] += column[i] * residual[i];
            g[static_cast<size_t>(c) * d + static_cast<size_t>(j)] = reduce(lanes[j][c]);
        }
    }
}

/// `n` columns from x on; d is the distance from one output to the next in g.
template <int jt, int ct>
void gradient_columns(const double* x, size_t b, size_t n, size_t d, const double* r,
                      double* g) noexcept {
    size_t j = 0;
    for (; j + jt <= n; j += jt) gradient_tile<jt, ct>(x + j * b, b, d, r, g + j);
    for (; j < n; ++j) gradient_tile<1, ct>(x + j * b, b, d, r, g + j);
}

/// Outputs run inside a group of columns, so that the group is read from L1 after the first.
void gradient(const double* x, size_t b, size_t d, const double* r, size_t k, double* g) {
    constexpr size_t columns = 8;
    constexpr int wide = many_registers ? 4 : 2;
    for (size_t j = 0; j < d; j += columns) {
        const size_t n = d - j < columns ? d - j : columns;
        const double* from = x + j * b;
        for (size_t c = 0; c < k;) {
            const double* residual = r + c * b;
            double* to = g + c * d + j;
            const size_t ct = k - c < 5 ? k - c : 5;
            switch (ct) {
                case 1:
                    gradient_columns<8, 1>(from, b, n, d, residual, to);
                    break;
                case 2:
                    gradient_columns<4, 2>(from, b, n, d, residual, to);
                    break;
                case 3:
                    gradient_columns<wide, 3>(from, b, n, d, residual, to);
                    break;
                case 4:
                    gradient_columns<wide, 4>(from, b, n, d, residual, to);
                    break;
                default:
                    gradient_columns<wide, 5>(from, b, n, d, residual, to);
                    break;
            }
            c += ct;
        }
    }
}

double lane_sum(const double* values, size_t n) {
    double lanes[8] = {};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t l = 0; l < 8; ++l) lanes[l] += values[i + l];
    for (size_t l = 0; i < n; ++i, ++l) lanes[l] += values[i];
    return reduce(lanes);
}

// -- gather -----------------------------------------------------------------------

void gather(const double* const* rows, size_t b, size_t d, double* out) {
    size_t i = 0;
    for (; i + 8 <= b; i += 8) {
        const double* const* row = rows + i;
        for (size_t j = 0; j < d; ++j)
            for (size_t l = 0; l < 8; ++l) out[j * b + i + l] = row[l][j];
    }
    for (; i < b; ++i)
        for (size_t j = 0; j < d; ++j) out[j * b + i] = rows[i][j];
}

// -- weights of rows -----------------------------------------------------------------

void weigh(const double* x, size_t b, size_t d, const double* w, double* out) {
    using V = Vector<native>;
    for (size_t j = 0; j < d; ++j, x += b, out += b) {
        size_t i = 0;
        for (; i + native <= b; i += native) V::store(out + i, V::load(w + i) * V::load(x + i));
        for (; i < b; ++i) out[i] = w[i] * x[i];
    }
}

void add_weighed(const double* x, size_t b, size_t d, const double* w, double* out) {
    using V = Vector<native>;
    for (size_t j = 0; j < d; ++j, x += b, out += b) {
        size_t i = 0;
        for (; i + native <= b; i += native)
            V::store(out + i, V::load(out + i) + V::load(w + i) * V::load(x + i));
        for (; i < b; ++i) out[i] += w[i] * x[i];
    }
}

// -- functions --------------------------------------------------------------------

void exp_array(const double* in, double* out, size_t n) {
    for (size_t i = 0; i < n; ++i) out[i] = exp_impl(in[i]);
}
void log_array(const double* in, double* out, size_t n) {
    for (size_t i = 0; i < n; ++i) out[i] = log_impl(in[i]);
}
void sigmoid_array(const double* in, double* out, size_t n) {
    for (size_t i = 0; i < n; ++i) out[i] = sigmoid_impl(in[i]);
}
void softplus_array(const double* in, double* out, size_t n) {
    for (size_t i = 0; i < n; ++i) out[i] = softplus_impl(in[i]);
}

}  // namespace

extern const KernelTable VFLBUS_KERNELS;
const KernelTable VFLBUS_KERNELS = {scores,        gradient,        gather,           weigh,
                                    add_weighed,   lane_sum,        exp_array,        log_array,
                                    sigmoid_array, softplus_array,  product,          adam,
                                    depthwise,     depthwise_by_in, depthwise_by_taps};

}  // namespace vflbus::models
