#pragma once
// The ring in which the lattice encryption calculates: polynomials modulo X^N + 1 with coefficients
// modulo q, N = 8192, q the product of three primes just below 2^47.
//
// The problem: a product of two polynomials costs N^2 multiplications. The number-theoretic
// transform (NTT) takes both to a form in which it costs N, and there is one because each prime is
// 1 modulo 2 N. Modulo q is done modulo each prime by itself (Chinese remainder theorem).
//
// Primes below 2^47 leave five bits of a 52-bit word: all 13 levels of the forward transform add up
// without a reduction in between. The loops (ring_impl.hpp) are compiled twice, for any processor
// and for AVX-512 IFMA with eight 52-bit products at once; which one runs is chosen at run time,
// and as every result is reduced to [0, p) at the end, it cannot be seen.
//
// No branch and no address depends on a coefficient.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "privacy/masks/secret.hpp"

namespace vflbus::privacy::rlwe {

inline constexpr std::size_t ring_log_size = 13;
inline constexpr std::size_t ring_size = std::size_t{1} << ring_log_size;  ///< N
inline constexpr std::size_t prime_count = 3;
inline constexpr std::uint32_t prime_bits = 47;

__extension__ using Wide = unsigned __int128;  // ISO C++ has no name for 128 bits

/// A number that many others are multiplied by, with floor(value 2^52 / p) (Shoup 1999).
struct Factor {
    std::uint64_t value = 0;
    std::uint64_t ratio = 0;
};

/// One prime with the tables of its transform.
class Prime {
  public:
    explicit Prime(std::uint64_t p);

    // -- numbers --------------------------------------------------------------------
    [[nodiscard]] std::uint64_t value() const noexcept { return p_; }
    [[nodiscard]] std::uint64_t multiply(std::uint64_t a, std::uint64_t b) const noexcept;
    [[nodiscard]] std::uint64_t power(std::uint64_t base, std::uint64_t exponent) const noexcept;
    [[nodiscard]] std::uint64_t inverse_of(std::uint64_t a) const noexcept {
        return power(a, p_ - 2);
    }
    [[nodiscard]] Factor factor(std::uint64_t value) const noexcept;
    /// 2^52 modulo p: products of `multiply_add` lack it.
    [[nodiscard]] Factor montgomery() const noexcept { return montgomery_factor_; }
    /// 2^32 modulo p.
    [[nodiscard]] Factor upper_half() const noexcept { return upper_half_; }

    // -- tables, for the loops --------------------------------------------------------
    /// 1/p modulo 2^52.
    [[nodiscard]] std::uint64_t inverse_word() const noexcept { return inverse_word_; }
    [[nodiscard]] const Factor* roots() const noexcept { return roots_.data(); }
    [[nodiscard]] const Factor* inverse_roots() const noexcept { return inverse_roots_.data(); }
    /// Of the last three levels: for each 64 coefficients seven rows of eight.
    [[nodiscard]] const std::uint64_t* last_values() const noexcept { return last_[0].data(); }
    [[nodiscard]] const std::uint64_t* last_ratios() const noexcept { return last_[1].data(); }
    [[nodiscard]] const std::uint64_t* first_inverse_values() const noexcept {
        return last_[2].data();
    }
    [[nodiscard]] const std::uint64_t* first_inverse_ratios() const noexcept {
        return last_[3].data();
    }
    /// 1/N, and 2^52 / N.
    [[nodiscard]] Factor size_inverse() const noexcept { return size_inverse_; }
    [[nodiscard]] Factor size_inverse_of_products() const noexcept { return product_inverse_; }

  private:
    void fill_last(const std::vector<Factor>& roots, std::vector<std::uint64_t>& values,
                   std::vector<std::uint64_t>& ratios);

    std::uint64_t p_;
    std::uint64_t inverse_word_ = 0;
    Factor size_inverse_;
    Factor product_inverse_;
    Factor montgomery_factor_;
    Factor upper_half_;
    std::vector<Factor> roots_;  ///< powers of a 2N-th root of 1, in bit-reversed order
    std::vector<Factor> inverse_roots_;
    std::array<std::vector<std::uint64_t>, 4> last_;
};

/// The three primes: the largest below 2^47 that are 1 modulo 2 N.
const std::array<Prime, prime_count>& primes();
/// The next one below them, P: what key switching (packing.hpp) multiplies by and divides by again,
/// so that its noise becomes small. It is no part of q.
const Prime& special_prime();

// -- the loops: `a`, `x`, `y` have N words --------------------------------------------------

/// Coefficients below 4 p -> values below p, in an order of the transform's own.
void forward(const Prime& prime, std::uint64_t* a);
/// The same of small signed coefficients, |small| below p.
void forward_signed(const Prime& prime, const std::int32_t* small, std::uint64_t* a);
/// The same in a form that dot() alone takes, for its y: below 2^52 in place of p.
void forward_factor(const Prime& prime, const std::int32_t* small, std::uint64_t* a);
/// The same of x factor + small, for numbers x of any sign below 8 p, and |small| below p.
void forward_encoded(const Prime& prime, const std::int64_t* x, Factor factor,
                     const std::int32_t* small, std::uint64_t* a);
/// The same of numbers of up to 64 bits.
void forward_wide(const Prime& prime, const std::uint64_t* x, std::uint64_t* a);
/// Values below p -> coefficients below p, times `scale`, which has 1/N in it.
void inverse(const Prime& prime, std::uint64_t* a, Factor scale);
/// The least k of inverse_every(): among 64 neighbours the transform has an order of its own.
inline constexpr std::uint32_t every_least = 6;
/// Every 2^k-th coefficient of inverse(), from the first one on: N / 2^k numbers, for k from
/// every_least to 13. Takes N additions in place of the first k levels. `a` stays as it is.
void inverse_every(const Prime& prime, const std::uint64_t* a, std::uint32_t k, Factor scale,
                   std::span<std::uint64_t> out);
/// Cuts the numbers to the bits of `mask`: whether all are below the prime then.
[[nodiscard]] bool cut_below(const Prime& prime, std::uint64_t mask,
                             std::span<std::uint64_t> numbers);
/// sum = sum + x y / 2^52 modulo p, all below p.
void multiply_add(const Prime& prime, const std::uint64_t* x, const std::uint64_t* y,
                  std::uint64_t* sum);
/// sum = sum - x y / 2^52 modulo p, all below p.
void multiply_subtract(const Prime& prime, const std::uint64_t* x, const std::uint64_t* y,
                       std::uint64_t* sum);
/// sum = (x_0 y_0 + x_1 y_1 + ...) / 2^52 modulo p, all below p but y, which may be below 2^52:
/// faster than one multiply_add after another. `added`: to what the sum is.
void dot(const Prime& prime, std::span<const std::uint64_t* const> x,
         std::span<const std::uint64_t* const> y, std::uint64_t* sum, bool added = false);
/// Two such sums with the same y: sum_0 of x_0, sum_1 of x_1.
void dot(const Prime& prime, std::array<std::span<const std::uint64_t* const>, 2> x,
         std::span<const std::uint64_t* const> y, std::array<std::uint64_t*, 2> sums,
         bool added = false);
/// a = a * factor modulo p; `a` below 2^52.
void scale(const Prime& prime, std::uint64_t* a, Factor factor);

/// How numbers modulo q become fractions of q: of each prime p, x modulo p times `share` modulo p,
/// times `inverse` over 2^46, is what p adds to the fraction, in units of 2^-64 and modulo 1.
struct Rounding {
    std::array<Factor, prime_count> share;
    std::array<std::uint64_t, prime_count> inverse{};
    std::uint32_t bits = 0;  ///< that a fraction is rounded to, below 64
};
/// out = the fractions of `a` + small; `a` has N coefficients below p for each of primes(), and
/// |small| is below p.
void round_fractions(const Rounding& how, const std::uint64_t* a, const std::int32_t* small,
                     std::uint64_t* out);

// -- what packing needs (packing.hpp) ---------------------------------------------------------

/// sum = sum + x modulo p, all below p.
void add(const Prime& prime, const std::uint64_t* x, std::uint64_t* sum);
/// sum = sum + (x - y) factor modulo p, all below p.
void add_difference(const Prime& prime, const std::uint64_t* x, const std::uint64_t* y,
                    Factor factor, std::uint64_t* sum);
/// x, y = x + m y, x - m y modulo p; `m` in Montgomery form, all below p.
void add_and_subtract(const Prime& prime, const std::uint64_t* m, std::uint64_t* x,
                      std::uint64_t* y);
/// out = the numbers `a` of a modulo `from`, taken as between -from/2 and from/2, modulo `to`:
/// below 2 p. Both primes are among primes() and special_prime().
void lift(const Prime& from, const Prime& to, const std::uint64_t* a, std::uint64_t* out);
/// out[i] = the ones among the lowest `coins` (21 at most) bits of word i, less those among the
/// lowest ones of its upper half.
void count_coins(std::span<const std::uint64_t> words, std::uint32_t coins,
                 std::span<std::int32_t> out);
/// last[-i] = number i times `sign`, which is 1 or -1.
void reverse_signed(std::span<const std::int16_t> from, std::int32_t sign, std::int32_t* last);
/// x, y = x + X^shift y, s(x - X^shift y) of coefficients, for the automorphism s that moves them
/// as Automorphism::coefficients says. `scratch` has N numbers.
void combine_signed(const std::uint32_t* coefficients, std::size_t shift, std::int32_t* x,
                    std::int32_t* y, std::int32_t* scratch);
/// out[i] = in[places[i]].
void permute(const std::uint32_t* places, const std::uint64_t* in, std::uint64_t* out);

// -- numbers side by side (bits.hpp) ----------------------------------------------------------

/// Packs the first numbers, a multiple of eight, as the path can: how many. There is room for a
/// word more than all of them need.
[[nodiscard]] std::size_t pack_eights(std::span<const std::uint64_t> values, std::uint32_t width,
                                      std::uint8_t* out);
[[nodiscard]] std::size_t unpack_eights(std::span<const std::uint8_t> packed, std::uint32_t width,
                                        std::span<std::uint64_t> out);

// -- which loops ------------------------------------------------------------------------------

enum class Path : std::uint8_t { portable, ifma };
/// What this processor and this build can do.
[[nodiscard]] Path best_path() noexcept;
[[nodiscard]] Path path() noexcept;
/// For tests and benchmarks, in this process from now on. Results do not change.
void use_path(Path path) noexcept;

/// The loops of one path.
struct Loops {
    void (*forward)(const Prime&, std::uint64_t*);
    void (*forward_signed)(const Prime&, const std::int32_t*, std::uint64_t*);
    void (*forward_factor)(const Prime&, const std::int32_t*, std::uint64_t*);
    void (*forward_encoded)(const Prime&, const std::int64_t*, Factor, const std::int32_t*,
                            std::uint64_t*);
    void (*forward_wide)(const Prime&, const std::uint64_t*, std::uint64_t*);
    void (*inverse)(const Prime&, std::uint64_t*, Factor);
    void (*sum_neighbours)(const std::uint64_t*, std::size_t, std::size_t, std::uint64_t*);
    bool (*cut_below)(std::uint64_t*, std::size_t, std::uint64_t, std::uint64_t);
    void (*multiply_add)(const Prime&, const std::uint64_t*, const std::uint64_t*, std::uint64_t*);
    void (*multiply_subtract)(const Prime&, const std::uint64_t*, const std::uint64_t*,
                              std::uint64_t*);
    void (*scale)(const Prime&, std::uint64_t*, Factor);
    void (*round)(const Rounding&, const std::uint64_t*, const std::int32_t*, std::uint64_t*);
    void (*add)(const Prime&, const std::uint64_t*, std::uint64_t*);
    void (*add_difference)(const Prime&, const std::uint64_t*, const std::uint64_t*, Factor,
                           std::uint64_t*);
    void (*add_and_subtract)(const Prime&, const std::uint64_t*, std::uint64_t*, std::uint64_t*);
    void (*lift)(const Prime&, const Prime&, const std::uint64_t*, std::uint64_t*);
    void (*permute)(const std::uint32_t*, const std::uint64_t*, std::uint64_t*);
    void (*count_coins)(const std::uint64_t*, std::size_t, std::uint64_t, std::int32_t*);
    void (*dot)(const Prime&, std::size_t, const std::uint64_t* const*, const std::uint64_t* const*,
                std::uint64_t*, bool);
    void (*dot_pair)(const Prime&, std::size_t, const std::uint64_t* const*,
                     const std::uint64_t* const*, const std::uint64_t* const*, std::uint64_t*,
                     std::uint64_t*, bool);
    void (*reverse_signed)(const std::int16_t*, std::size_t, std::int32_t, std::int32_t*);
    void (*combine_signed)(const std::uint32_t*, std::size_t, std::int32_t*, std::int32_t*,
                           std::int32_t*);
    std::size_t (*pack)(const std::uint64_t*, std::size_t, std::uint32_t, std::uint8_t*);
    std::size_t (*unpack)(const std::uint8_t*, std::size_t, std::uint32_t, std::uint64_t*);
};
extern const Loops portable_loops;
extern const Loops ifma_loops;  ///< only in builds for x86-64

// -- polynomials ------------------------------------------------------------------------------

/// Modulo q: N words for each prime.
class Polynomial {
  public:
    Polynomial() : words_(ring_size * prime_count) {}

    [[nodiscard]] std::uint64_t* at(std::size_t prime) noexcept {
        return words_.data() + prime * ring_size;
    }
    [[nodiscard]] const std::uint64_t* at(std::size_t prime) const noexcept {
        return words_.data() + prime * ring_size;
    }
    [[nodiscard]] std::span<std::uint64_t> words() noexcept { return words_.span(); }
    [[nodiscard]] std::span<const std::uint64_t> words() const noexcept { return words_.span(); }
    void clear() noexcept { wipe(words_.span()); }

  private:
    SecretVector<std::uint64_t> words_;
};

void forward(Polynomial& a);
/// out = the small signed coefficients, transformed.
void forward(std::span<const std::int32_t> coefficients, Polynomial& out);
/// Products of multiply_add come out without the factor 2^-52 when `products` says so.
void inverse(Polynomial& a, bool products);
void multiply_add(const Polynomial& x, const Polynomial& y, Polynomial& sum);
void multiply_subtract(const Polynomial& x, const Polynomial& y, Polynomial& sum);
/// Into the form that multiply_add takes on one side so that nothing is lacking.
void to_montgomery(Polynomial& a);

// -- automorphisms ----------------------------------------------------------------------------

/// X -> X^g for an odd g, which maps the ring to itself: f(X) -> f(X^g). The element of `step`, a
/// power of two from 2 to N, is g = 1 + 2 N / step: it leaves X^step as it is, and negates
/// X^(step / 2).
struct Automorphism {
    /// Of a transformed polynomial: number i of the result is number places[i]. The transform's
    /// order is the same for all primes.
    std::vector<std::uint32_t> places;
    /// Of coefficients: number i of the result is the number of these low 31 bits, negated where
    /// the highest bit is set.
    std::vector<std::uint32_t> coefficients;
    /// X^(step / 2), transformed and in Montgomery form: of each of primes(), then special_prime().
    std::array<std::vector<std::uint64_t>, prime_count + 1> half_step;
};
/// Made when it is first asked for, and kept.
const Automorphism& automorphism_of(std::size_t step);

}  // namespace vflbus::privacy::rlwe
