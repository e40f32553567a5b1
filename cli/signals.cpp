#include "signals.hpp"

#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/errc.hpp"
#include "observe/log.hpp"
#include "output.hpp"
#include "process.hpp"

namespace vflbus::cli {
namespace {

constexpr std::array<int, 3> watched{SIGINT, SIGTERM, SIGHUP};

std::atomic<bus::StopSignal*> stop_signal{nullptr};
std::atomic<void (*)() noexcept> before_exit{nullptr};
std::atomic<Second> on_second{Second::ends};
std::atomic<pid_t> parent{0};  // 0: none that we end with
static_assert(std::atomic<bus::StopSignal*>::is_always_lock_free);
CountedSignals counted;  // read and written by the handler, which does not interrupt itself

constexpr unsigned urgent_patience_s = 3;

std::int64_t monotonic_ms() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

void on_signal(int number) {
    const int saved = errno;
    bus::StopSignal* stop = stop_signal.load();
    const bool closes = on_second.load() == Second::closes;
    const bool orphan = parent.load() != 0 && ::getppid() != parent.load();
    if (number != SIGALRM && !orphan && !counted.counts(number, monotonic_ms())) {
        errno = saved;
        return;
    }
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

std::atomic<const char*> early_sentence{nullptr};

void on_early_signal(int) {
    const char* const sentence = early_sentence.load();
    [[maybe_unused]] const ssize_t written =
        ::write(STDERR_FILENO, sentence, std::strlen(sentence));
    ::_exit(static_cast<int>(ExitCode::interrupted));
}

bool is_ignored(int number) {
    struct sigaction now{};
    return ::sigaction(number, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

/// Stops this process like its children; returns when it goes on.
void on_terminal_stop(int) {
    const int saved = errno;
    signal_children(SIGSTOP);
    ::kill(::getpid(), SIGSTOP);
    signal_children(SIGCONT);
    errno = saved;
}

}  // namespace

int prepare_process(const Common& common) {
    if (common.quiet) observe::log::set_level(observe::log::Level::warn);
    if (common.verbose) observe::log::set_level(observe::log::Level::debug);
    set_output_window(common.parent_columns);
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

// -- one event, one signal ------------------------------------------------------------

bool CountedSignals::counts(int number, std::int64_t now_ms) noexcept {
    // a person's second Ctrl-C comes later than this, what a script hands on comes sooner
    constexpr std::int64_t typed_ms = 150;
    constexpr std::int64_t sent_ms = 1000;
    const bool first = last_ == 0;
    const std::int64_t since = now_ms - last_ms_;
    // a terminal that is closed takes its programs with it, whatever else they were sent
    const bool repeated = number == last_ || number == SIGHUP;
    if (!first && repeated && since < (number == SIGINT ? typed_ms : sent_ms)) return false;
    last_ = number;
    last_ms_ = now_ms;
    return true;
}

SignalScope::SignalScope(bus::StopSignal& stop, void (*at_once)() noexcept, Second second) {
    stop_signal = &stop;
    on_second = second;
    before_exit = at_once;
    counted = {};
    struct sigaction action{};
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);  // they are counted one after another
    for (const int signal : watched) sigaddset(&action.sa_mask, signal);
    action.sa_flags = SA_RESTART;
    for (const int signal : watched)
        if (signal != SIGHUP || !is_ignored(signal)) ::sigaction(signal, &action, nullptr);
    if (second == Second::closes) ::sigaction(SIGALRM, &action, nullptr);
}

SignalScope::~SignalScope() {
    for (const int signal : watched)
        if (!is_ignored(signal)) std::signal(signal, SIG_DFL);
    ::alarm(0);
    stop_signal = nullptr;
    before_exit = nullptr;
}

EarlySignals::EarlySignals(const char* sentence) {
    early_sentence = sentence;
    struct sigaction action{};
    action.sa_handler = on_early_signal;
    sigemptyset(&action.sa_mask);
    for (const int signal : watched)
        if (signal != SIGHUP || !is_ignored(signal)) ::sigaction(signal, &action, nullptr);
}

EarlySignals::~EarlySignals() {
    for (const int signal : watched) {
        struct sigaction now{};
        if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == on_early_signal)
            std::signal(signal, SIG_DFL);
    }
}

StopsWithChildren::StopsWithChildren() {
    if (is_ignored(SIGTSTP)) return;
    struct sigaction action{};
    action.sa_handler = on_terminal_stop;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGTSTP, &action, nullptr);
}

StopsWithChildren::~StopsWithChildren() {
    if (!is_ignored(SIGTSTP)) std::signal(SIGTSTP, SIG_DFL);
}

}  // namespace vflbus::cli
