#pragma once
// Tables in CSV files (RFC 4180).
//
// Accepted: a header line; quoted fields with separators, doubled quotes and line breaks in them;
// LF, CRLF or CR; UTF-8 with and without a byte order mark, UTF-16 with one, Latin-1 and
// Windows-1252 (encoding.hpp); commas, semicolons, tabs or '|' between cells, a decimal comma, a
// first line "sep=;" (csv_dialect.hpp); any order of columns; a last line with or without line
// break; empty cells beyond the last column; blank lines and lines of nothing but separators, which
// are skipped. Spaces and tabs around a cell do not count.
//
// Missing cells: empty, ?, NA, N/A, n/a, #N/A, #NA, <NA>, NaN, nan, -NaN, -nan, NULL, null, None;
// in a column of numbers or dates also a cell of nothing but dashes, '.', '..' or ':', which is
// said.
//
// What a column is read as: column_kinds.hpp. A text feature of more than text_values_max different
// values is left out by name.
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
#include "data/source.hpp"
#include "data/text_input.hpp"

namespace vflbus::data {

inline constexpr std::size_t text_values_max = 10'000;
inline constexpr std::size_t columns_max = 65'536;
inline constexpr std::size_t row_bytes_max = 64u << 20;

/// One of the files that a table consists of.
struct CsvFile {
    std::string name;  ///< for sentences
    TextInput text;
    std::uint64_t skip_lines = 0;  ///< before the header; they lie before text.begin
    CsvLayout layout;              ///< filled in when it is read
};

/// The table of one or more files that have the same header. Reads the header of the first; the
/// rest is read when a table is asked for. `files` is not empty.
Result<std::unique_ptr<Source>> open_csv(const SourceOptions& options, std::vector<CsvFile> files);

}  // namespace vflbus::data
