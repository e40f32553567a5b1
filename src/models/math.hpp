#pragma once
// exp, log and what logistic models need of them, written here because libm's differ between
// systems and a model must not. Plain IEEE double operations in a fixed order: the same bits from
// every compiler (with -ffp-contract=off) and for every vector width, as scalars and in arrays.
//
// Largest error over the whole range: exp, log, log1p below 1 ulp; sigmoid and softplus below 3
// ulp. Infinities, NaN and denormal numbers give what C99 Annex F says.

#include <cstdint>
#include <span>

namespace vflbus::models {

double exp(double x) noexcept;
double log(double x) noexcept;    ///< NaN below 0, -inf at 0
double log1p(double x) noexcept;  ///< log(1 + x), exact for small x

double sigmoid(double z) noexcept;   ///< 1 / (1 + exp(-z)), without overflow on either side
double softplus(double z) noexcept;  ///< log(1 + exp(z)), without overflow on either side

/// base^n by squaring.
double power(double base, std::uint64_t n) noexcept;

// -- arrays: out[i] = f(in[i]), bit for bit the scalar's; `out` has in's length and may be `in`
// ----
void exp(std::span<const double> in, std::span<double> out) noexcept;
void log(std::span<const double> in, std::span<double> out) noexcept;
void sigmoid(std::span<const double> in, std::span<double> out) noexcept;
void softplus(std::span<const double> in, std::span<double> out) noexcept;

}  // namespace vflbus::models
