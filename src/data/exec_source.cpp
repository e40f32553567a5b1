#include "data/exec_source.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "data/formats.hpp"
#include "data/place.hpp"

extern char** environ;

namespace vflbus::data {
namespace {

using Clock = std::chrono::steady_clock;

/// As much of the end of a command's standard error as is kept.
constexpr std::size_t error_bytes_max = 2'000;
constexpr auto grace = std::chrono::seconds(2);

struct Pipe {
    int read = -1;
    int write = -1;

    Pipe() = default;
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    ~Pipe() {
        close_read();
        close_write();
    }
    bool open() {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
        read = ends[0];
        write = ends[1];
        return true;
    }
    void close_read() {
        if (read >= 0) ::close(std::exchange(read, -1));
    }
    void close_write() {
        if (write >= 0) ::close(std::exchange(write, -1));
    }
};

/// A command and what it started: a process group of its own, which is killed as one.
class Command {
  public:
    explicit Command(const SourceOptions& options)
        : options_(options), place_{options.party, "exec:" + options.location} {}
    Command(const Command&) = delete;
    Command& operator=(const Command&) = delete;
    ~Command() {
        if (pid_ > 0) kill_and_wait();
    }

    /// What it writes to its standard output.
    Result<Input> run() {
        if (!out_.open() || !err_.open()) return refuse("cannot be started", std::strerror(errno));
        if (auto ok = start(); !ok) return tl::unexpected(ok.error());
        out_.close_write();
        err_.close_write();
        if (auto ok = receive(); !ok) return tl::unexpected(ok.error());
        if (auto ok = wait(); !ok) return tl::unexpected(ok.error());
        return spool_.finish();
    }

  private:
    /// `what` goes to others too; `detail`, which may quote data, does not.
    tl::unexpected<Failure> refuse(std::string_view what, std::string_view detail) const {
        const std::string text = " " + std::string(what);
        const std::string more = detail.empty() ? "" : ": " + printable(detail);
        return tl::unexpected(fault(Errc::io, place_, text + more, text));
    }

    Result<> start() {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawnattr_init(&attributes);
        ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        ::posix_spawn_file_actions_adddup2(&actions, out_.write, STDOUT_FILENO);
        ::posix_spawn_file_actions_adddup2(&actions, err_.write, STDERR_FILENO);
        ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
        // this process may ignore or block signals that the command has to obey
        sigset_t all;
        sigset_t none;
        ::sigfillset(&all);
        ::sigemptyset(&none);
        ::posix_spawnattr_setsigdefault(&attributes, &all);
        ::posix_spawnattr_setsigmask(&attributes, &none);
        ::posix_spawnattr_setpgroup(&attributes, 0);
        ::posix_spawnattr_setflags(
            &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
        std::string shell = "sh";
        std::string flag = "-c";
        std::string command = options_.location;
        std::array<char*, 4> words = {shell.data(), flag.data(), command.data(), nullptr};
        const int error =
            ::posix_spawn(&pid_, "/bin/sh", &actions, &attributes, words.data(), environ);
        ::posix_spawn_file_actions_destroy(&actions);
        ::posix_spawnattr_destroy(&attributes);
        if (error == 0) return {};
        pid_ = 0;
        return refuse("cannot be started", std::strerror(error));
    }

    /// Reads both streams until they end, or the time is up.
    Result<> receive() {
        const auto deadline =
            Clock::now() + std::chrono::duration_cast<Clock::duration>(options_.timeout);
        std::array<pollfd, 2> wanted = {pollfd{out_.read, POLLIN, 0}, pollfd{err_.read, POLLIN, 0}};
        while (wanted[0].fd >= 0 || wanted[1].fd >= 0) {
            const auto left =
                std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
            if (left.count() <= 0)
                return refuse("did not end within " + human_seconds(options_.timeout.count()) +
                                  " (source_timeout)",
                              errors_);
            const int ready = ::poll(wanted.data(), wanted.size(),
                                     static_cast<int>(std::min<std::int64_t>(left.count(), 1'000)));
            if (ready < 0 && errno != EINTR) return refuse("cannot be read", std::strerror(errno));
            if (ready <= 0) continue;
            if (auto ok = take(wanted[0], false); !ok) return ok;
            if (auto ok = take(wanted[1], true); !ok) return ok;
        }
        return {};
    }

    Result<> take(pollfd& from, bool is_error) {
        if (from.fd < 0 || from.revents == 0) return {};
        std::array<char, 65'536> block{};
        const ssize_t n = ::read(from.fd, block.data(), block.size());
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) return {};
        if (n <= 0) {
            from.fd = -1;
            return {};
        }
        const auto count = static_cast<std::size_t>(n);
        if (!is_error) {
            auto ok = spool_.append(block.data(), count);
            if (!ok) return refuse(ok.error().sentence, {});
            return {};
        }
        errors_.append(block.data(), count);
        if (errors_.size() > error_bytes_max) errors_.erase(0, errors_.size() - error_bytes_max);
        return {};
    }

    Result<> wait() {
        siginfo_t ended{};
        while (::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOWAIT) < 0)
            if (errno != EINTR) return refuse("cannot be waited for", std::strerror(errno));
        // what it left running in the background must not go on for ever; while the command is not
        // reaped its number is nobody else's
        ::kill(-pid_, SIGTERM);
        int status = 0;
        ::waitpid(std::exchange(pid_, 0), &status, 0);
        const std::string said = last_lines();
        if (WIFSIGNALED(status))
            return refuse("was killed by signal " + std::to_string(WTERMSIG(status)), said);
        if (WEXITSTATUS(status) == 127) return refuse("was not found (code 127)", said);
        if (WEXITSTATUS(status) != 0)
            return refuse("ended with code " + std::to_string(WEXITSTATUS(status)), said);
        if (spool_.size() == 0) return refuse("wrote nothing to its standard output", said);
        return {};
    }

    /// The last three lines of standard error, as one.
    std::string last_lines() const {
        std::vector<std::string> lines;
        for (const std::string& line : split(errors_, '\n'))
            if (!trim(line).empty()) lines.emplace_back(trim(line));
        std::string text;
        for (std::size_t i = lines.size() > 3 ? lines.size() - 3 : 0; i < lines.size(); ++i)
            text += (text.empty() ? "" : " / ") + lines[i];
        return text;
    }

    void kill_and_wait() {
        ::kill(-pid_, SIGTERM);
        const auto deadline = Clock::now() + grace;
        while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
            if (Clock::now() > deadline) {
                ::kill(-pid_, SIGKILL);
                ::waitpid(pid_, nullptr, 0);
                break;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        ::kill(-pid_, SIGKILL);
        pid_ = 0;
    }

    const SourceOptions& options_;
    Place place_;
    Pipe out_;
    Pipe err_;
    pid_t pid_ = 0;
    Spool spool_;
    std::string errors_;
};

}  // namespace

Result<std::unique_ptr<Source>> open_exec(const SourceOptions& options) {
    auto output = Command(options).run();
    if (!output) return tl::unexpected(std::move(output.error()));
    std::vector<NamedInput> parts;
    parts.push_back({"exec:" + options.location, std::move(*output)});
    return open_bytes(options, std::move(parts));
}

}  // namespace vflbus::data
