#pragma once
// Integers of GMP as Paillier needs them: wiped when they go, and products modulo a fixed number.
// Only this folder includes it.

#include <gmp.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "base/assert.hpp"
#include "privacy/masks/secret.hpp"

namespace vflbus::privacy::paillier {

static_assert(GMP_NUMB_BITS == 64 && sizeof(mp_limb_t) == sizeof(std::uint64_t),
              "a ciphertext is the limbs of a number");
static_assert(std::endian::native == std::endian::little, "bytes of a number are its limbs");

/// An integer of GMP, wiped when it goes.
class Integer {
  public:
    Integer() { mpz_init(value_); }
    ~Integer() {
        const std::size_t limbs = mpz_size(value_);
        if (limbs > 0) wipe(mpz_limbs_modify(value_, static_cast<mp_size_t>(limbs)), limbs * 8);
        mpz_clear(value_);
    }
    Integer(const Integer&) = delete;
    Integer& operator=(const Integer&) = delete;
    operator mpz_ptr() noexcept { return value_; }           // NOLINT: as GMP takes it
    operator mpz_srcptr() const noexcept { return value_; }  // NOLINT

  private:
    mpz_t value_;
};

// (these of GMP are macros, which take pointers alone)
inline int compare(mpz_srcptr value, unsigned long with) {
    return mpz_cmp_ui(value, with);
}
inline bool is_even(mpz_srcptr value) {
    return mpz_even_p(value) != 0;
}

inline void set_words(Integer& to, std::span<const std::uint64_t> words) {
    mpz_import(to, words.size(), -1, sizeof words[0], 0, 0, words.data());
}
/// Fills up with zeros; the number fits.
inline void get_words(const Integer& from, std::span<std::uint64_t> words) {
    std::ranges::fill(words, 0);
    VFLBUS_ASSERT(mpz_size(from) <= words.size(), "a number modulo n^2 has its words");
    std::copy_n(mpz_limbs_read(from), mpz_size(from), words.begin());
}

using Number = std::vector<mp_limb_t>;

/// Products modulo a number that fills its words.
class Modulus {
  public:
    void set(const Integer& value) {
        words_.assign(mpz_limbs_read(value), mpz_limbs_read(value) + mpz_size(value));
        product_.resize(2 * words_.size());
        quotient_.resize(words_.size() + 1);
    }
    [[nodiscard]] std::size_t size() const noexcept { return words_.size(); }
    /// out = a b; out may be a or b.
    void multiply(mp_limb_t* out, const mp_limb_t* a, const mp_limb_t* b) {
        const auto n = static_cast<mp_size_t>(size());
        if (a == b)
            mpn_sqr(product_.data(), a, n);
        else
            mpn_mul_n(product_.data(), a, b, n);
        mpn_tdiv_qr(quotient_.data(), out, 0, product_.data(), 2 * n, words_.data(), n);
    }
    [[nodiscard]] bool above(const mp_limb_t* a) const noexcept {
        return mpn_cmp(a, words_.data(), static_cast<mp_size_t>(size())) < 0;
    }

  private:
    std::vector<mp_limb_t> words_;
    std::vector<mp_limb_t> product_;
    std::vector<mp_limb_t> quotient_;
};

}  // namespace vflbus::privacy::paillier
