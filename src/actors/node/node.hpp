#pragma once
// A node as a process sees it: connect to a broker, serve a ClientApp, drive ServerApps.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/node/app.hpp"
#include "actors/node/node_core.hpp"
#include "base/errc.hpp"
#include "bus/core/limits.hpp"
#include "bus/core/timings.hpp"
#include "bus/keys/key_files.hpp"
#include "bus/zmq/context.hpp"

namespace vflbus::bus {
class LinkLoop;
}

namespace vflbus::actors {

struct NodeOptions {
    std::shared_ptr<bus::Context> context;
    std::string broker;  ///< tcp://HOST:PORT, ipc://PATH or inproc://NAME
    std::string name;    ///< e.g. member-2
    std::string role;    ///< master, member, arbiter, serverapp, node
    /// With which keys it connects over tcp; none: in the clear.
    bus::KeySource keys{};
    std::int64_t rank = -1;
    /// Holds the node's lock and incarnation; one process per directory.
    std::filesystem::path state_dir;
    bus::Timings timings;
    bus::Limits limits;
    /// How long `drive` and `serve` keep trying to reach a broker that never answered.
    Duration connect_timeout = std::chrono::seconds(3600);
    /// How long a run that this node serves outlives the link to the broker.
    Duration link_timeout = std::chrono::seconds(360);
    /// Handlers at once; runs beyond it wait for their turn. 0: one per processor, 2 at least.
    std::size_t workers = 0;
    /// What this node can do beyond the protocol's core, for HELLO: "apps".
    std::vector<std::string> features;
    /// Extensions that this process tells the broker with HELLO, and the numbers of those that it
    /// knows in the broker's WELCOME, an owner's OPEN or a participant's JOIN.
    bus::Extensions extensions{};
    bus::ExtensionNumbers extensions_understood{};
    /// Called after each handler: it copies and returns. May be empty.
    std::function<void(const HandledRequest&)> on_handled;
    /// Called when the node starts, has waited some seconds for something, or has lost the broker:
    /// one line for people.
    std::function<void(const std::string&)> on_waiting;
};

/// What `workers` = 0 means: one per processor, 2 at least.
std::size_t workers_of(std::size_t configured);

class Node {
  public:
    virtual ~Node() = default;

    /// Takes the state directory's lock and resolves the broker's host name (with a deadline, again
    /// after every disconnect). Does not wait for the broker. Errors: io, address, usage.
    static Result<std::unique_ptr<Node>> create(NodeOptions options);

    /// A node without a directory, over a loop of the caller's. For tests, which decide with it
    /// when a thread's poll returns, and with what.
    static std::unique_ptr<Node> over(NodeOptions options, std::unique_ptr<bus::LinkLoop> loop);

    /// Who answers questions about runs; before `serve` and `drive`.
    virtual void on_query(QueryHandler handler) = 0;

    /// Serves every run that invites this node, until `stop`; with `once` until the first run it
    /// took part in has ended, and returns that run's ending. Errors: superseded, name_taken,
    /// unreachable (never reached the broker), ...
    virtual Result<Ending> serve(ClientApp app, const bus::StopSignal& stop, bool once) = 0;

    /// Drives one run to its end. When `stop` is set, the run is closed with `cancelled` first.
    virtual Result<Ending> drive(ServerApp& app, const bus::StopSignal& stop) = 0;

    /// The app that is served has answered an invitation with `held`, and may answer otherwise now.
    /// From any thread.
    virtual void reconsider(const RunId& run) = 0;

    /// What its link is doing now. From any thread.
    virtual bus::LinkSample sample() = 0;

    /// Ends `serve` or `drive`, the one that runs now or comes next, with this failure: something
    /// that the node cannot do without is gone. From any thread.
    virtual void end_with(Failure failure) = 0;
};

}  // namespace vflbus::actors
