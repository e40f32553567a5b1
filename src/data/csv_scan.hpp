#pragma once
// First pass over a CSV file: where its records are, so that the second can go in parallel.
// Internal to the data room.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/errc.hpp"
#include "data/csv_dialect.hpp"
#include "data/place.hpp"
#include "data/text_input.hpp"

namespace vflbus::data {

inline constexpr std::size_t csv_chunk_bytes = 4u << 20;

/// Whole records that lie one after another in one file.
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
    /// Where the text turned out to be no UTF-8, or to have a zero byte; then nothing else is true.
    std::optional<std::uint64_t> fault;
    bool zero_byte = false;
};

/// What a scan looks at.
struct CsvText {
    const TextInput& text;
    const Dialect& dialect;
    std::uint64_t skip_lines = 0;  ///< that lie before text.begin
    bool header_only = false;      ///< stops behind the header
};

/// Errors: io; bad_data for an empty file or a quote that is never closed. `file` begins
/// sentences.
Result<CsvLayout> scan_csv(const CsvText& of, const Place& file);

}  // namespace vflbus::data
