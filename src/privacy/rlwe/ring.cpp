#include "privacy/rlwe/ring.hpp"

#include <algorithm>
#include <bit>
#include <mutex>
#include <utility>

#include "base/assert.hpp"

namespace vflbus::privacy::rlwe {
namespace {

std::size_t reversed(std::size_t value, std::size_t bits) {
    std::size_t out = 0;
    for (std::size_t i = 0; i < bits; ++i) out |= ((value >> i) & 1) << (bits - 1 - i);
    return out;
}

std::uint64_t power_modulo(std::uint64_t base, std::uint64_t exponent, std::uint64_t p) {
    std::uint64_t out = 1;
    for (base %= p; exponent != 0; exponent >>= 1) {
        if ((exponent & 1) != 0) out = static_cast<std::uint64_t>(Wide{out} * base % p);
        base = static_cast<std::uint64_t>(Wide{base} * base % p);
    }
    return out;
}

/// Miller and Rabin with the bases that decide it for all numbers of 64 bits.
bool is_prime(std::uint64_t n) {
    std::uint64_t odd = n - 1;
    int twos = 0;
    for (; (odd & 1) == 0; odd >>= 1) ++twos;
    for (const std::uint64_t base : {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37}) {
        std::uint64_t x = power_modulo(base, odd, n);
        if (x == 1 || x == n - 1) continue;
        bool composite = true;
        for (int i = 1; i < twos && composite; ++i) {
            x = static_cast<std::uint64_t>(Wide{x} * x % n);
            composite = x != n - 1;
        }
        if (composite) return false;
    }
    return true;
}

/// The largest prime below `above` that is 1 modulo 2 N, as `above` is.
std::uint64_t prime_below(std::uint64_t above) {
    do above -= 2 * ring_size;
    while (!is_prime(above));
    return above;
}

std::array<Prime, prime_count> find_primes() {
    std::array<std::uint64_t, prime_count> found{};
    std::uint64_t above = (std::uint64_t{1} << prime_bits) + 1;
    for (std::uint64_t& prime : found) above = prime = prime_below(above);
    return {Prime(found[0]), Prime(found[1]), Prime(found[2])};
}

Path chosen = best_path();

const Loops& loops() {
#ifdef VFLBUS_IFMA
    if (chosen == Path::ifma) return ifma_loops;
#endif
    return portable_loops;
}

}  // namespace

// -- primes -----------------------------------------------------------------------------

Prime::Prime(std::uint64_t p) : p_(p), roots_(ring_size), inverse_roots_(ring_size) {
    inverse_word_ = 1;
    for (int i = 0; i < 6; ++i) inverse_word_ *= 2 - p * inverse_word_;  // Newton, 64 bits
    inverse_word_ &= (std::uint64_t{1} << 52) - 1;
    // x^((p-1)/2N) is a 2N-th root of 1; it is a primitive one when its N-th power is -1
    std::uint64_t root = 0;
    for (std::uint64_t x = 2; root == 0; ++x) {
        const std::uint64_t candidate = power(x, (p - 1) / (2 * ring_size));
        if (power(candidate, ring_size) == p - 1) root = candidate;
    }
    const std::uint64_t inverse_root = inverse_of(root);
    std::uint64_t forth = 1;
    std::uint64_t back = 1;
    for (std::size_t i = 0; i < ring_size; ++i) {
        roots_[reversed(i, ring_log_size)] = factor(forth);
        inverse_roots_[reversed(i, ring_log_size)] = factor(back);
        forth = multiply(forth, root);
        back = multiply(back, inverse_root);
    }
    fill_last(roots_, last_[0], last_[1]);
    fill_last(inverse_roots_, last_[2], last_[3]);
    const auto word = static_cast<std::uint64_t>((Wide{1} << 52) % p);
    montgomery_factor_ = factor(word);
    upper_half_ = factor((std::uint64_t{1} << 32) % p);
    const std::uint64_t size_inverse = inverse_of(ring_size);
    size_inverse_ = factor(size_inverse);
    product_inverse_ = factor(multiply(size_inverse, word));
}

void Prime::fill_last(const std::vector<Factor>& roots, std::vector<std::uint64_t>& values,
                      std::vector<std::uint64_t>& ratios) {
    const auto add = [&](const Factor& factor) {
        values.push_back(factor.value);
        ratios.push_back(factor.ratio);
    };
    for (std::size_t group = 0; group < ring_size / 64; ++group)
        for (std::size_t level = 1; level <= 4; level *= 2)  // blocks of eight, four, two
            for (std::size_t part = 0; part < level; ++part)
                for (std::size_t lane = 0; lane < 8; ++lane)
                    add(roots[level * ring_size / 8 + (8 * group + lane) * level + part]);
}

std::uint64_t Prime::multiply(std::uint64_t a, std::uint64_t b) const noexcept {
    return static_cast<std::uint64_t>(Wide{a} * b % p_);
}

std::uint64_t Prime::power(std::uint64_t base, std::uint64_t exponent) const noexcept {
    return power_modulo(base, exponent, p_);
}

Factor Prime::factor(std::uint64_t value) const noexcept {
    return {value, static_cast<std::uint64_t>((Wide{value} << 52) / p_)};
}

const std::array<Prime, prime_count>& primes() {
    static const std::array<Prime, prime_count> all = find_primes();
    return all;
}

const Prime& special_prime() {
    static const Prime special(prime_below(primes().back().value()));
    return special;
}

// -- loops ------------------------------------------------------------------------------

Path best_path() noexcept {
#ifdef VFLBUS_IFMA
    if (__builtin_cpu_supports("avx512ifma") && __builtin_cpu_supports("avx512dq"))
        return Path::ifma;
#endif
    return Path::portable;
}
Path path() noexcept {
    return chosen;
}
void use_path(Path path) noexcept {
    chosen = path == Path::ifma ? best_path() : path;
}

void forward(const Prime& prime, std::uint64_t* a) {
    loops().forward(prime, a);
}
void forward_signed(const Prime& prime, const std::int32_t* small, std::uint64_t* a) {
    loops().forward_signed(prime, small, a);
}
void forward_factor(const Prime& prime, const std::int32_t* small, std::uint64_t* a) {
    loops().forward_factor(prime, small, a);
}
void forward_encoded(const Prime& prime, const std::int64_t* x, Factor factor,
                     const std::int32_t* small, std::uint64_t* a) {
    loops().forward_encoded(prime, x, factor, small, a);
}
void forward_wide(const Prime& prime, const std::uint64_t* x, std::uint64_t* a) {
    loops().forward_wide(prime, x, a);
}
void inverse(const Prime& prime, std::uint64_t* a, Factor scale) {
    loops().inverse(prime, a, scale);
}
bool cut_below(const Prime& prime, std::uint64_t mask, std::span<std::uint64_t> numbers) {
    return loops().cut_below(numbers.data(), numbers.size(), mask, prime.value());
}
namespace {
/// [0, 2p) -> [0, p)
std::uint64_t once_less(std::uint64_t x, std::uint64_t p) {
    const std::uint64_t rest = x - p;
    return rest + (p & (0 - (rest >> 63)));
}
/// x factor modulo p, below p; x below 2^52.
std::uint64_t product(std::uint64_t x, const Factor& factor, std::uint64_t p) {
    const auto quotient = static_cast<std::uint64_t>((Wide{x} * factor.ratio) >> 52);
    return once_less(x * factor.value - quotient * p, p);
}
}  // namespace

/// A butterfly of the way back leaves the sum of its two numbers at the lower place. So after k
/// levels each 2^k-th place has the sum of 2^k neighbours, whose order among themselves is of no
/// matter, and the levels that are left have these places alone to look at.
void inverse_every(const Prime& prime, const std::uint64_t* a, std::uint32_t k, Factor scale,
                   std::span<std::uint64_t> out) {
    VFLBUS_ASSERT(k >= every_least && k <= ring_log_size && out.size() == ring_size >> k,
                  "a sum takes whole groups of neighbours");
    const std::size_t count = ring_size >> k;
    const std::uint64_t p = prime.value();
    loops().sum_neighbours(a, std::size_t{1} << k, count, out.data());
    for (std::uint64_t& sum : out)  // of up to 2^13 numbers below 2^47
        sum = once_less(product(sum >> 32, prime.upper_half(), p) + (sum & UINT32_MAX), p);
    for (std::size_t blocks = count / 2, half = 1; blocks > 0; blocks /= 2, half *= 2)
        for (std::size_t i = 0; i < blocks; ++i) {
            const Factor& root = prime.inverse_roots()[blocks + i];
            for (std::size_t j = 2 * half * i; j < 2 * half * i + half; ++j) {
                const std::uint64_t x = out[j];
                const std::uint64_t y = out[j + half];
                out[j] = once_less(x + y, p);
                out[j + half] = product(x + p - y, root, p);
            }
        }
    for (std::size_t i = 0; i < count; ++i) out[i] = product(out[i], scale, p);
}

void multiply_add(const Prime& prime, const std::uint64_t* x, const std::uint64_t* y,
                  std::uint64_t* sum) {
    loops().multiply_add(prime, x, y, sum);
}
void multiply_subtract(const Prime& prime, const std::uint64_t* x, const std::uint64_t* y,
                       std::uint64_t* sum) {
    loops().multiply_subtract(prime, x, y, sum);
}
void count_coins(std::span<const std::uint64_t> words, std::uint32_t coins,
                 std::span<std::int32_t> out) {
    VFLBUS_ASSERT(words.size() == out.size() && coins <= 21, "there is a word for each number");
    const std::uint64_t low = (std::uint64_t{1} << coins) - 1;
    loops().count_coins(words.data(), words.size(), low | low << 32, out.data());
}
namespace {
/// Polynomials begin at the same place of a page, so that the numbers of one place in each of them
/// compete for the same lines of the cache, of which there are 8 to 12.
constexpr std::size_t streams_max = 27;
}  // namespace
void dot(const Prime& prime, std::span<const std::uint64_t* const> x,
         std::span<const std::uint64_t* const> y, std::uint64_t* sum, bool added) {
    VFLBUS_ASSERT(x.size() == y.size(), "each polynomial has its factor");
    if (x.empty() && !added) wipe(sum, ring_size * sizeof *sum);
    for (std::size_t first = 0; first < x.size(); first += streams_max / 2)
        loops().dot(prime, std::min(streams_max / 2, x.size() - first), x.data() + first,
                    y.data() + first, sum, added || first > 0);
}
void dot(const Prime& prime, std::array<std::span<const std::uint64_t* const>, 2> x,
         std::span<const std::uint64_t* const> y, std::array<std::uint64_t*, 2> sums, bool added) {
    VFLBUS_ASSERT(x[0].size() == y.size() && x[1].size() == y.size(),
                  "each polynomial has its factor");
    VFLBUS_ASSERT(!y.empty(), "a sum of nothing is not asked for");
    for (std::size_t first = 0; first < y.size(); first += streams_max / 3)
        loops().dot_pair(prime, std::min(streams_max / 3, y.size() - first), x[0].data() + first,
                         x[1].data() + first, y.data() + first, sums[0], sums[1],
                         added || first > 0);
}
void reverse_signed(std::span<const std::int16_t> from, std::int32_t sign, std::int32_t* last) {
    loops().reverse_signed(from.data(), from.size(), sign, last);
}
void combine_signed(const std::uint32_t* coefficients, std::size_t shift, std::int32_t* x,
                    std::int32_t* y, std::int32_t* scratch) {
    loops().combine_signed(coefficients, shift, x, y, scratch);
}
void scale(const Prime& prime, std::uint64_t* a, Factor factor) {
    loops().scale(prime, a, factor);
}

void round_fractions(const Rounding& how, const std::uint64_t* a, const std::int32_t* small,
                     std::uint64_t* out) {
    loops().round(how, a, small, out);
}
void add(const Prime& prime, const std::uint64_t* x, std::uint64_t* sum) {
    loops().add(prime, x, sum);
}
void add_difference(const Prime& prime, const std::uint64_t* x, const std::uint64_t* y,
                    Factor factor, std::uint64_t* sum) {
    loops().add_difference(prime, x, y, factor, sum);
}
void add_and_subtract(const Prime& prime, const std::uint64_t* m, std::uint64_t* x,
                      std::uint64_t* y) {
    loops().add_and_subtract(prime, m, x, y);
}
void lift(const Prime& from, const Prime& to, const std::uint64_t* a, std::uint64_t* out) {
    loops().lift(from, to, a, out);
}
void permute(const std::uint32_t* places, const std::uint64_t* in, std::uint64_t* out) {
    loops().permute(places, in, out);
}

std::size_t pack_eights(std::span<const std::uint64_t> values, std::uint32_t width,
                        std::uint8_t* out) {
    return loops().pack(values.data(), values.size(), width, out);
}
std::size_t unpack_eights(std::span<const std::uint8_t> packed, std::uint32_t width,
                          std::span<std::uint64_t> out) {
    return loops().unpack(packed.data(), out.size(), width, out.data());
}

// -- polynomials ------------------------------------------------------------------------

void forward(Polynomial& a) {
    for (std::size_t i = 0; i < prime_count; ++i) forward(primes()[i], a.at(i));
}
void forward(std::span<const std::int32_t> coefficients, Polynomial& out) {
    VFLBUS_ASSERT(coefficients.size() == ring_size, "a polynomial has N coefficients");
    for (std::size_t i = 0; i < prime_count; ++i)
        forward_signed(primes()[i], coefficients.data(), out.at(i));
}
void inverse(Polynomial& a, bool products) {
    for (std::size_t i = 0; i < prime_count; ++i) {
        const Prime& prime = primes()[i];
        inverse(prime, a.at(i), products ? prime.size_inverse_of_products() : prime.size_inverse());
    }
}
void multiply_add(const Polynomial& x, const Polynomial& y, Polynomial& sum) {
    for (std::size_t i = 0; i < prime_count; ++i)
        multiply_add(primes()[i], x.at(i), y.at(i), sum.at(i));
}
void multiply_subtract(const Polynomial& x, const Polynomial& y, Polynomial& sum) {
    for (std::size_t i = 0; i < prime_count; ++i)
        multiply_subtract(primes()[i], x.at(i), y.at(i), sum.at(i));
}
void to_montgomery(Polynomial& a) {
    for (std::size_t i = 0; i < prime_count; ++i)
        scale(primes()[i], a.at(i), primes()[i].montgomery());
}

// -- automorphisms ----------------------------------------------------------------------

namespace {

/// The transform's values are those at odd powers of a root of 1: which power each place has. It is
/// read off the transform of X itself.
std::vector<std::uint32_t> find_exponents() {
    const Prime& prime = primes()[0];
    const std::uint64_t root = prime.roots()[ring_size / 2].value;  // of place 1, reversed
    std::vector<std::pair<std::uint64_t, std::uint32_t>> powers;
    std::uint64_t power = 1;
    for (std::uint32_t e = 0; e < 2 * ring_size; ++e, power = prime.multiply(power, root))
        powers.emplace_back(power, e);
    std::ranges::sort(powers);
    std::vector<std::uint64_t> x(ring_size);
    x[1] = 1;
    forward(prime, x.data());
    std::vector<std::uint32_t> out;
    for (const std::uint64_t value : x)
        out.push_back(std::ranges::lower_bound(powers, std::pair{value, 0U})->second);
    return out;
}

Automorphism make_automorphism(std::size_t step) {
    static const std::vector<std::uint32_t> exponents = find_exponents();
    const std::size_t element = 1 + 2 * ring_size / step;
    std::vector<std::uint32_t> place_of(2 * ring_size);
    for (std::uint32_t i = 0; i < ring_size; ++i) place_of[exponents[i]] = i;
    Automorphism out;
    out.places.resize(ring_size);
    out.coefficients.resize(ring_size);
    for (std::size_t i = 0; i < ring_size; ++i) {
        out.places[i] = place_of[exponents[i] * element % (2 * ring_size)];
        const std::size_t to = i * element % (2 * ring_size);
        const auto from = static_cast<std::uint32_t>(i);
        out.coefficients[to % ring_size] = to < ring_size ? from : from | (std::uint32_t{1} << 31);
    }
    for (std::size_t p = 0; p <= prime_count; ++p) {
        const Prime& prime = p < prime_count ? primes()[p] : special_prime();
        out.half_step[p].resize(ring_size);
        out.half_step[p][step / 2] = prime.montgomery().value;
        forward(prime, out.half_step[p].data());
    }
    return out;
}

}  // namespace

const Automorphism& automorphism_of(std::size_t step) {
    VFLBUS_ASSERT(std::has_single_bit(step) && step >= 2 && step <= ring_size,
                  "automorphisms are made for powers of two");
    static std::array<std::once_flag, ring_log_size + 1> made;
    static std::array<Automorphism, ring_log_size + 1> all;
    const auto at = static_cast<std::size_t>(std::countr_zero(step));
    std::call_once(made[at], [&] { all[at] = make_automorphism(step); });
    return all[at];
}

}  // namespace vflbus::privacy::rlwe
