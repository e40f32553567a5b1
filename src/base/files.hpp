#pragma once
// Files that are either whole or absent, and a directory lock held for life.

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"

namespace vflbus {

Result<std::string> read_file(const std::filesystem::path& path);

/// A reader sees the old file or the new one, also after a loss of power. Symlinks are followed,
/// and what cannot be replaced, such as a device or a pipe, is written into (FileWriter).
Result<> write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// A file of that mode, which appears under its name with all of its content and never in place of
/// another one: false when there is one already. Nobody whom `mode` does not let in can read it at
/// any moment. Errors: io, and then errno says why as well, for callers with a sentence of their
/// own.
Result<bool> write_new_file(const std::filesystem::path& path, std::string_view content,
                            mode_t mode);

/// `file` belongs to whom `like` belongs, and is read by whom that is: root may change what a
/// service reads. Errors: io.
Result<> give_as(const std::filesystem::path& file, const std::filesystem::path& like);
/// A file that exists, whole and atomically, with the owner and mode that it has; of a link, what
/// it leads to. Errors: io.
Result<> replace_file_of_others(const std::filesystem::path& path, std::string_view content);

/// All of it. False: errno says why.
[[nodiscard]] bool write_all(int fd, std::string_view content) noexcept;
/// The names in the directory of `path`, so that a loss of power leaves a new one. Best effort:
/// some directories cannot be synced.
void sync_directory_of(const std::filesystem::path& path);

// -- files that a killed process has begun -------------------------------------------------
// write_file_atomically() writes FILE.tmp-PID first. A process that is killed in between leaves
// that file, and nobody else would ever remove it.

/// Removes what the process `pid` has left so, below `directory`.
void remove_unfinished(const std::filesystem::path& directory, int pid) noexcept;

/// Removes what processes that are gone have left so in `directory` and in directories up to
/// `depth` levels below it. For a process that starts and has written nothing yet: what carries its
/// own number was left by an earlier process of that number, as in a container.
void sweep_unfinished(const std::filesystem::path& directory, int depth) noexcept;

/// The paths in a directory, in no order; none when it cannot be read.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& directory);

/// An exclusive lock on a directory, released when the object or the process ends.
class DirectoryLock {
  public:
    DirectoryLock() = default;
    DirectoryLock(DirectoryLock&& other) noexcept;
    DirectoryLock& operator=(DirectoryLock&& other) noexcept;
    DirectoryLock(const DirectoryLock&) = delete;
    DirectoryLock& operator=(const DirectoryLock&) = delete;
    ~DirectoryLock();

    /// Creates `directory` when missing. Errors: io when it cannot be made or another process,
    /// which the sentence names by its id, holds the lock.
    static Result<DirectoryLock> acquire(const std::filesystem::path& directory);

  private:
    int fd_ = -1;
};

/// The process that holds the lock on a directory; none when nobody does. It is looked up and not
/// tried: to hold the lock even for a moment would refuse the process that starts in that moment.
std::optional<int> lock_holder(const std::filesystem::path& directory);

/// The next incarnation of the node that lives in `directory` (held by the caller's lock): above
/// every earlier one, and not below the wall clock in milliseconds, so that a directory that was
/// lost does not bring a node back as its own past. Stored with fsync before it is returned.
Result<std::uint64_t> next_incarnation(const std::filesystem::path& directory,
                                       std::uint64_t wall_clock_ms);

}  // namespace vflbus
