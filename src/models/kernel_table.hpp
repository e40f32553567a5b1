#pragma once
// The loops that exist once per instruction set, and which of them this machine runs. Private to
// this room. All pointers are column-major without padding unless said otherwise.

#include <cstddef>

namespace vflbus::models {

/// C (rows x columns) = A (rows x terms) B (terms x columns), in floats. Columns of A and C are
/// contiguous, `rows` is a multiple of 16. Each element is start + a_0 b_0 + a_1 b_1 + ... in this
/// order, every product rounded before it is added.
struct FloatProduct {
    std::size_t rows = 0;
    std::size_t terms = 0;
    std::size_t columns = 0;
    const float* a = nullptr;
    std::size_t a_stride = 0;  ///< floats from one column of A to the next
    const float* b = nullptr;
    std::size_t b_step = 0;        ///< floats from one term to the next
    std::size_t b_next = 0;        ///< floats from one column of the result to the next
    const float* start = nullptr;  ///< `rows` floats with which every column begins; null: zeros
    float* c = nullptr;
    std::size_t c_stride = 0;
};

/// One step of Adam, element by element; `size` is a multiple of 16.
///   g = gradient_factor G + penalty w;   m = beta1 m + (1 - beta1) g;   s likewise of g^2
///   w = keep w - rate m / (sqrt(s) second_factor + epsilon)
struct FloatAdam {
    std::size_t size = 0;
    float* weights = nullptr;
    float* first = nullptr;
    float* second = nullptr;
    const float* gradient = nullptr;
    float gradient_factor = 1;
    float penalty = 0;
    float keep = 1;
    float beta1 = 0;
    float beta2 = 0;
    float rate = 0;           ///< with the correction of m
    float second_factor = 1;  ///< the correction of sqrt(s)
    float epsilon = 0;
};

/// A depthwise convolution of one picture. A pixel is `width` channels side by side, a multiple of
/// 16, and every channel is worked on by itself. Pixels lie row by row. `in` has its border: the
/// window of result (r, c) begins at its pixel (r step, c step) and is size x size, 3 or 5. Sums
/// run over the taps, or over the pixels of the result, row by row, every product rounded before it
/// is added.
struct FloatDepthwise {
    std::size_t width = 0;
    std::size_t size = 3;
    std::size_t step = 1;
    std::size_t rows = 0;  ///< of the result
    std::size_t columns = 0;
    std::size_t in_columns = 0;
    const float* in = nullptr;
    const float* taps = nullptr;  ///< size x size pixels
    float* out = nullptr;
    // -- gradients: of the loss by the result, by `in`, and by the taps ----
    const float* by_out = nullptr;
    float* by_in = nullptr;
    float* by_taps = nullptr;
};

struct KernelTable {
    /// Z (b x k) = X (b x d) W (d x k)
    void (*scores)(const double* x, std::size_t b, std::size_t d, const double* w, std::size_t k,
                   double* z);
    /// G (d x k) = X' (d x b) R (b x k)
    void (*gradient)(const double* x, std::size_t b, std::size_t d, const double* r, std::size_t k,
                     double* g);
    /// out (b x d): row i is the d doubles at rows[i]
    void (*gather)(const double* const* rows, std::size_t b, std::size_t d, double* out);
    /// out (b x d) = diag(w) X (b x d), each row times its weight
    void (*weigh)(const double* x, std::size_t b, std::size_t d, const double* w, double* out);
    /// out = out + diag(w) X, every product rounded before it is added
    void (*add_weighed)(const double* x, std::size_t b, std::size_t d, const double* w,
                        double* out);
    double (*lane_sum)(const double* values, std::size_t n);
    void (*exp)(const double* in, double* out, std::size_t n);
    void (*log)(const double* in, double* out, std::size_t n);
    void (*sigmoid)(const double* in, double* out, std::size_t n);
    void (*softplus)(const double* in, double* out, std::size_t n);
    void (*float_product)(const FloatProduct& product);
    void (*float_adam)(const FloatAdam& step);
    /// out = the convolution of `in`
    void (*float_depthwise)(const FloatDepthwise& picture);
    /// by_in = by_in + the gradient by `in`
    void (*float_depthwise_by_in)(const FloatDepthwise& picture);
    /// by_taps = by_taps + the gradient by the taps
    void (*float_depthwise_by_taps)(const FloatDepthwise& picture);
};

extern const KernelTable kernels_baseline;
#ifdef VFLBUS_WIDE_KERNELS
extern const KernelTable kernels_avx2;
extern const KernelTable kernels_avx512;
#endif

const KernelTable& kernels() noexcept;

}  // namespace vflbus::models
