#pragma once
// Reads a party's table from a CSV file (RFC 4180).
//
// Accepted: a header line; quoted fields with commas, doubled quotes and line breaks in them; LF or
// CRLF; a UTF-8 byte order mark; any order of columns; a last line with or without line break;
// blank lines, which are skipped. Spaces and tabs around a cell do not count.
//
// Missing cells: empty, ?, NA, N/A, n/a, #N/A, #NA, <NA>, NaN, nan, -NaN, -nan, NULL, null, None.
//
// A column is numeric when at least 90 % of its first 1,000 cells that are not missing, within the
// first 10,000 rows, are finite decimal numbers; otherwise it is text. In a numeric column a cell
// that is neither missing nor a number is refused. A column with nothing but missing cells in those
// rows is numeric when all its later cells are numbers, otherwise text. A text feature of more than
// text_values_max different values is left out by name.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "data/table.hpp"

namespace vflbus::data {

inline constexpr std::size_t text_values_max = 10'000;
inline constexpr std::size_t columns_max = 65'536;
inline constexpr std::size_t row_bytes_max = 64u << 20;
inline constexpr std::size_t sample_rows = 10'000;
inline constexpr std::size_t sample_cells = 1'000;

struct CsvOptions {
    std::string path;
    std::string id_column;
    std::vector<std::string> labels;
    std::vector<std::string> features;  ///< empty: every column that is not id, label or excluded
    std::vector<std::string> exclude;   ///< columns to ignore
    std::string party;                  ///< named in sentences; may be empty
    unsigned threads = 0;               ///< 0: as many as the machine has; the result is the same
};

/// Called now and then from one of the reading threads (never from two at once).
using CsvProgress = std::function<void(std::uint64_t bytes_done, std::uint64_t bytes_total)>;

/// Errors: io (no such file, not a regular file), bad_data (everything else); the sentence names
/// party, file, line and column, and what to do. The same sentence whatever the thread count.
Result<Table> read_csv(const CsvOptions& options, const CsvProgress& progress = {});

/// The column names of a file, as read_csv sees them.
Result<std::vector<std::string>> read_csv_header(const std::string& path,
                                                 const std::string& party = {});

}  // namespace vflbus::data
