#pragma once
// The broker that `launch` starts on this machine.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "arguments.hpp"
#include "base/errc.hpp"
#include "bus/zmq/context.hpp"
#include "process.hpp"
#include "supervisor.hpp"

namespace vflbus::cli {

struct BrokerPlan {
    Transport transport = Transport::ipc;
    std::filesystem::path log;
    std::vector<std::string> arguments;  ///< beyond --bind and --json
    std::vector<std::string> command;    ///< of its container: ChildOptions::command
    std::string bind;     ///< empty: a private directory (ipc), or any free port of loopback
    std::string address;  ///< where others find it; empty: where it says that it listens
};

/// Holds the broker's address for as long as the run goes on: a broker that is started again comes
/// back where the others look for it.
class LocalBroker {
  public:
    /// Returns when the broker listens. Errors: its own; timed_out after 20 s; cancelled.
    static Result<LocalBroker> start(Supervisor& supervisor, const BrokerPlan& plan,
                                     RestartRule rule, const bus::StopSignal& stop);

    [[nodiscard]] Supervised& process() const noexcept { return *process_; }
    [[nodiscard]] const std::string& address() const noexcept { return address_; }

  private:
    LocalBroker() = default;
    Result<> await_address(Supervisor& supervisor, const bus::StopSignal& stop);

    std::optional<PrivateDirectory> directory_;
    Supervised* process_ = nullptr;
    std::string address_;
};

}  // namespace vflbus::cli
