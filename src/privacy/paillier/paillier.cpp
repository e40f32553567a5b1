#include "privacy/paillier/paillier.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string>
#include <utility>

#include "base/assert.hpp"
#include "privacy/masks/stream.hpp"
#include "privacy/paillier/integer.hpp"
#include "privacy/paillier/lanes.hpp"

namespace vflbus::privacy::paillier {
namespace {

/// Windows of the fixed base: so many bits of alpha are one factor.
constexpr std::size_t window_bits = 8;
constexpr std::size_t window_size = std::size_t{1} << window_bits;

/// Columns have 15 bits and a sign; with 2^15 added they are below 2^16.
constexpr std::uint32_t offset_bits = 15;
constexpr std::uint32_t exponent_bits = 16;

/// Bits of a digit of the columns' numbers: with ceil(16 / w) digits, `rows` factors and 2^(w + 1)
/// for the sums over the digits each.
std::uint32_t digit_bits(std::size_t rows) {
    std::uint32_t best = 1;
    std::size_t least = SIZE_MAX;
    for (std::uint32_t w = 1; w <= 10; ++w) {
        const std::size_t digits = (exponent_bits + w - 1) / w;
        const std::size_t cost = digits * (rows + (std::size_t{2} << w));
        if (cost < least) {
            least = cost;
            best = w;
        }
    }
    return best;
}

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

/// Lanes modulo a number that fills its words.
Lanes lanes_of(const Integer& modulus) {
    const std::size_t words = mpz_size(modulus);
    Integer square;
    mpz_setbit(square, 2 * 52 * Lanes::digits_for(words));
    mpz_mod(square, square, modulus);
    Number m(words);
    Number s(words);
    get_words(modulus, m);
    get_words(square, s);
    return {m, s};
}

/// m = sum of slots 2^(j slot_bits).
void join_slots(Integer& m, std::span<const std::int64_t> slots, std::uint32_t slot_bits) {
    mpz_set_ui(m, 0);
    for (std::size_t j = slots.size(); j-- > 0;) {
        mpz_mul_2exp(m, m, slot_bits);
        if (slots[j] < 0)
            mpz_sub_ui(m, m, 0 - static_cast<std::uint64_t>(slots[j]));
        else
            mpz_add_ui(m, m, static_cast<std::uint64_t>(slots[j]));
    }
}

std::uint64_t low_word(const Integer& value) {
    return mpz_size(value) == 0 ? 0 : mpz_getlimbn(value, 0);
}

/// Each in [1, n^2) and without a common divisor with n.
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

}  // namespace

namespace {
Path path_in_use = best_path();
}  // namespace

Path best_path() noexcept {
    return Lanes::possible() ? Path::ifma : Path::gmp;
}
Path path() noexcept {
    return path_in_use;
}
void use_path(Path path) noexcept {
    VFLBUS_ASSERT(path == Path::gmp || Lanes::possible(), "the processor has this path");
    path_in_use = path;
}

// -- the public key -------------------------------------------------------------------------

struct PublicKey::State {
    explicit State(Key random_of) : random(random_of) {}

    Integer n;
    Integer n2;
    Integer h;
    std::uint32_t bits = 0;
    mutable Modulus squared;
    /// Powers of h: entry `window * 2^8 + digit` is h^(digit 2^(8 window)). Made when the path that
    /// needs it first encrypts; of the lanes as digits in Montgomery's form.
    mutable std::vector<mp_limb_t> table;
    mutable std::vector<std::uint64_t> lane_table;
    mutable std::optional<Lanes> lanes;
    AesStream random;

    [[nodiscard]] std::size_t windows() const noexcept { return bits / 2 / window_bits; }
    [[nodiscard]] const mp_limb_t* power(std::size_t window, std::size_t digit) const {
        return table.data() + (window * window_size + digit) * squared.size();
    }
    void make_table() const;
    const Lanes& need_lanes() const {
        if (!lanes) lanes.emplace(lanes_of(n2));
        return *lanes;
    }
    void make_lane_table() const;
    /// 1 + m n, modulo n^2.
    void plain_factor(const Integer& m, mp_limb_t* out) const;
    /// out = out h^alpha for as many numbers as there are exponents.
    void randomize(std::span<mp_limb_t> out, std::span<const std::uint8_t> alphas) const;
    void randomize_lanes(std::span<mp_limb_t> out, std::span<const std::uint8_t> alphas) const;
    void one_column(std::span<const std::int16_t> column, const mp_limb_t* ciphertexts,
                    std::uint32_t digit, std::vector<mp_limb_t>& buckets, mp_limb_t* out) const;
    void product(std::span<const std::int16_t> columns, std::size_t features, std::size_t rows,
                 const mp_limb_t* ciphertexts, mp_limb_t* out) const;
    void product_lanes(std::span<const std::int16_t> columns, std::size_t features,
                       std::size_t rows, const mp_limb_t* ciphertexts, mp_limb_t* out) const;
    [[nodiscard]] Number product_of_all(const mp_limb_t* ciphertexts, std::size_t count) const;
    /// (prod of c_i)^(-2^15), which takes the offset of all columns off again.
    [[nodiscard]] Number correction(const mp_limb_t* ciphertexts, std::size_t rows) const;
};

void PublicKey::State::make_table() const {
    if (!table.empty()) return;
    const std::size_t words = squared.size();
    table.assign(windows() * window_size * words, 0);
    Number base(words);
    get_words(h, base);
    for (std::size_t w = 0; w < windows(); ++w) {
        mp_limb_t* entry = table.data() + w * window_size * words;
        entry[0] = 1;
        for (std::size_t digit = 1; digit < window_size; ++digit)
            squared.multiply(entry + digit * words, entry + (digit - 1) * words, base.data());
        squared.multiply(base.data(), entry + (window_size - 1) * words, base.data());
    }
}

/// Eight windows at once: the base of each is the one before to the power of 2^8.
void PublicKey::State::make_lane_table() const {
    if (!lane_table.empty()) return;
    const Lanes& of = need_lanes();
    const std::size_t words = squared.size();
    lane_table.assign(windows() * window_size * of.digits(), 0);
    Number base(words);
    get_words(h, base);
    Eight bases(of.digits());
    Eight power_of(of.digits());
    for (std::size_t first = 0; first < windows(); first += Lanes::count) {
        Number eight(Lanes::count * words);
        for (std::size_t lane = 0; lane < Lanes::count; ++lane) {
            std::ranges::copy(base, eight.begin() + static_cast<std::ptrdiff_t>(lane * words));
            for (std::size_t i = 0; i < window_bits; ++i)
                squared.multiply(base.data(), base.data(), base.data());
        }
        of.load(bases.data(), eight);
        of.to_montgomery(bases.data());
        of.spread(power_of.data(), of.one());
        for (std::size_t digit = 0; digit < window_size; ++digit) {
            for (std::size_t lane = 0; lane < Lanes::count && first + lane < windows(); ++lane)
                of.digits_of(
                    power_of.data(), lane,
                    lane_table.data() + ((first + lane) * window_size + digit) * of.digits());
            of.multiply(power_of.data(), power_of.data(), bases.data());
        }
    }
}

void PublicKey::State::plain_factor(const Integer& m, mp_limb_t* out) const {
    Integer plain;
    mpz_mul(plain, m, n);
    mpz_add_ui(plain, plain, 1);
    mpz_mod(plain, plain, n2);  // not negative
    get_words(plain, {out, squared.size()});
}

void PublicKey::State::randomize(std::span<mp_limb_t> out,
                                 std::span<const std::uint8_t> alphas) const {
    const std::size_t words = squared.size();
    const std::size_t bytes = bits / 16;
    VFLBUS_ASSERT(alphas.size() * words == out.size() * bytes, "alpha has half the bits of n");
    if (path() == Path::ifma) return randomize_lanes(out, alphas);
    make_table();
    for (std::size_t i = 0; i * words < out.size(); ++i)
        for (std::size_t w = 0; w < windows(); ++w)
            squared.multiply(&out[i * words], &out[i * words], power(w, alphas[i * bytes + w]));
}

void PublicKey::State::randomize_lanes(std::span<mp_limb_t> out,
                                       std::span<const std::uint8_t> alphas) const {
    make_lane_table();
    const Lanes& of = *lanes;
    const std::size_t words = squared.size();
    const std::size_t bytes = bits / 16;
    const std::size_t numbers = out.size() / words;
    Eight product_of(of.digits());
    Eight factor(of.digits());
    std::array<std::uint64_t, Lanes::count> index{};
    for (std::size_t first = 0; first < numbers; first += Lanes::count) {
        const std::size_t given = std::min(Lanes::count, numbers - first);
        const std::span<mp_limb_t> eight = out.subspan(first * words, given * words);
        // a plain number times one in Montgomery's form is plain
        of.load(product_of.data(), eight);
        for (std::size_t w = 0; w < windows(); ++w) {
            for (std::size_t lane = 0; lane < Lanes::count; ++lane)
                index[lane] =
                    w * window_size + alphas[(first + std::min(lane, given - 1)) * bytes + w];
            of.gather(factor.data(), lane_table.data(), index.data());
            of.multiply(product_of.data(), product_of.data(), factor.data());
        }
        of.store(product_of.data(), eight);
    }
    wipe(index.data(), sizeof index);
}

PublicKey::PublicKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
PublicKey::PublicKey(PublicKey&&) noexcept = default;
PublicKey& PublicKey::operator=(PublicKey&&) noexcept = default;
PublicKey::~PublicKey() = default;

Result<PublicKey> PublicKey::parse(std::span<const std::uint8_t> bytes, std::uint32_t key_bits,
                                   Key random) {
    if (bytes.size() != 3 * std::size_t{key_bits} / 8)
        return fail(Errc::malformed_message, "a key of " + std::to_string(bytes.size()) +
                                                 " bytes where " +
                                                 std::to_string(3 * key_bits / 8) + " belong");
    auto state = std::make_unique<State>(std::move(random));
    state->bits = key_bits;
    mpz_import(state->n, key_bits / 8, -1, 1, 0, 0, bytes.data());
    mpz_import(state->h, 2 * std::size_t{key_bits} / 8, -1, 1, 0, 0, bytes.data() + key_bits / 8);
    if (mpz_sizeinbase(state->n, 2) != key_bits || is_even(state->n))
        return fail(Errc::malformed_message, "the modulus of a key is no odd number of " +
                                                 std::to_string(key_bits) + " bits");
    mpz_mul(state->n2, state->n, state->n);
    state->squared.set(state->n2);
    if (state->squared.size() != ciphertext_words(key_bits))
        return fail(Errc::malformed_message, "the modulus of a key is too small");
    Number h(state->squared.size());
    get_words(state->h, h);
    if (compare(state->h, 1) <= 0)
        return fail(Errc::malformed_message, "the base of a key hides nothing");
    if (auto good = check_ciphertexts(h, state->n, state->squared); !good)
        return tl::unexpected(std::move(good.error()));
    return PublicKey(std::move(state));
}

Bytes PublicKey::bytes() const {
    const std::size_t of_n = state_->bits / 8;
    Bytes out(3 * of_n);
    mpz_export(out.data(), nullptr, -1, 1, 0, 0, state_->n);
    mpz_export(out.data() + of_n, nullptr, -1, 1, 0, 0, state_->h);
    return out;
}

std::uint32_t PublicKey::key_bits() const noexcept {
    return state_->bits;
}

void PublicKey::encrypt(std::span<const std::int64_t> slots, std::uint32_t slot_bits,
                        std::span<std::uint64_t> out) {
    SecretVector<std::uint8_t> alphas(out.size() / words() * (state_->bits / 16));
    state_->random.fill(alphas.span());
    encrypt(slots, slot_bits, alphas.span(), out);
}

void PublicKey::encrypt(std::span<const std::int64_t> slots, std::uint32_t slot_bits,
                        std::span<const std::uint8_t> alphas, std::span<std::uint64_t> out) const {
    const std::size_t count = out.size() / words();
    if (count == 0) return;
    const std::size_t each = slots.size() / count;
    VFLBUS_ASSERT(each <= slots_of(state_->bits, slot_bits) && each * count == slots.size() &&
                      out.size() == count * words(),
                  "a plaintext has so many slots");
    Integer m;
    for (std::size_t i = 0; i < count; ++i) {
        join_slots(m, slots.subspan(i * each, each), slot_bits);
        state_->plain_factor(m, &out[i * words()]);
    }
    state_->randomize(out, alphas);
}

Result<> PublicKey::check(std::span<const std::uint64_t> ciphertexts) const {
    return check_ciphertexts(ciphertexts, state_->n, state_->squared);
}

void PublicKey::add(std::span<std::uint64_t> sum, std::span<const std::uint64_t> other) const {
    VFLBUS_ASSERT(sum.size() == other.size() && sum.size() % words() == 0,
                  "as many ciphertexts are added as there are");
    const std::size_t each = words();
    if (path() == Path::gmp) {
        for (std::size_t at = 0; at < sum.size(); at += each)
            state_->squared.multiply(sum.data() + at, sum.data() + at, other.data() + at);
        return;
    }
    const Lanes& of = state_->need_lanes();
    Eight a(of.digits());
    Eight b(of.digits());
    for (std::size_t at = 0; at < sum.size(); at += Lanes::count * each) {
        const std::size_t given = std::min(Lanes::count * each, sum.size() - at);
        of.load(a.data(), sum.subspan(at, given));
        of.load(b.data(), other.subspan(at, given));
        of.to_montgomery(a.data());
        of.multiply(a.data(), a.data(), b.data());
        of.store(a.data(), sum.subspan(at, given));
    }
}

/// prod of c_i^(x_i + 2^15): the numbers' digits choose buckets, from the highest digit on, and the
/// buckets' products to the powers of their digits are reached by running products (Pippenger
/// 1976).
void PublicKey::State::one_column(std::span<const std::int16_t> column,
                                  const mp_limb_t* ciphertexts, std::uint32_t digit,
                                  std::vector<mp_limb_t>& buckets, mp_limb_t* out) const {
    const std::size_t words = squared.size();
    const std::size_t count = std::size_t{1} << digit;
    std::vector<bool> used(count);
    Number running(words);
    Number sum(words);
    std::fill_n(out, words, 0);
    out[0] = 1;
    for (std::uint32_t w = (exponent_bits + digit - 1) / digit; w-- > 0;) {
        for (std::uint32_t i = 0; i < digit; ++i) squared.multiply(out, out, out);
        used.assign(count, false);
        for (std::size_t i = 0; i < column.size(); ++i) {
            const auto exponent = static_cast<std::uint32_t>(column[i] + (1 << offset_bits));
            const std::size_t at = (exponent >> (w * digit)) & (count - 1);
            if (at == 0) continue;
            mp_limb_t* const bucket = buckets.data() + at * words;
            if (used[at])
                squared.multiply(bucket, bucket, ciphertexts + i * words);
            else
                std::copy_n(ciphertexts + i * words, words, bucket);
            used[at] = true;
        }
        bool begun = false;
        for (std::size_t at = count; at-- > 1;) {
            const mp_limb_t* const bucket = buckets.data() + at * words;
            if (used[at] && !begun) {
                std::copy_n(bucket, words, running.data());
                sum = running;
                begun = true;
                continue;
            }
            if (!begun) continue;
            if (used[at]) squared.multiply(running.data(), running.data(), bucket);
            squared.multiply(sum.data(), sum.data(), running.data());
        }
        if (begun) squared.multiply(out, out, sum.data());
    }
}

Number PublicKey::State::product_of_all(const mp_limb_t* ciphertexts, std::size_t count) const {
    const std::size_t words = squared.size();
    Number all(words);
    all[0] = 1;
    std::size_t done = 0;
    if (path() == Path::ifma && count >= 4 * Lanes::count) {
        // lane l takes number l of every eight
        const Lanes& of = need_lanes();
        const std::size_t rounds = count / Lanes::count;
        done = rounds * Lanes::count;
        Eight total(of.digits());
        Eight factor(of.digits());
        of.load(total.data(), {ciphertexts, Lanes::count * words});
        for (std::size_t i = 1; i < rounds; ++i) {
            of.load(factor.data(), {ciphertexts + i * Lanes::count * words, Lanes::count * words});
            of.multiply(total.data(), total.data(), factor.data());
        }
        // each of these has divided by R: R^(rounds - 1), in Montgomery's form, takes that back
        Eight power(of.digits());
        of.spread(power.data(), of.one());
        of.spread(factor.data(), of.one());
        of.to_montgomery(factor.data());
        for (std::size_t bit = std::bit_floor(rounds - 1); bit != 0; bit /= 2) {
            of.square(power.data(), power.data());
            if (((rounds - 1) & bit) != 0) of.multiply(power.data(), power.data(), factor.data());
        }
        of.multiply(total.data(), total.data(), power.data());
        Number eight(Lanes::count * words);
        of.store(total.data(), eight);
        for (std::size_t lane = 0; lane < Lanes::count; ++lane)
            squared.multiply(all.data(), all.data(), &eight[lane * words]);
    }
    for (std::size_t i = done; i < count; ++i)
        squared.multiply(all.data(), all.data(), ciphertexts + i * words);
    return all;
}

void PublicKey::sum(std::span<const std::uint64_t> ciphertexts,
                    std::span<std::uint64_t> out) const {
    const Number all = state_->product_of_all(ciphertexts.data(), ciphertexts.size() / words());
    std::ranges::copy(all, out.begin());
}

Number PublicKey::State::correction(const mp_limb_t* ciphertexts, std::size_t rows) const {
    Number product_of = product_of_all(ciphertexts, rows);
    for (std::uint32_t i = 0; i < offset_bits; ++i)
        squared.multiply(product_of.data(), product_of.data(), product_of.data());
    Integer inverse;
    set_words(inverse, product_of);
    const bool possible = mpz_invert(inverse, inverse, n2) != 0;
    VFLBUS_ASSERT(possible, "checked ciphertexts have no divisor in common with n");
    get_words(inverse, product_of);
    return product_of;
}

void PublicKey::State::product(std::span<const std::int16_t> columns, std::size_t features,
                               std::size_t rows, const mp_limb_t* ciphertexts,
                               mp_limb_t* out) const {
    const std::size_t words = squared.size();
    const std::uint32_t digit = digit_bits(rows);
    std::vector<mp_limb_t> buckets((std::size_t{1} << digit) * words);
    for (std::size_t j = 0; j < features; ++j)
        one_column(columns.subspan(j * rows, rows), ciphertexts, digit, buckets, out + j * words);
}

/// The same for eight columns at once: lane l of a bucket is that of column l.
void PublicKey::State::product_lanes(std::span<const std::int16_t> columns, std::size_t features,
                                     std::size_t rows, const mp_limb_t* ciphertexts,
                                     mp_limb_t* out) const {
    const Lanes& of = need_lanes();
    const std::size_t words = squared.size();
    Eight eight(of.digits());
    std::vector<std::uint64_t> factors(rows * of.digits());  // in Montgomery's form
    for (std::size_t first = 0; first < rows; first += Lanes::count) {
        const std::size_t given = std::min(Lanes::count, rows - first);
        of.load(eight.data(), {ciphertexts + first * words, given * words});
        of.to_montgomery(eight.data());
        for (std::size_t lane = 0; lane < given; ++lane)
            of.digits_of(eight.data(), lane, &factors[(first + lane) * of.digits()]);
    }
    const std::uint32_t digit = digit_bits(rows);
    const std::size_t count = std::size_t{1} << digit;
    Eight one(of.digits());
    of.spread(one.data(), of.one());
    Eight buckets(count * of.digits());
    Eight total(of.digits());
    Eight running(of.digits());
    Eight sum(of.digits());
    Eight factor(of.digits());
    const auto set_to_one = [&](std::uint64_t* to) { std::copy_n(one.data(), of.size(), to); };
    std::array<std::uint64_t, Lanes::count> index{};
    for (std::size_t first = 0; first < features; first += Lanes::count) {
        const std::size_t given = std::min(Lanes::count, features - first);
        set_to_one(total.data());
        for (std::uint32_t w = (exponent_bits + digit - 1) / digit; w-- > 0;) {
            for (std::uint32_t i = 0; i < digit; ++i) of.square(total.data(), total.data());
            for (std::size_t at = 0; at < count; ++at) set_to_one(buckets.data() + at * of.size());
            for (std::size_t i = 0; i < rows; ++i) {
                for (std::size_t lane = 0; lane < Lanes::count; ++lane) {
                    const std::size_t j = first + std::min(lane, given - 1);
                    const auto exponent =
                        static_cast<std::uint32_t>(columns[j * rows + i] + (1 << offset_bits));
                    index[lane] = (exponent >> (w * digit)) & (count - 1);
                }
                of.gather_lanes(eight.data(), buckets.data(), index.data());
                of.spread(factor.data(), &factors[i * of.digits()]);
                of.multiply(eight.data(), eight.data(), factor.data());
                of.scatter_lanes(eight.data(), buckets.data(), index.data());
            }
            set_to_one(running.data());
            set_to_one(sum.data());
            for (std::size_t at = count; at-- > 1;) {
                of.multiply(running.data(), running.data(), buckets.data() + at * of.size());
                of.multiply(sum.data(), sum.data(), running.data());
            }
            of.multiply(total.data(), total.data(), sum.data());
        }
        of.from_montgomery(total.data());
        of.store(total.data(), {out + first * words, given * words});
    }
}

void PublicKey::product(std::span<const std::int16_t> columns, std::size_t features,
                        std::size_t rows, std::span<const std::uint64_t> ciphertexts,
                        std::span<std::uint64_t> out) const {
    const std::size_t each = words();
    VFLBUS_ASSERT(columns.size() == rows * features && ciphertexts.size() == rows * each &&
                      out.size() == features * each,
                  "there is a ciphertext for each row, and one for each column comes of it");
    if (features == 0 || rows == 0) return;
    const Number correction = state_->correction(ciphertexts.data(), rows);
    if (path() == Path::ifma)
        state_->product_lanes(columns, features, rows, ciphertexts.data(), out.data());
    else
        state_->product(columns, features, rows, ciphertexts.data(), out.data());
    for (std::size_t j = 0; j < features; ++j)
        state_->squared.multiply(&out[j * each], &out[j * each], correction.data());
}

void PublicKey::append(std::span<std::uint64_t> first, std::span<const std::uint64_t> second,
                       std::uint32_t bits) const {
    Number power(second.begin(), second.end());
    for (std::uint32_t i = 0; i < bits; ++i)
        state_->squared.multiply(power.data(), power.data(), power.data());
    state_->squared.multiply(first.data(), first.data(), power.data());
}

void PublicKey::hide(std::span<std::uint64_t> ciphertext, std::uint32_t slot_bits,
                     std::span<std::uint64_t> masks) {
    VFLBUS_ASSERT(masks.size() <= slots_of(state_->bits, slot_bits) && slot_bits > value_bits + 2,
                  "a plaintext has so many slots, wider than what they hide");
    const std::uint32_t bits = slot_bits - 2;
    SecretVector<std::uint64_t> drawn((bits + 63) / 64);
    Integer mask;
    Integer m;
    Integer least;
    mpz_setbit(least, value_bits);
    for (std::size_t j = masks.size(); j-- > 0;) {
        state_->random.fill(drawn.span());
        set_words(mask, drawn.span());
        mpz_tdiv_r_2exp(mask, mask, bits);
        mpz_add(mask, mask, least);
        masks[j] = low_word(mask);
        mpz_mul_2exp(m, m, slot_bits);
        mpz_add(m, m, mask);
    }
    SecretVector<std::uint8_t> alpha(state_->bits / 16);
    state_->random.fill(alpha.span());
    Number fresh(words());
    state_->plain_factor(m, fresh.data());
    state_->randomize(fresh, alpha.span());
    state_->squared.multiply(ciphertext.data(), ciphertext.data(), fresh.data());
}

// -- the private key ------------------------------------------------------------------------

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
    const std::size_t of_n = state_->bits / 8;
    Bytes out(3 * of_n);
    mpz_export(out.data(), nullptr, -1, 1, 0, 0, state_->n);
    mpz_export(out.data() + of_n, nullptr, -1, 1, 0, 0, state_->h);
    return out;
}

std::uint32_t PrivateKey::key_bits() const noexcept {
    return state_->bits;
}

void read_slots(std::span<const std::uint64_t> plaintext, std::uint32_t slot_bits,
                std::span<std::uint64_t> out) {
    Integer m;
    Integer slot;
    set_words(m, plaintext);
    for (std::uint64_t& value : out) {
        mpz_tdiv_r_2exp(slot, m, slot_bits);
        value = low_word(slot);
        mpz_tdiv_q_2exp(m, m, slot_bits);
    }
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
