// The master's half of protocol `arbitered` (arbitered.hpp): mini-batches in which it forms a sum
// that it cannot read, and hands on what only others can read.
//
// A logistic model that is trained so minimises the Taylor series of its loss, which is least
// squares on labels of -2 and 2: it ranks rows as well as another one, but its scores are no
// log-odds. So the master fits a slope and an offset by which they become such (Platt 1999) on the
// training rows, each time they are evaluated, and writes them into its part. Of K classes the
// series is that of softmax at 0, whose derivative is (1 - 1/K) / K for a class's own score and
// -1/K^2 for each other one; the least squares are those of the class indicators less 1/K.
//
// Weights of rows and classes are the master's alone, and tell labels: it multiplies the sum of
// each row by an integer under encryption, which Paillier allows and lattices do not.

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "actors/training/linear/arbitered.hpp"
#include "actors/training/linear/master.hpp"
#include "base/assert.hpp"
#include "models/recalibration.hpp"

namespace vflbus::actors::linear {
namespace {

/// A column of ones has the intercept's gradient: as an integer, and the power of two it is
/// multiplied by.
constexpr std::int16_t one_as_integer = 1 << 14;
constexpr int exponent_of_one = 14;
/// Of the sums of shares so many bits are above the labels' own range.
constexpr int range_bits = 5;

class ArbiteredSteps final : public LinearMaster {
  public:
    explicit ArbiteredSteps(const MasterSetting& setting) : LinearMaster(setting) {}

    bool knows_loss() const override { return false; }

    Task<> begin(std::uint64_t first) override {
        const BatchSchedule& schedule = block().schedule();
        const bool weighted = head().weighs_rows();
        const ShareShape shape{schedule.batch_rows(0), outputs(), schedule.steps(), weighted};
        const SharePlan plan =
            co_await plan_shares(run().config(), shape, run().message_bytes_max());
        if (weighted) find_weight_exponent();
        ArbiterKeyRequest request;
        request.weighted = weighted;
        request.rows = schedule.batch_rows(0);
        request.outputs = outputs();
        request.steps = schedule.steps();
        privacy::random_secret(request.seed);
        const std::optional<std::size_t> arbiter = parties().arbiter();
        VFLBUS_ASSERT(arbiter.has_value(), "a training under this protocol invites an arbiter");
        arbiter_ = *arbiter;
        Replies asked = parties().ask(arbiter_, message::arbiter_key, encode(request));
        const std::vector<Bytes> key = co_await asked;
        const Bytes setup =
            co_await run().said_by(arbiter_, take_key(plan, request.seed, key.front()));
        RoundRequest round;
        round.round = round_arbiter_key;
        round.payload = setup;
        Replies told = parties().ask_all(message::round, encode(round));
        const std::vector<Bytes> taken = co_await told;
        for (std::size_t i = 0; i < taken.size(); ++i)
            co_await run().said_by(i, take_nothing(taken[i]));
        columns_.exponents = column_exponents(train_design());
        if (has_intercept()) columns_.exponents.push_back(exponent_of_one);
        features_.assign(1, columns_.exponents.size());
        co_await check_columns(plan, features_.front());
        calibrated_at_.reset();
        co_await LinearMaster::begin(first);
    }

    Task<StepResult> step(std::uint64_t step) override {
        if (head().weighs_rows()) weigh(step);
        ProductRequest request;
        request.step = step;
        request.ciphertexts = own_->sum();
        const models::Matrix settings(0, 1);
        Replies computing = parties().ask_all(product_message, encode(request, settings));
        // while the members are at it
        const std::size_t rows = block().schedule().batch_rows(step);
        const Bytes mine =
            co_await own_->product(step, columns_, features_.front(), rows, own_->sum());
        const std::vector<Bytes> replies = co_await computing;
        OpenRequest open;
        open.step = step;
        open.features = features_;
        open.answers.assign(1, Body(mine));
        for (std::size_t i = 0; i < replies.size(); ++i)
            co_await run().said_by(i, take_answer(i, replies[i], open));
        Replies opening = parties().ask(arbiter_, message::open, encode(open));
        const std::vector<Bytes> opened = co_await opening;
        std::vector<Bytes> steps;
        co_await run().said_by(arbiter_, take_opened(step, opened.front(), steps));
        Replies stepping = parties().ask_each(message::step, std::move(steps));
        // while the members are at it
        co_await block().apply_gradient(own_gradient_);
        co_await head().step_intercept(intercept_gradient_);
        co_await start_scores(step + 1);
        co_await take_replies(step + 1, stepping);
        co_return StepResult{};
    }

    Task<models::Matrix> scores(TableKind side, std::uint64_t step) override {
        if (logistic() && side != TableKind::train && calibrated_at_ != step) {
            const models::Matrix train = co_await LinearMaster::scores(TableKind::train, step);
            recalibrate(train, step);
        }
        models::Matrix all = co_await LinearMaster::scores(side, step);
        if (logistic() && side == TableKind::train) recalibrate(all, step);
        co_return all;
    }

    models::Matrix predict(const models::Matrix& scores) const override {
        if (!logistic() || !calibrated_at_) return LinearMaster::predict(scores);
        return models::predict(task(), scaled(scores, calibration_.slope), calibrated_intercept());
    }

  private:
    [[nodiscard]] bool logistic() const noexcept { return task() != vflbus::Task::linear; }
    [[nodiscard]] bool has_intercept() const { return !intercept().empty(); }

    // -- setup ------------------------------------------------------------------------
    Result<Bytes> take_key(const SharePlan& plan, const Hash256& seed, Body body) {
        const auto key = decode_arbiter_key_reply(body);
        if (!key) return tl::unexpected(key.error());
        ShareSetup setup;
        setup.weighted = head().weighs_rows();
        setup.weight_exponent = weight_exponent_;
        setup.seed = seed;
        setup.key.assign(key->begin(), key->end());
        for (std::size_t k = 0; k < outputs(); ++k)
            setup.exponents.push_back(static_cast<std::int64_t>(plan.residual_bits) - range_bits -
                                      unit_of(k));
        auto own = SharingParty::create(plan, setup);
        if (!own) return tl::unexpected(std::move(own.error()));
        own_.emplace(std::move(*own));
        return encode(setup);
    }
    static Result<> take_nothing(Body body) {
        const auto reply = decode_round_reply(body);
        if (!reply) return tl::unexpected(reply.error());
        if (reply->payload.empty()) return {};
        return fail(Errc::malformed_message, "answered the arbiter's key with bytes of its own");
    }

    /// The power of two above the labels' distance from the intercept that training begins with:
    /// members learn it. Of a class label it is 0.
    [[nodiscard]] int unit_of(std::size_t output) {
        if (logistic()) return 0;
        const models::Labels& labels = head().labels();
        const double middle = has_intercept() ? intercept()[output] : 0;
        double largest = 0;
        for (std::size_t i = 0; i < labels.rows(); ++i)
            largest = std::max(largest, std::abs(labels.values(i, output) - middle));
        int unit = 0;
        std::frexp(largest, &unit);
        return std::clamp(unit, -1000, 1000);
    }

    Result<> member_begun(std::size_t rank, const BeginReply& reply) override {
        warn_of_short_batches(rank, reply.features);
        features_.push_back(reply.features);
        return check_columns(own_->plan(), reply.features);
    }

    // -- shares -------------------------------------------------------------------------
    /// The master's share of d: its own scores, the intercept, and what the label says of the row.
    Result<> start_scores(std::uint64_t step) override {
        block().batch_scores(step, share_);
        if (step < block().schedule().steps()) {
            const auto rows = block().schedule().rows(step);
            for (std::size_t k = 0; k < share_.cols() && has_intercept(); ++k)
                for (std::size_t i = 0; i < share_.rows(); ++i) share_(i, k) += intercept()[k];
            share_of_scores(task(), share_);
            for (std::size_t k = 0; k < share_.cols(); ++k)
                for (std::size_t i = 0; i < share_.rows(); ++i)
                    share_(i, k) += share_of_label(rows[i], k);
            to_integers(block().batch(), columns_);
            if (has_intercept())
                columns_.values.insert(columns_.values.end(), share_.rows(), one_as_integer);
        }
        const auto shared = own_->share(share_);
        if (!shared) return tl::unexpected(shared.error());
        return {};
    }
    /// What the label of a row is in its residual.
    [[nodiscard]] double share_of_label(models::RowIndex row, std::size_t output) {
        const models::Labels& labels = head().labels();
        if (!logistic()) return -labels.values(row, output);
        if (task() != vflbus::Task::softmax) return .5 - labels.values(row, output);
        const bool own = labels.values(row, 0) == static_cast<double>(output);
        return 1 / static_cast<double>(outputs()) - (own ? 1 : 0);
    }

    /// The power of two that makes the largest weight 2^weight_bits_max, or just less.
    void find_weight_exponent() {
        double largest = 0;
        for (std::size_t i = 0; i < train_labels().rows(); ++i)
            largest = std::max(largest, head().weight(static_cast<models::RowIndex>(i), 0));
        int unit = 0;
        std::frexp(largest, &unit);
        weight_exponent_ = std::clamp(static_cast<int>(weight_bits_max) - unit, -1000, 1000);
    }
    void weigh(std::uint64_t step) {
        const auto rows = block().schedule().rows(step);
        std::vector<std::int16_t> weights;
        for (const models::RowIndex row : rows)
            weights.push_back(static_cast<std::int16_t>(
                std::nearbyint(std::ldexp(head().weight(row, 0), weight_exponent_))));
        own_->weigh(weights);
    }

    Result<> take_scores(std::uint64_t, std::size_t, const TensorView& scores) override {
        return own_->add(scores);
    }

    // -- gradients ------------------------------------------------------------------------
    Result<> take_answer(std::size_t rank, Body body, OpenRequest& open) {
        const auto answer = decode_product_reply(body);
        if (!answer) return tl::unexpected(answer.error());
        const std::size_t wanted = own_->plan().answer_bytes(features_[rank + 1]);
        if (answer->size() != wanted)
            return fail(Errc::malformed_message,
                        "a hidden gradient of " + std::to_string(answer->size()) + " bytes where " +
                            std::to_string(wanted) + " belong");
        open.answers.push_back(*answer);
        return {};
    }

    /// Keeps its own gradient, and makes the messages with those of the members.
    Result<> take_opened(std::uint64_t step, Body body, std::vector<Bytes>& steps) {
        const auto opened = decode_open_reply(body);
        if (!opened) return tl::unexpected(opened.error());
        if (opened->size() != features_.size())
            return fail(Errc::malformed_message,
                        "opened the gradients of " + std::to_string(opened->size()) +
                            " parties where there are " + std::to_string(features_.size()));
        for (std::size_t p = 0; p < features_.size(); ++p) {
            const TensorView& numbers = (*opened)[p];
            if (!numbers.ring || numbers.cols != 1 || numbers.rows != features_[p] * outputs())
                return fail(Errc::malformed_message,
                            "opened " + std::to_string(numbers.rows) + " numbers where " +
                                std::to_string(features_[p] * outputs()) + " belong");
            if (p == 0) continue;
            std::vector<std::uint64_t> words(numbers.rows);
            numbers.copy_to(words);
            steps.push_back(encode_step(step, SentTensor(words, words.size(), 1)));
        }
        if (auto done = own_->open(step, opened->front(), gradient_); !done) return done;
        const std::size_t features = block().features();
        own_gradient_.resize_uninitialized(features, outputs());
        intercept_gradient_.resize(has_intercept() ? outputs() : 0);
        for (std::size_t k = 0; k < outputs(); ++k) {
            for (std::size_t j = 0; j < features; ++j) own_gradient_(j, k) = gradient_(j, k);
            if (has_intercept()) intercept_gradient_[k] = gradient_(features, k);
        }
        return {};
    }

    // -- probabilities ------------------------------------------------------------------------
    void recalibrate(const models::Matrix& scores, std::uint64_t step) {
        models::Matrix all(scores.rows(), scores.cols());
        for (std::size_t k = 0; k < scores.cols(); ++k)
            for (std::size_t i = 0; i < scores.rows(); ++i)
                all(i, k) = scores(i, k) + (has_intercept() ? intercept()[k] : 0);
        std::vector<double> weights;
        for (std::size_t i = 0; i < all.rows() && head().weighs_rows(); ++i)
            weights.push_back(head().weight(static_cast<models::RowIndex>(i), 0));
        calibration_ = task() == vflbus::Task::softmax
                           ? models::fit_class_recalibration(all, train_labels().values, weights)
                           : models::fit_recalibration(all, train_labels().values, weights);
        calibrated_at_ = step;
    }
    /// With it, slope times scores become log-odds.
    [[nodiscard]] std::vector<double> calibrated_intercept() const {
        std::vector<double> out = calibration_.offset;
        for (std::size_t k = 0; k < out.size() && has_intercept(); ++k)
            out[k] += calibration_.slope[k] * intercept()[k];
        return out;
    }
    void complete(ModelPart& part) const override {
        if (!logistic() || !calibrated_at_) return;
        part.slope = calibration_.slope;
        part.intercept = calibrated_intercept();
    }

    std::size_t arbiter_ = 0;
    int weight_exponent_ = 0;
    std::optional<SharingParty> own_;
    std::vector<std::uint64_t>
        features_;            ///< of each party, the master's first, with the intercept
    IntegerColumns columns_;  ///< of the batch that is due
    models::Matrix share_;
    models::Matrix gradient_;
    models::Matrix own_gradient_;
    std::vector<double> intercept_gradient_;
    models::Recalibration calibration_;
    std::optional<std::uint64_t> calibrated_at_;
};

bool arbitered_chosen(const config::AgreedHalf& agreed) {
    return agreed.run.protocol == config::Protocol::arbitered &&
           agreed.model.name == config::ModelName::linear &&
           (agreed.model.solver == config::Solver::sgd ||
            agreed.model.solver == config::Solver::adam);
}

Result<> check_arbitered(const config::AgreedHalf& agreed) {
    const vflbus::Task task = agreed.model.task;
    if (task == vflbus::Task::linear || task == vflbus::Task::logistic ||
        task == vflbus::Task::multilabel || task == vflbus::Task::softmax)
        return {};
    return fail(Errc::bad_config,
                "model.task = \"" + std::string(config::name_of(task)) +
                    "\" does not go with run.protocol = \"arbitered\", whose residuals are linear "
                    "in the scores: it has \"linear\", \"logistic\", \"multilabel\" and "
                    "\"softmax\"");
}

Result<std::unique_ptr<MasterHalf>> make_arbitered_master(const MasterSetting& setting) {
    auto master = std::make_unique<ArbiteredSteps>(setting);
    if (auto done = master->prepare(); !done) return tl::unexpected(std::move(done.error()));
    return master;
}

constexpr config::Protocol arbitered_protocols[] = {config::Protocol::arbitered};
constexpr MemberHandler arbitered_handlers[] = {on_begin, on_product, on_step, on_evaluate,
                                                on_round};

}  // namespace

const Algorithm arbitered{
    .name = "mini-batch with an arbiter",
    .format = format_name,
    .chosen = arbitered_chosen,
    .protocols = arbitered_protocols,
    .check = check_arbitered,
    .train = make_arbitered_master,
    .predict = make_predicting_master,
    .member = make_member,
    .handlers = arbitered_handlers,
};

}  // namespace vflbus::actors::linear
