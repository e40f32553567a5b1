#pragma once
// The helper of a process that runs apps.
//
// A process with threads and a ZeroMQ context cannot fork safely, and an app must be able to crash
// or hang alone. So the helper is forked before any context and any thread exists. It loads the app
// once and forks a process of it for each run on request. It alone waits for those processes and it
// alone kills them, so that no process number is used after its process is gone. Whatever a process
// of the app has started ends with it; when the node ends, in whatever way, the helper does with
// all that is below it.

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
    /// The caller only asks whether the app can be loaded, and starts no process of it: orphans of
    /// its other children are then not made its own, which it would have to reap.
    bool only_load = false;
};

class Helper {
  public:
    /// Forks. Call it while the process has one thread. Errors: usage (no app, another version, not
    /// what `kind` says), io.
    static Result<Helper> start(const HelperOptions& options);
    Helper(Helper&& other) noexcept;
    Helper& operator=(Helper&&) = delete;
    Helper(const Helper&) = delete;
    Helper& operator=(const Helper&) = delete;
    /// Ends the helper and all its processes at once, and waits for it.
    ~Helper();

    /// Readable when there is an event; at its end when the helper has died.
    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }

    /// Neither call waits. `full`: the helper has not read what it was told before; say it again
    /// when `fd` is writable, for nothing was sent.
    enum class Sent : std::uint8_t { yes, full, gone };
    /// A process of the app that talks over `socket`, which stays the caller's to close. `id` is
    /// the caller's name for it.
    [[nodiscard]] Sent fork(std::uint64_t id, int socket);
    [[nodiscard]] Sent kill(std::uint64_t id);

    struct Event {
        std::uint64_t id = 0;
        bool started = false;  ///< as `pid`; otherwise it has ended, or could not be started
        pid_t pid = 0;
        int status = 0;  ///< as waitpid says
        int error = 0;   ///< errno of a start that failed
    };
    /// What there is without waiting; empty when nothing is, `gone` when the helper has died.
    std::optional<Event> next(bool& gone);

    /// The helper has died: waits for it, ends what its processes have started (they themselves
    /// have died with it), and says how it ended: "was ended by signal 9 (Killed)".
    std::string bury();

  private:
    Helper() = default;
    int fd_ = -1;
    pid_t pid_ = -1;
    std::vector<pid_t> others_;  ///< children that this process had before
};

/// "was ended by signal 11 (Segmentation fault)", "ended with exit code 3"
std::string ending_of(int status);
/// "Too many open files", for an errno
std::string text_of(int error);

}  // namespace vflbus::apps
