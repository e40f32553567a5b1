#pragma once
// Lattice encryption (ring learning with errors) of integers that nobody but the key's owner reads,
// and that others multiply by numbers of their own.
//
// The problem: the master has residuals that tell labels, a member has columns, and the member
// needs X' r. The master encrypts r under a key of its own; the member multiplies the ciphertexts
// by its columns, hides the result, and sends it back; the master decrypts numbers that are
// uniformly random to it, and returns them; the member takes off what it has added.
//
// A ciphertext of a polynomial m of integers modulo t is (a, b) with b = -a s + q m / t + e, for a
// ternary secret s and small random e: without s, b is as good as random. An answer is
//     a' = a P + p1 u + e1,    b' = b P + p0 u + q R / t + rho    (wanted coefficients of b' only)
// for the member's columns P, where (p0, p1) is an encryption of zero under the same key, u and e1
// are fresh, R is uniform modulo t and rho uniform in [-2^w, 2^w). Both are then rounded to modulus
// 2^(log t + 10). docs/privacy.md argues why each part is necessary:
//   - without p1 u + e1 the master divides a' by a and reads P;
//   - without rho the noise e P that it finds beside the result tells it inner products of P;
//   - without R it reads X' r, from which features follow over many batches;
//   - p1 is expanded from a seed that both parties contribute to, so that the master cannot choose
//     it: with p1 = 0 the first defence would be none.
//
// Packed answers (packing.hpp) have the wanted coefficients of many such products in one; the
// encryption of zero, the masks and the flood are added to what is sent, as to any other.
//
// What a dishonest member can do: it may send an answer of its own making, and what is decrypted of
// a single one tells it the secret key (26 ternary digits a number). So a master makes a key for
// each member and epoch, decrypts one answer for each request, and a theft is confined to the
// residuals that the key was used for. What a dishonest master can do: choose large errors; then
// one bit or so of a noisy combination of columns passes the flood. Both are stated in
// docs/privacy.md.

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/errc.hpp"
#include "privacy/masks/secret.hpp"
#include "privacy/masks/stream.hpp"
#include "privacy/rlwe/packing.hpp"
#include "privacy/rlwe/plan.hpp"
#include "privacy/rlwe/ring.hpp"

namespace vflbus::privacy::rlwe {

using Bytes = std::vector<std::uint8_t>;
using Seed = std::span<const std::uint8_t, Key::size>;

/// Bytes of a polynomial modulo q as it travels.
std::size_t polynomial_bytes() noexcept;
/// Bytes of the number that says which ciphertext under its key one is.
inline constexpr std::size_t number_bytes = 8;
/// Bytes of one ciphertext: its number, and the polynomial b. The polynomial a is made of the
/// number and of the seed that p1 is made of.
std::size_t ciphertext_bytes() noexcept;
/// Bytes of one answer with `wanted` coefficients.
std::size_t answer_bytes(const Plan& plan, std::size_t wanted) noexcept;
/// Bytes of all answers to one request.
std::size_t all_answer_bytes(const Plan& plan);
/// Bytes of the switch keys that packed answers of a plan need; 0 where they are not packed.
std::size_t switch_keys_bytes(const Plan& plan) noexcept;

// -- for the simulation ---------------------------------------------------------------------

/// Told what the owner of the key could read of answers.
struct Watch {
    /// A member has hidden an answer: its polynomial as it is sent, the same with nothing added,
    /// and the masks of its numbers.
    void (*hidden)(std::span<const std::uint8_t> sent, std::span<const std::uint8_t> bare,
                   std::span<const std::uint64_t> masks);
    /// An answer was opened: how far each of its numbers lies from a plaintext, as of
    /// KeyOwner::phase_errors.
    void (*opened)(std::span<const std::int64_t> errors);
};
/// Null in the product.
void watch_answers(const Watch* watch) noexcept;

// -- the owner of the key ------------------------------------------------------------------

/// The master's side. One per member; never stored.
class KeyOwner {
  public:
    /// A new secret key. `zero_seed` makes p1: it comes of nonces of both parties. `random`: of
    /// which all else is made; a thread of its own cannot draw it in a simulated world.
    explicit KeyOwner(Seed zero_seed, Key random = random_key());

    /// Does ahead what the next encrypt() needs whatever its values are: the public polynomials,
    /// and their products with the key under fresh errors. decrypt() may run beside it and beside
    /// encrypt(), nothing else.
    void prepare(const Plan& plan);

    /// p0, for the member: polynomial_bytes().
    [[nodiscard]] const Bytes& zero() const noexcept { return zero_; }
    /// The switch keys of a plan with packed answers, for the member: switch_keys_bytes(). Once for
    /// each layout of rows that the key serves.
    [[nodiscard]] Bytes switch_keys(const Plan& plan);
    /// Encrypts rows x outputs integers, column-major, of at most 2^plan.residual_bits: all
    /// ciphertexts of the plan, one after another. Every call uses fresh randomness.
    [[nodiscard]] Bytes encrypt(const Plan& plan, std::span<const std::int32_t> values,
                                std::size_t rows);
    /// The same for integers modulo t: of each number the lowest plan.plain_bits bits count.
    [[nodiscard]] Bytes encrypt(const Plan& plan, std::span<const std::uint64_t> values,
                                std::size_t rows);
    /// The blinded numbers of all answers of the plan, modulo t, features x outputs column-major.
    /// malformed_message when the sizes differ from those of the plan.
    [[nodiscard]] Result<std::vector<std::uint64_t>> decrypt(const Plan& plan,
                                                             std::span<const std::uint8_t> answers);

    /// For tests: how far the numbers of a first answer lie from a plaintext, in units of 2^-10 of
    /// the way to the next one.
    [[nodiscard]] std::vector<std::int64_t> phase_errors(const Plan& plan,
                                                         std::span<const std::uint8_t> answer);

  private:
    template <class Value>
    Bytes encrypt_all(const Plan& plan, std::span<const Value> values, std::size_t rows);
    void phases(const Plan& plan, std::span<const std::uint8_t> answer,
                std::span<const std::size_t> wanted, std::span<std::uint64_t> out);

    AesStream random_;
    std::array<std::uint8_t, Key::size> zero_seed_;
    Polynomial secret_;                           ///< transformed, in Montgomery form
    SecretVector<std::uint64_t> special_secret_;  ///< the same modulo the special prime
    Bytes zero_;
    /// Of ciphertexts that were made: the number of the next one. Two under the same number would
    /// have the same a, and their difference would tell that of their values.
    std::uint64_t made_ = 0;
    /// Ciphertexts of nothing, for one use, numbers made_ and up: -a s + e, transformed.
    std::vector<Polynomial> blanks_;
    std::size_t ready_ = 0;  ///< of the blanks
    Polynomial ahead_a_;     ///< scratch of prepare()
    SecretVector<std::int32_t> ahead_small_;
    // scratch: memory of this size is dear to get
    Polynomial a_;
    Polynomial b_;
    Polynomial open_a_;  ///< of decrypt()
    Polynomial open_b_;
    SecretVector<std::int64_t> rests_;
    SecretVector<std::int32_t> small_;
};

// -- the owner of the columns ---------------------------------------------------------------

/// The public polynomials that a request has: those of ciphertexts `first` and up under the key
/// whose p1 is made of `zero_seed`. Known before the request comes.
struct Due {
    std::array<std::uint8_t, Key::size> zero_seed{};
    std::uint64_t first = 0;

    friend bool operator==(const Due&, const Due&) = default;
};

class Answerer;

/// What a member does for an answer before it is asked: random numbers that hide it, which no
/// message says anything about, its columns as transformed polynomials, and the part a' of the
/// answer, which depends on these and on public seeds alone. It serves one answer after another,
/// whatever their keys are.
class Ahead {
  public:
    Ahead();

    /// Fills up what the last answer has used, and transforms the columns unless they are those of
    /// the last time. `due`: which request is expected; of another one the part a' is made anew.
    /// `answerer`: where the keys are that packed answers need; null while there are none. Nobody
    /// may change it meanwhile.
    void prepare(const Plan& plan, std::span<const std::int16_t> columns, std::size_t rows,
                 const std::optional<Due>& due = {}, const Answerer* answerer = nullptr);

  private:
    friend class Answerer;
    /// What one answer is hidden with, once.
    struct Hide {
        Polynomial u;                       ///< ternary, transformed
        SecretVector<std::int32_t> errors;  ///< of a
        SecretVector<std::uint64_t> words;  ///< masks and floods: three for each wanted number
    };
    /// The part a' of an answer as it is sent.
    struct Part {
        Bytes bytes;
        Bytes bare;  ///< with nothing added; only where somebody watches
        /// Of a packed answer: what its wanted coefficients of b have beside the products, p0 u
        /// included. As many for each prime.
        SecretVector<std::uint64_t> offsets;
    };
    /// a = a P + p1 u, where `a` has the product alone. `u`: with or without the factor that `a`
    /// lacks, as `products` says.
    static void add_zero(const Plan& plan, Polynomial& a, const Polynomial& p1, const Polynomial& u,
                         bool products, Part& out);
    /// a' = a P + p1 u + e1, rounded; `a` has the first two and is left in another form.
    static void finish(const Plan& plan, Polynomial& a, const Hide& with, bool products, Part& out);
    /// The same of a packed answer, whose leaves are merged into the first one.
    static Part finish_packed(const Plan& plan, Packer& packer, std::size_t answer,
                              const Answerer& keys, const Hide& with);
    /// The parts of all answers to `due`, of as many hides as there are answers.
    void make_parts(const Plan& plan, const Due& due);
    void make_packed_parts(const Plan& plan, const Due& due, const Answerer& answerer);
    /// The columns as transformed polynomials.
    void transform(const Plan& plan);
    /// The parts of these answers, and from now on none; empty when they were not made.
    std::vector<Part> take_parts(const Due& due);
    /// Draws what hides an answer with so many wanted numbers.
    static void draw(AesStream& random, Hide& hide, std::size_t wanted,
                     std::span<std::int32_t> small);
    /// The next one that was prepared; null when there is none left.
    const Hide* take() noexcept;
    /// Whether `factors_` or `combined_` are of these columns, in this layout.
    [[nodiscard]] bool has(const Plan& plan, std::span<const std::int16_t> columns,
                           std::size_t rows) const noexcept;
    /// Forgets what was made for another plan.
    void use_plan(const Plan& plan);

    AesStream random_;
    std::optional<Plan> plan_;  ///< of all that follows
    std::vector<Hide> hides_;
    std::size_t used_ = 0;
    SecretVector<std::int16_t> columns_;
    std::size_t rows_ = 0;
    std::vector<Polynomial> factors_;  ///< by feature group and block; empty: too many to keep
    std::vector<CombinedColumns> combined_;  ///< of packed answers, by leaf in a group of outputs
    std::optional<Due> due_;                 ///< of `parts_`
    std::vector<Part> parts_;  ///< of the next answers, which hides_ from the first on hide
    std::optional<std::array<std::uint8_t, Key::size>> p1_seed_;  ///< of p1_
    Polynomial p1_;
    // scratch: memory of this size is dear to get
    std::vector<Polynomial> a_;     ///< of all ciphertexts
    std::vector<Polynomial> sums_;  ///< by worker
    SecretVector<std::int32_t> small_;
    Packer packer_;
};

/// The member's side. One per key.
class Answerer {
  public:
    /// `zero`: what KeyOwner::zero() gave. malformed_message when it has another size or a number
    /// is not below its prime.
    static Result<Answerer> create(Seed zero_seed, std::span<const std::uint8_t> zero);

    /// Takes the switch keys that packed answers of `plan` are made with, as
    /// KeyOwner::switch_keys() gave them. malformed_message when they do not fit the plan, or a
    /// number is not below its prime.
    Result<> take_switch_keys(const Plan& plan, std::span<const std::uint8_t> bytes);
    /// Whether answers of this plan can be made: those that are not packed always.
    [[nodiscard]] bool can_answer(const Plan& plan) const noexcept {
        return !plan.packed || switch_keys_.serve(plan);
    }

    /// What the member keeps of an answer: the masks R, features x outputs, column-major.
    struct Answer {
        Bytes bytes;
        SecretVector<std::uint64_t> masks;
    };
    /// `columns`: rows x features integers below 2^column_bits, column-major. `ciphertexts` as
    /// encrypt() made them. `ahead`: what was prepared for it is used up. malformed_message when
    /// they do not fit the plan, which is one of can_answer().
    Result<Answer> answer(const Plan& plan, std::span<const std::int16_t> columns, std::size_t rows,
                          std::span<const std::uint8_t> ciphertexts, Ahead* ahead = nullptr);
    /// The request that follows the one that was answered last.
    [[nodiscard]] const Due& next() const noexcept { return next_; }

  private:
    friend class Ahead;
    Answerer();
    using Pair = std::array<Polynomial, 2>;
    Result<> parse(const Plan& plan, std::span<const std::uint8_t> ciphertexts);
    void expand(const Plan& plan);
    /// What is made of all numbers of one request.
    struct Work {
        const Plan* plan = nullptr;
        std::span<const std::int16_t> columns;
        std::size_t rows = 0;
        const Ahead* ahead = nullptr;           ///< where it has the columns; otherwise null
        std::vector<Ahead::Part> parts;         ///< by answer; empty: not made before
        std::vector<const Ahead::Hide*> hides;  ///< by answer; null: of the seed below
        std::vector<Key> seeds;
        std::vector<SecretVector<std::uint64_t>> masks;  ///< by answer
    };
    /// On one thread.
    struct Scratch {
        std::vector<Pair> sums;
        Polynomial factor;
        std::vector<SecretVector<std::int32_t>> columns;   ///< by block
        std::vector<SecretVector<std::uint64_t>> factors;  ///< the same modulo one prime
        SecretVector<std::int32_t> small = SecretVector<std::int32_t>(ring_size);
        std::vector<Ahead::Hide> drawn;         ///< by group of outputs
        std::vector<const Ahead::Hide*> hides;  ///< these, or what was drawn before
        Ahead::Part part;
        CombinedColumns combined;
    };
    static const Ahead::Hide& hide_of(const Work& work, std::size_t answer, Ahead::Hide& drawn,
                                      Scratch& scratch);
    void multiply_group(const Work& work, std::size_t group, Scratch& scratch) const;
    void multiply_blocks(const Work& work, std::size_t first,
                         std::span<const std::uint64_t* const> factors, std::size_t output_group,
                         std::size_t prime, Scratch& scratch) const;
    void answer_group(Work& work, std::size_t group, Scratch& scratch);
    void answer_packed(Work& work, std::size_t workers);
    void multiply_leaves(Work& work, std::size_t leaf, Scratch& scratch);
    void finish_packed(Work& work, std::size_t answer);
    void finish_answer(Work& work, std::size_t answer,
                       std::span<const std::span<const std::uint64_t>> of_b,
                       const Ahead::Part& part, const Ahead::Hide& with);

    std::array<Polynomial, 2> zero_;  ///< p0 and p1, transformed
    SwitchKeys switch_keys_;
    AesStream random_;  ///< for answers without anything prepared
    Due next_;
    std::vector<std::uint64_t> numbers_;  ///< of the ciphertexts
    // scratch: memory of this size is dear to get
    std::vector<Pair> ciphertexts_;
    std::vector<Scratch> scratch_;  ///< by worker
    std::vector<Bytes> answers_;
    Packer packer_;
    std::vector<Polynomial> images_;                      ///< of b
    std::vector<SecretVector<std::uint64_t>> of_leaves_;  ///< wanted numbers of b, by prime
};

// -- encryption by others -----------------------------------------------------------------------

/// Bytes of one ciphertext that was made with the public key: the polynomials a and b.
std::size_t shared_ciphertext_bytes() noexcept;

/// Whoever has (p0, p1) encrypts, for an owner of the key without numbers of its own:
///     a = p1 u + e1,    b = p0 u + q m / t + e2
/// for a fresh ternary u and fresh errors. Ciphertexts of several parties are added, and then
/// multiplied by an Answerer whose plan has shape.parties.
class Encrypter {
  public:
    /// As Answerer::create. `random`: of which all that hides numbers is made.
    static Result<Encrypter> create(Seed zero_seed, std::span<const std::uint8_t> zero,
                                    Key random = random_key());
    /// As KeyOwner::encrypt, of shared_ciphertext_bytes() each.
    [[nodiscard]] Bytes encrypt(const Plan& plan, std::span<const std::int32_t> values,
                                std::size_t rows);

  private:
    explicit Encrypter(Key random);
    AesStream random_;
    std::array<Polynomial, 2> zero_;  ///< p0 and p1, transformed
    // scratch
    Polynomial u_;
    Polynomial a_;
    Polynomial b_;
    SecretVector<std::int64_t> rests_;
    SecretVector<std::int32_t> small_;
};

/// That each number of these ciphertexts is below its prime. malformed_message.
Result<> check_shared(std::span<const std::uint8_t> ciphertexts);
/// sum = sum + other, both checked, as many ciphertexts each.
void add_shared(std::span<std::uint8_t> sum, std::span<const std::uint8_t> other);

/// Opened numbers without their masks, as signed integers: X' D, features x outputs.
/// malformed_message when a number is not below t or their count differs.
Result<std::vector<std::int64_t>> unmask(const Plan& plan, std::span<const std::uint64_t> opened,
                                         const SecretVector<std::uint64_t>& masks);

/// The same by plain integers, for tests: what encryption must come to, bit for bit.
std::vector<std::int64_t> plain_product(const Plan& plan, std::span<const std::int16_t> columns,
                                        std::span<const std::int32_t> values, std::size_t rows);

}  // namespace vflbus::privacy::rlwe
