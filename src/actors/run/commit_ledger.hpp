#pragma once
// The owner's book of a training run, kept in run.json: which commit is under way and who has
// reported it, the last ones that all have reported, restarts since, the term. It sends nothing and
// stores no commit; it says when one is due and which one a new term goes back to.
// docs/recovery.md, sections 2 and 3.

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

/// Where a new term begins.
struct CommitChoice {
    std::optional<RecordedCommit> commit;  ///< none: no recorded one is held by all
    /// Who has lost which recorded commit, a sentence without full stop for each, from the highest.
    std::vector<std::string> lost;
};

/// Whatever stores the record fails with `superseded` when another process drives the run, else
/// with what is wrong with the file.
class CommitLedger {
  public:
    /// `record` is stored by `open`. `env` must outlive this.
    CommitLedger(Env& env, std::filesystem::path runs_dir, RunRecord record)
        : env_(&env), runs_dir_(std::move(runs_dir)), record_(std::move(record)) {}

    // -- the run --------------------------------------------------------------------
    /// A second process has resumed the run from the same files, as the term in them says. What
    /// this one would write now belongs to a course that was given up, like a commit that pushes
    /// out one that counts.
    [[nodiscard]] bool superseded() const;
    /// The same as an error.
    [[nodiscard]] Result<> still_ours() const;
    /// This process drives the run from here on, in the term of `record`, which is stored.
    Result<> open(RunRecord record);
    /// Stored; then nothing is left of the earlier term but what is recorded.
    Result<> begin_term(std::uint32_t term);
    /// Model parts and report are written: who resumes the run has only to release it.
    Result<> finish();

    // -- restarts -------------------------------------------------------------------
    /// One more of `party`; how many there were since the last recorded commit. Stored with the
    /// term that follows.
    std::uint64_t count_restart(const std::string& party) { return ++record_.restarts[party]; }
    Result<> forget_restarts();

    // -- making commits -------------------------------------------------------------
    /// commit_interval counts from here, unless a commit is recorded meanwhile.
    void start_clock(TimePoint now) { recorded_at_ = now; }
    /// Whether the state after `step` steps is to be stored; `last`: it is that of the whole run.
    [[nodiscard]] bool due(std::uint64_t step, bool last, TimePoint now,
                           const config::BusConfig& bus) const;
    /// Whether the step after `step` waits for the commit under way: else more than `most` steps
    /// could have to be done again. 0: it never does.
    [[nodiscard]] bool holds_back(std::uint64_t step, std::uint64_t most) const {
        return committing_ && most != 0 && step - recorded_ >= most;
    }
    [[nodiscard]] bool under_way() const noexcept { return committing_.has_value(); }
    /// The commit of `step` is under way; the owner has stored its own.
    void begin(std::uint64_t step, const Hash256& own);
    /// `party` has stored its own. True when all have, so that it is to be recorded.
    /// Errors: malformed_message when it is not the one under way.
    Result<bool> reported(const std::string& party, const StoredCommit& stored);
    /// All parties have the one under way: from here on the run goes back no further.
    Result<> record(TimePoint now);
    /// The step of the last one recorded or restored; 0 when there is none.
    [[nodiscard]] std::uint64_t last() const noexcept { return recorded_; }
    /// The same while a new term has not gone back to it yet.
    [[nodiscard]] std::uint64_t last_recorded() const noexcept {
        return recorded_ != 0 || empty() ? recorded_ : record_.commits.back().step;
    }

    // -- going back to one ----------------------------------------------------------
    [[nodiscard]] bool empty() const noexcept { return record_.commits.empty(); }
    /// What `party` still has, in this term.
    void held_by(const std::string& party, std::vector<StoredCommit> commits) {
        held_[party] = std::move(commits);
    }
    /// The highest recorded commit that all parties hold with the recorded digests.
    [[nodiscard]] CommitChoice choose() const;
    /// The run is at a recorded commit again.
    void restored(std::uint64_t step) noexcept { recorded_ = step; }
    /// None can be restored: the run begins at step 0.
    Result<> forget_commits();

  private:
    [[nodiscard]] bool holds(const std::string& party, const RecordedCommit& commit) const;
    Result<> store() const;

    Env* env_;
    std::filesystem::path runs_dir_;
    RunRecord record_;
    std::optional<RecordedCommit> committing_;  ///< asked for, not reported by all
    std::uint64_t recorded_ = 0;
    TimePoint recorded_at_{};
    std::map<std::string, std::vector<StoredCommit>> held_;
};

}  // namespace vflbus::actors
