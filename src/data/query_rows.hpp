#pragma once
// What the sources that ask a database have in common: the query within a location, and rows that
// become the bytes of a CSV file, as if a command had written them. Internal to the data room.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "data/input.hpp"
#include "data/place.hpp"
#include "data/source.hpp"

namespace vflbus::data {

/// "shop.db?query=select ..." in two; `query` is empty when there is none. A query without a blank
/// is taken as one of a URL ("select%20*%20from%20t"); any other one stands as it is.
struct Asked {
    std::string where;
    std::string query;
};
Asked split_query(std::string_view location);

/// What a query takes at most: SourceOptions::timeout from now on.
class Deadline {
  public:
    explicit Deadline(std::chrono::duration<double> timeout);
    [[nodiscard]] bool over() const;
    /// Until then, 0 at least; at most `most`.
    [[nodiscard]] int milliseconds(int most) const;

  private:
    std::chrono::steady_clock::time_point end_;
};

// The rest of sentences about a database.
inline constexpr const char* gives_no_rows =
    "was asked a statement that gives no rows; write a select";
std::string not_in_time(std::chrono::duration<double> timeout);

/// Cells of rows, in order, to CSV text.
class QueryRows {
  public:
    void cell(std::string_view text);
    void missing();
    /// Errors: io.
    Result<> end_row();
    /// The table, whose name in sentences is that of `place`; nothing of its text is guessed but
    /// what the user has stated. Errors: io, bad_data.
    Result<std::unique_ptr<Source>> open(SourceOptions options, const Place& place);

  private:
    void separate();

    Spool spool_;
    std::string block_;
    bool first_ = true;  ///< of its row
};

/// Column names of a query as they become a header. Errors: bad_data for a column without a name,
/// or one of which there are two.
Result<> take_header(const std::vector<std::string>& names, const Place& place, QueryRows& rows);

}  // namespace vflbus::data
