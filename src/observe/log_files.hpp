#pragma once
// The log of a run in files of bounded size: runs/<run_id>/<party>/log, and older lines beside it.
//
// The problem: a run of weeks must not fill the disk with its log; and a command that follows the
// log over the bus asks for the lines after a position, which must not change when a file is put
// aside. So a position counts all bytes of the log since its beginning, and a file that is put
// aside gets the position of its first byte as the end of its name: log.0, log.10000000, and log
// with the youngest lines. Positions stay right when the oldest files are removed.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::observe {

struct LogPiece {
    std::filesystem::path file;
    std::uint64_t begin = 0;  ///< position of its first byte
};
/// The files of this log that are there, oldest first; the last one is `file` itself.
std::vector<LogPiece> log_pieces(const std::filesystem::path& file);

/// Renames `file` as an older piece, and removes the oldest of them: `files_max` with the one that
/// is written next, but at least one older one is kept. Errors: io.
Result<> put_log_aside(const std::filesystem::path& file, std::uint64_t files_max);

struct LogText {
    std::uint64_t from = 0;  ///< where `text` begins: later than asked when older lines are gone
    std::string text;
    bool more = false;  ///< there is a younger piece, or the bound was reached
};
/// At most `bytes_max` bytes from a position on, of one piece. Another process may put the file
/// aside meanwhile.
LogText read_log(const std::filesystem::path& file, std::uint64_t from, std::size_t bytes_max);
/// All lines that are there.
std::string whole_log(const std::filesystem::path& file);

}  // namespace vflbus::observe
