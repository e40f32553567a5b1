// X' D on ciphertexts: what plain integers come to, bit for bit, and what is refused.

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/rng.hpp"
#include "catch.hpp"
#include "privacy/rlwe/bits.hpp"
#include "privacy/rlwe/cipher.hpp"

using namespace vflbus;
using namespace vflbus::privacy;
using namespace vflbus::privacy::rlwe;

namespace {

struct Work {
    explicit Work(const Shape& shape, std::uint64_t seed = 1)
        : plan(make_plan(shape).value()), rows(shape.rows), zero_seed(random_key()) {
        Rng rng(seed);
        columns.resize(shape.rows * shape.features);
        values.resize(shape.rows * shape.outputs);
        for (auto& value : columns)
            value = static_cast<std::int16_t>(static_cast<int>(rng.below(65535)) - 32767);
        const std::int32_t most = 1 << plan.residual_bits;
        for (auto& value : values)
            value = static_cast<std::int32_t>(rng.below(2 * static_cast<std::uint64_t>(most) + 1)) -
                    most;
    }
    void set_to_bounds(int sign) {
        std::ranges::fill(columns, std::int16_t{32767});
        std::ranges::fill(values, sign * (1 << plan.residual_bits));
    }
    /// Everything that both sides do.
    std::vector<std::int64_t> encrypted() {
        KeyOwner owner(zero_seed.bytes());
        auto member = Answerer::create(zero_seed.bytes(), owner.zero());
        REQUIRE(member);
        const Bytes sent = owner.encrypt(plan, values, rows);
        CHECK(sent.size() == plan.ciphertexts() * ciphertext_bytes());
        auto answer = member->answer(plan, columns, rows, sent);
        REQUIRE(answer);
        const auto opened = owner.decrypt(plan, answer->bytes);
        REQUIRE(opened);
        return unmask(plan, *opened, answer->masks).value();
    }
    std::vector<std::int64_t> plain() const { return plain_product(plan, columns, values, rows); }

    Plan plan;
    std::size_t rows;
    Key zero_seed;
    std::vector<std::int16_t> columns;
    std::vector<std::int32_t> values;
};

}  // namespace

TEST_CASE("products of ciphertexts and columns are those of plain integers, on every path") {
    use_path(GENERATE(Path::portable, Path::ifma));
    for (const Shape& shape :
         {Shape{256, 30, 1, 1000}, Shape{1, 1, 1, 1}, Shape{257, 33, 1, 1000},
          Shape{100, 7, 3, 1000}, Shape{1000, 60, 1, 1000}, Shape{64, 40, 19, 100},
          Shape{9000, 5, 2, 100}, Shape{20, 2000, 1, 100}, Shape{96, 40, 1, 100},
          Shape{192, 10, 2, 100}, Shape{8192, 3, 1, 100}}) {
        CAPTURE(shape.rows, shape.features, shape.outputs);
        Work work(shape, shape.rows);
        CHECK(work.encrypted() == work.plain());
        work.set_to_bounds(1);
        CHECK(work.encrypted() == work.plain());
        work.set_to_bounds(-1);
        CHECK(work.encrypted() == work.plain());
    }
    use_path(best_path());
}

TEST_CASE("a smaller last batch goes under the same plan") {
    Work work({256, 30, 1, 1000});
    work.rows = 41;
    work.columns.resize(41 * 30);
    work.values.resize(41);
    CHECK(work.encrypted() == work.plain());
}

TEST_CASE("work that was done ahead changes no product, and serves once") {
    for (const Shape& shape : {Shape{256, 30, 1, 1000}, Shape{100, 7, 3, 1000},
                               Shape{9000, 5, 2, 100}, Shape{1000, 60, 1, 1000}}) {
        CAPTURE(shape.rows, shape.features, shape.outputs);
        Work work(shape, 3);
        const Work other(shape, 4);
        KeyOwner owner(work.zero_seed.bytes());
        auto member = Answerer::create(work.zero_seed.bytes(), owner.zero());
        Ahead ahead;
        std::set<Bytes> numbers;
        std::set<Bytes> polynomials;
        std::set<std::uint64_t> masks;
        for (int round = 0; round < 8; ++round) {
            // some rounds find nothing prepared, or other columns than they need
            if (round % 3 != 2) owner.prepare(work.plan);
            // ... or were told that another request would come
            Due due = member->next();
            if (round == 4) ++due.first;
            if (round == 5) due.zero_seed[0] ^= 1;
            if (round != 1)
                ahead.prepare(work.plan, round == 2 ? other.columns : work.columns, work.rows,
                              round == 3 ? std::nullopt : std::optional(due));
            const Bytes sent = owner.encrypt(work.plan, work.values, work.rows);
            for (std::size_t at = 0; at < work.plan.ciphertexts(); ++at) {
                const auto begin =
                    sent.begin() + static_cast<std::ptrdiff_t>(at * ciphertext_bytes());
                CHECK(numbers.emplace(begin, begin + number_bytes).second);
            }
            const auto answer =
                member->answer(work.plan, work.columns, work.rows, sent, &ahead).value();
            CHECK(polynomials
                      .emplace(answer.bytes.begin(),
                               answer.bytes.begin() + static_cast<std::ptrdiff_t>(packed_bytes(
                                                          ring_size, work.plan.answer_bits())))
                      .second);
            for (const std::uint64_t mask : answer.masks.span()) CHECK(masks.insert(mask).second);
            const auto opened = owner.decrypt(work.plan, answer.bytes).value();
            CHECK(unmask(work.plan, opened, answer.masks).value() == work.plain());
        }
    }
}

TEST_CASE("nothing is sent twice alike, and opened numbers are uniform") {
    Work work({64, 50, 1, 1000});
    std::ranges::fill(work.values, 0);
    KeyOwner owner(work.zero_seed.bytes());
    auto member = Answerer::create(work.zero_seed.bytes(), owner.zero());
    const Bytes first = owner.encrypt(work.plan, work.values, 64);
    CHECK(first != owner.encrypt(work.plan, work.values, 64));
    std::vector<std::uint64_t> all;
    Bytes before;
    for (int i = 0; i < 40; ++i) {
        auto answer = member->answer(work.plan, work.columns, 64, first);
        REQUIRE(answer);
        CHECK(answer->bytes != before);
        before = answer->bytes;
        const auto opened = owner.decrypt(work.plan, answer->bytes).value();
        all.insert(all.end(), opened.begin(), opened.end());
    }
    // the sums are zero; what is opened is the mask
    double mean = 0;
    std::array<double, 16> cells{};
    for (const std::uint64_t value : all) {
        mean += std::ldexp(static_cast<double>(value), -static_cast<int>(work.plan.plain_bits));
        ++cells[value >> (work.plan.plain_bits - 4)];
    }
    const double n = static_cast<double>(all.size());
    CHECK(std::abs(mean / n - .5) < 6 / std::sqrt(12 * n));
    for (const double cell : cells) CHECK(std::abs(cell - n / 16) < 6 * std::sqrt(n / 16));
}

TEST_CASE("two keys share nothing: the wrong key opens noise") {
    Work work({64, 20, 1, 1000});
    KeyOwner owner(work.zero_seed.bytes());
    KeyOwner other(work.zero_seed.bytes());
    CHECK(owner.zero() != other.zero());
    auto member = Answerer::create(work.zero_seed.bytes(), owner.zero());
    auto answer =
        member->answer(work.plan, work.columns, 64, owner.encrypt(work.plan, work.values, 64));
    const auto wrong =
        unmask(work.plan, other.decrypt(work.plan, answer->bytes).value(), answer->masks);
    CHECK(wrong.value() != work.plain());
}

TEST_CASE("what does not fit the receiver's own plan is refused") {
    Work work({256, 30, 1, 1000});
    KeyOwner owner(work.zero_seed.bytes());
    Bytes zero = owner.zero();
    zero.pop_back();
    CHECK(Answerer::create(work.zero_seed.bytes(), zero).error().code == Errc::malformed_message);
    zero = owner.zero();
    std::fill(zero.begin(), zero.begin() + 6, std::uint8_t{0xff});  // a number above its prime
    CHECK(Answerer::create(work.zero_seed.bytes(), zero).error().code == Errc::malformed_message);

    auto member = Answerer::create(work.zero_seed.bytes(), owner.zero());
    const Bytes sent = owner.encrypt(work.plan, work.values, work.rows);
    const auto refused = [&](Bytes changed) {
        return member->answer(work.plan, work.columns, work.rows, changed).error().code ==
               Errc::malformed_message;
    };
    CHECK(refused({}));
    CHECK(refused(Bytes(sent.begin(), sent.end() - 1)));
    Bytes longer = sent;
    longer.push_back(0);
    CHECK(refused(longer));
    Bytes twice = sent;
    twice.insert(twice.end(), sent.begin(), sent.end());
    CHECK(refused(twice));
    Bytes out_of_range = sent;
    std::fill(out_of_range.begin() + number_bytes, out_of_range.begin() + number_bytes + 8,
              std::uint8_t{0xff});
    CHECK(refused(out_of_range));

    auto answer = member->answer(work.plan, work.columns, work.rows, sent);
    REQUIRE(answer);
    Bytes cut = answer->bytes;
    cut.pop_back();
    CHECK(owner.decrypt(work.plan, cut).error().code == Errc::malformed_message);
    cut.insert(cut.end(), 2, 0);
    CHECK(owner.decrypt(work.plan, cut).error().code == Errc::malformed_message);
    std::vector<std::uint64_t> opened = owner.decrypt(work.plan, answer->bytes).value();
    CHECK(unmask(work.plan, opened, answer->masks));
    opened[3] = std::uint64_t{1} << work.plan.plain_bits;
    CHECK(unmask(work.plan, opened, answer->masks).error().code == Errc::malformed_message);
    opened.pop_back();
    CHECK(unmask(work.plan, opened, answer->masks).error().code == Errc::malformed_message);
}

TEST_CASE("a ciphertext that was changed under way gives other numbers, never a crash") {
    Work work({64, 20, 1, 1000});
    KeyOwner owner(work.zero_seed.bytes());
    auto member = Answerer::create(work.zero_seed.bytes(), owner.zero());
    const Bytes sent = owner.encrypt(work.plan, work.values, work.rows);
    Rng rng(5);
    std::size_t different = 0;
    for (int i = 0; i < 20; ++i) {
        Bytes changed = sent;
        changed[rng.below(changed.size())] ^= static_cast<std::uint8_t>(1 + rng.below(255));
        auto answer = member->answer(work.plan, work.columns, work.rows, changed);
        if (!answer) {
            ++different;  // above its prime
            continue;
        }
        const auto opened = owner.decrypt(work.plan, answer->bytes).value();
        different += unmask(work.plan, opened, answer->masks).value() != work.plain();
    }
    CHECK(different == 20);
}

TEST_CASE("sums of what several parties have encrypted with the public key") {
    // parties, and columns other than those that the layout was made for
    const auto [parties, rows, features, outputs] =
        GENERATE(std::tuple<std::size_t, std::size_t, std::size_t, std::size_t>{2, 256, 13, 1},
                 std::tuple<std::size_t, std::size_t, std::size_t, std::size_t>{3, 100, 200, 3},
                 std::tuple<std::size_t, std::size_t, std::size_t, std::size_t>{5, 700, 2, 1});
    CAPTURE(parties, rows);
    const Plan common = make_plan({rows, 64, outputs, 1000, parties}).value();
    const Plan plan = for_features(common, features).value();
    CHECK(plan.hiding_bits > flood_bits_min);
    const Key seed = random_key();
    KeyOwner owner(seed.bytes());
    auto member = Answerer::create(seed.bytes(), owner.zero());
    REQUIRE(member);
    Rng rng(rows);
    std::vector<std::int32_t> total(rows * outputs);
    Bytes sum;
    Bytes last;
    for (std::size_t p = 0; p < parties; ++p) {
        auto encrypter = Encrypter::create(seed.bytes(), owner.zero());
        REQUIRE(encrypter);
        std::vector<std::int32_t> values(total.size());
        const std::int32_t most = (1 << plan.residual_bits) / static_cast<std::int32_t>(parties);
        for (std::size_t i = 0; i < values.size(); ++i) {
            values[i] =
                static_cast<std::int32_t>(rng.below(2 * static_cast<std::uint64_t>(most) + 1)) -
                most;
            total[i] += values[i];
        }
        const Bytes sent = encrypter->encrypt(common, values, rows);
        CHECK(sent.size() == common.ciphertexts() * shared_ciphertext_bytes());
        CHECK(encrypter->encrypt(common, values, rows) != sent);  // fresh each time
        CHECK(check_shared(sent));
        if (p == 0)
            sum = sent;
        else
            add_shared(sum, sent);
        last = sent;
    }
    std::vector<std::int16_t> columns(rows * features);
    for (auto& value : columns)
        value = static_cast<std::int16_t>(static_cast<int>(rng.below(65535)) - 32767);
    auto answer = member->answer(plan, columns, rows, sum);
    REQUIRE(answer);
    const auto opened = owner.decrypt(plan, answer->bytes);
    REQUIRE(opened);
    CHECK(unmask(plan, *opened, answer->masks).value() ==
          plain_product(plan, columns, total, rows));

    // what is refused
    CHECK_FALSE(check_shared(std::span(last).first(last.size() - 1)));
    CHECK_FALSE(member->answer(plan, columns, rows, std::span(sum).first(sum.size() - 1)));
    std::fill(last.end() - 16, last.end(), std::uint8_t{255});
    CHECK_FALSE(check_shared(last));
    CHECK_FALSE(member->answer(plan, columns, rows, last));
    CHECK_FALSE(Encrypter::create(seed.bytes(), std::span(owner.zero()).first(100)));
}

TEST_CASE("the noise of sums under the public key stays within what the plan counts") {
    constexpr std::size_t parties = 3;
    const Plan plan = make_plan({256, 30, 1, 1, parties}).value();
    const Key seed = random_key();
    KeyOwner owner(seed.bytes());
    auto member = Answerer::create(seed.bytes(), owner.zero());
    auto encrypter = Encrypter::create(seed.bytes(), owner.zero());
    REQUIRE((member && encrypter));
    // columns at their bounds, nothing encrypted: what is opened is the noise beside 0
    const std::vector<std::int16_t> columns(256 * 30, 32767);
    const std::vector<std::int32_t> nothing(256);
    for (int round = 0; round < 20; ++round) {
        Bytes sum = encrypter->encrypt(plan, nothing, 256);
        for (std::size_t p = 1; p < parties; ++p)
            add_shared(sum, encrypter->encrypt(plan, nothing, 256));
        const auto answer = member->answer(plan, columns, 256, sum);
        REQUIRE(answer);
        // the flood takes half of the way to the next plaintext, and the noise far less than it:
        // rounding has a deviation of 21, of which eight are never seen
        for (const std::int64_t error : owner.phase_errors(plan, answer->bytes))
            CHECK(std::abs(error) <= (1 << (answer_extra_bits - 2)) + 8 * 21);
    }
}
