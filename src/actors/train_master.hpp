#pragma once
// The master of a training: docs/training.md, section 4, and docs/recovery.md. Private to the
// train_master*.cpp files, which have the definitions of one part of a run each:
//   train_master.cpp             steps, their events, the end
//   train_master_setup.cpp       how one is made; everything before the first step
//   train_master_evaluation.cpp  metrics, and what the label holder alone comes to
//   train_master_recovery.cpp    commits, stopping, going on in a new term

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/commit_file.hpp"
#include "actors/commit_ledger.hpp"
#include "actors/evaluation.hpp"
#include "actors/protocols/protocol.hpp"
#include "actors/run_master.hpp"
#include "models/local_trainer.hpp"
#include "models/metrics.hpp"
#include "models/sequential.hpp"

namespace vflbus::actors {

class TrainMaster final : public RunMaster {
  public:
    /// `record` is the one that would be stored now, in the term of `options`.
    TrainMaster(MasterOptions options, std::unique_ptr<MasterProtocol> protocol, RunRecord record);

    /// Stores the record of the run in this process's term.
    Result<> on_welcome() override;
    /// The step under way ends, all commit, then the run is closed.
    void on_stop(Driver& driver) override;

  private:
    [[nodiscard]] const config::ModelConfig& model() const { return options_.config.model; }
    [[nodiscard]] bool sequential() const { return model().sequential; }

    // -- events: train_master.cpp -----------------------------------------------------
    Result<> on_answer(std::size_t member, const Pending& request, Bytes&& body) override;
    void on_all_answered() override;
    [[nodiscard]] std::string where() const override;
    void add_advice(Failure& failure) const override;

    // -- aligning: train_master_setup.cpp -----------------------------------------------
    void on_gathered() override;
    void on_aligned();

    // -- beginning: train_master_setup.cpp ----------------------------------------------
    void on_selected();
    Result<> prepare_own();
    /// Coding, test labels and head; the train labels are returned.
    Result<models::Labels> prepare_labels();
    Result<> prepare_alone(models::Labels labels);
    void report_own();
    void begin();
    Result<> on_begun(std::size_t member, const BeginReply& reply);

    // -- extra rounds of the protocol: train_master.cpp -----------------------------------
    void run_rounds(Moment moment, std::uint64_t round);

    // -- training: train_master.cpp -------------------------------------------------------
    void start_training();
    void next_step();
    /// The sum of scores of the next batch; it was kept if the protocol has evaluated since.
    Result<models::ConstMatrixView> batch_sum();
    void on_step_done();
    /// After a step, or when its commit was restored: what is due before the next one.
    void settle();
    /// Own scores of batch `step`, which start its sum (sequential: kept by themselves).
    Result<> next_own_scores(std::uint64_t step);
    Result<> take_scores(std::uint64_t step, std::size_t member, const TensorView& scores);
    [[nodiscard]] Result<> check_shape(const TensorView& scores, std::size_t rows) const;
    void tell(double loss, std::string metric_name, double metric);
    void diverged(const Failure& failure);

    // -- sequential: train_master.cpp -----------------------------------------------------
    /// Who takes a turn, as indices into parts_: the master if it has features, then all members.
    [[nodiscard]] std::vector<std::size_t> sequence() const;
    void begin_sequential();
    void next_turn();
    Result<> on_solved(std::size_t member, const SolveReply& reply);
    void end_sequential();

    // -- evaluating: train_master_evaluation.cpp ------------------------------------------
    /// The tables whose metrics are due after this step.
    [[nodiscard]] std::deque<TableKind> due_sides() const;
    void next_side();
    void next_part();
    void on_part();
    void report_metrics(TableKind kind, const models::Metrics& metrics);
    void on_evaluated();

    // -- comparing: train_master_evaluation.cpp -------------------------------------------
    void on_slice() override;
    /// Steps of the label holder alone, until slice_rows are taken in or none is left.
    void step_alone();
    void report_alone();

    // -- commits: train_master_recovery.cpp -----------------------------------------------
    /// All parties store their state after `step_` steps; the training goes on meanwhile.
    void begin_commit();
    Result<> on_commit(std::size_t member, const StoredCommit& reply);
    void on_committed();
    [[nodiscard]] bool files_are_others() override;
    /// The failure of a file that could not be written: room is to be made for it.
    [[nodiscard]] Failure room_first(const std::string& what, const Failure& why) const {
        return then_again(why.code, what + why.sentence, "make room there");
    }
    /// What came of storing the record, with what to do when it could not be.
    [[nodiscard]] Result<> advised(Result<> stored) const;

    // -- stopping: train_master_recovery.cpp ----------------------------------------------
    /// A run that the user has stopped: resumable once its record is stored.
    [[nodiscard]] Failure stopped(std::string sentence) const;
    /// "; the last commit is that of step 12", or that there is none.
    [[nodiscard]] std::string last_commit_sentence() const;
    void add_resume_hint(Failure& failure) const override;
    /// Between two steps: commits unless that is done, then closes the run.
    void stop_here();
    bool stopped_without(const std::string& party) override;
    [[nodiscard]] bool halted() const override { return halted_; }

    // -- recovery: train_master_recovery.cpp ----------------------------------------------
    [[nodiscard]] bool recoverable() const override { return true; }
    std::uint64_t count_restart(const std::string& party) override;
    Result<> on_new_term(std::uint32_t term) override;
    void ask_commits();
    void choose_commit();
    void begin_without(const CommitChoice& choice);
    void restore(const RecordedCommit& recorded);
    Result<> restore_own(Commit commit);
    void ask_restore(const RecordedCommit& recorded);
    bool on_refused(const Pending& request, const Failure& error) override;
    Result<> on_restored(std::size_t member, const RestoreReply& reply);
    void on_all_restored();

    // -- finishing: train_master.cpp ------------------------------------------------------
    void finish();
    void on_finished();
    Result<> on_complete() override;
    void on_ending() override;

    // -- what is trained --------------------------------------------------------------
    std::unique_ptr<MasterProtocol> protocol_;
    data::LabelCoding coding_;
    models::Labels test_labels_;
    std::optional<models::Head> head_;
    std::uint64_t step_ = 0;  ///< steps done
    std::uint64_t steps_ = 0;
    TimePoint train_began_{};
    TimePoint train_ended_{};

    // -- a step -----------------------------------------------------------------------
    models::HeadStep work_;
    models::Matrix own_scores_;
    models::Matrix held_;
    bool holding_ = false;           ///< held_ is the sum of the next batch
    bool in_round_ = false;          ///< an extra round of the protocol, ...
    std::uint64_t round_ = 0;        ///< ... this one,
    Moment moment_ = Moment::setup;  ///< ... there

    // -- a sequential step --------------------------------------------------------------
    std::optional<models::SequentialMaster> sequential_;
    std::vector<models::Matrix> parts_;  ///< scores of the next batch, own first
    models::Matrix solved_;
    std::size_t turn_ = 0;

    // -- metrics ----------------------------------------------------------------------
    std::deque<TableKind> sides_;  ///< still to evaluate
    Evaluation evaluation_;
    std::optional<models::LocalTrainer> alone_;
    std::uint64_t alone_step_ = 0;

    // -- commits ----------------------------------------------------------------------
    CommitLedger ledger_;
    bool begun_ = false;  ///< the record is stored in this process's term
    CommitStore store_;
    bool stopping_ = false;          ///< the user wants to stop
    bool halted_ = false;            ///< ... and the step under way has ended
    bool step_held_ = false;         ///< the next step waits for the commit under way
    bool finish_held_ = false;       ///< finishing waits for the last commit
    bool choosing_ = false;          ///< restoring: commits is asked, restore is not
    Failure refusal_{Errc::ok, {}};  ///< of a restore, until all have answered
};

}  // namespace vflbus::actors
