#pragma once
// What the master's halves of all linear algorithms share: the begin of a training, scores of
// whole tables, commits, the model part, the baseline. A subclass does the steps.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/protocols/protocol.hpp"
#include "actors/run/run.hpp"
#include "actors/training/algorithm.hpp"
#include "actors/training/linear/block.hpp"
#include "actors/training/linear/linear.hpp"
#include "actors/training/state.hpp"
#include "models/head.hpp"
#include "models/local_trainer.hpp"

namespace vflbus::actors::linear {

class LinearMaster : public MasterHalf {
  public:
    /// For a training. Errors: bad_config, bad_data.
    Result<> prepare();
    /// For a prediction with a stored part.
    Result<> prepare(const ModelPart& part);

    // -- MasterHalf ---------------------------------------------------------------------
    Task<> begin(std::uint64_t first) override;
    Task<> agree_anew() override { co_await protocol_->begin(parties()); }
    [[nodiscard]] std::uint64_t steps() const override { return block_->schedule().steps(); }
    Task<models::Matrix> scores(TableKind side, std::uint64_t step) override;
    [[nodiscard]] std::span<const models::Matrix> shares() const override { return shares_; }
    [[nodiscard]] models::Matrix predict(const models::Matrix& scores) const override;
    [[nodiscard]] TrainingPlace place(std::uint64_t step) const override;
    [[nodiscard]] Baseline* baseline() override { return baseline_.get(); }
    [[nodiscard]] StateFormat format() const override;
    [[nodiscard]] std::string save() const override;
    Result<> restore(std::uint64_t step, std::string_view state) override;
    Result<> restored(std::uint64_t step, std::size_t rank, Body reply) override;
    [[nodiscard]] Result<std::string> part(ModelHead head) const override;
    [[nodiscard]] std::uint64_t features() const override { return block_->features(); }
    [[nodiscard]] std::uint64_t outputs() const override { return block_->outputs(); }
    [[nodiscard]] const data::LabelCoding& coding() const override { return coding_; }

  protected:
    explicit LinearMaster(const MasterSetting& setting)
        : run_(&setting.run), own_(&setting.own), labels_(setting.labels) {}

    // -- for subclasses -------------------------------------------------------------------
    /// The scores of batch `step` begin with the master's own.
    virtual Result<> start_scores(std::uint64_t step) = 0;
    /// What a member said of itself when it began. Called by rank.
    virtual Result<> member_begun(std::size_t /*rank*/, const BeginReply& /*reply*/) { return {}; }
    /// Scores of batch `step` from a member. Called by rank.
    virtual Result<> take_scores(std::uint64_t step, std::size_t rank,
                                 const TensorView& scores) = 0;

    /// The scores of batch `step`, which members send in their replies to the step before.
    Task<> take_replies(std::uint64_t step, Replies& stepping);
    /// A line in the log when the shortest batch has few rows for so many columns of a member.
    void warn_of_short_batches(std::size_t rank, std::uint64_t features) const;

    [[nodiscard]] Run& run() const noexcept { return *run_; }
    [[nodiscard]] Parties& parties() const noexcept { return run_->parties(); }
    [[nodiscard]] MasterProtocol& protocol() const noexcept { return *protocol_; }
    [[nodiscard]] bool encrypted() const {
        return run_->config().run.protocol == config::Protocol::encrypted;
    }
    [[nodiscard]] Block& block() noexcept { return *block_; }
    [[nodiscard]] models::Head& head() noexcept { return *head_; }
    [[nodiscard]] std::span<const double> intercept() const noexcept { return head_->intercept(); }
    [[nodiscard]] vflbus::Task task() const noexcept { return task_; }
    /// Of the training rows, and the master's own columns of them.
    [[nodiscard]] const models::Labels& train_labels() const noexcept { return labels_->train; }
    [[nodiscard]] models::DesignView train_design() const { return own_->design(TableKind::train); }
    /// Adds to the master's part what only the subclass knows.
    virtual void complete(ModelPart& /*part*/) const {}
    /// Of a tensor of batch `step`.
    [[nodiscard]] Stamp stamp(std::uint64_t step, Stamp::Tensor tensor) const;

  private:
    Result<> make_protocol();
    Result<> make_baseline();
    /// That residuals and scores of the batches fit into messages.
    [[nodiscard]] Result<> check_sizes() const;
    Result<> begun(std::size_t rank, Body reply);
    Result<> take_reply(std::uint64_t step, std::size_t rank, Body body);

    Run* run_;
    Party* own_;
    const Labels* labels_;
    std::unique_ptr<MasterProtocol> protocol_;
    bool agreed_ = false;  ///< the protocol has begun
    std::optional<Block> block_;
    std::optional<models::Head> head_;  ///< of a training
    std::vector<double> intercept_;     ///< of a prediction
    std::vector<double> slope_;         ///< ... as of ModelPart
    vflbus::Task task_ = vflbus::Task::linear;
    data::LabelCoding coding_;
    std::vector<models::Matrix> shares_;
    std::unique_ptr<Baseline> baseline_;
};

}  // namespace vflbus::actors::linear
