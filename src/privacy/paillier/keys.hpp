#pragma once
// What the public and the private key of Paillier have in common. Only this folder includes it.

#include <cstdint>
#include <span>

#include "base/errc.hpp"
#include "privacy/paillier/integer.hpp"
#include "privacy/paillier/lanes.hpp"
#include "privacy/paillier/paillier.hpp"

namespace vflbus::privacy::paillier {

/// Lanes modulo a number that fills its words.
Lanes lanes_of(const Integer& modulus);

/// That these are whole ciphertexts, each in [1, n^2) and without a common divisor with n.
/// malformed_message.
Result<> check_ciphertexts(std::span<const std::uint64_t> ciphertexts, const Integer& n,
                           const Modulus& squared);

/// n and h of a key of so many bits, as PublicKey::parse takes them.
Bytes key_bytes(const Integer& n, const Integer& h, std::uint32_t key_bits);

inline std::uint64_t low_word(const Integer& value) {
    return mpz_size(value) == 0 ? 0 : mpz_getlimbn(value, 0);
}

}  // namespace vflbus::privacy::paillier
