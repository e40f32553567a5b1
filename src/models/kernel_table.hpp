#pragma once
// The loops that exist once per instruction set, and which of them this machine runs. Private to
// this room. All pointers are column-major without padding unless said otherwise.

#include <cstddef>

namespace vflbus::models {

struct KernelTable {
    /// Z (b x k) = X (b x d) W (d x k)
    void (*scores)(const double* x, std::size_t b, std::size_t d, const double* w, std::size_t k,
                   double* z);
    /// G (d x k) = X' (d x b) R (b x k)
    void (*gradient)(const double* x, std::size_t b, std::size_t d, const double* r, std::size_t k,
                     double* g);
    /// out (b x d): row i is the d doubles at rows[i]
    void (*gather)(const double* const* rows, std::size_t b, std::size_t d, double* out);
    double (*lane_sum)(const double* values, std::size_t n);
    void (*exp)(const double* in, double* out, std::size_t n);
    void (*log)(const double* in, double* out, std::size_t n);
    void (*sigmoid)(const double* in, double* out, std::size_t n);
    void (*softplus)(const double* in, double* out, std::size_t n);
};

extern const KernelTable kernels_baseline;
#ifdef VFLBUS_WIDE_KERNELS
extern const KernelTable kernels_avx2;
extern const KernelTable kernels_avx512;
#endif

const KernelTable& kernels() noexcept;

}  // namespace vflbus::models
