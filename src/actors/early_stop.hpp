#pragma once
// Early stopping: a training ends when a metric of the test rows gets no better, and its best model
// is the one that is kept.
//
// The problem: a network that trains for too long learns its rows by heart, and how long is too
// long is seen only while it trains. So after each look at the test rows that is the best so far
// every party keeps the state that it has then (message `keep`). When `patience` looks in a row
// have been no better, or the last step is done, all go back to it.
//
// What is kept, and how long nothing has been better, is part of every commit, so a run that dies
// stops at the same step with the same model, bit for bit.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "actors/model_file.hpp"
#include "actors/run/task.hpp"
#include "actors/training/algorithm.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "models/head.hpp"

namespace vflbus::actors {

class Run;

/// The best state so far, of one party.
struct BestState {
    bool kept = false;
    std::uint64_t step = 0;
    std::string state;  ///< as the algorithm's half has saved it
    // of the master alone
    double value = 0;          ///< of the metric, then
    std::uint64_t waited = 0;  ///< looks since then
    std::uint64_t looked = 0;  ///< the step of the last look
    friend bool operator==(const BestState&, const BestState&) = default;
};

/// A party's state with its best one behind it, as commits hold them.
std::string with_best(std::string state, const BestState& best);
/// The state alone, which is part of `bytes`; `best` gets what stands behind it. Errors: bad_data.
Result<std::string_view> without_best(std::string_view bytes, BestState& best);

/// Whether more of a metric is better: true but for losses and errors.
bool larger_is_better(std::string_view metric) noexcept;

/// Whether the configuration asks for it.
bool stops_early(const config::AgreedHalf& agreed) noexcept;

/// Whether there is what it looks at. The configuration knows the metrics of a task, but no label
/// of auc[LABEL]. Errors: bad_config.
Result<> can_stop_early(const config::ModelConfig& model, const models::Labels& test);

/// The master's half of an algorithm, that stops early. Passes on what it does not change.
class EarlyStop final : public MasterHalf {
  public:
    EarlyStop(std::unique_ptr<MasterHalf> half, const config::ModelConfig& model);

    // -- early stopping ---------------------------------------------------------------
    /// Whether the test rows are looked at after `step` steps.
    [[nodiscard]] bool looks_after(std::uint64_t step) const override;
    /// The metrics after `step` steps are known: keeps the state at all parties when it is the
    /// best.
    Task<> looked(Run& run, std::uint64_t step);
    /// Nothing has been better for long enough.
    [[nodiscard]] bool over() const noexcept { return best_.waited >= patience_; }
    /// All parties go back to the best state, if there is one and it is not that of `step`; the
    /// step of the model that is kept. The training is done then.
    Task<std::uint64_t> go_back(Run& run, std::uint64_t step);
    [[nodiscard]] const BestState& best() const noexcept { return best_; }
    [[nodiscard]] const std::string& metric() const noexcept { return metric_; }

    // -- MasterHalf -------------------------------------------------------------------
    Task<> begin(std::uint64_t first) override { return half_->begin(first); }
    std::uint64_t steps() const override { return half_->steps(); }
    bool done(std::uint64_t step) const override { return ended_ || half_->done(step); }
    Task<StepResult> step(std::uint64_t step) override { return half_->step(step); }
    Task<models::Matrix> scores(TableKind side, std::uint64_t step) override {
        return half_->scores(side, step);
    }
    std::span<const models::Matrix> shares() const override { return half_->shares(); }
    models::Matrix predict(const models::Matrix& scores) const override {
        return half_->predict(scores);
    }
    TrainingPlace place(std::uint64_t step) const override { return half_->place(step); }
    Baseline* baseline() override { return half_->baseline(); }
    bool converges() const override { return half_->converges(); }
    /// Nothing, once it has gone back: it was not to find the minimum.
    std::optional<Convergence> convergence() const override {
        return ended_ ? std::nullopt : half_->convergence();
    }
    StateFormat format() const override { return half_->format(); }
    StateFormat part_format() const override { return half_->part_format(); }
    std::string save() const override { return with_best(half_->save(), best_); }
    Result<> restore(std::uint64_t step, std::string_view state) override;
    Result<> restored(std::uint64_t step, std::size_t rank, Body reply) override {
        return half_->restored(step, rank, reply);
    }
    Result<std::string> part(ModelHead head) const override { return half_->part(std::move(head)); }
    std::uint64_t features() const override { return half_->features(); }
    std::uint64_t outputs() const override { return half_->outputs(); }
    const data::LabelCoding& coding() const override { return half_->coding(); }

  private:
    /// All keep the state that they have as the best one, or go back to it.
    Task<> ask_members(Run& run, bool back) const;

    std::unique_ptr<MasterHalf> half_;
    std::string metric_;
    std::uint64_t patience_;
    std::uint64_t every_;  ///< steps between two looks; 0: one at the end of each epoch
    BestState best_;
    bool ended_ = false;
};

}  // namespace vflbus::actors
