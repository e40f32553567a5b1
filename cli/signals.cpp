#include "signals.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>

#include "base/errc.hpp"
#include "observe/log.hpp"

namespace vflbus::cli {
namespace {

constexpr std::array<int, 3> watched{SIGINT, SIGTERM, SIGHUP};

std::atomic<bus::StopSignal*> target{nullptr};
std::atomic<void (*)() noexcept> before_exit{nullptr};
std::atomic<Second> on_second{Second::ends};
std::atomic<pid_t> parent{0};  // 0: none that we end with
static_assert(std::atomic<bus::StopSignal*>::is_always_lock_free);

constexpr unsigned urgent_patience_s = 3;

void on_signal(int number) {
    const int saved = errno;
    bus::StopSignal* stop = target.load();
    const bool closes = on_second.load() == Second::closes;
    const bool orphan = parent.load() != 0 && ::getppid() != parent.load();
    if (stop != nullptr && !stop->stopped()) {
        stop->stop();
        // the others end as well: there is nobody to end things in order with
        if (orphan && closes) {
            stop->stop();
            ::alarm(urgent_patience_s);
        }
    } else if (stop != nullptr && closes && !stop->urgent() && number != SIGALRM) {
        stop->stop();
        ::alarm(urgent_patience_s);
    } else {
        if (const auto last = before_exit.load()) last();
        ::_exit(static_cast<int>(ExitCode::interrupted));
    }
    errno = saved;
}

}  // namespace

int prepare_process(const Common& common) {
    if (common.quiet) observe::log::set_level(observe::log::Level::warn);
    if (common.verbose) observe::log::set_level(observe::log::Level::debug);
    if (common.parent) {
        ::prctl(PR_SET_PDEATHSIG, common.parent_goes_on ? SIGKILL : SIGTERM);
        parent = *common.parent;
        if (::getppid() != *common.parent) return static_cast<int>(ExitCode::interrupted);
    }
    return 0;
}

bool orphaned(const Common& common) {
    return common.parent && ::getppid() != *common.parent;
}

SignalScope::SignalScope(bus::StopSignal& stop, void (*at_once)() noexcept, Second second) {
    target = &stop;
    on_second = second;
    before_exit = at_once;
    struct sigaction action{};
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);  // they are counted one after another
    for (const int signal : watched) sigaddset(&action.sa_mask, signal);
    action.sa_flags = SA_RESTART;
    for (const int signal : watched) ::sigaction(signal, &action, nullptr);
    if (second == Second::closes) ::sigaction(SIGALRM, &action, nullptr);
}

SignalScope::~SignalScope() {
    for (const int signal : watched) std::signal(signal, SIG_DFL);
    ::alarm(0);
    target = nullptr;
    before_exit = nullptr;
}

}  // namespace vflbus::cli
