// The member's half of all linear algorithms: scores of its own columns, and steps of its own
// weights with what the master sends.

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "actors/protocols/protocol.hpp"
#include "actors/training/linear/arbitered.hpp"
#include "actors/training/linear/block.hpp"
#include "actors/training/linear/differential.hpp"
#include "actors/training/linear/linear.hpp"
#include "actors/training/linear/padded.hpp"
#include "actors/training/state.hpp"
#include "base/planted.hpp"

namespace vflbus::actors::linear {
namespace {

class LinearMember final : public MemberHalf {
  public:
    LinearMember(const MemberSetting& setting, std::unique_ptr<MemberProtocol> protocol)
        : party_(&setting.party),
          term_(setting.term),
          message_bytes_max_(setting.message_bytes_max),
          noise_key_(setting.noise_key),
          protocol_(std::move(protocol)) {}

    // -- messages -----------------------------------------------------------------------
    Result<Bytes> begin(const MemberCall& call) {
        const auto request = decode_begin_request(call.body);
        if (!request) return tl::unexpected(request.error());
        padded_.reset();
        auto block = Block::create(*party_, request->outputs);
        if (!block) return tl::unexpected(std::move(block.error()));
        block_.emplace(std::move(*block));
        if (auto fits = check_message_rows(block_->schedule().batch_rows(0), request->outputs,
                                           message_bytes_max_, "lower model.batch_size");
            !fits)
            return tl::unexpected(std::move(fits.error()));
        if (auto good = plan_encryption(); !good) return tl::unexpected(std::move(good.error()));
        if (auto good = plan_shares_of_batches(); !good)
            return tl::unexpected(std::move(good.error()));
        if (auto good = make_noise(request->first); !good)
            return tl::unexpected(std::move(good.error()));
        const auto shared = batch_scores(0);
        if (!shared) return tl::unexpected(shared.error());
        return encode(begin_reply(*party_), *shared);
    }

    Result<Bytes> step(const MemberCall& call) {
        if (auto done = padded_ ? take_padded_step(call) : take_step(call); !done)
            return tl::unexpected(std::move(done.error()));
        const auto shared = batch_scores(call.step + 1);
        if (!shared) return tl::unexpected(shared.error());
        return encode_scores(*shared);
    }

    Result<Bytes> product(const MemberCall& call) {
        if (sharing_) return product_of_shares(call);
        if (!padded_)
            return fail(Errc::handler_failed, "the protocol of the run encrypts no residuals");
        const auto request = decode_product_request(call.body);
        if (!request) return tl::unexpected(request.error());
        return padded_->answer(*request, call.step);
    }

    Result<Bytes> solve(const MemberCall& call) {
        const auto request = decode_solve_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (auto due = call.due(request->step); !due) return tl::unexpected(due.error());
        copy_tensor(request->tensor, residual_);
        if (auto done = block_->solve(residual_, scores_); !done)
            return tl::unexpected(std::move(done.error()));
        block_->batch_scores(call.step + 1, next_);
        return encode_solved(scores_, next_);
    }

    Result<Bytes> evaluate(const MemberCall& call) {
        if (hides_scores()) {
            // scores that are asked for on the way would be releases that nobody has counted
            if (!call.predicts && call.step < steps())
                return fail(Errc::handler_failed,
                            "shows scores of its rows after the last step alone, as differential "
                            "privacy (score_noise_multiplier) counts them once");
            if (!noisy_)
                if (auto good = make_noise(0); !good)
                    return tl::unexpected(std::move(good.error()));
        }
        return answer_rows(*block_, sharing(), term_, call, rows_);
    }

    Result<Bytes> round(const MemberCall& call) {
        const auto request = decode_round_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (arbitered() && request->moment == Moment::setup && request->step == 0 &&
            request->round == round_arbiter_key) {
            share_setup_.assign(request->payload.begin(), request->payload.end());
            return encode(RoundReply{});
        }
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
    std::uint64_t steps() const override { return block_->schedule().steps(); }
    StateFormat format() const override { return {std::string(format_name), format_version}; }
    std::string save() const override { return StateWriter().party(block_->state()).take(); }

    Result<Bytes> restore(std::uint64_t step, std::string_view bytes) override {
        StateReader reader(bytes);
        models::PartyState state = reader.party();
        if (auto done = reader.finish(); !done) return tl::unexpected(std::move(done.error()));
        if (VFLBUS_PLANTED(optimizer_not_restored)) state.optimizer = block_->state().optimizer;
        if (auto done = block_->restore(std::move(state)); !done)
            return tl::unexpected(std::move(done.error()));
        if (padded_) padded_->begin(step);
        const auto shared = batch_scores(step);
        if (!shared) return tl::unexpected(shared.error());
        return encode_restored(step, *shared);
    }

    Result<std::string> part(ModelHead head) const override {
        return to_json(block_->part(std::move(head)));
    }

    Result<> use(std::string_view text, std::string_view path) override {
        const auto part = parse_model_part(text, path);
        if (!part) return tl::unexpected(part.error());
        auto block = Block::create(*party_, *part);
        if (!block) return tl::unexpected(std::move(block.error()));
        block_.emplace(std::move(*block));
        return {};
    }
    std::uint64_t features() const override { return block_ ? block_->features() : 0; }
    std::uint64_t outputs() const override { return block_ ? block_->outputs() : 0; }

  private:
    Result<> plan_encryption() {
        if (party_->agreed().run.protocol != config::Protocol::encrypted) return {};
        const BatchSchedule& schedule = block_->schedule();
        padded_.emplace(*protocol_, schedule, batch_source());
        if (auto good =
                padded_->plan({schedule.batch_rows(0), block_->features(), block_->outputs(),
                               products_of(party_->agreed(), schedule.steps()), 0,
                               privacy::rlwe::residual_bits_max, noise_rows(party_->agreed()),
                               schedule.batches()},
                              message_bytes_max_);
            !good)
            return good;
        padded_->begin(0);
        return {};
    }

    /// The batches whose products are ahead of the step that is due: they have a schedule of their
    /// own, as one remembers the order of one epoch.
    [[nodiscard]] BatchSource batch_source() const {
        const models::DesignView design = party_->design(TableKind::train);
        BatchSource source;
        source.gather = [design, schedule = block_->schedule()](std::uint64_t step,
                                                                models::Matrix& batch) mutable {
            models::gather_batch(design, schedule.rows(step), batch);
        };
        if (party_->agreed().privacy.any())
            source.convert = [agreed = &party_->agreed()](models::ConstMatrixView batch,
                                                          IntegerColumns& columns) {
                return to_clipped_integers(batch, *agreed, columns);
            };
        else
            source.convert = [exponents = column_exponents(design)](models::ConstMatrixView batch,
                                                                    IntegerColumns& columns) {
                columns.exponents = exponents;
                to_integers(batch, columns);
                return Result<>{};
            };
        return source;
    }

    // -- differential privacy -------------------------------------------------------------
    [[nodiscard]] bool hides_scores() const {
        return party_->agreed().privacy.score_noise_multiplier > 0;
    }
    [[nodiscard]] MemberProtocol& sharing() { return noisy_ ? *noisy_ : *protocol_; }

    /// `first`: steps of earlier folds, whose releases have the same labels.
    Result<> make_noise(std::uint64_t first) {
        if (!hides_scores()) return {};
        VFLBUS_ASSERT(noise_key_ != nullptr, "a member has a place for the secret of its noise");
        const auto key = noise_key_();
        if (!key) return tl::unexpected(key.error());
        noisy_ = make_noisy_member(*protocol_, party_->agreed(), key->of_use(first));
        step_noise_.emplace(party_->agreed(), key->of_use(first));
        return {};
    }

    /// With differential privacy all residuals are on one grid, which nothing in the data decides.
    Result<> check_exponent(std::int64_t exponent) const {
        if (!party_->agreed().privacy.any() || block_->features() == 0) return {};
        const privacy::Grid grid =
            residual_grid(party_->agreed(), block_->batch().rows, padded_->residual_bits());
        if (exponent == grid.exponent) return {};
        return fail(Errc::malformed_message, "residuals times 2^" + std::to_string(exponent) +
                                                 " where the configuration says 2^" +
                                                 std::to_string(grid.exponent));
    }

    [[nodiscard]] bool arbitered() const {
        return party_->agreed().run.protocol == config::Protocol::arbitered;
    }

    /// The arbiter's key has come in a round before; it is that of this training alone.
    Result<> plan_shares_of_batches() {
        if (!arbitered()) return {};
        const BatchSchedule& schedule = block_->schedule();
        const Bytes received = std::exchange(share_setup_, {});
        if (received.empty())
            return fail(Errc::state_lost,
                        "the training begins, and no key of the arbiter has come");
        const auto setup = decode_share_setup(received);
        if (!setup) return tl::unexpected(setup.error());
        const ShareShape shape{schedule.batch_rows(0), block_->outputs(), schedule.steps(),
                               setup->weighted};
        const auto plan = plan_shares(party_->agreed(), shape, message_bytes_max_);
        if (!plan) return tl::unexpected(plan.error());
        if (auto good = check_columns(*plan, block_->features()); !good) return good;
        auto sharing = SharingParty::create(*plan, *setup);
        if (!sharing) return tl::unexpected(std::move(sharing.error()));
        sharing_.emplace(std::move(*sharing));
        columns_.exponents = column_exponents(party_->design(TableKind::train));
        return {};
    }

    Result<Bytes> product_of_shares(const MemberCall& call) {
        const auto request = decode_product_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (auto due = call.due(request->step); !due) return tl::unexpected(due.error());
        if (!request->zero.empty() || !request->switch_keys.empty() || request->line != 0 ||
            request->exponent != 0 || request->settings.rows != 0)
            return fail(Errc::malformed_message,
                        "a product with a key, a line or an exponent of the master");
        const models::ConstMatrixView batch = block_->batch();
        const auto answer = sharing_->product(request->step, columns_, batch.cols, batch.rows,
                                              request->ciphertexts);
        if (!answer) return tl::unexpected(answer.error());
        return encode_product_reply(*answer);
    }

    Result<> take_padded_step(const MemberCall& call) {
        const auto request = decode_padded_step(call.body);
        if (!request) return tl::unexpected(request.error());
        if (auto due = call.due(request->step); !due) return due;
        if (auto good = check_exponent(request->exponent); !good) return good;
        if (auto done = padded_->correct(*request, residual_); !done) return done;
        if (step_noise_ && block_->features() > 0)
            step_noise_->hide_opened(call.step, block_->batch().rows, padded_->residual_bits(),
                                     residual_);
        return block_->apply_gradient(residual_);
    }

    Result<> take_step(const MemberCall& call) {
        const auto request = decode_step_request(call.body);
        if (!request) return tl::unexpected(request.error());
        if (auto due = call.due(request->step); !due) return due;
        const std::uint64_t step = call.step;
        const TensorView& sent = request->tensor;
        if (sharing_) {
            if (auto done = sharing_->open(step, sent, residual_); !done) return done;
            return block_->apply_gradient(residual_);
        }
        const Stamp stamp = stamp_of(step, Stamp::Tensor::residual);
        if (auto done = protocol_->incoming(stamp, sent, residual_); !done) return done;
        if (!step_noise_) return block_->update(residual_);
        if (auto good = block_->check_shape("a residual", residual_); !good) return good;
        if (auto done = step_noise_->gradient(step, block_->batch(), residual_, gradient_); !done)
            return done;
        return block_->apply_gradient(gradient_);
    }

    [[nodiscard]] Stamp stamp_of(std::uint64_t step, Stamp::Tensor tensor) const {
        return {term_, step, TableKind::train, Stamp::batch, tensor};
    }
    Result<SentTensor> batch_scores(std::uint64_t step) {
        block_->batch_scores(step, scores_, padded_ ? padded_->take_rows(step) : std::nullopt);
        if (sharing_) return share_of(step);
        return sharing().share(stamp_of(step, Stamp::Tensor::scores), scores_);
    }

    Result<SentTensor> share_of(std::uint64_t step) {
        if (step < block_->schedule().steps()) to_integers(block_->batch(), columns_);
        share_of_scores(party_->agreed().model.task, scores_);
        return sharing_->share(scores_);
    }

    Party* party_;
    std::uint32_t term_;
    std::uint64_t message_bytes_max_;
    std::function<Result<privacy::NoiseKey>()> noise_key_;
    std::unique_ptr<MemberProtocol> protocol_;
    std::unique_ptr<MemberProtocol> noisy_;  ///< on `protocol_`, where scores are hidden
    std::optional<StepNoise> step_noise_;
    std::optional<Block> block_;
    IntegerColumns columns_;  ///< under an arbiter: of the batch that is due
    std::optional<PaddedGradients> padded_;
    Bytes share_setup_;  ///< of the training that is to begin
    std::optional<SharingParty> sharing_;
    models::Matrix residual_;
    models::Matrix gradient_;
    models::Matrix scores_;
    models::Matrix next_;
    models::Matrix rows_;
};

LinearMember& linear_half(MemberHalf& half) {
    return static_cast<LinearMember&>(half);
}

}  // namespace

Result<Bytes> answer_begin(MemberHalf& half, const MemberCall& call) {
    return linear_half(half).begin(call);
}
Result<Bytes> answer_product(MemberHalf& half, const MemberCall& call) {
    return linear_half(half).product(call);
}
Result<Bytes> answer_step(MemberHalf& half, const MemberCall& call) {
    return linear_half(half).step(call);
}
Result<Bytes> answer_solve(MemberHalf& half, const MemberCall& call) {
    return linear_half(half).solve(call);
}
Result<Bytes> answer_evaluate(MemberHalf& half, const MemberCall& call) {
    return linear_half(half).evaluate(call);
}
Result<Bytes> answer_round(MemberHalf& half, const MemberCall& call) {
    return linear_half(half).round(call);
}

Result<std::unique_ptr<MemberHalf>> make_member(const MemberSetting& setting) {
    auto protocol = make_member_protocol(setting.party.agreed());
    if (!protocol) return tl::unexpected(std::move(protocol.error()));
    return std::make_unique<LinearMember>(setting, std::move(*protocol));
}

}  // namespace vflbus::actors::linear
