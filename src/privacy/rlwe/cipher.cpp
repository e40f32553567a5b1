#include "privacy/rlwe/cipher.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/assert.hpp"
#include "base/planted.hpp"
#include "privacy/rlwe/bits.hpp"
#include "privacy/rlwe/cores.hpp"
#include "privacy/rlwe/residues.hpp"
#include "privacy/rlwe/sampling.hpp"

namespace vflbus::privacy::rlwe {
namespace {

/// Constants of q = p0 p1 p2 that one step or the other needs.
struct Modulus {
    Modulus() {
        const auto& all = primes();
        for (std::size_t i = 0; i < prime_count; ++i) {
            const std::uint64_t p = all[i].value();
            std::uint64_t others = 1;  // q / p modulo p
            low *= p;
            for (std::size_t j = 0; j < prime_count; ++j)
                if (j != i) others = all[i].multiply(others, all[j].value() % p);
            share[i] = all[i].factor(all[i].inverse_of(others));
            const auto over = ~Wide{0} >> 18;  // 2^110 - 1; p is no power of two
            inverse[i] = static_cast<std::uint64_t>(over / p);
            for (std::size_t part = 0; part < 3; ++part)
                power45[i][part] = all[i].factor(all[i].power(2, 45 * part));
        }
    }
    std::uint64_t low = 1;  ///< q modulo 2^64
    /// Of each prime: the inverse of q / p modulo p.
    std::array<Factor, prime_count> share;
    /// floor(2^110 / p)
    std::array<std::uint64_t, prime_count> inverse{};
    std::array<std::array<Factor, 3>, prime_count> power45;
};
const Modulus& modulus() {
    static const Modulus all;
    return all;
}

/// The factor -1/t modulo p: round(q m / t) = (q m - [q m]_t) / t, and q is 0 modulo p.
std::array<Factor, prime_count> minus_inverse_of_t(std::uint32_t plain_bits) {
    std::array<Factor, prime_count> out;
    for (std::size_t i = 0; i < prime_count; ++i) {
        const Prime& prime = primes()[i];
        const std::uint64_t inverse = prime.power((prime.value() + 1) / 2, plain_bits);
        out[i] = prime.factor(prime.value() - inverse);
    }
    return out;
}

/// round(q m / t) modulo p for the integer m modulo t.
class Encoder {
  public:
    explicit Encoder(std::uint32_t plain_bits)
        : shift_(64 - plain_bits), factors_(minus_inverse_of_t(plain_bits)) {}
    /// [q m] modulo t, centred: the same for all primes.
    [[nodiscard]] std::int64_t rest(std::uint64_t m) const noexcept {
        return static_cast<std::int64_t>((m * modulus().low) << shift_) >> shift_;
    }
    /// The same or its neighbour, with probabilities that make the rounding 0 in the mean.
    [[nodiscard]] std::int64_t rest(std::uint64_t m, std::uint64_t random) const noexcept {
        const std::uint64_t positive = ((m * modulus().low) << shift_) >> shift_;
        const std::uint64_t drawn = random >> shift_;
        const std::uint64_t t = std::uint64_t{1} << (64 - shift_);
        return static_cast<std::int64_t>(positive - (t & (0 - ((drawn - positive) >> 63))));
    }
    /// round(q m / t) modulo p is `shifted` times `factor`.
    [[nodiscard]] static std::uint64_t shifted(std::int64_t rest, std::uint64_t p) noexcept {
        // |rest| is below 2^50: eight p makes it positive, and all stays below 2^52
        return static_cast<std::uint64_t>(rest) + 8 * p;
    }
    [[nodiscard]] const Factor& factor(std::size_t prime) const noexcept { return factors_[prime]; }

  private:
    std::uint32_t shift_;
    std::array<Factor, prime_count> factors_;
};

/// A number as a fraction of q in units of 2^-64 (Chinese remainder theorem): the sum over the
/// primes p of share / p, modulo 1, with share = (the number modulo p) (q / p)^-1 modulo p.
std::uint64_t fraction(std::uint64_t share0, std::uint64_t share1, std::uint64_t share2) {
    const auto& inverse = modulus().inverse;
    return static_cast<std::uint64_t>((Wide{share0} * inverse[0]) >> 46) +
           static_cast<std::uint64_t>((Wide{share1} * inverse[1]) >> 46) +
           static_cast<std::uint64_t>((Wide{share2} * inverse[2]) >> 46);  // modulo 1
}

/// The same rounded to `bits` bits.
std::uint64_t rounded(std::uint64_t fraction, std::uint32_t bits) {
    return (fraction + (std::uint64_t{1} << (63 - bits))) >> (64 - bits);
}

void pack_polynomial(const Polynomial& a, Bytes& out) {
    pack_bits(a.words(), prime_bits, out);
}
/// Errors: malformed_message when a number is not below its prime.
Result<> unpack_polynomial(std::span<const std::uint8_t> bytes, Polynomial& out) {
    unpack_bits(bytes, prime_bits, out.words());
    for (std::size_t i = 0; i < prime_count; ++i)
        if (auto good = check_below(primes()[i], out.at(i)); !good) return good;
    return {};
}

/// What makes fractions of numbers modulo q, as fraction() does, and rounds them to the bits of an
/// answer.
Rounding rounding_of(const Plan& plan) {
    return {modulus().share, modulus().inverse, plan.answer_bits()};
}

/// Appends the part of an answer that is a polynomial: a + errors, rounded to the bits of an
/// answer. `a` is left in another form.
void pack_rounded(const Plan& plan, Polynomial& a, std::span<const std::int32_t> errors,
                  Bytes& out) {
    const std::span<std::uint64_t> rounded = a.words().first(ring_size);
    round_fractions(rounding_of(plan), a.words().data(), errors.data(), rounded.data());
    pack_bits(rounded, plan.answer_bits(), out);
}

const Watch* watch_of_answers = nullptr;

/// Half of the way from one plaintext to the next, in an answer.
constexpr std::uint64_t half_step = std::uint64_t{1} << (answer_extra_bits - 1);
/// How far opened numbers lie from the nearest plaintext.
std::vector<std::int64_t> distances(std::span<const std::uint64_t> phases) {
    std::vector<std::int64_t> out;
    for (const std::uint64_t value : phases)
        out.push_back(static_cast<std::int64_t>((value + half_step) % (2 * half_step)) -
                      static_cast<std::int64_t>(half_step));
    return out;
}
std::uint64_t below_t(const Plan& plan) {
    return (std::uint64_t{1} << plan.plain_bits) - 1;
}

Failure wrong_size(const char* what, std::size_t bytes, std::size_t wanted) {
    return {Errc::malformed_message, std::string(what) + " of " + std::to_string(bytes) +
                                         " bytes where " + std::to_string(wanted) + " belong"};
}

/// round(q m / t) + e, transformed
void encode(const Encoder& encoder, std::span<const std::int64_t> rests,
            std::span<const std::int32_t> errors, Polynomial& out) {
    for (std::size_t i = 0; i < prime_count; ++i)  // |rests| are below 2^50
        forward_encoded(primes()[i], rests.data(), encoder.factor(i), errors.data(), out.at(i));
}

/// The numbers of ciphertext `at` at the places of the plan, rounded at random.
template <class Value>
void place_values(const Plan& plan, const Encoder& encoder, std::span<const Value> values,
                  std::size_t rows, std::size_t at, AesStream& random,
                  std::span<std::int64_t> rests) {
    const std::size_t block = at / plan.output_groups();
    const std::size_t group = at % plan.output_groups();
    SecretVector<std::uint64_t> draws(plan.block_rows);
    std::ranges::fill(rests, 0);
    for (std::size_t k = group * plan.output_group;
         k < std::min(plan.shape.outputs, (group + 1) * plan.output_group); ++k) {
        random.fill(draws.span());
        for (std::size_t i = block * plan.block_rows;
             i < std::min(rows, (block + 1) * plan.block_rows); ++i)
            rests[plan.place_of(i, k).power] = encoder.rest(
                static_cast<std::uint64_t>(values[k * rows + i]), draws[i % plan.block_rows]);
    }
}

/// sum = sum + x modulo q.
void add(const Polynomial& x, Polynomial& sum) {
    for (std::size_t i = 0; i < prime_count; ++i) add(primes()[i], x.at(i), sum.at(i));
}

/// The polynomial a of ciphertext `number` under the key whose p1 is made of `zero_seed`. Neither
/// side chooses it alone, and the member can expand it before the ciphertext comes.
void expand_number(Seed zero_seed, std::uint64_t number, Polynomial& out) {
    constexpr std::string_view use = "a of a ciphertext";
    std::array<std::uint8_t, use.size() + number_bytes> label{};
    std::ranges::copy(use, label.begin());
    for (std::size_t i = 0; i < number_bytes; ++i)
        label[use.size() + i] = static_cast<std::uint8_t>(number >> (8 * i));
    Key of_all;
    std::ranges::copy(zero_seed, of_all.bytes().begin());
    expand_uniform(expand_key(of_all, label).bytes(), out);
}

/// Whether products with columns come without the encryption of zero, which is added later: for who
/// watches what the key's owner could read. Where nobody does, it is one more product of the sum.
bool zero_comes_later() {
    return watch_of_answers != nullptr || VFLBUS_PLANTED(no_encryption_of_zero);
}

/// So many polynomials are kept at most, of 192 KiB each: for more, there is time enough in the
/// answer itself.
constexpr std::size_t polynomials_ahead_max = 192;

/// The wanted coefficients of a leaf's product with b, those of one prime after those of another;
/// `b` is left in another form.
SecretVector<std::uint64_t> wanted_of_leaf(const Plan& plan, std::size_t leaf, Polynomial& b) {
    const std::vector<std::size_t> powers = plan.numbers_of_leaf(leaf).powers;
    SecretVector<std::uint64_t> out(prime_count * powers.size());
    for (std::size_t p = 0; p < prime_count; ++p)
        coefficients(plan.block_rows >> plan.input_levels, primes()[p], b.at(p),
                     scale_of_b(plan, primes()[p]), powers,
                     out.span().subspan(p * powers.size(), powers.size()));
    return out;
}

bool consecutive(std::span<const std::uint64_t> numbers) {
    for (std::size_t i = 1; i < numbers.size(); ++i)
        if (numbers[i] != numbers[0] + i) return false;
    return true;
}

/// The wanted numbers of b', modulo each prime, with masks and floods made of `random`, three words
/// for each: appends them rounded.
void hide_wanted(const Plan& plan, std::span<const std::span<const std::uint64_t>> of_b,
                 std::span<const std::uint64_t> random, std::span<std::uint64_t> masks,
                 Bytes& out) {
    const std::uint32_t bits = plan.answer_bits();
    const Encoder encoder(plan.plain_bits);
    const Modulus& q = modulus();
    VFLBUS_ASSERT(plan.flood_bits >= 64 && plan.flood_bits < 128, "a flood has two words");
    const std::uint64_t high_mask = (std::uint64_t{1} << (plan.flood_bits - 63)) - 1;
    constexpr std::uint64_t mask45 = (std::uint64_t{1} << 45) - 1;
    std::array<std::uint64_t, prime_count> half;  // -2^w
    for (std::size_t i = 0; i < prime_count; ++i)
        half[i] = primes()[i].value() - primes()[i].power(2, plan.flood_bits);
    std::vector<std::uint64_t> rounded_b(masks.size());
    Wide flood = 0;
    std::array<std::uint64_t, prime_count> share{};
    for (std::size_t at = 0; at < masks.size(); ++at) {
        masks[at] = random[3 * at] & below_t(plan);
        if (VFLBUS_PLANTED(no_mask)) masks[at] = 0;
        // uniform in [0, 2^(w + 1)), of which 2^w is taken off
        flood = (Wide{random[3 * at + 2] & high_mask} << 64) | random[3 * at + 1];
        const std::int64_t rest = encoder.rest(masks[at]);
        for (std::size_t i = 0; i < prime_count; ++i) {
            const std::uint64_t p = primes()[i].value();
            std::uint64_t sum =
                of_b[i][at] + times(Encoder::shifted(rest, p), encoder.factor(i), p);
            for (std::uint32_t part = 0; part < 3 && !VFLBUS_PLANTED(no_flood); ++part)
                sum += times(static_cast<std::uint64_t>(flood >> (45 * part)) & mask45,
                             q.power45[i][part], p);
            if (!VFLBUS_PLANTED(no_flood)) sum += half[i];
            share[i] = times(sum, q.share[i], p);  // the sum of six numbers below p
        }
        rounded_b[at] = rounded(fraction(share[0], share[1], share[2]), bits);
    }
    wipe(&flood, sizeof flood);
    wipe(share.data(), sizeof share);
    pack_bits(rounded_b, bits, out);
}

}  // namespace

std::size_t polynomial_bytes() noexcept {
    return packed_bytes(ring_size * prime_count, prime_bits);
}
std::size_t ciphertext_bytes() noexcept {
    return number_bytes + polynomial_bytes();
}
std::size_t answer_bytes(const Plan& plan, std::size_t wanted) noexcept {
    return packed_bytes(ring_size, plan.answer_bits()) + packed_bytes(wanted, plan.answer_bits());
}
std::size_t all_answer_bytes(const Plan& plan) {
    std::size_t bytes = 0;
    for (std::size_t answer = 0; answer < plan.answers(); ++answer)
        bytes += answer_bytes(plan, plan.numbers_of(answer).powers.size());
    return bytes;
}
std::size_t switch_keys_bytes(const Plan& plan) noexcept {
    return plan.packed ? plan.levels() * switch_key_bytes() : 0;
}

// -- the owner of the key -----------------------------------------------------------------

KeyOwner::KeyOwner(Seed zero_seed, Key random)
    : random_(random),
      special_secret_(ring_size),
      ahead_small_(ring_size),
      rests_(ring_size),
      small_(ring_size) {
    std::ranges::copy(zero_seed, zero_seed_.begin());
    sample_ternary(random_, small_.span());
    forward_signed(special_prime(), small_.data(), special_secret_.data());
    scale(special_prime(), special_secret_.data(), special_prime().montgomery());
    forward(small_.span(), secret_);
    to_montgomery(secret_);
    // p0 = -p1 s + e
    expand_uniform(zero_seed, a_);
    sample_errors(random_, small_.span());
    forward(small_.span(), b_);
    multiply_subtract(a_, secret_, b_);
    pack_polynomial(b_, zero_);
}

Bytes KeyOwner::switch_keys(const Plan& plan) {
    if (!plan.packed) return {};
    Extended secret;
    std::ranges::copy(secret_.words(), secret.at(0));
    std::ranges::copy(special_secret_.span(), secret.at(prime_count));
    return make_switch_keys(plan, zero_seed_, secret, random_);
}

void KeyOwner::prepare(const Plan& plan) {
    const std::size_t count = std::min(plan.ciphertexts(), polynomials_ahead_max);
    if (blanks_.size() < count) blanks_.resize(count);
    for (; ready_ < count; ++ready_) {
        Polynomial& blank = blanks_[ready_];
        sample_errors(random_, ahead_small_.span());
        forward(ahead_small_.span(), blank);
        expand_number(zero_seed_, made_ + ready_, ahead_a_);
        multiply_subtract(ahead_a_, secret_, blank);
    }
}

Bytes KeyOwner::encrypt(const Plan& plan, std::span<const std::int32_t> values, std::size_t rows) {
    return encrypt_all(plan, values, rows);
}

Bytes KeyOwner::encrypt(const Plan& plan, std::span<const std::uint64_t> values, std::size_t rows) {
    return encrypt_all(plan, values, rows);
}

template <class Value>
Bytes KeyOwner::encrypt_all(const Plan& plan, std::span<const Value> values, std::size_t rows) {
    VFLBUS_ASSERT(rows <= plan.shape.rows && values.size() == rows * plan.shape.outputs,
                  "the plan was made for so many rows and outputs");
    const Encoder encoder(plan.plain_bits);
    const std::size_t count = plan.ciphertexts();
    Bytes out;
    out.reserve(count * ciphertext_bytes() + 8);
    for (std::size_t at = 0; at < count; ++at) {
        place_values(plan, encoder, values, rows, at, random_, rests_.span());
        if (at < ready_) {
            std::ranges::fill(small_.span(), 0);
            encode(encoder, rests_.span(), small_.span(), b_);
            add(blanks_[at], b_);
        } else {
            sample_errors(random_, small_.span());
            encode(encoder, rests_.span(), small_.span(), b_);
            expand_number(zero_seed_, made_ + at, a_);
            multiply_subtract(a_, secret_, b_);
        }
        for (std::size_t i = 0; i < number_bytes; ++i)
            out.push_back(static_cast<std::uint8_t>((made_ + at) >> (8 * i)));
        pack_polynomial(b_, out);
    }
    ready_ = 0;
    made_ += count;
    return out;
}

Result<std::vector<std::uint64_t>> KeyOwner::decrypt(const Plan& plan,
                                                     std::span<const std::uint8_t> answers) {
    std::vector<std::uint64_t> out(plan.shape.features * plan.shape.outputs);
    const std::size_t expected = all_answer_bytes(plan);
    if (answers.size() != expected)
        return tl::unexpected(wrong_size("an encrypted answer", answers.size(), expected));
    std::vector<std::uint64_t> opened;
    for (std::size_t answer = 0; answer < plan.answers(); ++answer) {
        const Plan::Numbers numbers = plan.numbers_of(answer);
        const std::size_t size = answer_bytes(plan, numbers.powers.size());
        opened.resize(numbers.powers.size());
        phases(plan, answers.first(size), numbers.powers, opened);
        if (watch_of_answers != nullptr) watch_of_answers->opened(distances(opened));
        answers = answers.subspan(size);
        for (std::size_t i = 0; i < opened.size(); ++i)
            out[numbers.results[i]] =
                ((opened[i] + half_step) >> answer_extra_bits) & below_t(plan);
    }
    return out;
}

std::vector<std::int64_t> KeyOwner::phase_errors(const Plan& plan,
                                                 std::span<const std::uint8_t> answer) {
    const std::vector<std::size_t> wanted = plan.numbers_of(0).powers;
    std::vector<std::uint64_t> values(wanted.size());
    phases(plan, answer.first(answer_bytes(plan, wanted.size())), wanted, values);
    return distances(values);
}

/// The phase b' + a' s modulo 2^k, of the wanted coefficients: a' s over the integers is below
/// 2^(k + 12), so two primes hold it.
void KeyOwner::phases(const Plan& plan, std::span<const std::uint8_t> answer,
                      std::span<const std::size_t> wanted, std::span<std::uint64_t> out) {
    const std::uint32_t bits = plan.answer_bits();
    const std::size_t a_bytes = packed_bytes(ring_size, bits);
    const std::span<std::uint64_t> a(open_a_.at(2), ring_size);  // of the prime that is not used
    std::vector<std::uint64_t> b(wanted.size());
    unpack_bits(answer.first(a_bytes), bits, a);
    unpack_bits(answer.subspan(a_bytes), bits, b);
    const Prime& first = primes()[0];
    const Prime& second = primes()[1];
    std::array<std::vector<std::uint64_t>, 2> found;
    for (std::size_t i = 0; i < 2; ++i) {
        const Prime& prime = primes()[i];
        std::uint64_t* const residues = open_a_.at(i);
        forward_wide(prime, a.data(), residues);
        Factors both;
        both.add(residues, secret_.at(i));
        dot(prime, both.x, both.y, open_b_.at(i));
        found[i].resize(wanted.size());
        coefficients(plan.spacing(), prime, open_b_.at(i), prime.size_inverse(), wanted, found[i]);
    }
    static const Factor inverse_of_first =
        second.factor(second.inverse_of(first.value() % second.value()));
    const std::uint64_t both = first.value() * second.value();  // modulo 2^64
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const std::uint64_t x0 = found[0][i];
        const std::uint64_t x1 = found[1][i];
        // x = x0 + p0 h with h = (x1 - x0) / p0 modulo p1; the upper half is negative
        const std::uint64_t h =
            times(x1 + 2 * second.value() - x0, inverse_of_first, second.value());
        const std::uint64_t negative = 0 - ((second.value() / 2 - h) >> 63);
        const std::uint64_t x = x0 + first.value() * h - (both & negative);
        out[i] = b[i] + x;
    }
}

// -- the owner of the columns ---------------------------------------------------------------

namespace {

Key key_of_answers() {
    return VFLBUS_PLANTED(answer_random_kept) ? Key() : random_key();
}

/// Threads for a request: small ones are done before another thread has begun.
std::size_t workers_for(const Plan& plan) {
    constexpr std::size_t polynomials_least = 32;
    if (watch_of_answers != nullptr) return 1;  // who watches is told of one after another
    return plan.feature_groups() * plan.blocks() >= polynomials_least ? cores() : 1;
}

}  // namespace

Ahead::Ahead() : random_(key_of_answers()), small_(ring_size) {}

void Ahead::use_plan(const Plan& plan) {
    if (plan_ == plan) return;
    plan_ = plan;
    hides_.clear();
    used_ = 0;
    rows_ = 0;
    factors_.clear();
    combined_.clear();
}

void Ahead::prepare(const Plan& plan, std::span<const std::int16_t> columns, std::size_t rows,
                    const std::optional<Due>& due, const Answerer* answerer) {
    due_.reset();
    use_plan(plan);
    const std::size_t answers = std::min(plan.answers(), polynomials_ahead_max);
    if (hides_.size() < answers) {
        hides_.resize(answers);
        used_ = answers;
    }
    for (std::size_t i = 0; i < std::min(used_, answers); ++i)
        draw(random_, hides_[i], plan.numbers_of(i).powers.size(), small_.span());
    used_ = 0;
    const std::size_t factors =
        plan.packed ? plan.leaves_per_output_group() * plan.leaf_products() * plan.blocks()
                    : plan.feature_groups() * plan.blocks();
    if (factors > polynomials_ahead_max || columns.empty()) return;
    if (!has(plan, columns, rows)) {
        rows_ = rows;
        columns_ = SecretVector<std::int16_t>(columns.size());
        std::ranges::copy(columns, columns_.data());
        transform(plan);
    }
    if (!due || answers != plan.answers() || plan.ciphertexts() > polynomials_ahead_max) return;
    if (!plan.packed)
        make_parts(plan, *due);
    else if (answerer != nullptr && answerer->can_answer(plan) &&
             answerer->next().zero_seed == due->zero_seed)
        make_packed_parts(plan, *due, *answerer);
}

void Ahead::transform(const Plan& plan) {
    const std::size_t workers = workers_for(plan);
    if (plan.packed) {
        combined_.resize(plan.leaves_per_output_group());
        in_parallel(combined_.size(), workers, [&](std::size_t leaf, std::size_t) {
            combine_columns(plan, columns_.span(), rows_, leaf, combined_[leaf]);
        });
        return;
    }
    factors_.resize(plan.feature_groups() * plan.blocks());
    in_parallel(plan.feature_groups(), workers, [&](std::size_t f, std::size_t) {
        SecretVector<std::int32_t> small(ring_size);
        for (std::size_t block = 0; block < plan.blocks(); ++block) {
            place_columns(plan, columns_.span(), rows_, f, block, small.span());
            Polynomial& to = factors_[f * plan.blocks() + block];
            for (std::size_t p = 0; p < prime_count; ++p)
                forward_factor(primes()[p], small.data(), to.at(p));
        }
    });
}

void Ahead::make_parts(const Plan& plan, const Due& due) {
    if (p1_seed_ != due.zero_seed) {
        expand_uniform(due.zero_seed, p1_);
        p1_seed_ = due.zero_seed;
    }
    a_.resize(plan.ciphertexts());
    for (std::size_t at = 0; at < a_.size(); ++at)
        expand_number(due.zero_seed, due.first + at, a_[at]);
    parts_.clear();
    parts_.resize(plan.answers());
    const std::size_t workers = workers_for(plan);
    if (sums_.size() < workers) sums_.resize(workers);
    in_parallel(plan.feature_groups(), workers, [&](std::size_t f, std::size_t worker) {
        Polynomial& sum = sums_[worker];
        for (std::size_t g = 0; g < plan.output_groups(); ++g) {
            const std::size_t answer = f * plan.output_groups() + g;
            for (std::size_t p = 0; p < prime_count; ++p) {
                Factors all;
                for (std::size_t block = 0; block < plan.blocks(); ++block)
                    all.add(a_[block * plan.output_groups() + g].at(p),
                            factors_[f * plan.blocks() + block].at(p));
                if (!zero_comes_later()) all.add(p1_.at(p), hides_[answer].u.at(p));
                dot(primes()[p], all.x, all.y, sum.at(p));
            }
            if (zero_comes_later())
                add_zero(plan, sum, p1_, hides_[answer].u, true, parts_[answer]);
            finish(plan, sum, hides_[answer], /*products=*/true, parts_[answer]);
        }
    });
    due_ = due;
}

void Ahead::make_packed_parts(const Plan& plan, const Due& due, const Answerer& answerer) {
    const std::size_t workers = workers_for(plan);
    a_.resize(plan.ciphertexts());
    std::vector<const Polynomial*> inputs;
    for (std::size_t at = 0; at < a_.size(); ++at) {
        expand_number(due.zero_seed, due.first + at, a_[at]);
        inputs.push_back(&a_[at]);
    }
    packer_.start(plan, answerer.switch_keys_, inputs, workers);
    in_parallel(plan.leaves_per_output_group(), workers, [&](std::size_t leaf, std::size_t) {
        for (std::size_t g = 0; g < plan.output_groups(); ++g)
            packer_.multiply(combined_[leaf], g, leaf);
    });
    parts_.clear();
    for (std::size_t answer = 0; answer < plan.answers(); ++answer)
        parts_.push_back(finish_packed(plan, packer_, answer, answerer, hides_[answer]));
    due_ = due;
}

void Ahead::add_zero(const Plan& plan, Polynomial& a, const Polynomial& p1, const Polynomial& u,
                     bool products, Part& out) {
    out.bare.clear();
    if (watch_of_answers != nullptr) {
        Polynomial copy;
        std::ranges::copy(a.words(), copy.words().begin());
        inverse(copy, products);
        pack_rounded(plan, copy, std::vector<std::int32_t>(ring_size), out.bare);
    }
    if (!VFLBUS_PLANTED(no_encryption_of_zero)) multiply_add(p1, u, a);
}

void Ahead::finish(const Plan& plan, Polynomial& a, const Hide& with, bool products, Part& out) {
    out.bytes.clear();
    inverse(a, products);
    if (VFLBUS_PLANTED(no_encryption_of_zero))
        return pack_rounded(plan, a, std::vector<std::int32_t>(ring_size), out.bytes);
    pack_rounded(plan, a, with.errors.span(), out.bytes);
}

Ahead::Part Ahead::finish_packed(const Plan& plan, Packer& packer, std::size_t answer,
                                 const Answerer& keys, const Hide& with) {
    Leaf& merged = packer.merge(answer);
    Polynomial u;
    std::ranges::copy(with.u.words(), u.words().begin());
    to_montgomery(u);
    Part out;
    add_zero(plan, merged.a, keys.zero_[1], u, /*products=*/false, out);
    finish(plan, merged.a, with, /*products=*/false, out);
    for (std::size_t p = 0; p < prime_count; ++p) {  // the offset carries P, which is 0 modulo P
        const Prime& prime = primes()[p];
        scale(prime, u.at(p), prime.factor(special_prime().value() % prime.value()));
        if (!VFLBUS_PLANTED(no_encryption_of_zero))
            multiply_add(prime, keys.zero_[0].at(p), u.at(p), merged.offset.at(p));
    }
    const std::vector<std::size_t> powers = plan.numbers_of(answer).powers;
    out.offsets = SecretVector<std::uint64_t>(prime_count * powers.size());
    wanted_offsets(plan, merged.offset, powers, out.offsets.span());
    return out;
}

std::vector<Ahead::Part> Ahead::take_parts(const Due& due) {
    const bool good = due_ == due && used_ == 0;
    due_.reset();
    return good ? std::exchange(parts_, {}) : std::vector<Part>{};
}

void Ahead::draw(AesStream& random, Hide& hide, std::size_t wanted, std::span<std::int32_t> small) {
    sample_ternary(random, small);
    forward(small, hide.u);
    if (hide.errors.size() == 0) hide.errors = SecretVector<std::int32_t>(ring_size);
    sample_errors(random, hide.errors.span());
    hide.words = SecretVector<std::uint64_t>(3 * wanted);
    random.fill(hide.words.span());
}

const Ahead::Hide* Ahead::take() noexcept {
    return used_ < hides_.size() ? &hides_[used_++] : nullptr;
}

bool Ahead::has(const Plan& plan, std::span<const std::int16_t> columns,
                std::size_t rows) const noexcept {
    return plan_ == plan && !(factors_.empty() && combined_.empty()) && rows_ == rows &&
           std::ranges::equal(columns_.span(), columns);
}

Answerer::Answerer() : random_(key_of_answers()) {}

Result<Answerer> Answerer::create(Seed zero_seed, std::span<const std::uint8_t> zero) {
    if (zero.size() != polynomial_bytes())
        return tl::unexpected(wrong_size("a key", zero.size(), polynomial_bytes()));
    Answerer out;
    if (auto good = unpack_polynomial(zero, out.zero_[0]); !good)
        return tl::unexpected(std::move(good.error()));
    expand_uniform(zero_seed, out.zero_[1]);
    std::ranges::copy(zero_seed, out.next_.zero_seed.begin());
    return out;
}

Result<> Answerer::take_switch_keys(const Plan& plan, std::span<const std::uint8_t> bytes) {
    auto keys = SwitchKeys::parse(plan, next_.zero_seed, bytes);
    if (!keys) return tl::unexpected(std::move(keys.error()));
    switch_keys_ = std::move(*keys);
    return {};
}

Result<> Answerer::parse(const Plan& plan, std::span<const std::uint8_t> ciphertexts) {
    const bool shared = plan.shape.parties > 0;
    const std::size_t expected =
        plan.ciphertexts() * (shared ? shared_ciphertext_bytes() : ciphertext_bytes());
    if (ciphertexts.size() != expected)
        return tl::unexpected(wrong_size("an encrypted residual", ciphertexts.size(), expected));
    ciphertexts_.resize(plan.ciphertexts());
    numbers_.assign(plan.ciphertexts(), 0);
    for (std::size_t at = 0; at < ciphertexts_.size(); ++at) {
        auto& [a, b] = ciphertexts_[at];
        const std::size_t of_a = shared ? polynomial_bytes() : number_bytes;
        for (std::size_t i = 0; !shared && i < number_bytes; ++i)
            numbers_[at] |= std::uint64_t{ciphertexts[i]} << (8 * i);
        if (shared)
            if (auto good = unpack_polynomial(ciphertexts.first(of_a), a); !good) return good;
        if (auto good = unpack_polynomial(ciphertexts.subspan(of_a, polynomial_bytes()), b); !good)
            return good;
        ciphertexts = ciphertexts.subspan(of_a + polynomial_bytes());
    }
    return {};
}

/// The public polynomials of the ciphertexts.
void Answerer::expand(const Plan& plan) {
    if (plan.shape.parties > 0) return;  // they have come
    for (std::size_t at = 0; at < ciphertexts_.size(); ++at)
        expand_number(next_.zero_seed, numbers_[at], ciphertexts_[at][0]);
}

Result<Answerer::Answer> Answerer::answer(const Plan& plan, std::span<const std::int16_t> columns,
                                          std::size_t rows,
                                          std::span<const std::uint8_t> ciphertexts, Ahead* ahead) {
    VFLBUS_ASSERT(rows <= plan.shape.rows && columns.size() == rows * plan.shape.features,
                  "the plan was made for so many rows and features");
    VFLBUS_ASSERT(can_answer(plan), "a packed answer needs the keys of its plan");
    if (auto parsed = parse(plan, ciphertexts); !parsed)
        return tl::unexpected(std::move(parsed.error()));
    Work work;
    work.plan = &plan;
    work.columns = columns;
    work.rows = rows;
    if (ahead != nullptr) ahead->use_plan(plan);
    if (ahead != nullptr && ahead->has(plan, columns, rows)) work.ahead = ahead;
    next_.first = numbers_[0];
    if (work.ahead != nullptr && consecutive(numbers_)) work.parts = ahead->take_parts(next_);
    if (work.parts.empty()) expand(plan);
    next_.first += numbers_.size();
    for (std::size_t i = 0; i < plan.answers(); ++i) {
        work.hides.push_back(ahead == nullptr ? nullptr : ahead->take());
        if (work.hides.back() == nullptr)
            random_.fill(work.seeds.emplace_back().bytes());
        else
            work.seeds.emplace_back();
    }
    answers_.resize(plan.answers());
    work.masks.resize(plan.answers());
    const std::size_t workers = workers_for(plan);
    if (scratch_.size() < workers) scratch_.resize(workers);
    if (plan.packed)
        answer_packed(work, workers);
    else
        in_parallel(plan.feature_groups(), workers, [&](std::size_t f, std::size_t worker) {
            answer_group(work, f, scratch_[worker]);
        });
    Answer out;
    out.bytes.reserve(all_answer_bytes(plan));
    out.masks = SecretVector<std::uint64_t>(plan.shape.features * plan.shape.outputs);
    for (std::size_t answer = 0; answer < plan.answers(); ++answer) {
        out.bytes.insert(out.bytes.end(), answers_[answer].begin(), answers_[answer].end());
        const std::vector<std::size_t> results = plan.numbers_of(answer).results;
        for (std::size_t i = 0; i < results.size(); ++i)
            out.masks[results[i]] = work.masks[answer][i];
    }
    return out;
}

/// What hides an answer: drawn before, or now.
const Ahead::Hide& Answerer::hide_of(const Work& work, std::size_t answer, Ahead::Hide& drawn,
                                     Scratch& scratch) {
    if (work.hides[answer] != nullptr) return *work.hides[answer];
    AesStream random(work.seeds[answer]);
    Ahead::draw(random, drawn, work.plan->numbers_of(answer).powers.size(), scratch.small.span());
    return drawn;
}

/// scratch.sums = ciphertexts times the columns of one group of features, summed over the blocks of
/// rows, and the encryptions of zero unless they come later; the polynomials a only where their
/// part was not made before.
void Answerer::multiply_group(const Work& work, std::size_t group, Scratch& scratch) const {
    const Plan& plan = *work.plan;
    scratch.sums.resize(plan.output_groups());
    // so many blocks at once as stay in the caches
    constexpr std::size_t together = 8;
    if (work.ahead == nullptr && scratch.factors.empty()) {
        scratch.columns.resize(together);
        scratch.factors.resize(together);
        for (auto& one : scratch.columns) one = SecretVector<std::int32_t>(ring_size);
        for (auto& one : scratch.factors) one = SecretVector<std::uint64_t>(ring_size);
    }
    for (std::size_t first = 0; first < plan.blocks(); first += together) {
        const std::size_t count = std::min(together, plan.blocks() - first);
        for (std::size_t i = 0; i < count && work.ahead == nullptr; ++i)
            place_columns(plan, work.columns, work.rows, group, first + i,
                          scratch.columns[i].span());
        std::array<const std::uint64_t*, together> factors{};
        for (std::size_t p = 0; p < prime_count; ++p) {  // what belongs to one fits a cache
            for (std::size_t i = 0; i < count; ++i) {
                if (work.ahead == nullptr)
                    forward_factor(primes()[p], scratch.columns[i].data(),
                                   scratch.factors[i].data());
                factors[i] = work.ahead == nullptr
                                 ? scratch.factors[i].data()
                                 : work.ahead->factors_[group * plan.blocks() + first + i].at(p);
            }
            for (std::size_t g = 0; g < plan.output_groups(); ++g)
                multiply_blocks(work, first, std::span(factors).first(count), g, p, scratch);
        }
    }
}

/// The same of the blocks from `first` on that `factors` are of, for one group of outputs and
/// modulo one prime.
void Answerer::multiply_blocks(const Work& work, std::size_t first,
                               std::span<const std::uint64_t* const> factors,
                               std::size_t output_group, std::size_t prime,
                               Scratch& scratch) const {
    std::vector<const std::uint64_t*> of_a;
    std::vector<const std::uint64_t*> of_b;
    std::vector<const std::uint64_t*> all(factors.begin(), factors.end());
    for (std::size_t i = 0; i < factors.size(); ++i) {
        const auto& [a, b] = ciphertexts_[(first + i) * work.plan->output_groups() + output_group];
        of_a.push_back(a.at(prime));
        of_b.push_back(b.at(prime));
    }
    if (first + factors.size() == work.plan->blocks() && !zero_comes_later()) {
        of_a.push_back(zero_[1].at(prime));
        of_b.push_back(zero_[0].at(prime));
        all.push_back(scratch.hides[output_group]->u.at(prime));
    }
    auto& [sum_a, sum_b] = scratch.sums[output_group];
    if (work.parts.empty())
        dot(primes()[prime], {of_a, of_b}, all, {sum_a.at(prime), sum_b.at(prime)}, first > 0);
    else
        dot(primes()[prime], of_b, all, sum_b.at(prime), first > 0);
}

/// The answers of one group of features.
void Answerer::answer_group(Work& work, std::size_t group, Scratch& scratch) {
    const Plan& plan = *work.plan;
    const std::size_t first = group * plan.output_groups();
    scratch.drawn.resize(plan.output_groups());
    scratch.hides.clear();
    for (std::size_t g = 0; g < plan.output_groups(); ++g)
        scratch.hides.push_back(&hide_of(work, first + g, scratch.drawn[g], scratch));
    multiply_group(work, group, scratch);
    for (std::size_t g = 0; g < plan.output_groups(); ++g) {
        const std::size_t answer = first + g;
        const std::vector<std::size_t> wanted = plan.wanted(group, g);
        const Ahead::Hide& with = *scratch.hides[g];
        auto& [a, b] = scratch.sums[g];
        if (work.parts.empty()) {
            if (zero_comes_later()) Ahead::add_zero(plan, a, zero_[1], with.u, true, scratch.part);
            Ahead::finish(plan, a, with, true, scratch.part);
        }
        if (zero_comes_later() && !VFLBUS_PLANTED(no_encryption_of_zero))
            multiply_add(zero_[0], with.u, b);
        std::array<SecretVector<std::uint64_t>, prime_count> found;
        std::array<std::span<const std::uint64_t>, prime_count> of_b;
        for (std::size_t i = 0; i < prime_count; ++i) {
            found[i] = SecretVector<std::uint64_t>(wanted.size());
            coefficients(plan.spacing(), primes()[i], b.at(i),
                         primes()[i].size_inverse_of_products(), wanted, found[i].span());
            of_b[i] = found[i].span();
        }
        finish_answer(work, answer, of_b, work.parts.empty() ? scratch.part : work.parts[answer],
                      with);
    }
}

/// The answer of its part a' and the wanted coefficients of b', with masks and floods.
void Answerer::finish_answer(Work& work, std::size_t answer,
                             std::span<const std::span<const std::uint64_t>> of_b,
                             const Ahead::Part& part, const Ahead::Hide& with) {
    SecretVector<std::uint64_t>& masks = work.masks[answer];
    masks = SecretVector<std::uint64_t>(of_b[0].size());
    Bytes& out = answers_[answer];
    out.reserve(answer_bytes(*work.plan, masks.size()) + 8);
    out = part.bytes;
    hide_wanted(*work.plan, of_b, with.words.span(), masks.span(), out);
    if (watch_of_answers != nullptr) watch_of_answers->hidden(part.bytes, part.bare, masks.span());
}

/// All packed answers. The parts a' may be there already.
void Answerer::answer_packed(Work& work, std::size_t workers) {
    const Plan& plan = *work.plan;
    std::vector<const Polynomial*> inputs_a;
    std::vector<const Polynomial*> inputs_b;
    for (const Pair& pair : ciphertexts_) {
        inputs_a.push_back(&pair[0]);
        inputs_b.push_back(&pair[1]);
    }
    images_of_b(plan, inputs_b, images_);
    if (work.parts.empty()) packer_.start(plan, switch_keys_, inputs_a, workers);
    of_leaves_.resize(plan.leaves());
    in_parallel(plan.leaves_per_output_group(), workers, [&](std::size_t leaf, std::size_t worker) {
        multiply_leaves(work, leaf, scratch_[worker]);
    });
    for (std::size_t answer = 0; answer < plan.answers(); ++answer) finish_packed(work, answer);
}

/// Of one leaf in each group of outputs the products with b, of which the wanted coefficients are
/// kept, and those with a.
void Answerer::multiply_leaves(Work& work, std::size_t leaf, Scratch& scratch) {
    const Plan& plan = *work.plan;
    if (work.ahead == nullptr)
        combine_columns(plan, work.columns, work.rows, leaf, scratch.combined);
    const CombinedColumns& columns =
        work.ahead == nullptr ? scratch.combined : work.ahead->combined_[leaf];
    for (std::size_t g = 0; g < plan.output_groups(); ++g) {
        if (work.parts.empty()) packer_.multiply(columns, g, leaf);
        multiply_b(plan, columns, images_, g, scratch.factor);
        const std::size_t at = g * plan.leaves_per_output_group() + leaf;
        of_leaves_[at] = wanted_of_leaf(plan, at, scratch.factor);
    }
}

void Answerer::finish_packed(Work& work, std::size_t answer) {
    const Plan& plan = *work.plan;
    scratch_[0].drawn.resize(std::max<std::size_t>(1, scratch_[0].drawn.size()));
    const Ahead::Hide& with = hide_of(work, answer, scratch_[0].drawn[0], scratch_[0]);
    Ahead::Part made;
    if (work.parts.empty()) made = Ahead::finish_packed(plan, packer_, answer, *this, with);
    const Ahead::Part& part = work.parts.empty() ? made : work.parts[answer];
    const std::size_t numbers = part.offsets.size() / prime_count;
    const std::size_t first = answer * plan.leaves_per_answer;
    const std::size_t end = std::min(plan.leaves(), first + plan.leaves_per_answer);
    SecretVector<std::uint64_t> sums(part.offsets.size());
    std::array<std::span<const std::uint64_t>, prime_count> of_b;
    for (std::size_t p = 0; p < prime_count; ++p) {
        const auto sum = sums.span().subspan(p * numbers, numbers);
        std::size_t done = 0;
        for (std::size_t leaf = first; leaf < end; ++leaf) {
            const std::size_t count = of_leaves_[leaf].size() / prime_count;
            for (std::size_t i = 0; i < count; ++i, ++done)
                sum[done] = less(of_leaves_[leaf][p * count + i] + part.offsets[p * numbers + done],
                                 primes()[p].value());
        }
        of_b[p] = sum;
    }
    finish_answer(work, answer, of_b, part, with);
}

void watch_answers(const Watch* watch) noexcept {
    watch_of_answers = watch;
}

// -- encryption by others -----------------------------------------------------------------------

std::size_t shared_ciphertext_bytes() noexcept {
    return 2 * polynomial_bytes();
}

Encrypter::Encrypter(Key random) : random_(random), rests_(ring_size), small_(ring_size) {}

Result<Encrypter> Encrypter::create(Seed zero_seed, std::span<const std::uint8_t> zero,
                                    Key random) {
    if (zero.size() != polynomial_bytes())
        return tl::unexpected(wrong_size("a key", zero.size(), polynomial_bytes()));
    Encrypter out(std::move(random));
    if (auto good = unpack_polynomial(zero, out.zero_[0]); !good)
        return tl::unexpected(std::move(good.error()));
    expand_uniform(zero_seed, out.zero_[1]);
    return out;
}

Bytes Encrypter::encrypt(const Plan& plan, std::span<const std::int32_t> values, std::size_t rows) {
    VFLBUS_ASSERT(rows <= plan.shape.rows && values.size() == rows * plan.shape.outputs,
                  "the plan was made for so many rows and outputs");
    const Encoder encoder(plan.plain_bits);
    Bytes out;
    out.reserve(plan.ciphertexts() * shared_ciphertext_bytes() + 8);
    for (std::size_t at = 0; at < plan.ciphertexts(); ++at) {
        place_values(plan, encoder, values, rows, at, random_, rests_.span());
        sample_ternary(random_, small_.span());
        forward(small_.span(), u_);
        to_montgomery(u_);
        sample_errors(random_, small_.span());
        forward(small_.span(), a_);
        multiply_add(zero_[1], u_, a_);
        sample_errors(random_, small_.span());
        encode(encoder, rests_.span(), small_.span(), b_);
        multiply_add(zero_[0], u_, b_);
        pack_polynomial(a_, out);
        pack_polynomial(b_, out);
    }
    return out;
}

Result<> check_shared(std::span<const std::uint8_t> ciphertexts) {
    if (ciphertexts.size() % shared_ciphertext_bytes() != 0)
        return tl::unexpected(
            wrong_size("ciphertexts", ciphertexts.size(), shared_ciphertext_bytes()));
    Polynomial one;
    for (; !ciphertexts.empty(); ciphertexts = ciphertexts.subspan(polynomial_bytes()))
        if (auto good = unpack_polynomial(ciphertexts.first(polynomial_bytes()), one); !good)
            return good;
    return {};
}

void add_shared(std::span<std::uint8_t> sum, std::span<const std::uint8_t> other) {
    VFLBUS_ASSERT(sum.size() == other.size(), "as many ciphertexts are added as there are");
    Polynomial one;
    Polynomial two;
    Bytes packed;
    for (std::size_t at = 0; at < sum.size(); at += polynomial_bytes()) {
        const bool good = unpack_polynomial(sum.subspan(at, polynomial_bytes()), one) &&
                          unpack_polynomial(other.subspan(at, polynomial_bytes()), two);
        VFLBUS_ASSERT(good, "ciphertexts are checked before they are added");
        add(two, one);
        packed.clear();
        pack_polynomial(one, packed);
        std::ranges::copy(packed, sum.begin() + static_cast<std::ptrdiff_t>(at));
    }
}

// -- plain numbers ----------------------------------------------------------------------------

Result<std::vector<std::int64_t>> unmask(const Plan& plan, std::span<const std::uint64_t> opened,
                                         const SecretVector<std::uint64_t>& masks) {
    if (opened.size() != masks.size())
        return tl::unexpected(wrong_size("opened numbers", opened.size() * sizeof opened[0],
                                         masks.size() * sizeof opened[0]));
    const std::uint32_t shift = 64 - plan.plain_bits;
    std::vector<std::int64_t> out(opened.size());
    for (std::size_t i = 0; i < opened.size(); ++i) {
        if (opened[i] >> plan.plain_bits != 0)
            return fail(Errc::malformed_message,
                        "an opened number is not below 2^" + std::to_string(plan.plain_bits));
        out[i] = static_cast<std::int64_t>((opened[i] - masks[i]) << shift) >> shift;
    }
    return out;
}

std::vector<std::int64_t> plain_product(const Plan& plan, std::span<const std::int16_t> columns,
                                        std::span<const std::int32_t> values, std::size_t rows) {
    std::vector<std::int64_t> out(plan.shape.features * plan.shape.outputs);
    for (std::size_t k = 0; k < plan.shape.outputs; ++k)
        for (std::size_t j = 0; j < plan.shape.features; ++j) {
            std::int64_t sum = 0;
            for (std::size_t i = 0; i < rows; ++i)
                sum += std::int64_t{columns[j * rows + i]} * values[k * rows + i];
            out[k * plan.shape.features + j] = sum;
        }
    return out;
}

}  // namespace vflbus::privacy::rlwe
