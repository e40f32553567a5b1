#pragma once
// How a file is replaced so that a crash at any moment leaves the old one or the new one. The steps
// are a seam: the simulation counts them, dies between any two, and loses what was not synced.

#include <filesystem>
#include <string_view>

#include "base/errc.hpp"

namespace vflbus {

/// What a file system is asked for. Only what was synced outlives a loss of power.
class FileSteps {
  public:
    virtual ~FileSteps() = default;
    [[nodiscard]] virtual bool is_directory(const std::filesystem::path& path) = 0;
    /// Its parent exists; that it is there already is no error.
    virtual Result<> make_directory(const std::filesystem::path& path) = 0;
    /// Creates the file, or empties it first.
    virtual Result<> write(const std::filesystem::path& path, std::string_view content) = 0;
    /// The content of the file that was written last.
    virtual Result<> sync(const std::filesystem::path& path) = 0;
    virtual Result<> rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
    /// The names in a directory. Refused: this process cannot, now or ever (it is another's, or its
    /// file system knows no such thing).
    virtual Result<> sync_directory(const std::filesystem::path& path) = 0;
    /// Directories that this process has synced into their parents. One that it found there may
    /// have been made by a process that died before it could do that.
    [[nodiscard]] virtual bool is_durable(const std::filesystem::path& directory) = 0;
    virtual void note_durable(const std::filesystem::path& directory) = 0;
    /// Best effort.
    virtual void discard(const std::filesystem::path& path) noexcept = 0;
};

/// Makes the directories above `path`; each is synced into its parent.
Result<> make_directories_above(FileSteps& steps, const std::filesystem::path& path);

/// Syncs `temporary`, which was written in the directory of `path`, renames it to `path` and syncs
/// the directory.
Result<> put_in_place(FileSteps& steps, const std::filesystem::path& path,
                      const std::filesystem::path& temporary);

/// All of it: directories, `temporary` with this content, and in place with it.
Result<> write_durably(FileSteps& steps, const std::filesystem::path& path,
                       const std::filesystem::path& temporary, std::string_view content);

}  // namespace vflbus
