// Paillier encryption: against the numbers of an independent program, and what a receiver refuses.

#include <gmp.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "base/rng.hpp"
#include "catch.hpp"
#include "privacy/paillier/lanes.hpp"
#include "privacy/paillier/paillier.hpp"

using namespace vflbus;
using namespace vflbus::privacy;
using namespace vflbus::privacy::paillier;

namespace {

using Words = std::vector<std::uint64_t>;

/// The little-endian words of a hexadecimal number.
Words words_of(const std::string& hex, std::size_t count) {
    mpz_t value;
    mpz_init_set_str(value, hex.c_str(), 16);
    Words out(count);
    mpz_export(out.data(), nullptr, -1, 8, 0, 0, value);
    mpz_clear(value);
    return out;
}

struct Keys {
    PrivateKey secret;
    PublicKey open;
};
Keys keys_of(PrivateKey secret) {
    auto open = PublicKey::parse(secret.public_bytes(), secret.key_bits());
    REQUIRE(open);
    return {std::move(secret), std::move(*open)};
}
/// The path that a test is run on, each of those that the processor has.
struct Both {
    Both() { use_path(GENERATE(Path::gmp, Path::ifma) == Path::ifma ? best_path() : Path::gmp); }
    ~Both() { use_path(best_path()); }
};

/// One key for all tests that need any.
Keys& testing_keys() {
    static Keys keys = keys_of(PrivateKey::generate(512));
    return keys;
}

}  // namespace

TEST_CASE("keys, ciphertexts, sums and products are those of an independent program") {
    const Both both;
    std::ifstream file(VFLBUS_PAILLIER_ANSWERS);
    REQUIRE(file);
    std::optional<Keys> keys;
    std::vector<Words> ciphertexts;
    std::size_t each = 0;
    std::uint32_t slot = 0;
    std::size_t outputs = 0;
    std::size_t products = 0;
    for (std::string line; std::getline(file, line);) {
        std::istringstream in(line);
        std::string what;
        in >> what;
        if (what == "key") {
            std::uint32_t bits = 0;
            std::string p, q, x, n, h;
            in >> bits >> p >> q >> x >> n >> h;
            keys.emplace(keys_of(PrivateKey::of(p.c_str(), q.c_str(), x.c_str())));
            CHECK(keys->secret.key_bits() == bits);
            each = ciphertext_words(bits);
            Words said(3 * bits / 64);
            std::ranges::copy(words_of(n, bits / 64), said.begin());
            std::ranges::copy(words_of(h, bits / 32), said.begin() + bits / 64);
            const Bytes bytes = keys->secret.public_bytes();
            CHECK(std::equal(bytes.begin(), bytes.end(),
                             reinterpret_cast<const std::uint8_t*>(said.data())));
            CHECK(keys->open.bytes() == bytes);
            ciphertexts.clear();
        } else if (what == "encrypt") {
            in >> slot >> outputs;
            std::vector<std::int64_t> values(outputs);
            for (auto& value : values) in >> value;
            std::string alpha, c;
            in >> alpha >> c;
            const Words exponent = words_of(alpha, each / 4);
            Words out(each);
            keys->open.encrypt(values, slot,
                               {reinterpret_cast<const std::uint8_t*>(exponent.data()),
                                exponent.size() * sizeof exponent[0]},
                               out);
            CHECK(out == words_of(c, each));
            std::vector<std::int64_t> read(outputs);
            keys->secret.open_signed(out, slot, read);
            CHECK(read == values);
            ciphertexts.push_back(out);
        } else if (what == "sum") {
            std::string c;
            in >> c;
            Words sum = ciphertexts[0];
            for (std::size_t i = 1; i < ciphertexts.size(); ++i)
                keys->open.add(sum, ciphertexts[i]);
            CHECK(sum == words_of(c, each));
            std::vector<std::int64_t> expected(outputs), read(outputs);
            for (auto& value : expected) in >> value;
            keys->secret.open_signed(sum, slot, read);
            CHECK(read == expected);
        } else if (what == "product") {
            std::vector<std::int16_t> column(5);
            for (auto& value : column) in >> value;
            std::string c;
            in >> c;
            Words rows;
            for (const std::size_t i : {0, 3, 4, 0, 1})
                rows.insert(rows.end(), ciphertexts[i].begin(), ciphertexts[i].end());
            Words out(each);
            keys->open.product(column, 1, 5, rows, out);
            CHECK(out == words_of(c, each));
            ++products;
        }
    }
    CHECK(products == 4);
}

TEST_CASE("hidden numbers are opened under their masks, and hiding is fresh each time") {
    const Both both;
    auto& [secret, open] = testing_keys();
    constexpr std::uint32_t slot = 100;
    const std::vector<std::int64_t> values{-(std::int64_t{1} << 50) + 1, 0, 7,
                                           (std::int64_t{1} << 50) - 1};
    Words plain(open.words());
    open.encrypt(values, slot, plain);
    Words first_masks;
    for (int round = 0; round < 20; ++round) {
        Words hidden = plain;
        Words masks(values.size());
        open.hide(hidden, slot, masks);
        CHECK(hidden != plain);
        CHECK(masks != first_masks);
        first_masks = masks;
        REQUIRE(secret.check(hidden));
        Words opened(values.size());
        read_slots(secret.decrypt(hidden).span(), slot, opened);
        for (std::size_t i = 0; i < values.size(); ++i)
            CHECK(static_cast<std::int64_t>(opened[i] - masks[i]) == values[i]);
    }
    // the same numbers are never encrypted alike
    Words again(open.words());
    open.encrypt(values, slot, again);
    CHECK(again != plain);
}

TEST_CASE("what was prepared hides a ciphertext each, once, and changes no plaintext") {
    const Both both;
    Keys keys = keys_of(PrivateKey::generate(512));
    const std::size_t words = keys.open.words();
    constexpr std::uint32_t slot_bits = 104;
    std::set<Words> seen;
    // of each round: prepared, used, and what is left of all that was prepared by then
    struct Round {
        std::size_t prepare;
        std::size_t use;
        std::size_t left;
    };
    for (const Round& round : {Round{0, 3, 0}, Round{20, 5, 15}, Round{20, 12, 8}, Round{7, 3, 4},
                               Round{3, 9, 0}, Round{9, 9, 0}}) {
        keys.open.prepare(round.prepare);
        // of the same number, so that two ciphertexts differ by their powers of h alone
        const std::vector<std::int64_t> values(round.use, -7);
        Words sent(round.use * words);
        keys.open.encrypt(values, slot_bits, sent);
        CHECK(keys.open.prepared() == round.left);
        const auto opened = keys.secret.decrypt(sent);
        for (std::size_t i = 0; i < round.use; ++i) {
            const std::span<const std::uint64_t> one = std::span(sent).subspan(i * words, words);
            CHECK(seen.insert(Words(one.begin(), one.end())).second);
            std::int64_t read = 0;
            keys.secret.read_signed(opened.span().subspan(i * (words / 2), words / 2), slot_bits,
                                    std::span(&read, 1));
            CHECK(read == -7);
        }
        if (round.left > 0) {
            Words hidden(sent.begin(), sent.begin() + static_cast<std::ptrdiff_t>(words));
            std::uint64_t mask = 0;
            keys.open.hide(hidden, slot_bits, std::span(&mask, 1));
            CHECK(keys.open.prepared() == round.left - 1);
            std::uint64_t number = 0;
            read_slots(keys.secret.decrypt(hidden).span(), slot_bits, std::span(&number, 1));
            CHECK(static_cast<std::int64_t>(number - mask) == -7);
        }
    }
}

TEST_CASE("products with many rows, at the edges of the digits, and packed answers") {
    const Both both;
    auto& [secret, open] = testing_keys();
    constexpr std::uint32_t slot = 100;
    const std::size_t rows = GENERATE(1, 2, 31, 300);
    const std::size_t features = GENERATE(4, 5);
    std::vector<std::int64_t> values(rows);
    std::vector<std::int16_t> columns(rows * features);
    std::uint64_t state = rows;
    const auto next = [&] {
        return (state = state * 6364136223846793005 + 1442695040888963407) >> 33;
    };
    for (auto& value : values) value = static_cast<std::int64_t>(next() % (1 << 21)) - (1 << 20);
    for (auto& value : columns)
        value = static_cast<std::int16_t>(static_cast<int>(next() % 65535) - 32767);
    std::fill_n(columns.begin(), rows, std::int16_t{0});  // a column of nothing
    Words ciphertexts(rows * open.words());
    open.encrypt(values, slot, ciphertexts);
    REQUIRE(open.check(ciphertexts));
    Words out(features * open.words());
    open.product(columns, features, rows, ciphertexts, out);
    Words packed(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(open.words()));
    for (std::size_t j = 1; j < features; ++j)
        open.append(packed, std::span(out).subspan(j * open.words(), open.words()),
                    static_cast<std::uint32_t>(j) * slot);
    std::vector<std::int64_t> read(features);
    secret.open_signed(packed, slot, read);
    for (std::size_t j = 0; j < features; ++j) {
        std::int64_t expected = 0;
        for (std::size_t i = 0; i < rows; ++i)
            expected += std::int64_t{columns[j * rows + i]} * values[i];
        CHECK(read[j] == expected);
    }
}

TEST_CASE("both paths come to the same bits: ciphertexts, sums, products, plaintexts") {
    if (best_path() == Path::gmp) return;  // there is one
    const std::uint32_t bits = GENERATE(512, 1024, 1152);
    const PrivateKey secret = PrivateKey::generate(bits);
    const std::size_t each = ciphertext_words(bits);
    const std::size_t rows = GENERATE(1, 9, 70);
    const std::size_t features = GENERATE(1, 8, 11);
    std::vector<std::int64_t> values(2 * rows);
    std::vector<std::int16_t> columns(rows * features);
    std::vector<std::uint8_t> alphas(rows * bits / 16);
    std::uint64_t state = rows + features;
    const auto next = [&] {
        return (state = state * 6364136223846793005 + 1442695040888963407) >> 33;
    };
    for (auto& value : values) value = static_cast<std::int64_t>(next() % (1 << 21)) - (1 << 20);
    for (auto& value : columns)
        value = static_cast<std::int16_t>(static_cast<int>(next() % 65535) - 32767);
    for (auto& value : alphas) value = static_cast<std::uint8_t>(next());
    std::fill_n(alphas.begin(), bits / 16, std::uint8_t{255});
    std::vector<Words> came_to[2];
    for (const Path path : {Path::gmp, Path::ifma}) {
        use_path(path);
        auto open = PublicKey::parse(secret.public_bytes(), bits);
        REQUIRE(open);
        Words ciphertexts(rows * each);
        open->encrypt(values, 100, alphas, ciphertexts);
        REQUIRE(open->check(ciphertexts));
        Words sums = ciphertexts;
        open->add(sums, ciphertexts);
        Words one(each);
        open->sum(ciphertexts, one);
        Words slowly(ciphertexts.begin(), ciphertexts.begin() + static_cast<std::ptrdiff_t>(each));
        for (std::size_t i = 1; i < rows; ++i)
            open->add(slowly, std::span(ciphertexts).subspan(i * each, each));
        CHECK(one == slowly);
        Words products(features * each);
        open->product(columns, features, rows, sums, products);
        const auto plain = secret.decrypt(products);
        came_to[path == Path::ifma] = {ciphertexts, sums, products,
                                       Words(plain.span().begin(), plain.span().end())};
    }
    use_path(best_path());
    CHECK(came_to[0] == came_to[1]);
}

TEST_CASE("sums one by one are exact at the edges of the numbers, for every size of key") {
    // (of 1664 bits, n^2 fills its digits so badly that sums are made in two steps)
    const std::uint32_t bits = GENERATE(512, 640, 1024, 1664, 2048);
    const PrivateKey secret = PrivateKey::generate(bits);
    auto open = PublicKey::parse(secret.public_bytes(), bits);
    REQUIRE(open);
    const std::size_t each = open->words();
    const Bytes bytes = secret.public_bytes();
    mpz_t square;
    mpz_t number;
    mpz_inits(square, number, nullptr);
    mpz_import(square, bits / 8, -1, 1, 0, 0, bytes.data());
    mpz_mul(square, square, square);
    const auto put = [&](const mpz_t& from, Words& to) {
        const std::size_t first = to.size();
        to.resize(first + each);
        mpz_export(&to[first], nullptr, -1, sizeof to[0], 0, 0, from);
    };
    // 1, 2, n^2 - 1 and below, halves, numbers with long runs of ones, and others
    Words numbers;
    Rng rng(bits);
    for (int i = 0; i < 43; ++i) {
        if (i < 2) mpz_set_ui(number, static_cast<unsigned long>(1 + i));
        if (i >= 2 && i < 8) mpz_sub_ui(number, square, static_cast<unsigned long>(i - 1));
        if (i >= 8 && i < 12) mpz_fdiv_q_ui(number, square, static_cast<unsigned long>(i - 6));
        if (i >= 12 && i < 24) {
            mpz_set_ui(number, 1);
            mpz_mul_2exp(number, number, (2 * bits - 3) * static_cast<unsigned>(i - 11) / 13);
            mpz_sub_ui(number, number, 1);
        }
        if (i >= 24) {
            std::vector<std::uint64_t> words(each);
            for (std::uint64_t& word : words) word = rng.next();
            mpz_import(number, each, -1, sizeof words[0], 0, 0, words.data());
            mpz_mod(number, number, square);
        }
        put(number, numbers);
    }
    Words expected;
    mpz_t other;
    mpz_init(other);
    for (std::size_t i = 0; i < 43; ++i) {
        mpz_import(number, each, -1, sizeof numbers[0], 0, 0, &numbers[i * each]);
        mpz_import(other, each, -1, sizeof numbers[0], 0, 0, &numbers[(i * 5 + 3) % 43 * each]);
        mpz_mul(number, number, other);
        mpz_mod(number, number, square);
        put(number, expected);
    }
    mpz_clears(square, number, other, nullptr);
    Words others;
    for (std::size_t i = 0; i < 43; ++i) {
        const auto from = numbers.begin() + static_cast<std::ptrdiff_t>((i * 5 + 3) % 43 * each);
        others.insert(others.end(), from, from + static_cast<std::ptrdiff_t>(each));
    }
    for (const Path path : {Path::gmp, Path::ifma}) {
        use_path(path == Path::ifma ? best_path() : path);
        Words sums = numbers;
        open->add(sums, others);
        CHECK(sums == expected);
    }
    use_path(best_path());
}

namespace {

/// Words at their edges more often than chance has them.
Words edgy(Rng& rng, std::size_t count) {
    Words out(count);
    const std::uint64_t kind = rng.below(4);
    for (std::uint64_t& word : out)
        word = kind == 0 || (kind == 1 && rng.below(2) == 0) ? ~std::uint64_t{0}
               : kind == 1                                   ? 0
                                                             : rng.next();
    return out;
}

}  // namespace

TEST_CASE("eight products at once are exact, for any modulus that fills its words") {
    if (!Lanes::possible()) return;  // nothing calls them then
    Rng rng(1);
    mpz_t m;
    mpz_t square;
    mpz_t reciprocal;
    mpz_t a;
    mpz_t b;
    mpz_inits(m, square, reciprocal, a, b, nullptr);
    const auto put = [](const mpz_t& from, std::span<std::uint64_t> to) {
        std::ranges::fill(to, 0);
        mpz_export(to.data(), nullptr, -1, sizeof to[0], 0, 0, from);
    };
    std::size_t wrong = 0;
    for (int round = 0; round < 200; ++round) {
        const std::size_t words = 16 + 8 * rng.below(11);
        Words modulus = edgy(rng, words);
        modulus.front() |= 1;
        modulus.back() |= std::uint64_t{1} << (62 + rng.below(2));
        mpz_import(m, words, -1, sizeof modulus[0], 0, 0, modulus.data());
        mpz_set_ui(square, 1);
        mpz_mul_2exp(square, square, 104 * Lanes::digits_for(words));
        mpz_fdiv_qr(reciprocal, square, square, m);
        Words s(words);
        Words r(mpz_size(reciprocal));
        put(square, s);
        put(reciprocal, r);
        const Lanes lanes(modulus, s, r);
        Eight x(lanes.digits());
        Eight y(lanes.digits());
        Words left(Lanes::count * words);
        Words right(left.size());
        Words found(left.size());
        for (int i = 0; i < 4; ++i) {
            for (std::size_t lane = 0; lane < 2 * Lanes::count; ++lane) {
                const Words some = edgy(rng, words);
                mpz_import(a, words, -1, sizeof some[0], 0, 0, some.data());
                if (rng.below(4) == 0) mpz_sub_ui(a, m, 1 + rng.below(4));
                mpz_mod(a, a, m);
                put(a, std::span(lane % 2 == 0 ? left : right).subspan(lane / 2 * words, words));
            }
            lanes.load(x.data(), left);
            lanes.load(y.data(), right);
            lanes.multiply_plain(x.data(), x.data(), y.data());
            lanes.store_eight(x.data(), found);
            for (std::size_t lane = 0; lane < Lanes::count; ++lane) {
                mpz_import(a, words, -1, sizeof left[0], 0, 0, &left[lane * words]);
                mpz_import(b, words, -1, sizeof left[0], 0, 0, &right[lane * words]);
                mpz_mul(a, a, b);
                mpz_mod(a, a, m);
                Words expected(words);
                put(a, expected);
                wrong += std::equal(expected.begin(), expected.end(), &found[lane * words]) ? 0 : 1;
            }
        }
    }
    mpz_clears(m, square, reciprocal, a, b, nullptr);
    CHECK(wrong == 0);
}

TEST_CASE("what is no key or no ciphertext of it is refused") {
    auto& [secret, open] = testing_keys();
    const Bytes good = secret.public_bytes();
    const auto refused = [&](Bytes bytes, std::uint32_t bits = 512) {
        const auto key = PublicKey::parse(bytes, bits);
        return !key && key.error().code == Errc::malformed_message;
    };
    CHECK(refused({}));
    CHECK(refused(Bytes(good.begin(), good.end() - 1)));
    CHECK(refused(good, 1024));
    Bytes changed = good;
    changed[0] ^= 1;  // n is even
    CHECK(refused(changed));
    changed = good;
    changed[63] = 0;  // n is too small
    CHECK(refused(changed));
    changed = good;
    std::fill(changed.begin() + 64, changed.end(), std::uint8_t{0});  // h = 0
    CHECK(refused(changed));
    changed[64] = 1;  // h = 1: nothing would be hidden
    CHECK(refused(changed));
    changed = good;
    std::copy(good.begin(), good.begin() + 64, changed.begin() + 64);
    std::fill(changed.begin() + 128, changed.end(), std::uint8_t{0});  // h = n
    CHECK(refused(changed));
    std::fill(changed.begin() + 64, changed.end(), std::uint8_t{255});  // h above n^2
    CHECK(refused(changed));

    const std::vector<std::int64_t> values{5, -5};
    Words ciphertexts(2 * open.words());
    open.encrypt(values, 100, ciphertexts);
    CHECK(open.check(ciphertexts));
    CHECK_FALSE(open.check(std::span(ciphertexts).first(open.words() + 1)));
    for (const std::uint64_t fill : {std::uint64_t{0}, UINT64_MAX}) {  // 0, and above n^2
        Words bad = ciphertexts;
        std::fill(bad.begin(), bad.begin() + static_cast<std::ptrdiff_t>(open.words()), fill);
        CHECK_FALSE(open.check(bad));
        CHECK_FALSE(secret.check(bad));
    }
    Words divisor = ciphertexts;  // n itself
    std::fill(divisor.begin(), divisor.begin() + static_cast<std::ptrdiff_t>(open.words()), 0);
    std::copy_n(reinterpret_cast<const std::uint64_t*>(good.data()), 8, divisor.begin());
    CHECK_FALSE(open.check(divisor));
}

TEST_CASE("new keys have two primes that are 3 modulo 4, and differ") {
    const PrivateKey first = PrivateKey::generate(512);
    const PrivateKey second = PrivateKey::generate(512);
    CHECK(first.public_bytes() != second.public_bytes());
    CHECK(first.public_bytes()[0] % 4 == 1);  // 3 times 3
    CHECK(first.key_bits() == 512);
}
