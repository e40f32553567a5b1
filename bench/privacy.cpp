// Encryption on one core: what a batch costs at both ends by lattices, on both paths, and what
// Paillier costs for each number.

#include <array>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/rng.hpp"
#include "measure.hpp"
#include "privacy/paillier/paillier.hpp"
#include "privacy/rlwe/cipher.hpp"
#include "privacy/rlwe/cores.hpp"

namespace vflbus::bench {
namespace {

namespace paillier = privacy::paillier;
namespace rlwe = privacy::rlwe;

/// One shape: encryption with serialising, the member's work with parsing, decryption, plain.
struct Work {
    explicit Work(const rlwe::Shape& shape)
        : plan(rlwe::make_plan(shape).value()),
          rows(shape.rows),
          seed(privacy::random_key()),
          owner(seed.bytes()),
          member(rlwe::Answerer::create(seed.bytes(), owner.zero()).value()) {
        if (plan.packed && !member.take_switch_keys(plan, owner.switch_keys(plan)))
            throw std::runtime_error("switch keys are refused by who asked for them");
        Rng rng(1);
        columns.resize(rows * shape.features);
        values.resize(rows * shape.outputs);
        for (auto& value : columns)
            value = static_cast<std::int16_t>(static_cast<int>(rng.below(65535)) - 32767);
        for (auto& value : values) value = static_cast<std::int32_t>(rng.below(2000)) - 1000;
    }

    /// Processor time in us of each part; false when a number is not that of plain integers.
    bool once(std::array<double, 3>& us) {
        const double start = thread_cpu_seconds();
        const rlwe::Bytes sent = owner.encrypt(plan, values, rows);
        const double encrypted = thread_cpu_seconds();
        auto answer = member.answer(plan, columns, rows, sent);
        const double answered = thread_cpu_seconds();
        const auto opened = owner.decrypt(plan, answer.value().bytes);
        const double decrypted = thread_cpu_seconds();
        us = {1e6 * (encrypted - start), 1e6 * (answered - encrypted),
              1e6 * (decrypted - answered)};
        down = sent.size();
        up = answer->bytes.size();
        return rlwe::unmask(plan, opened.value(), answer->masks).value() ==
               rlwe::plain_product(plan, columns, values, rows);
    }

    rlwe::Plan plan;
    std::size_t rows;
    privacy::Key seed;
    rlwe::KeyOwner owner;
    rlwe::Answerer member;
    std::vector<std::int16_t> columns;
    std::vector<std::int32_t> values;
    std::size_t down = 0;
    std::size_t up = 0;
};

/// Milliseconds of both sides together.
double measure_shape(Report& report, const rlwe::Shape& shape, int rounds, const std::string& path,
                     const std::array<double, 3>& bars) {
    Work work(shape);
    std::array<std::vector<double>, 3> us;
    for (int round = 0; round < rounds; ++round) {
        std::array<double, 3> once{};
        if (!work.once(once)) throw std::runtime_error("encrypted products are not the plain ones");
        for (std::size_t i = 0; i < 3; ++i) us[i].push_back(once[i]);
    }
    const std::string name = std::to_string(shape.rows) + " x " + std::to_string(shape.features) +
                             " x " + std::to_string(shape.outputs) + ", " + path +
                             (work.plan.packed ? ", packed" : "");
    const char* const parts[] = {"encrypt and serialise ", "member's answer ", "decrypt "};
    const std::size_t bytes[] = {work.down, work.up, 0};
    for (std::size_t i = 0; i < 3; ++i) {
        std::optional<Bar> bar;
        if (bars[i] > 0) bar = Bar{Bar::Kind::at_most, bars[i]};
        report.add(single(parts[i] + name, "us", quantile(us[i], .5), bar,
                          bytes[i] == 0 ? "" : std::to_string(bytes[i] / 1024) + " KiB"));
    }
    return (quantile(us[0], .5) + quantile(us[1], .5) + quantile(us[2], .5)) / 1000;
}

/// 4,096 x 330 on a line of 50 Mbit/s, one epoch of 100,000 rows under one key.
rlwe::Shape packed_shape() {
    rlwe::Shape shape{4096, 330, 1, 25};
    shape.products_per_key = 25;
    shape.line = rlwe::line_of(160e-6, .009);
    return shape;
}

/// Numbers a second of processor time.
template <class Once>
double rate_of(std::size_t numbers, int rounds, Once once) {
    std::vector<double> seconds;
    for (int round = 0; round < rounds; ++round) {
        const double start = thread_cpu_seconds();
        once();
        seconds.push_back(thread_cpu_seconds() - start);
    }
    return static_cast<double>(numbers) / quantile(seconds, .5);
}

/// Encryption, addition, products with columns and decryption under a key of so many bits, numbers
/// a second; bars in this order, or none.
std::array<double, 4> measure_paillier(Report& report, std::uint32_t key_bits,
                                       const std::array<double, 4>& bars, bool quick) {
    constexpr std::uint32_t slot_bits = 104;
    constexpr std::size_t features = 8;
    const std::size_t rows = quick ? 64 : 4096;
    const std::size_t fresh = quick ? 8 : 64;
    const int rounds = quick ? 1 : 5;
    const paillier::PrivateKey secret = paillier::PrivateKey::generate(key_bits);
    paillier::PublicKey key = paillier::PublicKey::parse(secret.public_bytes(), key_bits).value();
    const std::size_t words = key.words();
    Rng rng(1);
    std::vector<std::int64_t> values(rows);
    for (auto& value : values) value = static_cast<std::int64_t>(rng.below(2000)) - 1000;
    std::vector<std::uint64_t> ciphertexts(rows * words);
    const std::span<std::uint64_t> all(ciphertexts);
    std::array<double, 4> rates{};
    key.encrypt(std::span(values).first(fresh), slot_bits, all.first(fresh * words));  // tables
    rates[0] = rate_of(fresh, rounds, [&] {
        key.encrypt(std::span(values).first(fresh), slot_bits, all.first(fresh * words));
    });
    // the others are sums of these, with their values
    for (std::size_t i = fresh; i < rows; ++i) {
        std::ranges::copy(all.subspan((i % fresh) * words, words),
                          all.subspan(i * words, words).begin());
        key.add(all.subspan(i * words, words), all.subspan((i - 1) % fresh * words, words));
        values[i] = values[i % fresh] + values[(i - 1) % fresh];
    }
    // one by one: to each ciphertext another, from words to words; and the sum of all
    std::vector<std::uint64_t> sums = ciphertexts;
    rates[1] = rate_of(rows, rounds, [&] { key.add(sums, ciphertexts); });
    std::vector<std::uint64_t> total(words);
    const double in_a_sum = rate_of(rows, rounds, [&] { key.sum(ciphertexts, total); });
    std::vector<std::int16_t> columns(rows * features);
    for (auto& value : columns)
        value = static_cast<std::int16_t>(static_cast<int>(rng.below(65535)) - 32767);
    std::vector<std::uint64_t> products(features * words);
    rates[2] = rate_of(rows * features, quick ? 1 : 3,
                       [&] { key.product(columns, features, rows, ciphertexts, products); });
    std::vector<std::int64_t> read(features);
    // all at once, as an arbiter opens them
    rates[3] = rate_of(features, rounds, [&] {
        const auto opened = secret.decrypt(products);
        for (std::size_t j = 0; j < features; ++j)
            secret.read_signed(opened.span().subspan(j * (words / 2), words / 2), slot_bits,
                               std::span(read).subspan(j, 1));
    });
    for (std::size_t j = 0; j < features; ++j) {
        std::int64_t expected = 0;
        for (std::size_t i = 0; i < rows; ++i)
            expected += std::int64_t{columns[j * rows + i]} * values[i];
        if (read[j] != expected)
            throw std::runtime_error("Paillier's products are not the plain ones");
    }
    const char* const parts[] = {"encryptions ", "additions ", "products with a column's number ",
                                 "decryptions "};
    const std::string name = "Paillier " + std::to_string(key_bits) + ", " +
                             (paillier::path() == paillier::Path::ifma ? "IFMA" : "GMP");
    for (std::size_t i = 0; i < rates.size(); ++i) {
        std::optional<Bar> bar;
        if (bars[i] > 0) bar = Bar{Bar::Kind::at_least, bars[i]};
        report.add(single(parts[i] + name, "/s", rates[i], bar, ""));
    }
    report.add(single("additions in one sum " + name, "/s", in_a_sum, {}, ""));
    return rates;
}

/// What the same batch takes with Paillier, by these rates, in times of what it takes here.
void compare(Report& report, const rlwe::Shape& shape, double ms,
             const std::array<double, 4>& rates, const std::string& name) {
    const auto rows = static_cast<double>(shape.rows);
    const auto features = static_cast<double>(shape.features);
    const double theirs =
        1000 * (rows / rates[0] + rows * features / rates[2] + features / rates[3]);
    report.add(single("Paillier " + name + " for " + std::to_string(shape.rows) + " x " +
                          std::to_string(shape.features) + " in times of lattices",
                      "x", theirs / ms, {}, std::to_string(std::llround(theirs)) + " ms"));
}

}  // namespace

void measure_privacy(Report& report, const Settings& settings) {
    report.section("Encryption",
                   "one batch under the protocol encrypted, processor time of one core; bars: nine "
                   "tenths of the speed of the prototype that the engine was measured against");
    rlwe::use_cores(1);
    const int rounds = settings.rounds > 0 ? settings.rounds : settings.quick ? 2 : 25;
    const rlwe::Shape small{256, 30, 1, 1000};
    const rlwe::Shape large{4096, 330, 1, 1000};
    double small_ms = 0;
    double large_ms = 0;
    if (rlwe::best_path() == rlwe::Path::ifma) {
        small_ms = measure_shape(report, small, 2 * rounds, "IFMA", {120 / .9, 230 / .9, 0});
        measure_shape(report, {1024, 100, 1, 1000}, rounds, "IFMA", {});
        large_ms =
            measure_shape(report, large, settings.quick ? 1 : 9, "IFMA", {0, 12'000 / .9, 0});
        measure_shape(report, packed_shape(), settings.quick ? 1 : 9, "IFMA", {0, 24'000 / .9, 0});
        measure_shape(report, {256, 30, 19, 1000}, settings.quick ? 1 : 9, "IFMA", {});
    }
    rlwe::use_path(rlwe::Path::portable);
    const double portable_ms = measure_shape(report, small, rounds, "portable", {});
    if (!settings.quick) measure_shape(report, packed_shape(), 3, "portable", {});
    rlwe::use_path(rlwe::best_path());
    if (paillier::best_path() == paillier::Path::ifma) {
        const auto rates =
            measure_paillier(report, 2048, {9'000, 1'300'000, 450'000, 2'400}, settings.quick);
        compare(report, small, small_ms, rates, "2048, IFMA");
        compare(report, large, large_ms, rates, "2048, IFMA");
        if (!settings.quick) measure_paillier(report, 3072, {}, false);
    }
    paillier::use_path(paillier::Path::gmp);
    compare(report, small, portable_ms,
            measure_paillier(report, 2048, {1'200, 150'000, 60'000, 380}, settings.quick),
            "2048, GMP");
    paillier::use_path(paillier::best_path());
    rlwe::use_cores(0);
}

}  // namespace vflbus::bench
