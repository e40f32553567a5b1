#pragma once
// Child processes that are told what to do line by line, and what they cost.

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace vflbus::bench {

/// A process with its standard input and output on pipes. Killed by the destructor, and by the
/// kernel when the bench itself dies. All calls throw std::runtime_error with a sentence.
class Child {
  public:
    /// `program`: a path. The child's standard error is ours, or is appended to a file.
    Child(const std::string& program, const std::vector<std::string>& arguments,
          const std::string& errors = {});
    Child(Child&& other) noexcept;
    Child& operator=(Child&&) = delete;
    ~Child();

    void say(const std::string& line);
    /// The next line of its output.
    std::string hear(std::chrono::milliseconds patience = std::chrono::seconds(60));

    /// Its exit code once it has ended, or 128 + the signal that ended it. What it prints until
    /// then must fit into a pipe.
    int wait();

    /// Processor time of all its threads so far, or until it was waited for, in seconds.
    [[nodiscard]] double cpu_seconds() const;
    /// A line of /proc/PID/status in bytes: "VmRSS", "VmHWM".
    [[nodiscard]] std::uint64_t memory_bytes(const std::string& key) const;

  private:
    std::string program_;
    pid_t pid_ = -1;
    int in_ = -1;
    int out_ = -1;
    std::string buffer_;
    double ended_cpu_seconds_ = 0;
};

/// Of the calling process; see Child::memory_bytes.
std::uint64_t own_memory_bytes(const std::string& key);

/// The path of this program, and of its neighbor `name` in the same directory.
std::string own_path();
std::string neighbor(const std::string& name);

/// An empty directory that goes with the object.
class ScratchDirectory {
  public:
    ScratchDirectory();
    ~ScratchDirectory();
    ScratchDirectory(const ScratchDirectory&) = delete;
    ScratchDirectory& operator=(const ScratchDirectory&) = delete;
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

  private:
    std::string path_;
};

/// Seconds of a clock that all processes of this host share.
double now_seconds();

}  // namespace vflbus::bench
