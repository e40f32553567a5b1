#include "actors/training/linear/encrypted.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/assert.hpp"
#include "base/text.hpp"

namespace vflbus::actors::linear {
namespace {

namespace rlwe = privacy::rlwe;

/// The least x with |value| <= 2^x.
int power_above(double value) {
    int exponent = 0;
    const double fraction = std::frexp(value, &exponent);
    return fraction == .5 ? exponent - 1 : exponent;
}

/// Of the largest message of a step.
std::uint64_t message_bytes_of(const rlwe::Plan& plan) {
    return std::max(plan.ciphertexts() * rlwe::ciphertext_bytes() + rlwe::polynomial_bytes() +
                        rlwe::switch_keys_bytes(plan),
                    plan.answers() * rlwe::answer_bytes(plan, rlwe::ring_size));
}

/// So large may a message with switch keys be where those before were smaller: a member whose
/// messages hold less has said so to nobody.
constexpr std::uint64_t keys_message_bytes_max = 6 << 20;

std::string words_of_ms(double ms) {
    return shortest(std::round(ms * 10) / 10) + " ms";
}

}  // namespace

// -- messages -----------------------------------------------------------------------------

Bytes encode(const ProductRequest& m, models::ConstMatrixView settings) {
    bus::Writer w;
    w.reserve(m.zero.size() + m.switch_keys.size() + m.ciphertexts.size() +
              settings.size() * sizeof(double) + 128);
    w.array(7).u64(m.step).tensor(settings.span(), settings.rows, settings.cols);
    w.i64(m.exponent).u64(m.line).bin(m.zero).bin(m.switch_keys);
    return w.bin(m.ciphertexts).take();
}

Result<ProductRequest> decode_product_request(Body body) {
    bus::Reader r("product", body, 7);
    ProductRequest m;
    m.step = r.u64();
    m.settings = r.tensor();
    m.exponent = r.i64();
    const std::uint64_t line = r.u64();
    m.zero = r.bin();
    m.switch_keys = r.bin();
    m.ciphertexts = r.bin();
    if (auto done = r.finish(); !done) return tl::unexpected(std::move(done.error()));
    if (line > rlwe::line_max)
        return fail(Errc::malformed_message, "there is no line number " + std::to_string(line));
    m.line = static_cast<std::uint32_t>(line);
    if (m.exponent < -exponent_max || m.exponent > exponent_max)
        return fail(Errc::malformed_message,
                    "residuals times 2^" + std::to_string(m.exponent) + " make no sense");
    return m;
}

Bytes encode_product_reply(Body answer) {
    bus::Writer w;
    w.reserve(answer.size() + 16);
    return w.array(1).bin(answer).take();
}

Result<Body> decode_product_reply(Body body) {
    bus::Reader r("product reply", body, 1);
    const Body answer = r.bin();
    if (auto done = r.finish(); !done) return tl::unexpected(std::move(done.error()));
    return answer;
}

// -- the master -----------------------------------------------------------------------------

std::uint64_t products_of(const config::AgreedHalf& agreed, std::uint64_t steps) {
    const std::uint64_t trainings = agreed.data.folds + 1;
    return steps <= UINT64_MAX / trainings ? steps * trainings : UINT64_MAX;
}

Result<> MemberPlans::add(const rlwe::Shape& shape, std::uint64_t message_bytes_max) {
    auto plan = plan_within(shape, message_bytes_max);
    if (!plan) return tl::unexpected(std::move(plan.error()));
    plans_.push_back(*plan);
    meters_.emplace_back();
    message_bytes_max_ = message_bytes_max;
    return {};
}

bool MemberPlans::lines_are_due() const {
    bool any = false;
    for (std::size_t rank = 0; rank < plans_.size(); ++rank) {
        if (features(rank) == 0) continue;
        if (!meters_[rank].ready()) return false;
        any = true;
    }
    return any && !chosen_;
}

std::vector<std::string> MemberPlans::choose_lines(double ms_of_transform) {
    chosen_ = true;
    std::vector<std::string> out;
    for (std::size_t rank = 0; rank < plans_.size(); ++rank)
        out.push_back(features(rank) == 0 ? std::string() : choose_line(rank, ms_of_transform));
    return out;
}

std::string MemberPlans::choose_line(std::size_t rank, double ms_of_transform) {
    const rlwe::Plan& now = plans_[rank];
    const double compute = rlwe::compute_ms(now, ms_of_transform);
    const std::optional<double> of_byte = meters_[rank].ms_of_byte(compute);
    if (!of_byte)
        return "answers are not packed: bytes take no time beside some " + words_of_ms(compute) +
               " of calculation in a step";
    rlwe::Shape shape = now.shape;
    shape.line = rlwe::line_of(*of_byte, ms_of_transform);
    rlwe::Plan same = now;
    same.shape.line = shape.line;
    const double stays = rlwe::step_ms(same, ms_of_transform);
    const std::string line = "a byte takes " + shortest(std::round(*of_byte * 1e7) / 10) +
                             " ns, so a product takes some " + words_of_ms(stays);
    const auto other = plan_within(shape, message_bytes_max_);
    if (!other) return "the layout stays: " + line + "; " + other.error().sentence;
    const double changes = rlwe::step_ms(*other, ms_of_transform);
    if (changes > .8 * stays)
        return "the layout stays: " + line + ", and no other one less than " + words_of_ms(changes);
    if (message_bytes_of(*other) > std::max(message_bytes_of(now), keys_message_bytes_max))
        return "the layout stays: " + line + ", and keys for " + words_of_ms(changes) + " have " +
               human_bytes(message_bytes_of(*other));
    plans_[rank] = *other;
    return line + ", and from now on " + words_of_ms(changes) + ": " + rlwe::describe(*other);
}

std::string MemberPlans::describe(std::size_t rank) const {
    const rlwe::Plan& plan = plans_[rank];
    return plan.shape.features == 0 ? std::string() : rlwe::describe(plan);
}

unsigned MemberPlans::residual_bits() const {
    unsigned bits = 0;
    // (all plans are for the same rows)
    for (const rlwe::Plan& plan : plans_) bits = std::max(bits, plan.residual_bits);
    return bits == 0 ? rlwe::residual_bits_max : bits;
}

Result<double> largest_residual(std::uint64_t step, models::ConstMatrixView residual) {
    double largest = 0;
    bool finite = true;
    for (const double value : residual.span()) {
        finite &= std::isfinite(value);
        largest = std::max(largest, std::abs(value));
    }
    if (finite) return largest;
    return fail(Errc::diverged,
                "the residual of step " + std::to_string(step) + " is no longer finite");
}

std::int64_t residual_exponent(double largest, std::uint32_t bits) {
    if (largest == 0) return 0;
    return std::clamp(static_cast<int>(bits) - power_above(largest), -exponent_max, exponent_max);
}

void residual_integers(models::ConstMatrixView residual, int exponent, std::uint32_t bits,
                       std::span<std::int32_t> out) {
    const double most = std::ldexp(1.0, static_cast<int>(bits));
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<std::int32_t>(
            std::clamp(std::nearbyint(std::ldexp(residual.data[i], exponent)), -most, most));
}

Result<rlwe::Plan> plan_within(const rlwe::Shape& shape, std::uint64_t message_bytes_max) {
    rlwe::Plan none;
    none.shape = shape;
    if (shape.features == 0) return none;
    // before the plan, which takes time by the number of features
    if (shape.features > message_bytes_max / (2 * sizeof(std::uint64_t) * shape.outputs))
        return fail(Errc::too_large, "has " + std::to_string(shape.features) +
                                         " columns, more than a message holds gradients of");
    auto plan = rlwe::make_plan(shape);
    if (!plan)
        return fail(plan.error().code,
                    plan.error().sentence +
                        " (model.batch_size; with L-BFGS all rows are a batch: state model.solver "
                        "= \"sgd\" or \"adam\"), or state run.protocol = \"masked\", which shows "
                        "members the residuals");
    const std::uint64_t bytes = message_bytes_of(*plan);
    if (bytes > message_bytes_max - message_bytes_max / 4)
        return fail(Errc::too_large,
                    "encrypted messages of a step would have " + human_bytes(bytes) +
                        ", more than a message of " + human_bytes(message_bytes_max) +
                        " (bus.message_bytes_max, of this party or its broker) holds: lower "
                        "model.batch_size (with L-BFGS all rows are a batch: state model.solver = "
                        "\"sgd\" or \"adam\"), or raise it");
    return plan;
}

Result<> EncryptedResiduals::add_member(const rlwe::Shape& shape, std::uint64_t message_bytes_max) {
    if (auto added = plans_.add(shape, message_bytes_max); !added) return added;
    members_.emplace_back();
    return {};
}

Result<std::vector<Bytes>> EncryptedResiduals::encrypt(std::uint64_t step, std::uint64_t key,
                                                       models::ConstMatrixView residual,
                                                       models::ConstMatrixView settings) {
    const auto largest = largest_residual(step, residual);
    if (!largest) return tl::unexpected(largest.error());
    ahead_.await();
    const bool prepared = next_key_ == key;
    next_key_.reset();
    std::vector<Bytes> out;
    privacy::SecretVector<std::int32_t> values(residual.size());
    for (std::size_t rank = 0; rank < members_.size(); ++rank) {
        Member& member = members_[rank];
        const rlwe::Plan& plan = plans_[rank];
        ProductRequest request;
        request.step = step;
        member.waits = true;
        if (plan.shape.features == 0) {
            out.push_back(encode(request, settings));
            continue;
        }
        if (!member.owner || key_ != key) {
            member.owner =
                prepared && member.next
                    ? std::move(member.next)
                    : std::make_unique<rlwe::KeyOwner>(protocol_->public_seed(rank, key));
            request.zero = member.owner->zero();
            member.switched = false;
        }
        request.line = plan.shape.line;
        const Bytes switch_keys = member.switched ? Bytes() : member.owner->switch_keys(plan);
        member.switched |= plan.packed;
        request.switch_keys = switch_keys;
        request.exponent = residual_exponent(*largest, plan.residual_bits);
        residual_integers(residual, static_cast<int>(request.exponent), plan.residual_bits,
                          values.span());
        const Bytes ciphertexts =
            member.owner->encrypt(plan, std::as_const(values).span(), residual.rows);
        request.ciphertexts = ciphertexts;
        out.push_back(encode(request, settings));
        member.sent = out.back().size();
    }
    key_ = key;
    return out;
}

void EncryptedResiduals::prepare(std::uint64_t key) {
    ahead_.await();
    std::vector<Hash256> seeds;
    std::vector<privacy::Key> random;
    const bool fresh = key_ != key;
    for (std::size_t rank = 0; fresh && rank < members_.size(); ++rank) {
        seeds.push_back(protocol_->public_seed(rank, key));
        random.push_back(privacy::random_key());
    }
    for (Member& member : members_) member.next.reset();
    next_key_ = fresh ? std::optional(key) : std::nullopt;
    ahead_.begin([this, seeds = std::move(seeds), random = std::move(random)]() mutable {
        for (std::size_t rank = 0; rank < members_.size(); ++rank) {
            Member& member = members_[rank];
            if (plans_.features(rank) == 0) continue;
            if (!seeds.empty())
                member.next =
                    std::make_unique<rlwe::KeyOwner>(seeds[rank], std::move(random[rank]));
            (seeds.empty() ? member.owner : member.next)->prepare(plans_[rank]);
        }
    });
}

std::vector<std::string> EncryptedResiduals::choose_lines(double ms_of_transform) {
    ahead_.await();  // it looks at the plans
    return plans_.choose_lines(ms_of_transform);
}

Result<std::vector<std::uint64_t>> EncryptedResiduals::open(std::size_t rank, Body reply,
                                                            Duration took) {
    Member& member = members_[rank];
    if (plans_.features(rank) > 0) plans_.meter(rank).product(took, member.sent + reply.size());
    VFLBUS_ASSERT(member.waits, "an answer is decrypted once");
    member.waits = false;
    const auto answer = decode_product_reply(reply);
    if (!answer) return tl::unexpected(answer.error());
    if (plans_.features(rank) > 0) return member.owner->decrypt(plans_[rank], *answer);
    if (answer->empty()) return std::vector<std::uint64_t>{};
    return fail(Errc::malformed_message, "answered for columns that it does not have");
}

// -- a member -------------------------------------------------------------------------------

std::vector<int> column_exponents(models::DesignView design) {
    std::vector<double> largest(design.cols);
    for (std::size_t i = 0; i < design.rows; ++i)
        for (std::size_t j = 0; j < design.cols; ++j)
            largest[j] = std::max(largest[j], std::abs(design.data[i * design.stride + j]));
    std::vector<int> out;
    for (const double value : largest) out.push_back(column_exponent(value));
    return out;
}

int column_exponent(double largest) {
    return largest == 0 ? 0 : static_cast<int>(rlwe::column_bits) - power_above(largest);
}

void to_integers(models::ConstMatrixView batch, IntegerColumns& columns) {
    columns.values.resize(batch.size());
    for (std::size_t j = 0; j < batch.cols; ++j) {
        // two factors, as a power of two alone may be too large for a double
        const int exponent = columns.exponents[j];
        const double first = std::ldexp(1.0, exponent / 2);
        const double second = std::ldexp(1.0, exponent - exponent / 2);
        for (std::size_t i = 0; i < batch.rows; ++i)
            columns.values[j * batch.rows + i] = static_cast<std::int16_t>(std::clamp(
                std::nearbyint(batch(i, j) * first * second), -column_most, column_most));
    }
}

namespace {

/// Packs answers or does not: the integers that come out are the same.
Result<> take_line(std::optional<rlwe::Plan>& plan, std::uint32_t line,
                   std::uint64_t message_bytes_max) {
    if (plan->shape.line == line) return {};
    rlwe::Shape shape = plan->shape;
    shape.line = line;
    auto other = plan_within(shape, message_bytes_max);
    if (!other) return tl::unexpected(std::move(other.error()));
    plan = *other;
    return {};
}

}  // namespace

Result<> take_keys(const MemberKeys& keys, const MemberProtocol& protocol,
                   const ProductRequest& request, std::uint64_t key,
                   std::uint64_t message_bytes_max) {
    if (auto good = take_line(keys.plan, request.line, message_bytes_max); !good) return good;
    const bool due = keys.key != key;
    if (due == request.zero.empty())
        return fail(Errc::malformed_message,
                    due ? "a new key is due and none came" : "a key came where none is due");
    if (due) {
        auto made = rlwe::Answerer::create(protocol.public_seed(key), request.zero);
        if (!made) return tl::unexpected(std::move(made.error()));
        keys.answerer.emplace(std::move(*made));
        keys.key = key;
    }
    if (!keys.answerer->can_answer(*keys.plan))
        return keys.answerer->take_switch_keys(*keys.plan, request.switch_keys);
    if (request.switch_keys.empty()) return {};
    return fail(Errc::malformed_message, "switch keys came where none are due");
}

Result<> EncryptedGradients::plan(const rlwe::Shape& shape, std::uint64_t message_bytes_max) {
    auto plan = plan_within(shape, message_bytes_max);
    if (!plan) return tl::unexpected(std::move(plan.error()));
    await();
    plan_ = *plan;
    message_bytes_max_ = message_bytes_max;
    prepared_.reset();
    if (plan_->shape.features > 0) prepared_.emplace();
    answerer_.reset();
    key_.reset();
    pending_.reset();
    return {};
}

void EncryptedGradients::await() {
    ahead_.await();
}

void EncryptedGradients::prepare(const IntegerColumns& columns, std::size_t rows, std::uint64_t key,
                                 std::function<void()> make) {
    await();
    if (!prepared_ || rows == 0) {
        if (make) make();
        return;
    }
    rlwe::Due due;
    if (key_ == key)
        due = answerer_->next();
    else
        due.zero_seed = protocol_->public_seed(key);
    const rlwe::Answerer* const answerer = key_ == key ? &*answerer_ : nullptr;
    const bool begun = ahead_.begin([this, &columns, rows, due, answerer, make] {
        if (make) make();
        prepared_->prepare(*plan_, columns.values, rows, due, answerer);
    });
    if (!begun && make) make();  // there is no thread, and the answer needs the columns
}

Result<Bytes> EncryptedGradients::answer(const ProductRequest& request, std::uint64_t key,
                                         const IntegerColumns& columns, std::size_t rows) {
    VFLBUS_ASSERT(plan_.has_value(), "a training has begun");
    await();
    if (pending_ && pending_->step == request.step)
        return fail(Errc::handler_failed,
                    "has answered the product of step " + std::to_string(request.step));
    Pending pending;
    pending.step = request.step;
    pending.exponent = static_cast<int>(request.exponent);
    pending.columns = columns.exponents;
    if (plan_->shape.features == 0) {
        if (!request.zero.empty() || !request.switch_keys.empty() || !request.ciphertexts.empty())
            return fail(Errc::malformed_message, "ciphertexts for a party without columns");
        pending_ = std::move(pending);
        return encode_product_reply({});
    }
    if (auto good =
            take_keys({plan_, key_, answerer_}, *protocol_, request, key, message_bytes_max_);
        !good)
        return tl::unexpected(std::move(good.error()));
    auto answer = answerer_->answer(*plan_, columns.values, rows, request.ciphertexts, &*prepared_);
    if (!answer) return tl::unexpected(std::move(answer.error()));
    pending.masks = std::move(answer->masks);
    pending_ = std::move(pending);
    return encode_product_reply(answer->bytes);
}

Result<> EncryptedGradients::open(std::uint64_t step, const TensorView& opened,
                                  models::Matrix& gradient) {
    if (!pending_ || pending_->step != step)
        return fail(Errc::handler_failed,
                    "opened numbers of step " + std::to_string(step) + " came before its product");
    const rlwe::Shape& shape = plan_->shape;
    if (!opened.ring || opened.rows != shape.features || opened.cols != shape.outputs)
        return fail(Errc::malformed_message, "opened numbers of " + std::to_string(opened.rows) +
                                                 " x " + std::to_string(opened.cols) + " where " +
                                                 std::to_string(shape.features) + " x " +
                                                 std::to_string(shape.outputs) + " belong");
    gradient.resize_uninitialized(shape.features, shape.outputs);
    if (shape.features == 0) return {};
    std::vector<std::uint64_t> words(shape.features * shape.outputs);
    opened.copy_to(words);
    const auto sums = rlwe::unmask(*plan_, words, pending_->masks);
    if (!sums) return tl::unexpected(sums.error());
    for (std::size_t k = 0; k < shape.outputs; ++k)
        for (std::size_t j = 0; j < shape.features; ++j)
            gradient(j, k) = std::ldexp(static_cast<double>((*sums)[k * shape.features + j]),
                                        -pending_->exponent - pending_->columns[j]);
    // masks are used once; a step that is asked for again finds none
    pending_->masks = {};
    return {};
}

}  // namespace vflbus::actors::linear
