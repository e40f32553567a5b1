#include "apps/helper.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <system_error>
#include <utility>

#include "apps/child.hpp"

namespace vflbus::apps {
namespace {

enum class Order : std::uint32_t { fork = 1, kill = 2 };

struct Command {
    Order order;
    std::uint64_t id;
};

struct Report {
    std::uint64_t id;
    std::int32_t started;
    std::int32_t pid;
    std::int32_t status;
};

/// What the helper says when it has tried to load the app.
struct Loaded {
    std::int32_t code;
    char sentence[1020];
};

std::string reason(int error) {
    return std::generic_category().message(error);
}

bool send_command(int fd, const Command& command, int passed) {
    iovec part{const_cast<Command*>(&command), sizeof command};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (passed >= 0) {
        message.msg_control = room.data();
        message.msg_controllen = room.size();
        cmsghdr* const extra = CMSG_FIRSTHDR(&message);
        extra->cmsg_level = SOL_SOCKET;
        extra->cmsg_type = SCM_RIGHTS;
        extra->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(extra), &passed, sizeof passed);
    }
    ssize_t sent = -1;
    do sent = ::sendmsg(fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == static_cast<ssize_t>(sizeof command);
}

/// 1: a command, 0: the node is gone, -1: nothing.
int receive_command(int fd, Command& command, int& passed) {
    passed = -1;
    iovec part{&command, sizeof command};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = room.data();
    message.msg_controllen = room.size();
    const ssize_t got = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (got < 0) return errno == EINTR || errno == EAGAIN ? -1 : 0;
    if (got == 0) return 0;
    for (cmsghdr* extra = CMSG_FIRSTHDR(&message); extra != nullptr;
         extra = CMSG_NXTHDR(&message, extra))
        if (extra->cmsg_level == SOL_SOCKET && extra->cmsg_type == SCM_RIGHTS)
            std::memcpy(&passed, CMSG_DATA(extra), sizeof passed);
    return got == static_cast<ssize_t>(sizeof command) ? 1 : -1;
}

/// The helper's own life.
class Nursery {
  public:
    Nursery(int control, const HelperOptions& options) : control_(control), options_(options) {}

    [[noreturn]] void run() {
        // Ctrl-C is for the node, which ends its apps in order; our own end is the end of `control`
        ::setpgid(0, 0);
        for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(number, SIG_IGN);
        std::signal(SIGALRM, SIG_DFL);
        const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (null >= 0) ::dup2(null, STDIN_FILENO);
        if (options_.output_to_error) ::dup2(STDERR_FILENO, STDOUT_FILENO);
        sigset_t mask;
        sigemptyset(&mask);
        sigaddset(&mask, SIGCHLD);
        ::sigprocmask(SIG_BLOCK, &mask, &old_mask_);
        ended_ = ::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
        load();
        for (;;) {
            std::array<pollfd, 2> ready{pollfd{control_, POLLIN, 0}, pollfd{ended_, POLLIN, 0}};
            if (::poll(ready.data(), ready.size(), -1) < 0 && errno != EINTR) leave();
            if ((ready[1].revents & POLLIN) != 0) reap();
            if (ready[0].revents != 0) obey();
        }
    }

  private:
    void load() {
        Loaded loaded{};
        try {
            const auto exported = load_app(options_.app, options_.kind);
            if (exported) {
                exported_ = *exported;
            } else {
                loaded.code = static_cast<std::int32_t>(exported.error().code);
                std::snprintf(loaded.sentence, sizeof loaded.sentence, "%s",
                              exported.error().sentence.c_str());
            }
        } catch (const std::exception& e) {
            loaded.code = static_cast<std::int32_t>(Errc::usage);
            std::snprintf(loaded.sentence, sizeof loaded.sentence, "%s cannot be loaded: %s",
                          options_.app.c_str(), e.what());
        }
        std::fflush(nullptr);
        if (::send(control_, &loaded, sizeof loaded, MSG_NOSIGNAL) < 0 || loaded.code != 0)
            ::_exit(0);
    }

    void obey() {
        Command command{};
        int socket = -1;
        const int got = receive_command(control_, command, socket);
        if (got == 0) leave();
        if (got == 1 && command.order == Order::fork && socket >= 0) begin(command.id, socket);
        if (got == 1 && command.order == Order::kill)
            if (const auto found = pids_.find(command.id); found != pids_.end())
                ::kill(found->second, SIGKILL);
        if (socket >= 0) ::close(socket);
    }

    void begin(std::uint64_t id, int socket) {
        const pid_t helper = ::getpid();
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != helper) ::_exit(0);
            ::close(control_);
            ::close(ended_);
            for (const int number : {SIGTERM, SIGHUP}) std::signal(number, SIG_DFL);
            ::sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
            const int code = options_.kind == AppKind::client ? run_client(socket, *exported_)
                                                              : run_server(socket, *exported_);
            std::fflush(nullptr);
            ::_exit(code);
        }
        if (pid < 0) return tell({id, 0, 0, 127 << 8});
        pids_[id] = pid;
        tell({id, 1, pid, 0});
    }

    void reap() {
        signalfd_siginfo ignored;
        while (::read(ended_, &ignored, sizeof ignored) > 0) {
        }
        for (auto at = pids_.begin(); at != pids_.end();) {
            int status = 0;
            if (::waitpid(at->second, &status, WNOHANG) != at->second) {
                ++at;
                continue;
            }
            tell({at->first, 0, at->second, status});
            at = pids_.erase(at);
        }
    }

    void tell(const Report& report) {
        if (::send(control_, &report, sizeof report, MSG_NOSIGNAL) < 0 && errno == EPIPE) leave();
    }

    [[noreturn]] void leave() {
        for (const auto& [id, pid] : pids_) ::kill(pid, SIGKILL);
        for (const auto& [id, pid] : pids_) ::waitpid(pid, nullptr, 0);
        ::_exit(0);
    }

    int control_;
    HelperOptions options_;
    const app::Exported* exported_ = nullptr;
    sigset_t old_mask_{};
    int ended_ = -1;
    std::map<std::uint64_t, pid_t> pids_;
};

}  // namespace

Result<Helper> Helper::start(const HelperOptions& options) {
    std::array<int, 2> pair{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0)
        return fail(Errc::io, "cannot start the helper of apps: " + reason(errno));
    std::fflush(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::close(pair[0]);
        Nursery(pair[1], options).run();
    }
    ::close(pair[1]);
    if (pid < 0) {
        const std::string why = reason(errno);
        ::close(pair[0]);
        return fail(Errc::io, "cannot start the helper of apps: " + why);
    }
    Helper helper;
    helper.fd_ = pair[0];
    helper.pid_ = pid;
    Loaded loaded{};
    ssize_t got = -1;
    do got = ::recv(helper.fd_, &loaded, sizeof loaded, 0);
    while (got < 0 && errno == EINTR);
    if (got != static_cast<ssize_t>(sizeof loaded)) {
        int status = 0;
        ::waitpid(std::exchange(helper.pid_, -1), &status, 0);
        return fail(Errc::usage, options.app.string() +
                                     " cannot be loaded: the process that did so " +
                                     ending_of(status));
    }
    if (loaded.code != 0) return fail(static_cast<Errc>(loaded.code), loaded.sentence);
    ::fcntl(helper.fd_, F_SETFL, O_NONBLOCK);
    return helper;
}

Helper::Helper(Helper&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), pid_(std::exchange(other.pid_, -1)) {}

Helper::~Helper() {
    if (fd_ >= 0) ::close(fd_);
    if (pid_ > 0)
        while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
        }
}

bool Helper::fork(std::uint64_t id, int socket) {
    return send_command(fd_, {Order::fork, id}, socket);
}

bool Helper::kill(std::uint64_t id) {
    return send_command(fd_, {Order::kill, id}, -1);
}

std::optional<Helper::Event> Helper::next(bool& gone) {
    Report report{};
    const ssize_t got = ::recv(fd_, &report, sizeof report, 0);
    gone = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    if (got != static_cast<ssize_t>(sizeof report)) return {};
    return Event{report.id, report.started != 0, report.pid, report.status};
}

std::string ending_of(int status) {
    if (WIFSIGNALED(status)) {
        const char* const text = ::sigdescr_np(WTERMSIG(status));
        return "was ended by signal " + std::to_string(WTERMSIG(status)) + " (" +
               (text == nullptr ? "unknown" : text) + ")";
    }
    return "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace vflbus::apps
