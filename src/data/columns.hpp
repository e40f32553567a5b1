#pragma once
// Which column of a CSV file becomes what. Internal to the data room.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "data/csv.hpp"
#include "data/csv_scan.hpp"

namespace vflbus::data {

enum class Use : std::uint8_t { skip, id, value };

struct CsvColumn {
    std::string name;
    Use use = Use::skip;
    ColumnKind kind = ColumnKind::numeric;
    bool undecided = false;  ///< no cell in the sample: numeric unless a text turns up
};

struct CsvSchema {
    std::vector<CsvColumn> columns;
    std::vector<LeftOut> left_out;  ///< columns without a name
};

/// "bank: data/bank.csv", what every sentence begins with.
std::string where(const CsvOptions& options);
std::string where(const CsvOptions& options, std::uint64_t line);
std::string where(const CsvOptions& options, std::uint64_t line, std::string_view column);
/// A cell as it may stand in a sentence: quoted, clipped, without control characters.
std::string shown(std::string_view cell);

/// The names in the header record. Errors: bad_data.
Result<std::vector<std::string>> parse_header(const InputFile& file, const CsvLayout& layout,
                                              const CsvOptions& options);

/// Errors: bad_data for a duplicate, missing or contradictory column.
Result<CsvSchema> choose_columns(const std::vector<std::string>& names, const CsvOptions& options,
                                 std::uint64_t header_line);

}  // namespace vflbus::data
