// The member's half of split networks: the numbers of its bottom network for a batch, and a step of
// it with the gradient by these numbers.

#include <memory>
#include <optional>
#include <utility>

#include "actors/protocols/protocol.hpp"
#include "actors/training/halves.hpp"
#include "actors/training/linear/encrypted.hpp"
#include "actors/training/split/bottom.hpp"
#include "actors/training/split/encryption.hpp"
#include "actors/training/split/split.hpp"
#include "base/planted.hpp"

namespace vflbus::actors::split {
namespace {

class SplitMember final : public MemberHalf {
  public:
    /// `protocol`: null where numbers travel as they are.
    SplitMember(const MemberSetting& setting, std::unique_ptr<MemberProtocol> protocol)
        : party_(&setting.party),
          place_(member_place(setting.rank)),
          term_(setting.term),
          message_bytes_max_(setting.message_bytes_max),
          protocol_(std::move(protocol)) {}

    // -- messages -----------------------------------------------------------------------
    Result<Bytes> begin(const MemberCall& call) {
        const auto request = decode_begin_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (request->outputs == 0) return fail(Errc::malformed_message, "a model without outputs");
        auto bottom = Bottom::create(*party_, place_);
        if (!bottom) return tl::unexpected(std::move(bottom.error()));
        if (encrypted_) encrypted_->await();  // which may still look at the batch of before
        outputs_ = request->outputs;
        bottom_ = std::move(*bottom);
        if (auto good = plan_encryption(); !good) return tl::unexpected(std::move(good.error()));
        const auto sent = shared(0);
        if (!sent) return tl::unexpected(sent.error());
        return encode(begin_reply(*party_), *sent);
    }

    Result<Bytes> step(const MemberCall& call) {
        const auto request = decode_step_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (auto due = call.due(request->step); !due) return tl::unexpected(due.error());
        if (auto done = take_step(call.step, request->tensor); !done)
            return tl::unexpected(std::move(done.error()));
        const auto sent = shared(call.step + 1);
        if (!sent) return tl::unexpected(sent.error());
        return encode_scores(*sent);
    }

    Result<Bytes> product(const MemberCall& call) {
        if (!encrypted_)
            return fail(Errc::handler_failed, "the protocol of the run encrypts no gradients");
        const auto request = linear::decode_product_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (auto due = call.due(request->step); !due) return tl::unexpected(due.error());
        return encrypted_->answer(*request, bottom_->schedule().epoch_of(call.step), columns_,
                                  bottom_->schedule().batch_rows(call.step));
    }

    Result<Bytes> evaluate(const MemberCall& call) {
        const auto request = rows_asked(call);
        if (!request) return tl::unexpected(request.error());
        if (auto done = bottom_->infer(request->table, request->first, request->rows, rows_); !done)
            return tl::unexpected(std::move(done.error()));
        models::nn::to_matrix(rows_, travels_);
        const auto sent =
            shared({term_, call.step, request->table, request->first, Stamp::Tensor::scores});
        if (!sent) return tl::unexpected(sent.error());
        return encode_scores(*sent);
    }

    Result<Bytes> round(const MemberCall& call) {
        const auto request = decode_round_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (!protocol_) return fail(Errc::handler_failed, "the protocol of the run has no rounds");
        const auto payload = protocol_->answer(*request);
        if (!payload) return tl::unexpected(payload.error());
        RoundReply reply;
        reply.payload = *payload;
        return encode(reply);
    }

    // -- MemberHalf ---------------------------------------------------------------------
    Result<BeginRequest> beginning(Body begin) const override {
        return decode_begin_request(begin);
    }
    std::uint64_t steps() const override { return bottom_->schedule().steps(); }
    StateFormat format() const override { return format_of(party_->agreed()); }
    std::string save() const override {
        StateWriter writer;
        write_state(writer, bottom_->state());
        return writer.take();
    }
    Result<Bytes> restore(std::uint64_t step, std::string_view bytes) override {
        StateReader reader(bytes);
        NetworkState state = read_state(reader);
        if (auto done = reader.finish(); !done) return tl::unexpected(std::move(done.error()));
        if (VFLBUS_PLANTED(optimizer_not_restored)) state.steps = bottom_->state().steps;
        if (auto done = bottom_->restore(state); !done)
            return tl::unexpected(std::move(done.error()));
        const auto sent = shared(step, VFLBUS_PLANTED(batch_not_restored) ? 0 : step);
        if (!sent) return tl::unexpected(sent.error());
        return encode_restored(step, *sent);
    }
    Result<std::string> part(ModelHead head) const override {
        head.outputs = outputs_;
        return to_json(bottom_->part(std::move(head)));
    }
    Result<> use(std::string_view text, std::string_view path) override {
        const auto part = parse_split_part(text, path);
        if (!part) return tl::unexpected(part.error());
        if (part->top) return fail(Errc::bad_data, std::string(path) + " is the part of a master");
        auto bottom = Bottom::create(*party_, *part);
        if (!bottom) return tl::unexpected(std::move(bottom.error()));
        bottom_ = std::move(*bottom);
        outputs_ = part->head.outputs;
        return {};
    }
    std::uint64_t features() const override { return bottom_ ? bottom_->features() : 0; }
    std::uint64_t outputs() const override { return outputs_; }

  private:
    /// What travels of `travels_`: itself, or under the masks of the stamp.
    Result<SentTensor> shared(const Stamp& stamp) {
        if (!protocol_) return SentTensor(travels_);
        return protocol_->share(stamp, travels_);
    }
    Result<SentTensor> shared(std::uint64_t step) { return shared(step, step); }
    /// The numbers of batch `batch`, which is `step`, as those of step `step`.
    Result<SentTensor> shared(std::uint64_t step, std::uint64_t batch) {
        fill_numbers(batch);
        return shared({term_, step, TableKind::train, Stamp::batch, Stamp::Tensor::scores});
    }
    Result<> plan_encryption() {
        const config::AgreedHalf& agreed = party_->agreed();
        if (agreed.run.protocol != config::Protocol::encrypted) return {};
        columns_.exponents = linear::column_exponents(party_->design(TableKind::train));
        encrypted_.emplace(*protocol_);
        return encrypted_->plan(encrypted_shape(agreed, bottom_->schedule(), bottom_->features()),
                                message_bytes_max_);
    }
    Result<> take_step(std::uint64_t step, const TensorView& sent) {
        if (encrypted_) {
            if (auto done = encrypted_->open(step, sent, travels_); !done) return done;
            return bottom_->take_gradient(step, travels_);
        }
        copy_tensor(sent, travels_);
        models::nn::from_matrix(travels_, gradient_);
        return bottom_->backward(step, gradient_);
    }
    /// Begins what the next answer needs of batch `step`, beside all else.
    void prepare_answer(std::uint64_t step) {
        if (!encrypted_) return;
        encrypted_->await();
        if (step >= bottom_->schedule().steps()) return;
        bottom_->batch_rows(step, batch_);
        encrypted_->prepare(columns_, batch_.rows(), bottom_->schedule().epoch_of(step),
                            [this] { linear::to_integers(batch_, columns_); });
    }
    /// What leaves the bottom network for batch `step`, into `travels_`.
    void fill_numbers(std::uint64_t step) {
        prepare_answer(step);
        models::nn::to_matrix(bottom_->forward(step), travels_);
        const config::AgreedHalf& agreed = party_->agreed();
        if (agreed.model.noise > 0)
            add_noise(agreed.run.seed, place_, step, agreed.model.noise, travels_.view());
    }

    Party* party_;
    Place place_;
    std::uint32_t term_;
    std::uint64_t message_bytes_max_;
    std::unique_ptr<MemberProtocol> protocol_;
    std::uint64_t outputs_ = 0;
    std::unique_ptr<Bottom> bottom_;
    models::nn::Records gradient_;
    models::nn::Records rows_;
    models::Matrix travels_;
    // -- under protocol encrypted ----
    models::Matrix batch_;            ///< the rows of the batch that is due
    linear::IntegerColumns columns_;  ///< the same as integers; `encrypted_` looks at them
    std::optional<linear::EncryptedGradients> encrypted_;
};

SplitMember& split_half(MemberHalf& half) {
    return static_cast<SplitMember&>(half);
}

}  // namespace

Result<Bytes> answer_begin(MemberHalf& half, const MemberCall& call) {
    return split_half(half).begin(call);
}
Result<Bytes> answer_product(MemberHalf& half, const MemberCall& call) {
    return split_half(half).product(call);
}
Result<Bytes> answer_step(MemberHalf& half, const MemberCall& call) {
    return split_half(half).step(call);
}
Result<Bytes> answer_evaluate(MemberHalf& half, const MemberCall& call) {
    return split_half(half).evaluate(call);
}
Result<Bytes> answer_round(MemberHalf& half, const MemberCall& call) {
    return split_half(half).round(call);
}

Result<std::unique_ptr<MemberHalf>> make_member(const MemberSetting& setting) {
    std::unique_ptr<MemberProtocol> protocol;
    if (setting.party.agreed().run.protocol != config::Protocol::honest) {
        auto made = make_member_protocol(setting.party.agreed());
        if (!made) return tl::unexpected(std::move(made.error()));
        protocol = std::move(*made);
    }
    return std::make_unique<SplitMember>(setting, std::move(protocol));
}

}  // namespace vflbus::actors::split
