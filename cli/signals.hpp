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

/// What the second signal does.
enum class Second : std::uint8_t {
    ends,    ///< the process, at once
    closes,  ///< a run without waiting for anybody (StopSignal::urgent); the process 3 s later, or
             ///< by the third signal
};

/// While it lives, the first SIGINT, SIGTERM or SIGHUP sets `stop`; where `second` or a later one
/// ends the process, `at_once` is called before. The end of --parent counts as two signals. One
/// scope at a time.
class SignalScope {
  public:
    explicit SignalScope(bus::StopSignal& stop, void (*at_once)() noexcept = nullptr,
                         Second second = Second::ends);
    ~SignalScope();
    SignalScope(const SignalScope&) = delete;
    SignalScope& operator=(const SignalScope&) = delete;
};

}  // namespace vflbus::cli
