#pragma once
// The master's book of a training run, kept in run.json: which commit is under way and who has
// reported it, the last two that all have reported, restarts since, the term. It sends nothing and
// stores no commit; it says when one is due and which one a new term goes back to.
// docs/recovery.md, sections 2 and 3.
//
// Words: a commit is *stored* when a party has written its file, *reported* when the party has told
// the master so, *recorded* when all have and run.json says so, *held* while a party still has it.
//
// Used by Commits (commits.hpp), on the thread of the run:
//   a term         open (first one) or begin_term; held_by for every party, the master too; choose;
//                  restored, or forget_commits
//   a commit       start_clock; after each step due; the master stores its own; begin; reported for
//                  each member; when that returned true, record
//   the end        finish

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/env.hpp"
#include "actors/messages.hpp"
#include "actors/run/run_record.hpp"
#include "base/errc.hpp"
#include "base/ids.hpp"
#include "config/config.hpp"

namespace vflbus::actors {

/// From where a new term goes on.
struct CommitChoice {
    std::optional<RecordedCommit> commit;  ///< none: no recorded one is held by all
    /// Who has lost which recorded commit, a sentence without full stop for each, from the highest.
    std::vector<std::string> lost;
};

/// What writes run.json fails with `superseded` when another process has taken over the run, else
/// with what is wrong with the file.
class CommitLedger {
  public:
    /// Writes nothing yet. `env` must outlive this.
    CommitLedger(Env& env, std::filesystem::path runs_dir, RunRecord record)
        : env_(&env), runs_dir_(std::move(runs_dir)), record_(std::move(record)) {}

    // -- the run --------------------------------------------------------------------
    /// run.json has a higher term than ours: a second process has resumed the run from the same
    /// files. This one must write nothing more. Example: its next commit would push out one to
    /// which the second process may have to go back.
    [[nodiscard]] bool superseded() const;
    /// Fails with `superseded` when superseded(). Asked before a commit file is written.
    [[nodiscard]] Result<> still_ours() const;
    /// This process drives the run from here on: `record` takes the place of what was read, and is
    /// written.
    Result<> open(RunRecord record);
    /// Writes the term, and forgets what the earlier one had under way.
    Result<> begin_term(std::uint32_t term);
    /// Model parts and report are written: who resumes the run has only to release it.
    Result<> finish();

    // -- restarts -------------------------------------------------------------------
    /// One more of `party`; how many there were since the last recorded commit. Stored with the
    /// term that follows.
    std::uint64_t count_restart(const std::string& party) { return ++record_.restarts[party]; }
    /// At the end of a run that has failed: who resumes it has seen to the cause.
    Result<> forget_restarts();

    // -- making commits -------------------------------------------------------------
    /// commit_interval counts from here, unless a commit is recorded meanwhile.
    void start_clock(TimePoint now) { recorded_at_ = now; }
    /// Whether the state after `step` steps is to be stored, `last` being the one at the end; false
    /// while a commit is under way.
    [[nodiscard]] bool due(std::uint64_t step, bool last, TimePoint now,
                           const config::BusConfig& bus) const;
    /// Whether the step after `step` waits for the commit under way: else more than `most` steps
    /// could have to be done again. 0: it never does.
    [[nodiscard]] bool holds_back(std::uint64_t step, std::uint64_t most) const {
        return committing_ && most != 0 && step - recorded_ >= most;
    }
    [[nodiscard]] bool under_way() const noexcept { return committing_.has_value(); }
    /// From now on the commit of `step` is under way. None may be; the master has stored its own,
    /// with digest `own`.
    void begin(std::uint64_t step, const Hash256& own);
    /// Member `party` has stored the commit under way. True when all have, and `record` is due.
    /// Errors: malformed_message when it is another commit.
    Result<bool> reported(const std::string& party, const StoredCommit& stored);
    /// Makes the commit under way the newest recorded one. A new term goes on from it, unless a
    /// party has lost it (`choose`).
    Result<> record(TimePoint now);
    /// The step of the commit that this term has recorded or restored last; 0: none.
    [[nodiscard]] std::uint64_t last() const noexcept { return recorded_; }
    /// The step of the newest recorded commit, also before a new term has restored it; 0: none.
    [[nodiscard]] std::uint64_t last_recorded() const noexcept {
        return recorded_ != 0 || empty() ? recorded_ : record_.commits.back().step;
    }

    // -- going back to one ----------------------------------------------------------
    [[nodiscard]] bool empty() const noexcept { return record_.commits.empty(); }
    /// Those that the record names, ascending.
    [[nodiscard]] const std::vector<RecordedCommit>& recorded() const noexcept {
        return record_.commits;
    }
    /// What `party` has told in this term that it holds. Who tells nothing holds nothing.
    void held_by(const std::string& party, std::vector<StoredCommit> commits) {
        held_[party] = std::move(commits);
    }
    /// The highest recorded commit that all parties hold with the recorded digests.
    [[nodiscard]] CommitChoice choose() const;
    /// The master's state is that of the recorded commit of `step` again.
    void restored(std::uint64_t step) noexcept { recorded_ = step; }
    /// None can be restored: the run begins at step 0.
    Result<> forget_commits();

  private:
    [[nodiscard]] bool holds(const std::string& party, const RecordedCommit& commit) const;
    Result<> store();

    Env* env_;
    std::filesystem::path runs_dir_;
    RunRecord record_;
    std::string written_;  ///< run.json as this process has written it last: it needs no parsing
    std::optional<RecordedCommit> committing_;  ///< asked for, not reported by all
    std::uint64_t recorded_ = 0;
    TimePoint recorded_at_{};
    std::map<std::string, std::vector<StoredCommit>> held_;
};

}  // namespace vflbus::actors
