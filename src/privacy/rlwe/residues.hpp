#pragma once
// Single numbers modulo the primes of the ring, for cipher.cpp and packing.cpp. No branch and no
// address depends on them.

#include <bit>
#include <cstdint>
#include <span>

#include "base/errc.hpp"
#include "privacy/masks/secret.hpp"
#include "privacy/rlwe/bits.hpp"
#include "privacy/rlwe/ring.hpp"

namespace vflbus::privacy::rlwe {

/// [0, 2p) -> [0, p) without a branch.
inline std::uint64_t less(std::uint64_t x, std::uint64_t p) {
    const std::uint64_t rest = x - p;
    return rest + (p & (0 - (rest >> 63)));
}

/// x w modulo p for x below 2^52.
inline std::uint64_t times(std::uint64_t x, const Factor& w, std::uint64_t p) {
    const auto quotient = static_cast<std::uint64_t>((Wide{x} * w.ratio) >> 52);
    return less(x * w.value - quotient * p, p);
}

/// The coefficients `wanted` of a transformed polynomial, modulo one prime: all of them are
/// multiples of `spacing`. `a` may be left in another form.
inline void coefficients(std::size_t spacing, const Prime& prime, std::uint64_t* a, Factor scale,
                         std::span<const std::size_t> wanted, std::span<std::uint64_t> out) {
    const auto k = static_cast<std::uint32_t>(std::countr_zero(spacing));
    if (k < every_least) {
        inverse(prime, a, scale);
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = a[wanted[i]];
        return;
    }
    SecretVector<std::uint64_t> few(ring_size >> k);
    inverse_every(prime, a, k, scale, few.span());
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = few[wanted[i] >> k];
}

/// Of N numbers of 47 bits. Errors: malformed_message when one is not below its prime.
inline Result<> check_below(const Prime& prime, std::uint64_t* numbers) {
    constexpr std::uint64_t all_bits = (std::uint64_t{1} << prime_bits) - 1;
    if (cut_below(prime, all_bits, {numbers, ring_size})) return {};
    return fail(Errc::malformed_message, "a number of a ciphertext is not below its prime");
}

}  // namespace vflbus::privacy::rlwe
