// What the protections of an answer are for: each attack succeeds where its protection is left out,
// and fails against the product. Compiled with planted bugs (base/planted.hpp).

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/planted.hpp"
#include "base/rng.hpp"
#include "catch.hpp"
#include "privacy/rlwe/bits.hpp"
#include "privacy/rlwe/cipher.hpp"

namespace vflbus {
PlantedBug planted_bug = PlantedBug::none;
}  // namespace vflbus

using namespace vflbus;
using namespace vflbus::privacy;
using namespace vflbus::privacy::rlwe;

namespace {

struct Parties {
    explicit Parties(const Shape& shape)
        : plan(make_plan(shape).value()),
          seed(random_key()),
          master(seed.bytes()),
          member(Answerer::create(seed.bytes(), master.zero()).value()) {
        if (plan.packed) REQUIRE(member.take_switch_keys(plan, master.switch_keys(plan)));
        Rng rng(4);
        columns.resize(shape.rows * shape.features);
        values.resize(shape.rows * shape.outputs);
        for (auto& value : columns) value = static_cast<std::int16_t>(rng.below(2) * 32767);
        for (auto& value : values) value = static_cast<std::int32_t>(rng.below(2000)) - 1000;
        sent = master.encrypt(plan, values, shape.rows);
    }
    Bytes answer(const std::vector<std::int16_t>& of) {
        return member.answer(plan, of, plan.shape.rows, sent).value().bytes;
    }
    /// The part of an answer that is a polynomial.
    [[nodiscard]] Bytes polynomial(Bytes answer) const {
        answer.resize(packed_bytes(ring_size, plan.answer_bits()));
        return answer;
    }

    Plan plan;
    Key seed;
    KeyOwner master;
    Answerer member;
    std::vector<std::int16_t> columns;
    std::vector<std::int32_t> values;
    Bytes sent;
};

/// Two layouts of the same product: one answer as it is, and several packed into one.
Shape shape_of(bool packed, std::size_t rows, std::size_t features) {
    Shape shape{rows, features, 1, 1000};
    if (!packed) return shape;
    shape.features = 3 * ring_size / std::bit_ceil(rows);
    shape.products_per_key = 1000;
    shape.line = 30;
    return shape;
}

/// The attacker knows all columns but for one bit, and has an answer. Does it tell the bit?
bool answer_confirms_a_guess(Parties& parties) {
    const Bytes seen = parties.polynomial(parties.answer(parties.columns));
    std::vector<std::int16_t> other = parties.columns;
    other[7] = static_cast<std::int16_t>(32767 - other[7]);
    return parties.polynomial(parties.answer(parties.columns)) == seen &&
           parties.polynomial(parties.answer(other)) != seen;
}

struct WithBug {
    explicit WithBug(PlantedBug bug) { planted_bug = bug; }
    ~WithBug() { planted_bug = PlantedBug::none; }
    WithBug(const WithBug&) = delete;
    WithBug& operator=(const WithBug&) = delete;
};

}  // namespace

TEST_CASE("without a fresh encryption of zero the master confirms guesses of a member's columns") {
    const bool packed = GENERATE(false, true);
    Parties parties(shape_of(packed, 64, 10));
    REQUIRE(parties.plan.packed == packed);
    CHECK(!answer_confirms_a_guess(parties));
    const WithBug bug(PlantedBug::no_encryption_of_zero);
    CHECK(answer_confirms_a_guess(parties));
}

TEST_CASE("without masks the master reads the member's gradient") {
    const bool packed = GENERATE(false, true);
    Parties parties(shape_of(packed, 64, 10));
    REQUIRE(parties.plan.packed == packed);
    const auto gradient =
        plain_product(parties.plan, parties.columns, parties.values, parties.plan.shape.rows);
    const auto opened_is_gradient = [&] {
        const auto opened =
            parties.master.decrypt(parties.plan, parties.answer(parties.columns)).value();
        std::size_t same = 0;
        for (std::size_t i = 0; i < opened.size(); ++i)
            same += opened[i] == (static_cast<std::uint64_t>(gradient[i]) &
                                  ((std::uint64_t{1} << parties.plan.plain_bits) - 1));
        return same == opened.size();
    };
    CHECK(!opened_is_gradient());
    const WithBug bug(PlantedBug::no_mask);
    CHECK(opened_is_gradient());
}

TEST_CASE("the flood fills half of the way between two plaintexts, and nothing passes it") {
    const bool packed = GENERATE(false, true);
    Parties parties(shape_of(packed, 256, 100));
    REQUIRE(parties.plan.packed == packed);
    const auto spread = [&](double& largest) {
        double square = 0;
        std::size_t count = 0;
        largest = 0;
        // the keys are new in every run: 6,400 numbers put the bounds below ten deviations away
        for (int i = 0; i < 200; ++i)
            for (const std::int64_t error :
                 parties.master.phase_errors(parties.plan, parties.answer(parties.columns))) {
                const double part =
                    static_cast<double>(error) / (std::uint64_t{1} << answer_extra_bits);
                largest = std::max(largest, std::abs(part));
                square += part * part;
                ++count;
            }
        return std::sqrt(square / static_cast<double>(count));
    };
    double largest = 0;
    // uniform in a quarter to each side, and a deviation of 21 / 1024 of rounding
    CHECK(spread(largest) == Approx(std::sqrt(1 / 48. + 21 * 21 / 1048576.)).epsilon(.07));
    CHECK(largest < .4);
    CHECK(largest > .24);
    const WithBug bug(PlantedBug::no_flood);
    CHECK(spread(largest) < .03);
    CHECK(largest < .15);
}
