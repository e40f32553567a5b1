#include "models/math.hpp"

#include <cassert>

#include "models/kernel_table.hpp"
#include "models/math_impl.hpp"

namespace vflbus::models {

double exp(double x) noexcept {
    return exp_impl(x);
}
double log(double x) noexcept {
    return log_impl(x);
}
double log1p(double x) noexcept {
    return log1p_impl(x);
}
double sigmoid(double z) noexcept {
    return sigmoid_impl(z);
}
double softplus(double z) noexcept {
    return softplus_impl(z);
}

double power(double base, std::uint64_t n) noexcept {
    double out = 1;
    for (; n != 0; n >>= 1, base *= base)
        if ((n & 1) != 0) out *= base;
    return out;
}

void exp(std::span<const double> in, std::span<double> out) noexcept {
    assert(in.size() == out.size());
    kernels().exp(in.data(), out.data(), in.size());
}

void log(std::span<const double> in, std::span<double> out) noexcept {
    assert(in.size() == out.size());
    kernels().log(in.data(), out.data(), in.size());
}

void sigmoid(std::span<const double> in, std::span<double> out) noexcept {
    assert(in.size() == out.size());
    kernels().sigmoid(in.data(), out.data(), in.size());
}

void softplus(std::span<const double> in, std::span<double> out) noexcept {
    assert(in.size() == out.size());
    kernels().softplus(in.data(), out.data(), in.size());
}

}  // namespace vflbus::models
