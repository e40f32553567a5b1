// The seed's sequential mode: in each batch one party after another solves its own least squares
// for what the others leave of the labels (models/sequential.hpp). Parties take their turns in rank
// order, the master first if it has features.

#include "models/sequential.hpp"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "actors/training/linear/master.hpp"

namespace vflbus::actors::linear {
namespace {

class SequentialSteps final : public LinearMaster {
  public:
    explicit SequentialSteps(const MasterSetting& setting) : LinearMaster(setting) {}

    Task<StepResult> step(std::uint64_t step) override {
        const std::vector<std::size_t> turns = sequence();
        if (!solver_) solver_.emplace(head(), turns.size());
        std::vector<models::Matrix> scores;
        for (const std::size_t part : turns) scores.push_back(parts_[part]);
        co_await solver_->begin(scores, block().schedule().rows(step));
        for (std::size_t turn = 0; turn < turns.size(); ++turn) {
            const models::Matrix target = co_await solver_->target(turn);
            if (turns[turn] == 0) {
                co_await block().solve(target, solved_);
                co_await solver_->accept(turn, solved_);
                continue;
            }
            const std::size_t member = turns[turn] - 1;
            Replies asked = parties().ask(member, message::solve, encode_step(step, target));
            const std::vector<Bytes> replies = co_await asked;
            co_await run().said_by(member, take_solved(step, turn, member, replies.front()));
        }
        StepResult result;
        result.loss = co_await solver_->finish();
        // keeps what the members sent for the next batch
        co_await start_scores(step + 1);
        co_return result;
    }

  private:
    /// Who takes a turn, as indices into parts_.
    std::vector<std::size_t> sequence() {
        std::vector<std::size_t> turns;
        if (block().features() != 0) turns.push_back(0);
        for (std::size_t i = 0; i < parties().members(); ++i) turns.push_back(i + 1);
        return turns;
    }

    Result<> start_scores(std::uint64_t step) override {
        parts_.resize(parties().members() + 1);
        block().batch_scores(step, parts_[0]);
        return {};
    }
    Result<> take_scores(std::uint64_t step, std::size_t rank, const TensorView& scores) override {
        if (auto done = check_shape(scores, block().schedule().batch_rows(step)); !done)
            return done;
        copy_tensor(scores, parts_[rank + 1]);
        return {};
    }
    Result<> take_solved(std::uint64_t step, std::size_t turn, std::size_t member, Body body) {
        const auto reply = decode_solve_reply(body);
        if (!reply) return tl::unexpected(reply.error());
        if (auto done = check_shape(reply->scores, block().schedule().batch_rows(step)); !done)
            return done;
        copy_tensor(reply->scores, solved_);
        if (auto done = take_scores(step + 1, member, reply->next); !done) return done;
        return solver_->accept(turn, solved_);
    }
    Result<> check_shape(const TensorView& scores, std::size_t rows) const {
        if (scores.rows == rows && scores.cols == outputs()) return {};
        return fail(Errc::malformed_message, "scores of " + std::to_string(scores.rows) + " x " +
                                                 std::to_string(scores.cols) + " where " +
                                                 std::to_string(rows) + " x " +
                                                 std::to_string(outputs()) + " belong");
    }

    std::optional<models::SequentialMaster> solver_;
    std::vector<models::Matrix> parts_;  ///< scores of the next batch, own first
    models::Matrix solved_;
};

bool sequential_chosen(const config::AgreedHalf& agreed) {
    return agreed.model.solver == config::Solver::sequential;
}

Result<std::unique_ptr<MasterHalf>> make_sequential_master(const MasterSetting& setting) {
    auto master = std::make_unique<SequentialSteps>(setting);
    if (auto done = master->prepare(); !done) return tl::unexpected(std::move(done.error()));
    return master;
}

/// Targets and scores of its turns are sent as they are, so that no protocol that hides them can be
/// asked for.
constexpr config::Protocol sequential_protocols[] = {config::Protocol::honest};
constexpr MemberHandler sequential_handlers[] = {on_begin, on_solve, on_evaluate, on_round};

}  // namespace

const Algorithm sequential{
    .name = "sequential",
    .format = format_name,
    .chosen = sequential_chosen,
    .protocols = sequential_protocols,
    .check = nullptr,
    .train = make_sequential_master,
    .predict = make_predicting_master,
    .member = make_member,
    .handlers = sequential_handlers,
};

}  // namespace vflbus::actors::linear
