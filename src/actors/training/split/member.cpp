// The member's half of split networks: the numbers of its bottom network for a batch, and a step of
// it with the gradient by these numbers.

#include <memory>
#include <utility>

#include "actors/protocols/protocol.hpp"
#include "actors/training/halves.hpp"
#include "actors/training/split/bottom.hpp"
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
          protocol_(std::move(protocol)) {}

    // -- messages -----------------------------------------------------------------------
    Result<Bytes> begin(const MemberCall& call) {
        const auto request = decode_begin_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (request->outputs == 0) return fail(Errc::malformed_message, "a model without outputs");
        auto bottom = Bottom::create(*party_, place_);
        if (!bottom) return tl::unexpected(std::move(bottom.error()));
        outputs_ = request->outputs;
        bottom_ = std::move(*bottom);
        const auto sent = shared(0);
        if (!sent) return tl::unexpected(sent.error());
        return encode(begin_reply(*party_), *sent);
    }

    Result<Bytes> step(const MemberCall& call) {
        const auto request = decode_step_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (auto due = call.due(request->step); !due) return tl::unexpected(due.error());
        copy_tensor(request->tensor, travels_);
        models::nn::from_matrix(travels_, gradient_);
        if (auto done = bottom_->backward(call.step, gradient_); !done)
            return tl::unexpected(std::move(done.error()));
        const auto sent = shared(call.step + 1);
        if (!sent) return tl::unexpected(sent.error());
        return encode_scores(*sent);
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
        const auto sent = shared(step);
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
    Result<SentTensor> shared(std::uint64_t step) {
        fill_numbers(step);
        return shared({term_, step, TableKind::train, Stamp::batch, Stamp::Tensor::scores});
    }
    /// What leaves the bottom network for batch `step`, into `travels_`.
    void fill_numbers(std::uint64_t step) {
        models::nn::to_matrix(bottom_->forward(step), travels_);
        const config::AgreedHalf& agreed = party_->agreed();
        if (agreed.model.noise > 0)
            add_noise(agreed.run.seed, place_, step, agreed.model.noise, travels_.view());
    }

    Party* party_;
    Place place_;
    std::uint32_t term_;
    std::unique_ptr<MemberProtocol> protocol_;
    std::uint64_t outputs_ = 0;
    std::unique_ptr<Bottom> bottom_;
    models::nn::Records gradient_;
    models::nn::Records rows_;
    models::Matrix travels_;
};

SplitMember& split_half(MemberHalf& half) {
    return static_cast<SplitMember&>(half);
}

}  // namespace

Result<Bytes> answer_begin(MemberHalf& half, const MemberCall& call) {
    return split_half(half).begin(call);
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
