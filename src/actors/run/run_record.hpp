#pragma once
// What the owner of a training stores so that the run can go on after its own death:
// runs/<run_id>/run.json. docs/recovery.md, section 1.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "actors/env.hpp"
#include "base/errc.hpp"
#include "base/hash.hpp"
#include "base/ids.hpp"

namespace vflbus::actors {

/// A commit that all parties have reported.
struct RecordedCommit {
    std::uint64_t step = 0;
    std::map<std::string, Hash256> digests;  ///< by party
    friend bool operator==(const RecordedCommit&, const RecordedCommit&) = default;
};

struct RunRecord {
    enum class Phase : std::uint8_t {
        running,
        finished,  ///< all parts and the report are written; members may still hold their commits
    };

    RunId run;
    std::string owner;
    std::uint32_t term = 1;
    std::vector<std::string> members;  ///< by rank
    std::string agreed;                ///< canonical text of the agreed half
    Phase phase = Phase::running;
    std::vector<RecordedCommit> commits;            ///< the last two, ascending
    std::map<std::string, std::uint64_t> restarts;  ///< by party, since the last of them
};

std::string to_json(const RunRecord& record);
/// Errors: state_lost naming `path`.
Result<RunRecord> parse_run_record(std::string_view text, std::string_view path);

std::filesystem::path run_record_path(const std::filesystem::path& runs_dir, const RunId& run);
/// Errors: state_lost when there is none or it is damaged.
Result<RunRecord> read_run_record(Env& env, const std::filesystem::path& runs_dir,
                                  const RunId& run);
/// Errors: io.
Result<> write_run_record(Env& env, const std::filesystem::path& runs_dir, const RunRecord& record);

}  // namespace vflbus::actors
