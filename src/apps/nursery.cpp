#include "apps/nursery.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>

#include "apps/child.hpp"
#include "apps/helper_wire.hpp"
#include "apps/library.hpp"
#include "apps/orphans.hpp"
#include "base/clock.hpp"

namespace vflbus::apps {
namespace {

/// How long the helper waits at its own end for processes that it has killed. One in an
/// uninterruptible wait of the kernel may take longer; it has its signal.
constexpr auto last_wait = std::chrono::seconds(5);

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

/// Starts processes of the app, and sees to it that nothing of one outlives it. Each leads a
/// process group, so that what it has started ends with it; and it is the subreaper of what has
/// left the group. When it ends, those orphans become children of the helper, which kills every
/// child that is no process of the app itself.
class Nursery {
  public:
    Nursery(int control, const HelperOptions& options) : control_(control), options_(options) {}

    [[noreturn]] void run() {
        // Ctrl-C is for the node, which ends its apps in order; our own end is the end of `control`
        ::setpgid(0, 0);
        adopt_orphans();
        drop_descriptors();
        for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(number, SIG_IGN);
        // a crash of the app ends it by its signal, whatever its node does with one of its own
        for (const int number : {SIGALRM, SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL})
            std::signal(number, SIG_DFL);
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
    /// What the node had open is not ours: an end of another helper's socket that stays open here
    /// would keep that helper from seeing that its node is gone.
    void drop_descriptors() {
        constexpr int own = STDERR_FILENO + 1;
        if (control_ != own) ::dup2(control_, own);
        control_ = own;
        ::fcntl(control_, F_SETFD, FD_CLOEXEC);
        ::close_range(static_cast<unsigned>(own) + 1, ~0U, 0);
    }

    void load() {
        Loaded loaded{};
        const auto refuse = [&loaded](Errc code, const std::string& sentence) {
            loaded.code = static_cast<std::int32_t>(code);
            std::snprintf(loaded.sentence, sizeof loaded.sentence, "%s", sentence.c_str());
        };
        try {
            const auto exported = load_app(options_.app, options_.kind);
            if (exported)
                exported_ = *exported;
            else
                refuse(exported.error().code, exported.error().sentence);
        } catch (const std::exception& e) {
            refuse(Errc::usage, options_.app.string() + " cannot be loaded: " + e.what());
        }
        if (ended_ < 0) refuse(Errc::io, "the helper of apps has no descriptor to be had");
        std::fflush(nullptr);
        if (::send(control_, &loaded, sizeof loaded, MSG_NOSIGNAL) < 0 || loaded.code != 0)
            ::_exit(0);
    }

    void obey() {
        Command command{};
        int socket = -1;
        const int got = receive_command(control_, command, socket);
        if (got == 0) leave();
        if (got == 1 && command.order == Order::fork) begin(command.id, socket);
        if (got == 1 && command.order == Order::kill)
            if (const auto found = pids_.find(command.id); found != pids_.end())
                kill_group(found->second);
        if (socket >= 0) ::close(socket);
    }

    static void kill_group(pid_t leader) {
        ::kill(-leader, SIGKILL);
        ::kill(leader, SIGKILL);
    }

    void begin(std::uint64_t id, int socket) {
        // a helper without descriptors gets a command without the one that was passed
        if (socket < 0) return tell({id, 0, 0, 0, EMFILE});
        const pid_t helper = ::getpid();
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::setpgid(0, 0);
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != helper) ::_exit(0);
            adopt_orphans();
            ::close(control_);
            ::close(ended_);
            for (const int number : {SIGTERM, SIGHUP}) std::signal(number, SIG_DFL);
            ::sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
            const int code = options_.kind == AppKind::client ? run_client(socket, *exported_)
                                                              : run_server(socket, *exported_);
            std::fflush(nullptr);
            ::_exit(code);
        }
        if (pid < 0) return tell({id, 0, 0, 0, errno});
        ::setpgid(pid, pid);  // as the child does: a kill may come before it has
        pids_[id] = pid;
        ids_[pid] = id;
        tell({id, 1, pid, 0, 0});
    }

    /// Those that have ended, and what they leave behind.
    void reap() {
        signalfd_siginfo ignored;
        while (::read(ended_, &ignored, sizeof ignored) > 0) {
        }
        bool any = false;
        for (;;) {
            siginfo_t info{};
            if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
                break;
            any = true;
            const pid_t pid = info.si_pid;
            const auto found = ids_.find(pid);
            // its group goes while its number is still taken, so that no other can have it
            if (found != ids_.end()) ::kill(-pid, SIGKILL);
            int status = 0;
            ::waitpid(pid, &status, 0);
            if (found == ids_.end()) continue;  // an orphan
            tell({found->second, 0, pid, status, 0});
            pids_.erase(found->second);
            ids_.erase(found);
        }
        if (any) kill_orphans();
    }

    /// Each that ends comes by `reap`, which looks for what it leaves in turn.
    void kill_orphans() {
        kill_unknown_children([this](pid_t pid) { return ids_.count(pid) != 0; });
    }

    void tell(const Report& report) {
        if (::send(control_, &report, sizeof report, MSG_NOSIGNAL) < 0 && errno == EPIPE) leave();
    }

    [[noreturn]] void leave() {
        for (const auto& [id, pid] : pids_) kill_group(pid);
        pids_.clear();
        ids_.clear();
        for (const auto until = clock_now() + last_wait; clock_now() < until;) {
            pid_t got = 0;
            while ((got = ::waitpid(-1, nullptr, WNOHANG)) > 0) {
            }
            if (got < 0 && errno == ECHILD) break;
            kill_orphans();
            pollfd ready{ended_, POLLIN, 0};
            ::poll(&ready, 1, 20);
            signalfd_siginfo ignored;
            while (::read(ended_, &ignored, sizeof ignored) > 0) {
            }
        }
        ::_exit(0);
    }

    int control_;
    HelperOptions options_;
    const app::Exported* exported_ = nullptr;
    sigset_t old_mask_{};
    int ended_ = -1;  ///< readable when a child has ended
    std::map<std::uint64_t, pid_t> pids_;
    std::map<pid_t, std::uint64_t> ids_;
};

}  // namespace

void run_nursery(int control, const HelperOptions& options) {
    Nursery(control, options).run();
}

}  // namespace vflbus::apps
