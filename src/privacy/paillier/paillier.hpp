#pragma once
// Paillier encryption (1999): integers modulo n that anybody can encrypt and add up, and that the
// owner of the key alone reads.
//
// The problem: several parties want the sum of what each of them knows, and products of that sum
// with columns of their own, without anybody reading the sum. A ciphertext is
//     c = (1 + m n) h^alpha mod n^2,       h = (-x^2)^n mod n^2, alpha random of half the bits of n
// (Damgard, Jurik and Nielsen 2010: a fixed base in place of r^n, so that powers of h are computed
// once). The product of two ciphertexts is one of the sum, a power is one of a multiple. n^2 has
// twice the bits of n, and everything here is a number modulo n^2 of a fixed count of words.
//
// A plaintext holds several numbers in slots of the same width, as m = sum of v_j 2^(j slot). What
// somebody computes with another's ciphertexts is hidden before the key's owner opens it: a random
// number is added in each slot, which is wider than the result by as many bits as are to hide it,
// and the whole is multiplied with a fresh encryption, since the ciphertext of a product alone
// tells who knows the factors' randomness by which numbers they were multiplied.
//
// What is not of constant time: the tables of h are read at places that alpha says, and products
// work at places that the digits of columns say, and skip digits that are 0 on the path gmp. So a
// process on the same machine that watches the caches may learn of them; nobody on the network
// does. Decryption has powers of a uniform schedule: mpz_powm_sec, or on the path ifma windows
// whose table is read as a whole each time. Secret numbers are wiped; what GMP keeps for itself
// within a call is not.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/errc.hpp"
#include "privacy/masks/secret.hpp"

namespace vflbus::privacy::paillier {

using Bytes = std::vector<std::uint8_t>;

/// 112-bit security; 3072 for 128 bits (NIST SP 800-57).
inline constexpr std::uint32_t key_bits_min = 2048;
/// Of keys that protect nothing and make tests quick.
inline constexpr std::uint32_t testing_key_bits_min = 512;

/// Words of 64 bits of one ciphertext.
constexpr std::size_t ciphertext_words(std::uint32_t key_bits) {
    return key_bits / 32;
}
/// Slots of one plaintext: two bits of n stay free, one for the sign and one below n.
constexpr std::size_t slots_of(std::uint32_t key_bits, std::uint32_t slot_bits) {
    return (key_bits - 2) / slot_bits;
}

/// What computes: eight numbers at once by AVX-512 IFMA, or one after another by GMP. Results are
/// the same to the bit.
enum class Path : std::uint8_t { gmp, ifma };
/// What this processor and this build can do.
[[nodiscard]] Path best_path() noexcept;
[[nodiscard]] Path path() noexcept;
/// For tests and benchmarks, in this process from now on.
void use_path(Path path) noexcept;

/// Results that are hidden are below 2^value_bits in magnitude.
inline constexpr std::uint32_t value_bits = 50;

class PublicKey {
  public:
    PublicKey(PublicKey&&) noexcept;
    PublicKey& operator=(PublicKey&&) noexcept;
    ~PublicKey();

    /// n and h as bytes() gave them, of a key of `key_bits` bits. malformed_message when they
    /// cannot be such a key. `random`: of which all that hides numbers is made.
    static Result<PublicKey> parse(std::span<const std::uint8_t> bytes, std::uint32_t key_bits,
                                   Key random = random_key());
    [[nodiscard]] Bytes bytes() const;
    [[nodiscard]] std::uint32_t key_bits() const noexcept;
    [[nodiscard]] std::size_t words() const noexcept { return ciphertext_words(key_bits()); }

    /// Makes ahead the part of encryption that depends on no number: powers of h for the next
    /// `count` ciphertexts of encrypt() and hide(), which take a fiftieth of the time then. Each of
    /// them serves once. Nothing else may be called meanwhile.
    void prepare(std::size_t count);
    /// For how many ciphertexts there are powers.
    [[nodiscard]] std::size_t prepared() const noexcept;

    /// Ciphertexts of signed numbers, of each the same count: those of the first one first. `out`:
    /// words() for each ciphertext.
    void encrypt(std::span<const std::int64_t> slots, std::uint32_t slot_bits,
                 std::span<std::uint64_t> out);
    /// The same with exponents that are given (little-endian, half the bits of n each): for tests.
    void encrypt(std::span<const std::int64_t> slots, std::uint32_t slot_bits,
                 std::span<const std::uint8_t> alphas, std::span<std::uint64_t> out) const;

    /// That each of these ciphertexts, one after another, is a number in [1, n^2) without a common
    /// divisor with n. malformed_message otherwise, or when the last one is not whole.
    [[nodiscard]] Result<> check(std::span<const std::uint64_t> ciphertexts) const;
    /// sum = sum + other for as many checked ciphertexts as there are.
    void add(std::span<std::uint64_t> sum, std::span<const std::uint64_t> other) const;
    /// The sum of all these checked ciphertexts: faster than one add() after another.
    void sum(std::span<const std::uint64_t> ciphertexts, std::span<std::uint64_t> out) const;
    /// X' D for a column-major X (rows x features) and `rows` checked ciphertexts of D: `features`
    /// ciphertexts. They hide nothing from who knows the randomness of D: hide() does.
    void product(std::span<const std::int16_t> columns, std::size_t features, std::size_t rows,
                 std::span<const std::uint64_t> ciphertexts, std::span<std::uint64_t> out) const;
    /// first = first + second 2^bits: puts the numbers of `second` into slots above those of first.
    void append(std::span<std::uint64_t> first, std::span<const std::uint64_t> second,
                std::uint32_t bits) const;
    /// Adds a random number in [2^50, 2^(slot_bits - 2) + 2^50) in each of the slots, under fresh
    /// randomness. `masks`: the low words of these numbers, one for each slot.
    void hide(std::span<std::uint64_t> ciphertext, std::uint32_t slot_bits,
              std::span<std::uint64_t> masks);

  private:
    struct State;
    explicit PublicKey(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// The low words of the slots of a plaintext in which none is negative.
void read_slots(std::span<const std::uint64_t> plaintext, std::uint32_t slot_bits,
                std::span<std::uint64_t> out);

class PrivateKey {
  public:
    PrivateKey(PrivateKey&&) noexcept;
    PrivateKey& operator=(PrivateKey&&) noexcept;
    ~PrivateKey();

    /// A new key: two primes of half the bits, each 3 modulo 4. `key_bits` is a multiple of 128.
    static PrivateKey generate(std::uint32_t key_bits, Key random = random_key());
    /// For tests: of these primes and this x (hexadecimal).
    static PrivateKey of(const char* p, const char* q, const char* x);

    /// As PublicKey::parse takes it.
    [[nodiscard]] Bytes public_bytes() const;
    [[nodiscard]] std::uint32_t key_bits() const noexcept;
    /// The plaintexts of checked ciphertexts: key_bits / 64 words each, one after another.
    [[nodiscard]] SecretVector<std::uint64_t> decrypt(
        std::span<const std::uint64_t> ciphertexts) const;
    /// The signed numbers in the slots of a plaintext, for tests and for results that nobody hides.
    void read_signed(std::span<const std::uint64_t> plaintext, std::uint32_t slot_bits,
                     std::span<std::int64_t> out) const;
    /// The same of one ciphertext.
    void open_signed(std::span<const std::uint64_t> ciphertext, std::uint32_t slot_bits,
                     std::span<std::int64_t> out) const {
        read_signed(decrypt(ciphertext).span(), slot_bits, out);
    }
    /// As of PublicKey.
    [[nodiscard]] Result<> check(std::span<const std::uint64_t> ciphertexts) const;

  private:
    struct State;
    explicit PrivateKey(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace vflbus::privacy::paillier
