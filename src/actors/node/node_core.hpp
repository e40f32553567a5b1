#pragma once
// Turns the events of a link into calls of apps: it keeps the contexts of the runs that this node
// serves, and the run that it drives. It has no I/O: node.cpp, the simulator and tests feed it.
//
// Each run is an ordered strand: its next event is handled when the handler of the last one has
// returned. Strands are independent of each other. Handlers run with the lock released, so that
// another thread may take the lock, call `pump` as well and handle what other strands have, up to
// the number of workers. One thread alone finds the same behavior, one event at a time.

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "actors/node/app.hpp"
#include "bus/core/link_core.hpp"

namespace vflbus::actors {

/// Guards the link. The default does nothing (one thread).
class NodeLock {
  public:
    virtual ~NodeLock() = default;
    virtual void lock() {}
    virtual void unlock() {}
    /// Around every handler: it runs with the lock released. A handler that calls its driver takes
    /// the lock for the call.
    virtual void release_for_handler() { unlock(); }
    virtual void take_after_handler() { lock(); }
};

/// Gives the answer to one question: at once or later, from any thread. The first call counts.
using QueryReplier = std::function<void(Result<Bytes>)>;

/// Answers what others ask (docs/protocol.md, section 12). Called by whoever keeps the link, with
/// its lock held and also while a handler runs: it must be quick, and touch nothing of an app. What
/// takes longer, such as reading files, is done by another thread, which replies later.
using QueryHandler = std::function<void(const bus::QueryArrived&, QueryReplier)>;

/// A handler of the app that is served has answered a request, for those who watch.
struct HandledRequest {
    RunId run{};
    MessageType type = 0;
    TimePoint begun{};
    TimePoint ended{};
    std::uint64_t bytes_in = 0;  ///< of the request's body
    std::uint64_t bytes_out = 0;
    bool failed = false;
};

struct NodeCoreConfig {
    std::string name;
    std::int64_t rank = -1;
    std::function<TimePoint()> now;
    /// Contexts end when the broker was not heard of for so long.
    Duration link_timeout = std::chrono::seconds(360);
    /// Handlers at once. Runs beyond it wait for their turn.
    std::size_t workers = 1;
    /// Invitations that an app may hold; what it holds beyond that it is not asked about again.
    std::size_t held_max = 1024;
    /// Makes a thread call `pump` soon. Called from any thread, when an answer was deferred or work
    /// was posted; may be empty when one thread does all.
    std::function<void()> wake{};
    /// Called after each handler, with the lock held: it copies and returns. May be empty.
    std::function<void(const HandledRequest&)> on_handled{};
    /// Told, as lines for the log, when the broker is lost and when it is back, while this node
    /// serves a run: whoever drives a run says so itself. Called with the lock held; may be empty.
    std::function<void(const std::string&)> say{};
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
    /// Opens the app's run, once the broker has welcomed this node. One at a time.
    void drive(ServerApp& app);
    /// The app has answered an invitation with `held`, and may answer otherwise now: it is asked
    /// again. From any thread.
    void reconsider(const RunId& run);
    /// Without one, questions are answered with `unknown_message`.
    void on_query(QueryHandler handler) { query_handler_ = std::move(handler); }
    /// Asks the driven app to stop; `at_once` closes its run without asking the app.
    void stop_driven(bool at_once);
    /// The driven run is over for this process, whatever becomes of it. No handler may be at work.
    void abandon_driven(const Ending& ending);

    /// Handles the events of all strands that are free, and the timer of the driven app. Called
    /// with the lock held, by any number of threads; cancels contexts whose end has arrived.
    void pump();
    /// When the driven app wants `pump` for its timer.
    [[nodiscard]] TimePoint next_deadline() const;
    /// The node is to stop: handlers that look at it return early.
    void cancel_handlers();
    /// From now on `pump` begins no handler.
    void stop_handling() noexcept { handling_ = false; }

    // -- properties ------------------------------------------------------------
    /// The driven run is over.
    [[nodiscard]] const std::optional<Ending>& driven_ending() const noexcept {
        return driven_ending_;
    }
    /// The first run that this node served, or declined, is over.
    [[nodiscard]] const std::optional<Ending>& first_served_ending() const noexcept {
        return served_ending_;
    }
    /// The link is over for good, and so are all runs.
    [[nodiscard]] const std::optional<Failure>& fatal() const noexcept { return fatal_; }
    [[nodiscard]] bool was_up() const noexcept { return was_up_; }
    [[nodiscard]] std::size_t runs() const noexcept { return contexts_.size(); }
    /// Handlers at work.
    [[nodiscard]] std::size_t busy() const noexcept { return busy_; }
    /// Runs that could be worked on, were there another worker.
    [[nodiscard]] std::size_t queued() const noexcept { return ready_.size(); }
    /// Grows with every handled message.
    [[nodiscard]] std::uint64_t handled() const noexcept { return handled_; }

  private:
    class DriverImpl;
    struct Unlocked;
    struct Mail;
    using Call = std::function<void()>;
    using Work = std::variant<bus::LinkEvent, Call>;
    struct Strand {
        std::deque<Work> waiting;
        bool busy = false;
        bool ready = false;  ///< in ready_
    };

    void collect();
    void take_events();
    [[nodiscard]] ContentRoom keep_room(bus::BodyRoom room, std::size_t content_bytes);
    template <class Handler>
    void call_driven(Handler&& handler);
    void enqueue(const RunId& run, Work work);
    bool work_once();
    void work(const RunId& run, Work work);
    void give_up_link();
    [[nodiscard]] bool timer_due() const;
    void fail_all(const Failure& failure);
    void note_up(const bus::LinkUp& event);
    void note_down(const bus::LinkDown& event);
    void compare_clocks(const bus::LinkUp& event);
    void on(bus::LinkUp& event);
    void on(bus::LinkDown& event);
    void on(bus::LinkFatal&) {}  ///< handled by collect()
    void on(bus::RunInvited& event);
    void on(bus::RunOpened& event);
    void on(bus::RunJoined& event);
    void on(bus::RunClosed& event);
    void on(bus::PeerChanged& event);
    void watch_owner(const bus::PeerChanged& event);
    void on(bus::RequestArrived& event);
    void on(bus::ReplyArrived& event);
    [[nodiscard]] bool driven(const RunId& run) const;
    void end_context(const RunId& run, const Ending& ending);
    bool begin_driven();
    void end_driven(const Ending& ending);
    Result<Bytes> handle(const Message& message, Context& context);
    void defer(const ClientApp::DeferredHandler& handler, bus::RequestArrived& event,
               Message message, Context& context);
    void refuse(const bus::RequestArrived& event);
    void answer(const RunId& run, std::uint32_t term, NodeId to, std::uint64_t number,
                Result<Bytes> answer);
    void answer_queries();
    [[nodiscard]] QueryReplier query_replier(const bus::QueryArrived& query);

    NodeCoreConfig config_;
    bus::LinkCore& link_;
    NodeLock& lock_;
    std::optional<ClientApp> app_;
    QueryHandler query_handler_;
    std::map<RunId, std::unique_ptr<Context>> contexts_;
    /// Invitations that the app has answered with `held`: it decides later.
    std::map<RunId, bus::RunInvited> held_;
    ServerApp* driven_app_ = nullptr;
    bool clocks_compared_ = false;
    std::unique_ptr<DriverImpl> driver_;
    std::optional<Ending> driven_ending_;
    std::optional<Ending> served_ending_;
    std::optional<Failure> failing_;  ///< fatal, but strands have still to hear of it
    std::optional<Failure> fatal_;
    std::map<RunId, Strand> strands_;
    std::deque<RunId> ready_;  ///< strands that have work and are free, in order of their turn
    std::size_t busy_ = 0;
    bool handling_ = true;
    std::shared_ptr<Mail> mail_;
    /// Of contents that apps hold. They are given back where the link is used, under the lock, and
    /// not on the thread that happens to let the last copy of a ContentRoom go.
    std::map<std::uint64_t, bus::BodyRoom> rooms_;
    std::uint64_t last_room_ = 0;
    bool was_up_ = false;
    std::optional<TimePoint> down_since_;  ///< no link since then
    bool said_lost_ = false;               ///< the log knows that the broker is lost
    bool begun_ = false;                   ///< the driven run was announced
    bool opened_ = false;                  ///< ... and that was confirmed
    std::uint64_t handled_ = 0;
};

}  // namespace vflbus::actors
