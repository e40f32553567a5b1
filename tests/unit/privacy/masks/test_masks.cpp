// Fixed point, streams, and masks that cancel.

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "base/rng.hpp"
#include "catch.hpp"
#include "privacy/masks/fixed_point.hpp"
#include "privacy/masks/masks.hpp"
#include "privacy/masks/stream.hpp"

using namespace vflbus;
using namespace vflbus::privacy;

namespace {

std::vector<std::uint8_t> from_hex(const std::string& text) {
    std::vector<std::uint8_t> out;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2)
        out.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
    return out;
}

std::vector<std::uint8_t> label_of(std::uint8_t what) {
    return {what, 1, 2};
}

/// Members that have agreed on keys.
std::vector<MaskKeys> agreed(std::size_t members, std::uint8_t context = 1) {
    std::vector<MaskKeys> out(members);
    std::vector<PublicKey> keys;
    for (const MaskKeys& member : out) keys.push_back(member.public_key());
    const std::vector<std::uint8_t> said{context};
    for (MaskKeys& member : out) REQUIRE(member.agree(keys, said));
    return out;
}

std::vector<std::uint64_t> masked(MaskKeys& member, std::uint8_t what,
                                  std::vector<std::uint64_t> words, FixedPoint format = {},
                                  std::uint64_t step = 0) {
    REQUIRE(member.mask(step, label_of(what), format, words));
    return words;
}

}  // namespace

// -- fixed point ------------------------------------------------------------------------

TEST_CASE("numbers become integers and come back, both widths, both signs") {
    for (const FixedPoint format : {row_format, gradient_row_format, product_format}) {
        CAPTURE(format.fraction_bits);
        const double step = std::ldexp(1.0, -static_cast<int>(format.fraction_bits));
        const std::vector<double> values{0,         1,    -1,    .5,         -3.25,      1000.125,
                                         -1000.125, step, -step, 1.5 * step, 2.5 * step, -0.0};
        std::vector<std::uint64_t> words(values.size() * format.words);
        REQUIRE(to_fixed(values, format, 3, words));
        std::vector<double> back(values.size());
        from_fixed(words, format, back);
        for (std::size_t i = 0; i < 9; ++i) CHECK(back[i] == values[i]);
        CHECK(back[9] == 2 * step);  // ties to even
        CHECK(back[10] == 2 * step);
    }
}

TEST_CASE("what could leave the range in a sum is refused, and what is no number") {
    std::vector<std::uint64_t> words(2);
    const double most = std::ldexp(1.0, 30);  // 2^62 / 2^32 for one party
    const auto to = [&](double value, std::size_t parties) {
        return to_fixed(std::vector<double>{value, 0}, row_format, parties, words);
    };
    CHECK(to(std::nextafter(most, 0), 1));
    CHECK(!to(most, 1));
    CHECK(!to(-most, 1));
    CHECK(to(most / 4, 3));
    CHECK(!to(most / 3, 3));
    CHECK(to(std::nan(""), 1).error().code == Errc::diverged);
    CHECK(!to(std::numeric_limits<double>::infinity(), 1));
    // the largest numbers of all parties together stay in the range
    std::vector<std::uint64_t> sum(2), part(2);
    for (int party = 0; party < 3; ++party) {
        REQUIRE(to_fixed(std::vector<double>{most / 3.00000001, -most / 3.00000001}, row_format, 3,
                         part));
        add_fixed(sum, part, row_format);
    }
    std::vector<double> back(2);
    from_fixed(sum, row_format, back);
    CHECK(back[0] == Approx(most));
    CHECK(back[1] == Approx(-most));
}

TEST_CASE("carries go from the low word to the high one") {
    std::vector<std::uint64_t> sum{UINT64_MAX, 5};
    add_fixed(sum, std::vector<std::uint64_t>{1, 0}, product_format);
    CHECK(sum == std::vector<std::uint64_t>{0, 6});
    subtract_fixed(sum, std::vector<std::uint64_t>{1, 0}, product_format);
    CHECK(sum == std::vector<std::uint64_t>{UINT64_MAX, 5});
    add_fixed(sum, std::vector<std::uint64_t>{1, 0}, row_format);  // two numbers of one word each
    CHECK(sum == std::vector<std::uint64_t>{0, 5});
}

// -- streams ----------------------------------------------------------------------------

TEST_CASE("HKDF as in RFC 5869, test case 1") {
    const auto secret = from_hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
    const auto salt = from_hex("000102030405060708090a0b0c");
    const auto label = from_hex("f0f1f2f3f4f5f6f7f8f9");
    CHECK(to_hex(derive_key(secret, salt, label).bytes()) ==
          "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

TEST_CASE("AES-256 in counter mode: a known answer, and the same bytes in any portions") {
    const bool wide = GENERATE(false, true);  // where the processor has it
    allow_wide_aes(wide);
    // AES-256 of the zero block under the zero key (FIPS 197's function; NIST's GCM test case 13)
    AesStream zero{Key()};
    std::vector<std::uint8_t> block(16);
    zero.fill(block);
    CHECK(to_hex(block) == "dc95c078a2408989ad48a21492842087");
    const Key key = random_key();
    std::vector<std::uint8_t> whole(10'000), parts(10'000);
    AesStream(key).fill(std::span<std::uint8_t>(whole));
    AesStream stream(key);
    for (std::size_t at = 0, size = 1; at < parts.size(); at += size, size = size % 97 + 1)
        stream.fill(std::span<std::uint8_t>(parts).subspan(at, std::min(size, parts.size() - at)));
    CHECK(whole == parts);
    allow_wide_aes(true);
}

TEST_CASE("streams of the wide AES unit have the bytes of OpenSSL's") {
    for (int round = 0; round < 20; ++round) {
        const Key key = random_key();
        std::array<std::vector<std::uint8_t>, 2> bytes;
        for (const bool wide : {false, true}) {
            allow_wide_aes(wide);
            AesStream stream(key);
            allow_wide_aes(true);
            for (const std::size_t size : {5, 1, 10, 16, 64, 3, 512, 1024, 13, 5000, 577}) {
                std::vector<std::uint8_t> part(size);
                stream.fill(std::span<std::uint8_t>(part));
                bytes[wide ? 1 : 0].insert(bytes[wide ? 1 : 0].end(), part.begin(), part.end());
            }
        }
        CHECK(bytes[0] == bytes[1]);
    }
}

// -- masks ------------------------------------------------------------------------------

TEST_CASE("masks cancel in the sum of all members, and in no smaller one") {
    const FixedPoint format = GENERATE(row_format, product_format);
    const std::size_t members = GENERATE(2, 3, 5);
    auto all = agreed(members);
    Rng rng(3);
    std::vector<std::uint64_t> plain(700), sent(700), partial;
    for (MaskKeys& member : all) {
        std::vector<std::uint64_t> mine(700);
        for (auto& word : mine) word = rng.below(1000);
        add_fixed(plain, mine, format);
        const auto shared = masked(member, 1, mine, format);
        CHECK(shared != mine);
        partial = sent;  // the sum without the last member
        add_fixed(sent, shared, format);
    }
    CHECK(sent == plain);
    // what lacks a member is uniform: no word of it is small
    CHECK(std::ranges::none_of(partial, [](std::uint64_t word) { return word < 1'000'000; }));
}

TEST_CASE("every label, every agreement and every set of members has masks of its own") {
    auto all = agreed(3);
    const std::vector<std::uint64_t> nothing(64);
    const auto first = masked(all[0], 1, nothing);
    CHECK(masked(all[0], 2, nothing) != first);
    std::vector<PublicKey> two{all[0].public_key(), all[1].public_key()};
    std::vector<PublicKey> three{two[0], two[1], all[2].public_key()};
    const std::vector<std::uint8_t> context{1};
    REQUIRE(all[0].agree(two, context));
    const auto of_two = masked(all[0], 1, nothing);
    REQUIRE(all[1].agree(two, context));
    const auto other = masked(all[1], 1, nothing);
    std::vector<std::uint64_t> sum = of_two;
    add_fixed(sum, other, row_format);
    CHECK(sum == nothing);
    // the pair of members 0 and 1 has another stream than in the larger set: its difference to
    // what the third one added is not to be found
    REQUIRE(all[0].agree(three, context));
    REQUIRE(all[2].agree(three, context));
    auto rest = masked(all[0], 1, nothing);
    add_fixed(rest, masked(all[2], 1, nothing), row_format);  // leaves the stream of 0 and 1
    CHECK(rest != of_two);
    REQUIRE(all[0].agree(two, std::vector<std::uint8_t>{2}));
    CHECK(masked(all[0], 1, nothing) != of_two);
}

TEST_CASE("a mask is never used for two tensors") {
    auto all = agreed(2);
    const auto first = masked(all[0], 1, {1, 2, 3});
    CHECK(masked(all[0], 1, {1, 2, 3}) == first);  // the same message again
    std::vector<std::uint64_t> other{1, 2, 4};
    const auto refused = all[0].mask(0, label_of(1), row_format, other);
    REQUIRE(!refused);
    CHECK(refused.error().code == Errc::handler_failed);
    CHECK(other == std::vector<std::uint64_t>{1, 2, 4});
    masked(all[0], 2, {1}, row_format, 9);
    std::vector<std::uint64_t> old{1};
    CHECK(!all[0].mask(6, label_of(3), row_format, old));  // of steps that are long over
}

TEST_CASE("keys that cannot make a secret are refused") {
    MaskKeys member;
    MaskKeys second;
    const std::vector<std::uint8_t> context;
    std::vector<std::uint64_t> words{1};
    CHECK(!member.mask(0, label_of(1), row_format, words));  // nothing is agreed
    CHECK(!member.agree(std::vector{second.public_key()}, context));
    CHECK(!member.agree(std::vector{member.public_key(), member.public_key()}, context));
    CHECK(!member.agree(std::vector{member.public_key(), PublicKey{}}, context));  // of small order
    CHECK(!member.agreed());
    REQUIRE(member.agree(std::vector{member.public_key()}, context));  // alone: no mask
    CHECK(masked(member, 1, {7}) == std::vector<std::uint64_t>{7});
}
