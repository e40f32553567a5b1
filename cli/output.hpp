#pragma once
// Results go to standard output, everything else to standard error.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "base/ids.hpp"
#include "observe/report.hpp"
#include "observe/table.hpp"

namespace vflbus::cli {

// -- what standard output is ------------------------------------------------------------

[[nodiscard]] bool output_terminal();
/// Columns of its window; without a terminal there is no bound, and nothing is cut.
[[nodiscard]] std::size_t output_columns();
/// Lines of its window; 24 where nobody knows.
[[nodiscard]] std::size_t output_lines();
/// Whether bold and colours make sense: a terminal, and neither NO_COLOR nor TERM=dumb.
[[nodiscard]] bool output_colors();
/// What is printed goes through a parent process to a window of so many columns.
void set_output_window(std::size_t columns);
/// The table as standard output takes it.
[[nodiscard]] std::string shown(const observe::Table& table);

/// What this program was called by, as a shell takes it: "vflbus", or a path. Commands that are
/// printed to be typed begin with it.
[[nodiscard]] const std::string& program();
void set_program(std::string_view called_by);

/// Writes to standard output. A reader that went away is no error until finish_output().
void print(std::string_view text);

/// Flushes standard output; `code`, or ExitCode::internal when a result could not be written
/// (a full disk; not a closed pipe).
int finish_output(int code);

/// "vflbus: <sentence>" on standard error.
void error_line(std::string_view sentence);
/// "vflbus: <sentence>" on standard error unless --quiet.
void note(const Common& common, std::string_view sentence);

/// Says why the command failed, as --json on standard output as well, and returns the exit code.
/// `resume`: the command that goes on with the run, for a failure that is resumable.
int report_failure(const Common& common, const Failure& failure, std::string_view resume = {});

/// 0, or what report_failure() returns.
int report_end(const Common& common, const Failure& outcome);

/// The end of a training: the table, or --json, on standard output, and the sentence of a failure
/// on standard error. Returns the exit code.
int report_run(const Common& common, observe::RunReport report, const RunId& run,
               const Failure& outcome, std::string_view resume = {});

/// "completed", "failed" or "stopped", as `status` in --json says it.
std::string_view status_of(const Failure& outcome);

/// A JSON object, keys in the order of the calls.
class JsonObject {
  public:
    JsonObject& add(std::string_view key, std::string_view text);
    JsonObject& add(std::string_view key, const char* text) {
        return add(key, std::string_view(text));
    }
    JsonObject& add(std::string_view key, std::uint64_t number);
    JsonObject& add(std::string_view key, double number);  ///< null when not finite
    JsonObject& add(std::string_view key, bool value);
    JsonObject& add(std::string_view key, const std::vector<std::string>& texts);
    /// `reason`, `error` and the fields of `failure`; `resume` as in report_failure().
    JsonObject& add(const Failure& failure, std::string_view resume = {});
    /// `json` is JSON already.
    JsonObject& add_json(std::string_view key, std::string_view json);
    [[nodiscard]] std::string text() const { return "{" + members_ + "}"; }

  private:
    std::string members_;
};

/// An object that says first what it is: `schema`, and `schema_version`, which rises when a key
/// changes its meaning or goes, and not when one is added (docs/json.md).
JsonObject versioned(std::string_view schema, std::uint64_t version = 1);

std::string json_array(const std::vector<std::string>& values_as_json);
std::string json_string(std::string_view text);

}  // namespace vflbus::cli
