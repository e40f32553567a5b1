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

/// [0, 2p) -> [0, p) without a branch.
std::uint64_t less(std::uint64_t x, std::uint64_t p) {
    const std::uint64_t rest = x - p;
    return rest + (p & (0 - (rest >> 63)));
}

/// x w modulo p for x below 2^52.
std::uint64_t times(std::uint64_t x, const Factor& w, std::uint64_t p) {
    const auto quotient = static_cast<std::uint64_t>((Wide{x} * w.ratio) >> 52);
    return less(x * w.value - quotient * p, p);
}

/// The factor -1/t modulo p: round(q m / t) = (q m - [q m]_t) / t, and q is 0 modulo p.
std::array<Factor, prime_count> minus_inverse_of_t(std::uint32_t plain_bits) {
    std::array<Factor, prime_count> out;
    for (std::size_t i = 0; i < prime_count; ++i) {
        const Prime& prime = primes()[i];
        const std::uint64_t inverse = prime.inverse_of(prime.power(2, plain_bits));
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
    bool good = true;
    for (std::size_t i = 0; i < prime_count; ++i) {
        const std::uint64_t p = primes()[i].value();
        const std::uint64_t* const values = out.at(i);
        for (std::size_t j = 0; j < ring_size; ++j) good &= values[j] < p;
    }
    if (good) return {};
    return fail(Errc::malformed_message, "a number of a ciphertext is not below its prime");
}

/// The part of an answer that is a polynomial: a' rounded to the bits of an answer. `a` is left in
/// another form.
void pack_rounded(const Plan& plan, Polynomial& a, Bytes& out) {
    SecretVector<std::uint64_t> fractions(ring_size);  // as fraction() has them
    for (std::size_t i = 0; i < prime_count; ++i) {
        scale(primes()[i], a.at(i), modulus().share[i]);
        add_scaled(modulus().inverse[i], a.at(i), fractions.data());
    }
    const std::uint32_t bits = plan.answer_bits();
    for (std::uint64_t& value : fractions.span()) value = rounded(value, bits);
    pack_bits(fractions.span(), bits, out);
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

/// round(q m / t) + e
void encode(const Encoder& encoder, std::span<const std::int64_t> rests,
            std::span<const std::int32_t> errors, Polynomial& out) {
    for (std::size_t i = 0; i < prime_count; ++i) {
        const std::uint64_t p = primes()[i].value();
        std::uint64_t* const to = out.at(i);
        for (std::size_t j = 0; j < ring_size; ++j) to[j] = Encoder::shifted(rests[j], p);
        scale(primes()[i], to, encoder.factor(i));
        add_signed(primes()[i], errors.data(), to);
    }
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

/// b = -a s + what b holds, all transformed; `secret` in Montgomery form.
void subtract_product(const Polynomial& a, const Polynomial& secret, Polynomial& b) {
    for (std::size_t i = 0; i < prime_count; ++i) negate(primes()[i], b.at(i));
    multiply_add(a, secret, b);
    for (std::size_t i = 0; i < prime_count; ++i) negate(primes()[i], b.at(i));
}

/// sum = sum + x modulo q.
void add(const Polynomial& x, Polynomial& sum) {
    for (std::size_t i = 0; i < prime_count; ++i) {
        const std::uint64_t p = primes()[i].value();
        const std::uint64_t* const from = x.at(i);
        std::uint64_t* const to = sum.at(i);
        for (std::size_t j = 0; j < ring_size; ++j) to[j] = less(to[j] + from[j], p);
    }
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

/// So many polynomials are kept at most, of 192 KiB each: for more, there is time enough in the
/// answer itself.
constexpr std::size_t polynomials_ahead_max = 96;

bool consecutive(std::span<const std::uint64_t> numbers) {
    for (std::size_t i = 1; i < numbers.size(); ++i)
        if (numbers[i] != numbers[0] + i) return false;
    return true;
}

/// The columns of one group of features in one block of rows, as the polynomial of the plan's
/// layout, transformed.
void columns_to_polynomial(const Plan& plan, std::span<const std::int16_t> columns,
                           std::size_t rows, std::size_t group, std::size_t block,
                           std::span<std::int32_t> small, Polynomial& out) {
    const std::size_t first = group * plan.feature_group;
    const std::size_t count = std::min(plan.feature_group, plan.shape.features - first);
    const std::size_t stride = plan.output_group * plan.block_rows;
    const std::size_t begin = std::min(rows, block * plan.block_rows);
    const std::size_t end = std::min(rows, begin + plan.block_rows);
    std::ranges::fill(small, 0);
    for (std::size_t j = 0; j < count; ++j) {
        const std::int16_t* const column = columns.data() + (first + j) * rows;
        const std::size_t power = j * stride;
        for (std::size_t i = begin; i < end; ++i) {
            const std::size_t back = i - begin;
            if (back <= power)
                small[power - back] = column[i];
            else  // X^-i is -X^(N - i)
                small[ring_size + power - back] = -std::int32_t{column[i]};
        }
    }
    from_signed(small, out);
    forward(out);
}

/// The coefficients `wanted` of a transformed polynomial, modulo one prime: all of them are
/// multiples of the rows of a block. `a` may be left in another form.
void coefficients(const Plan& plan, const Prime& prime, std::uint64_t* a, Factor scale,
                  std::span<const std::size_t> wanted, std::span<std::uint64_t> out) {
    const auto k = static_cast<std::uint32_t>(std::countr_zero(plan.block_rows));
    if (k < every_least) {
        inverse(prime, a, scale);
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = a[wanted[i]];
        return;
    }
    SecretVector<std::uint64_t> few(ring_size >> k);
    inverse_every(prime, a, k, scale, few.span());
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = few[wanted[i] >> k];
}

/// The wanted numbers of b' with masks and floods made of `random`, three words for each: appends
/// them rounded. `b` is transformed, and left in another form.
void hide_wanted(const Plan& plan, Polynomial& b, std::span<const std::size_t> wanted,
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
    std::array<SecretVector<std::uint64_t>, prime_count> of_b;
    for (std::size_t i = 0; i < prime_count; ++i) {
        of_b[i] = SecretVector<std::uint64_t>(wanted.size());
        coefficients(plan, primes()[i], b.at(i), primes()[i].size_inverse_of_products(), wanted,
                     of_b[i].span());
    }
    std::vector<std::uint64_t> rounded_b(wanted.size());
    Wide flood = 0;
    std::array<std::uint64_t, prime_count> share{};
    for (std::size_t at = 0; at < wanted.size(); ++at) {
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

// -- the owner of the key -----------------------------------------------------------------

KeyOwner::KeyOwner(Seed zero_seed, Key random)
    : random_(random), ahead_small_(ring_size), rests_(ring_size), small_(ring_size) {
    std::ranges::copy(zero_seed, zero_seed_.begin());
    sample_ternary(random_, small_.span());
    from_signed(small_.span(), secret_);
    forward(secret_);
    to_montgomery(secret_);
    // p0 = -p1 s + e
    expand_uniform(zero_seed, a_);
    sample_errors(random_, small_.span());
    from_signed(small_.span(), b_);
    forward(b_);
    subtract_product(a_, secret_, b_);
    pack_polynomial(b_, zero_);
}

void KeyOwner::prepare(const Plan& plan) {
    const std::size_t count = std::min(plan.ciphertexts(), polynomials_ahead_max);
    if (blanks_.size() < count) blanks_.resize(count);
    for (; ready_ < count; ++ready_) {
        Polynomial& blank = blanks_[ready_];
        sample_errors(random_, ahead_small_.span());
        from_signed(ahead_small_.span(), blank);
        forward(blank);
        expand_number(zero_seed_, made_ + ready_, ahead_a_);
        subtract_product(ahead_a_, secret_, blank);
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
            forward(b_);
            add(blanks_[at], b_);
        } else {
            sample_errors(random_, small_.span());
            encode(encoder, rests_.span(), small_.span(), b_);
            forward(b_);
            expand_number(zero_seed_, made_ + at, a_);
            subtract_product(a_, secret_, b_);
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
    std::size_t expected = 0;
    for (std::size_t f = 0; f < plan.feature_groups(); ++f)
        for (std::size_t g = 0; g < plan.output_groups(); ++g)
            expected += answer_bytes(plan, plan.wanted(f, g).size());
    if (answers.size() != expected)
        return tl::unexpected(wrong_size("an encrypted answer", answers.size(), expected));
    std::vector<std::uint64_t> opened;
    for (std::size_t f = 0; f < plan.feature_groups(); ++f)
        for (std::size_t g = 0; g < plan.output_groups(); ++g) {
            const std::vector<std::size_t> wanted = plan.wanted(f, g);
            const std::size_t size = answer_bytes(plan, wanted.size());
            opened.resize(wanted.size());
            phases(plan, answers.first(size), wanted, opened);
            if (watch_of_answers != nullptr) watch_of_answers->opened(distances(opened));
            for (std::uint64_t& phase : opened)
                phase = ((phase + half_step) >> answer_extra_bits) & below_t(plan);
            answers = answers.subspan(size);
            for (std::size_t i = 0; i < opened.size(); ++i)
                out[plan.result_of(f, g, i)] = opened[i];
        }
    return out;
}

std::vector<std::int64_t> KeyOwner::phase_errors(const Plan& plan,
                                                 std::span<const std::uint8_t> answer) {
    const std::vector<std::size_t> wanted = plan.wanted(0, 0);
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
    std::vector<std::uint64_t> a(ring_size);
    std::vector<std::uint64_t> b(wanted.size());
    unpack_bits(answer.first(a_bytes), bits, a);
    unpack_bits(answer.subspan(a_bytes), bits, b);
    const Prime& first = primes()[0];
    const Prime& second = primes()[1];
    open_b_.clear();
    std::array<std::vector<std::uint64_t>, 2> found;
    for (std::size_t i = 0; i < 2; ++i) {
        const Prime& prime = primes()[i];
        const Factor high = prime.factor(prime.power(2, 32));
        std::uint64_t* const residues = open_a_.at(i);
        for (std::size_t j = 0; j < ring_size; ++j) residues[j] = a[j] >> 32;
        scale(prime, residues, high);
        for (std::size_t j = 0; j < ring_size; ++j) residues[j] += a[j] & UINT32_MAX;
        forward(prime, residues);
        multiply_add(prime, residues, secret_.at(i), open_b_.at(i));
        found[i].resize(wanted.size());
        coefficients(plan, prime, open_b_.at(i), prime.size_inverse(), wanted, found[i]);
    }
    const Factor inverse_of_first =
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

Ahead::Ahead()
    : random_(VFLBUS_PLANTED(answer_random_kept) ? Key() : random_key()), small_(ring_size) {}

void Ahead::prepare(const Plan& plan, std::span<const std::int16_t> columns, std::size_t rows,
                    const std::optional<Due>& due) {
    due_.reset();
    const std::size_t answers = std::min(plan.answers(), polynomials_ahead_max);
    if (hides_.size() < answers) {
        hides_.resize(answers);
        used_ = answers;
    }
    for (std::size_t i = 0; i < std::min(used_, answers); ++i) {
        const std::size_t f = i / plan.output_groups();
        draw(hides_[i], plan.wanted(f, i % plan.output_groups()).size());
    }
    used_ = 0;
    const std::size_t factors = plan.feature_groups() * plan.blocks();
    if (factors > polynomials_ahead_max || columns.empty()) return;
    if (factors_.empty() || rows_ != rows || !std::ranges::equal(columns_.span(), columns)) {
        rows_ = rows;
        columns_ = SecretVector<std::int16_t>(columns.size());
        std::ranges::copy(columns, columns_.data());
        factors_.resize(factors);
        for (std::size_t f = 0; f < plan.feature_groups(); ++f)
            for (std::size_t block = 0; block < plan.blocks(); ++block)
                columns_to_polynomial(plan, columns, rows, f, block, small_.span(),
                                      factors_[f * plan.blocks() + block]);
    }
    if (due && answers == plan.answers() && plan.ciphertexts() <= polynomials_ahead_max)
        make_parts(plan, *due);
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
    for (std::size_t f = 0; f < plan.feature_groups(); ++f)
        for (std::size_t g = 0; g < plan.output_groups(); ++g) {
            sum_.clear();
            for (std::size_t block = 0; block < plan.blocks(); ++block)
                multiply_add(a_[block * plan.output_groups() + g],
                             factors_[f * plan.blocks() + block], sum_);
            parts_.push_back(finish(plan, sum_, p1_, hides_[parts_.size()]));
        }
    due_ = due;
}

Ahead::Part Ahead::finish(const Plan& plan, Polynomial& a, const Polynomial& p1, const Hide& with) {
    Part out;
    if (watch_of_answers != nullptr) {
        Polynomial copy;
        std::ranges::copy(a.words(), copy.words().begin());
        inverse(copy, true);
        pack_rounded(plan, copy, out.bare);
    }
    if (!VFLBUS_PLANTED(no_encryption_of_zero)) multiply_add(p1, with.u, a);
    inverse(a, true);
    for (std::size_t i = 0; i < prime_count && !VFLBUS_PLANTED(no_encryption_of_zero); ++i)
        add_signed(primes()[i], with.errors.data(), a.at(i));
    pack_rounded(plan, a, out.bytes);
    return out;
}

std::vector<Ahead::Part> Ahead::take_parts(const Due& due) {
    const bool good = due_ == due && used_ == 0;
    due_.reset();
    return good ? std::exchange(parts_, {}) : std::vector<Part>{};
}

void Ahead::draw(Hide& hide, std::size_t wanted) {
    sample_ternary(random_, small_.span());
    from_signed(small_.span(), hide.u);
    forward(hide.u);
    if (hide.errors.size() == 0) hide.errors = SecretVector<std::int32_t>(ring_size);
    sample_errors(random_, hide.errors.span());
    hide.words = SecretVector<std::uint64_t>(3 * wanted);
    random_.fill(hide.words.span());
}

const Ahead::Hide* Ahead::take() noexcept {
    return used_ < hides_.size() ? &hides_[used_++] : nullptr;
}

bool Ahead::has(std::span<const std::int16_t> columns, std::size_t rows) const noexcept {
    return !factors_.empty() && rows_ == rows && std::ranges::equal(columns_.span(), columns);
}

Answerer::Answerer() : small_(ring_size) {}

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

/// sums_ = ciphertexts times the columns of one group of features, summed over the blocks of rows.
/// `factors`: the columns of the group as polynomials, by block; null: they are made here.
/// `also_a`: the polynomials a as well as the polynomials b.
void Answerer::multiply_group(const Plan& plan, std::span<const std::int16_t> columns,
                              std::size_t rows, std::size_t group, const Polynomial* factors,
                              bool also_a) {
    for (auto& sum : sums_)
        for (Polynomial& part : sum) part.clear();
    for (std::size_t block = 0; block < plan.blocks(); ++block) {
        if (factors == nullptr)
            columns_to_polynomial(plan, columns, rows, group, block, small_.span(), factor_);
        const Polynomial& factor = factors == nullptr ? factor_ : factors[block];
        for (std::size_t g = 0; g < plan.output_groups(); ++g) {
            const auto& [a, b] = ciphertexts_[block * plan.output_groups() + g];
            if (also_a) multiply_add(a, factor, sums_[g][0]);
            multiply_add(b, factor, sums_[g][1]);
        }
    }
}

Result<Answerer::Answer> Answerer::answer(const Plan& plan, std::span<const std::int16_t> columns,
                                          std::size_t rows,
                                          std::span<const std::uint8_t> ciphertexts, Ahead* ahead) {
    VFLBUS_ASSERT(rows <= plan.shape.rows && columns.size() == rows * plan.shape.features,
                  "the plan was made for so many rows and features");
    if (auto parsed = parse(plan, ciphertexts); !parsed)
        return tl::unexpected(std::move(parsed.error()));
    Answer out;
    out.masks = SecretVector<std::uint64_t>(plan.shape.features * plan.shape.outputs);
    sums_.resize(plan.output_groups());
    const bool transformed = ahead != nullptr && ahead->has(columns, rows);
    next_.first = numbers_[0];
    const std::vector<Ahead::Part> parts = transformed && consecutive(numbers_)
                                               ? ahead->take_parts(next_)
                                               : std::vector<Ahead::Part>{};
    if (parts.empty()) expand(plan);
    next_.first += numbers_.size();
    SecretVector<std::uint64_t> masks(ring_size);
    for (std::size_t f = 0; f < plan.feature_groups(); ++f) {
        multiply_group(plan, columns, rows, f,
                       transformed ? &ahead->factors_[f * plan.blocks()] : nullptr, parts.empty());
        for (std::size_t g = 0; g < plan.output_groups(); ++g) {
            const std::vector<std::size_t> wanted = plan.wanted(f, g);
            const auto part = masks.span().first(wanted.size());
            const Ahead::Hide* with = ahead == nullptr ? nullptr : ahead->take();
            if (with == nullptr) {
                own_.draw(hide_, wanted.size());
                with = &hide_;
            }
            hide(plan, sums_[g], wanted, *with,
                 parts.empty() ? nullptr : &parts[f * plan.output_groups() + g], part, out.bytes);
            for (std::size_t i = 0; i < part.size(); ++i)
                out.masks[plan.result_of(f, g, i)] = part[i];
        }
    }
    return out;
}

/// Adds a fresh encryption of zero, masks and flood, and rounds: appends one answer. `part`: its
/// part a' when that was made before.
void Answerer::hide(const Plan& plan, Pair& sum, std::span<const std::size_t> wanted,
                    const Ahead::Hide& with, const Ahead::Part* part,
                    std::span<std::uint64_t> masks, Bytes& out) {
    Ahead::Part made;
    if (part == nullptr) {
        made = Ahead::finish(plan, sum[0], zero_[1], with);
        part = &made;
    }
    out.insert(out.end(), part->bytes.begin(), part->bytes.end());
    if (!VFLBUS_PLANTED(no_encryption_of_zero)) multiply_add(zero_[0], with.u, sum[1]);
    hide_wanted(plan, sum[1], wanted, with.words.span(), masks, out);
    if (watch_of_answers != nullptr) watch_of_answers->hidden(part->bytes, part->bare, masks);
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
        from_signed(small_.span(), u_);
        forward(u_);
        to_montgomery(u_);
        sample_errors(random_, small_.span());
        from_signed(small_.span(), a_);
        forward(a_);
        multiply_add(zero_[1], u_, a_);
        sample_errors(random_, small_.span());
        encode(encoder, rests_.span(), small_.span(), b_);
        forward(b_);
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
