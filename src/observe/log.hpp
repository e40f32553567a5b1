#pragma once
// The log of the process: state changes only, one line each, as key=value.
//
//   2026-02-03T04:05:06.789Z info node=member-0 run=1f0c9a33 step=120 committed digest=ab12
//
// or, with the format json, as one object a line:
//
//   {"time": "2026-...", "level": "info", "part": "bus", "node": "member-0", "run": "1f0c9a33",
//    "step": 120, "text": "committed digest=ab12"}
//
// A facade: only log.cpp sees spdlog. A call below the level costs one atomic load; its arguments
// are evaluated but not formatted. All functions may be called from any thread. Nothing is thrown:
// a log that cannot be written loses lines, not runs.

#include <fmt/core.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/errc.hpp"
#include "base/ids.hpp"

namespace vflbus::observe {
class Console;
}

namespace vflbus::observe::log {

enum class Level : std::uint8_t { trace, debug, info, warn, error, off };

std::string_view name_of(Level level) noexcept;
/// "trace" to "error" and "off". Errors: bad_config with the names that exist.
Result<Level> parse_level(std::string_view name);

// -- set-up ---------------------------------------------------------------------

/// What standard error shows (default info): `[output] log_level`; --quiet is warn, --verbose
/// debug.
void set_level(Level level) noexcept;
enum class Format : std::uint8_t { text, json };
/// Of standard error, of the process's own file and of those of runs; `vflbus run logs` merges and
/// shows both as text.
void set_format(Format format) noexcept;
/// For lines of single parts in place of set_level(), as "bus=debug, policy=warn". Errors:
/// bad_config, naming the parts and levels that exist.
Result<> set_part_levels(std::string_view text);
/// The parts of Where::part.
std::span<const std::string_view> parts() noexcept;

/// From now on what standard error would show also goes to `directory`/NODE.log, NODE being the
/// identity of this process; not before it has one. A file that would grow beyond `bytes_max` is
/// renamed to NODE.1.log, that one to NODE.2.log, and so on; `files_max` of them are kept.
struct OwnFile {
    std::filesystem::path directory;  ///< empty: no file
    std::uint64_t bytes_max = 10'000'000;
    std::uint64_t files_max = 5;
};
void set_own_file(OwnFile file);  ///< where it cannot be written a warning says so, once

/// What the files of runs keep (default debug), whatever standard error shows.
void set_file_level(Level level) noexcept;
/// The node name of this process, on every line from now on.
void set_identity(std::string_view node);
/// The node name of the calling thread, where several parties live in one process; empty: the
/// process's again.
void set_thread_identity(std::string_view node);
/// Standard error unless a test says otherwise; null restores it. `console` must outlive its use.
void set_console(Console* console) noexcept;

// -- files of runs ----------------------------------------------------------------

/// From now on the lines of `run` that `party` writes also go to `file`
/// (runs/<run_id>/<party>/log), which is appended to and whose directory is made. Lines are on
/// disk's way after each call, not buffered in the process. Attaching again replaces the file.
/// A file beyond the bounds of set_own_file is put aside (log_files.hpp). Errors: io with the path.
Result<> attach_run(const RunId& run, std::string_view party, const std::filesystem::path& file);
void detach_run(const RunId& run, std::string_view party);
void bound_standard_error() noexcept;  ///< it is such a file itself: a child of `launch`
/// Returns when all lines whose times are before this call are in the party's file of the run.
void settle_run(const RunId& run, std::string_view party);

// -- writing ------------------------------------------------------------------------

/// What a line is about. `node` empty means the thread's identity, then the process's.
struct Where {
    RunId run{};
    std::optional<std::uint64_t> step{};
    std::string_view node{};
    /// Of the program: bus, access, policy, serve, run, apps, observe; empty: "run".
    std::string_view part{};
};

/// Whether a line of this level reaches any sink.
bool enabled(Level level) noexcept;
/// Control characters in the formatted text are escaped, so that no peer's name forges a line.
void write(Level level, const Where& where, fmt::string_view format, fmt::format_args args);

/// A value for key=value: as it is when it has no blanks, quotes or '=', otherwise in quotes with
/// escapes.
std::string value(std::string_view text);

#define VFLBUS_LOG_LEVEL(name)                                                                    \
    template <class... Args>                                                                      \
    void name(fmt::format_string<Args...> format, Args&&... args) {                               \
        if (enabled(Level::name)) write(Level::name, {}, format, fmt::make_format_args(args...)); \
    }                                                                                             \
    template <class... Args>                                                                      \
    void name(const Where& where, fmt::format_string<Args...> format, Args&&... args) {           \
        if (enabled(Level::name))                                                                 \
            write(Level::name, where, format, fmt::make_format_args(args...));                    \
    }

// info("joined role={} rank={}", role, rank); info({run, step}, "committed digest={}", digest)
VFLBUS_LOG_LEVEL(trace)
VFLBUS_LOG_LEVEL(debug)
VFLBUS_LOG_LEVEL(info)
VFLBUS_LOG_LEVEL(warn)
VFLBUS_LOG_LEVEL(error)
#undef VFLBUS_LOG_LEVEL

}  // namespace vflbus::observe::log
