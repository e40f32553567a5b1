#pragma once
// What the noise of a run promises: zero-concentrated differential privacy (zCDP; Bun and Steinke
// 2016), added up over releases and said as the usual pair of epsilon and delta.
//
// The problem: one noisy release tells little, and thousands of them add up. A number of
// sensitivity D with discrete normal noise of deviation sigma satisfies rho-zCDP with
// rho = D^2 / (2 sigma^2) (Canonne, Kamath, Steinke 2020, theorem 4, and of vectors by their
// corollary 14), whatever the receiver asked because of earlier answers, and rhos of releases add
// up. So a sum is all that has to be kept; config/privacy.hpp adds up what a run releases.

namespace vflbus::privacy {

/// The least epsilon for which rho-zCDP implies (epsilon, delta) differential privacy by
/// delta = exp((a - 1)(a rho - epsilon)) / (a - 1) (1 - 1/a)^a, over all a > 1 (Canonne, Kamath,
/// Steinke 2020, proposition 7). 0 for rho = 0, infinite for an infinite one. 0 < delta < 1.
[[nodiscard]] double epsilon_of(double rho, double delta) noexcept;

}  // namespace vflbus::privacy
