// Mini-batch descent with one round trip per step: the reply to step t are the scores of batch
// t + 1 with the weights after step t. Under the protocol `encrypted` members compute ahead, for
// each step, with random numbers that they do not see, and the step takes these off (padded.hpp).

#include <cmath>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/training/linear/differential.hpp"
#include "actors/training/linear/master.hpp"
#include "actors/training/linear/padded.hpp"
#include "actors/training/linear/rows.hpp"
#include "base/text.hpp"
#include "bus/wire/limits.hpp"

namespace vflbus::actors::linear {
namespace {

class HonestSteps final : public LinearMaster {
  public:
    explicit HonestSteps(const MasterSetting& setting) : LinearMaster(setting) {}

    Task<> begin(std::uint64_t first) override {
        co_await make_noise(first);  // whose secret is stored before anything is sent
        co_await LinearMaster::begin(first);
    }

    Task<StepResult> step(std::uint64_t step) override {
        co_await protocol().finish(stamp(step, Stamp::Tensor::scores), sum_);
        if (noise_)
            co_await noisy_residuals(step);
        else
            co_await head().forward_backward(sum_, block().schedule().rows(step), work_);
        if (encrypted()) {
            co_await encrypted_step(step);
        } else {
            co_await plain_step(step);
        }
        if (protocol().has_rounds_in_step()) co_await protocol().within_step(parties(), step);
        StepResult result;
        result.loss = work_.loss;
        co_return result;
    }

    /// What was asked ahead is answered before members go back to another model: they answer no
    /// product afterwards, and a large one may arrive behind the small message that says so.
    Task<> agree_anew() override {
        for (; !asked_.empty(); asked_.pop_front()) {
            Replies ahead = asked_.front().answers;
            co_await ahead;
        }
        co_await LinearMaster::agree_anew();
    }

    Result<> restore(std::uint64_t step, std::string_view state) override {
        if (residuals_) residuals_->forget();
        asked_.clear();
        opened_.reset();
        return LinearMaster::restore(step, state);
    }

  private:
    /// With differential privacy: the residual of the step as it may be used, and the step of the
    /// intercept with it.
    Result<> noisy_residuals(std::uint64_t step) {
        if (auto done = head().residuals(sum_, block().schedule().rows(step), work_); !done)
            return done;
        std::optional<unsigned> bits;
        if (encrypted()) bits = residuals_->plans().residual_bits();
        if (auto done = noise_->take(step, work_.residual, bits); !done) return done;
        return head().step_intercept(noise_->intercept());
    }

    /// The own weights take their step.
    Result<> own_update() {
        if (!noise_) return block().update(work_.residual);
        if (auto done = noise_->own_gradient(block().batch(), own_gradient_); !done) return done;
        return block().apply_gradient(own_gradient_);
    }

    Result<> make_noise(std::uint64_t first) {
        if (!run().config().privacy.any()) return {};
        const auto key = noise_key(run().env(), run().directory() / run().options().name,
                                   run().config(), run().options().name);
        if (!key) return tl::unexpected(key.error());
        noise_.emplace(run().config(), key->of_use(first));
        return {};
    }

    Task<> plain_step(std::uint64_t step) {
        const models::ConstMatrixView sent =
            co_await protocol().outgoing(stamp(step, Stamp::Tensor::residual), work_.residual);
        Replies asked = parties().ask_all(message::step, encode_step(step, sent));
        // while the members are at it
        co_await own_update();
        co_await start_scores(step + 1);
        co_await take_replies(step + 1, asked);
    }

    // -- encrypted: padded.hpp ------------------------------------------------------------
    /// A product that was asked for, of the step after that of the one before.
    struct Asked {
        std::uint64_t step = 0;
        bool keys = false;  ///< it brought keys
        TimePoint at{};
        Replies answers;
    };

    /// Asks for products up to that of step `last`.
    void ask_products(std::uint64_t first, std::uint64_t last) {
        const std::uint64_t steps = block().schedule().steps();
        for (;;) {
            const std::uint64_t step = asked_.empty() ? first : asked_.back().step + 1;
            if (step > last || step >= steps) return;
            // a message with keys has several parts, and one after it could come before its last
            if (!asked_.empty() && asked_.back().keys && !asked_.back().answers.ready()) return;
            std::vector<Bytes> bodies = residuals_->request(due(step));
            const TimePoint now = run().now();
            Replies answers = parties().ask_each(product_message, std::move(bodies));
            asked_.push_back({step, residuals_->brought_keys(), now, std::move(answers)});
            if (step + 1 < steps) residuals_->prepare(due(step + 1));
        }
    }
    [[nodiscard]] PaddedResiduals::Due due(std::uint64_t step) {
        const BatchSchedule& schedule = block().schedule();
        return {step, schedule.epoch_of(step), schedule.batch_rows(step)};
    }
    /// How far products are ahead. Of long ones, whose parts come as the receiver has room, one is
    /// under way at a time.
    [[nodiscard]] std::uint64_t ahead() const {
        return residuals_->request_bytes() < bus::bulk_lead_bytes ? products_ahead_max : 1;
    }

    /// The answers for step `step`, once.
    Task<> take_products(std::uint64_t step) {
        ask_products(step, step);
        if (opened_ == step) co_return;
        Replies computing = asked_.front().answers;
        const std::vector<Bytes> answers = co_await computing;
        for (std::size_t i = 0; i < answers.size(); ++i)
            co_await run().said_by(
                i, residuals_->open(i, answers[i], computing.arrived()[i] - asked_.front().at));
        opened_ = step;
    }

    /// What the members have computed of the pads of this step goes back with what makes it theirs.
    Task<> encrypted_step(std::uint64_t step) {
        co_await take_products(step);
        for (std::size_t i = 0; noise_ && i < parties().members(); ++i)
            noise_->hide_opened(i, residuals_->plans()[i], residuals_->opened(i));
        std::vector<Bytes> bodies =
            co_await residuals_->correct(step, work_.residual, fixed_exponent());
        asked_.pop_front();
        const TimePoint sent = run().now();
        Replies stepping = parties().ask_each(message::step, std::move(bodies));
        ask_products(step + 1, step + ahead());
        // while the members are at it
        co_await own_update();
        co_await start_scores(step + 1);
        if (!asked_.empty()) co_await take_products(step + 1);
        co_await take_replies(step + 1, stepping);
        for (std::size_t i = 0; i < parties().members(); ++i)
            residuals_->stepped(i, stepping.arrived()[i] - sent);
        if (residuals_->lines_are_due())
            say_lines(run(),
                      residuals_->choose_lines(transform_ms([this] { return run().now(); })));
    }

    [[nodiscard]] std::optional<int> fixed_exponent() const {
        return noise_ ? std::optional(noise_->exponent()) : std::nullopt;
    }

    Result<> member_begun(std::size_t rank, const BeginReply& reply) override {
        warn_of_short_batches(rank, reply.features);
        if (!encrypted()) return {};
        const BatchSchedule& schedule = block().schedule();
        if (rank == 0) residuals_.emplace(protocol());
        auto added = residuals_->add_member(
            {schedule.batch_rows(0), reply.features, outputs(),
             products_of(run().config(), schedule.steps()), 0, privacy::rlwe::residual_bits_max,
             noise_rows(run().config()), schedule.batches()},
            run().message_bytes_max());
        if (added) say_encryption(run(), rank, residuals_->plans().describe(rank));
        return added;
    }
    Result<> start_scores(std::uint64_t step) override {
        block().batch_scores(step, own_scores_);
        return protocol().start(stamp(step, Stamp::Tensor::scores), own_scores_, sum_);
    }
    Result<> take_scores(std::uint64_t step, std::size_t rank, const TensorView& scores) override {
        return protocol().add(stamp(step, Stamp::Tensor::scores), rank, scores, sum_);
    }

    models::Matrix own_scores_;
    models::Matrix sum_;  ///< of the scores of the next batch, own first, then by rank
    models::HeadStep work_;
    std::optional<PaddedResiduals> residuals_;
    std::deque<Asked> asked_;              ///< whose step is not sent yet
    std::optional<std::uint64_t> opened_;  ///< the step whose answers are opened
    std::optional<LabelNoise> noise_;      ///< with differential privacy
    models::Matrix own_gradient_;
};

bool honest_chosen(const config::AgreedHalf& agreed) {
    return agreed.model.name == config::ModelName::linear &&
           (agreed.model.solver == config::Solver::sgd ||
            agreed.model.solver == config::Solver::adam);
}

/// Scores that are summed as integers have steps of 2^-32 whatever the unit of the label is, and a
/// label that hardly varies beside them would train to a wrong model without a word. (L-BFGS scales
/// the label by itself.) A constant label has nothing to lose.
constexpr double deviation_min = 0x1p-20;

Result<> check_unit(const MasterSetting& setting) {
    const config::AgreedHalf& agreed = setting.run.config();
    const models::Labels& labels = setting.labels->train;
    if (agreed.run.protocol == config::Protocol::honest || labels.task != vflbus::Task::linear)
        return {};
    const auto rows = static_cast<double>(labels.rows());
    for (std::size_t k = 0; k < labels.outputs(); ++k) {
        double mean = 0;
        for (std::size_t i = 0; i < labels.rows(); ++i) mean += labels.values(i, k) / rows;
        double squares = 0;
        for (std::size_t i = 0; i < labels.rows(); ++i) {
            const double apart = (labels.values(i, k) - mean) / deviation_min;
            squares += apart * apart / rows;
        }
        const double deviation = std::sqrt(squares) * deviation_min;
        // what rounding makes of a constant is no deviation
        if (deviation >= deviation_min || deviation <= 1e-14 * std::abs(mean)) continue;
        return fail(Errc::bad_data,
                    labels.describe(k) + " has a deviation of " + shortest(deviation) +
                        ", and protocol " + std::string(config::name_of(agreed.run.protocol)) +
                        " rounds scores to 2.3e-10: give the label in a unit in which it has 1e-6 "
                        "at least, or state model.solver = \"lbfgs\", which scales it");
    }
    return {};
}

Result<std::unique_ptr<MasterHalf>> make_honest_master(const MasterSetting& setting) {
    if (auto good = check_unit(setting); !good) return tl::unexpected(std::move(good.error()));
    if (setting.run.config().privacy.noise_multiplier > 0 && !setting.labels->train.weights.empty())
        return fail(Errc::bad_config,
                    "privacy.noise_multiplier does not go with party.master.sample_weight: the "
                    "weights of all rows together say how much one counts");
    auto master = std::make_unique<HonestSteps>(setting);
    if (auto done = master->prepare(); !done) return tl::unexpected(std::move(done.error()));
    return master;
}

constexpr config::Protocol honest_protocols[] = {config::Protocol::honest, config::Protocol::masked,
                                                 config::Protocol::encrypted};
constexpr MemberHandler honest_handlers[] = {on_begin, on_product, on_step, on_evaluate, on_round};

}  // namespace

const Algorithm honest{
    .name = "mini-batch",
    .format = format_name,
    .chosen = honest_chosen,
    .protocols = honest_protocols,
    .check = check_link,
    .train = make_honest_master,
    .predict = make_predicting_master,
    .member = make_member,
    .handlers = honest_handlers,
};

}  // namespace vflbus::actors::linear
