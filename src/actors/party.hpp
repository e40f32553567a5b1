#pragma once
// One party's share of a run, whoever it is: its tables, alignment, designs, batches and its block
// of the model. Members answer messages with it; the master has one for its own features.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "actors/messages.hpp"
#include "actors/model_file.hpp"
#include "actors/schedule.hpp"
#include "actors/tables.hpp"
#include "base/errc.hpp"
#include "config/config.hpp"
#include "data/align.hpp"
#include "data/preprocess.hpp"
#include "models/matrix.hpp"
#include "models/party_model.hpp"

namespace vflbus::actors {

/// What a commit says about the rows and features it was made with, so that a restored party can
/// tell whose table is another one by now.
struct AlignmentDigest {
    Hash256 table{};     ///< ids and feature columns of the party's own tables
    Hash256 rows{};      ///< ids of the aligned rows in order, and the split
    Hash256 features{};  ///< features after preprocessing: names, scaling, numbers; and labels
    friend bool operator==(const AlignmentDigest&, const AlignmentDigest&) = default;
};

class Party {
  public:
    Party(std::string name, config::AgreedHalf agreed, TableSource tables);

    // -- tables and alignment -------------------------------------------------------
    /// Loads the table unless it is there. False: the party has no such table.
    Result<bool> load(TableKind kind);
    /// Loads, and hashes the ids. The reply's ids stay in local(kind).
    Result<AlignReply> align(TableKind kind);
    /// `rows`: how many aligned rows all parties must come to.
    Result<> select(TableKind kind, const data::Selection& selection, std::uint64_t rows);
    [[nodiscard]] bool aligned(TableKind kind) const noexcept;
    [[nodiscard]] bool selected(TableKind kind) const noexcept;
    [[nodiscard]] const data::LocalIds& local(TableKind kind) const noexcept;
    /// Null before load.
    [[nodiscard]] const data::Table* table(TableKind kind) const noexcept;
    /// The table with a share in it, for another Party of the same process.
    [[nodiscard]] std::shared_ptr<const data::Table> shared_table(TableKind kind) const {
        return side(kind).table;
    }
    /// Table rows of one side: train and test after `split`, predict after `select`. Test rows are
    /// of the test table when it was selected, otherwise of the training table.
    [[nodiscard]] std::span<const std::uint32_t> rows(TableKind kind) const noexcept;

    // -- training -------------------------------------------------------------------
    /// Train and test rows, by the test table or by test_fraction. bad_data without training rows.
    Result<> split();
    /// Preprocessing, designs, schedule and zero weights for `outputs` outputs. Needs `split`.
    Result<> build(std::size_t outputs);
    /// Lets the training and test tables go (after build; the master reads its labels first).
    void drop_tables();

    /// Gathers batch `step` and writes its scores (b x k) to `z`.
    Result<> batch_scores(std::uint64_t step, models::Matrix& z);
    /// One optimizer step on the batch gathered last.
    Result<> update(models::ConstMatrixView residual);
    /// Ridge solution on the batch gathered last; its new scores to `z`.
    Result<> solve(models::ConstMatrixView target, models::Matrix& z);

    /// Scores of rows [first, first + count) of one side.
    Result<> scores(TableKind kind, std::uint64_t first, std::uint64_t count,
                    models::Matrix& z) const;

    // -- commits ----------------------------------------------------------------------
    /// Of what `build` was given.
    [[nodiscard]] const AlignmentDigest& alignment() const noexcept { return alignment_; }
    [[nodiscard]] models::PartyState state() const { return model_->state(); }
    /// Replaces weights and optimizer. bad_data when the sizes do not fit.
    Result<> restore(models::PartyState state) { return model_->set_state(std::move(state)); }

    // -- model parts ------------------------------------------------------------------
    /// Features, scaling and weights; the caller fills in run, role and the rest.
    [[nodiscard]] ModelPart part() const;
    /// Prediction: takes over a stored part. Checks that its numbers fit.
    Result<> use(const ModelPart& part);
    /// Prediction: the design of the selected rows (after use and select).
    Result<> build_predict();

    // -- properties -------------------------------------------------------------------
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const config::AgreedHalf& agreed() const noexcept { return agreed_; }
    [[nodiscard]] std::size_t features() const noexcept;
    [[nodiscard]] std::size_t outputs() const noexcept;
    [[nodiscard]] BatchSchedule& schedule() noexcept { return schedule_; }
    [[nodiscard]] const BatchSchedule& schedule() const noexcept { return schedule_; }
    [[nodiscard]] const data::PreprocessReport& prepared() const noexcept { return prepared_; }
    [[nodiscard]] models::DesignView design(TableKind kind) const noexcept;

  private:
    AlignmentDigest digest() const;

    struct Side {
        std::shared_ptr<const data::Table> table;
        bool loaded = false;
        bool aligned = false;
        bool selected = false;
        data::LocalIds local;
        data::Aligned common;
        std::vector<std::uint32_t> rows;
        data::Design design;
    };
    Side& side(TableKind kind) noexcept { return sides_[static_cast<std::size_t>(kind)]; }
    const Side& side(TableKind kind) const noexcept {
        return sides_[static_cast<std::size_t>(kind)];
    }

    std::string name_;
    config::AgreedHalf agreed_;
    TableSource tables_;
    std::array<Side, table_kinds> sides_;
    data::Preprocessor preprocessor_;
    data::PreprocessReport prepared_;
    AlignmentDigest alignment_;
    std::optional<models::PartyModel> model_;
    BatchSchedule schedule_;
    models::Matrix batch_;
};

/// The optimizer in the words of the models room.
models::OptimizerConfig optimizer_of(const config::ModelConfig& model);

}  // namespace vflbus::actors
