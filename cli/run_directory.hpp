#pragma once
// runs/<run_id>, as the process that starts a run's parties holds it.
//
// Two commands that are given the same --run-id must not write into one another's files, and an
// earlier run is never overwritten. So whoever begins a run holds a lock in its directory as long
// as it goes on, and notes there what the run is for, which its files alone do not always tell.

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "actors/purpose.hpp"
#include "base/errc.hpp"
#include "base/files.hpp"
#include "base/ids.hpp"

namespace vflbus::cli {

class RunDirectory {
  public:
    /// For a new run; makes the directory. What a run that never began has left there is no
    /// obstacle. Errors: usage for a directory that holds a run; io for one that is in use.
    static Result<RunDirectory> begin(const std::filesystem::path& directory,
                                      actors::Purpose purpose);
    /// For a run that goes on. The processes of a launch that was killed end by themselves within
    /// seconds, and are waited for, at most for `patience`; `say` is told so. Errors: io for one
    /// that is in use.
    static Result<RunDirectory> resume(const std::filesystem::path& directory,
                                       const std::function<void(const std::string&)>& say,
                                       Duration patience = std::chrono::seconds(10));

    /// Notes why a run has failed: its parties may have written nothing, and it would look as if it
    /// had never been tried. `ended` without an error is not noted.
    void note_end(const Failure& ended) const;
    /// Of a run that cannot begin after all: the directory goes, unless something else is in it.
    void abandon() noexcept;

  private:
    RunDirectory(std::filesystem::path directory, DirectoryLock lock)
        : directory_(std::move(directory)), lock_(std::move(lock)) {}
    [[nodiscard]] Result<> write_note(const std::string& purpose, const Failure* failure) const;
    static Result<DirectoryLock> lock(const std::filesystem::path& directory);
    std::filesystem::path directory_;
    DirectoryLock lock_;
};

/// What the run there is for, as it was noted when it began; none when nobody noted it.
std::optional<std::string> noted_purpose(const std::filesystem::path& directory);
/// Why it has ended, as it was noted; none when nobody did.
std::optional<Failure> noted_failure(const std::filesystem::path& directory);
/// Whether a process holds the directory now.
bool is_held(const std::filesystem::path& directory);

}  // namespace vflbus::cli
