#pragma once
// The broker as a process sees it: bind, run until told to stop.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/errc.hpp"
#include "bus/core/ledger.hpp"
#include "bus/core/limits.hpp"
#include "bus/core/sample.hpp"
#include "bus/core/timings.hpp"
#include "bus/zmq/context.hpp"

namespace vflbus::bus {

struct BrokerOptions {
    std::shared_ptr<Context> context;
    /// tcp://HOST:PORT (port 0: any free one), ipc://PATH, inproc://NAME
    std::vector<std::string> bind;
    /// Allows addresses other than loopback, ipc and inproc: links are in the clear.
    bool insecure = false;
    /// Where broker.key and the allow-list are: every tcp address is encrypted, and only who is on
    /// the list gets in. Empty: in the clear.
    std::filesystem::path certificates;
    Timings timings;
    /// Where runs and nodes are noted, and questions about them answered; null: nothing is kept.
    Ledger* ledger = nullptr;
    Limits limits;
};

/// For `make_context`. With keys an I/O thread spends most of its time on CURVE: two of them let a
/// broker open what comes from one node while it encrypts for another. In the clear a second one
/// only adds a change of threads.
inline int broker_io_threads(const BrokerOptions& options) {
    return options.certificates.empty() ? 1 : 2;
}

class BrokerLoop {
  public:
    virtual ~BrokerLoop() = default;
    /// Binds all addresses. Errors: address (in use, not local, malformed), insecure; those of the
    /// broker's key and of the allow-list.
    static Result<std::unique_ptr<BrokerLoop>> bind(BrokerOptions options);
    /// What was bound, with real port numbers: what nodes connect to.
    [[nodiscard]] virtual const std::vector<std::string>& endpoints() const = 0;
    /// Reads the allow-list again, changed or not. From any thread, and from a signal handler.
    virtual void read_allow_list_again() noexcept = 0;
    /// What it is doing now, from any thread; nothing when `run` is not running, or does not come
    /// to it within a second.
    virtual std::optional<BrokerSample> sample() = 0;
    /// Serves until `stop`; says BYE to all nodes.
    virtual void run(const StopSignal& stop) = 0;
};

}  // namespace vflbus::bus
