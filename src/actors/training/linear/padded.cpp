#include "actors/training/linear/padded.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/assert.hpp"
#include "base/planted.hpp"
#include "privacy/masks/stream.hpp"

namespace vflbus::actors::linear {
namespace {

namespace rlwe = privacy::rlwe;

PaddedWatch watch_of_padded = nullptr;

std::uint64_t below_t(const rlwe::Plan& plan) {
    return (std::uint64_t{1} << plan.plain_bits) - 1;
}

bool all_below(std::span<const std::uint64_t> words, std::uint64_t most) {
    return std::ranges::all_of(words, [most](std::uint64_t word) { return word <= most; });
}

}  // namespace

// -- messages -----------------------------------------------------------------------------

Bytes encode(const PaddedStep& m, std::span<const std::uint64_t> opened,
             std::span<const std::uint64_t> residual, std::size_t outputs) {
    bus::Writer w;
    w.reserve(opened.size_bytes() + residual.size_bytes() + 128);
    w.array(4).u64(m.step).ring_tensor(opened, opened.size() / outputs, outputs);
    return w.i64(m.exponent).ring_tensor(residual, residual.size() / outputs, outputs).take();
}

Result<PaddedStep> decode_padded_step(Body body) {
    bus::Reader r("step", body, 4);
    PaddedStep m;
    m.step = r.u64();
    m.opened = r.tensor();
    m.exponent = r.i64();
    m.residual = r.tensor();
    if (m.exponent < -exponent_max || m.exponent > exponent_max)
        r.fault("residuals times 2^" + std::to_string(m.exponent) + " make no sense");
    return bus::finished(r, std::move(m));
}

// -- the master -----------------------------------------------------------------------------

std::size_t PaddedResiduals::request_bytes() const {
    std::size_t most = 0;
    for (std::size_t rank = 0; rank < plans_.size(); ++rank)
        if (plans_.features(rank) > 0)
            most = std::max(most, plans_[rank].ciphertexts() * rlwe::ciphertext_bytes());
    return most;
}

PaddedResiduals::Draws PaddedResiduals::draw(std::uint64_t key) const {
    Draws out;
    for (std::size_t rank = 0; rank < plans_.size(); ++rank) {
        out.pads.push_back(privacy::random_key());
        if (key_ == key) continue;
        out.seeds.push_back(protocol_->public_seed(rank, key));
        out.secret.push_back(privacy::random_key());
    }
    return out;
}

PaddedResiduals::Made PaddedResiduals::make(const Due& due, Draws draws) {
    Made out;
    out.due = due;
    const bool brings_key = key_ != due.key;
    out.keys = brings_key;
    owners_.resize(plans_.size());
    switched_.resize(plans_.size());
    for (std::size_t rank = 0; rank < plans_.size(); ++rank) {
        const rlwe::Plan& plan = plans_[rank];
        ProductRequest request;
        request.step = due.step;
        Pad pad;
        pad.plan = plan;
        Bytes ciphertexts;
        Bytes switch_keys;
        if (plan.shape.features > 0) {
            if (brings_key)
                owners_[rank] = std::make_shared<rlwe::KeyOwner>(draws.seeds[rank],
                                                                 std::move(draws.secret[rank]));
            if (brings_key) request.zero = owners_[rank]->zero();
            switched_[rank] = switched_[rank] && !brings_key;
            request.line = plan.shape.line;
            if (plan.packed && !switched_[rank]) {
                switch_keys = owners_[rank]->switch_keys(plan);
                request.switch_keys = switch_keys;
                switched_[rank] = out.keys = true;
            }
            pad.owner = owners_[rank];
            pad.numbers = privacy::SecretVector<std::uint64_t>(due.rows * plan.shape.outputs);
            privacy::AesStream(VFLBUS_PLANTED(pad_used_twice) ? privacy::Key()
                                                              : std::move(draws.pads[rank]))
                .fill(pad.numbers.span());
            for (std::uint64_t& number : pad.numbers.span()) number &= below_t(plan);
            if (VFLBUS_PLANTED(pad_left_out)) std::ranges::fill(pad.numbers.span(), 0);
            ciphertexts = pad.owner->encrypt(plan, std::as_const(pad.numbers).span(), due.rows);
            request.ciphertexts = ciphertexts;
        }
        out.bodies.push_back(encode(request, models::ConstMatrixView{nullptr, 0, 1}));
        pad.sent = out.bodies.back().size();
        out.pads.push_back(std::move(pad));
    }
    key_ = due.key;
    return out;
}

std::vector<Bytes> PaddedResiduals::request(const Due& due) {
    ahead_.await();
    if (!made_ || made_->due != due) made_ = make(due, draw(due.key));
    brought_keys_ = made_->keys;
    steps_.push_back(std::move(made_->pads));
    std::vector<Bytes> out = std::move(made_->bodies);
    made_.reset();
    return out;
}

void PaddedResiduals::prepare(const Due& due) {
    ahead_.await();
    ahead_.begin(
        [this, due, draws = draw(due.key)]() mutable { made_ = make(due, std::move(draws)); });
}

std::vector<std::string> PaddedResiduals::choose_lines(double ms_of_transform) {
    ahead_.await();  // it looks at the plans
    return plans_.choose_lines(ms_of_transform);
}

Result<> PaddedResiduals::open(std::size_t rank, Body reply, Duration took) {
    Pad& pad = steps_.front()[rank];
    if (plans_.features(rank) > 0) plans_.meter(rank).product(took, pad.sent + reply.size());
    VFLBUS_ASSERT(pad.waits, "an answer is decrypted once");
    pad.waits = false;
    const auto answer = decode_product_reply(reply);
    if (!answer) return tl::unexpected(answer.error());
    if (plans_.features(rank) == 0) {
        if (answer->empty()) return {};
        return fail(Errc::malformed_message, "answered for columns that it does not have");
    }
    auto numbers = pad.owner->decrypt(pad.plan, *answer);
    if (!numbers) return tl::unexpected(std::move(numbers.error()));
    pad.opened = std::move(*numbers);
    return {};
}

Result<std::vector<Bytes>> PaddedResiduals::correct(std::uint64_t step,
                                                    models::ConstMatrixView residual,
                                                    std::optional<int> exponent) {
    const auto largest = largest_residual(step, residual);
    if (!largest) return tl::unexpected(largest.error());
    std::vector<Bytes> out;
    privacy::SecretVector<std::int32_t> values(residual.size());
    std::vector<std::uint64_t> words(residual.size());
    for (std::size_t rank = 0; rank < plans_.size(); ++rank) {
        const rlwe::Plan& plan = plans_[rank];
        const Pad& pad = steps_.front()[rank];
        PaddedStep message;
        message.step = step;
        if (plan.shape.features == 0) {
            out.push_back(encode(message, {}, {}, residual.cols));
            continue;
        }
        VFLBUS_ASSERT(!pad.waits && pad.numbers.size() == words.size(),
                      "the pad of a step was drawn for its rows, and its product is opened");
        message.exponent = exponent.value_or(residual_exponent(*largest, plan.residual_bits));
        residual_integers(residual, static_cast<int>(message.exponent), plan.residual_bits,
                          values.span());
        for (std::size_t i = 0; i < words.size(); ++i)
            words[i] = (static_cast<std::uint64_t>(std::int64_t{values[i]}) - pad.numbers[i]) &
                       below_t(plan);
        if (watch_of_padded != nullptr) watch_of_padded(rank, words, plan.plain_bits);
        out.push_back(encode(message, pad.opened, words, residual.cols));
    }
    steps_.erase(steps_.begin());
    return out;
}

void PaddedResiduals::forget() {
    ahead_.await();
    made_.reset();
    steps_.clear();
    key_.reset();
}

void watch_padded(PaddedWatch watch) noexcept {
    watch_of_padded = watch;
}

// -- a member -------------------------------------------------------------------------------

Result<> PaddedGradients::plan(const rlwe::Shape& shape, std::uint64_t message_bytes_max) {
    auto plan = plan_within(shape, message_bytes_max);
    if (!plan) return tl::unexpected(std::move(plan.error()));
    plan_ = *plan;
    message_bytes_max_ = message_bytes_max;
    return {};
}

void PaddedGradients::begin(std::uint64_t step) {
    ahead_.await();
    pending_.clear();
    key_.reset();
    answerer_.reset();
    prepare(step);
}

/// The rows of `step`, not yet as integers. Where all steps have the same, they stay.
void PaddedGradients::load(std::uint64_t step) {
    const bool same = loaded_ && schedule_.same_rows();
    batch_.step = step;
    if (same) return;
    source_.gather(step, batch_.rows);
    batch_.columns.reset();
    loaded_ = true;
}

void PaddedGradients::convert() {
    if (batch_.columns) return;
    batch_.columns = std::make_shared<IntegerColumns>();
    batch_.converted = source_.convert(batch_.rows, *batch_.columns);
}

/// Begins all of the answer for `step` that does not need the ciphertexts, on a thread of its own.
void PaddedGradients::prepare(std::uint64_t step) {
    if (plan_->shape.features == 0 || step >= schedule_.steps()) return;
    load(step);
    const std::uint64_t key = schedule_.epoch_of(step);
    rlwe::Due due;
    if (key_ == key)
        due = answerer_->next();
    else
        due.zero_seed = protocol_->public_seed(key);
    const rlwe::Answerer* const answerer = key_ == key ? &*answerer_ : nullptr;
    ahead_.begin([this, due, answerer] {
        convert();
        if (batch_.converted)
            prepared_.prepare(*plan_, batch_.columns->values, batch_.rows.rows(), due, answerer);
    });
}

Result<> PaddedGradients::check(const ProductRequest& request, std::uint64_t due) const {
    const std::uint64_t step = request.step;
    if (step < due || step - due > products_ahead_max || step >= schedule_.steps())
        return fail(Errc::handler_failed, "got the product of step " + std::to_string(step) +
                                              " where step " + std::to_string(due) + " of " +
                                              std::to_string(schedule_.steps()) + " is due");
    if (pending_.contains(step))
        return fail(Errc::handler_failed,
                    "has answered the product of step " + std::to_string(step));
    if (request.exponent != 0 || request.settings.rows != 0)
        return fail(Errc::malformed_message, "a product of a pad with an exponent or settings");
    const bool empty = request.line == 0 && request.zero.empty() && request.switch_keys.empty() &&
                       request.ciphertexts.empty();
    if (plan_->shape.features == 0 && !empty)
        return fail(Errc::malformed_message, "ciphertexts for a party without columns");
    return {};
}

Result<Bytes> PaddedGradients::answer(const ProductRequest& request, std::uint64_t due) {
    VFLBUS_ASSERT(plan_.has_value(), "products are answered in a training that has begun");
    if (auto good = check(request, due); !good) return tl::unexpected(std::move(good.error()));
    Pending pending;
    if (plan_->shape.features == 0) {
        pending_.emplace(request.step, std::move(pending));
        return encode_product_reply({});
    }
    ahead_.await();
    if (auto good = take_keys({plan_, key_, answerer_}, *protocol_, request,
                              schedule_.epoch_of(request.step), message_bytes_max_);
        !good)
        return tl::unexpected(std::move(good.error()));
    if (batch_.step != request.step) load(request.step);
    convert();
    if (!batch_.converted) return tl::unexpected(batch_.converted.error());
    auto answer = answerer_->answer(*plan_, batch_.columns->values, batch_.rows.rows(),
                                    request.ciphertexts, &prepared_);
    if (!answer) return tl::unexpected(std::move(answer.error()));
    pending.columns = batch_.columns;
    if (!schedule_.same_rows()) pending.rows = std::move(batch_.rows);
    pending.masks = std::move(answer->masks);
    pending_.emplace(request.step, std::move(pending));
    prepare(request.step + 1);
    return encode_product_reply(answer->bytes);
}

std::optional<models::Matrix> PaddedGradients::take_rows(std::uint64_t step) {
    const auto at = pending_.find(step);
    return at == pending_.end() ? std::nullopt : std::exchange(at->second.rows, std::nullopt);
}

Result<> PaddedGradients::check(const PaddedStep& message, std::size_t rows) const {
    const rlwe::Shape& shape = plan_->shape;
    const std::size_t padded = shape.features == 0 ? 0 : rows;
    const auto wrong = [&](const char* what, const TensorView& sent, std::size_t wanted) {
        return fail(Errc::malformed_message,
                    std::string(what) + " of " + std::to_string(sent.rows) + " x " +
                        std::to_string(sent.cols) + " where " + std::to_string(wanted) + " x " +
                        std::to_string(shape.outputs) + " belong");
    };
    const TensorView& opened = message.opened;
    if (!opened.ring || opened.rows != shape.features || opened.cols != shape.outputs)
        return wrong("opened numbers", opened, shape.features);
    const TensorView& residual = message.residual;
    if (!residual.ring || residual.rows != padded || residual.cols != shape.outputs)
        return wrong("a padded residual", residual, padded);
    return {};
}

Result<> PaddedGradients::correct(const PaddedStep& message, models::Matrix& gradient) {
    const auto at = pending_.find(message.step);
    if (at == pending_.end())
        return fail(Errc::handler_failed, "opened numbers of step " + std::to_string(message.step) +
                                              " came before its product");
    const std::size_t rows = schedule_.batch_rows(message.step);
    if (auto good = check(message, rows); !good) return good;
    const rlwe::Shape& shape = plan_->shape;
    gradient.resize_uninitialized(shape.features, shape.outputs);
    std::vector<std::uint64_t> words(shape.features * shape.outputs);
    std::vector<std::uint64_t> residual(rows * shape.outputs);
    message.opened.copy_to(words);
    message.residual.copy_to(residual);
    const std::uint64_t most = shape.features == 0 ? 0 : below_t(*plan_);
    if (!all_below(words, most) || !all_below(residual, most))
        return fail(Errc::malformed_message,
                    "a number of a step is not below 2^" + std::to_string(plan_->plain_bits));
    const Pending pending = std::move(at->second);
    pending_.erase(at);  // masks are used once; a step that is asked for again finds none
    if (shape.features == 0) return {};
    for (std::size_t k = 0; k < shape.outputs; ++k)
        for (std::size_t j = 0; j < shape.features; ++j) {
            const std::int16_t* const column = pending.columns->values.data() + j * rows;
            const std::uint64_t* const padded = residual.data() + k * rows;
            std::uint64_t sum = words[k * shape.features + j];
            for (std::size_t i = 0; i < rows; ++i)
                sum += static_cast<std::uint64_t>(std::int64_t{column[i]}) * padded[i];
            words[k * shape.features + j] = sum & most;
        }
    const auto sums = rlwe::unmask(*plan_, words, pending.masks);
    if (!sums) return tl::unexpected(sums.error());
    for (std::size_t k = 0; k < shape.outputs; ++k)
        for (std::size_t j = 0; j < shape.features; ++j)
            gradient(j, k) =
                std::ldexp(static_cast<double>((*sums)[k * shape.features + j]),
                           -static_cast<int>(message.exponent) - pending.columns->exponents[j]);
    return {};
}

}  // namespace vflbus::actors::linear
