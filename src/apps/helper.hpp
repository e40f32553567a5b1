#pragma once
// The helper of a process that runs apps (below: the node process; the owner of a run has one too).
//
// The problem: a process with threads and a ZeroMQ context cannot fork safely, and an app must be
// able to crash or hang alone. So the helper process is forked before any context and any thread
// exists. It loads the app once and forks an app process for each run on request. It alone waits
// for app processes and it alone kills them, so that no process number is used after its process is
// gone. What an app process has started ends with it. When the node process ends, in whatever way,
// the helper kills all app processes and what they have started.
//
// An object of class Helper is the node process's end of this. `start` is called by the command,
// and everything else by Processes on its one thread. Each `fork` that was sent is answered by an
// Event that it has started or could not; each process that has started, by an Event that it has
// ended.

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/library.hpp"
#include "base/errc.hpp"

namespace vflbus::apps {

struct HelperOptions {
    std::filesystem::path app;
    AppKind kind = AppKind::client;
    /// The app's standard output goes to standard error: ours is for results.
    bool output_to_error = false;
    /// Only checks that the app can be loaded: `fork` must not be called, and the calling process
    /// does not become a subreaper.
    bool only_load = false;
};

class Helper {
  public:
    /// Forks the helper process, and makes the calling process a subreaper: it gets what the app
    /// processes have started if the helper dies. Call it while the process has one thread and no
    /// ZeroMQ context. Errors: usage (no app, another version, not what `kind` says), io.
    static Result<Helper> start(const HelperOptions& options);
    Helper(Helper&& other) noexcept;
    Helper& operator=(Helper&&) = delete;
    Helper(const Helper&) = delete;
    Helper& operator=(const Helper&) = delete;
    /// Ends the helper and all its processes at once, and waits for it.
    ~Helper();

    /// Readable when there is an event, and when the helper has died (end of file).
    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }

    /// Neither call waits. `full`: nothing was sent, as the helper has not read what it was told
    /// before; the caller says it again when `fd` is writable. `gone`: the helper has died.
    enum class Sent : std::uint8_t { yes, full, gone };
    /// Asks the helper for an app process that talks over `socket`; after `yes` the caller closes
    /// its copy. `id`, the caller's number for the process, is never used twice. `kill` of a
    /// process that has ended does nothing.
    [[nodiscard]] Sent fork(std::uint64_t id, int socket);
    [[nodiscard]] Sent kill(std::uint64_t id);

    struct Event {
        std::uint64_t id = 0;
        bool started = false;  ///< as `pid`
        pid_t pid = 0;         ///< 0 when it could not be started
        int status = 0;        ///< of a process that has ended, as waitpid says
        int error = 0;         ///< not started: errno, or 0 when the process has ended
    };
    /// The next event, or nothing; does not wait. `gone` is set: true when the helper has died and
    /// all events before that were taken.
    std::optional<Event> next(bool& gone);

    /// To be called once, when the helper has died; app processes die with their helper. Waits for
    /// the helper, kills all children of this process but those that it had before `start`, and
    /// says how the helper ended: "was ended by signal 9 (Killed)".
    std::string bury();

  private:
    Helper() = default;
    int fd_ = -1;
    pid_t pid_ = -1;
    std::vector<pid_t> others_;  ///< children that this process had before `start`
};

/// "was ended by signal 11 (Segmentation fault)", "ended with exit code 3"
std::string ending_of(int status);
/// "Too many open files", for an errno
std::string text_of(int error);

}  // namespace vflbus::apps
