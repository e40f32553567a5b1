#include "actors/training/linear/share_cipher.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "base/planted.hpp"
#include "privacy/masks/stream.hpp"
#include "privacy/paillier/paillier.hpp"
#include "privacy/rlwe/cipher.hpp"

namespace vflbus::actors::linear {
namespace {

namespace paillier = privacy::paillier;
namespace rlwe = privacy::rlwe;

OpenedWatch watch_of_opened = nullptr;

Bytes bytes_of(std::span<const std::uint64_t> words) {
    Bytes out(words.size_bytes());
    if (!out.empty()) std::memcpy(out.data(), words.data(), out.size());
    return out;
}

// -- without encryption ----------------------------------------------------------------------

/// Integers modulo 2^64 as they are: for finding faults. Results are hidden all the same, so that
/// the messages are those of the other ways.
class PlainCipher final : public ShareCipher {
  public:
    explicit PlainCipher(const SharePlan& plan) : plan_(plan), random_(privacy::random_key()) {}

    std::vector<std::uint64_t> encrypt(std::span<const std::int64_t> values, std::size_t) override {
        return {values.begin(), values.end()};
    }
    Result<> check(std::span<const std::uint64_t>) const override { return {}; }
    void add(std::span<std::uint64_t> sum, std::span<const std::uint64_t> other) const override {
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
    }
    void weigh(std::span<std::uint64_t> words, std::size_t rows,
               std::span<const std::int16_t> weights) override {
        for (std::size_t i = 0; i < words.size(); ++i)
            words[i] *= static_cast<std::uint64_t>(weights[i % rows]);
    }
    Result<Answer> product(std::span<const std::int16_t> columns, std::size_t features,
                           std::size_t rows, std::span<const std::uint64_t> sum) override {
        Answer out;
        out.masks = privacy::SecretVector<std::uint64_t>(features * plan_.outputs);
        if (VFLBUS_PLANTED(arbiter_mask_used_twice)) random_ = privacy::AesStream(privacy::Key());
        random_.fill(out.masks.span());
        if (VFLBUS_PLANTED(arbiter_mask_left_out)) std::ranges::fill(out.masks.span(), 0);
        std::vector<std::uint64_t> results(out.masks.size());
        for (std::size_t k = 0; k < plan_.outputs; ++k)
            for (std::size_t j = 0; j < features; ++j) {
                std::uint64_t result = out.masks[k * features + j];
                for (std::size_t i = 0; i < rows; ++i)
                    result += static_cast<std::uint64_t>(std::int64_t{columns[j * rows + i]}) *
                              sum[k * rows + i];
                results[k * features + j] = result;
            }
        out.bytes = bytes_of(results);
        return out;
    }

  private:
    SharePlan plan_;
    privacy::AesStream random_;
};

class PlainOpener final : public ShareOpener {
  public:
    Bytes public_key() const override { return {}; }
    Result<std::vector<std::uint64_t>> open(std::size_t, Body answer) override {
        return words_of(answer);
    }
};

// -- Paillier --------------------------------------------------------------------------------

/// Outputs share a plaintext, as they are multiplied by the same columns: group g of row i is the
/// ciphertext g * rows + i. Of results, several features share one as well.
class PaillierCipher final : public ShareCipher {
    /// Of powers that are kept for the next ciphertexts, of up to 768 bytes each.
    static constexpr std::size_t prepared_max = 16'384;

  public:
    PaillierCipher(const SharePlan& plan, paillier::PublicKey key)
        : plan_(plan), key_(std::move(key)) {}

    std::vector<std::uint64_t> encrypt(std::span<const std::int64_t> values,
                                       std::size_t rows) override {
        std::vector<std::uint64_t> out(plan_.words(rows));
        for (std::size_t g = 0; g < plan_.output_groups(); ++g) {
            const std::size_t outputs = plan_.outputs_in(g);
            privacy::SecretVector<std::int64_t> slots(rows * outputs);
            for (std::size_t i = 0; i < rows; ++i)
                for (std::size_t k = 0; k < outputs; ++k)
                    slots[i * outputs + k] = values[(g * plan_.output_group() + k) * rows + i];
            key_.encrypt(slots.span(), plan_.slot_bits,
                         std::span(out).subspan(g * rows * key_.words(), rows * key_.words()));
        }
        return out;
    }
    void prepare(std::size_t rows, std::size_t features) override {
        std::size_t count = plan_.output_groups() * rows;
        for (std::size_t g = 0; g < plan_.output_groups(); ++g)
            count += (features + plan_.features_together(g) - 1) / plan_.features_together(g);
        key_.prepare(std::min(count, prepared_max));
    }
    Result<> check(std::span<const std::uint64_t> words) const override {
        return key_.check(words);
    }
    void add(std::span<std::uint64_t> sum, std::span<const std::uint64_t> other) const override {
        key_.add(sum, other);
    }

    void weigh(std::span<std::uint64_t> words, std::size_t rows,
               std::span<const std::int16_t> weights) override {
        std::vector<std::uint64_t> power(key_.words());
        for (std::size_t at = 0; at < words.size() / key_.words(); ++at) {
            const auto ciphertext = words.subspan(at * key_.words(), key_.words());
            key_.product(weights.subspan(at % rows, 1), 1, 1, ciphertext, power);
            std::ranges::copy(power, ciphertext.begin());
        }
        const std::vector<std::int64_t> nothing(rows * plan_.outputs);
        key_.add(words, encrypt(nothing, rows));
    }
    Result<Answer> product(std::span<const std::int16_t> columns, std::size_t features,
                           std::size_t rows, std::span<const std::uint64_t> sum) override {
        Answer out;
        out.masks = privacy::SecretVector<std::uint64_t>(features * plan_.outputs);
        std::vector<std::uint64_t> results(features * key_.words());
        for (std::size_t g = 0; g < plan_.output_groups(); ++g) {
            key_.product(columns, features, rows,
                         sum.subspan(g * rows * key_.words(), rows * key_.words()), results);
            const std::size_t together = plan_.features_together(g);
            for (std::size_t first = 0; first < features; first += together)
                hide(g, first, std::min(together, features - first), features, results, out);
        }
        return out;
    }

  private:
    /// Puts the results of `count` features from `first` on into one ciphertext, hides it, and
    /// appends it to the answer.
    void hide(std::size_t group, std::size_t first, std::size_t count, std::size_t features,
              std::span<std::uint64_t> results, Answer& out) {
        const std::size_t outputs = plan_.outputs_in(group);
        const auto shift = static_cast<std::uint32_t>(plan_.slot_bits * outputs);
        const auto at = [&](std::size_t j) {
            return results.subspan((first + j) * key_.words(), key_.words());
        };
        for (std::size_t j = count - 1; j > 0; --j) key_.append(at(j - 1), at(j), shift);
        privacy::SecretVector<std::uint64_t> masks(count * outputs);
        key_.hide(at(0), plan_.slot_bits, masks.span());
        for (std::size_t j = 0; j < count; ++j)
            for (std::size_t k = 0; k < outputs; ++k)
                out.masks[(group * plan_.output_group() + k) * features + first + j] =
                    masks[j * outputs + k];
        const Bytes bytes = bytes_of(at(0));
        out.bytes.insert(out.bytes.end(), bytes.begin(), bytes.end());
    }

    SharePlan plan_;
    paillier::PublicKey key_;
};

class PaillierOpener final : public ShareOpener {
  public:
    explicit PaillierOpener(const SharePlan& plan)
        : plan_(plan), key_(paillier::PrivateKey::generate(plan.key_bits)) {}

    Bytes public_key() const override { return key_.public_bytes(); }

    Result<std::vector<std::uint64_t>> open(std::size_t features, Body answer) override {
        const std::vector<std::uint64_t> words = words_of(answer);
        if (auto good = key_.check(words); !good) return tl::unexpected(std::move(good.error()));
        const privacy::SecretVector<std::uint64_t> plaintexts = key_.decrypt(words);
        std::vector<std::uint64_t> out(features * plan_.outputs);
        std::vector<std::uint64_t> numbers;
        std::span<const std::uint64_t> rest(plaintexts.span());
        const std::size_t each = plan_.key_bits / 64;
        for (std::size_t g = 0; g < plan_.output_groups(); ++g) {
            const std::size_t outputs = plan_.outputs_in(g);
            const std::size_t together = plan_.features_together(g);
            for (std::size_t first = 0; first < features; first += together) {
                const std::size_t count = std::min(together, features - first);
                numbers.resize(count * outputs);
                paillier::read_slots(rest.first(each), plan_.slot_bits, numbers);
                rest = rest.subspan(each);
                for (std::size_t j = 0; j < count; ++j)
                    for (std::size_t k = 0; k < outputs; ++k)
                        out[(g * plan_.output_group() + k) * features + first + j] =
                            numbers[j * outputs + k];
            }
        }
        return out;
    }

  private:
    SharePlan plan_;
    paillier::PrivateKey key_;
};

// -- lattices ----------------------------------------------------------------------------------

Body bytes_view(std::span<const std::uint64_t> words) {
    return {reinterpret_cast<const std::uint8_t*>(words.data()), words.size_bytes()};
}

class LatticeCipher final : public ShareCipher {
  public:
    LatticeCipher(const SharePlan& plan, rlwe::Encrypter encrypter, rlwe::Answerer answerer)
        : plan_(plan), encrypter_(std::move(encrypter)), answerer_(std::move(answerer)) {}

    std::vector<std::uint64_t> encrypt(std::span<const std::int64_t> values,
                                       std::size_t rows) override {
        if (rows == 0) return {};
        privacy::SecretVector<std::int32_t> small(values.size());
        std::ranges::transform(values, small.data(),
                               [](std::int64_t value) { return static_cast<std::int32_t>(value); });
        return words_of(encrypter_.encrypt(plan_.lattice, small.span(), rows));
    }
    Result<> check(std::span<const std::uint64_t> words) const override {
        return rlwe::check_shared(bytes_view(words));
    }
    void add(std::span<std::uint64_t> sum, std::span<const std::uint64_t> other) const override {
        rlwe::add_shared({reinterpret_cast<std::uint8_t*>(sum.data()), sum.size_bytes()},
                         bytes_view(other));
    }
    void weigh(std::span<std::uint64_t>, std::size_t, std::span<const std::int16_t>) override {
        VFLBUS_ASSERT(false, "a plan with lattices has no weights");
    }
    Result<Answer> product(std::span<const std::int16_t> columns, std::size_t features,
                           std::size_t rows, std::span<const std::uint64_t> sum) override {
        const auto plan = rlwe::for_features(plan_.lattice, features);
        if (!plan) return tl::unexpected(plan.error());
        auto answer = answerer_.answer(*plan, columns, rows, bytes_view(sum));
        if (!answer) return tl::unexpected(std::move(answer.error()));
        return Answer{std::move(answer->bytes), std::move(answer->masks)};
    }

  private:
    SharePlan plan_;
    rlwe::Encrypter encrypter_;
    rlwe::Answerer answerer_;
};

class LatticeOpener final : public ShareOpener {
  public:
    LatticeOpener(const SharePlan& plan, const Hash256& seed) : plan_(plan), owner_(seed) {}

    Bytes public_key() const override { return owner_.zero(); }
    Result<std::vector<std::uint64_t>> open(std::size_t features, Body answer) override {
        const auto plan = rlwe::for_features(plan_.lattice, features);
        if (!plan) return tl::unexpected(plan.error());
        return owner_.decrypt(*plan, answer);
    }

  private:
    SharePlan plan_;
    rlwe::KeyOwner owner_;
};

}  // namespace

std::vector<std::uint64_t> words_of(Body bytes) {
    std::vector<std::uint64_t> out(bytes.size() / sizeof(std::uint64_t));
    if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof out[0]);
    return out;
}

Result<std::unique_ptr<ShareCipher>> ShareCipher::create(const SharePlan& plan, const Hash256& seed,
                                                         Body key) {
    switch (plan.encryption) {
        case config::Encryption::none:
            if (!key.empty()) return fail(Errc::malformed_message, "a key where none belongs");
            return std::make_unique<PlainCipher>(plan);
        case config::Encryption::paillier: {
            auto parsed = paillier::PublicKey::parse(key, plan.key_bits);
            if (!parsed) return tl::unexpected(std::move(parsed.error()));
            return std::make_unique<PaillierCipher>(plan, std::move(*parsed));
        }
        case config::Encryption::rlwe:
            break;
    }
    auto encrypter = rlwe::Encrypter::create(seed, key);
    if (!encrypter) return tl::unexpected(std::move(encrypter.error()));
    auto answerer = rlwe::Answerer::create(seed, key);
    if (!answerer) return tl::unexpected(std::move(answerer.error()));
    return std::make_unique<LatticeCipher>(plan, std::move(*encrypter), std::move(*answerer));
}

std::unique_ptr<ShareOpener> ShareOpener::create(const SharePlan& plan, const Hash256& seed) {
    switch (plan.encryption) {
        case config::Encryption::none:
            return std::make_unique<PlainOpener>();
        case config::Encryption::paillier:
            return std::make_unique<PaillierOpener>(plan);
        case config::Encryption::rlwe:
            break;
    }
    return std::make_unique<LatticeOpener>(plan, seed);
}

void watch_opened(OpenedWatch watch) noexcept {
    watch_of_opened = watch;
}
void note_opened(std::size_t party, std::span<const std::uint64_t> numbers) {
    if (watch_of_opened != nullptr) watch_of_opened(party, numbers);
}

}  // namespace vflbus::actors::linear
