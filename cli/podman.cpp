#include "podman.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "base/text.hpp"
#include "version.hpp"

namespace vflbus::cli {
namespace {

namespace fs = std::filesystem;

std::string in_path(const std::string& name) {
    const char* const path = std::getenv("PATH");
    for (const std::string& directory : split(path == nullptr ? "/usr/bin:/bin" : path, ':'))
        if (!directory.empty() && ::access((directory + "/" + name).c_str(), X_OK) == 0)
            return directory + "/" + name;
    return {};
}

/// Whether both versions of cgroups are in use, which crun refuses.
bool mixed_cgroups() {
    std::ifstream controllers("/sys/fs/cgroup/unified/cgroup.controllers");
    std::string any;
    return static_cast<bool>(controllers >> any);
}

/// The two ends of a pipe, closed with it.
struct Pipe {
    std::array<int, 2> ends{-1, -1};
    Pipe() = default;
    ~Pipe() {
        close(0);
        close(1);
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    bool open() { return ::pipe2(ends.data(), O_CLOEXEC) == 0; }
    void close(std::size_t end) {
        if (ends[end] >= 0) ::close(ends[end]);
        ends[end] = -1;
    }
};

/// Starts a command that writes into these pipes. Returns 0, or why not as an errno.
int start_command(const std::vector<std::string>& words, const Pipe& out, const Pipe& err,
                  pid_t& pid) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out.ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err.ends[1], 2);
    // Ctrl-C reaches us only; what was begun here comes to its end
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    std::vector<std::string> held = words;
    std::vector<char*> argv;
    for (std::string& word : held) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int failed = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return failed;
}

/// Takes what the command writes until it has closed both pipes. False when that took too long.
bool read_all(Pipe& out, Pipe& err, CommandEnd& end, std::chrono::seconds at_most) {
    const std::array<std::pair<Pipe*, std::string*>, 2> sources{
        {{&out, &end.out}, {&err, &end.err}}};
    const auto until = std::chrono::steady_clock::now() + at_most;
    while (out.ends[0] >= 0 || err.ends[0] >= 0) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        if (left.count() <= 0) return false;
        std::array<pollfd, 2> fds{{{out.ends[0], POLLIN, 0}, {err.ends[0], POLLIN, 0}}};
        ::poll(fds.data(), fds.size(), static_cast<int>(std::min<long>(left.count(), 1000)));
        for (std::size_t i = 0; i < fds.size(); ++i) {
            if (fds[i].fd < 0 || fds[i].revents == 0) continue;
            std::array<char, 8192> buffer;
            const ssize_t n = ::read(fds[i].fd, buffer.data(), buffer.size());
            if (n > 0)
                sources[i].second->append(buffer.data(), static_cast<std::size_t>(n));
            else if (n == 0 || errno != EINTR)
                sources[i].first->close(0);
        }
    }
    return true;
}

}  // namespace

Result<CommandEnd> run_command(const std::vector<std::string>& words,
                               std::chrono::seconds at_most) {
    Pipe out;
    Pipe err;
    if (!out.open() || !err.open()) return fail(Errc::io, "no pipe for " + words[0]);
    pid_t pid = -1;
    if (const int failed = start_command(words, out, err, pid); failed != 0)
        return fail(Errc::io,
                    "cannot start " + words[0] + ": " + std::generic_category().message(failed));
    out.close(1);
    err.close(1);
    CommandEnd end;
    const bool in_time = read_all(out, err, end, at_most);
    if (!in_time) ::kill(pid, SIGKILL);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!in_time)
        return fail(Errc::timed_out, "`" + words[0] + " " + (words.size() > 1 ? words[1] : "") +
                                         "` did not end within " + std::to_string(at_most.count()) +
                                         " s");
    end.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return end;
}

std::string podman_reason(const std::string& err) {
    std::string_view text = trim(err);
    // "Error: ..." is what it ends with; lines of its log may come before and after
    for (const std::string& line : split(text, '\n'))
        if (line.starts_with("Error: ")) return line.substr(7);
    return std::string(text.substr(text.rfind('\n') + 1));
}

Result<Podman> Podman::find() {
    Podman podman;
    const std::string path = in_path("podman");
    if (path.empty())
        return fail(Errc::usage,
                    "there is no podman in PATH; install it (Debian: apt-get install podman), or "
                    "use `vflbus launch --local`");
    podman.words_ = {path};
    if (mixed_cgroups()) {
        if (in_path("runc").empty())
            return fail(Errc::usage,
                        "this machine has both versions of cgroups, which needs runc for "
                        "containers; install it (Debian: apt-get install runc)");
        podman.words_.insert(podman.words_.end(), {"--runtime", "runc"});
    }
    return podman;
}

std::vector<std::string> Podman::command(const std::vector<std::string>& words) const {
    std::vector<std::string> all = words_;
    all.insert(all.end(), words.begin(), words.end());
    return all;
}

Result<std::string> Podman::operator()(const std::vector<std::string>& words) const {
    const auto end = run_command(command(words));
    if (!end) return tl::unexpected(end.error());
    if (end->exit_code != 0)
        return fail(Errc::io, "podman " + words[0] + (words.size() > 1 ? " " + words[1] : "") +
                                  " failed: " + podman_reason(end->err));
    return std::string(trim(end->out));
}

Result<> Podman::has_image(const std::string& image) const {
    const auto end = run_command(command({"image", "exists", image}));
    if (!end) return tl::unexpected(end.error());
    if (end->exit_code == 0) return {};
    if (end->exit_code == 1 && trim(end->err).empty())
        return fail(Errc::usage, "there is no image " + image +
                                     " here; container/build-image makes it of a built vflbus, or "
                                     "name another by --image");
    return fail(Errc::usage, "podman does not work here: " + podman_reason(end->err) +
                                 "; `podman info` must work for this user");
}

std::string image_or_default(const std::string& image) {
    return image.empty() ? "localhost/vflbus:" + std::string(version_text) : image;
}

}  // namespace vflbus::cli
