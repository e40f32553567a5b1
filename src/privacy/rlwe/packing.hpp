#pragma once
// Ring packing: the wanted coefficients of many answers in one.
//
// The problem: an answer of N coefficients has only a few that anybody wants, at the multiples of
// S. On a slow line the others are most of what travels: 1.25 MB of answers for 4,096 x 330, where
// 330 results are wanted.
//
// Let c0 and c1 be ciphertexts whose wanted coefficients are at the multiples of T, and s the
// automorphism X -> X^(1 + 2N/T), which leaves X^T and negates X^(T/2). Then
//     c0 + X^(T/2) c1 + s(c0 - X^(T/2) c1)
// has twice the wanted coefficients of c0 at the even multiples of T/2 and twice those of c1 at the
// odd ones (Chen, Dai, Kim and Song 2021, eprint 2020/015, section 3). A tree of h levels packs 2^h
// answers; the factor 2^h is divided out before, modulo q.
//
// s(a, b) is a ciphertext under s(key). Key switching makes one under the key of it: s(a) is
// written in three digits, one for each prime, and each is multiplied by an encryption of P s(key)
// times what the digit counts for; the sum is divided by P, which makes the noise of these products
// small. These encryptions are the *switch keys*, which the key's owner makes and sends: one for
// each level.
//
// Two things make that cheap. All answers are products of few inputs c and columns x, and
//     c x0 + X^(T/2) c x1 + s(c x0 - X^(T/2) c x1)
//         = c (x0 + X^(T/2) x1) + s(c) s(x0 - X^(T/2) x1),
// so for the lower levels ("input levels") the inputs are switched and the columns combined, once
// for all answers. And a switch looks at a alone, never at b. So all switches can be made before
// the encrypted numbers come, where a is known before: b takes part in them by a sum that is known
// with a, the *offset* of a leaf, and its own wanted coefficients are those of the plain products.

#include <cstdint>
#include <span>
#include <vector>

#include "base/errc.hpp"
#include "privacy/masks/secret.hpp"
#include "privacy/masks/stream.hpp"
#include "privacy/rlwe/plan.hpp"
#include "privacy/rlwe/ring.hpp"

namespace vflbus::privacy::rlwe {

/// Levels of a number modulo q P: the three primes of q, then P.
inline constexpr std::size_t level_count = prime_count + 1;
[[nodiscard]] const Prime& prime_at(std::size_t level);

/// A polynomial modulo q P.
class Extended {
  public:
    Extended() : words_(ring_size * level_count) {}
    [[nodiscard]] std::uint64_t* at(std::size_t level) noexcept {
        return words_.data() + level * ring_size;
    }
    [[nodiscard]] const std::uint64_t* at(std::size_t level) const noexcept {
        return words_.data() + level * ring_size;
    }
    void clear() noexcept { wipe(words_.span()); }

  private:
    SecretVector<std::uint64_t> words_;
};

// -- keys -------------------------------------------------------------------------------------

/// The switch keys of a plan, one for each of its levels, as they travel: switch_key_bytes() each.
/// `secret`: the key, transformed and in Montgomery form. One half of each is made of `zero_seed`,
/// which both parties contribute to, and does not travel.
std::vector<std::uint8_t> make_switch_keys(const Plan& plan,
                                           std::span<const std::uint8_t, Key::size> zero_seed,
                                           const Extended& secret, AesStream& random);

/// The same at the member. Public numbers.
class SwitchKeys {
  public:
    SwitchKeys() = default;
    /// malformed_message when `bytes` are not of the plan's size, or a number is not below its
    /// prime.
    static Result<SwitchKeys> parse(const Plan& plan,
                                    std::span<const std::uint8_t, Key::size> zero_seed,
                                    std::span<const std::uint8_t> bytes);
    /// Whether these are keys for all levels of a plan.
    [[nodiscard]] bool serve(const Plan& plan) const noexcept {
        return first_step_ == plan.block_rows && keys_.size() >= plan.levels();
    }
    /// Of a level and digit, modulo the prime of `level`: half 0 is added to b and half 1 to a. In
    /// Montgomery form; with the digit's own prime also by what a digit is made with.
    [[nodiscard]] const std::uint64_t* part(std::size_t key, std::size_t half, std::size_t digit,
                                            std::size_t level) const noexcept {
        return keys_[key].data() + ((half * prime_count + digit) * level_count + level) * ring_size;
    }

  private:
    std::size_t first_step_ = 0;
    std::vector<std::vector<std::uint64_t>> keys_;
};

// -- the member -------------------------------------------------------------------------------

/// A sum of products of polynomials a with columns, on its way to an answer: its part a, and what
/// key switches have added to b, times P.
struct Leaf {
    Polynomial a;
    Extended offset;
};

/// Pairs of polynomials modulo one prime whose products are added up.
struct Factors {
    std::vector<const std::uint64_t*> x;
    std::vector<const std::uint64_t*> y;
    void add(const std::uint64_t* left, const std::uint64_t* right) {
        x.push_back(left);
        y.push_back(right);
    }
};

/// The columns of one group of features in one block of rows, as the N coefficients of the plan's
/// layout.
void place_columns(const Plan& plan, std::span<const std::int16_t> columns, std::size_t rows,
                   std::size_t group, std::size_t block, std::span<std::int32_t> out);

/// Columns of all blocks of rows of one leaf, combined and transformed: by block, 2^input_levels
/// for each. Empty ones are of no columns.
struct CombinedColumns {
    std::vector<Polynomial> polynomials;
    std::vector<bool> present;
};
/// `leaf`: within its group of outputs.
void combine_columns(const Plan& plan, std::span<const std::int16_t> columns, std::size_t rows,
                     std::size_t leaf, CombinedColumns& out);

/// images = the polynomials b of ciphertexts under all automorphisms of the input levels:
/// 2^input_levels for each.
void images_of_b(const Plan& plan, std::span<const Polynomial* const> b,
                 std::vector<Polynomial>& images);
/// sum = the products of combined columns with images of b, for one group of outputs. They lack
/// 2^52, and have a factor of 2^input_levels.
void multiply_b(const Plan& plan, const CombinedColumns& columns,
                std::span<const Polynomial> images, std::size_t output_group, Polynomial& sum);
/// What takes both off the coefficients of an inverse transform.
[[nodiscard]] Factor scale_of_b(const Plan& plan, const Prime& prime);

/// All that depends on the polynomials a of one request. One serves request after request, as
/// memory of its size is dear to get.
class Packer {
  public:
    Packer();
    ~Packer();
    Packer(Packer&&) noexcept;
    Packer& operator=(Packer&&) noexcept;

    /// Begins another request. `a`: of all ciphertexts. `workers`: threads at most. The plan and
    /// the keys are looked at until the leaves are merged.
    void start(const Plan& plan, const SwitchKeys& keys, std::span<const Polynomial* const> a,
               std::size_t workers);
    /// Of all groups of outputs, as plan.numbers_of_leaf() counts them.
    [[nodiscard]] std::span<Leaf> leaves() noexcept { return leaves_; }
    /// A leaf = the products of combined columns with the images of a, for one group of outputs.
    /// `leaf`: within its group. May be called on several threads, for different leaves.
    void multiply(const CombinedColumns& columns, std::size_t output_group, std::size_t leaf);
    /// Packs the leaves of an answer into the first of them, which it gives.
    Leaf& merge(std::size_t answer);

  private:
    class Switcher;
    void make_images(std::span<const Polynomial* const> a);
    void make_images(const Polynomial& a, std::size_t at, Switcher& scratch);
    void combine(Leaf& x, Leaf* y, std::uint32_t level, Switcher& scratch) const;

    const Plan* plan_ = nullptr;
    const SwitchKeys* keys_ = nullptr;
    std::size_t workers_ = 1;
    std::vector<Polynomial> images_;   ///< by ciphertext
    std::vector<Polynomial> offsets_;  ///< of these
    std::vector<Leaf> leaves_;
    std::vector<Switcher> scratch_;  ///< by worker
};

/// The wanted coefficients of a merged offset, without the factor P: of each prime, as many.
/// `offset` is left in another form.
void wanted_offsets(const Plan& plan, Extended& offset, std::span<const std::size_t> powers,
                    std::span<std::uint64_t> out);

}  // namespace vflbus::privacy::rlwe
