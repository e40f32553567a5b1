#include "actors/training/linear/master.hpp"

#include <algorithm>
#include <utility>

#include "models/recalibration.hpp"

namespace vflbus::actors::linear {
namespace {

/// The label holder's columns alone, trained as the common model is.
class LinearBaseline final : public Baseline {
  public:
    LinearBaseline(models::LocalTrainer trainer, const Party& own)
        : trainer_(std::move(trainer)),
          own_(&own),
          schedule_(own.agreed(), static_cast<std::uint32_t>(own.rows(TableKind::train).size())) {}

    Result<bool> slice() override {
        // without features the constant predictor stays where the labels put it
        if (own_->features() == 0) return false;
        std::size_t rows = 0;
        while (step_ < schedule_.steps() && rows < baseline_slice_rows) {
            const auto batch = schedule_.rows(step_++);
            rows += batch.size();
            if (auto loss = trainer_.step(batch); !loss)
                return tl::unexpected(std::move(loss.error()));
        }
        return step_ < schedule_.steps();
    }
    models::Matrix predict(TableKind side) const override {
        return trainer_.predict(own_->design(side));
    }

  private:
    models::LocalTrainer trainer_;
    const Party* own_;
    BatchSchedule schedule_;
    std::uint64_t step_ = 0;
};

/// Predicts only: its subclasses' steps are never asked for.
class PredictingMaster final : public LinearMaster {
  public:
    explicit PredictingMaster(const MasterSetting& setting) : LinearMaster(setting) {}
    Task<StepResult> step(std::uint64_t) override {
        VFLBUS_ASSERT(false, "a prediction has no steps");
        co_return StepResult{};
    }

  private:
    Result<> start_scores(std::uint64_t) override { return {}; }
    Result<> take_scores(std::uint64_t, std::size_t, const TensorView&) override { return {}; }
};

}  // namespace

// -- making one ---------------------------------------------------------------------

Result<> LinearMaster::make_protocol() {
    auto protocol = make_master_protocol(config::name_of(run_->config().run.protocol));
    if (!protocol) return tl::unexpected(std::move(protocol.error()));
    protocol_ = std::move(*protocol);
    return {};
}

Result<> LinearMaster::prepare() {
    if (auto done = make_protocol(); !done) return done;
    coding_ = labels_->coding;
    models::HeadConfig settings = head_config(run_->config().model);
    settings.starts_at_zero = run_->config().privacy.noise_multiplier > 0;
    auto head = models::Head::create(labels_->train, settings);
    if (!head) return tl::unexpected(std::move(head.error()));
    head_.emplace(std::move(*head));
    task_ = head_->task();
    auto block = Block::create(*own_, head_->outputs());
    if (!block) return tl::unexpected(std::move(block.error()));
    block_.emplace(std::move(*block));
    if (auto fits = check_sizes(); !fits) return fits;
    return run_->config().model.label_holder_alone ? make_baseline() : Result<>{};
}

Result<> LinearMaster::make_baseline() {
    const config::ModelConfig& model = run_->config().model;
    models::LocalConfig local;
    local.head = head_config(model);
    local.optimizer = optimizer_of(model);
    local.sequential = model.sequential;
    local.reg_lambda = model.reg_lambda;
    auto trainer =
        models::LocalTrainer::create(own_->design(TableKind::train), labels_->train, local);
    if (!trainer) return tl::unexpected(std::move(trainer.error()));
    baseline_ = std::make_unique<LinearBaseline>(std::move(*trainer), *own_);
    return {};
}

Result<> LinearMaster::prepare(const ModelPart& part) {
    if (auto done = make_protocol(); !done) return done;
    coding_ = *part.labels;
    intercept_ = part.intercept;
    slope_ = part.slope;
    task_ = run_->config().model.task;
    auto block = Block::create(*own_, part);
    if (!block) return tl::unexpected(std::move(block.error()));
    block_.emplace(std::move(*block));
    return {};
}

Result<> LinearMaster::check_sizes() const {
    return check_message_rows(block_->schedule().batch_rows(0), outputs(),
                              run_->config().bus.message_bytes_max, "lower model.batch_size");
}

Result<std::unique_ptr<MasterHalf>> make_predicting_master(const MasterSetting& setting,
                                                           std::string_view text,
                                                           std::string_view path) {
    const auto part = parse_model_part(text, path);
    if (!part) return tl::unexpected(part.error());
    if (!part->labels)
        return fail(Errc::bad_data, std::string(path) + " is not the part of a master");
    auto master = std::make_unique<PredictingMaster>(setting);
    if (auto done = master->prepare(*part); !done) return tl::unexpected(std::move(done.error()));
    return master;
}

Result<> check_link(const config::AgreedHalf& agreed) {
    if (!has_log_link(agreed.model.task) || agreed.run.protocol == config::Protocol::honest)
        return {};
    return fail(Errc::bad_config,
                "model.task = \"" + std::string(config::name_of(agreed.model.task)) +
                    "\" works with run.protocol = \"honest\" only, not with \"" +
                    std::string(config::name_of(agreed.run.protocol)) +
                    "\": its residuals have no bound, which the integers of that protocol need");
}

// -- training -----------------------------------------------------------------------

Stamp LinearMaster::stamp(std::uint64_t step, Stamp::Tensor tensor) const {
    return {run_->term(), step, TableKind::train, Stamp::batch, tensor};
}

Task<> LinearMaster::begin(std::uint64_t first) {
    co_await protocol_->begin(parties());
    agreed_ = true;
    BeginRequest request;
    request.outputs = outputs();
    request.test_rows = own_->test_bitmap();
    request.first = first;
    Replies asked = parties().ask_all(message::begin, encode(request));
    co_await start_scores(0);
    const std::vector<Bytes> replies = co_await asked;
    for (std::size_t i = 0; i < replies.size(); ++i)
        co_await run_->said_by(i, begun(i, replies[i]));
}

Result<> LinearMaster::begun(std::size_t rank, Body body) {
    const auto reply = decode_begin_reply(body);
    if (!reply) return tl::unexpected(reply.error());
    if (auto noted = note_begun(*run_, rank, *reply); !noted) return noted;
    if (auto noted = member_begun(rank, *reply); !noted) return noted;
    return take_scores(0, rank, reply->scores);
}

Task<> LinearMaster::take_replies(std::uint64_t step, Replies& stepping) {
    const std::vector<Bytes> replies = co_await stepping;
    for (std::size_t i = 0; i < replies.size(); ++i)
        co_await run_->said_by(i, take_reply(step, i, replies[i]));
}

Result<> LinearMaster::take_reply(std::uint64_t step, std::size_t rank, Body body) {
    const auto reply = decode_step_reply(body);
    if (!reply) return tl::unexpected(reply.error());
    return take_scores(step, rank, reply->scores);
}

void LinearMaster::warn_of_short_batches(std::size_t rank, std::uint64_t features) const {
    const BatchSchedule& schedule = block_->schedule();
    const std::uint64_t batches = schedule.batches();
    if (batches > 0)
        warn_of_few_rows(*run_, rank, features,
                         std::min(schedule.batch_rows(0), schedule.batch_rows(batches - 1)));
}

TrainingPlace LinearMaster::place(std::uint64_t step) const {
    const BatchSchedule& schedule = block_->schedule();
    return {step == 0 ? 0 : schedule.epoch_of(step - 1) + 1, schedule.epochs()};
}

// -- scores of whole tables ------------------------------------------------------------

Task<models::Matrix> LinearMaster::scores(TableKind side, std::uint64_t step) {
    if (!agreed_) co_await protocol_->begin(parties());  // a prediction has no begin
    agreed_ = true;
    const std::uint64_t rows = own_->design(side).rows;
    co_return co_await summed_scores(*run_, *protocol_, *block_, side, rows, outputs(), step,
                                     shares_);
}

models::Matrix LinearMaster::predict(const models::Matrix& scores) const {
    if (head_) return head_->predict(scores);
    if (slope_.empty()) return models::predict(task_, scores, intercept_);
    return models::predict(task_, models::scaled(scores, slope_), intercept_);
}

// -- commits and parts ----------------------------------------------------------------

StateFormat LinearMaster::format() const {
    return {std::string(format_name), format_version};
}

std::string LinearMaster::save() const {
    return StateWriter().party(block_->state()).head(head_->state()).take();
}

Result<> LinearMaster::restore(std::uint64_t step, std::string_view state) {
    StateReader reader(state);
    models::PartyState party = reader.party();
    models::HeadState head = reader.head();
    if (auto done = reader.finish(); !done) return done;
    if (auto done = block_->restore(std::move(party)); !done) return done;
    if (auto done = head_->set_state(std::move(head)); !done) return done;
    return start_scores(step);
}

Result<> LinearMaster::restored(std::uint64_t step, std::size_t rank, Body body) {
    const auto reply = restored_at(step, body);
    if (!reply) return tl::unexpected(reply.error());
    return take_scores(step, rank, reply->scores);
}

Result<std::string> LinearMaster::part(ModelHead head) const {
    ModelPart part = block_->part(std::move(head));
    part.intercept.assign(head_->intercept().begin(), head_->intercept().end());
    part.labels = coding_;
    complete(part);
    return to_json(part);
}

}  // namespace vflbus::actors::linear
