#include "apps/helper.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

#include "apps/helper_wire.hpp"
#include "apps/nursery.hpp"
#include "apps/orphans.hpp"
#include "base/clock.hpp"

namespace vflbus::apps {
namespace {

/// How long `bury` waits for what it has killed.
constexpr auto bury_patience = std::chrono::seconds(2);

Helper::Sent send_command(int fd, const Command& command, int passed) {
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
    if (sent == static_cast<ssize_t>(sizeof command)) return Helper::Sent::yes;
    return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS
               ? Helper::Sent::full
               : Helper::Sent::gone;
}

}  // namespace

Result<Helper> Helper::start(const HelperOptions& options) {
    std::array<int, 2> pair{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0)
        return fail(Errc::io, "cannot start the helper of apps: " + text_of(errno));
    std::fflush(nullptr);
    if (!options.only_load) adopt_orphans();  // those that the helper would adopt, should it die
    Helper helper;
    helper.others_ = children_of_this_process();
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::close(pair[0]);
        run_nursery(pair[1], options);
    }
    ::close(pair[1]);
    if (pid < 0) {
        const std::string why = text_of(errno);
        ::close(pair[0]);
        return fail(Errc::io, "cannot start the helper of apps: " + why);
    }
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
    : fd_(std::exchange(other.fd_, -1)),
      pid_(std::exchange(other.pid_, -1)),
      others_(std::move(other.others_)) {}

Helper::~Helper() {
    if (fd_ >= 0) ::close(fd_);
    if (pid_ > 0)
        while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
        }
}

Helper::Sent Helper::fork(std::uint64_t id, int socket) {
    return send_command(fd_, {Order::fork, id}, socket);
}

Helper::Sent Helper::kill(std::uint64_t id) {
    return send_command(fd_, {Order::kill, id}, -1);
}

std::optional<Helper::Event> Helper::next(bool& gone) {
    Report report{};
    const ssize_t got = ::recv(fd_, &report, sizeof report, 0);
    gone = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    if (got != static_cast<ssize_t>(sizeof report)) return {};
    return Event{report.id, report.started != 0, report.pid, report.status, report.error};
}

std::string Helper::bury() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    std::string how = "has ended";
    int status = 0;
    if (pid_ > 0 && ::waitpid(std::exchange(pid_, -1), &status, 0) > 0) how = ending_of(status);
    const auto known = [this](pid_t pid) {
        return std::find(others_.begin(), others_.end(), pid) != others_.end();
    };
    for (const auto until = clock_now() + bury_patience; clock_now() < until;) {
        if (kill_unknown_children(known) == 0) break;
        for (const pid_t child : children_of_this_process())
            if (!known(child)) ::waitpid(child, nullptr, WNOHANG);
        ::poll(nullptr, 0, 5);
    }
    return how;
}

std::string text_of(int error) {
    return std::generic_category().message(error);
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
