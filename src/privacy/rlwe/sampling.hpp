#pragma once
// Random polynomials of the lattice encryption, out of a stream of AES (privacy/masks/stream.hpp).
//
// No branch and no address depends on what is drawn, but for values that are thrown away and drawn
// again, which says nothing of those that are kept.

#include <cstdint>
#include <span>

#include "privacy/masks/stream.hpp"
#include "privacy/rlwe/ring.hpp"

namespace vflbus::privacy::rlwe {

/// The largest absolute value of an error.
inline constexpr std::int32_t error_bound = 21;

/// -1, 0 and 1, each with probability 1/3: keys, and the factor of a fresh encryption of zero.
void sample_ternary(AesStream& stream, std::span<std::int32_t> out);
/// The difference of two sums of 21 coins: errors. Variance 10.5 (deviation 3.24; the tables of
/// parameters ask for 3.19), bounded by 21.
void sample_errors(AesStream& stream, std::span<std::int32_t> out);
/// Uniform modulo each prime. Public: `seed` is known to both parties.
void expand_uniform(std::span<const std::uint8_t, Key::size> seed, Polynomial& out);
/// The next N numbers of a stream, uniform modulo `prime`.
void sample_uniform(AesStream& stream, const Prime& prime, std::uint64_t* out);

}  // namespace vflbus::privacy::rlwe
