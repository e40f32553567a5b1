// The public key: encryption, sums, and products with columns.

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string>
#include <utility>

#include "base/assert.hpp"
#include "privacy/masks/stream.hpp"
#include "privacy/paillier/keys.hpp"

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

}  // namespace

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
    /// Powers of h that nobody has seen, for one use each: the first `ready` numbers.
    SecretVector<mp_limb_t> pool;
    std::size_t ready = 0;

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
    /// The same for the numbers in slots, of each ciphertext the same count.
    void plain_factors(std::span<const std::int64_t> slots, std::uint32_t slot_bits,
                       std::span<mp_limb_t> out) const;
    /// out = out h^alpha for as many numbers as there are exponents.
    void randomize(std::span<mp_limb_t> out, std::span<const std::uint8_t> alphas) const;
    void randomize_lanes(std::span<mp_limb_t> out, std::span<const std::uint8_t> alphas) const;
    /// out = out h^alpha for a fresh alpha of each number.
    void randomize_fresh(std::span<mp_limb_t> out);
    /// The same, by the powers of the pool as far as they go.
    void blind(std::span<mp_limb_t> out);
    /// a = a b for as many numbers as there are.
    void multiply(std::span<mp_limb_t> a, std::span<const mp_limb_t> b) const;
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

void PublicKey::State::randomize_fresh(std::span<mp_limb_t> out) {
    SecretVector<std::uint8_t> alphas(out.size() / squared.size() * (bits / 16));
    random.fill(alphas.span());
    randomize(out, alphas.span());
}

void PublicKey::State::blind(std::span<mp_limb_t> out) {
    const std::size_t words = squared.size();
    const std::size_t given = std::min(ready, out.size() / words);
    const std::span<mp_limb_t> powers = pool.span().subspan((ready - given) * words, given * words);
    multiply(out.first(powers.size()), powers);
    wipe(powers);
    ready -= given;
    if (powers.size() < out.size()) randomize_fresh(out.subspan(powers.size()));
}

void PublicKey::State::multiply(std::span<mp_limb_t> a, std::span<const mp_limb_t> b) const {
    const std::size_t words = squared.size();
    if (path() == Path::gmp) {
        for (std::size_t at = 0; at < a.size(); at += words)
            squared.multiply(a.data() + at, a.data() + at, b.data() + at);
        return;
    }
    const Lanes& of = need_lanes();
    Eight x(of.digits());
    Eight y(of.digits());
    for (std::size_t at = 0; at < a.size(); at += Lanes::count * words) {
        const std::size_t given = std::min(Lanes::count * words, a.size() - at);
        of.load(x.data(), a.subspan(at, given));
        of.load(y.data(), b.subspan(at, given));
        of.multiply_plain(x.data(), x.data(), y.data());
        if (given == Lanes::count * words)
            of.store_eight(x.data(), a.subspan(at, given));
        else
            of.store(x.data(), a.subspan(at, given));
    }
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
    return key_bytes(state_->n, state_->h, state_->bits);
}

std::uint32_t PublicKey::key_bits() const noexcept {
    return state_->bits;
}

void PublicKey::prepare(std::size_t count) {
    State& state = *state_;
    if (count <= state.ready) return;
    const std::size_t had = state.ready * words();
    SecretVector<mp_limb_t> pool(count * words());
    std::ranges::copy(state.pool.span().first(had), pool.data());
    const std::span<mp_limb_t> fresh = pool.span().subspan(had);
    for (std::size_t at = 0; at < fresh.size(); at += words()) fresh[at] = 1;
    state.randomize_fresh(fresh);
    state.pool = std::move(pool);
    state.ready = count;
}

std::size_t PublicKey::prepared() const noexcept {
    return state_->ready;
}

void PublicKey::State::plain_factors(std::span<const std::int64_t> slots, std::uint32_t slot_bits,
                                     std::span<mp_limb_t> out) const {
    const std::size_t words = squared.size();
    const std::size_t count = out.size() / words;
    if (count == 0) return;
    const std::size_t each = slots.size() / count;
    VFLBUS_ASSERT(each <= slots_of(bits, slot_bits) && each * count == slots.size() &&
                      out.size() == count * words,
                  "a plaintext has so many slots");
    Integer m;
    for (std::size_t i = 0; i < count; ++i) {
        join_slots(m, slots.subspan(i * each, each), slot_bits);
        plain_factor(m, &out[i * words]);
    }
}

void PublicKey::encrypt(std::span<const std::int64_t> slots, std::uint32_t slot_bits,
                        std::span<std::uint64_t> out) {
    state_->plain_factors(slots, slot_bits, out);
    state_->blind(out);
}

void PublicKey::encrypt(std::span<const std::int64_t> slots, std::uint32_t slot_bits,
                        std::span<const std::uint8_t> alphas, std::span<std::uint64_t> out) const {
    state_->plain_factors(slots, slot_bits, out);
    state_->randomize(out, alphas);
}

Result<> PublicKey::check(std::span<const std::uint64_t> ciphertexts) const {
    return check_ciphertexts(ciphertexts, state_->n, state_->squared);
}

void PublicKey::add(std::span<std::uint64_t> sum, std::span<const std::uint64_t> other) const {
    VFLBUS_ASSERT(sum.size() == other.size() && sum.size() % words() == 0,
                  "as many ciphertexts are added as there are");
    state_->multiply(sum, other);
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
    Number fresh(words());
    state_->plain_factor(m, fresh.data());
    state_->blind(fresh);
    state_->squared.multiply(ciphertext.data(), ciphertext.data(), fresh.data());
}

}  // namespace vflbus::privacy::paillier
