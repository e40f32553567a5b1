// Mini-batch descent with one round trip per step: the reply to step t are the scores of batch
// t + 1 with the weights after step t.

#include <memory>
#include <utility>
#include <vector>

#include "actors/training/linear/master.hpp"

namespace vflbus::actors::linear {
namespace {

class HonestSteps final : public LinearMaster {
  public:
    explicit HonestSteps(const MasterSetting& setting) : LinearMaster(setting) {}

    Task<StepResult> step(std::uint64_t step) override {
        co_await protocol().finish(stamp(step, Stamp::Tensor::scores), sum_);
        co_await head().forward_backward(sum_, block().schedule().rows(step), work_);
        const models::ConstMatrixView sent =
            co_await protocol().outgoing(stamp(step, Stamp::Tensor::residual), work_.residual);
        Replies asked = parties().ask_all(message::step, encode_step(step, sent));
        // while the members are at it
        co_await block().update(work_.residual);
        co_await start_scores(step + 1);
        const std::vector<Bytes> replies = co_await asked;
        for (std::size_t i = 0; i < replies.size(); ++i)
            co_await run().said_by(i, take_reply(step + 1, i, replies[i]));
        if (protocol().has_rounds_in_step()) co_await protocol().within_step(parties(), step);
        StepResult result;
        result.loss = work_.loss;
        co_return result;
    }

  private:
    Result<> start_scores(std::uint64_t step) override {
        block().batch_scores(step, own_scores_);
        return protocol().start(stamp(step, Stamp::Tensor::scores), own_scores_, sum_);
    }
    Result<> take_scores(std::uint64_t step, std::size_t rank, const TensorView& scores) override {
        return protocol().add(stamp(step, Stamp::Tensor::scores), rank, scores, sum_);
    }
    Result<> take_reply(std::uint64_t step, std::size_t rank, Body body) {
        const auto reply = decode_step_reply(body);
        if (!reply) return tl::unexpected(reply.error());
        return take_scores(step, rank, reply->scores);
    }

    models::Matrix own_scores_;
    models::Matrix sum_;  ///< of the scores of the next batch, own first, then by rank
    models::HeadStep work_;
};

bool honest_chosen(const config::AgreedHalf& agreed) {
    return agreed.model.name == config::ModelName::linear &&
           (agreed.model.solver == config::Solver::sgd ||
            agreed.model.solver == config::Solver::adam);
}

Result<std::unique_ptr<MasterHalf>> make_honest_master(const MasterSetting& setting) {
    auto master = std::make_unique<HonestSteps>(setting);
    if (auto done = master->prepare(); !done) return tl::unexpected(std::move(done.error()));
    return master;
}

constexpr config::Protocol honest_protocols[] = {config::Protocol::honest,
                                                 config::Protocol::masked};
constexpr MemberHandler honest_handlers[] = {on_begin, on_step, on_evaluate, on_round};

}  // namespace

const Algorithm honest{
    .name = "mini-batch",
    .format = format_name,
    .chosen = honest_chosen,
    .protocols = honest_protocols,
    .check = nullptr,
    .train = make_honest_master,
    .predict = make_predicting_master,
    .member = make_member,
    .handlers = honest_handlers,
};

}  // namespace vflbus::actors::linear
