#pragma once
// What to make of a child that has ended: why it did, what it leaves half-written, and whether it
// is started again.

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/errc.hpp"
#include "process.hpp"

namespace vflbus::cli {

/// What a child said as its reason with --json; empty when it said none.
std::string said_by(const Child& child);
/// That; otherwise the last line of its log; otherwise how it ended.
std::string reason_of(const Child& child);
/// That with its name, and the code that it said with --json.
Failure failure_of(const Child& child);

/// Removes files below `directory` that the process `pid` has begun and not put in place.
void remove_half_written(const std::filesystem::path& directory, int pid);

/// How often a child that a signal has ended was started again.
class Restarts {
  public:
    /// Counts one more; false, and nothing is counted, when there were `at_most` since `progress`
    /// was another.
    bool again(std::uint64_t at_most, std::uint64_t progress) noexcept;

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }  ///< since then
    [[nodiscard]] std::uint64_t ever() const noexcept { return ever_; }
    [[nodiscard]] std::uint64_t progress() const noexcept { return progress_; }
    /// Those of an earlier process of ours.
    void restore(std::uint64_t count, std::uint64_t progress) noexcept;

  private:
    std::uint64_t count_ = 0;
    std::uint64_t progress_ = 0;
    std::uint64_t ever_ = 0;
};

}  // namespace vflbus::cli
