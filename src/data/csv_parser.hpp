#pragma once
// Second pass over CSV files: their cells become columns. Internal to the data room.

#include <cstddef>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "data/columns.hpp"
#include "data/csv.hpp"
#include "data/csv_dialect.hpp"
#include "data/source.hpp"
#include "data/table.hpp"

namespace vflbus::data {

/// A chunk of one of several files, with its first row counted over all of them.
struct FileChunk {
    std::size_t file = 0;
    CsvChunk chunk;
};

/// What the first pass found, and what to make of it.
struct CsvJob {
    const SourceOptions& options;
    const TableRequest& request;
    const std::vector<CsvFile>& files;
    const Dialect& dialect;
    std::vector<FileChunk> chunks;  ///< in the order of the rows
    std::uint64_t rows = 0;
    std::uint64_t bytes = 0;  ///< of all files, for the progress
    ChosenColumns chosen;
    const ReadProgress& progress;

    /// Where a fault is. `column` counts from 0; no_column: the row as a whole.
    static constexpr std::size_t no_column = static_cast<std::size_t>(-1);
    [[nodiscard]] Place place(std::size_t file, std::uint64_t line,
                              std::size_t column = no_column) const;
};

/// A chunk in memory: complete records, the last one ended by LF, and padding.
struct ChunkBuffer {
    std::vector<char> bytes;
    const char* end = nullptr;  ///< behind the last LF

    Result<> read(const CsvJob& job, const FileChunk& of);
};

/// Sets the kind of each used column from the first rows (column_kinds.hpp). What is malformed here
/// ends the sample and is reported by parse_csv.
Result<> decide_kinds(CsvJob& job);

/// The table. Columns that turn out to be text after all are changed in `job`.
Result<Table> parse_csv(CsvJob& job);

}  // namespace vflbus::data
