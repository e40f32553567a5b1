#pragma once
// What a process of ours does about its parent and about signals.

#include "arguments.hpp"
#include "bus/zmq/context.hpp"

namespace vflbus::cli {

/// Log levels from --quiet and --verbose; with --parent: ends with that process. Not 0: it has
/// gone already, exit with this code.
int prepare_process(const Common& common);

/// While it lives, the first SIGINT, SIGTERM or SIGHUP sets `stop`; the second ends the process at
/// once, with `at_once` called before. One at a time.
class SignalScope {
  public:
    explicit SignalScope(bus::StopSignal& stop, void (*at_once)() noexcept = nullptr);
    ~SignalScope();
    SignalScope(const SignalScope&) = delete;
    SignalScope& operator=(const SignalScope&) = delete;
};

}  // namespace vflbus::cli
