#pragma once
// What a party stores at a commit, and the directory that it is stored in:
// runs/<run_id>/<party>/state/ with the files `term` and `commit-<step>`. docs/recovery.md,
// section 1.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/env.hpp"
#include "actors/messages.hpp"
#include "actors/party.hpp"
#include "base/errc.hpp"
#include "base/hash.hpp"
#include "base/ids.hpp"
#include "models/head.hpp"
#include "models/party_model.hpp"
#include "observe/report.hpp"

namespace vflbus::actors {

/// What the master has beside its own features.
struct MasterCommit {
    models::HeadState head;
    double loss = 0;                             ///< of the last batch, for the progress display
    std::vector<observe::HistoryEntry> history;  ///< of the steps before this one
};

/// The state after `step` steps. The same steps make the same bytes, whatever happened in between.
struct Commit {
    RunId run;
    std::uint64_t step = 0;
    AlignmentDigest alignment;
    models::PartyState party;
    std::optional<MasterCommit> master;
};

/// A msgpack array, then its BLAKE2b-256.
std::string encode(const Commit& commit);
/// Errors: state_lost naming `path` when it is damaged.
Result<Commit> decode_commit(std::string_view file, std::string_view path);

/// Whether a party that was built anew has the rows and features that its commit was made with.
/// Errors: bad_data when its own table is another one, handler_failed when only others' can be.
Result<> same_alignment(const std::string& party, const Commit& commit, const Party& built);

/// The state directory of one party in one run.
class CommitStore {
  public:
    CommitStore() = default;
    /// `env` must outlive this.
    CommitStore(Env& env, std::filesystem::path directory)
        : env_(&env), directory_(std::move(directory)) {}

    /// Whole and synced when it returns. Then only this commit and the one before it are kept.
    /// Errors: io.
    Result<Hash256> write(const Commit& commit);
    /// What can be read and is of this run, ascending; damaged files are left out.
    Result<std::vector<StoredCommit>> intact(const RunId& run);
    /// Errors: state_lost when it is not there, damaged, or another one.
    Result<Commit> read(const StoredCommit& which);

    /// Removes the commits above `step`: the run goes on from there, and one of a course that was
    /// given up would be taken for the one before the next.
    Result<> forget_after(std::uint64_t step);

    /// The highest term that was joined; 0 when none was.
    Result<std::uint32_t> term();
    Result<> write_term(std::uint32_t term);

    /// The run is over, and well: nothing of this is needed any more.
    Result<> remove();

  private:
    [[nodiscard]] std::filesystem::path path_of(std::uint64_t step) const;
    /// Steps that have a file, ascending.
    Result<std::vector<std::uint64_t>> steps();

    Env* env_ = nullptr;
    std::filesystem::path directory_;
};

}  // namespace vflbus::actors
