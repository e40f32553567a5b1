#pragma once
// First pass over a CSV file: where its records are, so that the second can go in parallel.
// Internal to the data room.

#include <cstdint>
#include <string>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::data {

inline constexpr std::size_t csv_chunk_bytes = 4u << 20;

/// A file that is read at offsets, by any number of threads.
class InputFile {
  public:
    InputFile() = default;
    InputFile(InputFile&& other) noexcept;
    InputFile& operator=(InputFile&& other) noexcept;
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;
    ~InputFile();

    static Result<InputFile> open(const std::string& path);
    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    /// Fills [out, out + count). Errors: io, also when the file has become shorter.
    Result<> read(std::uint64_t offset, char* out, std::size_t count) const;

  private:
    int fd_ = -1;
    std::uint64_t size_ = 0;
    std::string path_;
};

/// Whole records that lie one after another in the file.
struct CsvChunk {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint64_t first_row = 0;
    std::uint64_t rows = 0;
    std::uint64_t first_line = 1;  ///< line of the first byte, 1 = the first
};

struct CsvLayout {
    CsvChunk header;               ///< one record
    std::vector<CsvChunk> chunks;  ///< cut by size alone, never by the number of threads
    std::uint64_t rows = 0;
    bool one_line_per_row = true;  ///< row r is on line chunks[0].first_line + r
};

/// Errors: io; bad_data for an empty file or a quote that is never closed. `where` begins
/// sentences. With `header_only`, stops behind the header.
Result<CsvLayout> scan_csv(const InputFile& file, const std::string& where,
                           bool header_only = false);

}  // namespace vflbus::data
