#pragma once
// A file that is there as a whole or not at all, and is written piece by piece: tables that are
// larger than the memory. For a content that is there already: write_file_atomically.

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string_view>

#include "base/errc.hpp"

namespace vflbus {

/// Writes FILE.tmp-PID, and replaces the file by it at the end, so that a reader sees the old file
/// or the new one, also after a loss of power. Symlinks are followed: they stay, and the file that
/// they lead to is replaced. A device, a pipe and what a process has open (/dev/stdout) cannot be
/// replaced; they are written into, at their end.
class FileWriter {
  public:
    /// Makes the directories above it. `mode`: of a file that is replaced too, less the umask.
    /// Errors: io; refused where another attempt is of no use.
    static Result<FileWriter> open(std::filesystem::path path, mode_t mode = 0644);
    FileWriter(FileWriter&& other) noexcept;
    FileWriter& operator=(FileWriter&& other) = delete;
    FileWriter(const FileWriter&) = delete;
    FileWriter& operator=(const FileWriter&) = delete;
    /// Without finish() the file stays as it was.
    ~FileWriter();

    /// Errors: io.
    Result<> write(std::string_view piece);
    /// Once, after the last piece. Errors: io.
    Result<> finish();

  private:
    class Steps;
    FileWriter(std::unique_ptr<Steps> steps, std::filesystem::path path);

    std::unique_ptr<Steps> steps_;
    std::filesystem::path path_;       ///< behind all symlinks
    std::filesystem::path temporary_;  ///< what becomes of it; empty: it is written in place
};

}  // namespace vflbus
