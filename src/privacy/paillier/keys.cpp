#include "privacy/paillier/keys.hpp"

#include <string>

namespace vflbus::privacy::paillier {

Lanes lanes_of(const Integer& modulus) {
    const std::size_t words = mpz_size(modulus);
    Integer square;
    Integer quotient;
    mpz_setbit(square, 2 * 52 * Lanes::digits_for(words));
    mpz_fdiv_qr(quotient, square, square, modulus);
    Number m(words);
    Number s(words);
    get_words(modulus, m);
    get_words(square, s);
    Number r(mpz_size(quotient));
    get_words(quotient, r);
    return {m, s, r};
}

Result<> check_ciphertexts(std::span<const std::uint64_t> ciphertexts, const Integer& n,
                           const Modulus& squared) {
    const std::size_t words = squared.size();
    if (ciphertexts.size() % words != 0)
        return fail(Errc::malformed_message, std::to_string(ciphertexts.size()) +
                                                 " words are no ciphertexts of " +
                                                 std::to_string(words));
    Integer all;
    Integer one;
    mpz_set_ui(all, 1);
    for (std::size_t at = 0; at < ciphertexts.size(); at += words) {
        const std::span<const std::uint64_t> ciphertext = ciphertexts.subspan(at, words);
        if (!squared.above(ciphertext.data()))
            return fail(Errc::malformed_message, "a ciphertext is not below n^2");
        set_words(one, ciphertext);
        mpz_mul(all, all, one);
        mpz_tdiv_r(all, all, n);
    }
    mpz_gcd(all, all, n);
    if (compare(all, 1) == 0) return {};
    return fail(Errc::malformed_message, "a ciphertext has a divisor in common with n");
}

Bytes key_bytes(const Integer& n, const Integer& h, std::uint32_t key_bits) {
    const std::size_t of_n = key_bits / 8;
    Bytes out(3 * of_n);
    mpz_export(out.data(), nullptr, -1, 1, 0, 0, n);
    mpz_export(out.data() + of_n, nullptr, -1, 1, 0, 0, h);
    return out;
}

}  // namespace vflbus::privacy::paillier
