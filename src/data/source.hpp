#pragma once
// The one seam through which tables come in.
//
// A training asks for columns by name. Whether they lie in a file, come out of a command or are the
// rows of a database is the business of a Source. Which one a location means is decided by its
// scheme, the word before its first colon, in the list of source.cpp: a new kind of source is one
// file with a function that opens it, and a row in that list.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "data/table.hpp"

namespace vflbus::data {

struct SourceOptions {
    std::string location = {};  ///< "data/bank.csv"; "SCHEME:..." for one of schemes()
    std::string party = {};     ///< whose table it is, for sentences; may be empty
    unsigned threads = 0;       ///< 0: as many as the machine has; the table is the same
};

/// Which columns of a source become a table. The order of `features` does not matter: a table has
/// them in the order of the source.
struct TableRequest {
    std::string id = "id";                 ///< the column of the record ids
    std::vector<std::string> labels = {};  ///< in this order in the table
    std::vector<std::string> features =
        {};  ///< empty: every column that is not named elsewhere here
    std::vector<std::string> exclude = {};  ///< columns to leave out
};

/// Called now and then from one of the reading threads, never from two at once.
using ReadProgress = std::function<void(std::uint64_t bytes_done, std::uint64_t bytes_total)>;

/// A table that was found and whose column names are known; its rows have not been read yet.
class Source {
  public:
    Source() = default;
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    virtual ~Source() = default;

    /// The column names in the order of the source; empty for a column without one.
    [[nodiscard]] virtual const std::vector<std::string>& columns() const noexcept = 0;

    /// Reads the rows. May be called again, with another request.
    /// Errors: io when the source cannot be read, bad_data for everything in it that is wrong. The
    /// sentence names party, place and what to do; Failure::for_others quotes nothing of the table.
    virtual Result<Table> read(const TableRequest& request, const ReadProgress& progress = {}) = 0;
};

struct Scheme {
    std::string_view name;
    std::string_view meaning;  ///< what stands behind the colon
    Result<std::unique_ptr<Source>> (*open)(const SourceOptions& options);
};

/// All kinds of sources. The first is what a location without a scheme means.
std::span<const Scheme> schemes() noexcept;

/// Errors: io when nothing is there, bad_data when what is there cannot be a table, bad_config for
/// a scheme that is not in schemes().
Result<std::unique_ptr<Source>> open_source(const SourceOptions& options);

/// open_source() and Source::read() in one.
Result<Table> read_table(const SourceOptions& options, const TableRequest& request,
                         const ReadProgress& progress = {});

}  // namespace vflbus::data
