// Packed answers: the same integers as those that are not packed and as plain ones, in every
// layout, and what is refused.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/rng.hpp"
#include "catch.hpp"
#include "privacy/rlwe/bits.hpp"
#include "privacy/rlwe/cipher.hpp"
#include "privacy/rlwe/cores.hpp"
#include "privacy/rlwe/residues.hpp"
#include "privacy/rlwe/sampling.hpp"

using namespace vflbus;
using namespace vflbus::privacy;
using namespace vflbus::privacy::rlwe;

namespace {

/// A line on which a byte is dear, with keys that serve for long.
Shape slow(std::size_t rows, std::size_t features, std::size_t outputs, std::uint32_t line = 30) {
    Shape shape;
    shape.rows = rows;
    shape.features = features;
    shape.outputs = outputs;
    shape.products = 10;
    shape.products_per_key = 1000;
    shape.line = line;
    return shape;
}

struct Numbers {
    explicit Numbers(const Plan& plan, std::uint64_t seed = 1) {
        Rng rng(seed);
        columns.resize(plan.shape.rows * plan.shape.features);
        values.resize(plan.shape.rows * plan.shape.outputs);
        for (auto& value : columns)
            value = static_cast<std::int16_t>(static_cast<int>(rng.below(65535)) - 32767);
        const std::int32_t most = 1 << plan.residual_bits;
        for (auto& value : values)
            value = static_cast<std::int32_t>(rng.below(2 * static_cast<std::uint64_t>(most) + 1)) -
                    most;
    }
    void set_to_bounds(const Plan& plan, int sign) {
        std::ranges::fill(columns, std::int16_t{32767});
        std::ranges::fill(values, sign * (1 << plan.residual_bits));
    }
    std::vector<std::int16_t> columns;
    std::vector<std::int32_t> values;
};

/// Both sides of one key.
struct Sides {
    explicit Sides(const Plan& plan)
        : seed(random_key()),
          owner(seed.bytes()),
          member(Answerer::create(seed.bytes(), owner.zero()).value()) {
        const Bytes keys = owner.switch_keys(plan);
        CHECK(keys.size() == switch_keys_bytes(plan));
        REQUIRE(member.take_switch_keys(plan, keys));
    }
    std::vector<std::int64_t> product(const Plan& plan, const Numbers& of, std::size_t rows,
                                      Ahead* ahead = nullptr) {
        const Bytes sent = owner.encrypt(plan, of.values, rows);
        const auto answer = member.answer(plan, of.columns, rows, sent, ahead);
        REQUIRE(answer);
        CHECK(answer->bytes.size() == all_answer_bytes(plan));
        const auto opened = owner.decrypt(plan, answer->bytes);
        REQUIRE(opened);
        return unmask(plan, *opened, answer->masks).value();
    }
    Key seed;
    KeyOwner owner;
    Answerer member;
};

/// The same plan with other levels on the input's side and in the tree.
Plan with_levels(Plan plan, std::uint32_t input_levels) {
    plan.input_levels = input_levels;
    const std::size_t most = std::min(plan.leaves(), plan.block_rows / plan.leaf_products());
    const std::size_t answers = (plan.leaves() + most - 1) / most;
    plan.leaves_per_answer = (plan.leaves() + answers - 1) / answers;
    plan.tree_levels = static_cast<std::uint32_t>(std::bit_width(plan.leaves_per_answer - 1));
    return plan;
}

}  // namespace

TEST_CASE("packed answers are the plain integers, on every path and in every layout") {
    const auto path = GENERATE(Path::portable, Path::ifma);
    use_path(path);
    std::set<std::uint32_t> levels;
    for (const Shape& shape :
         {slow(4096, 12, 1), slow(256, 100, 1), slow(1000, 60, 3), slow(2, 9000, 1),
          slow(8192, 3, 1), slow(9000, 5, 2), slow(64, 40, 19), slow(257, 33, 5)}) {
        const auto plan = make_plan(shape);
        REQUIRE(plan);
        CAPTURE(shape.rows, shape.features, shape.outputs, describe(*plan));
        REQUIRE(plan->packed);
        for (std::uint32_t input = 0; input < 4; ++input) {
            if (path == Path::portable && input != 2) continue;
            if (std::size_t{1} << input > plan->block_rows) continue;
            const Plan other = with_levels(*plan, input);
            CAPTURE(other.input_levels, other.tree_levels, other.answers());
            levels.insert(10 * other.input_levels + other.tree_levels);
            Sides sides(other);
            Numbers numbers(other, shape.rows);
            CHECK(sides.product(other, numbers, shape.rows) ==
                  plain_product(other, numbers.columns, numbers.values, shape.rows));
            numbers.set_to_bounds(other, input % 2 == 0 ? 1 : -1);
            CHECK(sides.product(other, numbers, shape.rows) ==
                  plain_product(other, numbers.columns, numbers.values, shape.rows));
        }
    }
    CHECK(levels.size() > (path == Path::portable ? 3U : 10U));
    use_path(best_path());
}

namespace {

std::uint8_t next_byte = 0;
/// Makes the same bytes in each run that begins with next_byte = 0.
void counted_bytes(std::span<std::uint8_t> out) {
    for (std::uint8_t& byte : out) byte = next_byte++;
}

/// All that both sides send, when all that is random is the same.
std::vector<Bytes> all_messages(const Plan& plan, bool ahead_too) {
    use_random_source(counted_bytes);
    next_byte = 0;
    Sides sides(plan);
    const Numbers numbers(plan);
    std::vector<Bytes> out{sides.owner.zero(), sides.owner.switch_keys(plan)};
    Ahead ahead;
    for (int round = 0; round < 2; ++round) {
        if (ahead_too)
            ahead.prepare(plan, numbers.columns, plan.shape.rows, sides.member.next(),
                          &sides.member);
        out.push_back(sides.owner.encrypt(plan, numbers.values, plan.shape.rows));
        out.push_back(sides.member
                          .answer(plan, numbers.columns, plan.shape.rows, out.back(),
                                  ahead_too ? &ahead : nullptr)
                          .value()
                          .bytes);
    }
    use_random_source(nullptr);
    return out;
}

}  // namespace

TEST_CASE("packed and other answers are the same bytes on both paths and on any number of cores") {
    Shape shape = slow(512, 700, 2);
    for (const bool packed : {true, false}) {
        if (!packed) shape.line = 0;
        const Plan plan = make_plan(shape).value();
        REQUIRE(plan.packed == packed);
        CHECK(plan.feature_groups() * plan.blocks() >= 32);  // several cores are used
        for (const bool ahead : {false, true}) {
            use_cores(1);
            const std::vector<Bytes> expected = all_messages(plan, ahead);
            use_cores(3);
            CHECK(all_messages(plan, ahead) == expected);
            use_path(Path::portable);
            CHECK(all_messages(plan, ahead) == expected);
            use_path(best_path());
            use_cores(0);
        }
    }
}

TEST_CASE("packed answers that were made ahead are the same integers, and serve once") {
    const Plan plan = with_levels(make_plan(slow(500, 100, 2)).value(), 2);
    Sides sides(plan);
    const Numbers numbers(plan);
    const Numbers others(plan, 2);
    const auto expected = plain_product(plan, numbers.columns, numbers.values, 500);
    Ahead ahead;
    std::set<Bytes> polynomials;
    for (int round = 0; round < 6; ++round) {
        Due due = sides.member.next();
        if (round == 2) ++due.first;
        if (round == 3) due.zero_seed[0] ^= 1;
        const auto& columns = round == 4 ? others.columns : numbers.columns;
        // without the keys, columns alone are made ahead
        if (round != 1)
            ahead.prepare(plan, columns, 500, due, round == 5 ? nullptr : &sides.member);
        const Bytes sent = sides.owner.encrypt(plan, numbers.values, 500);
        const auto answer = sides.member.answer(plan, numbers.columns, 500, sent, &ahead).value();
        const Bytes part(answer.bytes.begin(),
                         answer.bytes.begin() + static_cast<std::ptrdiff_t>(
                                                    packed_bytes(ring_size, plan.answer_bits())));
        CHECK(polynomials.insert(part).second);
        const auto opened = sides.owner.decrypt(plan, answer.bytes).value();
        CHECK(unmask(plan, opened, answer.masks).value() == expected);
    }
    // another layout after it: what was made for the first one is forgotten
    const Plan unpacked = make_plan({500, 100, 2, 10}).value();
    const Numbers again(unpacked);
    CHECK(sides.product(unpacked, again, 500, &ahead) ==
          plain_product(unpacked, again.columns, again.values, 500));
}

TEST_CASE("a smaller last batch is packed under the same plan") {
    const Plan plan = make_plan(slow(4096, 30, 1)).value();
    Sides sides(plan);
    Numbers numbers(plan);
    numbers.columns.resize(77 * 30);
    numbers.values.resize(77);
    CHECK(sides.product(plan, numbers, 77) ==
          plain_product(plan, numbers.columns, numbers.values, 77));
}

TEST_CASE("switch keys that do not fit the receiver's own plan are refused") {
    const Plan plan = make_plan(slow(4096, 30, 1)).value();
    REQUIRE(plan.levels() > 1);
    const Key seed = random_key();
    KeyOwner owner(seed.bytes());
    Answerer member = Answerer::create(seed.bytes(), owner.zero()).value();
    CHECK_FALSE(member.can_answer(plan));
    const Bytes keys = owner.switch_keys(plan);
    const auto refused = [&](const Bytes& bytes) {
        const auto taken = member.take_switch_keys(plan, bytes);
        return !taken && taken.error().code == Errc::malformed_message;
    };
    CHECK(refused({}));
    CHECK(refused(Bytes(keys.begin(), keys.end() - 1)));
    CHECK(
        refused(Bytes(keys.begin(), keys.end() - static_cast<std::ptrdiff_t>(switch_key_bytes()))));
    Bytes longer = keys;
    longer.insert(longer.end(), keys.begin(),
                  keys.begin() + static_cast<std::ptrdiff_t>(switch_key_bytes()));
    CHECK(refused(longer));
    Bytes out_of_range = keys;
    std::fill(out_of_range.end() - 8, out_of_range.end(), std::uint8_t{0xff});
    CHECK(refused(out_of_range));
    CHECK_FALSE(member.can_answer(plan));
    REQUIRE(member.take_switch_keys(plan, keys));
    CHECK(member.can_answer(plan));
    // keys of one layout serve no other: its steps are others
    Plan other = plan;
    other.block_rows /= 2;
    CHECK_FALSE(member.can_answer(other));
}

TEST_CASE("switch keys of another key, or in another order, open noise and never crash") {
    const Plan plan = make_plan(slow(4096, 30, 1)).value();
    const Numbers numbers(plan);
    const auto expected = plain_product(plan, numbers.columns, numbers.values, 4096);
    Sides sides(plan);
    CHECK(sides.product(plan, numbers, 4096) == expected);
    KeyOwner replaced(sides.seed.bytes());
    REQUIRE(sides.member.take_switch_keys(plan, replaced.switch_keys(plan)));
    CHECK(sides.product(plan, numbers, 4096) != expected);
    Bytes keys = sides.owner.switch_keys(plan);
    std::rotate(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(switch_key_bytes()),
                keys.end());
    REQUIRE(sides.member.take_switch_keys(plan, keys));
    CHECK(sides.product(plan, numbers, 4096) != expected);
    // made again they are others, and serve as well
    REQUIRE(sides.member.take_switch_keys(plan, sides.owner.switch_keys(plan)));
    CHECK(sides.product(plan, numbers, 4096) == expected);
}

namespace {

/// A number modulo q in units of q, from -1/2 to 1/2, and its logarithm: exact enough for noise.
double log2_of(const std::array<std::uint64_t, prime_count>& residues) {
    Wide high = 0;  // the number divided by q in units of 2^-126
    for (std::size_t p = 0; p < prime_count; ++p) {
        const Prime& prime = primes()[p];
        std::uint64_t others = 1;
        for (std::size_t i = 0; i < prime_count; ++i)
            if (i != p) others = prime.multiply(others, primes()[i].value() % prime.value());
        const std::uint64_t share = prime.multiply(residues[p], prime.inverse_of(others));
        // share / p, long division by 42 bits at a time
        std::uint64_t rest = share;
        for (int part = 2; part >= 0; --part) {
            const Wide up = Wide{rest} << 42;
            high += static_cast<Wide>(up / prime.value()) << (42 * part);
            rest = static_cast<std::uint64_t>(up % prime.value());
        }
    }
    high &= (Wide{1} << 126) - 1;
    if ((high >> 125) != 0) high = (Wide{1} << 126) - high;
    return std::log2(static_cast<double>(high) + 1) - 126 + 3 * prime_bits;
}

}  // namespace

TEST_CASE("the noise of key switches stays within what the plan counts, and is no guess") {
    for (const std::uint32_t input : {0U, 1U, 3U}) {
        const Plan plan = with_levels(make_plan(slow(2048, 120, 1)).value(), input);
        const Numbers numbers = [&] {
            Numbers all(plan);
            all.set_to_bounds(plan, 1);
            return all;
        }();
        // a key of our own, and an encryption of nothing without any error: b = -a s
        AesStream random(random_key());
        std::vector<std::int32_t> small(ring_size);
        sample_ternary(random, small);
        Extended secret;
        Polynomial key;
        forward(small, key);
        to_montgomery(key);
        std::ranges::copy(key.words(), secret.at(0));
        forward_signed(special_prime(), small.data(), secret.at(prime_count));
        scale(special_prime(), secret.at(prime_count), special_prime().montgomery());
        const Key seed = random_key();
        const auto keys = SwitchKeys::parse(plan, seed.bytes(),
                                            make_switch_keys(plan, seed.bytes(), secret, random));
        REQUIRE(keys);
        double largest = 0;
        for (int round = 0; round < 3; ++round) {
            std::vector<Polynomial> a(plan.ciphertexts());
            std::vector<Polynomial> b(plan.ciphertexts());
            std::vector<const Polynomial*> all_a;
            std::vector<const Polynomial*> all_b;
            for (std::size_t i = 0; i < a.size(); ++i) {
                expand_uniform(random_key().bytes(), a[i]);
                multiply_subtract(a[i], key, b[i]);
                all_a.push_back(&a[i]);
                all_b.push_back(&b[i]);
            }
            Packer packer;
            packer.start(plan, *keys, all_a, 1);
            std::vector<Polynomial> images;
            images_of_b(plan, all_b, images);
            std::vector<std::vector<std::uint64_t>> of_b(prime_count);
            CombinedColumns combined;
            Polynomial sum;
            for (std::size_t leaf = 0; leaf < plan.leaves(); ++leaf) {
                combine_columns(plan, numbers.columns, plan.shape.rows, leaf, combined);
                packer.multiply(combined, 0, leaf);
                multiply_b(plan, combined, images, 0, sum);
                const std::vector<std::size_t> powers = plan.numbers_of_leaf(leaf).powers;
                std::vector<std::uint64_t> found(powers.size());
                for (std::size_t p = 0; p < prime_count; ++p) {
                    coefficients(plan.block_rows >> plan.input_levels, primes()[p], sum.at(p),
                                 scale_of_b(plan, primes()[p]), powers, found);
                    of_b[p].insert(of_b[p].end(), found.begin(), found.end());
                }
            }
            REQUIRE(plan.answers() == 1);
            Leaf& merged = packer.merge(0);
            const std::vector<std::size_t> powers = plan.numbers_of(0).powers;
            std::vector<std::uint64_t> offsets(prime_count * powers.size());
            wanted_offsets(plan, merged.offset, powers, offsets);
            Polynomial phase;  // a' s
            multiply_add(merged.a, key, phase);
            inverse(phase, false);
            for (std::size_t i = 0; i < powers.size(); ++i) {
                std::array<std::uint64_t, prime_count> error{};
                for (std::size_t p = 0; p < prime_count; ++p)
                    error[p] =
                        (of_b[p][i] + offsets[p * powers.size() + i] + phase.at(p)[powers[i]]) %
                        primes()[p].value();
                largest = std::max(largest, log2_of(error));
            }
        }
        CAPTURE(input, largest, noise_bits(plan));
        CHECK(largest < noise_bits(plan));
        // no more than some bits below the bound, where switches are most of it
        CHECK((input == 0 || largest > noise_bits(plan) - 9));
    }
}

TEST_CASE("key switches are those of an independent program with whole numbers") {
    const auto numbers = [](std::uint64_t seed) {
        std::vector<std::uint64_t> out;
        for (std::size_t i = 0; i < ring_size; ++i) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            out.push_back(seed >> 16);
        }
        return out;
    };
    const auto residues = [](const std::vector<std::uint64_t>& of, const Prime& prime,
                             std::uint64_t* to) {
        for (std::size_t i = 0; i < ring_size; ++i) to[i] = of[i] % prime.value();
        forward(prime, to);
    };
    std::ifstream file(VFLBUS_RLWE_ANSWERS);
    std::size_t cases = 0;
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string what;
        std::size_t number = 0;
        std::size_t step = 0;
        std::size_t at = 0;
        words >> what >> number >> step >> at;
        if (what != "switch") continue;
        ++cases;
        Plan plan;  // two leaves, of which the second is nothing
        plan.shape = slow(step, 2 * ring_size / step, 1);
        plan.packed = true;
        plan.block_rows = step;
        plan.feature_group = ring_size / step;
        plan.tree_levels = 1;
        plan.leaves_per_answer = 2;
        std::vector<std::uint64_t> all(ring_size * prime_count * level_count);
        for (std::size_t digit = 0; digit < prime_count; ++digit)
            for (std::size_t level = 0; level < level_count; ++level)
                residues(numbers(number * 10 + 400 + digit), prime_at(level),
                         all.data() + (digit * level_count + level) * ring_size);
        Bytes packed;
        pack_bits(all, prime_bits, packed);
        const auto keys = SwitchKeys::parse(plan, random_key().bytes(), packed);
        REQUIRE(keys);
        Packer packer;
        packer.start(plan, *keys, {}, 1);
        REQUIRE(packer.leaves().size() == 2);
        for (std::size_t p = 0; p < prime_count; ++p)
            residues(numbers(number + 300), primes()[p], packer.leaves()[0].a.at(p));
        Leaf& merged = packer.merge(0);
        std::array<std::uint64_t, prime_count> found{};
        wanted_offsets(plan, merged.offset, std::span(&at, 1), found);
        for (const std::uint64_t residue : found) {
            std::uint64_t expected = 0;
            words >> expected;
            CHECK(residue == expected);
        }
    }
    CHECK(cases == 9);
}

TEST_CASE("a plan packs where the line is slow and keys serve for long, and hides 40 bits") {
    Shape shape{4096, 330, 1, 25};
    shape.products_per_key = 25;
    const auto packs = [&](double megabits) {
        shape.line = line_of(8e-3 / megabits, .009);
        const Plan plan = make_plan(shape).value();
        CHECK(plan.hiding_bits >= flood_bits_min);
        return plan.packed;
    };
    CHECK(packs(50));
    CHECK(packs(500));
    CHECK_FALSE(packs(40'000));
    shape.products_per_key = 1;  // keys of megabytes for one step
    shape.features = 40;
    CHECK_FALSE(packs(50));
    shape.products_per_key = 1000;
    shape.features = 330;
    // the longer the run, the less noise may be in an answer
    shape.products = 25;
    CHECK(packs(50));
    const Plan few = make_plan(shape).value();
    shape.products = 20'000;
    CHECK(packs(50));
    CHECK(noise_bits(make_plan(shape).value()) < noise_bits(few));
    // one answer as it is: there is nothing to pack
    shape = slow(256, 30, 1);
    CHECK_FALSE(make_plan(shape).value().packed);
    // results are the same integers, so the widths may not differ
    shape = slow(4096, 330, 1);
    const Plan packed = make_plan(shape).value();
    shape.line = 0;
    const Plan unpacked = make_plan(shape).value();
    CHECK((packed.packed && !unpacked.packed));
    CHECK(packed.residual_bits == unpacked.residual_bits);
    CHECK(packed.plain_bits == unpacked.plain_bits);
    // what is told of a line means the same at both ends
    for (std::uint32_t line = 1; line <= line_max; ++line)
        CHECK(line_of(transforms_of_byte(line) * .009, .009) == line);
    CHECK(line_of(1e-30, .009) == 1);
    CHECK(line_of(1e30, .009) == line_max);
}

TEST_CASE("every result has a place of its own in packed answers") {
    for (const Shape& shape : {slow(4096, 330, 1), slow(257, 33, 5), slow(64, 40, 19),
                               slow(2, 9000, 1), slow(3, 20'000, 1), slow(20, 2000, 3)}) {
        const Plan plan = make_plan(shape).value();
        CAPTURE(describe(plan));
        std::set<std::size_t> results;
        for (std::size_t answer = 0; answer < plan.answers(); ++answer) {
            const Plan::Numbers numbers = plan.numbers_of(answer);
            REQUIRE(numbers.powers.size() == numbers.results.size());
            std::set<std::size_t> powers;
            for (const std::size_t power : numbers.powers) {
                CHECK(power < ring_size);
                CHECK(power % plan.spacing() == 0);
                CHECK(powers.insert(power).second);
            }
            for (const std::size_t result : numbers.results) CHECK(results.insert(result).second);
        }
        CHECK(results.size() == shape.features * shape.outputs);
        CHECK(*results.rbegin() == shape.features * shape.outputs - 1);
    }
}
