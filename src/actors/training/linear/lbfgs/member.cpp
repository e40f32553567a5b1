// The member's half of L-BFGS: one round after the other, and scores of its own columns.

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "actors/protocols/protocol.hpp"
#include "actors/training/linear/block.hpp"
#include "actors/training/linear/lbfgs/block.hpp"
#include "actors/training/linear/lbfgs/lbfgs.hpp"
#include "actors/training/linear/lbfgs/messages.hpp"
#include "actors/training/linear/linear.hpp"
#include "actors/training/state.hpp"
#include "base/planted.hpp"

namespace vflbus::actors::linear {
namespace {

class LbfgsMember final : public MemberHalf {
  public:
    LbfgsMember(const MemberSetting& setting, std::unique_ptr<MemberProtocol> protocol)
        : party_(&setting.party),
          term_(setting.term),
          message_bytes_max_(setting.message_bytes_max),
          protocol_(std::move(protocol)) {}

    // -- messages -----------------------------------------------------------------------
    Result<Bytes> begin(const MemberCall& call) {
        const auto request = decode_begin_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (request->outputs == 0) return fail(Errc::malformed_message, "a model without outputs");
        outputs_ = request->outputs;
        block_.reset();  // that of an earlier fold
        encrypted_.reset();
        if (auto fits = check_sizes(); !fits) return tl::unexpected(std::move(fits.error()));
        return encode(begin_reply(*party_), models::Matrix(0, outputs_));
    }

    /// The residual comes encrypted, before the round that needs its product with the columns.
    Result<Bytes> product(const MemberCall& call) {
        if (!encrypts())
            return fail(Errc::handler_failed, "the protocol of the run encrypts no residuals");
        const auto request = decode_product_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (auto due = call.due(request->step); !due) return tl::unexpected(due.error());
        if (auto good = make_block(request->settings); !good)
            return tl::unexpected(std::move(good.error()));
        return encrypted_->answer(*request, call.step, columns_,
                                  party_->rows(TableKind::train).size());
    }

    Result<Bytes> iterate(const MemberCall& call) {
        const auto request = decode_iterate_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (auto due = call.due(request->step); !due) return tl::unexpected(due.error());
        if (auto done = take_round(call.step, *request); !done)
            return tl::unexpected(std::move(done.error()));
        if (encrypts())
            encrypted_->prepare(columns_, party_->rows(TableKind::train).size(), call.step + 1);
        const auto scores =
            protocol_->share(stamp_of(call.step, Stamp::Tensor::gradient_scores), answer_.scores);
        if (!scores) return tl::unexpected(scores.error());
        const models::ConstMatrixView scalars{answer_.scalars.data(), answer_.scalars.size(), 1};
        const auto products =
            protocol_->share(stamp_of(call.step, Stamp::Tensor::products), scalars);
        if (!products) return tl::unexpected(products.error());
        return encode_iterated(*scores, *products);
    }

    Result<Bytes> evaluate(const MemberCall& call) {
        if (call.predicts) return answer_rows(*loaded_, *protocol_, term_, call, rows_);
        if (!block_)
            return fail(Errc::handler_failed,
                        "has no weights before the first round of the solver");
        return answer_rows(*block_, *protocol_, term_, call, rows_);
    }

    Result<Bytes> round(const MemberCall& call) {
        const auto request = decode_round_request(call.body);
        if (!request) return tl::unexpected(request.error());
        auto payload = protocol_->answer(*request);
        if (!payload) return tl::unexpected(std::move(payload.error()));
        RoundReply reply;
        reply.payload = *payload;
        return encode(reply);
    }

    // -- MemberHalf ---------------------------------------------------------------------
    Result<BeginRequest> beginning(Body begin) const override {
        return decode_begin_request(begin);
    }
    /// Round 0 takes no step.
    std::uint64_t steps() const override { return party_->agreed().model.max_iterations + 1; }
    /// The master knows whether it has converged.
    bool may_finish(std::uint64_t step) const override { return step > 0; }

    StateFormat format() const override {
        return {std::string(lbfgs_state_name), lbfgs_state_version};
    }
    StateFormat part_format() const override { return {std::string(format_name), format_version}; }
    std::string save() const override {
        StateWriter writer;
        if (block_) block_->save(writer);
        return writer.take();
    }
    Result<Bytes> restore(std::uint64_t step, std::string_view bytes) override {
        StateReader reader(bytes);
        const LbfgsSettings settings = LbfgsBlock::saved_settings(reader);
        if (settings.units.size() != outputs_)
            return fail(Errc::state_lost, "the state of a commit is of another model");
        models::LbfgsPartyState state = LbfgsBlock::saved_solver(reader);
        if (auto done = reader.finish(); !done) return tl::unexpected(std::move(done.error()));
        if (VFLBUS_PLANTED(solver_not_restored)) std::ranges::fill(state.vectors, 0.0);
        // early stopping goes back with a block that is there already, and has the design
        if (!block_)
            if (auto good = use_settings(settings); !good)
                return tl::unexpected(std::move(good.error()));
        if (auto done = block_->restore(state); !done)
            return tl::unexpected(std::move(done.error()));
        return encode_restored(step, models::Matrix(0, outputs_));
    }

    Result<std::string> part(ModelHead head) const override {
        if (!block_) return fail(Errc::handler_failed, "has no weights yet");
        return block_->part(std::move(head)).map([](const ModelPart& part) {
            return to_json(part);
        });
    }
    Result<> use(std::string_view text, std::string_view path) override {
        const auto part = parse_model_part(text, path);
        if (!part) return tl::unexpected(part.error());
        auto block = Block::create(*party_, *part);
        if (!block) return tl::unexpected(std::move(block.error()));
        loaded_.emplace(std::move(*block));
        return {};
    }
    std::uint64_t features() const override {
        return loaded_ ? loaded_->features() : block_ ? block_->features() : 0;
    }
    std::uint64_t outputs() const override { return loaded_ ? loaded_->outputs() : outputs_; }

  private:
    [[nodiscard]] bool encrypts() const {
        return party_->agreed().run.protocol == config::Protocol::encrypted;
    }

    /// What a round brings has to fit into messages here, and what is encrypted into its numbers.
    Result<> check_sizes() {
        const std::uint64_t rows = party_->rows(TableKind::train).size();
        if (auto fits = check_message_rows(
                rows, outputs_, message_bytes_max_,
                "state model.solver = \"sgd\" or \"adam\", which take the rows in batches");
            !fits || !encrypts())
            return fits;
        encrypted_.emplace(*protocol_);
        return encrypted_->plan({rows, party_->design(TableKind::train).cols, outputs_,
                                 products_of(party_->agreed(), steps())},
                                message_bytes_max_);
    }

    /// In the first round, unless the block is there.
    Result<> make_block(const TensorView& said) {
        if (block_) return {};
        auto settings = settings_of(said, outputs_);
        if (!settings) return tl::unexpected(std::move(settings.error()));
        return use_settings(std::move(*settings));
    }
    Result<> use_settings(LbfgsSettings settings) {
        block_ = std::make_unique<LbfgsBlock>(*party_, std::move(settings), outputs_);
        if (encrypts()) {
            encrypted_->await();
            block_->make_integers(columns_);
        }
        return {};
    }

    Result<> take_round(std::uint64_t step, const IterateRequest& request) {
        copy_tensor(request.coefficients, coefficients_);
        if (encrypts()) {
            if (auto done = encrypted_->open(step, request.residual, residual_); !done) return done;
            return block_->answer_product(coefficients_, residual_, answer_);
        }
        if (auto good = make_block(request.settings); !good) return good;
        const Stamp residual = stamp_of(step, Stamp::Tensor::residual);
        if (auto done = protocol_->incoming(residual, request.residual, residual_); !done)
            return done;
        return block_->answer(coefficients_, residual_, answer_);
    }

    [[nodiscard]] Stamp stamp_of(std::uint64_t step, Stamp::Tensor tensor) const {
        return {term_, step, TableKind::train, Stamp::batch, tensor};
    }

    Party* party_;
    std::uint32_t term_;
    std::uint64_t message_bytes_max_;
    std::unique_ptr<MemberProtocol> protocol_;
    std::uint64_t outputs_ = 0;
    std::unique_ptr<LbfgsBlock> block_;  ///< of a training, from the first round on
    IntegerColumns columns_;             ///< of the block; `encrypted_` looks at them
    std::optional<EncryptedGradients> encrypted_;
    std::optional<Block> loaded_;  ///< of a prediction
    models::Matrix coefficients_;
    models::Matrix residual_;
    models::LbfgsAnswer answer_;
    models::Matrix rows_;
};

LbfgsMember& lbfgs_half(MemberHalf& half) {
    return static_cast<LbfgsMember&>(half);
}

}  // namespace

Result<Bytes> answer_lbfgs_begin(MemberHalf& half, const MemberCall& call) {
    return lbfgs_half(half).begin(call);
}
Result<Bytes> answer_lbfgs_product(MemberHalf& half, const MemberCall& call) {
    return lbfgs_half(half).product(call);
}
Result<Bytes> answer_lbfgs_round(MemberHalf& half, const MemberCall& call) {
    return lbfgs_half(half).iterate(call);
}
Result<Bytes> answer_lbfgs_evaluate(MemberHalf& half, const MemberCall& call) {
    return lbfgs_half(half).evaluate(call);
}
Result<Bytes> answer_lbfgs_protocol(MemberHalf& half, const MemberCall& call) {
    return lbfgs_half(half).round(call);
}

Result<std::unique_ptr<MemberHalf>> make_lbfgs_member(const MemberSetting& setting) {
    auto protocol = make_member_protocol(setting.party.agreed());
    if (!protocol) return tl::unexpected(std::move(protocol.error()));
    return std::make_unique<LbfgsMember>(setting, std::move(*protocol));
}

}  // namespace vflbus::actors::linear
