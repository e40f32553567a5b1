#include "process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <utility>

extern char** environ;

namespace vflbus::bench {
namespace {

[[noreturn]] void give_up(const std::string& what) {
    throw std::runtime_error(what + ": " + std::strerror(errno));
}

std::uint64_t memory_of(const std::string& pid, const std::string& key) {
    std::ifstream status("/proc/" + pid + "/status");
    std::string line;
    while (std::getline(status, line))
        if (line.rfind(key + ":", 0) == 0)
            return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10) * 1024;
    throw std::runtime_error("no " + key + " in /proc/" + pid + "/status");
}

}  // namespace

Child::Child(const std::string& program, const std::vector<std::string>& arguments,
             const std::string& errors)
    : program_(program) {
    int to[2];
    int from[2];
    if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) give_up("pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    if (!errors.empty())
        posix_spawn_file_actions_addopen(&actions, 2, errors.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                         0644);
    std::vector<char*> argv{program_.data()};
    std::vector<std::string> copies = arguments;
    for (std::string& argument : copies) argv.push_back(argument.data());
    argv.push_back(nullptr);
    errno = ::posix_spawn(&pid_, program_.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(to[0]);
    ::close(from[1]);
    in_ = to[1];
    out_ = from[0];
    if (errno != 0) {
        pid_ = -1;
        give_up("cannot start " + program_);
    }
}

Child::Child(Child&& other) noexcept
    : program_(std::move(other.program_)),
      pid_(std::exchange(other.pid_, -1)),
      in_(std::exchange(other.in_, -1)),
      out_(std::exchange(other.out_, -1)),
      buffer_(std::move(other.buffer_)) {}

Child::~Child() {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    if (in_ >= 0) ::close(in_);
    if (out_ >= 0) ::close(out_);
}

void Child::say(const std::string& line) {
    const std::string text = line + "\n";
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t n = ::write(in_, text.data() + done, text.size() - done);
        if (n < 0 && errno != EINTR) give_up(program_ + " does not listen");
        if (n > 0) done += static_cast<std::size_t>(n);
    }
}

std::string Child::hear(std::chrono::milliseconds patience) {
    const double until = now_seconds() + std::chrono::duration<double>(patience).count();
    for (;;) {
        if (const auto end = buffer_.find('\n'); end != std::string::npos) {
            std::string line = buffer_.substr(0, end);
            buffer_.erase(0, end + 1);
            if (line.rfind("error ", 0) == 0) throw std::runtime_error(line.substr(6));
            return line;
        }
        const double left = until - now_seconds();
        pollfd fd{out_, POLLIN, 0};
        const int ready = left > 0 ? ::poll(&fd, 1, static_cast<int>(left * 1000) + 1) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0)
            throw std::runtime_error(program_ + " (process " + std::to_string(pid_) +
                                     ") does not answer");
        char chunk[4096];
        const ssize_t n = ::read(out_, chunk, sizeof chunk);
        if (n == 0) throw std::runtime_error(program_ + " has ended");
        if (n < 0 && errno != EINTR) give_up("read");
        if (n > 0) buffer_.append(chunk, static_cast<std::size_t>(n));
    }
}

int Child::wait() {
    int status = 0;
    rusage usage{};
    while (::wait4(pid_, &status, 0, &usage) < 0)
        if (errno != EINTR) give_up("cannot wait for " + program_);
    pid_ = -1;
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    ended_cpu_seconds_ = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

double Child::cpu_seconds() const {
    if (pid_ < 0) return ended_cpu_seconds_;
    clockid_t clock;
    timespec time{};
    if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &time) != 0)
        throw std::runtime_error(program_ + " has no processor clock");
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::uint64_t Child::memory_bytes(const std::string& key) const {
    return memory_of(std::to_string(pid_), key);
}

std::uint64_t own_memory_bytes(const std::string& key) {
    return memory_of("self", key);
}

std::string own_path() {
    return std::filesystem::read_symlink("/proc/self/exe").string();
}

std::string neighbor(const std::string& name) {
    return (std::filesystem::path(own_path()).parent_path() / name).string();
}

ScratchDirectory::ScratchDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "vflbus-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) give_up("cannot make " + name);
    path_ = name;
}

ScratchDirectory::~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

double now_seconds() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace vflbus::bench
