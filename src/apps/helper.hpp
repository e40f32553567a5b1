#pragma once
// The helper of a process that runs apps: forked before any ZeroMQ context and any thread exists,
// it loads the app once and forks a process of it for each run on request. It alone reaps them, and
// it alone kills them, so that no process number is used after its process is gone.

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "apps/library.hpp"
#include "base/errc.hpp"

namespace vflbus::apps {

struct HelperOptions {
    std::filesystem::path app;
    AppKind kind = AppKind::client;
    /// The app's standard output goes to standard error: ours is for results.
    bool output_to_error = false;
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

    /// A process of the app that talks over `socket`, which stays the caller's to close. `id` is
    /// the caller's name for it. False: the helper is gone.
    bool fork(std::uint64_t id, int socket);
    bool kill(std::uint64_t id);

    struct Event {
        std::uint64_t id = 0;
        bool started = false;  ///< pid; otherwise it has ended (or could not be started): status
        pid_t pid = 0;
        int status = 0;  ///< as waitpid says
    };
    /// What there is without waiting; empty when nothing is, `gone` when the helper has died.
    std::optional<Event> next(bool& gone);

  private:
    Helper() = default;
    int fd_ = -1;
    pid_t pid_ = -1;
};

/// "was ended by signal 11 (Segmentation fault)", "ended with exit code 3"
std::string ending_of(int status);

}  // namespace vflbus::apps
