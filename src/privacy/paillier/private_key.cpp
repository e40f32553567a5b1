// The private key: how it is made, and decryption.

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/assert.hpp"
#include "privacy/masks/stream.hpp"
#include "privacy/paillier/keys.hpp"

namespace vflbus::privacy::paillier {
namespace {

/// A random prime of so many bits: 3 modulo 4, its two highest bits set.
void draw_prime(Integer& prime, std::uint32_t bits, AesStream& random) {
    SecretVector<std::uint64_t> words(bits / 64);
    do {
        random.fill(words.span());
        words[words.size() - 1] |= std::uint64_t{3} << 62;
        words[0] |= 3;
        set_words(prime, words.span());
    } while (mpz_probab_prime_p(prime, 64) == 0);
}

}  // namespace

struct PrivateKey::State {
    Integer n;
    Integer h;
    Integer p;
    Integer q;
    Integer p2;
    Integer q2;
    Integer p_less;
    Integer q_less;
    Integer p_factor;  ///< (-q)^-1 modulo p
    Integer q_factor;
    Integer p_inverse;  ///< of p modulo q
    std::uint32_t bits = 0;
    Modulus squared;

    void finish(const Integer& x);
    /// One of the primes, by which a plaintext is found modulo it.
    struct Half {
        const Integer& prime;
        const Integer& square;
        const Integer& less;
        const Integer& factor;
        std::optional<Lanes>& lanes;
    };
    mutable std::optional<Lanes> p_lanes;
    mutable std::optional<Lanes> q_lanes;
    [[nodiscard]] Half of_p() const { return {p, p2, p_less, p_factor, p_lanes}; }
    [[nodiscard]] Half of_q() const { return {q, q2, q_less, q_factor, q_lanes}; }
    /// c^(prime - 1) modulo the prime's square, of `given` ciphertexts.
    static void powers(const Half& half, std::span<const std::uint64_t> ciphertexts,
                       std::size_t given, std::array<Integer, Lanes::count>& out);
    static void powers_lanes(const Half& half, std::size_t given,
                             std::array<Integer, Lanes::count>& numbers);
    /// From the power: the plaintext modulo the prime.
    static void finish_half(const Half& half, Integer& power);
};

/// What follows from p and q; h of x.
void PrivateKey::State::finish(const Integer& x) {
    mpz_mul(n, p, q);
    bits = static_cast<std::uint32_t>(mpz_sizeinbase(n, 2));
    Integer n2;
    mpz_mul(n2, n, n);
    squared.set(n2);
    mpz_mul(p2, p, p);
    mpz_mul(q2, q, q);
    mpz_sub_ui(p_less, p, 1);
    mpz_sub_ui(q_less, q, 1);
    mpz_neg(p_factor, q);
    mpz_neg(q_factor, p);
    const bool possible = mpz_invert(p_factor, p_factor, p) != 0 &&
                          mpz_invert(q_factor, q_factor, q) != 0 &&
                          mpz_invert(p_inverse, p, q) != 0;
    VFLBUS_ASSERT(possible, "two primes differ");
    Integer base;
    mpz_mul(base, x, x);
    mpz_neg(base, base);
    mpz_mod(base, base, n);
    mpz_powm(h, base, n, n2);
}

void PrivateKey::State::powers(const Half& half, std::span<const std::uint64_t> ciphertexts,
                               std::size_t given, std::array<Integer, Lanes::count>& out) {
    const std::size_t words = ciphertexts.size() / given;
    for (std::size_t i = 0; i < given; ++i) {
        set_words(out[i], ciphertexts.subspan(i * words, words));
        mpz_tdiv_r(out[i], out[i], half.square);
    }
    // of a single number most lanes would be idle
    if (path() == Path::ifma && given > 1) return powers_lanes(half, given, out);
    for (std::size_t i = 0; i < given; ++i) mpz_powm_sec(out[i], out[i], half.less, half.square);
}

/// Windows of five bits of the exponent, whose table is read as a whole each time.
void PrivateKey::State::powers_lanes(const Half& half, std::size_t given,
                                     std::array<Integer, Lanes::count>& numbers) {
    constexpr std::size_t window = 5;
    constexpr std::size_t entries = std::size_t{1} << window;
    if (!half.lanes) half.lanes.emplace(lanes_of(half.square));
    const Lanes& of = *half.lanes;
    SecretVector<std::uint64_t> words(given * of.words());
    for (std::size_t i = 0; i < given; ++i)
        get_words(numbers[i], words.span().subspan(i * of.words(), of.words()));
    Eight table(entries * of.digits());
    const auto entry = [&](std::size_t i) { return table.data() + i * of.size(); };
    of.spread(entry(0), of.one());
    of.load(entry(1), words.span());
    of.to_montgomery(entry(1));
    for (std::size_t i = 2; i < entries; ++i) of.multiply(entry(i), entry(i - 1), entry(1));
    Eight power(of.digits());
    Eight factor(of.digits());
    of.spread(power.data(), of.one());
    const std::size_t bits_of_exponent = mpz_sizeinbase(half.prime, 2);
    for (std::size_t w = (bits_of_exponent + window - 1) / window; w-- > 0;) {
        for (std::size_t i = 0; i < window; ++i) of.square(power.data(), power.data());
        std::uint64_t digit = 0;
        for (std::size_t i = window; i-- > 0;)
            digit = 2 * digit + static_cast<std::uint64_t>(mpz_tstbit(half.less, w * window + i));
        of.pick(factor.data(), table.data(), entries, digit);
        of.multiply(power.data(), power.data(), factor.data());
    }
    of.from_montgomery(power.data());
    of.store(power.data(), words.span());
    for (std::size_t i = 0; i < given; ++i)
        set_words(numbers[i], words.span().subspan(i * of.words(), of.words()));
    wipe(std::span(table.data(), entries * of.size()));
    wipe(std::span(power.data(), of.size()));
}

/// (power - 1) / prime, times a constant.
void PrivateKey::State::finish_half(const Half& half, Integer& power) {
    mpz_sub_ui(power, power, 1);
    mpz_divexact(power, power, half.prime);
    mpz_mul(power, power, half.factor);
    mpz_tdiv_r(power, power, half.prime);
}

SecretVector<std::uint64_t> PrivateKey::decrypt(std::span<const std::uint64_t> ciphertexts) const {
    const State& key = *state_;
    const std::size_t words = key.squared.size();
    VFLBUS_ASSERT(ciphertexts.size() % words == 0, "a ciphertext has its words");
    const std::size_t count = ciphertexts.size() / words;
    SecretVector<std::uint64_t> out(count * (words / 2));
    std::array<Integer, Lanes::count> by_p;
    std::array<Integer, Lanes::count> by_q;
    for (std::size_t first = 0; first < count; first += Lanes::count) {
        const std::size_t given = std::min(Lanes::count, count - first);
        const auto some = ciphertexts.subspan(first * words, given * words);
        State::powers(key.of_p(), some, given, by_p);
        State::powers(key.of_q(), some, given, by_q);
        for (std::size_t i = 0; i < given; ++i) {
            State::finish_half(key.of_p(), by_p[i]);
            State::finish_half(key.of_q(), by_q[i]);
            Integer& m = by_q[i];
            mpz_sub(m, m, by_p[i]);
            mpz_mul(m, m, key.p_inverse);
            mpz_mod(m, m, key.q);
            mpz_mul(m, m, key.p);
            mpz_add(m, m, by_p[i]);
            get_words(m, out.span().subspan((first + i) * (words / 2), words / 2));
        }
    }
    return out;
}

PrivateKey::PrivateKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

PrivateKey PrivateKey::generate(std::uint32_t key_bits, Key random) {
    VFLBUS_ASSERT(key_bits >= testing_key_bits_min && key_bits % 128 == 0,
                  "primes fill their words");
    auto state = std::make_unique<State>();
    AesStream stream(random);
    Integer common;
    do {
        draw_prime(state->p, key_bits / 2, stream);
        draw_prime(state->q, key_bits / 2, stream);
        mpz_sub_ui(state->p_less, state->p, 1);
        mpz_sub_ui(state->q_less, state->q, 1);
        mpz_gcd(common, state->p_less, state->q_less);
    } while (compare(common, 2) != 0);
    SecretVector<std::uint64_t> words(key_bits / 64);
    stream.fill(words.span());
    Integer x;
    set_words(x, words.span());
    state->finish(x);
    return PrivateKey(std::move(state));
}

PrivateKey PrivateKey::of(const char* p, const char* q, const char* x) {
    auto state = std::make_unique<State>();
    Integer base;
    const bool read = mpz_set_str(state->p, p, 16) == 0 && mpz_set_str(state->q, q, 16) == 0 &&
                      mpz_set_str(base, x, 16) == 0;
    VFLBUS_ASSERT(read, "hexadecimal numbers");
    state->finish(base);
    return PrivateKey(std::move(state));
}

Bytes PrivateKey::public_bytes() const {
    return key_bytes(state_->n, state_->h, state_->bits);
}

std::uint32_t PrivateKey::key_bits() const noexcept {
    return state_->bits;
}

void PrivateKey::read_signed(std::span<const std::uint64_t> plaintext, std::uint32_t slot_bits,
                             std::span<std::int64_t> out) const {
    Integer m;
    Integer slot;
    Integer half;
    set_words(m, plaintext);
    mpz_tdiv_q_2exp(half, state_->n, 1);
    if (mpz_cmp(m, half) > 0) mpz_sub(m, m, state_->n);
    mpz_set_ui(half, 0);
    mpz_setbit(half, slot_bits - 1);
    for (std::int64_t& value : out) {
        mpz_fdiv_r_2exp(slot, m, slot_bits);
        const bool negative = mpz_cmp(slot, half) >= 0;
        mpz_fdiv_q_2exp(m, m, slot_bits);
        if (negative) mpz_add_ui(m, m, 1);
        value = static_cast<std::int64_t>(low_word(slot));
        if (!negative) continue;
        Integer whole;
        mpz_setbit(whole, slot_bits);
        mpz_sub(slot, whole, slot);
        value = static_cast<std::int64_t>(0 - low_word(slot));
    }
}

Result<> PrivateKey::check(std::span<const std::uint64_t> ciphertexts) const {
    return check_ciphertexts(ciphertexts, state_->n, state_->squared);
}

}  // namespace vflbus::privacy::paillier
