// The ring: both paths against products term by term, samplers, packed numbers, plans.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "base/rng.hpp"
#include "catch.hpp"
#include "privacy/rlwe/bits.hpp"
#include "privacy/rlwe/plan.hpp"
#include "privacy/rlwe/ring.hpp"
#include "privacy/rlwe/sampling.hpp"

using namespace vflbus;
using namespace vflbus::privacy;
using namespace vflbus::privacy::rlwe;

namespace {

using Words = std::vector<std::uint64_t>;

/// Both paths where the machine has both.
struct EachPath {
    EachPath() : wanted(GENERATE(Path::portable, Path::ifma)) { use_path(wanted); }
    ~EachPath() { use_path(best_path()); }
    Path wanted;
};

Words random_words(std::uint64_t seed, std::uint64_t below) {
    Rng rng(seed);
    Words out(ring_size);
    for (auto& word : out) word = rng.below(below);
    return out;
}

/// A sparse polynomial times a full one, term by term.
Words slow_product(const Prime& prime, const std::vector<std::size_t>& places, const Words& factors,
                   const Words& full) {
    const std::uint64_t p = prime.value();
    Words out(ring_size, 0);
    for (std::size_t i = 0; i < places.size(); ++i)
        for (std::size_t j = 0; j < ring_size; ++j) {
            const std::uint64_t term = prime.multiply(factors[i], full[j]);
            const std::size_t at = (places[i] + j) % ring_size;
            out[at] = (out[at] + (places[i] + j < ring_size ? term : p - term)) % p;
        }
    return out;
}

Words fast_product(const Prime& prime, Words a, Words b) {
    forward(prime, a.data());
    forward(prime, b.data());
    Words out(ring_size, 0);
    multiply_add(prime, a.data(), b.data(), out.data());
    inverse(prime, out.data(), prime.size_inverse_of_products());
    return out;
}

}  // namespace

TEST_CASE("products in the ring are those of polynomials, on every path") {
    const EachPath each;
    for (const Prime& prime : primes()) {
        std::vector<std::size_t> places{0, 1, 7, 8, 63, 64, 4095, 4096, ring_size - 1};
        Words factors(places.size());
        Rng rng(prime.value());
        for (auto& factor : factors) factor = rng.below(prime.value());
        factors[0] = prime.value() - 1;
        Words full = random_words(3, prime.value());
        full[5] = prime.value() - 1;
        Words sparse(ring_size, 0);
        for (std::size_t i = 0; i < places.size(); ++i) sparse[places[i]] = factors[i];
        CHECK(fast_product(prime, sparse, full) == slow_product(prime, places, factors, full));
    }
}

TEST_CASE("both paths have the same bits, at the bounds of what they take as well") {
    const Prime& prime = primes()[GENERATE(0, 1, 2)];
    const auto fill = GENERATE(0, 1, 2);
    Words a = random_words(11, 2 * prime.value());
    if (fill == 1) std::ranges::fill(a, 2 * prime.value() - 1);
    if (fill == 2) std::ranges::fill(a, 0);
    std::array<Words, 2> transformed{a, a}, sums, back, scaled{a, a};
    for (const std::size_t i : {0, 1}) {
        use_path(i == 0 ? Path::portable : Path::ifma);
        forward(prime, transformed[i].data());
        sums[i].assign(ring_size, prime.value() - 1);
        multiply_add(prime, transformed[i].data(), transformed[i].data(), sums[i].data());
        back[i] = transformed[i];
        inverse(prime, back[i].data(), prime.size_inverse());
        scale(prime, scaled[i].data(), prime.montgomery());
    }
    use_path(best_path());
    CHECK(transformed[0] == transformed[1]);
    CHECK(sums[0] == sums[1]);
    CHECK(back[0] == back[1]);
    CHECK(scaled[0] == scaled[1]);
    for (std::uint64_t& word : a) word %= prime.value();
    CHECK(back[0] == a);
    CHECK(std::ranges::all_of(transformed[0],
                              [&](std::uint64_t word) { return word < prime.value(); }));
}

TEST_CASE("every 2^k-th coefficient is that of the whole transform") {
    const Prime& prime = primes()[GENERATE(0, 1, 2)];
    const Factor scale = GENERATE_REF(prime.size_inverse(), prime.size_inverse_of_products());
    Words a = random_words(21, prime.value());
    if (GENERATE(false, true)) std::ranges::fill(a, prime.value() - 1);
    Words all = a;
    inverse(prime, all.data(), scale);
    for (std::uint32_t k = every_least; k <= ring_log_size; ++k) {
        CAPTURE(k);
        Words some(ring_size >> k);
        inverse_every(prime, a.data(), k, scale, some);
        std::size_t same = 0;
        for (std::size_t i = 0; i < some.size(); ++i) same += some[i] == all[i << k];
        CHECK(same == some.size());
    }
}

TEST_CASE("numbers of 64 bits are transformed as what they are modulo the prime, on every path") {
    const EachPath each;
    const Prime& prime = primes()[GENERATE(0, 1, 2)];
    Rng rng(31);
    Words wide(ring_size);
    for (auto& word : wide) word = rng.next();
    wide[0] = UINT64_MAX;
    wide[1] = prime.value();
    wide[2] = UINT64_MAX << 32;
    wide[3] = UINT32_MAX;
    Words expected = wide;
    for (auto& word : expected) word %= prime.value();
    forward(prime, expected.data());
    Words found(ring_size);
    forward_wide(prime, wide.data(), found.data());
    CHECK(found == expected);
    forward_wide(prime, wide.data(), wide.data());  // in its own place as well
    CHECK(wide == expected);
}

TEST_CASE("numbers are cut to a mask, and one that is not below the prime is seen at any place") {
    const EachPath each;
    const Prime& prime = primes()[1];
    constexpr std::uint64_t mask = (std::uint64_t{1} << prime_bits) - 1;
    Rng rng(32);
    for (const std::size_t count : {1, 7, 8, 9, 512}) {
        Words words(count);
        for (auto& word : words) word = rng.below(prime.value()) | (rng.next() & ~mask);
        Words expected = words;
        for (auto& word : expected) word &= mask;
        CHECK(cut_below(prime, mask, words));
        CHECK(words == expected);
        for (std::size_t at = 0; at < count; ++at)
            for (const std::uint64_t bad : {prime.value(), mask}) {
                Words one = expected;
                one[at] = bad;
                CHECK_FALSE(cut_below(prime, mask, one));
                one[at] = prime.value() - 1;
                CHECK(cut_below(prime, mask, one));
            }
    }
}

TEST_CASE("the ring has the answers of an independent program") {
    std::ifstream file(VFLBUS_RLWE_ANSWERS);
    std::string line;
    std::size_t products = 0;
    // of the program's generator: a number modulo p of one modulo q is only known by its residues,
    // so products are checked for the primes that it names
    while (std::getline(file, line)) {
        std::istringstream words(line);
        std::string what;
        words >> what;
        if (what == "primes")
            for (const Prime& prime : primes()) {
                std::uint64_t p = 0;
                words >> p;
                CHECK(prime.value() == p);
            }
        if (what == "primes") {
            std::uint64_t p = 0;
            words >> p;
            CHECK(special_prime().value() == p);
        }
        if (what != "product") continue;
        ++products;
        std::uint64_t number = 0, at = 0;
        words >> number >> at;
        const auto numbers = [](std::uint64_t seed, std::size_t count) {
            Words out;
            for (std::size_t i = 0; i < count; ++i) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                out.push_back(seed >> 16);  // below q, so the program's "modulo q" changes nothing
            }
            return out;
        };
        std::vector<std::size_t> places;
        for (const std::uint64_t place : numbers(number + 1, 12))
            places.push_back(place % ring_size);
        for (const Prime& prime : primes()) {
            std::uint64_t expected = 0;
            words >> expected;
            Words sparse(ring_size, 0);
            for (std::size_t i = 0; i < places.size(); ++i)
                sparse[places[i]] =
                    (sparse[places[i]] + numbers(number * 100 + 10 + i, 1)[0] % prime.value()) %
                    prime.value();
            Words full = numbers(number + 50, ring_size);
            for (auto& word : full) word %= prime.value();
            CHECK(fast_product(prime, sparse, full)[at] == expected);
        }
    }
    CHECK(products == 32);
}

// -- samplers -----------------------------------------------------------------------------

TEST_CASE("keys are uniform over -1, 0, 1, errors have the stated variance and bound") {
    AesStream stream{Key()};
    std::vector<std::int32_t> values(1 << 18);
    sample_ternary(stream, values);
    std::array<double, 3> counts{};
    for (const std::int32_t value : values) {
        REQUIRE((value >= -1 && value <= 1));
        ++counts[static_cast<std::size_t>(value + 1)];
    }
    const double third = static_cast<double>(values.size()) / 3;
    for (const double count : counts) CHECK(std::abs(count - third) < 6 * std::sqrt(third));

    sample_errors(stream, values);
    double sum = 0, square = 0, next = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        REQUIRE(std::abs(values[i]) <= error_bound);
        sum += values[i];
        square += static_cast<double>(values[i]) * values[i];
        if (i > 0) next += static_cast<double>(values[i]) * values[i - 1];
    }
    const double n = static_cast<double>(values.size());
    CHECK(std::abs(sum / n) < 6 * std::sqrt(10.5 / n));
    CHECK(std::abs(square / n - 10.5) < 6 * 10.5 * std::sqrt(2 / n));
    CHECK(std::abs(next / n) < 6 * 10.5 / std::sqrt(n));
}

TEST_CASE("a public polynomial is a function of its seed and uniform") {
    const Key key = random_key();
    Polynomial a, b, other;
    expand_uniform(key.bytes(), a);
    expand_uniform(key.bytes(), b);
    expand_uniform(Key().bytes(), other);
    CHECK(std::ranges::equal(a.words(), b.words()));
    CHECK(!std::ranges::equal(a.words(), other.words()));
    for (std::size_t prime = 0; prime < prime_count; ++prime) {
        double mean = 0;
        for (std::size_t i = 0; i < ring_size; ++i) {
            REQUIRE(a.at(prime)[i] < primes()[prime].value());
            mean += static_cast<double>(a.at(prime)[i]);
        }
        mean /= static_cast<double>(ring_size) * static_cast<double>(primes()[prime].value());
        CHECK(std::abs(mean - .5) < 6 / std::sqrt(12. * ring_size));
    }
}

TEST_CASE("uniform numbers are those of 48 bits each that are below the prime, in order") {
    const EachPath each;
    const Prime half_go(70368744210433);  // just above 2^46
    const Key key = random_key();
    Words found(ring_size);
    AesStream stream(key);
    sample_uniform(stream, half_go, found.data());
    // portions as they are drawn: up to 512 at a time, and no more than are still wanted
    AesStream again(key);
    Words expected;
    while (expected.size() < ring_size) {
        std::vector<std::uint8_t> drawn(6 *
                                        std::min<std::size_t>(512, ring_size - expected.size()));
        again.fill(std::span<std::uint8_t>(drawn));
        for (std::size_t at = 0; at < drawn.size(); at += 6) {
            std::uint64_t word = 0;
            for (std::size_t i = 0; i < 6; ++i) word |= std::uint64_t{drawn[at + i]} << (8 * i);
            word &= (std::uint64_t{1} << prime_bits) - 1;
            if (word < half_go.value()) expected.push_back(word);
        }
    }
    CHECK(found == expected);
}

// -- packed numbers -------------------------------------------------------------------------

TEST_CASE("numbers of every width are packed without gaps and come back, on every path") {
    const EachPath each;
    for (std::uint32_t width = 1; width <= 64; ++width)
        for (const std::size_t count : {1, 7, 8, 9, 15, 16, 17, 23, 24, 100}) {
            Rng rng(width * 1000 + count);
            Words values(count), back(count);
            for (auto& value : values)
                value = width == 64 ? rng.below(UINT64_MAX) : rng.below(std::uint64_t{1} << width);
            values[0] = width == 64 ? UINT64_MAX : (std::uint64_t{1} << width) - 1;
            std::vector<std::uint8_t> packed{1, 2, 3};
            pack_bits(values, width, packed);
            REQUIRE(packed.size() == 3 + packed_bytes(count, width));
            std::size_t wrong = 0;  // bit by bit
            for (std::size_t bit = 0; bit < count * width; ++bit)
                wrong += ((packed[3 + bit / 8] >> (bit % 8)) & 1) !=
                         ((values[bit / width] >> (bit % width)) & 1);
            CHECK(wrong == 0);
            unpack_bits(std::span(packed).subspan(3), width, back);
            CHECK(back == values);
        }
}

// -- plans ----------------------------------------------------------------------------------

TEST_CASE("a plan holds every sum, floods the noise, and gives every number a place of its own") {
    for (const Shape& shape :
         {Shape{256, 30, 1, 100'000}, Shape{1, 1, 1, 1}, Shape{4096, 330, 1, 2'500},
          Shape{1024, 100, 19, 1'000}, Shape{30'000, 23, 1, 201}, Shape{100, 7, 300, 10}}) {
        CAPTURE(shape.rows, shape.features, shape.outputs);
        const auto plan = make_plan(shape);
        REQUIRE(plan);
        CHECK(plan->hiding_bits >= flood_bits_min);
        const double largest = static_cast<double>(shape.rows) *
                               std::ldexp(1., static_cast<int>(column_bits + plan->residual_bits));
        CHECK(largest < std::ldexp(1., static_cast<int>(plan->plain_bits) - 1));
        CHECK(plan->output_group * plan->block_rows * plan->feature_group <= ring_size);
        std::size_t numbers = 0;
        for (std::size_t f = 0; f < plan->feature_groups(); ++f)
            for (std::size_t g = 0; g < plan->output_groups(); ++g) {
                auto wanted = plan->wanted(f, g);
                numbers += wanted.size();
                CHECK(std::ranges::all_of(wanted, [](std::size_t at) { return at < ring_size; }));
                CHECK(std::ranges::adjacent_find(wanted) == wanted.end());
            }
        CHECK(numbers == shape.features * shape.outputs);
        for (std::size_t k = 0; k < shape.outputs; ++k) {
            const auto place = plan->place_of(shape.rows - 1, k);
            CHECK(place.polynomial < plan->ciphertexts());
            CHECK(place.power < ring_size);
        }
    }
}

TEST_CASE("what does not fit is refused by name") {
    const auto rows = make_plan({std::size_t{1} << 23, 10, 1, 1});
    REQUIRE(!rows);
    CHECK(rows.error().code == Errc::too_large);
    CHECK(rows.error().sentence.find("bits") != std::string::npos);
    const auto flood = make_plan({4096, 300, 1, std::uint64_t{1} << 40});
    REQUIRE(!flood);
    CHECK(flood.error().sentence.find("hidden") != std::string::npos);
    CHECK(!make_plan({0, 10, 1, 1}));
}

namespace {

/// The loops of each path of this processor.
std::vector<const Loops*> all_loops() {
    std::vector<const Loops*> out{&portable_loops};
#ifdef VFLBUS_IFMA
    if (best_path() == Path::ifma) out.push_back(&ifma_loops);
#endif
    return out;
}

/// N numbers below p: those at the edges more often than chance has them.
Words edgy_numbers(Rng& rng, const Prime& prime) {
    Words out(ring_size);
    for (auto& number : out)
        number = rng.below(4) == 0 ? prime.value() - 1 - rng.below(2) : rng.below(prime.value());
    return out;
}

}  // namespace

TEST_CASE("sums of up to 32 products are exact where all numbers are the largest") {
    Rng rng(3);
    const Prime& prime = primes()[2];  // the least of the three
    const auto out_of_montgomery = [&](std::uint64_t sum) {
        return prime.multiply(sum, prime.inverse_of(prime.montgomery().value));
    };
    for (const Loops* loops : all_loops())
        for (const std::size_t count : {1, 2, 3, 31, 32}) {
            std::vector<Words> x(count);
            std::vector<Words> x1(count);
            std::vector<Words> y(count);
            std::vector<const std::uint64_t*> px;
            std::vector<const std::uint64_t*> px1;
            std::vector<const std::uint64_t*> py;
            for (std::size_t k = 0; k < count; ++k) {
                x[k] = count == 32 ? Words(ring_size, prime.value() - 1) : edgy_numbers(rng, prime);
                y[k] = count == 32 ? Words(ring_size, prime.value() - 1) : edgy_numbers(rng, prime);
                x1[k] = edgy_numbers(rng, prime);
                px.push_back(x[k].data());
                px1.push_back(x1[k].data());
                py.push_back(y[k].data());
            }
            const Words begun = edgy_numbers(rng, prime);
            Words one = begun;
            Words two = begun;
            Words other = begun;
            loops->dot(prime, count, px.data(), py.data(), one.data(), true);
            loops->dot_pair(prime, count, px.data(), px1.data(), py.data(), two.data(),
                            other.data(), true);
            Words alone = begun;
            loops->dot(prime, count, px.data(), py.data(), alone.data(), false);
            CHECK(one == two);
            for (std::size_t i = 0; i < ring_size; i += 97) {
                std::uint64_t sum = 0;
                std::uint64_t sum1 = 0;
                for (std::size_t k = 0; k < count; ++k) {
                    sum = (sum + prime.multiply(x[k][i], y[k][i])) % prime.value();
                    sum1 = (sum1 + prime.multiply(x1[k][i], y[k][i])) % prime.value();
                }
                CHECK(one[i] == (begun[i] + out_of_montgomery(sum)) % prime.value());
                CHECK(alone[i] == out_of_montgomery(sum));
                CHECK(other[i] == (begun[i] + out_of_montgomery(sum1)) % prime.value());
            }
        }
    // more than go at once
    std::vector<Words> many(40);
    std::vector<const std::uint64_t*> each;
    Words by_one(ring_size);
    for (Words& words : many) {
        words = edgy_numbers(rng, prime);
        each.push_back(words.data());
        multiply_add(prime, words.data(), words.data(), by_one.data());
    }
    Words together(ring_size);
    dot(prime, each, each, together.data());
    CHECK(together == by_one);
}

TEST_CASE("what packing needs of the ring is what plain numbers come to, on every path") {
    Rng rng(5);
    for (const Loops* loops : all_loops())
        for (const Prime* prime : {&primes()[0], &special_prime()}) {
            const std::uint64_t p = prime->value();
            const Words x = edgy_numbers(rng, *prime);
            const Words y = edgy_numbers(rng, *prime);
            const Words m = edgy_numbers(rng, *prime);
            const Factor factor = prime->factor(p - 2);
            Words sum = x;
            loops->add(*prime, y.data(), sum.data());
            Words difference = x;
            loops->add_difference(*prime, y.data(), m.data(), factor, difference.data());
            Words plus = x;
            Words minus = y;
            loops->add_and_subtract(*prime, m.data(), plus.data(), minus.data());
            const Prime& to = primes()[1];
            Words lifted(ring_size);
            loops->lift(*prime, to, x.data(), lifted.data());
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < ring_size; ++i) {
                wrong += sum[i] != (x[i] + y[i]) % p ? 1 : 0;
                const std::uint64_t apart = (y[i] + p - m[i]) % p;
                wrong += difference[i] != (x[i] + prime->multiply(apart, p - 2)) % p ? 1 : 0;
                const std::uint64_t product = prime->multiply(
                    prime->multiply(m[i], y[i]), prime->inverse_of(prime->montgomery().value));
                wrong += plus[i] != (x[i] + product) % p ? 1 : 0;
                wrong += minus[i] != (x[i] + p - product) % p ? 1 : 0;
                const std::uint64_t centred =
                    x[i] > p / 2 ? (to.value() - (p - x[i]) % to.value()) : x[i];
                wrong += lifted[i] % to.value() != centred % to.value() ? 1 : 0;
                wrong += lifted[i] >= 2 * to.value() ? 1 : 0;
            }
            CHECK(wrong == 0);
        }
}

/// floor(x 2^64 / q) but for the rounding of three shares, as plain numbers say it.
std::uint64_t slow_fraction(const Rounding& how, const std::array<std::uint64_t, 3>& x) {
    std::uint64_t sum = std::uint64_t{1} << (63 - how.bits);
    for (std::size_t i = 0; i < x.size(); ++i)
        sum += static_cast<std::uint64_t>(
            (Wide{primes()[i].multiply(x[i], how.share[i].value)} * how.inverse[i]) >> 46);
    return sum >> (64 - how.bits);
}

TEST_CASE("what ciphertexts need of the ring is what plain numbers come to, on every path") {
    Rng rng(7);
    std::vector<std::int32_t> small(ring_size);
    for (auto& value : small) value = static_cast<std::int32_t>(rng.below(43)) - 21;
    std::vector<std::int64_t> large(ring_size);
    for (auto& value : large)
        value =
            static_cast<std::int64_t>(rng.below(std::uint64_t{1} << 50)) - (std::int64_t{1} << 49);
    large[0] = -(std::int64_t{1} << 49);
    Rounding how;
    how.bits = 55;
    std::vector<Words> parts;
    for (std::size_t i = 0; i < prime_count; ++i) {
        how.share[i] = primes()[i].factor(rng.below(primes()[i].value()));
        how.inverse[i] = (std::uint64_t{1} << 63) + rng.below(std::uint64_t{1} << 63);
        parts.push_back(edgy_numbers(rng, primes()[i]));
    }
    for (const Loops* loops : all_loops()) {
        for (const Prime& prime : primes()) {
            const std::uint64_t p = prime.value();
            const auto modulo = [p](std::int64_t value) {
                const std::int64_t rest = value % static_cast<std::int64_t>(p);
                return static_cast<std::uint64_t>(rest < 0 ? rest + static_cast<std::int64_t>(p)
                                                           : rest);
            };
            const Factor factor = prime.factor(p - 3);
            Words plain(ring_size), encoded(ring_size);
            for (std::size_t i = 0; i < ring_size; ++i) {
                plain[i] = modulo(small[i]);
                encoded[i] = (prime.multiply(modulo(large[i]), p - 3) + plain[i]) % p;
            }
            Words out(ring_size);
            loops->forward(prime, plain.data());
            loops->forward_signed(prime, small.data(), out.data());
            CHECK(out == plain);
            loops->forward_factor(prime, small.data(), out.data());
            for (auto& word : out) {
                if (word >> 52 != 0) word = 0;  // is above what products take
                word %= p;
            }
            CHECK(out == plain);
            loops->forward(prime, encoded.data());
            loops->forward_encoded(prime, large.data(), factor, small.data(), out.data());
            CHECK(out == encoded);
            const Words x = edgy_numbers(rng, prime);
            const Words y = edgy_numbers(rng, prime);
            Words less(ring_size);
            loops->multiply_add(prime, x.data(), y.data(), less.data());
            Words sum = x;
            loops->multiply_subtract(prime, x.data(), y.data(), sum.data());
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < ring_size; ++i)
                wrong += sum[i] != (x[i] + p - less[i]) % p ? 1 : 0;
            CHECK(wrong == 0);
        }
        Words all;
        for (const Words& part : parts) all.insert(all.end(), part.begin(), part.end());
        Words rounded(ring_size);
        loops->round(how, all.data(), small.data(), rounded.data());
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < ring_size; ++i) {
            std::array<std::uint64_t, 3> x{};
            for (std::size_t k = 0; k < 3; ++k)
                x[k] = (parts[k][i] + primes()[k].value() +
                        static_cast<std::uint64_t>(std::int64_t{small[i]})) %
                       primes()[k].value();
            wrong += rounded[i] != slow_fraction(how, x) ? 1 : 0;
        }
        CHECK(wrong == 0);
    }
}

TEST_CASE("a sum of products takes one side as it comes from the transform of small numbers") {
    Rng rng(8);
    std::vector<std::int32_t> small(ring_size);
    for (auto& value : small) value = static_cast<std::int32_t>(rng.below(65536)) - 32768;
    for (const Loops* loops : all_loops())
        for (const Prime& prime : primes()) {
            const Words x = edgy_numbers(rng, prime);
            Words reduced(ring_size), factor(ring_size);
            loops->forward_signed(prime, small.data(), reduced.data());
            loops->forward_factor(prime, small.data(), factor.data());
            const std::vector<const std::uint64_t*> xs(31, x.data());
            const std::vector<const std::uint64_t*> of_reduced(31, reduced.data());
            const std::vector<const std::uint64_t*> of_factor(31, factor.data());
            std::array<Words, 2> sums{x, x};
            loops->dot(prime, 31, xs.data(), of_reduced.data(), sums[0].data(), true);
            loops->dot(prime, 31, xs.data(), of_factor.data(), sums[1].data(), true);
            CHECK(sums[0] == sums[1]);
            std::array<Words, 2> pair{x, x};
            loops->dot_pair(prime, 31, xs.data(), xs.data(), of_factor.data(), pair[0].data(),
                            pair[1].data(), true);
            CHECK((pair[0] == sums[0] && pair[1] == sums[0]));
        }
}

TEST_CASE("automorphisms map powers to powers, transformed and not, for every step") {
    for (std::size_t step = 2; step <= ring_size; step *= 2) {
        const Automorphism& automorphism = automorphism_of(step);
        const std::size_t element = 1 + 2 * ring_size / step;
        for (const std::size_t power : {std::size_t{1}, step / 2, std::size_t{5}, ring_size - 1}) {
            // X^power -> X^(power element), by whole exponents
            const std::size_t to = power * element % (2 * ring_size);
            const Prime& prime = primes()[1];
            Words from(ring_size);
            from[power % ring_size] = 1;
            Words expected(ring_size);
            expected[to % ring_size] = to < ring_size ? 1 : prime.value() - 1;
            forward(prime, from.data());
            forward(prime, expected.data());
            Words image(ring_size);
            permute(automorphism.places.data(), from.data(), image.data());
            CHECK(image == expected);
        }
        CHECK(automorphism.coefficients[step % ring_size] == step % ring_size);
    }
}

TEST_CASE("small numbers are placed, combined and counted as one by one, on every path") {
    Rng rng(6);
    for (const Loops* loops : all_loops()) {
        for (const std::size_t step : {std::size_t{2}, std::size_t{64}, ring_size}) {
            const Automorphism& automorphism = automorphism_of(step);
            std::vector<std::int32_t> x(ring_size);
            std::vector<std::int32_t> y(ring_size);
            for (auto* all : {&x, &y})
                for (auto& value : *all)
                    value = static_cast<std::int32_t>(rng.below(1 << 22)) - (1 << 21);
            const auto before_x = x;
            const auto before_y = y;
            std::vector<std::int32_t> scratch(ring_size);
            loops->combine_signed(automorphism.coefficients.data(), step / 2, x.data(), y.data(),
                                  scratch.data());
            std::vector<std::int32_t> image(ring_size);
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < ring_size; ++i) {
                const std::int32_t moved =
                    i < step / 2 ? -before_y[ring_size - step / 2 + i] : before_y[i - step / 2];
                wrong += x[i] != before_x[i] + moved ? 1 : 0;
                const std::size_t to = i * (1 + 2 * ring_size / step) % (2 * ring_size);
                image[to % ring_size] = (before_x[i] - moved) * (to < ring_size ? 1 : -1);
            }
            CHECK(wrong == 0);
            CHECK(y == image);
        }
        for (const std::size_t count : {1, 7, 8, 9, 33, 600}) {
            std::vector<std::int16_t> from(count);
            for (auto& value : from)
                value = static_cast<std::int16_t>(static_cast<int>(rng.below(65536)) - 32768);
            std::vector<std::int32_t> to(count + 2);
            loops->reverse_signed(from.data(), count, -1, to.data() + count);
            for (std::size_t i = 0; i < count; ++i) CHECK(to[count - i] == -from[i]);
            CHECK((to.front() == 0 && to.back() == 0));
            Words coins(count);
            for (auto& word : coins) word = rng.next();
            std::vector<std::int32_t> counted(count);
            loops->count_coins(coins.data(), count, 0x1fffff'001fffff, counted.data());
            for (std::size_t i = 0; i < count; ++i)
                CHECK(counted[i] == std::popcount(coins[i] & 0x1fffff) -
                                        std::popcount((coins[i] >> 32) & 0x1fffff));
        }
    }
}
