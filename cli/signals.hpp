#pragma once
// What a process of ours does about its parent and about signals.

#include <cstdint>

#include "arguments.hpp"
#include "bus/zmq/context.hpp"

namespace vflbus::cli {

/// Log levels from --quiet and --verbose; with --parent: ends with that process. Not 0: it has
/// gone already, exit with this code.
int prepare_process(const Common& common);

/// Whether --parent is gone.
bool orphaned(const Common& common);

/// The last line of what serves until a signal ends it.
inline constexpr const char* ended_by_signal = "ended in order, as a signal asked";

/// What the second signal does.
enum class Second : std::uint8_t {
    ends,    ///< the process, at once
    closes,  ///< a run without waiting for anybody (StopSignal::urgent); the process 3 s later, or
             ///< by the third signal
};

/// While it lives, the first SIGINT, SIGTERM or SIGHUP sets `stop`; where `second` or a later one
/// ends the process, `at_once` is called before. The end of --parent counts as two signals. One
/// scope at a time.
///
/// What one event sends is one signal. `timeout` sends SIGTERM to its command and then to the whole
/// group, a shell and the kernel each send SIGHUP when a terminal is closed, and Ctrl-C reaches a
/// command that is started by a script twice. So a signal counts only some time after the last one
/// (CountedSignals). SIGHUP that was ignored when this process was started, as nohup does, stays
/// ignored. SIGINT does not: a script's `vflbus launch &` has it ignored, and `kill -INT` still
/// ends it in order.
class SignalScope {
  public:
    explicit SignalScope(bus::StopSignal& stop, void (*at_once)() noexcept = nullptr,
                         Second second = Second::ends);
    ~SignalScope();
    SignalScope(const SignalScope&) = delete;
    SignalScope& operator=(const SignalScope&) = delete;
};

/// From its making until a SignalScope begins, a signal ends the process with exit code 130 and one
/// sentence: of a command that has nothing yet that would have to end in order. `sentence` outlives
/// it.
class EarlySignals {
  public:
    explicit EarlySignals(const char* sentence);
    ~EarlySignals();
    EarlySignals(const EarlySignals&) = delete;
    EarlySignals& operator=(const EarlySignals&) = delete;
};

/// Which signals are events of their own. Async-signal-safe.
class CountedSignals {
  public:
    /// Whether signal `number`, which arrives at `now_ms`, counts.
    bool counts(int number, std::int64_t now_ms) noexcept;

  private:
    int last_ = 0;
    std::int64_t last_ms_ = 0;
};

/// While it lives, Ctrl-Z (SIGTSTP) stops the children of this process as well, which have process
/// groups of their own, and SIGCONT lets them go on with it.
class StopsWithChildren {
  public:
    StopsWithChildren();
    ~StopsWithChildren();
    StopsWithChildren(const StopsWithChildren&) = delete;
    StopsWithChildren& operator=(const StopsWithChildren&) = delete;
};

}  // namespace vflbus::cli
