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

}  // namespace

Result<CommandEnd> run_command(const std::vector<std::string>& words,
                               std::chrono::seconds at_most) {
    using Clock = std::chrono::steady_clock;
    std::array<int, 2> out{-1, -1};
    std::array<int, 2> err{-1, -1};
    if (::pipe2(out.data(), O_CLOEXEC) != 0) return fail(Errc::io, "no pipe for " + words[0]);
    if (::pipe2(err.data(), O_CLOEXEC) != 0) {
        ::close(out[0]);
        ::close(out[1]);
        return fail(Errc::io, "no pipe for " + words[0]);
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    // Ctrl-C reaches us only; what was begun here comes to its end
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    std::vector<std::string> held = words;
    std::vector<char*> argv;
    for (std::string& word : held) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t pid = -1;
    const int failed = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    ::close(out[1]);
    ::close(err[1]);
    if (failed != 0) {
        ::close(out[0]);
        ::close(err[0]);
        return fail(Errc::io,
                    "cannot start " + words[0] + ": " + std::generic_category().message(failed));
    }
    CommandEnd end;
    std::array<pollfd, 2> fds{{{out[0], POLLIN, 0}, {err[0], POLLIN, 0}}};
    std::array<std::string*, 2> texts{&end.out, &end.err};
    const auto until = Clock::now() + at_most;
    bool late = false;
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
        if (left.count() <= 0) {
            late = true;
            break;
        }
        ::poll(fds.data(), fds.size(), static_cast<int>(std::min<long>(left.count(), 1000)));
        for (std::size_t i = 0; i < fds.size(); ++i) {
            if (fds[i].fd < 0 || fds[i].revents == 0) continue;
            std::array<char, 8192> buffer;
            const ssize_t n = ::read(fds[i].fd, buffer.data(), buffer.size());
            if (n > 0)
                texts[i]->append(buffer.data(), static_cast<std::size_t>(n));
            else if (n == 0 || errno != EINTR) {
                ::close(fds[i].fd);
                fds[i].fd = -1;
            }
        }
    }
    for (pollfd& fd : fds)
        if (fd.fd >= 0) ::close(fd.fd);
    if (late) ::kill(pid, SIGKILL);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (late)
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
