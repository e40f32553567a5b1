#pragma once
// The commits of a training at its master: when one is due, who has stored it, and where a new
// term goes back to. docs/recovery.md.
//
// The problem: a run must survive the death of any process with the model of an undisturbed one,
// bit for bit, and yet not wait for disks in every step. So all parties store their state after
// the same step now and then, while the training goes on; a commit counts when all have reported
// it and run.json records it. A new term restores the last one that all still hold.
//
// The state is opaque here: bytes that the algorithm has written and reads again, with a version.
// The master's commit has besides what its report needs: the loss and the metrics so far.
//
// Only between two steps is anything stored, so no frame of a Task ever is.

#include <cstdint>
#include <optional>
#include <string>

#include "actors/run/commit_file.hpp"
#include "actors/run/commit_ledger.hpp"
#include "actors/run/parties.hpp"
#include "actors/run/run_record.hpp"
#include "actors/run/task.hpp"
#include "base/errc.hpp"

namespace vflbus::actors {

class Folds;
class MasterHalf;
class Party;
class Run;
struct MasterOptions;

/// The record that a new run would store.
RunRecord new_record(const MasterOptions& options);
/// The record of the run that is resumed, in its next term.
/// Errors: state_lost, not_owner, config_differs (naming the keys), too_many.
Result<RunRecord> next_record(const MasterOptions& options);

class Commits final : public AsideTaker {
  public:
    /// `run` must outlive this.
    Commits(Run& run, RunRecord record);

    // -- the Task of a training -------------------------------------------------------
    /// From here on states are those of `model`, a training of `folds` that all parties have begun.
    /// Until then no commit is under way. All must outlive the term, or the next call.
    void bind(const Party& own, MasterHalf& model, const Folds& folds);
    /// The last commit that all parties hold, which they are asked for; none: the run begins at its
    /// first step. Errors: state_lost, unless bus.on_state_lost says to begin again.
    Task<std::optional<RecordedCommit>> choose();
    /// Goes back to it; the steps that are done then. After `bind`.
    Task<std::uint64_t> restore(const RecordedCommit& commit);
    /// What the newest recorded commit that can be read here says of folds: where a new term is
    /// likely to go on. Nothing without one.
    [[nodiscard]] std::optional<FoldsCommit> newest_folds();
    [[nodiscard]] std::optional<FoldsCommit> folds_of(const RecordedCommit& commit);
    /// The training begins now: commit_interval counts from here.
    void start_clock();
    /// All parties store their state after `step` steps if that is due; the training goes on
    /// meanwhile. `loss`: of the last step.
    Result<> after(std::uint64_t step, double loss);
    /// Waits while more than commit_steps steps are unrecorded, the most that is ever done again.
    Task<> room_after(std::uint64_t step);
    /// Waits until the state after `step` steps is recorded.
    Task<> recorded(std::uint64_t step);
    /// The curve of the training that is bound; of one that converges it is empty.
    [[nodiscard]] const LossCurve& curve() const noexcept { return curve_; }
    /// The loss of the commit that was restored.
    [[nodiscard]] double loss() const noexcept { return loss_; }

    // -- for Run ----------------------------------------------------------------------
    /// The broker has welcomed this process: reads the record again, which may be old by now, as
    /// another process may have had the run until a moment ago, and stores it in the next term.
    Result<> open_record();
    /// Stored; then nothing is left of the earlier term but what is recorded.
    Result<> begin_term(std::uint32_t term);
    /// Model parts and report are written: who resumes the run has only to release it.
    Result<> complete();
    /// The run is about to be closed, or others have ended it.
    void end_of_run(const Failure& outcome);
    /// The files of the run are not this process's to write: it has not begun its term, or another
    /// process drives the run now. `outcome`: how the run ended so far.
    [[nodiscard]] bool may_not_write_files(Errc outcome) const;
    std::uint64_t count_restart(const std::string& party) { return ledger_.count_restart(party); }
    /// The step that is recorded or restored in this term; 0 when none is.
    [[nodiscard]] std::uint64_t last_recorded_here() const noexcept { return ledger_.last(); }
    Result<> take(std::size_t party, Body reply) override;

    // -- how the run goes on ------------------------------------------------------------
    /// "stopped at step 12 of 240".
    [[nodiscard]] Failure stopped() const;
    /// Whether the run, once ended, can be gone on with: its record is stored.
    [[nodiscard]] bool resumable() const;
    /// Says in the failure of a run that others have ended, or that could not make a last commit,
    /// which commit is the last; nothing when another process has the run.
    void add_last_commit(Failure& failure) const;

  private:
    class Recorded;

    Result<> begin(std::uint64_t step);
    /// What this party stores at `step`.
    [[nodiscard]] Commit commit_of(std::uint64_t step) const;
    Result<> restore_own(const RecordedCommit& recorded);
    /// Trains from the first step, or fails.
    Result<> begin_without(const CommitChoice& choice);
    /// The owner restarts once more; one time too often is an error.
    Result<> count_own_restart(RunRecord& record) const;

    Run* run_;
    CommitLedger ledger_;
    CommitStore store_;
    bool begun_ = false;  ///< the record is stored in this process's term

    // -- of the present term ------------------------------------------------------------
    const Party* own_ = nullptr;
    MasterHalf* model_ = nullptr;
    const Folds* folds_ = nullptr;
    double loss_ = 0;
    LossCurve curve_;
    /// The state after this step is to be stored as soon as no other commit is under way.
    std::optional<std::uint64_t> wanted_;
};

}  // namespace vflbus::actors
