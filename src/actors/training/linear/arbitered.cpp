#include "actors/training/linear/arbitered.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "base/planted.hpp"
#include "base/text.hpp"
#include "privacy/masks/stream.hpp"
#include "privacy/paillier/paillier.hpp"

namespace vflbus::actors::linear {
namespace {

namespace paillier = privacy::paillier;
namespace rlwe = privacy::rlwe;

/// A sum over the rows of columns times residuals stays below 2^49 in magnitude.
constexpr std::uint32_t product_bits = 49;
constexpr std::uint32_t share_bits_max = 20;
constexpr std::uint32_t share_bits_min = 12;
/// Results are hidden by so many bits, over all results of a run.
constexpr std::uint32_t hidden_bits = 40;
/// ... where a party has up to 2^10 columns.
constexpr std::uint32_t column_count_bits = 10;

std::uint32_t bits_of(std::uint64_t value) {
    return static_cast<std::uint32_t>(std::bit_width(value));
}

Bytes bytes_of(std::span<const std::uint64_t> words) {
    Bytes out(words.size_bytes());
    if (!out.empty()) std::memcpy(out.data(), words.data(), out.size());
    return out;
}
std::vector<std::uint64_t> words_of(Body bytes) {
    std::vector<std::uint64_t> out(bytes.size() / sizeof(std::uint64_t));
    if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof out[0]);
    return out;
}

OpenedWatch watch_of_opened = nullptr;

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
    Result<> check(std::span<const std::uint64_t> words) const override {
        return key_.check(words);
    }
    void add(std::span<std::uint64_t> sum, std::span<const std::uint64_t> other) const override {
        key_.add(sum, other);
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

/// The layout is made for so many columns, and serves for any number.
constexpr std::size_t lattice_columns = 64;

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

// -- the plan -------------------------------------------------------------------------------

std::size_t SharePlan::output_group() const {
    if (encryption != config::Encryption::paillier) return outputs;
    return std::min(outputs, paillier::slots_of(key_bits, slot_bits));
}
std::size_t SharePlan::output_groups() const {
    return (outputs + output_group() - 1) / output_group();
}
std::size_t SharePlan::outputs_in(std::size_t group) const {
    return std::min(output_group(), outputs - group * output_group());
}
std::size_t SharePlan::features_together(std::size_t group) const {
    return paillier::slots_of(key_bits, slot_bits) / outputs_in(group);
}
std::size_t SharePlan::answer_ciphertexts(std::size_t features) const {
    std::size_t count = 0;
    for (std::size_t g = 0; g < output_groups(); ++g)
        count += (features + features_together(g) - 1) / features_together(g);
    return count;
}
std::size_t SharePlan::words(std::size_t batch_rows) const {
    if (encryption == config::Encryption::none) return batch_rows * outputs;
    if (encryption == config::Encryption::rlwe)
        return batch_rows == 0 ? 0
                               : lattice.ciphertexts() * rlwe::shared_ciphertext_bytes() /
                                     sizeof(std::uint64_t);
    return batch_rows * output_groups() * paillier::ciphertext_words(key_bits);
}
std::size_t SharePlan::answer_bytes(std::size_t features) const {
    if (encryption == config::Encryption::none) return features * outputs * sizeof(std::uint64_t);
    if (encryption == config::Encryption::rlwe) {
        const auto plan = rlwe::for_features(lattice, features);
        std::size_t bytes = 0;
        for (std::size_t f = 0; plan && f < plan->feature_groups(); ++f)
            for (std::size_t g = 0; g < plan->output_groups(); ++g)
                bytes += rlwe::answer_bytes(*plan, plan->wanted(f, g).size());
        return bytes;
    }
    return answer_ciphertexts(features) * paillier::ciphertext_words(key_bits) *
           sizeof(std::uint64_t);
}

namespace {

/// The layout with the most bits of residuals that leave the flood wide enough for a party with up
/// to 2^10 columns. It is asked for whatever encrypts, so that shares are the same integers in all
/// ways.
std::optional<rlwe::Plan> lattice_of(std::size_t rows, std::size_t outputs, std::uint64_t products,
                                     std::size_t parties, std::uint32_t bits) {
    for (bits = std::min(bits, share_bits_max); bits >= share_bits_min; --bits) {
        const auto plan =
            rlwe::make_plan({rows, lattice_columns, outputs, products, parties, bits});
        if (plan && rlwe::for_features(*plan, std::size_t{1} << column_count_bits)) return *plan;
    }
    return {};
}

}  // namespace

Result<> check_columns(const SharePlan& plan, std::size_t features) {
    if (plan.encryption == config::Encryption::rlwe) {
        const auto own = rlwe::for_features(plan.lattice, features);
        if (!own)
            return fail(own.error().code, "has " + std::to_string(features) +
                                              " columns: " + own.error().sentence +
                                              ", or state run.he = \"paillier\"");
    }
    if (features > share_columns_max)
        return fail(Errc::too_large, "has " + std::to_string(features) + " columns, more than " +
                                         std::to_string(share_columns_max));
    return {};
}

Result<SharePlan> plan_shares(const config::AgreedHalf& agreed, std::size_t rows,
                              std::size_t outputs, std::uint64_t steps,
                              std::uint64_t message_bytes_max) {
    SharePlan plan;
    plan.encryption = agreed.run.he;
    plan.key_bits = static_cast<std::uint32_t>(agreed.run.he_key_bits);
    plan.rows = rows;
    plan.outputs = outputs;
    plan.parties = agreed.run.world_size + 1;
    const std::uint32_t others = privacy::rlwe::column_bits + bits_of(rows);
    if (others + share_bits_min > product_bits)
        return fail(Errc::too_large, "sums over " + std::to_string(rows) +
                                         " rows do not fit into encrypted numbers: lower "
                                         "model.batch_size");
    const std::optional<rlwe::Plan> lattice =
        lattice_of(rows, outputs, products_of(agreed, steps), plan.parties, product_bits - others);
    plan.residual_bits =
        lattice ? lattice->residual_bits : std::min(share_bits_max, product_bits - others);
    plan.share_most = std::floor(std::ldexp(1.0, static_cast<int>(plan.residual_bits)) /
                                 static_cast<double>(plan.parties));
    plan.slot_bits = paillier::value_bits + 2 + hidden_bits + column_count_bits +
                     bits_of(products_of(agreed, steps)) + bits_of(outputs);
    if (plan.encryption == config::Encryption::rlwe && !lattice)
        return fail(Errc::too_large,
                    "the noise of encrypted sums over " + std::to_string(rows) +
                        " rows would not be hidden by " +
                        std::to_string(static_cast<int>(rlwe::flood_bits_min)) +
                        " bits over the whole training: take fewer rows in a batch "
                        "(model.batch_size), or fewer epochs, or state run.he = \"paillier\"");
    if (lattice) plan.lattice = *lattice;
    const std::uint64_t bytes = plan.words(rows) * sizeof(std::uint64_t);
    if (bytes > message_bytes_max - message_bytes_max / 4)
        return fail(Errc::too_large,
                    "the encrypted scores of a batch of " + std::to_string(rows) + " rows have " +
                        human_bytes(bytes) + ", more than a message of " +
                        human_bytes(message_bytes_max) +
                        " (bus.message_bytes_max, of this party or its broker) holds: lower "
                        "model.batch_size");
    return plan;
}

// -- messages -----------------------------------------------------------------------------

Bytes encode(const ShareSetup& m) {
    bus::Writer w;
    w.array(3).array(m.exponents.size());
    for (const std::int64_t exponent : m.exponents) w.i64(exponent);
    return w.bin(m.seed).bin(m.key).take();
}

Result<ShareSetup> decode_share_setup(Body body) {
    bus::Reader r("arbiter's key", body, 3);
    ShareSetup m;
    m.exponents.resize(r.enter());
    for (std::int64_t& exponent : m.exponents) {
        exponent = r.i64();
        if (exponent < -exponent_max || exponent > exponent_max)
            r.fault("shares times 2^" + std::to_string(exponent) + " make no sense");
    }
    r.leave();
    r.fixed_bin(m.seed);
    const Body key = r.bin();
    m.key.assign(key.begin(), key.end());
    return bus::finished(r, std::move(m));
}

Bytes encode(const ArbiterKeyRequest& m) {
    bus::Writer w;
    return w.array(4).u64(m.rows).u64(m.outputs).u64(m.steps).bin(m.seed).take();
}
Result<ArbiterKeyRequest> decode_arbiter_key_request(Body body) {
    bus::Reader r("arbiter_key", body, 4);
    ArbiterKeyRequest m;
    m.rows = r.u64();
    m.outputs = r.u64();
    m.steps = r.u64();
    r.fixed_bin(m.seed);
    return bus::finished(r, std::move(m));
}
Bytes encode_arbiter_key_reply(Body key) {
    bus::Writer w;
    return w.array(1).bin(key).take();
}
Result<Body> decode_arbiter_key_reply(Body body) {
    bus::Reader r("arbiter_key reply", body, 1);
    const Body key = r.bin();
    if (auto done = r.finish(); !done) return tl::unexpected(std::move(done.error()));
    return key;
}

Bytes encode(const OpenRequest& m) {
    bus::Writer w;
    w.array(3).u64(m.step).array(m.features.size());
    for (const std::uint64_t features : m.features) w.u64(features);
    w.array(m.answers.size());
    for (const Body answer : m.answers) w.bin(answer);
    return w.take();
}
Result<OpenRequest> decode_open_request(Body body) {
    bus::Reader r("open", body, 3);
    OpenRequest m;
    m.step = r.u64();
    m.features.resize(r.enter());
    for (std::uint64_t& features : m.features) features = r.u64();
    r.leave();
    m.answers.resize(r.enter(m.features.size()));
    for (Body& answer : m.answers) answer = r.bin();
    r.leave();
    return bus::finished(r, std::move(m));
}
Bytes encode_open_reply(const std::vector<std::vector<std::uint64_t>>& opened) {
    bus::Writer w;
    w.array(1).array(opened.size());
    for (const auto& numbers : opened) w.ring_tensor(numbers, numbers.size(), 1);
    return w.take();
}
Result<std::vector<TensorView>> decode_open_reply(Body body) {
    bus::Reader r("open reply", body, 1);
    std::vector<TensorView> opened(r.enter());
    for (TensorView& numbers : opened) numbers = r.tensor();
    r.leave();
    return bus::finished(r, std::move(opened));
}

// -- encryption -----------------------------------------------------------------------------

Result<std::unique_ptr<ShareCipher>> ShareCipher::create(const SharePlan& plan,
                                                         const ShareSetup& setup) {
    switch (plan.encryption) {
        case config::Encryption::none:
            if (!setup.key.empty())
                return fail(Errc::malformed_message, "a key where none belongs");
            return std::make_unique<PlainCipher>(plan);
        case config::Encryption::paillier: {
            auto parsed = paillier::PublicKey::parse(setup.key, plan.key_bits);
            if (!parsed) return tl::unexpected(std::move(parsed.error()));
            return std::make_unique<PaillierCipher>(plan, std::move(*parsed));
        }
        case config::Encryption::rlwe:
            break;
    }
    auto encrypter = rlwe::Encrypter::create(setup.seed, setup.key);
    if (!encrypter) return tl::unexpected(std::move(encrypter.error()));
    auto answerer = rlwe::Answerer::create(setup.seed, setup.key);
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

// -- a party with columns ---------------------------------------------------------------------

Result<SharingParty> SharingParty::create(const SharePlan& plan, const ShareSetup& setup) {
    if (setup.exponents.size() != plan.outputs)
        return fail(Errc::malformed_message,
                    "exponents of " + std::to_string(setup.exponents.size()) +
                        " outputs where there are " + std::to_string(plan.outputs));
    SharingParty out;
    out.plan_ = plan;
    out.exponents_.assign(setup.exponents.begin(), setup.exponents.end());
    auto cipher = ShareCipher::create(plan, setup);
    if (!cipher) return tl::unexpected(std::move(cipher.error()));
    out.cipher_ = std::move(*cipher);
    return out;
}

Result<SentTensor> SharingParty::share(models::ConstMatrixView numbers) {
    std::vector<std::int64_t> values(numbers.size());
    for (std::size_t k = 0; k < numbers.cols; ++k)
        for (std::size_t i = 0; i < numbers.rows; ++i) {
            const double value = std::nearbyint(std::ldexp(numbers(i, k), exponents_[k]));
            // (also where it is not finite)
            if (!(std::abs(value) <= plan_.share_most))
                // (the sentence goes to all parties, and a score is nobody's but this one's)
                return fail(Errc::diverged,
                            "a score is too large for protocol arbitered: lower "
                            "model.learning_rate, or standardize the columns");
            values[k * numbers.rows + i] = static_cast<std::int64_t>(value);
        }
    words_ = cipher_->encrypt(values, numbers.rows);
    privacy::wipe(std::span(values));
    return SentTensor(words_, words_.size(), 1);
}

Result<> SharingParty::add(const TensorView& other) {
    if (!other.ring || other.cols != 1 || other.rows != words_.size())
        return fail(Errc::malformed_message, "encrypted scores of " + std::to_string(other.rows) +
                                                 " words where " + std::to_string(words_.size()) +
                                                 " belong");
    std::vector<std::uint64_t> words(words_.size());
    other.copy_to(words);
    if (auto good = cipher_->check(words); !good) return good;
    cipher_->add(words_, words);
    return {};
}

Body SharingParty::sum() const {
    return {reinterpret_cast<const std::uint8_t*>(words_.data()),
            words_.size() * sizeof(std::uint64_t)};
}

Result<Bytes> SharingParty::product(std::uint64_t step, const IntegerColumns& columns,
                                    std::size_t features, std::size_t rows, Body sum) {
    if (pending_ && pending_->step == step)
        return fail(Errc::handler_failed,
                    "has answered the product of step " + std::to_string(step));
    if (sum.size() != plan_.words(rows) * sizeof(std::uint64_t))
        return fail(Errc::malformed_message,
                    "an encrypted residual of " + std::to_string(sum.size()) + " bytes where " +
                        std::to_string(plan_.words(rows) * sizeof(std::uint64_t)) + " belong");
    const std::vector<std::uint64_t> words = words_of(sum);
    if (auto good = cipher_->check(words); !good) return tl::unexpected(std::move(good.error()));
    auto answer = cipher_->product(columns.values, features, rows, words);
    if (!answer) return tl::unexpected(std::move(answer.error()));
    Pending pending;
    pending.step = step;
    pending.rows = rows;
    pending.columns = columns.exponents;
    pending.masks = std::move(answer->masks);
    pending_ = std::move(pending);
    return std::move(answer->bytes);
}

Result<> SharingParty::open(std::uint64_t step, const TensorView& opened,
                            models::Matrix& gradient) {
    if (!pending_ || pending_->step != step)
        return fail(Errc::handler_failed,
                    "opened numbers of step " + std::to_string(step) + " came before its product");
    const privacy::SecretVector<std::uint64_t>& masks = pending_->masks;
    if (!opened.ring || opened.rows != masks.size() || opened.cols != 1)
        return fail(Errc::malformed_message, std::to_string(opened.rows) +
                                                 " opened numbers where " +
                                                 std::to_string(masks.size()) + " belong");
    std::vector<std::uint64_t> words(masks.size());
    opened.copy_to(words);
    const std::size_t features = pending_->columns.size();
    gradient.resize_uninitialized(features, plan_.outputs);
    const std::int64_t most = std::int64_t{1} << product_bits;
    // opened numbers of lattices are modulo t
    const std::uint32_t free_bits =
        plan_.encryption == config::Encryption::rlwe ? 64 - plan_.lattice.plain_bits : 0;
    for (std::size_t k = 0; k < plan_.outputs; ++k)
        for (std::size_t j = 0; j < features; ++j) {
            const std::size_t at = k * features + j;
            const auto sum =
                static_cast<std::int64_t>((words[at] - masks[at]) << free_bits) >> free_bits;
            if (sum < -most || sum > most)
                return fail(Errc::malformed_message,
                            "an opened number is not what was asked for: no sum over a batch is so "
                            "large");
            gradient(j, k) =
                std::ldexp(static_cast<double>(sum), -exponents_[k] - pending_->columns[j]) /
                static_cast<double>(pending_->rows);
        }
    // masks are used once; a step that is asked for again finds none
    pending_->masks = {};
    return {};
}

}  // namespace vflbus::actors::linear
