#pragma once
// The one seam through which tables come in.
//
// A training asks for columns by name. Whether they lie in a file, come out of a command or are the
// rows of a database is the business of a Source. Which one a location means is decided by its
// scheme, the word before its first colon, in the list of source.cpp: a new kind of source is one
// file with a function that opens it, and a row in that list.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/errc.hpp"
#include "data/column_rules.hpp"
#include "data/csv_dialect.hpp"
#include "data/place.hpp"
#include "data/table.hpp"

namespace vflbus::data {

struct SourceOptions {
    std::string location = {};  ///< "data/bank.csv"; "SCHEME:..." for one of schemes()
    std::string party = {};     ///< whose table it is, for sentences; may be empty
    TextFormat format = {};     ///< what is known of the text
    std::chrono::duration<double> timeout{600};  ///< of a command or query
    unsigned threads = 0;  ///< 0: as many as the machine has; the table is the same
};

/// TableRequest::id for tables whose rows are in the same order at all parties: the record id is
/// the number of the row, from 1 on.
inline constexpr std::string_view row_number_id = "@row";

/// TableRequest::id for tables that pandas or R wrote with the names of their rows: the record id
/// is in the first column, which has no name in the header.
inline constexpr std::string_view unnamed_id = "@index";

/// Whether the first column is one of row names: without a name, or as pandas calls such a column
/// that was written and read again.
inline bool begins_with_unnamed(const std::vector<std::string>& columns) {
    return !columns.empty() && (columns[0].empty() || columns[0].starts_with("Unnamed: "));
}

/// What label columns hold. `guess`: what they look like.
enum class LabelsAs : std::uint8_t { guess, numbers, classes };

/// Which columns of a source become a table, and how. The order of `features` does not matter: a
/// table has them in the order of the source.
struct TableRequest {
    std::string id = "id";                 ///< the column of the record ids, or one of those above
    std::vector<std::string> labels = {};  ///< in this order in the table
    std::vector<std::string> features = {};  ///< empty: every column that is not named elsewhere
    std::vector<std::string> exclude = {};   ///< columns to leave out
    std::vector<ColumnRule> columns = {};    ///< what columns are declared to be
    /// How columns were read when the model was trained: what a column was then it is now, whatever
    /// it looks like.
    std::vector<KnownColumn> known = {};
    /// `features` are those of a model: all of them are needed, and nothing else is read, also when
    /// there are none.
    bool of_model = false;
    LabelsAs labels_as = LabelsAs::guess;
    bool skip_missing_ids = false;     ///< rows without an id are left out and counted
    bool skip_missing_labels = false;  ///< rows without a label are left out and counted
};

/// Called now and then from one of the reading threads, never from two at once.
using ReadProgress = std::function<void(std::uint64_t bytes_done, std::uint64_t bytes_total)>;

/// Takes the cells of one row, one per column of the source.
using RowTaker = std::function<void(std::span<const std::string_view> cells)>;

/// A table that was found and whose column names are known; its rows have not been read yet.
class Source {
  public:
    Source() = default;
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    virtual ~Source() = default;

    /// The column names in the order of the source; empty for a column without one.
    [[nodiscard]] virtual const std::vector<std::string>& columns() const noexcept = 0;

    /// Whether the name of this column is only its number, as that of x1, x2, ... of a matrix: the
    /// same name in another file means another column, and nothing may be concluded from it.
    [[nodiscard]] virtual bool is_counted(std::string_view /*column*/) const noexcept {
        return false;
    }

    /// What was guessed so far, as parts of a sentence about the source, each with the key that
    /// states it: "cells are separated by ';' (separator)".
    [[nodiscard]] virtual const std::vector<std::string>& notes() const noexcept = 0;

    /// Reads the rows. May be called again, with another request.
    /// Errors: io when the source cannot be read, bad_data for everything in it that is wrong. The
    /// sentence names party, place and what to do; Failure::for_others quotes nothing of the table.
    Result<Table> read(const TableRequest& request, const ReadProgress& progress = {});

    /// All cells as they are written, row by row, for what copies a table. Errors: those of read(),
    /// and bad_data for a source that is no text.
    Result<> for_each_row(const RowTaker& take);
    /// What stands between the cells of a text.
    [[nodiscard]] virtual char separator() const noexcept { return ','; }

  private:
    virtual Result<> do_each_row(const RowTaker& take);
    /// May throw what std::vector throws when memory is short; read() makes a failure of it.
    virtual Result<Table> do_read(const TableRequest& request, const ReadProgress& progress) = 0;
    /// The source as a whole, for the beginning of a sentence.
    [[nodiscard]] virtual Place place() const = 0;
};

struct Scheme {
    std::string_view name;
    std::string_view meaning;  ///< what stands behind the colon
    Result<std::unique_ptr<Source>> (*open)(const SourceOptions& options);
};

/// All kinds of sources. The first is what a location without a scheme means.
std::span<const Scheme> schemes() noexcept;

/// What a source looks like from outside: another one means that its content may be another.
class Stamp {
  public:
    /// False for what cannot be told from outside, such as the output of a command.
    [[nodiscard]] bool known() const noexcept { return !marks_.empty(); }
    friend bool operator==(const Stamp&, const Stamp&) = default;

  private:
    friend Stamp stamp_of(const std::string& location);
    std::vector<std::string> marks_;  ///< per file: device, inode, size, times of change
};

/// Of the files that a location means now.
Stamp stamp_of(const std::string& location);

/// The location as it holds in every directory: a path or pattern becomes absolute; standard input,
/// commands and servers stay as they are.
std::string absolute_location(const std::string& location);

/// Writes what standard input holds to a new file that only its owner may read, for processes
/// whose standard input is another one. Errors: io, also when standard input is a terminal.
Result<> keep_standard_input(const std::string& file);

/// Errors: io when nothing is there, bad_data when what is there cannot be a table, bad_config for
/// a scheme that is not in schemes().
Result<std::unique_ptr<Source>> open_source(const SourceOptions& options);

/// open_source() and Source::read() in one.
Result<Table> read_table(const SourceOptions& options, const TableRequest& request,
                         const ReadProgress& progress = {});

}  // namespace vflbus::data
