#pragma once
// What a node does with what its link tells it: contexts of the runs it serves, and the run it
// drives. Free of I/O: a process (node.cpp), the simulator and tests feed it.
//
// Handlers run with the lock released, so that somebody else can keep the link alive meanwhile. One
// ordered strand: the next event is handled when the handler of the last has returned.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "actors/app.hpp"
#include "bus/core/link_core.hpp"

namespace vflbus::actors {

/// Guards the link. The default does nothing (one thread).
class NodeLock {
  public:
    virtual ~NodeLock() = default;
    virtual void lock() {}
    virtual void unlock() {}
};

struct NodeCoreConfig {
    std::string name;
    std::string role;
    std::int64_t rank = -1;
    std::uint64_t incarnation = 0;
    std::string version;
    std::function<TimePoint()> now;
    /// Contexts end when the broker was not heard of for so long.
    Duration link_timeout = std::chrono::seconds(360);
};

class NodeCore {
  public:
    /// `link` and `lock` must outlive this.
    NodeCore(NodeCoreConfig config, bus::LinkCore& link, NodeLock& lock);
    ~NodeCore();
    NodeCore(const NodeCore&) = delete;
    NodeCore& operator=(const NodeCore&) = delete;

    /// Takes part in the runs that invite this node.
    void serve(ClientApp app);
    /// Opens the app's run. One at a time.
    void drive(ServerApp& app);
    /// Asks the driven app to stop; `at_once` closes its run over its head.
    void stop_driven(bool at_once);

    /// Handles all events of the link and the timer of the driven app. Called with the lock held.
    void pump();
    /// When the driven app wants `pump` for its timer.
    [[nodiscard]] TimePoint next_deadline() const;
    /// Called with the lock held by whoever keeps the link while a handler runs: cancels contexts
    /// whose end has arrived.
    void note_endings();
    /// The node is to stop: handlers that look at it return early.
    void cancel_handlers();

    // -- properties ------------------------------------------------------------
    /// The driven run is over.
    [[nodiscard]] const std::optional<Ending>& driven_ending() const noexcept {
        return driven_ending_;
    }
    /// The first run that this node served, or declined, is over.
    [[nodiscard]] const std::optional<Ending>& first_served_ending() const noexcept {
        return served_ending_;
    }
    [[nodiscard]] const std::optional<Failure>& fatal() const noexcept { return fatal_; }
    [[nodiscard]] bool was_up() const noexcept { return was_up_; }
    [[nodiscard]] std::size_t runs() const noexcept { return contexts_.size(); }
    /// Grows with every handled message: the progress that travels with the heartbeat.
    [[nodiscard]] std::uint64_t handled() const noexcept { return handled_; }

  private:
    class DriverImpl;
    struct Unlocked;

    void on(bus::LinkUp& event);
    void on(bus::LinkDown& event);
    void on(bus::LinkFatal& event);
    void on(bus::RunInvited& event);
    void on(bus::RunOpened& event);
    void on(bus::RunJoined& event);
    void on(bus::RunClosed& event);
    void on(bus::PeerChanged& event);
    void on(bus::RequestArrived& event);
    void on(bus::ReplyArrived& event);
    [[nodiscard]] bool driven(const RunId& run) const;
    void end_context(const RunId& run, const Ending& ending);
    void end_driven(const Ending& ending);
    Result<Bytes> handle(const Message& message, Context& context);

    NodeCoreConfig config_;
    bus::LinkCore& link_;
    NodeLock& lock_;
    std::optional<ClientApp> app_;
    std::map<RunId, std::unique_ptr<Context>> contexts_;
    ServerApp* driven_app_ = nullptr;
    std::unique_ptr<DriverImpl> driver_;
    std::optional<Ending> driven_ending_;
    std::optional<Ending> served_ending_;
    std::optional<Failure> fatal_;
    bool was_up_ = false;
    std::optional<TimePoint> down_since_;  ///< no link since then
    bool opened_ = false;
    std::uint64_t handled_ = 0;
};

}  // namespace vflbus::actors
