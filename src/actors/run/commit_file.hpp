#pragma once
// What a party stores at a commit, and the directory that it is stored in:
// runs/<run_id>/<party>/state/ with the files `term` and `commit-<step>`. docs/recovery.md,
// section 1.
//
// A commit file: "vflbus-commit-2\n", the length of the head (8 bytes, little-endian), the head
// (one msgpack array), the state as the algorithm wrote it, the BLAKE2b-256 of all that. The state
// is not looked into, and has no limit but `state_bytes_max`.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/env.hpp"
#include "actors/loss_curve.hpp"
#include "actors/messages.hpp"
#include "base/errc.hpp"
#include "base/hash.hpp"
#include "base/ids.hpp"
#include "observe/report.hpp"

namespace vflbus::actors {

/// A larger state is not written: it could not be read back on a machine of the usual size, and
/// what is written and lost at the first recovery is worse than a run that ends with the reason.
inline constexpr std::uint64_t state_bytes_max = std::uint64_t{16} << 30;

/// What a commit says about the rows and features it was made with, so that a restored party can
/// tell whose table is another one by now.
struct AlignmentDigest {
    Hash256 table{};     ///< ids and feature columns of the party's own tables
    Hash256 rows{};      ///< ids of the aligned rows in order, and the split
    Hash256 features{};  ///< features after preprocessing: names, scaling, numbers; and labels
    friend bool operator==(const AlignmentDigest&, const AlignmentDigest&) = default;
};

/// Whose bytes a state or a model part is, and in which form.
struct StateFormat {
    std::string name;  ///< of the algorithm: "linear"
    std::uint64_t version = 1;
    friend bool operator==(const StateFormat&, const StateFormat&) = default;
};

/// How far a cross-validation is (folds.hpp).
struct FoldsCommit {
    std::uint64_t fit = 0;    ///< the training that the state is of, counted from 0
    std::uint64_t first = 0;  ///< steps of the run before it
    std::vector<observe::FoldReport> results;  ///< of the folds that are over
    std::uint64_t outputs = 0;
    std::vector<double> predictions;  ///< aligned rows x outputs, column-major; empty: none yet
};

/// What the master has besides the state of its algorithm.
struct MasterCommit {
    double loss = 0;                             ///< of the last step, for the progress display
    LossSum losses;                              ///< for the next point of the curve
    std::vector<observe::HistoryEntry> history;  ///< of the steps before this one
    std::optional<FoldsCommit> folds;            ///< of a cross-validation
};

/// The state after `step` steps. The same steps make the same bytes, whatever happened in between.
struct Commit {
    RunId run;
    std::uint64_t step = 0;
    AlignmentDigest alignment;
    StateFormat algorithm;
    std::string state;  ///< bytes of the algorithm
    std::optional<MasterCommit> master;
};

std::string encode(const Commit& commit);
/// Errors: state_lost naming `path` when it is damaged, or of another version of vflbus.
Result<Commit> decode_commit(std::string_view file, std::string_view path);

/// Whether a party that was built anew has the rows and features that its commit was made with.
/// Errors: bad_data when its own table is another one, handler_failed when only others' can be.
Result<> same_alignment(const Commit& commit, const AlignmentDigest& now);
/// Whether `format` reads the state of this commit. Errors: state_lost.
Result<> same_algorithm(const Commit& commit, const StateFormat& format);

/// The state directory of one party in one run.
class CommitStore {
  public:
    CommitStore() = default;
    /// `env` must outlive this.
    CommitStore(Env& env, std::filesystem::path directory,
                std::uint64_t bytes_max = state_bytes_max)
        : env_(&env), directory_(std::move(directory)), bytes_max_(bytes_max) {}

    /// Whole and synced when it returns. Then only this commit and the one before it are kept.
    /// Errors: io; too_large, and nothing is written.
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
    std::uint64_t bytes_max_ = state_bytes_max;
};

}  // namespace vflbus::actors
