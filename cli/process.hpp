#pragma once
// A process that this one started: its output, its end, and that it never outlives us.

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::cli {

struct ChildOptions {
    std::string name;                    ///< for sentences: "member-0"
    std::vector<std::string> arguments;  ///< of this very program, without its own name
    std::filesystem::path log;           ///< standard error is appended here; empty: our own
    /// Another program and its first arguments, in place of this one: `podman run ...`. It ends
    /// with us as well; exit codes above 130 are those of a signal that it tells us of.
    std::vector<std::string> command;
};

/// This program again, by posix_spawn of /proc/self/exe, in a process group of its own (Ctrl-C
/// reaches the parent only, which ends the others in order) and without VFLBUS_* variables. It is
/// told our process id and ends with us whatever happens to us. Start children before any ZeroMQ
/// context exists.
class Child {
  public:
    static Result<Child> spawn(const ChildOptions& options);

    Child(Child&& other) noexcept;
    Child& operator=(Child&& other) = delete;
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    /// Ends the process at once if it still runs, and reaps it.
    ~Child();

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const std::filesystem::path& log() const noexcept { return log_; }
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] bool running() const noexcept { return running_; }
    /// Readable when there is output; -1 after its end.
    [[nodiscard]] int output_fd() const noexcept { return output_fd_; }
    /// Readable when the process has ended; -1 once reaped.
    [[nodiscard]] int end_fd() const noexcept { return end_fd_; }

    /// What it has written to standard output so far.
    [[nodiscard]] const std::string& output() const noexcept { return output_; }
    /// Takes what can be read without waiting.
    void read_output();
    /// True when it has ended (now or before); takes the rest of its output then.
    bool reap();
    void signal(int number) noexcept;

    /// After its end: what it exited with, or 128 + the signal that ended it.
    [[nodiscard]] int exit_status() const noexcept { return exit_status_; }
    /// The signal that ended it; 0 when none did.
    [[nodiscard]] int by_signal() const noexcept { return by_signal_; }
    /// "ended with exit code 3", "was ended by signal 9 (Killed)".
    [[nodiscard]] std::string ending() const;

  private:
    Child() = default;

    std::string name_;
    std::filesystem::path log_;
    pid_t pid_ = -1;
    bool running_ = false;
    int output_fd_ = -1;
    int end_fd_ = -1;
    int exit_status_ = 0;
    int by_signal_ = 0;
    bool foreign_ = false;  ///< not this program
    std::string output_;
};

/// --tied PID COMMAND...: that command in place of this process, ended when process PID ends.
/// Returns only the exit code of what could not be started.
int run_tied(int argc, char** argv);

/// To all children that run. Async-signal-safe.
void signal_children(int number) noexcept;
/// Ends all children at once. Async-signal-safe.
void kill_children() noexcept;

/// A directory that only this user may enter, removed with all that is in it.
class PrivateDirectory {
  public:
    /// Errors: io, with what can be done about it.
    static Result<PrivateDirectory> create(std::string_view remedy);
    PrivateDirectory(PrivateDirectory&& other) noexcept;
    PrivateDirectory& operator=(PrivateDirectory&& other) = delete;
    PrivateDirectory(const PrivateDirectory&) = delete;
    PrivateDirectory& operator=(const PrivateDirectory&) = delete;
    ~PrivateDirectory();
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

  private:
    PrivateDirectory() = default;
    std::filesystem::path path_;
};

/// The names of files in the private directory that `remove_private_directory` removes besides.
void note_private_files(const std::vector<std::string>& names);
/// Removes the socket `bus` and the noted files in the private directory, and the directory.
/// Async-signal-safe.
void remove_private_directory() noexcept;

/// The keys that a launch has made for its run, in a directory of PrivateDirectory::create(), when
/// that launch was killed and cannot remove them. Any other directory stays as it is.
void remove_private_keys(const std::filesystem::path& directory) noexcept;

}  // namespace vflbus::cli
