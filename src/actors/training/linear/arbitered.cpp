#include "actors/training/linear/arbitered.hpp"

#include <cmath>
#include <string>
#include <utility>

namespace vflbus::actors::linear {

namespace {

bool read_flag(bus::Reader& reader) {
    const std::uint64_t flag = reader.u64();
    if (flag > 1) reader.fault("a flag of " + std::to_string(flag));
    return flag == 1;
}

}  // namespace

// -- messages -----------------------------------------------------------------------------

Bytes encode(const ShareSetup& m) {
    bus::Writer w;
    w.array(5).array(m.exponents.size());
    for (const std::int64_t exponent : m.exponents) w.i64(exponent);
    return w.bin(m.seed).bin(m.key).u64(m.weighted ? 1 : 0).i64(m.weight_exponent).take();
}

Result<ShareSetup> decode_share_setup(Body body) {
    bus::Reader r("arbiter's key", body, 5);
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
    m.weighted = read_flag(r);
    m.weight_exponent = r.i64();
    if (m.weight_exponent < -exponent_max || m.weight_exponent > exponent_max)
        r.fault("weights times 2^" + std::to_string(m.weight_exponent) + " make no sense");
    return bus::finished(r, std::move(m));
}

Bytes encode(const ArbiterKeyRequest& m) {
    bus::Writer w;
    w.array(5).u64(m.rows).u64(m.outputs).u64(m.steps).bin(m.seed);
    return w.u64(m.weighted ? 1 : 0).take();
}
Result<ArbiterKeyRequest> decode_arbiter_key_request(Body body) {
    bus::Reader r("arbiter_key", body, 5);
    ArbiterKeyRequest m;
    m.rows = r.u64();
    m.outputs = r.u64();
    m.steps = r.u64();
    r.fixed_bin(m.seed);
    m.weighted = read_flag(r);
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

void share_of_scores(vflbus::Task task, models::Matrix& scores) {
    if (task == vflbus::Task::linear) return;
    if (task != vflbus::Task::softmax) {
        for (double& score : scores.span()) score /= 4;
        return;
    }
    const auto classes = static_cast<double>(scores.cols());
    for (std::size_t i = 0; i < scores.rows(); ++i) {
        double mean = 0;
        for (std::size_t k = 0; k < scores.cols(); ++k) mean += scores(i, k) / classes;
        for (std::size_t k = 0; k < scores.cols(); ++k)
            scores(i, k) = (scores(i, k) - mean) / classes;
    }
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
    out.weight_exponent_ = static_cast<int>(setup.weight_exponent);
    auto cipher = ShareCipher::create(plan, setup.seed, setup.key);
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
    ahead_.await();
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
    ahead_.await();
    if (auto good = cipher_->check(words); !good) return good;
    cipher_->add(words_, words);
    return {};
}

void SharingParty::weigh(std::span<const std::int16_t> weights) {
    ahead_.await();
    cipher_->weigh(words_, weights.size(), weights);
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
    ahead_.await();
    if (auto good = cipher_->check(words); !good) return tl::unexpected(std::move(good.error()));
    auto answer = cipher_->product(columns.values, features, rows, words);
    if (!answer) return tl::unexpected(std::move(answer.error()));
    Pending pending;
    pending.step = step;
    pending.rows = rows;
    pending.columns = columns.exponents;
    pending.masks = std::move(answer->masks);
    pending_ = std::move(pending);
    // (a cipher stays where it is when the party moves)
    ahead_.begin([cipher = cipher_.get(), rows, features] { cipher->prepare(rows, features); });
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
            gradient(j, k) = std::ldexp(static_cast<double>(sum),
                                        -exponents_[k] - weight_exponent_ - pending_->columns[j]) /
                             static_cast<double>(pending_->rows);
        }
    // masks are used once; a step that is asked for again finds none
    pending_->masks = {};
    return {};
}

}  // namespace vflbus::actors::linear
