#pragma once
// What to make of a child that has ended: why it did, what it leaves half-written, and whether it
// is started again.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/errc.hpp"
#include "process.hpp"

namespace vflbus::cli {

/// What a child has said itself about why it failed, as JSON on its standard output; none when it
/// was killed or broke down before it could.
std::optional<Failure> said_by(const Child& child);
/// "member-1 was ended by signal 9 (Killed)", or what podman said about it.
std::string end_of(const Child& child);
/// "; its log is ...", if it has one.
std::string log_of(const Child& child);
/// What it said, otherwise how it ended and where its log is; the sentence names it.
Failure failure_of(const Child& child);

/// The failure with "member-1: " in front of its sentence and as its party, unless it has a party
/// already: then its sentence can stand alone.
Failure named(const std::string& who, Failure failure);

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

/// Puts another process in the place of a child that has ended, and says so: "... (2 of at most 3
/// times since ...)". False when it could not be started.
bool spawn_again(const ChildOptions& options, const Restarts& restarts, std::uint64_t at_most,
                 std::string_view since, std::unique_ptr<Child>& child);

}  // namespace vflbus::cli
