#include "observe/log.hpp"

#include <fcntl.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "base/json.hpp"
#include "base/quotes.hpp"
#include "base/text.hpp"
#include "observe/console.hpp"
#include "observe/log_files.hpp"
#include "observe/utc.hpp"

namespace vflbus::observe::log {
namespace {

/// The lock is ours, not one of spdlog's own: ThreadSanitizer does not see those of a library that
/// was built without it. A line gets its time while the lock is held: whoever has held the lock
/// after some moment finds all lines of before that moment in the file.
class RunFile {
  public:
    explicit RunFile(std::filesystem::path path) : path_(std::move(path)) {}
    ~RunFile() {
        if (fd_ >= 0) ::close(fd_);
    }
    RunFile(const RunFile&) = delete;
    RunFile& operator=(const RunFile&) = delete;

    /// Errors: io.
    Result<> open() {
        const std::lock_guard lock(mutex_);
        return reopen();
    }

    /// `make` returns the line, with its time. A full disk costs log lines, not the run.
    template <class Make>
    void write(const Make& make, const OwnFile& bounds) {
        const std::lock_guard lock(mutex_);
        const std::string line = make() + "\n";
        if (bytes_ > 0 && bytes_ + line.size() > bounds.bytes_max)
            if (put_log_aside(path_, bounds.files_max)) (void)reopen();
        if (fd_ < 0) return;
        if (const ssize_t written = ::write(fd_, line.data(), line.size()); written > 0)
            bytes_ += static_cast<std::uint64_t>(written);
    }
    void wait_for_writers() { const std::lock_guard lock(mutex_); }

  private:
    Result<> reopen() {
        const int fd = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
            return fail(Errc::io, "cannot open " + path_.string() + ": " +
                                      std::generic_category().message(errno));
        if (fd_ >= 0) ::close(fd_);
        fd_ = fd;
        struct stat seen{};
        bytes_ = ::fstat(fd_, &seen) == 0 ? static_cast<std::uint64_t>(seen.st_size) : 0;
        return {};
    }

    std::mutex mutex_;
    std::filesystem::path path_;
    int fd_ = -1;
    std::uint64_t bytes_ = 0;  ///< in the file
};
using RunFilePointer = std::shared_ptr<RunFile>;

/// The file of this process, of bounded size and number.
struct RotatingFile {
    RotatingFile(const std::string& path, std::size_t bytes_max, std::size_t files_max)
        : sink(path, bytes_max, files_max) {
        sink.set_pattern("%v");
    }

    void write(const std::string& line) {
        const std::lock_guard lock(mutex);
        sink.log(spdlog::details::log_msg({}, spdlog::level::info, line));
        sink.flush();
    }

    std::mutex mutex;
    spdlog::sinks::rotating_file_sink_st sink;
};

constexpr std::array<std::string_view, 7> part_names = {"bus", "access", "policy", "serve",
                                                        "run", "apps",   "observe"};
constexpr std::size_t run_part = 4;
/// Of a part without a level of its own.
constexpr auto as_all = static_cast<Level>(0xFF);

std::size_t index_of(std::string_view part) {
    const auto found = std::find(part_names.begin(), part_names.end(), part);
    return found == part_names.end() ? run_part
                                     : static_cast<std::size_t>(found - part_names.begin());
}

constexpr std::array<std::string_view, 6> level_names = {"trace", "debug", "info",
                                                         "warn",  "error", "off"};

std::atomic<Level> console_level{Level::info};
std::array<std::atomic<Level>, part_names.size()> part_levels{as_all, as_all, as_all, as_all,
                                                              as_all, as_all, as_all};
std::atomic<Format> line_format{Format::text};
std::atomic<Level> file_level{Level::debug};
std::atomic<Level> threshold{Level::info};  // the lowest level that any sink wants
std::atomic<Console*> console_override{nullptr};
std::atomic<bool> standard_error_is_a_log{false};

/// What changes seldom; never destroyed, as threads may log to the end.
struct State {
    std::shared_mutex mutex;
    std::string identity;
    std::map<std::pair<RunId, std::string>, RunFilePointer> files;
    OwnFile own_place;
    std::shared_ptr<RotatingFile> own;
    std::string own_name;
    bool own_fails = false;  // which has been said
    std::chrono::steady_clock::time_point own_again{};
};

State& state() {
    static State* const instance = new State;
    return *instance;
}

thread_local std::string thread_identity;

void update_threshold() {
    const bool files = !state().files.empty();
    Level least = console_level;
    for (const std::atomic<Level>& of_part : part_levels) least = std::min(least, of_part.load());
    threshold = std::min(least, files ? file_level.load() : Level::off);
}

void append_escaped(std::string& out, std::string_view text) {
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\n')
            out += "\\n";
        else if (byte < 0x20 || byte == 0x7F)
            out += fmt::format("\\x{:02x}", byte);
        else
            out += c;
    }
}

std::string node_of(const Where& where) {
    if (!where.node.empty()) return std::string(where.node);
    if (!thread_identity.empty()) return thread_identity;
    const std::shared_lock lock(state().mutex);
    return state().identity;
}

/// How long files may become, and how many of them are kept.
OwnFile bounds() {
    const std::shared_lock lock(state().mutex);
    return {{}, state().own_place.bytes_max, state().own_place.files_max};
}

RunFilePointer file_of(const RunId& run, const std::string& party) {
    if (run.none()) return {};
    const std::shared_lock lock(state().mutex);
    const auto found = state().files.find({run, party});
    return found == state().files.end() ? RunFilePointer{} : found->second;
}

std::string line_of(Level level, const Where& where, std::string_view node, std::string_view text) {
    std::string line = utc_now();
    line += ' ';
    line += name_of(level);
    if (!node.empty()) {
        line += " node=";
        append_escaped(line, node);
    }
    if (!where.run.none()) line += " run=" + where.run.short_hex();
    if (where.step) line += fmt::format(" step={}", *where.step);
    line += ' ';
    append_escaped(line, text);
    return line;
}

void append_json(std::string& out, std::string_view key, std::string_view text) {
    if (out.size() > 1) out += ", ";
    out += fmt::format("\"{}\": ", key);
    out += Json(text).dump();
}

std::string json_of(Level level, const Where& where, std::string_view node, std::string_view text) {
    std::string line = "{";
    append_json(line, "time", utc_now());
    append_json(line, "level", name_of(level));
    append_json(line, "part", part_names[index_of(where.part)]);
    if (!node.empty()) append_json(line, "node", node);
    if (!where.run.none()) append_json(line, "run", where.run.hex());
    if (where.step) line += fmt::format(", \"step\": {}", *where.step);
    append_json(line, "text", text);
    return line + "}";
}

/// An open that fails takes 50 ms in spdlog, which not every line should wait for.
constexpr std::chrono::seconds open_again{5};

/// The file of this process, opened when its name is known; null: there is none, or it could not be
/// opened a moment ago. Throws where it cannot be opened now.
std::shared_ptr<RotatingFile> own_file() {
    {
        const std::shared_lock lock(state().mutex);
        if (state().own_place.directory.empty() || state().identity.empty()) return {};
        if (state().own && state().own_name == state().identity) return state().own;
    }
    const std::unique_lock lock(state().mutex);
    const OwnFile& place = state().own_place;
    const auto now = std::chrono::steady_clock::now();
    if (now < state().own_again) return {};
    state().own_again = now + open_again;
    std::error_code ec;
    std::filesystem::create_directories(place.directory, ec);
    state().own =
        std::make_shared<RotatingFile>((place.directory / (state().identity + ".log")).string(),
                                       place.bytes_max, place.files_max - 1);
    state().own_name = state().identity;
    state().own_again = {};
    return state().own;
}

/// Writes a line to the file of this process. Returns why that fails, once until it works again;
/// otherwise an empty text.
std::string write_to_own(const std::string& line) {
    std::string why;
    try {
        const auto own = own_file();
        if (!own) return {};
        own->write(line);
    } catch (const std::exception& error) {
        why = error.what();
    }
    const std::unique_lock lock(state().mutex);
    if (std::exchange(state().own_fails, !why.empty()) || why.empty()) return {};
    return fmt::format("no log lines are kept in {} (output.log_dir): {}",
                       state().own_place.directory.string(), why);
}

Level least_of(std::string_view part) {
    const Level own = part_levels[index_of(part)];
    return own == as_all ? console_level.load() : own;
}

/// Warnings yellow, errors red.
std::string highlighted(Level level, const std::string& line) {
    if (level < Level::warn) return line;
    return std::string(level == Level::warn ? "\x1b[33m" : "\x1b[31m") + line + "\x1b[0m";
}

/// Where `launch` has started this process, standard error is runs/<run_id>/<party>/log, which
/// nobody else writes: when it has grown to the bound it is put aside. A file that the user has
/// chosen (`launch 2> FILE`) is left as it is.
void keep_standard_error_bounded() {
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    const OwnFile most = bounds();
    struct stat seen{};
    if (::fstat(STDERR_FILENO, &seen) != 0 || !S_ISREG(seen.st_mode) ||
        static_cast<std::uint64_t>(seen.st_size) < most.bytes_max)
        return;
    std::error_code ec;
    const auto file = std::filesystem::read_symlink("/proc/self/fd/2", ec);
    const std::string identity = node_of({});
    if (ec || file.filename() != "log" || file.parent_path().filename() != identity) return;
    if (!put_log_aside(file, most.files_max)) return;
    const int fd = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return;
    (void)::dup2(fd, STDERR_FILENO);
    ::close(fd);
}

/// Puts a whole line on standard error.
void show(Level level, std::string line) {
    if (standard_error_is_a_log) keep_standard_error_bounded();
    Console* const chosen = console_override.load();
    Console& console = chosen != nullptr ? *chosen : Console::standard_error();
    if (line_format == Format::json) return console.line(line);
    // files and pipes have the time in UTC, people at a terminal the one on their clock
    if (console.terminal()) line.replace(0, line.find(' '), local_now());
    console.line(console.color() ? highlighted(level, line) : line);
}

}  // namespace

std::string_view name_of(Level level) noexcept {
    return level_names[static_cast<std::size_t>(level)];
}

Result<Level> parse_level(std::string_view name) {
    for (std::size_t i = 0; i < level_names.size(); ++i)
        if (level_names[i] == name) return static_cast<Level>(i);
    return fail(Errc::bad_config,
                fmt::format("\"{}\" is no log level; use trace, debug, info, warn, "
                            "error or off",
                            name));
}

void set_level(Level level) noexcept {
    const std::unique_lock lock(state().mutex);
    console_level = level;
    update_threshold();
}

void set_format(Format format) noexcept {
    line_format = format;
}

std::span<const std::string_view> parts() noexcept {
    return part_names;
}

Result<> set_part_levels(std::string_view text) {
    std::array<Level, part_names.size()> levels;
    levels.fill(as_all);
    for (const std::string& piece : split(std::string(text), ',')) {
        const std::string item(trim(piece));
        if (item.empty()) continue;
        const std::size_t equals = item.find('=');
        const std::string part(trim(item.substr(0, equals)));
        const auto found = std::find(part_names.begin(), part_names.end(), part);
        if (equals == std::string::npos || found == part_names.end())
            return fail(
                Errc::bad_config,
                "\"" + item + "\" is no level of a part; write PART=LEVEL, such as " +
                    "bus=debug. Parts: " +
                    join_and(std::vector<std::string>(part_names.begin(), part_names.end())));
        const auto level = parse_level(trim(item.substr(equals + 1)));
        if (!level) return tl::unexpected(level.error());
        levels[static_cast<std::size_t>(found - part_names.begin())] = *level;
    }
    const std::unique_lock lock(state().mutex);
    for (std::size_t i = 0; i < levels.size(); ++i) part_levels[i] = levels[i];
    update_threshold();
    return {};
}

void set_own_file(OwnFile file) {
    const std::unique_lock lock(state().mutex);
    state().own_place = std::move(file);
    state().own.reset();
    state().own_fails = false;
    state().own_again = {};
}

void set_file_level(Level level) noexcept {
    const std::unique_lock lock(state().mutex);
    file_level = level;
    update_threshold();
}

void set_identity(std::string_view node) {
    const std::unique_lock lock(state().mutex);
    state().identity = node;
}

void set_thread_identity(std::string_view node) {
    thread_identity = node;
}

void set_console(Console* console) noexcept {
    console_override = console;
}

void bound_standard_error() noexcept {
    standard_error_is_a_log = true;
}

Result<> attach_run(const RunId& run, std::string_view party, const std::filesystem::path& file) {
    std::error_code ec;
    if (file.has_parent_path()) std::filesystem::create_directories(file.parent_path(), ec);
    if (ec)
        return fail(Errc::io, fmt::format("cannot create {} for the log of {}: {}",
                                          file.parent_path().string(), party, ec.message()));
    auto opened = std::make_shared<RunFile>(file);
    if (const auto good = opened->open(); !good)
        return fail(Errc::io,
                    fmt::format("cannot write the log of {}: {}", party, good.error().sentence));
    const std::unique_lock lock(state().mutex);
    state().files[{run, std::string(party)}] = std::move(opened);
    update_threshold();
    return {};
}

void detach_run(const RunId& run, std::string_view party) {
    const std::unique_lock lock(state().mutex);
    state().files.erase({run, std::string(party)});
    update_threshold();
}

void settle_run(const RunId& run, std::string_view party) {
    if (const RunFilePointer file = file_of(run, std::string(party))) file->wait_for_writers();
}

bool enabled(Level level) noexcept {
    return level >= threshold.load(std::memory_order_relaxed);
}

void write(Level level, const Where& where, fmt::string_view format, fmt::format_args args) {
    const bool to_console = level >= least_of(where.part);
    const std::string node = node_of(where);
    const RunFilePointer file =
        level >= file_level.load() ? file_of(where.run, node) : RunFilePointer{};
    if (!to_console && !file) return;

    std::string line;
    std::string shown;
    std::string trouble;
    try {
        const std::string text = fmt::vformat(format, args);
        const auto make = [&]() -> const std::string& {
            line = line_of(level, where, node, text);
            shown = line_format == Format::json ? json_of(level, where, node, text) : line;
            return line;
        };
        const auto in_file = [&]() -> const std::string& {
            make();
            return shown;
        };
        if (file)
            file->write(in_file, bounds());
        else
            make();
        if (to_console) trouble = write_to_own(shown);
    } catch (const std::exception&) {
        // no memory for the line: the run goes on without it
    }
    if (!to_console || shown.empty()) return;
    show(level, std::move(shown));
    if (trouble.empty()) return;
    const Where own{.part = "observe"};
    show(Level::warn, line_format == Format::json ? json_of(Level::warn, own, node, trouble)
                                                  : line_of(Level::warn, own, node, trouble));
}

std::string value(std::string_view text) {
    return pair_value(text);
}

}  // namespace vflbus::observe::log
