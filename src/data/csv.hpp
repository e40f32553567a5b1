#pragma once
// Tables in CSV files (RFC 4180).
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
//
// A file is read twice: the first pass finds where records begin (csv_scan), so that in the second
// several threads can parse pieces of it at once (csv_parser). The table does not depend on the
// number of threads, and neither does the sentence of a refusal.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "data/csv_scan.hpp"
#include "data/input.hpp"
#include "data/source.hpp"

namespace vflbus::data {

inline constexpr std::size_t text_values_max = 10'000;
inline constexpr std::size_t columns_max = 65'536;
inline constexpr std::size_t row_bytes_max = 64u << 20;
inline constexpr std::size_t sample_rows = 10'000;
inline constexpr std::size_t sample_cells = 1'000;

/// One of the files that a table consists of.
struct CsvFile {
    std::string name;  ///< for sentences
    Input input;
    CsvLayout layout;  ///< filled in when it is read
};

/// The table of one or more files that have the same header. Reads the header of the first; the
/// rest is read when a table is asked for. `files` is not empty.
Result<std::unique_ptr<Source>> open_csv(const SourceOptions& options, std::vector<CsvFile> files);

}  // namespace vflbus::data
